"""Measure a network that predicts several labels on one part of the data."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datasets import Dataset
from quadnet.nn.predictor import Predictor
from quadnet.records import Frozen
from quadnet.registry.metric_records import LabelMetrics, LabelsMetrics
from quadnet.types import BoolArray, FloatArray

N_WORST = 16

_LEAST = np.finfo(np.float64).eps


class WorstLabels(Frozen):
    """A row whose labels got low probabilities: its features, its labels and those predicted."""

    row: int
    """Line in a CSV file or row in a Parquet file, starting at 1; without a file, the index."""
    x: list[float | str | None]
    labels: list[str]
    answer: list[str]
    probability: float
    """Of the row's labels together, if they were independent."""


class LabelsEvaluation(Frozen):
    """A predictor's metrics on one part, and its worst rows."""

    metrics: LabelsMetrics
    distinct_rows: int
    worst: list[WorstLabels]


def measure_labels(predictor: Predictor, part: Dataset) -> LabelsEvaluation:
    """Measure the predictor on this part of a run that predicts several labels.

    A row whose values overflow in the network has no prediction: each of its labels counts as
    wrong, and as equally probable as not.
    """
    target = part.labels_target
    names, Y = target.names, target.Y.astype(bool)
    with np.errstate(all="ignore"):
        P = predictor.probabilities(part.X).astype(np.float64)
        answers = predictor.predict(part.X).astype(bool)
    unanswered: BoolArray = np.logical_not(np.isfinite(P).all(axis=1))
    P[unanswered], answers[unanswered] = 0.5, ~Y[unanswered]
    losses = _log_losses(P, Y)
    shares = Y.mean(axis=0)
    _, counts = np.unique(Y, axis=0, return_counts=True)
    labels = {
        name: _measure_label(Y[:, j], answers[:, j], losses[:, j]) for j, name in enumerate(names)
    }
    rows = losses.sum(axis=1)
    metrics = LabelsMetrics(
        accuracy=float((answers == Y).all(axis=1).mean()),
        log_loss=float(losses.mean()),
        f1_micro=_f1(Y, answers),
        f1_macro=float(np.mean([each.f1 for each in labels.values()])),
        majority=float(counts.max() / len(Y)),
        constant_log_loss=float(_log_losses(np.broadcast_to(shares, Y.shape), Y).mean()),
        labels=labels,
    )
    return LabelsEvaluation(
        metrics=metrics,
        distinct_rows=len(np.unique(part.row_hashes(0))),
        worst=[
            WorstLabels(
                row=part.place(int(i)),
                x=part.values_of(int(i)),
                labels=_list_names(names, Y[i]),
                answer=[] if unanswered[i] else _list_names(names, answers[i]),
                probability=float(np.exp(-rows[i])),
            )
            for i in np.argsort(-rows, kind="stable")[:N_WORST]
        ],
    )


def _log_losses(P: FloatArray, Y: BoolArray) -> FloatArray:
    """Return each label's log loss in each row; probabilities are clipped as scikit-learn's."""
    clipped = np.clip(P, _LEAST, 1.0 - _LEAST)
    losses: FloatArray = -np.log(np.where(Y, clipped, 1.0 - clipped))
    return losses


def _measure_label(y: BoolArray, answers: BoolArray, losses: FloatArray) -> LabelMetrics:
    hits, found, rows = (y & answers).sum(), answers.sum(), y.sum()
    return LabelMetrics(
        rows=int(rows),
        precision=float(hits / found) if found else None,
        recall=float(hits / rows) if rows else None,
        f1=_f1(y, answers),
        log_loss=float(losses.mean()),
    )


def _f1(Y: BoolArray, answers: BoolArray) -> float:
    """Return the F1 score; 0 if no label exists or is predicted."""
    both = int(Y.sum() + answers.sum())
    return float(2 * (Y & answers).sum() / both) if both else 0.0


def _list_names(names: tuple[str, ...], has: NDArray[np.bool_]) -> list[str]:
    return [name for name, there in zip(names, has, strict=True) if there]
