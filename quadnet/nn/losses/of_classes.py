"""The losses of classes and labels, and how the estimator's parameter names them."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from quadnet.nn.losses.loss import Loss
from quadnet.types import FloatArray

_LARGEST_EXPONENT = {"f": 88.0, "d": 709.0}
"""The largest argument for which exp is finite, by the dtype's character."""

_EPSILON = {char: np.finfo(char).eps.item() for char in "fd"}
"""The distance from 1 to the next larger number, by the dtype's character."""


def _clipped_log(P: FloatArray) -> FloatArray:
    """Return log P with P clipped to [eps, 1 - eps], as scikit-learn does; P is overwritten."""
    eps = _EPSILON[P.dtype.char]
    np.maximum(P, eps, out=P)
    np.minimum(P, 1.0 - eps, out=P)
    return np.log(P, out=P)


class SoftmaxCrossEntropy:
    """P = softmax(Z), loss = -log P of the true class: each example has one of many classes."""

    multilabel: ClassVar[bool] = False
    averages_outputs: ClassVar[bool] = False
    link_name: ClassVar[str] = "softmax"

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        # Subtracting the maximum leaves the quotient unchanged and exp without overflow.
        Z -= np.maximum.reduce(Z, axis=0, out=row)
        np.exp(Z, out=Z)
        Z /= np.add.reduce(Z, axis=0, out=row)

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        # Y has a single 1: the sum is P of the true class, and one logarithm is enough.
        return np.negative(_clipped_log(np.add.reduce(P * Y, axis=-2)))

    def soft_values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        """Return each example's loss, -sum_k Y_k log P_k, for any Y that sums to 1."""
        values: FloatArray = np.negative(np.add.reduce(Y * _clipped_log(P.copy()), axis=-2))
        return values

    def probabilities(self, Z: FloatArray) -> FloatArray:
        self.link(Z)
        return Z

    def log_probabilities(self, Z: FloatArray) -> FloatArray:
        Z = Z - np.max(Z, axis=0)
        Z -= np.log(np.sum(np.exp(Z), axis=0))
        return Z


class _Sigmoid:
    """P = 1 / (1 + exp(-Z)), each output independently.

    A single output is the probability of the second of two classes. Several outputs are divided by
    their sum, which gives the probabilities.
    """

    multilabel: ClassVar[bool] = False
    averages_outputs: ClassVar[bool] = False
    link_name: ClassVar[str] = "logistic"

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        # The hidden layers' logistic is faster, but loses the digits of small values, which matter
        # in probabilities. The bound keeps exp(-Z) finite.
        np.negative(Z, out=Z)
        np.minimum(Z, _LARGEST_EXPONENT[Z.dtype.char], out=Z)
        np.exp(Z, out=Z)
        Z += 1.0
        np.divide(1.0, Z, out=Z)

    def probabilities(self, Z: FloatArray) -> FloatArray:
        if len(Z) == 1:
            # Both from the logit: 1 - P loses every digit below the last one of 1.
            both = np.concatenate([-Z, Z])
            self.link(both)
            return both
        self.link(Z)
        P, total = Z, np.sum(Z, axis=0)
        # Far from the data all outputs can underflow to 0; all classes are then equally probable.
        shares = np.full_like(P, 1.0 / len(P))
        # A NaN must remain visible: NaN != 0, so that it is divided by.
        np.divide(P, total, out=shares, where=total != 0)
        return shares

    def log_probabilities(self, Z: FloatArray) -> FloatArray:
        log_P = _log_logistic(Z)
        if len(Z) == 1:
            return np.concatenate([_log_logistic(-Z), log_P])
        log_P -= np.logaddexp.reduce(log_P, axis=0)
        return log_P


def _log_logistic(Z: FloatArray) -> FloatArray:
    logarithms: FloatArray = np.negative(np.logaddexp(0, -Z))
    return logarithms


class SigmoidCrossEntropy(_Sigmoid):
    """Loss = -sum_k (Y_k log P_k + (1 - Y_k) log(1 - P_k)), the binary cross-entropy."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        likelihood = P * Y
        likelihood += (1.0 - P) * (1.0 - Y)
        values: FloatArray = np.negative(np.add.reduce(_clipped_log(likelihood), axis=-2))
        return values

    def soft_values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        """Return each example's loss for any Y between 0 and 1."""
        terms = Y * _clipped_log(P.copy())
        terms += (1.0 - Y) * _clipped_log(1.0 - P)
        values: FloatArray = np.negative(np.add.reduce(terms, axis=-2))
        return values


class SigmoidSquaredError(_Sigmoid):
    """Loss = 1/2 sum_k (P_k - Y_k)^2: the output layer of the article."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)
        out *= P
        out *= np.subtract(1.0, P, out=scratch)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        difference = P - Y
        difference *= difference
        half_square: FloatArray = 0.5 * np.add.reduce(difference, axis=-2)
        return half_square


class _Multilabel(_Sigmoid):
    """Every output is the probability of one label, independent of the other labels."""

    multilabel: ClassVar[bool] = True

    def probabilities(self, Z: FloatArray) -> FloatArray:
        self.link(Z)
        return Z

    def log_probabilities(self, Z: FloatArray) -> FloatArray:
        return _log_logistic(Z)


class MultilabelCrossEntropy(_Multilabel, SigmoidCrossEntropy):
    """The binary cross-entropy of each label."""


class MultilabelSquaredError(_Multilabel, SigmoidSquaredError):
    """The squared error of each label."""


def find_values(
    loss: Loss, targets: np.dtype[Any]
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return the function that computes each example's loss for targets that had this type.

    Targets of type bool are 0 or 1, for which a single logarithm of an example is enough. Others
    may be between 0 and 1.
    """
    if targets != np.bool_ and isinstance(loss, (SoftmaxCrossEntropy, SigmoidCrossEntropy)):
        return loss.soft_values
    return loss.values


class LossNames(NamedTuple):
    """The loss for each kind of target, by its name in `LOSSES`."""

    several_classes: str
    two_classes: str
    several_labels: str


LOSS_PARAMETERS = {
    "log_loss": LossNames(
        "softmax_cross_entropy", "sigmoid_cross_entropy", "multilabel_cross_entropy"
    ),
    "binary_cross_entropy": LossNames(
        "sigmoid_cross_entropy", "sigmoid_cross_entropy", "multilabel_cross_entropy"
    ),
    "squared_error": LossNames(
        "sigmoid_squared_error", "sigmoid_squared_error", "multilabel_squared_error"
    ),
}
"""What the estimator's parameter `loss` may be."""

LOSSES: dict[str, type[Loss]] = {
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "sigmoid_cross_entropy": SigmoidCrossEntropy,
    "sigmoid_squared_error": SigmoidSquaredError,
    "multilabel_cross_entropy": MultilabelCrossEntropy,
    "multilabel_squared_error": MultilabelSquaredError,
}
"""The losses of classes."""
