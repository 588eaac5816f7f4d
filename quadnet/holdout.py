"""The rows that early stopping holds out, and the score of a network on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from quadnet.labels import Labels
from quadnet.network import Network
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
    X: Any,
    y: Any,
    labels: Labels,
    *,
    weights: FloatArray | None,
    fraction: float,
    rng: RandomState,
) -> tuple[IntArray, IntArray]:
    """Draw the rows to train on and the rows to hold out.

    The draw is scikit-learn's MLP's, stratified when there are two classes. But where rows stand
    for several, because their weights are whole numbers that differ, or because most of the rows
    it would hold out have copies among the others, it is the distinct rows that are drawn, in an
    order that their content decides: then a row of weight 2 fares as the row given twice, a row of
    weight 0 as if it were not there, and no score is one of rows trained on. If there are too few
    distinct rows for that, the first draw stands.

    Raises
    ------
    ValueError
        If fewer than two rows would be held out, or a class of two has a single row.
    """
    if not fraction:
        raise ValueError("validation_fraction must be above 0 to hold out rows. Got 0.")
    state = rng.get_state()
    train, held = _draw(np.arange(X.shape[0]), y, labels, fraction, rng)
    keys = _fingerprints(X, labels.targets(y))
    if not _whole_and_different(weights) and np.isin(keys[held], keys[train]).mean() <= 0.5:
        return train, held

    after = rng.get_state()
    counted = np.arange(len(keys)) if weights is None else np.flatnonzero(weights)
    _, first, group = np.unique(keys[counted], return_index=True, return_inverse=True)
    try:
        rng.set_state(state)
        _, drawn = _draw(np.arange(len(first)), y[counted[first]], labels, fraction, rng)
    except ValueError:
        rng.set_state(after)
        return train, held
    holds = np.isin(group, drawn)
    return counted[~holds], counted[holds]


def _whole_and_different(weights: FloatArray | None) -> bool:
    return (
        weights is not None
        and bool((weights == np.floor(weights)).all())
        and bool((weights != weights[0]).any())
    )


def _draw(
    rows: IntArray, y: Any, labels: Labels, fraction: float, rng: RandomState
) -> tuple[IntArray, IntArray]:
    two_classes = labels.n_outputs == 1 and not labels.multilabel
    if two_classes:
        present, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                "The least populated class in y has only 1 sample, which is too few to be both "
                f"trained on and held out. It is {present[counts.argmin()].item()!r}."
            )
    train, held = train_test_split(
        rows, test_size=fraction, random_state=rng, stratify=y if two_classes else None
    )
    if len(held) < 2:
        raise ValueError(
            f"The validation set is too small: validation_fraction={fraction} of {len(rows)} "
            "rows. Increase 'validation_fraction' or the size of your dataset."
        )
    return train, held


def _fingerprints(X: Any, targets: BoolArray) -> NDArray[np.uint64]:
    """Return a number for each row and its labels that is the same for equal ones.

    It is a random linear form in the row's bits, modulo 2**64: others all but never share it.
    """
    rng = np.random.default_rng(0)
    odd = rng.integers(2**63, size=X.shape[1] + targets.shape[1], dtype=np.uint64) * 2 + 1
    bits = np.uint64 if X.dtype == np.float64 else np.uint32
    if isinstance(X, np.ndarray):
        # A thousand rows at a time: float32's are widened for it.
        # Adding 0 makes a 0 of -0.
        parts = ((X[i : i + 1000] + 0).view(bits) for i in range(0, len(X), 1000))
        numbers = np.concatenate([part.astype(np.uint64) @ odd[: X.shape[1]] for part in parts])
    else:
        values = (X.data + 0).view(bits).astype(np.uint64)
        rows = type(X)((values, X.indices, X.indptr), shape=X.shape)
        numbers = rows @ odd[: X.shape[1]]
    numbers += targets.astype(np.uint64) @ odd[X.shape[1] :]
    return np.asarray(numbers)
