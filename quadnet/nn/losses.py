"""The output layer: a link (from logits to outputs), its loss and its probabilities, in one object.

Link and loss are paired only here, because each pair has one gradient: a wrong pair cannot be
written elsewhere.

Arrays hold one output unit per row and one example per column. Sums and comparisons over the
outputs then run over whole rows, which NumPy does several times faster than within rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

import numpy as np

from quadnet.types import FloatArray

_LARGEST_EXPONENT = {"f": 88.0, "d": 709.0}
"""The largest argument for which exp is finite, by the dtype's character."""

_EPSILON = {char: np.finfo(char).eps.item() for char in "fd"}
"""The distance from 1 to the next larger number, by the dtype's character."""


class Loss(Protocol):
    """What the network needs of its output layer.

    Z are logits of shape (n_outputs, n_examples); P are the outputs and Y the targets of that
    shape, 0 or 1 for classes. Scratch arrays are overwritten; without them, new arrays are
    allocated.
    """

    multilabel: ClassVar[bool]
    """Whether an example may have any number of classes; otherwise it has one."""

    link_name: ClassVar[str]
    """The name of the link, such as "softmax"."""

    averages_outputs: ClassVar[bool]
    """Whether users see the loss divided by the number of outputs, as scikit-learn's squared error
    is. The gradient is always that of the sum, so that no output learns more slowly for others."""

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        """Replace the logits Z by the outputs P; `row` is scratch of shape (n_examples,)."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        """Write each example's gradient with respect to its logits into `out`."""

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        """Return each example's loss; leading axes of P and Y are kept: (..., n_examples)."""

    def probabilities(self, Z: FloatArray) -> FloatArray:
        """Return the probabilities, (n_classes, n_examples), from the logits.

        The logits are overwritten. A single output stands for two classes. Those of one example may
        be a vector.
        """

    def log_probabilities(self, Z: FloatArray) -> FloatArray:
        """Return the logarithms of the probabilities, from the logits: finite where Z is."""


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


class _Regression:
    """P = Z: the outputs are the numbers that are predicted."""

    multilabel: ClassVar[bool] = False
    link_name: ClassVar[str] = "identity"
    averages_outputs: ClassVar[bool] = True

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        """Leave Z as it is."""

    def probabilities(self, Z: FloatArray) -> NoReturn:
        raise TypeError("A network that predicts numbers has no class probabilities.")

    def log_probabilities(self, Z: FloatArray) -> NoReturn:
        raise TypeError("A network that predicts numbers has no class probabilities.")


