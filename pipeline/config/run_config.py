"""The configuration of a run as one validated tree: its sections and their defaults."""

import hashlib
import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)

from pipeline.config.layer_stacks import check_network
from pipeline.config.section import FilePath, Section
from pipeline.config.table_data import TableData
from quadnet.cli.settings import expand_user
from quadnet.model_names import ModelName

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Error = Annotated[float, Field(ge=0)]
Task = Literal["classification", "regression", "multilabel"]

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist installs its files."""


class QuadrantsData(Section):
    """Generated points in [-1, 1) x [-1, 1), labelled with their quadrant."""

    kind: Literal["quadrants"]
    placement: Literal["uniform", "centres"] = "uniform"
    """Anywhere in the square, or on the four quadrants' centres in turn."""
    points: Annotated[int, Field(ge=4, le=10_000_000)]
    margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Smallest distance of a training point from an axis. Test points may lie nearer."""
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training points that get the label of another quadrant."""
    draws: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Number of training rows to draw from the points at random, with replacement, as the article's
    loop does. With a batch size of 1 it is the number of updates per epoch. Unset: each point is
    used once per epoch."""
    seed: Seed = 0


class DigitsData(Section):
    """scikit-learn's 1,797 scans of handwritten digits: 8 x 8 pixels, each from 0 to 16."""

    kind: Literal["digits"]


class FashionData(Section):
    """Fashion-MNIST: 60,000 training rows and the official test part of 10,000 rows.

    Each row is a picture of 28 x 28 pixels, from 0 to 1.
    """

    kind: Literal["fashion"]
    folder: FilePath | None = None
    """Folder of the four files, relative to the current directory; ``~`` is the home directory.
    Unset: the folder of the Debian package dataset-fashion-mnist."""

    @property
    def files(self) -> Path:
        """The folder of the files, with ``~`` expanded."""
        return FASHION_FOLDER if self.folder is None else expand_user(Path(self.folder))


class FileData(Section):
    """A user's file: one example per row, columns of numeric features and what to predict."""

    kind: Literal["csv", "parquet"]
    path: FilePath
    """Relative to the current directory; ``~`` is the home directory."""
    label: str | list[str]
    """The column to predict: classes, or with `task = "regression"` numbers. With `task =
    "multilabel"` a list of columns of 0 and 1."""
    features: Annotated[list[str], Field(min_length=1)] | None = None
    """Unset: every column that has a name, except the labels."""
    strip_labels: bool = True
    """Whether spaces around a label are removed."""

    @property
    def file(self) -> Path:
        """The file's path, with ``~`` expanded."""
        return expand_user(Path(self.path))

    @property
    def labels(self) -> list[str]:
        """The columns to predict."""
        return [self.label] if isinstance(self.label, str) else self.label


class TestPart(Section):
    """The data that the model is evaluated on and never trained on.

    For generated data it is newly generated points. For stored data it is a share of the rows,
    chosen by each row's hash: equal rows stay together, and a row stays in its part when other
    rows are added.
    """

    _newer = frozenset({"by", "time", "after", "path"})

    points: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Seed = 1
    stratify: bool = False
    """Whether the test and the validation part get their share of each class's rows, as nearly as
    possible while equal rows stay together. For tables with rare classes, or with many copies of
    few rows. A row with more copies than fit into the part is trained on. Few rows change their
    part when others are added."""
    allow_small: bool = False
    """Whether to accept a test part that lacks a class or has fewer than 30 distinct rows."""
    by: str | None = None
    """Table: column of groups, such as customers. All rows of a group are in one part."""
    time: str | None = None
    """Table: column of dates or numbers. The test part is the latest rows: the share, or those from
    `after` on. Unset, with `after`: the table's only column of dates."""
    after: str | float | int | None = None
    """Table: the first date or number of the test part, such as "2026-01-01"; or the name of a
    column, as in `time`."""
    path: FilePath | None = None
    """Table: a file with the test rows, which has the same columns."""

    @model_validator(mode="before")
    @classmethod
    def _move_column(cls, tree: Any) -> Any:
        """Move the name of a column from `after` to `time`."""
        after = tree.get("after") if isinstance(tree, dict) else None
        if isinstance(after, date):  # TOML has dates
            return {**tree, "after": after.isoformat()}
        if isinstance(after, str) and not _is_date(after) and tree.get("time") is None:
            return {**tree, "time": after, "after": None}
        return tree

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kinds = {
            "by": self.by is not None,
            "time": self.time is not None or self.after is not None,
            "path": self.path is not None,
        }
        used = [name for name, is_used in kinds.items() if is_used]
        if len(used) > 1:
            raise ValueError(
                f"test: expected one kind of test part, got two: test.{used[0]} and test.{used[1]}"
            )
        if self.stratify and used and used != ["by"]:
            raise ValueError(f"test.stratify: it has no meaning with test.{used[0]}; remove it")
        if self.share is not None and (self.path is not None or self.after is not None):
            key = "path" if self.path is not None else "after"
            raise ValueError(f"test.share: test.{key} decides on the test rows; remove test.share")
        return self


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_size_key(data: Any, test: Any) -> str | None:
    """Return the key of `TestPart` that sets the size; None if something else decides on it."""
    if data.get("kind") == "table" and (test.get("path") or test.get("after") is not None):
        after = test.get("after")
        is_column = isinstance(after, str) and not _is_date(after)
        return "share" if is_column and test.get("path") is None else None
    return {"quadrants": "points", "fashion": None}.get(str(data.get("kind")), "share")


