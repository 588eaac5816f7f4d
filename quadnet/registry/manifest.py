"""The manifest of a published version: everything about it that is not an array.

Format number 1. The procedure for number 2:

1. Copy this module's classes to ``manifest_1.py``, with the golden files that tests/golden holds
   for number 1, which must load for ever.
2. Raise `SCHEMA_VERSION` and change the classes here; write a function from the old `Manifest` to
   the new one, and let `Manifest.from_json` choose by the number that it finds.
3. Publish one version of every kind with the new code into tests/golden/2.

Readers refuse a number that they do not know.
"""

import getpass
import hashlib
import json
import math
import re
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from quadnet.model_names import ModelName
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.losses import LOSSES

SCHEMA_VERSION: Literal[1] = 1

_CHECKSUM_LINE = re.compile(rb'^ "checksum": "([0-9a-f]{64})",\n', re.MULTILINE)

MAX_VALUES = 2**16

LINE_ENDS_CHANGED = (
    "its line ends were changed to CRLF, as git does where core.autocrlf is on. Put the line "
    "`* -text` into a file .gitattributes in the registry, and check the files out again"
)

Sealed = TypeVar("Sealed", bound=BaseModel)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


if TYPE_CHECKING:
    ActivationName: TypeAlias = str
    LossName: TypeAlias = str
else:
    # pydantic reads these when the program runs; a type checker could not.
    ActivationName = Literal[tuple(ACTIVATIONS)]
    LossName = Literal[tuple(name for name, loss in LOSSES.items() if not loss.multilabel)]


class Frozen(BaseModel):
    """Strict, closed and immutable; without NaN, which canonical JSON has not."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileRecord(Frozen):
    """One file of the version."""

    size: Count
    sha256: Sha256


class Architecture(Frozen):
    """The network's shape: what the weights file must fit."""

    layer_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2)]
    activations: list[ActivationName]
    loss: LossName
    bias: bool
    dtype: Literal["float32", "float64"]


class Feature(Frozen):
    """One input column, with the range seen in training."""

    name: str
    min: float
    max: float


class Signature(Frozen):
    """What the model takes and gives."""

    features: list[Feature]
    classes: list[str]


class Training(Frozen):
    """How the fit went."""

    epochs: Count
    updates: Count
    best_epoch: Count
    stop_reason: str
    loss: float
    seconds: float


class Folded(Frozen):
    """What was fitted with the network and folded into its weights.

    The first layer's weights hold (x - mean) / scale, the last layer's a division by temperature.
    Mean and scale are here in old versions only: those of newer ones are in the weights file.
    """

    mean: list[float] | None = None
    scale: list[float] | None = None
    temperature: float = 1.0


class Part(Frozen):
    """One part of the data; the digest is over the arrays' bytes."""

    rows: Count
    sha256: Sha256


class Data(Frozen):
    """What the model was trained on, tuned on and judged by."""

    train: Part
    validation: Part | None = None
    test: Part


class ClassMetrics(Frozen):
    """How one class fared: of its rows, and of the answers that name it, the share that is right.

    Precision is None where no answer names the class, recall where no row is of it.
    """

    rows: Count
    precision: Share | None
    recall: Share | None


class Metrics(Frozen):
    """A model measured on one part of the data."""

    accuracy: Share
    log_loss: Annotated[float, Field(ge=0)]
    calibration_error: Share
    classes: dict[str, ClassMetrics]


class Verdict(Frozen):
    """One limit of the gate, what was measured, and whether it was met.

    The value is None where there was nothing to measure, which meets no limit.
    """

    metric: str
    comparison: Literal["at least", "at most"]
    limit: float
    value: float | None
    passed: bool


class Baseline(Frozen):
    """The champion of the day, measured on the same test part."""

    version: Annotated[int, Field(ge=1)]
    manifest_sha256: Sha256
    metrics: Metrics


