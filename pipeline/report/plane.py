"""The plane of a model with two features: the prediction and certainty at each point.

Without text: the page sets the names around the picture, where the font has all characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from quadnet import quadrants
from quadnet.types import BoolArray, FloatArray, IntArray

CELLS = 320
"""Cells along each side."""

_BEYOND = 0.15
"""Margin on each side of the training range, as a share of it."""

_HITS, _MISSES, _ROWS_ASKED = 250, 150, 50_000
_PALEST = 0.12
_SMALLEST_LABELLED = 0.04

# The article's four colours, in shades that differ for every kind of colour vision: a CIEDE2000
# difference of 17.9 or more, and a contrast of 3 to 1 with white and with black.
_SHADES = {"purple": "#cc4e99", "green": "#0a7b5b", "blue": "#3e96f2", "red": "#cc020b"}

# Okabe and Ito, 2008; without black, and with yellow last, because it is hardly visible on white.
_OTHERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")


@dataclass(frozen=True)
class Sample:
    """A sample of the test rows: correct predictions, and wrong ones with their labels.

    Parameters
    ----------
    hits, misses : ndarray of shape (n_points, 2)
    labels : ndarray of int, shape (n_misses,)
        Indices of classes.
    n_hits, n_misses : int
        How many there are in all.
    """

    hits: FloatArray
    misses: FloatArray
    labels: IntArray
    n_hits: int
    n_misses: int


@dataclass(frozen=True)
class Plane:
    """The cells' predictions and certainties, with y upwards, and a sample of the test rows.

    Parameters
    ----------
    winners : ndarray of int, shape (CELLS, CELLS)
        Indices of classes.
    certainty : ndarray of shape (CELLS, CELLS)
    low, high : ndarray of shape (2,)
        The range that is shown.
    trained : tuple of two ndarrays of shape (2,)
        The lowest and the highest values in training.
    sample : Sample
    """

    winners: IntArray
    certainty: FloatArray
    low: FloatArray
    high: FloatArray
    trained: tuple[FloatArray, FloatArray]
    sample: Sample

    def pixels(self, palette: Sequence[str]) -> FloatArray:
        """Return the picture (CELLS, CELLS, 3): the winner's colour, the paler the less certain."""
        chance = 1.0 / len(palette)
        depth = np.clip((self.certainty - chance) / (1.0 - chance), 0.0, 1.0)
        # In steps that are hardly visible, because files become far smaller.
        depth = _PALEST + (1.0 - _PALEST) * np.round(depth * 32) / 32
        picture: FloatArray = 1.0 - depth[:, :, np.newaxis] * (1.0 - to_rgb(palette)[self.winners])
        picture[self._borders()] = 1.0
        return picture

    def places(self) -> list[tuple[int, float, float]]:
        """Return (class, x, y), in shares of the picture, of the middle of each class's region."""
        found = []
        for i in np.unique(self.winners):
            # The picture's edge counts as a border, or labels would lie on the edge.
            depth = distance_transform_edt(np.pad(self.winners == i, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            if depth[row, column] >= _SMALLEST_LABELLED * CELLS:
                found.append((int(i), (column + 0.5) / CELLS, (row + 0.5) / CELLS))
        return found

    def _borders(self) -> BoolArray:
        borders = np.zeros(self.winners.shape, bool)
        borders[1:] |= self.winners[1:] != self.winners[:-1]
        borders[:, 1:] |= self.winners[:, 1:] != self.winners[:, :-1]
        return borders


def make_plane(evaluation: CandidateEvaluation) -> Plane | None:
    """Return the plane; None without exactly two features, or if values overflow."""
    train, predictor = evaluation.candidate.example_rows, evaluation.candidate.classifier
    if train.X.shape[1] != 2:
        return None
    trained = train.X.min(axis=0), train.X.max(axis=0)
    with np.errstate(over="ignore"):
        span = trained[1] - trained[0]
    # A constant feature is shown around its value.
    span = np.where(span > 0, span, np.maximum(1.0, np.abs(trained[0])))
    low, high = trained[0] - _BEYOND * span, trained[1] + _BEYOND * span
    steps = (np.arange(CELLS) + 0.5) / CELLS
    if not np.isfinite([low, high]).all() or not (low < low + span / CELLS).all():
        return None
    x, y = low[:, np.newaxis] + steps * (high - low)[:, np.newaxis]
    X = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    with np.errstate(all="ignore"):
        winners = np.searchsorted(predictor.classes, predictor.predict(X))
        certainty = predictor.probabilities(X)[np.arange(len(X)), winners]
    if not np.isfinite(certainty).all():
        return None
    return Plane(
        winners=winners.reshape(CELLS, CELLS),
        certainty=certainty.reshape(CELLS, CELLS),
        low=low,
        high=high,
        trained=trained,
        sample=_sample_test_rows(evaluation),
    )


def choose_colours(classes: Sequence[str]) -> list[str]:
    """Return one colour per class: the article's for the quadrants, otherwise distinct ones.

    From the eighth class on the colours are repeated, darker. The regions' names help there.
    """
    if set(classes) == set(quadrants.NAMES):
        by_name = {quadrant.name: _SHADES[quadrant.colour] for quadrant in quadrants.QUADRANTS}
        return [by_name[name] for name in classes]
    few = tuple(_SHADES.values())
    if len(classes) <= len(few):
        return list(few[: len(classes)])
    return [
        _darken(_OTHERS[i % len(_OTHERS)], 0.75 ** (i // len(_OTHERS) % 4))
        for i in range(len(classes))
    ]


def to_rgb(palette: Sequence[str]) -> FloatArray:
    """Return the colours as numbers from 0 to 1, of shape (n_colours, 3)."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette])


def _darken(colour: str, by: float) -> str:
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * by):02x}" for i in (1, 3, 5))


def _sample_test_rows(evaluation: CandidateEvaluation) -> Sample:
    predictor, test = evaluation.candidate.classifier, evaluation.test
    X, y = test.X[:_ROWS_ASKED], test.class_target.indices(predictor.classes)[:_ROWS_ASKED]
    right = np.searchsorted(predictor.classes, predictor.predict(X)) == y
    misses = np.flatnonzero(~right)
    return Sample(
        hits=X[right][:_HITS],
        misses=X[misses[:_MISSES]],
        labels=y[misses[:_MISSES]],
        n_hits=int(right.sum()),
        n_misses=len(misses),
    )
