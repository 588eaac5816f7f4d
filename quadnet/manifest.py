"""The manifest of a published version: everything about it that is not an array.

Format number 1. To change the format: raise `SCHEMA_VERSION`, keep the old classes beside the
new ones with a function from old to new, and add a version written by the new code to the golden
files in tests/. Readers refuse a number that they do not know.
"""

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from quadnet.names import ModelName

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    # allow_inf_nan: canonical JSON has no NaN, and a metric that is NaN is a fault anyway.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileRecord(_Frozen):
    """One file of the version."""

    size: Count
    sha256: Sha256


class Architecture(_Frozen):
    """The network's shape: what the weights file must fit."""

    layer_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2)]
    activations: list[
        Literal[
            "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"
        ]
    ]
    loss: Literal["softmax_cross_entropy", "sigmoid_cross_entropy", "sigmoid_squared_error"]
    bias: bool
    dtype: Literal["float32", "float64"]


class Feature(_Frozen):
    """One input column, with the range seen in training."""

    name: str
    min: float
    max: float


class Signature(_Frozen):
    """What the model takes and gives."""

    features: list[Feature]
    classes: list[str]


class Training(_Frozen):
    """How the fit went."""

    epochs: Count
    updates: Count
    loss: float
    seconds: float


class Data(_Frozen):
    """What the model was trained and judged on; the digests are over the arrays' bytes."""

    train_rows: Count
    train_sha256: Sha256
    test_rows: Count
    test_sha256: Sha256


class Verdict(_Frozen):
    """One limit of the gate, what was measured, and whether it was met."""

    metric: str
    limit: float
    value: float
    passed: bool


class Lineage(_Frozen):
    """What it was made with."""

    quadnet: str
    python: str
    numpy: str
    scikit_learn: str
    platform: str


class Record(_Frozen):
    """What a training run knows of the version that it publishes."""

    signature: Signature
    training: Training
    data: Data
    metrics: dict[str, float]
    gate: list[Verdict]
    config: dict[str, JsonValue]
    config_sha256: Sha256
    lineage: Lineage


class Manifest(Record):
    """The whole manifest: the run's record, and what the registry adds on publishing."""

    schema_version: Literal[1]
    model: ModelName
    version: Annotated[int, Field(ge=1)]
    created: datetime
    architecture: Architecture
    tensor_digest: Sha256
    selftest_atol: float
    files: dict[FileName, FileRecord]

    def to_json(self) -> bytes:
        """Return the canonical bytes: sorted keys, no NaN, one line an entry."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False, indent=1)
        return text.encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """Parse and validate; raise ValueError if the bytes are no version-1 manifest."""
        return cls.model_validate_json(content)
