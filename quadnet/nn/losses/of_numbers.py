"""The losses of numbers and quantiles."""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import numpy as np

from quadnet.nn.losses.loss import Loss
from quadnet.types import FloatArray


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
        # A network in float64 may have scales beyond float32, and does not use these.
        with np.errstate(over="ignore", under="ignore"):
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


IDENTITY_LOSSES = ("squared_error", "absolute_error", "huber")
"""The losses whose numbers are the logits themselves."""

REGRESSION_LOSSES: dict[str, type[Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "poisson": Poisson,
    "quantile": Quantiles,
}
"""The losses of numbers, by the regressor's parameter `loss`."""
