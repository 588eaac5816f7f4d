"""The section `gate` of a run: the limits that a model must meet."""

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline.config.section import Error, Section, Share
from quadnet.types import Task


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
        limits = [name for names in LIMITS.values() for name in names]
        return [name for name in dict.fromkeys(limits) if getattr(self, name) is not None]


def check_limits(gate: Gate, task: Task) -> None:
    """Raise ValueError if a limit is set that models of this task cannot have."""
    for name in gate.set_limits():
        if name not in LIMITS[task]:
            raise ValueError(
                f"gate.{name}: task = {task!r} has the limits {', '.join(LIMITS[task])}; remove "
                f"gate.{name}"
            )


LIMITS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "log_loss", "calibration_error", "recall", "precision"),
    "regression": ("rmse", "mae", "r2", "pinball", "coverage"),
    "multilabel": ("accuracy", "log_loss", "recall", "precision", "f1_micro", "f1_macro"),
}
"""The absolute limits of the gate that each task can have."""
