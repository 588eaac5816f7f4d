"""The output layer: a link (from logits to outputs) and its loss, as one object.

Pairing them here, and nowhere else, makes an illegal pair impossible to write: each class below
knows the one gradient that belongs to its link and its loss together.
"""

from typing import Protocol

import numpy as np

from quadnet.activations import logistic
from quadnet.types import FloatArray


class Loss(Protocol):
    """What the network asks of its output layer.

    Z are logits of shape (n_rows, n_outputs); P are the outputs, Y the targets, both of that
    shape and, for each row, in [0, 1].
    """

    def link(self, Z: FloatArray) -> None:
        """Replace the logits Z by the outputs P."""

    def value(self, P: FloatArray, Y: FloatArray) -> float:
        """Return the loss, averaged over rows."""

    def delta(self, P: FloatArray, Y: FloatArray, out: FloatArray) -> None:
        """Write each row's gradient with respect to its logits into `out`."""

    def probabilities(self, P: FloatArray) -> FloatArray:
        """Return the outputs P as probabilities: non-negative rows that sum to 1."""


class SoftmaxCrossEntropy:
    """P = softmax(Z), loss = -sum_k Y_k log P_k: one of many classes."""

    def link(self, Z: FloatArray) -> None:
        # Subtracting the row's maximum leaves the quotient unchanged and exp without overflow.
        Z -= Z.max(axis=1, keepdims=True)
        np.exp(Z, out=Z)
        Z /= Z.sum(axis=1, keepdims=True)

    def value(self, P: FloatArray, Y: FloatArray) -> float:
        return float(-np.vdot(Y, np.log(np.maximum(P, np.finfo(P.dtype).eps)))) / len(P)

    def delta(self, P: FloatArray, Y: FloatArray, out: FloatArray) -> None:
        np.subtract(P, Y, out=out)

    def probabilities(self, P: FloatArray) -> FloatArray:
        return P


class _Sigmoid:
    """P = 1 / (1 + exp(-Z)), each output for itself."""

    def link(self, Z: FloatArray) -> None:
        logistic(Z)

    def probabilities(self, P: FloatArray) -> FloatArray:
        if P.shape[1] == 1:
            return np.hstack([1.0 - P, P])
        total = P.sum(axis=1, keepdims=True)
        # All outputs can underflow to 0 far from the data; the row then favours no class.
        uniform = np.full_like(P, 1.0 / P.shape[1])
        np.divide(P, total, out=uniform, where=total > 0)
        return uniform


class SigmoidCrossEntropy(_Sigmoid):
    """Loss = -sum_k (Y_k log P_k + (1 - Y_k) log(1 - P_k)): one output for two classes."""

    def value(self, P: FloatArray, Y: FloatArray) -> float:
        eps = np.finfo(P.dtype).eps
        P = np.clip(P, eps, 1.0 - eps)
        return float(-(np.vdot(Y, np.log(P)) + np.vdot(1.0 - Y, np.log1p(-P)))) / len(P)

    def delta(self, P: FloatArray, Y: FloatArray, out: FloatArray) -> None:
        np.subtract(P, Y, out=out)


class SigmoidSquaredError(_Sigmoid):
    """Loss = 1/2 sum_k (P_k - Y_k)^2: the article's own output layer."""

    def value(self, P: FloatArray, Y: FloatArray) -> float:
        difference = P - Y
        return 0.5 * float(np.vdot(difference, difference)) / len(P)

    def delta(self, P: FloatArray, Y: FloatArray, out: FloatArray) -> None:
        np.subtract(P, Y, out=out)
        out *= P
        out *= 1.0 - P


LOSSES: dict[str, type[Loss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "sigmoid_cross_entropy": SigmoidCrossEntropy,
    "sigmoid_squared_error": SigmoidSquaredError,
}