class Gate(Section):
    """The limits that a model must meet on the test part before it is published."""

    _newer: ClassVar[frozenset[str]] = frozenset(
        {"rmse", "mae", "r2", "pinball", "coverage", "f1_micro", "f1_macro", "better_than_constant"}
    )

    accuracy: Share | None = None
    """Smallest accuracy; required for classes. Of several labels, the share of rows on which all
    are right."""
    log_loss: Error | None = None
    """Largest log loss. Of several labels, the mean of their log losses."""
    calibration_error: Share | None = None
    """Largest expected calibration error of classes."""
    recall: Share | None = None
    """Smallest recall of every class or label: the share of its rows that are predicted as it."""
    precision: Share | None = None
    """Smallest precision of every class or label: the share of its predictions that are right."""
    f1_micro: Share | None = None
    """Smallest F1 score of several labels, over all labels together."""
    f1_macro: Share | None = None
    """Smallest mean of the F1 scores of several labels."""
    rmse: Error | None = None
    """Largest root mean squared error of numbers."""
    mae: Error | None = None
    """Largest mean absolute error of numbers."""
    r2: Annotated[float, Field(le=1)] | None = None
    """Smallest coefficient of determination of numbers."""
    pinball: Error | None = None
    """Largest mean pinball loss of quantiles."""
    coverage: Share | None = None
    """Largest distance of the coverage of the widest interval from what its quantiles promise."""
    champion: bool = True
    """Whether the model must be at least as good as the champion on the same rows: in accuracy and
    in the recall of every class or label; of numbers, in the error that the network minimises."""
    tolerance: Share = 0.0
    """How far a value may be below the champion's and still pass. Of numbers, by which share an
    error may be above the champion's."""
    better_than_majority: bool = True
    """Whether the model must beat the prediction of the most frequent class: in accuracy, or in log
    loss against the classes' shares as probabilities. Of several labels, the most frequent row of
    labels."""
    better_than_constant: bool = True
    """Whether a model of numbers must beat the best constant: the mean, the median or the
    quantiles of the test part, in the error that the network minimises."""

    def set_limits(self) -> list[str]:
        """Return the keys of the absolute limits that are set."""
        limits = [name for names in _LIMITS.values() for name in names]
        return [name for name in dict.fromkeys(limits) if getattr(self, name) is not None]


_LIMITS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "log_loss", "calibration_error", "recall", "precision"),
    "regression": ("rmse", "mae", "r2", "pinball", "coverage"),
    "multilabel": ("accuracy", "log_loss", "recall", "precision", "f1_micro", "f1_macro"),
}
"""The absolute limits of the gate that each task can have."""


class Range(Section):
    """Numbers from low to high; integers if both bounds are integers."""

    low: float | int
    high: float | int
    log: bool = False
    """Whether numbers are drawn uniformly on a logarithmic scale."""