class Git(Frozen):
    """The commit that the run was started in; the digest is of what had been changed since."""

    commit: str
    changes_sha256: Sha256 | None


class Lineage(Frozen):
    """What it was made with."""

    quadnet: str
    python: str
    platform: str
    cpu: str
    libraries: dict[str, str]
    blas: list[str]
    threads: Count
    git: Git | None


class Publisher(Frozen):
    """The user and the host that published it: for the record, not for proof."""

    user: str
    host: str


def current_publisher() -> Publisher:
    """Return the user and the host of this process, "unknown" where the system does not say."""
    try:
        user = getpass.getuser()
    # A container's user need not have a name, and on Windows there is no other place to look.
    except (ImportError, KeyError, OSError):
        user = "unknown"
    return Publisher(user=user, host=socket.gethostname() or "unknown")


class Record(Frozen):
    """What a training run knows of the version that it publishes."""

    signature: Signature
    training: Training
    folded: Folded
    data: Data
    metrics: dict[Literal["train", "validation", "test"], Metrics]
    gate: list[Verdict]
    baseline: Baseline | None
    forced: str | None
    """Why it was published although it failed its gate; None if it passed."""
    config: dict[str, JsonValue]
    config_sha256: Sha256
    lineage: Lineage


class Manifest(Record):
    """The whole manifest: the run's record, and what the registry adds on publishing."""

    schema_version: Literal[1]
    model: ModelName
    version: Annotated[int, Field(ge=1)]
    created: datetime
    publisher: Publisher
    architecture: Architecture
    tensor_digest: Sha256
    selftest_atol: Annotated[float, Field(ge=0, le=1e-3)]
    files: dict[FileName, FileRecord]

    def to_json(self) -> bytes:
        """Return the manifest's own bytes, sealed."""
        return seal(self)

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """Parse and validate; raise ValueError if it is no manifest of version 1, untouched."""
        return unseal(cls, content)


def seal(record: BaseModel) -> bytes:
    """Return canonical JSON, sorted, an entry a line, one of them the checksum of all others.

    It tells damage, not intent: what an alias pins is the digest of these bytes.
    """
    values = record.model_dump(mode="json")
    checksum = hashlib.sha256(_canonical_json(values)).hexdigest()
    return _canonical_json({**values, "checksum": checksum})


def measure_json(record: BaseModel) -> tuple[int, int]:
    """Return how many bytes the record's canonical JSON has, and how many values at most."""
    content = _canonical_json(record.model_dump(mode="json"))
    return len(content), content.count(b",")


def unseal(kind: type[Sealed], content: bytes) -> Sealed:
    """Return the record; raise ValueError, with one line, if it is none or a byte was changed."""
    if b"\r\n" in content:  # which JSON escapes
        raise ValueError(LINE_ENDS_CHANGED)
    line = _CHECKSUM_LINE.search(content)
    if line is None:
        raise ValueError("checksum: there is none")
    rest = content[: line.start()] + content[line.end() :]
    if hashlib.sha256(rest).hexdigest() != line[1].decode():
        raise ValueError("checksum: it is not that of the other lines: a byte was changed")
    # What is wrong with each of them is remembered, which takes a hundred times their room.
    if rest.count(b",") > MAX_VALUES:
        raise ValueError(f"its text holds more than {MAX_VALUES:,} values")
    try:
        json.loads(
            rest,
            object_pairs_hook=_refuse_duplicate_keys,
            parse_float=_parse_finite_number,
            parse_constant=_parse_finite_number,
        )
        return kind.model_validate_json(rest)
    except RecursionError:
        raise ValueError("its text is nested too deeply") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise ValueError(f"{where}: {first['msg']}") from error


def _canonical_json(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, allow_nan=False, indent=1).encode() + b"\n"


def _refuse_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; of a key that comes twice, one reader would take the other value."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return values


def _parse_finite_number(text: str) -> float:
    """Return the number; the wild values of a run's configuration are not looked at otherwise."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
