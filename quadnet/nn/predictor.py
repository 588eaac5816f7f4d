"""A trained network with its class names: immutable, thread-safe, without scikit-learn.

The service runs it, and a published version holds it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.network import Network
from quadnet.types import FloatArray

underflow_is_zero = np.errstate(under="ignore")
"""A decorator: underflow gives 0 silently, whatever the caller's np.errstate."""


def choose_labels(
    Z: FloatArray, classes: NDArray[np.generic], *, multilabel: bool
) -> NDArray[np.generic]:
    """Return each row's class, or its 0/1 row of labels, from logits of shape (n_rows, n_outputs).

    Logits are compared, because they still differ where probabilities round to 1. At a tie, and at
    a logit of 0, the earlier class is chosen; for multilabel problems a logit of 0 gives 0.
    """
    if multilabel:
        return np.greater(Z, 0).astype(np.int64)
    if len(classes) == 1:
        return classes[np.zeros(len(Z), np.intp)]
    winners = np.greater(Z[:, 0], 0).astype(np.intp) if Z.shape[1] == 1 else Z.argmax(axis=1)
    chosen: NDArray[np.generic] = classes[winners]
    return chosen


def arrange_numbers(P: FloatArray, n_columns: int | None, n_quantiles: int) -> FloatArray:
    """Return outputs of shape (n_rows, n_outputs) as (n_rows, n_quantiles) or, with columns, 3-D.

    With several columns of y the shape is (n_rows, n_columns, n_quantiles). A network without
    quantiles has one.
    """
    columns = () if n_columns is None else (n_columns,)
    return np.moveaxis(P.reshape(len(P), n_quantiles, *columns), 1, -1)


def find_middle(quantiles: Sequence[float]) -> int:
    """Return which of the quantiles is the nearest to the median; 0 without quantiles."""
    return int(np.argmin(np.abs(np.array([*quantiles] or [0.5]) - 0.5)))


class Predictor:
    """An immutable network with its class names.

    Parameters
    ----------
    network : Network
        Copied, without what only training needs; the copy's parameters are read-only.
    classes : sequence of labels
        One per class, in the order of the columns of `probabilities`.

    Attributes
    ----------
    dtype : dtype
        The floating-point type that the network computes in.

    Raises
    ------
    TypeError
        If the network predicts numbers.
    """

    # The public path, so that pickles load after this module has moved.
    __module__ = "quadnet"

    def __init__(self, network: Network, classes: Sequence[object] | NDArray[np.generic]) -> None:
        if network.loss_name not in LOSSES:
            raise TypeError(
                "A Predictor needs a network that predicts classes. Got one that predicts numbers, "
                f"with the loss {network.loss_name!r}, which is for a RegressionPredictor."
            )
        self.network = network.for_predicting()
        self.network.parameters.freeze()
        self.classes = np.array(classes)
        self.classes.setflags(write=False)
        self.dtype: np.dtype[np.floating] = self.network.parameters.flat.dtype
        # A network that was trained on one class has an output for a second class.
        self._one_class = len(self.classes) == 1 and not self.network.loss.multilabel

    @property
    def n_features(self) -> int:
        """Number of columns of an input row."""
        return self.network.n_features

    @underflow_is_zero
    def probabilities(self, X: FloatArray) -> FloatArray:
        """Return class probabilities, of shape (n_rows, n_classes), for X (n_rows, n_features)."""
        X = np.asarray(X, dtype=self.dtype)
        if self._one_class:
            return np.ones((len(X), 1), self.dtype)
        return self.network.probabilities(X)

    @underflow_is_zero
    def probabilities_by_class(self, X: FloatArray) -> FloatArray:
        """Return class probabilities of shape (n_classes, n_rows); rounding may differ."""
        X = np.asarray(X, dtype=self.dtype)
        if self._one_class:
            return np.ones((1, len(X)), self.dtype)
        return self.network.probabilities_by_class(X)

    @underflow_is_zero
    def predict(self, X: FloatArray) -> NDArray[np.generic]:
        """Return each row's most probable class, or for multilabel problems rows of 0 and 1."""
        Z = self.network.logits(np.asarray(X, dtype=self.dtype))
        return choose_labels(Z, self.classes, multilabel=self.network.loss.multilabel)

    def with_network(self, network: Network) -> "Predictor":
        """Return a predictor of the same classes with another network."""
        return Predictor(network, self.classes)

    def __getstate__(self) -> dict[str, Any]:
        # Only names and arrays, so that a pickle names no class but this one.
        return {"network": self.network.__getstate__(), "classes": self.classes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        network = Network.__new__(Network)
        network.__setstate__(dict(state["network"]))
        # Arrays load writable: the constructor makes them read-only.
        self.__init__(network, state["classes"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Predictor({self.network}, classes={self.classes.tolist()})"


class RegressionPredictor:
    """An immutable network that predicts numbers.

    Parameters
    ----------
    network : Network
        Copied, without what only training needs; the copy's parameters are read-only.
    n_columns : int or None
        Columns of y; None if y is one number for each row.

    Attributes
    ----------
    dtype : dtype
        The floating-point type that the network computes in.
    quantiles : tuple of float
        Those that the network predicts, if it was trained on quantiles.
    """

    # The public path, so that pickles load after this module has moved.
    __module__ = "quadnet"

    def __init__(self, network: Network, n_columns: int | None) -> None:
        self.network = network.for_predicting()
        self.network.parameters.freeze()
        self.n_columns = n_columns
        self.quantiles: tuple[float, ...] = tuple(network.loss_settings.get("quantiles", ()))
        self.dtype: np.dtype[np.floating] = self.network.parameters.flat.dtype

    @property
    def n_features(self) -> int:
        """Number of columns of an input row."""
        return self.network.n_features

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the numbers of each row, of shape (n_rows,) or (n_rows, n_columns).

        Of several quantiles it is the one nearest to the median.
        """
        numbers: FloatArray = self.outputs(X)[..., find_middle(self.quantiles)]
        return numbers

    def predict_quantiles(self, X: FloatArray) -> FloatArray:
        """Return the quantiles of each row, along the last axis, each at least the one before.

        Raises
        ------
        ValueError
            If the network was not trained on quantiles.
        """
        if not self.quantiles:
            raise ValueError(
                "predict_quantiles needs a network that was trained with loss='quantile'. Got "
                f"loss={self.network.loss_name!r}."
            )
        return self.outputs(X)

    @underflow_is_zero
    def outputs(self, X: FloatArray) -> FloatArray:
        """Return all numbers of each row: the last axis has the quantiles, or the one number."""
        P = self.network.outputs(np.asarray(X, dtype=self.dtype))
        return arrange_numbers(P, self.n_columns, max(1, len(self.quantiles)))

    def with_network(self, network: Network) -> "RegressionPredictor":
        """Return a predictor of the same columns with another network."""
        return RegressionPredictor(network, self.n_columns)

    def __getstate__(self) -> dict[str, Any]:
        # Only names and arrays, so that a pickle names no class but this one.
        return {"network": self.network.__getstate__(), "n_columns": self.n_columns}

    def __setstate__(self, state: dict[str, Any]) -> None:
        network = Network.__new__(Network)
        network.__setstate__(dict(state["network"]))
        self.__init__(network, state["n_columns"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"RegressionPredictor({self.network}, n_columns={self.n_columns})"


AnyPredictor = Predictor | RegressionPredictor
