"""A trained network with its class names: immutable, thread-safe, free of scikit-learn.

This is what the service runs and what a published version holds.
"""

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.network import Network
from quadnet.types import FloatArray

underflow_is_zero = np.errstate(under="ignore")
"""A decorator: what lies too near to 0 for a float is 0, whatever the caller's np.errstate."""


def decide(Z: FloatArray, classes: NDArray[np.generic], *, multilabel: bool) -> NDArray[np.generic]:
    """Return each row's class, or its 0/1 row of labels, from logits of shape (n_rows, n_outputs).

    Logits still differ where probabilities are both 1 in floats. At a tie, and at a logit of 0,
    the earlier class wins, and a label is not given.
    """
    if multilabel:
        return np.greater(Z, 0).astype(np.int64)
    if len(classes) == 1:
        return classes[np.zeros(len(Z), np.intp)]
    winners = np.greater(Z[:, 0], 0).astype(np.intp) if Z.shape[1] == 1 else Z.argmax(axis=1)
    chosen: NDArray[np.generic] = classes[winners]
    return chosen


class Predictor:
    """A network that can no longer change, and the name of each of its classes.

    Parameters
    ----------
    network : Network
        Copied, and the copy's parameters made read-only.
    classes : sequence of labels
        One a class, in the order of the columns of `probabilities`.

    Attributes
    ----------
    dtype : dtype
        The floating-point type that the network computes in.
    """

    def __init__(self, network: Network, classes: Sequence[object] | NDArray[np.generic]) -> None:
        self.network = copy.deepcopy(network)
        self.network.parameters.freeze()
        self.classes = np.array(classes)
        self.classes.setflags(write=False)
        self.dtype: np.dtype[np.floating] = self.network.parameters.flat.dtype
        # Trained on one class, a network has an output for a second that was never seen.
        self._one_class = len(self.classes) == 1 and not self.network.loss.multilabel

    @property
    def n_features(self) -> int:
        """How many columns an input row has."""
        return self.network.layer_sizes[0]

    @underflow_is_zero
    def probabilities(self, X: FloatArray) -> FloatArray:
        """Return class probabilities, of shape (n_rows, n_classes), for X (n_rows, n_features)."""
        X = np.asarray(X, dtype=self.dtype)
        if self._one_class:
            return np.ones((len(X), 1), self.dtype)
        return self.network.probabilities(X)

    @underflow_is_zero
    def probabilities_by_class(self, X: FloatArray) -> FloatArray:
        """Return the same with each class's in one row, equal but for rounding."""
        X = np.asarray(X, dtype=self.dtype)
        if self._one_class:
            return np.ones((1, len(X)), self.dtype)
        return self.network.probabilities_by_class(X)

    @underflow_is_zero
    def predict(self, X: FloatArray) -> NDArray[np.generic]:
        """Return the most probable class of each row, or which labels each row has (0 or 1)."""
        Z = self.network.logits(np.asarray(X, dtype=self.dtype))
        return decide(Z, self.classes, multilabel=self.network.loss.multilabel)

    def __reduce__(self) -> tuple[type["Predictor"], tuple[Network, NDArray[np.generic]]]:
        # Arrays come back writable from a pickle and from a copy: the constructor freezes them.
        return Predictor, (self.network, self.classes)

    def __repr__(self) -> str:
        shape = "-".join(str(n) for n in self.network.layer_sizes)
        return f"Predictor({shape}, classes={self.classes.tolist()})"
