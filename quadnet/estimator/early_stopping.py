"""The rows that early stopping holds out, and the score of a network on them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from quadnet.estimator.targets import Labels
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray, IntArray

Scorer = Callable[[Network, "HeldOut"], float]


class HeldOut:
    """Rows that training never sees.

    Parameters
    ----------
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    y : array-like of shape (n_rows,) or (n_rows, n_labels)
    labels : Labels
    weights : ndarray of shape (n_rows,), optional
    """

    # So many at a time, so that many rows of many classes need no memory of their own.
    _ROWS = 8192

    def __init__(
        self, X: Any, y: Any, labels: Labels, *, weights: FloatArray | None = None
    ) -> None:
        self.X, self.y, self.labels, self.weights = X, y, labels, weights
        self._targets = labels.targets(y)

    @property
    def n_rows(self) -> int:
        """How many rows are held out."""
        return len(self._targets)

    def loss(self, network: Network) -> float:
        """Return the mean loss, without penalty."""

        def losses(X: Any, targets: BoolArray) -> FloatArray:
            P = network.outputs(X).T
            return network.loss.values(P, targets.T.astype(P.dtype))

        return self._mean(losses)

    def accuracy(self, network: Network) -> float:
        """Return the share of rows whose label, or whole set of labels, is right."""

        def right(X: Any, targets: BoolArray) -> BoolArray:
            answers = self.labels.targets(self.labels.decide(network.logits(X)))
            return np.asarray((answers == targets).all(axis=1))

        return self._mean(right)

    def _mean(self, of_rows: Callable[[Any, BoolArray], NDArray[Any]]) -> float:
        parts = (
            slice(start, start + self._ROWS) for start in range(0, len(self._targets), self._ROWS)
        )
        values = [of_rows(self.X[part], self._targets[part]) for part in parts]
        return float(np.average(np.concatenate(values), weights=self.weights))


def split(
    y: Any, labels: Labels, *, fraction: float, every_class: bool, rng: RandomState
) -> tuple[IntArray, IntArray]:
    """Draw the rows to train on and the rows to hold out, as scikit-learn's MLP draws them.

    The draw is by row alone, stratified when there are two classes. With `every_class`, which
    scikit-learn's MLP does not know, it is also stratified when there are more, if there are
    enough rows of each. Rows that are copies of each
    other are not kept together: a split by distinct (row, label) pairs gives all copies of a row
    with one label to one side, and so falsifies how probable that label is on the other.

    Raises
    ------
    ValueError
        If fewer than two rows would be held out, or a class of two has a single row.
    """
    if not fraction:
        raise ValueError("validation_fraction must be above 0 to hold out rows. Got 0.")
    two_classes = labels.n_outputs == 1 and not labels.multilabel
    if two_classes:
        present, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                "The least populated class in y has only 1 sample, which is too few to be both "
                f"trained on and held out. It is {present[counts.argmin()].item()!r}."
            )
    n_rows = np.shape(y)[0]
    stratified = two_classes or (
        every_class and not labels.multilabel and _can_stratify(y, fraction)
    )
    train, held = train_test_split(
        np.arange(n_rows), test_size=fraction, random_state=rng, stratify=y if stratified else None
    )
    if len(held) < 2:
        raise ValueError(
            f"The validation set is too small: validation_fraction={fraction} of {n_rows} "
            "rows. Increase 'validation_fraction' or the size of your dataset."
        )
    return train, held


def _can_stratify(y: Any, fraction: float) -> bool:
    """Whether every class has two rows, and either part has room for a row of every class."""
    counts = np.unique(y, return_counts=True)[1]
    n_held = math.ceil(fraction * len(y))  # as train_test_split rounds
    return bool(counts.min() >= 2) and len(counts) <= min(n_held, len(y) - n_held)
