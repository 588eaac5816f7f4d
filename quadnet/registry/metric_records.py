"""What was measured of a model on one part of the data: of classes, of numbers, of labels."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from quadnet.records import Frozen

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Error = Annotated[float, Field(ge=0)]
Level = Annotated[float, Field(gt=0, lt=1)]

JudgedBy = Literal["rmse", "mae", "pinball"]


class ClassMetrics(Frozen):
    """Number of rows, precision and recall of one class.

    Precision is None if no row is predicted as the class, recall if no row belongs to it.
    """

    rows: Count
    precision: Share | None
    recall: Share | None


class Metrics(Frozen):
    """A model of classes, measured on one part of the data."""

    accuracy: Share
    log_loss: Error
    calibration_error: Share
    classes: dict[str, ClassMetrics]


class QuantileMetrics(Frozen):
    """One quantile that a model predicts: its pinball loss, and the share of rows up to it.

    The share should be the quantile's level.
    """

    level: Level
    pinball: Error
    share_up_to: Share


class NumberMetrics(Frozen):
    """A model of numbers, measured on one part of the data.

    The value of several quantiles is the one nearest to the median.
    """

    rmse: Error
    """Root mean squared error."""
    mae: Error
    """Mean absolute error."""
    median_absolute_error: Error
    r2: float | None
    """Coefficient of determination; None if all rows have the same number."""
    judged_by: JudgedBy
    """The error that the network minimises: the gate compares models by it."""
    constant_error: Error
    """That error of the best constant: the part's mean, median or quantiles."""
    quantiles: list[QuantileMetrics] = Field(default_factory=list)
    coverage: Share | None = None
    """Share of the rows in the interval between the outer quantiles; None without two of them."""
    width: Error | None = None
    """Mean width of that interval."""

    @property
    def pinball(self) -> float | None:
        """The mean pinball loss of the quantiles; None without quantiles."""
        if not self.quantiles:
            return None
        return sum(each.pinball for each in self.quantiles) / len(self.quantiles)

    @property
    def promised_coverage(self) -> float | None:
        """The share of rows that the interval between the outer quantiles should hold."""
        if len(self.quantiles) < 2:
            return None
        return self.quantiles[-1].level - self.quantiles[0].level

    def error(self, name: JudgedBy) -> float:
        """Return one of the errors; "pinball" needs quantiles."""
        found = {"rmse": self.rmse, "mae": self.mae, "pinball": self.pinball}[name]
        assert found is not None
        return found


class LabelMetrics(Frozen):
    """One of several labels: the rows that have it, and how well they are found.

    Precision is None if no row is predicted to have the label, recall if no row has it.
    """

    rows: Count
    precision: Share | None
    recall: Share | None
    f1: Share
    """0 if the label is neither there nor predicted in any row."""
    log_loss: Error


class LabelsMetrics(Frozen):
    """A model of several labels, measured on one part of the data."""

    accuracy: Share
    """Share of the rows on which all labels are right."""
    log_loss: Error
    """Mean of the labels' log losses."""
    f1_micro: Share
    """F1 score over all labels together."""
    f1_macro: Share
    """Mean of the labels' F1 scores."""
    majority: Share
    """Share of the rows with the most frequent row of labels."""
    constant_log_loss: Error
    """The log loss of predicting each label's share of the rows."""
    labels: dict[str, LabelMetrics]


def _find_kind(value: Any) -> str:
    """Return which of the records this is, by a key that only it has."""
    names = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
    if "rmse" in names:
        return "numbers"
    return "labels" if "f1_micro" in names else "classes"


AnyMetrics: TypeAlias = Annotated[
    Annotated[Metrics, Tag("classes")]
    | Annotated[NumberMetrics, Tag("numbers")]
    | Annotated[LabelsMetrics, Tag("labels")],
    Discriminator(_find_kind),
]


def as_class_metrics(metrics: Metrics | NumberMetrics | LabelsMetrics) -> Metrics:
    """Return the metrics of a model of classes."""
    assert isinstance(metrics, Metrics)
    return metrics
