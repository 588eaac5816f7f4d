"""The manifest of a published version: everything about it that is not an array.

Format number 2. The procedure for number 3:

1. Copy the classes that change to ``manifest_2.py``, with a function from their JSON values to
   those of number 3, as in ``manifest_1.py``. Keep the golden files of numbers 1 and 2 in
   tests/golden: they must always load.
2. Raise `SCHEMA_VERSION`, change the classes here, and add a row to `_UPGRADES`.
3. Publish one version of every kind with the new code into tests/golden/3.

A new kind of layer is no new format: readers that do not know it refuse the version by the kind's
name. Readers refuse an unknown number.
"""

import getpass
import hashlib
import json
import math
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from quadnet.model_names import ModelName
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from quadnet.nn.losses.table import make_loss
from quadnet.records import Frozen
from quadnet.registry import manifest_1
from quadnet.registry.encoder_specs import ManifestEncoder
from quadnet.registry.layer_specs import ManifestLayers
from quadnet.registry.metric_records import AnyMetrics, Count, LabelsMetrics, Metrics, NumberMetrics
from quadnet.types import Task

SCHEMA_VERSION: Literal[2] = 2

_UPGRADES: dict[int, Callable[[object], dict[str, Any]]] = {1: manifest_1.upgrade_manifest}
"""By the number of an older format: from the JSON values of a manifest to those of this format."""

_CHECKSUM_LINE = re.compile(rb'^ "checksum": "([0-9a-f]{64})",\n', re.MULTILINE)

MAX_VALUES = 2**16

LINE_ENDS_CHANGED = (
    "its line ends were changed to CRLF, as git does if core.autocrlf is on. Put the line "
    "`* -text` into a file .gitattributes in the registry, and check the files out again"
)

Sealed = TypeVar("Sealed", bound=BaseModel)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Quantiles = Annotated[list[float], Field(max_length=1000)]

METRICS_OF: dict[Task, type[Frozen]] = {
    "classification": Metrics,
    "regression": NumberMetrics,
    "multilabel": LabelsMetrics,
}


if TYPE_CHECKING:
    LossName: TypeAlias = str
else:
    # pydantic reads it at run time; a type checker cannot.
    LossName = Literal[(*LOSSES, *REGRESSION_LOSSES)]


class FileRecord(Frozen):
    """One file of the version."""

    size: Count
    sha256: Sha256


class Architecture(Frozen):
    """The network's layers, which the weights file must match, and the shape of one input."""

    _newer: ClassVar[frozenset[str]] = frozenset({"loss_settings"})

    layers: ManifestLayers
    # NumPy's arrays have a limited number of axes, 32 or 64.
    input_shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=8)]
    loss: LossName
    loss_settings: dict[str, float | Quantiles] = Field(default_factory=dict)
    """The settings of the loss, such as the quantiles that it predicts."""
    dtype: Literal["float32", "float64"]

    @model_validator(mode="after")
    def _check_loss(self) -> Self:
        try:
            make_loss(self.loss, self.loss_settings)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the settings of the loss {self.loss!r} do not fit it: {error}"
            ) from error
        return self

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles that the network predicts; empty without quantiles."""
        found = self.loss_settings.get("quantiles", [])
        assert isinstance(found, list)
        return tuple(found)


class Feature(Frozen):
    """One column of numbers, with the range seen in training."""

    name: str
    min: float
    max: float


class Signature(Frozen):
    """The input columns of the model, and what it predicts."""

    _newer: ClassVar[frozenset[str]] = frozenset({"target"})

    features: list[Feature]
    classes: list[str]
    """The classes, or the labels of a model of several labels; empty for a model of numbers."""
    target: Feature | None = None
    """The column of numbers that is predicted."""

    @property
    def feature_names(self) -> list[str]:
        """The names of the network's inputs, in their order."""
        return [feature.name for feature in self.features]


class Training(Frozen):
    """Length and result of the fit."""

    epochs: Count
    updates: Count
    best_epoch: Count
    stop_reason: str
    loss: float
    seconds: float


class Folded(Frozen):
    """Scaler and temperature, which are folded into the network's weights.

    The first layer's weights include (x - mean) / scale, the last layer's the division by the
    temperature. Only old versions have mean and scale here; newer ones have them in the weights
    file.
    """

    mean: list[float] | None = None
    scale: list[float] | None = None
    temperature: float = 1.0


class Part(Frozen):
    """One part of the data; the digest is over the arrays' bytes."""

    rows: Count
    sha256: Sha256


class Data(Frozen):
    """The parts of the data for training, validation and test."""

    train: Part
    validation: Part | None = None
    test: Part


class Verdict(Frozen):
    """One limit of the gate, the measured value, and whether the value meets the limit.

    The value is None if there was nothing to measure. None never meets a limit.
    """

    metric: str
    comparison: Literal["at least", "at most"]
    limit: float
    value: float | None
    passed: bool


class Baseline(Frozen):
    """The champion at the time of the run, measured on the same test part."""

    version: Annotated[int, Field(ge=1)]
    manifest_sha256: Sha256
    metrics: AnyMetrics


class Git(Frozen):
    """The commit of the run's source tree, and the digest of its uncommitted changes."""

    commit: str
    changes_sha256: Sha256 | None


class Lineage(Frozen):
    """Software and hardware that the version was trained with."""

    quadnet: str
    python: str
    platform: str
    cpu: str
    libraries: dict[str, str]
    blas: list[str]
    threads: Count
    git: Git | None


