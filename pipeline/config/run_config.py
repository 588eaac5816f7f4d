"""What a run does, all of it, as one validated tree: its sections and their defaults."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)

from quadnet.cli.settings import expand_user
from quadnet.model_names import ModelName

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("expected a path without NUL characters")
    return path


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class QuadrantsData(_Section):
    """Points in [-1, 1) x [-1, 1), labelled with their quadrant."""

    kind: Literal["quadrants"]
    placement: Literal["uniform", "centres"] = "uniform"
    """Anywhere in the square, or on the four quadrants' centres in turn."""
    points: Annotated[int, Field(ge=4, le=10_000_000)]
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """No point to train on lies nearer to an axis than this; those to be judged by may."""
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of points to train on whose label is another than their quadrant's."""
    draws: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Train on this many rows drawn from the points at random, with replacement, as the article's
    loop does; with a batch size of 1 that is the number of updates. Unset: on each point once an
    epoch."""
    seed: Seed = 0


class DigitsData(_Section):
    """scikit-learn's 1,797 scans of handwritten digits: 8 x 8 pixels, each from 0 to 16."""

    kind: Literal["digits"]


class FileData(_Section):
    """A file of one's own: a row an example, numbers in the feature columns, a label column."""

    kind: Literal["csv", "parquet"]
    path: Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
    """Relative to the directory that the command is run in; ``~`` is the home directory."""
    label: str
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Unset: every column that has a name, but the label."""
    strip_labels: bool = True
    """Whether spaces around a label are dropped."""

    @property
    def file(self) -> Path:
        """The file's path, with the home directory in it."""
        return expand_user(Path(self.path))


class TestPart(_Section):
    """What the model is judged by, and training never sees.

    Of generated data new points, of stored data a share of the rows, chosen by each row's hash:
    so that equal rows stay together, and a row stays where it is when others are added.
    """

    points: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Seed = 1
    stratify: bool = False
    """Whether the test and the validation part get their share of each class's rows, as nearly as
    equal rows can stay together. For tables with rare classes, or with many copies of few rows. A
    row of which there are more copies than the part has room for is trained on; few rows change
    their part when others are added."""
    allow_small: bool = False
    """Whether to judge by a test part that lacks a class, or has fewer than 30 distinct rows."""


class Gate(_Section):
    """What the test part must show before the model is published."""

    accuracy: Share
    log_loss: Annotated[float, Field(ge=0)] | None = None
    """At most this."""
    calibration_error: Share | None = None
    """At most this."""
    recall: Share | None = None
    """At least this, for every class: of its rows, the share that is found."""
    precision: Share | None = None
    """At least this, for every class: of the answers that name it, the share that is right."""
    champion: bool = True
    """Whether it must not be worse than the champion on the same rows: in accuracy, and in every
    class's recall."""
    tolerance: Share = 0.0
    """By how much less than the champion's is still not worse."""
    better_than_majority: bool = True
    """Whether it must do better than always giving the most frequent class: be right more often, or
    have a smaller log loss than the classes' shares as probabilities have."""


class Range(_Section):
    """Numbers from low to high; whole ones if both are."""

    low: float | int
    high: float | int
    log: bool = False
    """Whether every factor of ten is as likely as the next."""


def _list_or_range(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


Choices = Annotated[
    Annotated[list[JsonValue], Field(min_length=1), Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(_list_or_range),
]


class Search(_Section):
    """Which parameters of the network to try, and how."""

    method: Literal["grid", "random", "halving"] = "grid"
    """Every combination of the lists, combinations drawn at random, or those drawn at random of
    which only the best are trained for longer."""
    space: Annotated[dict[str, Choices], Field(min_length=1)]
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 20
    """How many combinations to draw; a grid has as many as it has."""
    folds: Annotated[int, Field(ge=2, le=100)] = 3
    metric: Literal["accuracy", "log_loss"] = "accuracy"
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    """Halving: one in so many goes on, for so many times as many epochs."""
    min_epochs: Annotated[int, Field(ge=1)] = 5
    """Halving: how long every candidate is trained at first."""
    seed: Seed = 0


class RunConfig(_Section):
    """One run: the name it publishes under, its data, its network, its test and its gate."""

    name: ModelName
    data: Annotated[QuadrantsData | DigitsData | FileData, Field(discriminator="kind")]
    dtype: Literal["float64", "float32"] = "float64"
    """What the network computes in."""
    scale: bool = False
    """Whether the features are brought to zero mean and unit variance, by the first layer."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of the rows to train on that is held out: scored after each epoch, for the curves
    and for `network.early_stopping`, and what the temperature is fitted on."""
    calibrate: bool = False
    """Whether the certainties are made as large as they are right, by the last layer."""
    network: dict[str, JsonValue] = {}
    """Parameters of `quadnet.NeuralNetworkClassifier`, which checks them."""
    test: TestPart = TestPart()
    gate: Gate
    search: Search | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_test_part(cls, tree: Any) -> Any:
        """Let the test part say what it is: its default depends on the data."""
        data, test = tree.get("data"), tree.get("test", {})
        if not (isinstance(data, dict) and isinstance(test, dict)):
            return tree
        if all(test.get(key) is None for key in ("points", "share")):
            generated = data.get("kind") == "quadrants"
            test = {**test, **({"points": 10_000} if generated else {"share": 0.2})}
        return {**tree, "test": test}

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        generated = isinstance(self.data, QuadrantsData)
        unfit = self.test.share if generated else self.test.points
        if unfit is not None:
            wrong, right = ("share", "points") if generated else ("points", "share")
            what = "generated" if generated else "a part of the rows"
            raise ValueError(f"test.{wrong}: the test part of this data is {what}: give {right}")
        if self.calibrate and not self.validation:
            raise ValueError("calibrate: it needs rows to calibrate on: set validation = 0.1")
        return self

    def sha256(self) -> str:
        """Return the digest of the resolved configuration, defaults included."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()


KINDS: dict[str, type[BaseModel]] = {
    "quadrants": QuadrantsData,
    "digits": DigitsData,
    "csv": FileData,
    "parquet": FileData,
}
