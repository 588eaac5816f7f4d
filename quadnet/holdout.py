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

    def __init__(
        self, X: Any, y: Any, labels: Labels, *, weights: FloatArray | None = None
    ) -> None:
        self.X, self.y, self.labels, self.weights = X, y, labels, weights
        self._targets = labels.targets(y)

    def loss(self, network: Network) -> float:
        """Return the mean loss, without penalty."""
        P = network.outputs(self.X).T
        values = network.loss.values(P, self._targets.T.astype(P.dtype))
        return float(np.average(values, weights=self.weights))

    def accuracy(self, network: Network) -> float:
        """Return the share of rows whose label, or whole set of labels, is right."""
        Z = network.logits(self.X)
        right = self.labels.targets(self.labels.decide(Z)) == self._targets
        return float(np.average(right.all(axis=1), weights=self.weights))


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

    The draw is scikit-learn's MLP's, stratified when there are two classes, unless that would
    leave copies of one row on both sides, or rows have different weights. Then distinct rows are
    drawn, in an order that their content decides: so no held-out row has been trained on, and a
    row of weight 2 fares as the row given twice, a row of weight 0 as if it were not there.

    Raises
    ------
    ValueError
        If fewer than two rows would be held out, or a class of two has a single row.
    """
    state = rng.get_state()
    train, held = _draw(np.arange(X.shape[0]), y, labels, fraction, rng)
    keys = _fingerprints(X, labels.targets(y))
    alike = weights is None or bool((weights == weights[0]).all())
    if alike and not np.isin(keys[held], keys[train]).any():
        return train, held

    rng.set_state(state)
    counted = np.arange(len(keys)) if weights is None else np.flatnonzero(weights)
    _, first, group = np.unique(keys[counted], return_index=True, return_inverse=True)
    _, held_groups = _draw(np.arange(len(first)), y[counted[first]], labels, fraction, rng)
    holds = np.isin(group, held_groups)
    by_content = counted[np.argsort(group, kind="stable")]
    holds = holds[np.argsort(group, kind="stable")]
    return by_content[~holds], by_content[holds]


def _draw(
    rows: IntArray, y: Any, labels: Labels, fraction: float, rng: RandomState
) -> tuple[IntArray, IntArray]:
    two_classes = labels.n_outputs == 1 and not labels.multilabel
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
    """Return a number for each row and its labels that is the same for equal ones only.

    It is a random linear form in the row's bits, modulo 2**64.
    """
    rng = np.random.default_rng(0)
    odd = rng.integers(2**63, size=X.shape[1] + targets.shape[1], dtype=np.uint64) * 2 + 1
    bits = np.uint64 if X.dtype == np.float64 else np.uint32
    if isinstance(X, np.ndarray):
        rows = X.view(bits).astype(np.uint64, copy=False)
    else:
        values = X.data.view(bits).astype(np.uint64, copy=False)
        rows = type(X)((values, X.indices, X.indptr), shape=X.shape)
    numbers: NDArray[np.uint64] = rows @ odd[: X.shape[1]]
    numbers += targets.astype(np.uint64) @ odd[X.shape[1] :]
    return numbers