class Publisher(Frozen):
    """The user and the host that published: information, not proof."""

    user: str
    host: str


def current_publisher() -> Publisher:
    """Return the user and the host of this process; "unknown" if the system has no name."""
    try:
        user = getpass.getuser()
    # A container's user may have no name, and Windows has no user database to read.
    except (ImportError, KeyError, OSError):
        user = "unknown"
    return Publisher(user=user, host=socket.gethostname() or "unknown")


class Record(Frozen):
    """The part of the manifest that the training run fills in."""

    _newer: ClassVar[frozenset[str]] = frozenset({"task", "encoder"})

    task: Task = "classification"
    encoder: ManifestEncoder | None = None
    """What turns the user's columns into the network's inputs; None if they are the same."""
    signature: Signature
    training: Training
    folded: Folded
    data: Data
    metrics: dict[Literal["train", "validation", "test"], AnyMetrics]
    gate: list[Verdict]
    baseline: Baseline | None
    forced: str | None
    """Reason for publishing despite a failed gate; None if the gate passed."""
    config: dict[str, JsonValue]
    config_sha256: Sha256
    lineage: Lineage

    @property
    def columns(self) -> list[str]:
        """The columns that the user has: those of the encoder, or the network's inputs."""
        return self.signature.feature_names if self.encoder is None else [*self.encoder.input_names]

    @model_validator(mode="after")
    def _check_metrics(self) -> Self:
        measured = [*self.metrics.values(), *([self.baseline.metrics] if self.baseline else [])]
        if not all(isinstance(metrics, METRICS_OF[self.task]) for metrics in measured):
            raise ValueError(f"the metrics must be those of the task {self.task}")
        return self


class Manifest(Record):
    """The whole manifest: the run's record, and the fields that the registry adds."""

    schema_version: Literal[2]
    """The format of these fields. A version that was read may be of an older format."""
    model: ModelName
    version: Annotated[int, Field(ge=1)]
    created: datetime
    publisher: Publisher
    architecture: Architecture
    tensor_digest: Sha256
    selftest_atol: Annotated[float, Field(ge=0, le=1e-3)]
    files: dict[FileName, FileRecord]

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON with its checksum."""
        return seal(self)

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """Parse and validate; raise ValueError if it is damaged, or its format is unknown."""
        text = _check_seal(content)
        values = _parse_values(text)
        number = values.get("schema_version") if isinstance(values, dict) else None
        if type(number) is not int or number not in {*_UPGRADES, SCHEMA_VERSION}:
            raise ValueError(
                f"schema_version: expected a number from 1 to {SCHEMA_VERSION}, got {number!r}. "
                "Read a newer format with the release of Quadnet that wrote it"
            )
        with _first_error_as_line():
            if number in _UPGRADES:
                text = json.dumps(_UPGRADES[number](values)).encode()
            return cls.model_validate_json(text)


def seal(record: BaseModel) -> bytes:
    """Return canonical JSON, sorted, one entry per line, with a checksum of the other lines.

    The checksum reveals damage, not forgery. Against forgery, aliases pin the sha256 of these
    bytes.
    """
    values = record.model_dump(mode="json")
    checksum = hashlib.sha256(_canonical_json(values)).hexdigest()
    return _canonical_json({**values, "checksum": checksum})


def measure_json(values: object) -> tuple[int, int]:
    """Return the number of bytes and an upper bound of the number of values of the JSON."""
    content = _canonical_json(values)
    return len(content), content.count(b",")


def unseal(kind: type[Sealed], content: bytes) -> Sealed:
    """Return the record; raise ValueError, with one line, if it is invalid or damaged."""
    text = _check_seal(content)
    _parse_values(text)
    with _first_error_as_line():
        return kind.model_validate_json(text)


def _check_seal(content: bytes) -> bytes:
    """Return the JSON without its checksum; raise ValueError if the checksum does not match."""
    if b"\r\n" in content:  # JSON escapes line ends in strings, so git added these
        raise ValueError(LINE_ENDS_CHANGED)
    line = _CHECKSUM_LINE.search(content)
    if line is None:
        raise ValueError("checksum: the entry is missing")
    rest = content[: line.start()] + content[line.end() :]
    if hashlib.sha256(rest).hexdigest() != line[1].decode():
        raise ValueError("checksum: it does not match the other lines: the file was changed")
    # pydantic keeps an error per value, which takes a hundred times the size of the value.
    if rest.count(b",") > MAX_VALUES:
        raise ValueError(f"expected at most {MAX_VALUES:,} values, found more")
    return rest


def _parse_values(text: bytes) -> object:
    """Return the JSON values; refuse duplicate keys, and numbers that are not finite."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_refuse_duplicate_keys,
            parse_float=_parse_finite_number,
            parse_constant=_parse_finite_number,
        )
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


@contextmanager
def _first_error_as_line() -> Iterator[None]:
    """Turn a ValidationError into a ValueError with its first error in one line."""
    try:
        yield
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except ValidationError as error:
        raise ValueError(describe_first_error(error)) from error


def describe_first_error(error: ValidationError) -> str:
    """Return the place and the reason of the first error, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the JSON'}: {first['msg']}"


def _canonical_json(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, allow_nan=False, indent=1).encode() + b"\n"


def _refuse_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; refuse duplicate keys, of which JSON readers choose different values."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has a duplicate key")
    return values


def _parse_finite_number(text: str) -> float:
    """Return the number; the free-form values of `config` have no other check."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {text}")
    return number