class SquaredError(_Regression):
    """Loss = 1/2 sum_k (P_k - Y_k)^2."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        difference = P - Y
        difference *= difference
        half_square: FloatArray = 0.5 * np.add.reduce(difference, axis=-2)
        return half_square


class AbsoluteError(_Regression):
    """Loss = sum_k |P_k - Y_k|, whose minimum is the median. Its slope at 0 is taken as 0."""

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)
        np.sign(out, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        difference = P - Y
        np.absolute(difference, out=difference)
        values: FloatArray = np.add.reduce(difference, axis=-2)
        return values


class Huber(_Regression):
    """Half the squared error up to `delta`, and beyond it the line that continues it.

    P. J. Huber, "Robust Estimation of a Location Parameter", 1964.

    Parameters
    ----------
    delta : float
        Above 0.
    """

    def __init__(self, delta: float) -> None:
        if not 0.0 < delta < np.inf:
            raise ValueError(f"delta must be a finite number above 0, got {delta!r}")
        self._bound = float(delta)

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)
        np.minimum(out, self._bound, out=out)
        np.maximum(out, -self._bound, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        difference = P - Y
        bounded = np.clip(difference, -self._bound, self._bound)
        difference -= 0.5 * bounded
        difference *= bounded
        values: FloatArray = np.add.reduce(difference, axis=-2)
        return values


class Poisson(_Regression):
    """P = exp(Z), loss = sum_k (Y_k log(Y_k / P_k) - Y_k + P_k), half the Poisson deviance.

    The form of scikit-learn's MLPRegressor, which is 0 for P = Y.
    """

    link_name: ClassVar[str] = "exp"
    averages_outputs: ClassVar[bool] = False

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        np.exp(Z, out=Z)

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        ratio = np.divide(Y, P, out=np.ones_like(P), where=Y > 0)
        np.log(ratio, out=ratio)
        ratio *= Y
        ratio -= Y
        ratio += P
        values: FloatArray = np.add.reduce(ratio, axis=-2)
        return values


class Quantiles(_Regression):
    """The quantiles of each target, which never cross, and the sum of their pinball losses.

    The outputs are the lowest quantile of each target, then the next one of each, and so on. The
    lowest is P_1 = Z_1. Each other one is a step above the one before, P_j = P_(j-1) + s log(1 +
    exp(Z_j / s)). A sum with a number that is not negative never rounds below its first term, so
    that the order holds to the last bit.

    The pinball loss of the quantile q is (Y - P) (q - [Y < P]): R. Koenker and G. Bassett,
    "Regression Quantiles", 1978.

    Parameters
    ----------
    quantiles : sequence of float
        Increasing, in (0, 1).
    scales : sequence of float
        The s of each target. With it the outputs of a network that was trained on Y / s are
        multiplied by s if its last layer is.
    """

    link_name: ClassVar[str] = "quantiles"

    def __init__(self, quantiles: Sequence[float], scales: Sequence[float]) -> None:
        levels = np.array(quantiles, np.float64)
        if levels.ndim != 1 or not len(levels) or not is_increasing(levels):
            raise ValueError(f"quantiles must increase and be in (0, 1), got {quantiles!r}")
        each = np.array(scales, np.float64)
        if each.ndim != 1 or not len(each) or not ((each > 0) & (each < np.inf)).all():
            raise ValueError(f"scales must be finite numbers above 0, got {scales!r}")
        self._shape = (len(levels), len(each))
        self._is_scaled = bool((each != 1.0).any())
        by_output = np.repeat(levels, len(each))
        # By the dtype's character, because float64 would make float32 float64.
        self._scales = {char: each.astype(char)[:, np.newaxis] for char in "fd"}
        self._levels = {char: by_output.astype(char)[:, np.newaxis] for char in "fd"}
        # The slope of the pinball loss is 1/2 sign(P - Y) + 1/2 - q.
        self._slopes = {char: (0.5 - by_output).astype(char)[:, np.newaxis] for char in "fd"}

    def link(self, Z: FloatArray, row: FloatArray | None = None) -> None:
        Q = self._by_quantile(Z)
        n_quantiles, scales = self._shape[0], self._scales[Z.dtype.char]
        if n_quantiles == 1:
            return
        steps = Q[1:]
        if self._is_scaled:
            np.divide(steps, scales, out=steps)
        np.logaddexp(0, steps, out=steps)
        if self._is_scaled:
            np.multiply(steps, scales, out=steps)
        for j in range(1, n_quantiles):
            np.add(Q[j], Q[j - 1], out=Q[j])

    def delta(
        self, P: FloatArray, Y: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> None:
        np.subtract(P, Y, out=out)
        np.sign(out, out=out)
        out *= 0.5
        D, char, n_quantiles = self._by_quantile(out), P.dtype.char, self._shape[0]
        np.add(out, self._slopes[char], out=out)
        if n_quantiles == 1:
            return
        # A logit moves its own quantile and all above it.
        for j in range(n_quantiles - 2, -1, -1):
            np.add(D[j], D[j + 1], out=D[j])
        Q = self._by_quantile(P)
        slopes = self._by_quantile(np.empty_like(P) if scratch is None else scratch)[1:]
        # The slope of a step t = s log(1 + exp(z / s)) is 1 - exp(-t / s).
        np.subtract(Q[:-1], Q[1:], out=slopes)
        if self._is_scaled:
            np.divide(slopes, self._scales[char], out=slopes)
        np.expm1(slopes, out=slopes)
        np.negative(slopes, out=slopes)
        np.multiply(D[1:], slopes, out=D[1:])

    def values(self, P: FloatArray, Y: FloatArray) -> FloatArray:
        above = Y - P
        losses = above * self._levels[P.dtype.char]
        np.subtract(losses, above, out=above)
        np.maximum(losses, above, out=losses)
        values: FloatArray = np.add.reduce(losses, axis=-2)
        return values

    def _by_quantile(self, Z: FloatArray) -> FloatArray:
        """Return a view of shape (n_quantiles, n_targets, n_examples)."""
        return Z.reshape(*self._shape, Z.shape[-1])


def is_increasing(quantiles: FloatArray) -> bool:
    """Whether quantiles are in (0, 1), each above the one before."""
    return bool((np.diff(quantiles, prepend=0.0, append=1.0) > 0).all())


REGRESSION_LOSSES: dict[str, type[Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "poisson": Poisson,
    "quantile": Quantiles,
}
"""The losses of numbers, by the regressor's parameter `loss`."""


def make_loss(name: str, settings: Mapping[str, Any]) -> Loss:
    """Return the loss of this name from `LOSSES` or `REGRESSION_LOSSES`.

    Parameters
    ----------
    name : str
    settings : mapping of str to object
        The arguments of its constructor, such as the `quantiles`.
    """
    table = REGRESSION_LOSSES if name in REGRESSION_LOSSES else LOSSES
    return table[name](**settings)
