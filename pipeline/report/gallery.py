"""Choose the test rows that the report draws, for models whose features are pixels."""

import re
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from quadnet.types import FloatArray

_PIXEL = re.compile(r"pixel_(0|[1-9]\d{0,3})_(0|[1-9]\d{0,3})")
_MOST_TYPICAL = 10
_MOST_PIXELS = 64 * 64


@dataclass(frozen=True)
class Scan:
    """One scan of shape (height, width), its label, its prediction and the certainty.

    `row` is its position in the file, as in `Dataset.place`.
    """

    row: int
    pixels: FloatArray
    label: str
    answer: str
    certainty: float


@dataclass(frozen=True)
class Gallery:
    """The worst scans, typical scans, the range of their pixels, and the unit of `Scan.row`."""

    worst: list[Scan]
    typical: list[Scan]
    low: float
    high: float
    unit: str


def make_gallery(evaluation: CandidateEvaluation) -> Gallery | None:
    """Return the scans to draw; None if the features are not the pixels of a picture."""
    places = _find_pixels(evaluation.test.features)
    if places is None:
        return None
    height, width = places.max(axis=0) + 1

    def scan(row: int, x: FloatArray, label: str, answer: str, certainty: float) -> Scan:
        pixels = np.empty((height, width))
        pixels[tuple(places.T)] = x
        return Scan(row, pixels, label, answer, certainty)

    train = evaluation.candidate.example_rows.X
    return Gallery(
        worst=[
            scan(case.row, np.array(case.x), case.label, case.answer, case.certainty)
            for case in evaluation.test_classes.worst
        ],
        typical=[scan(*found) for found in _find_typical_rows(evaluation)],
        low=float(train.min()),
        high=float(train.max()),
        unit=evaluation.test.unit,
    )


def _find_pixels(
    features: tuple[str, ...],
) -> "np.ndarray[tuple[int, int], np.dtype[np.intp]] | None":
    """Return the row and column of each feature, if the features fill a rectangle."""
    found = [_PIXEL.fullmatch(name) for name in features]
    if not all(found) or not 1 < len(features) <= _MOST_PIXELS:
        return None
    places = np.array([[int(m[1]), int(m[2])] for m in found if m])
    height, width = places.max(axis=0) + 1
    return places if len(set(map(tuple, places.tolist()))) == height * width else None


def _find_typical_rows(
    evaluation: CandidateEvaluation,
) -> list[tuple[int, FloatArray, str, str, float]]:
    """Return, for each of the first classes, the row with the median probability of its label."""
    predictor, test = evaluation.candidate.classifier, evaluation.test
    P = predictor.probabilities(test.X)
    answers = predictor.predict(test.X).astype(str)
    truth = test.class_target.indices(predictor.classes)
    found = []
    for i, name in enumerate(predictor.classes[:_MOST_TYPICAL]):
        rows = np.flatnonzero(truth == i)
        if len(rows):
            row = rows[np.argsort(P[rows, i], kind="stable")[len(rows) // 2]]
            column = np.flatnonzero(predictor.classes.astype(str) == answers[row])[0]
            certainty = float(P[row, column])
            found.append((test.place(int(row)), test.X[row], str(name), answers[row], certainty))
    return found
