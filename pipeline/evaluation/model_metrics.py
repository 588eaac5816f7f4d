"""Measure a network on one part of the data: accuracy, calibration and the worst rows."""

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss

from pipeline.data.datasets import Dataset
from quadnet.nn.predictor import Predictor
from quadnet.records import Frozen
from quadnet.registry.metric_records import ClassMetrics, Metrics
from quadnet.types import BoolArray, FloatArray, IntArray

N_BINS = 15
N_WORST = 16


class ReliabilityBin(Frozen):
    """Predictions of similar certainty: their mean certainty and their accuracy."""

    low: float
    high: float
    rows: int
    distinct_rows: int
    certainty: float
    accuracy: float


class WorstRow(Frozen):
    """A row whose label got a low probability: its features, its label and its prediction."""

    row: int
    """Line in a CSV file or row in a Parquet file, starting at 1; without a file, the index."""
    x: list[float | str | None]
    label: str
    answer: str
    certainty: float
    """Of `answer`, which is empty if the row's values overflow in the network."""
    probability: float
    """Of `label`."""


class PartEvaluation(Frozen):
    """A predictor's metrics on one part; `confusion[i][j]` counts rows of i predicted as j."""

    metrics: Metrics
    distinct_rows: int
    confusion: list[list[int]]
    reliability: list[ReliabilityBin]
    worst: list[WorstRow]


def measure_model(predictor: Predictor, part: Dataset) -> PartEvaluation:
    """Measure the predictor on this part, whose labels must all be among its classes.

    A row whose values overflow in the network has no prediction: it counts as wrong, and every
    class as equally probable, as in the server's answer.
    """
    classes = [str(name) for name in predictor.classes]
    with np.errstate(all="ignore"):
        P = predictor.probabilities(part.X).astype(np.float64)
        # By the logits, which still differ where two probabilities both round to 1.
        answers = np.searchsorted(predictor.classes, predictor.predict(part.X))
    unanswered: BoolArray = np.isnan(P.sum(axis=1))
    P[unanswered], answers[unanswered] = 1.0, -1
    P /= P.sum(axis=1, keepdims=True)  # probabilities in float32 sum to 1 only in float32
    truth = part.class_target.indices(predictor.classes)
    certainty = P[np.arange(len(P)), answers]
    right = answers == truth
    confusion = confusion_matrix(truth, answers, labels=np.arange(len(classes)))
    hashes = part.row_hashes(0)
    bins = _measure_reliability(certainty, right, hashes)
    metrics = Metrics(
        accuracy=float(right.mean()),
        log_loss=float(log_loss(truth, P, labels=np.arange(len(classes))))
        if P.shape[1] > 1
        else 0.0,
        calibration_error=sum(b.rows * abs(b.accuracy - b.certainty) for b in bins) / len(P),
        classes={
            name: _measure_class(confusion, i, rows=int(np.count_nonzero(truth == i)))
            for i, name in enumerate(classes)
        },
    )
    return PartEvaluation(
        metrics=metrics,
        distinct_rows=len(np.unique(hashes)),
        confusion=confusion.tolist(),
        reliability=bins,
        worst=[
            WorstRow(
                row=part.place(int(i)),
                x=part.values_of(int(i)),
                label=classes[truth[i]],
                answer="" if unanswered[i] else classes[answers[i]],
                certainty=float(certainty[i]),
                probability=float(P[i, truth[i]]),
            )
            for i in np.argsort(P[np.arange(len(P)), truth], kind="stable")[:N_WORST]
        ],
    )


def _measure_class(confusion: IntArray, i: int, *, rows: int) -> ClassMetrics:
    hits, answers = confusion[i, i], confusion[:, i].sum()
    return ClassMetrics(
        rows=rows,
        precision=float(hits / answers) if answers else None,
        recall=float(hits / rows) if rows else None,
    )


def _measure_reliability(
    certainty: FloatArray, right: BoolArray, hashes: FloatArray
) -> list[ReliabilityBin]:
    """Return the bins of equal width that hold a prediction; see Guo et al., 2017, section 2.

    The mean difference between their certainty and accuracy, weighted by rows, is the expected
    calibration error.
    """
    edges = np.linspace(0.0, 1.0, N_BINS + 1)
    numbers = np.clip(np.searchsorted(edges, certainty, side="left") - 1, 0, N_BINS - 1)
    return [
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            rows=int(inside.sum()),
            distinct_rows=len(np.unique(hashes[inside])),
            certainty=float(certainty[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for i in range(N_BINS)
        if (inside := numbers == i).any()
    ]
