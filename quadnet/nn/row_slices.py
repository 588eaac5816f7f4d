"""Predicting many rows, a slice at a time.

BLAS rounds products of other shapes otherwise. So all that must agree to the last bit, such as a
server and a model that was loaded in Python, cut rows into these slices and compute each with
`compute_answers`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quadnet.nn.network import Network
from quadnet.nn.predictor import AnyPredictor, RegressionPredictor, find_middle
from quadnet.types import BoolArray, FloatArray, IntArray

_DIRECT_NANOSECONDS = 1e6

_SLICE = 4
"""Size of a slice, in multiples of what takes a millisecond. A server computes it on a thread; the
switch to the thread and back then takes a fiftieth of its time."""


def direct_rows(network: Network) -> int:
    """Return how many rows the network computes in about a millisecond: a power of two, or 0."""
    rows = int(_DIRECT_NANOSECONDS / network.nanoseconds)
    return 1 << rows.bit_length() - 1 if rows else 0


def row_slices(network: Network, n_rows: int) -> Iterator[slice]:
    """Yield the slices in which this network computes so many rows; see `split_rows`."""
    return split_rows(n_rows, direct_rows(network))


def split_rows(n_rows: int, n_direct: int) -> Iterator[slice]:
    """Yield slices of rows, in order; at least one, which is empty without rows.

    Parameters
    ----------
    n_rows : int
    n_direct : int
        How many rows take about a millisecond. Up to so many are one slice. With 0, each row is a
        slice.
    """
    if n_rows <= n_direct:
        yield slice(0, n_rows)
        return
    size = max(1, _SLICE * n_direct)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


@dataclass(frozen=True, eq=False)
class SliceAnswers:
    """What a network answers for a slice of rows.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows, n_numbers)
        The probability of each class or label; or the quantiles, or the one number, of each row.
    unknown : ndarray of bool, shape (n_rows,), or None
        Marks rows whose probabilities overflowed, which are all equal then. None if there are no
        such rows. Numbers that overflowed are NaN.
    """

    numbers: FloatArray
    unknown: BoolArray | None = None

    def choose_classes(self) -> IntArray:
        """Return the place of each row's most probable class; -1 for unknown rows."""
        winners: IntArray = self.numbers.argmax(axis=1)
        if self.unknown is not None:
            winners[self.unknown] = -1
        return winners

    def choose_labels(self) -> BoolArray:
        """Return for each row and label whether it is more probable than not."""
        chosen: BoolArray = self.numbers > 0.5
        return chosen


def compute_answers(predictor: AnyPredictor, X: FloatArray) -> SliceAnswers:
    """Return the answers for one slice of rows, for X of shape (n_rows, n_features)."""
    if isinstance(predictor, RegressionPredictor):
        numbers = predictor.outputs(X)
        finite = np.isfinite(numbers)
        return SliceAnswers(numbers if finite.all() else np.where(finite, numbers, np.nan))
    P = np.ascontiguousarray(predictor.probabilities_by_class(X).T)
    flat = P.ravel()
    # Numbers near the largest double overflow in the network, which results in NaN.
    if not math.isnan(flat.dot(flat)):
        return SliceAnswers(P)
    unknown = np.isnan(P.min(axis=1))
    equal = 0.5 if predictor.network.loss.multilabel else 1 / P.shape[1]
    return SliceAnswers(np.where(unknown[:, np.newaxis], P.dtype.type(equal), P), unknown)


def choose_values(quantiles: tuple[float, ...], numbers: FloatArray) -> FloatArray:
    """Return the value of each row: of several quantiles the one nearest to the median.

    Parameters
    ----------
    quantiles : tuple of float
        Those that the network predicts; empty for one number.
    numbers : ndarray of shape (n_rows, n_numbers)
    """
    values: FloatArray = numbers[:, find_middle(quantiles)]
    return values
