"""The configuration of a run as one validated tree: its sections and their defaults."""

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from pipeline.config.data_sections import DigitsData, FashionData, FileData, QuadrantsData
from pipeline.config.gate import Gate, check_limits
from pipeline.config.held_out_rows import TestPart, test_size_key
from pipeline.config.layer_stacks import check_network
from pipeline.config.search import Search
from pipeline.config.section import Section
from pipeline.config.table_data import TableData
from quadnet.model_names import ModelName
from quadnet.types import Task


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
        check_limits(self.gate, self.task)
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
        return hash_config(self)


def hash_config(config: BaseModel) -> str:
    """Return the digest of a configuration, defaults included."""
    content = json.dumps(config.model_dump(mode="json"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


KINDS: dict[str, type[BaseModel]] = {
    "quadrants": QuadrantsData,
    "digits": DigitsData,
    "fashion": FashionData,
    "csv": FileData,
    "parquet": FileData,
    "table": TableData,
}