def _list_or_range(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


Choices = Annotated[
    Annotated[list[JsonValue], Field(min_length=1), Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(_list_or_range),
]


class Search(Section):
    """The parameters of the network to search, and the search method."""

    method: Literal["grid", "random", "halving"] = "grid"
    """grid: every combination of the lists. random: combinations drawn at random. halving:
    combinations drawn at random, of which only the best are trained for more epochs."""
    space: Annotated[dict[str, Choices], Field(min_length=1)]
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Number of combinations to draw; a grid ignores it."""
    folds: Annotated[int, Field(ge=2, le=100)] = 3
    metric: Annotated[str, Field(min_length=1)] = "accuracy"
    """`accuracy`, `log_loss`, or the name of a scikit-learn scorer. Unset, it is
    `neg_root_mean_squared_error` for numbers."""
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    """Halving: one in `factor` candidates is kept and trained for `factor` times as many epochs."""
    min_epochs: Annotated[int, Field(ge=1)] = 5
    """Halving: number of epochs in the first step."""
    seed: Seed = 0


class RunConfig(Section):
    """One run: the name to publish under, the data, the network, the test part and the gate."""

    _newer: ClassVar[frozenset[str]] = frozenset({"task"})

    name: ModelName
    task: Task = "classification"
    """What is predicted: one of several classes, a number, or several labels that a row has or has
    not."""
    data: Annotated[
        QuadrantsData | DigitsData | FashionData | FileData | TableData,
        Field(discriminator="kind"),
    ]
    dtype: Literal["float64", "float32"] = "float64"
    """Floating-point type of the network."""
    scale: bool = False
    """Whether to scale the features to zero mean and unit variance. The scaling becomes part of the
    first layer."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training rows to hold out. They are scored after each epoch, for the curves and
    for `network.early_stopping`, and the temperature is fitted on them."""
    calibrate: bool = False
    """Whether to calibrate the certainties by a temperature. It becomes part of the last layer."""
    network: dict[str, JsonValue] = Field(default_factory=dict)
    """Parameters of `quadnet.NeuralNetworkClassifier`, or with `task = "regression"` of
    `quadnet.NeuralNetworkRegressor`, which validate them. In `layers`, a layer is an object with
    its kind and its settings, or the name of an activation."""
    test: TestPart = TestPart()
    gate: Gate
    search: Search | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_test_part(cls, tree: Any) -> Any:
        """Fill in the defaults of the test part and of the search, which depend on other keys."""
        search = tree.get("search")
        if tree.get("task") == "regression" and isinstance(search, dict):
            tree = {**tree, "search": {"metric": "neg_root_mean_squared_error", **search}}
        data, test = tree.get("data"), tree.get("test", {})
        if not (isinstance(data, dict) and isinstance(test, dict)):
            return tree
        size = test_size_key(data, test)
        if size is not None and all(test.get(key) is None for key in ("points", "share")):
            test = {**test, size: 10_000 if size == "points" else 0.2}
        return {**tree, "test": test}

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        right = test_size_key({"kind": self.data.kind}, self.test.model_dump())
        for key in ("by", "time", "after", "path"):
            if getattr(self.test, key) is not None and not isinstance(self.data, TableData):
                raise ValueError(f"test.{key}: it needs data of the kind table")
        for wrong in ("points", "share"):
            if wrong == right or getattr(self.test, wrong) is None:
                continue
            if right is None:
                raise ValueError(
                    f"test.{wrong}: this data has an official test part, which is always used as "
                    f"a whole; remove test.{wrong}"
                )
            what = "generated" if right == "points" else "a share of the rows"
            raise ValueError(
                f"test.{wrong}: the test part of this data is {what}; set test.{right} instead"
            )
        if self.scale and isinstance(self.data, TableData):
            raise ValueError(
                "scale: the columns of a table are scaled by data.columns; remove scale"
            )
        check_network(self.network, self.search.space if self.search else {})
        if self.calibrate and not self.validation:
            raise ValueError(
                "calibrate: it needs held-out rows to calibrate on; set validation = 0.1"
            )
        return self

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        """Refuse keys that do not fit the task."""
        self._check_labels()
        for name in self.gate.set_limits():
            if name not in _LIMITS[self.task]:
                raise ValueError(
                    f"gate.{name}: task = {self.task!r} has the limits "
                    f"{', '.join(_LIMITS[self.task])}; remove gate.{name}"
                )
        if self.task == "classification":
            if self.gate.accuracy is None:
                raise ValueError("the key gate.accuracy is missing")
            return self
        if self.calibrate:
            raise ValueError(
                f"calibrate: expected false, because task = {self.task!r} has no certainties of "
                "classes to calibrate, got true"
            )
        if self.test.stratify:
            raise ValueError(
                f"test.stratify: expected false, because task = {self.task!r} has no classes to "
                "stratify by, got true"
            )
        return self

    def _check_labels(self) -> None:
        if not isinstance(self.data, FileData | TableData):
            if self.task != "classification":
                raise ValueError(
                    f"task: expected 'classification', because the data of kind {self.data.kind!r} "
                    f"has classes, got {self.task!r}"
                )
            return
        label = self.data.label
        if self.task != "multilabel" and not isinstance(label, str):
            raise ValueError(
                f"data.label: expected the name of one column, because task = {self.task!r}, got a "
                f'list. To predict several columns of 0 and 1, set task = "multilabel"'
            )
        if self.task == "multilabel" and (isinstance(label, str) or len({*label}) < 2):
            raise ValueError(
                "data.label: expected a list of at least 2 columns of 0 and 1, because task = "
                f"'multilabel', got {label!r}"
            )
        if len({*self.data.labels}) < len(self.data.labels):
            raise ValueError(f"data.label: expected each column once, got {label!r}")

    def sha256(self) -> str:
        """Return the digest of the resolved configuration, defaults included."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()


KINDS: dict[str, type[BaseModel]] = {
    "quadrants": QuadrantsData,
    "digits": DigitsData,
    "fashion": FashionData,
    "csv": FileData,
    "parquet": FileData,
    "table": TableData,
}
