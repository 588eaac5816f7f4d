"""Starting weights and biases, one layer at a time.

Every initializer draws from the given `RandomState`, weights first, so that the same seed gives the
same network.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import RandomState

from quadnet.types import FloatArray

Initializer = Callable[[RandomState, int, int], tuple[FloatArray, FloatArray]]
"""(random state, fan-in, fan-out) -> weights of shape (fan-in, fan-out), biases (fan-out,)."""


def make_scikit_learn_initializer(*, logistic: bool) -> Initializer:
    """Return the initializer of scikit-learn's MLP, which makes the same draws.

    Weights are drawn as by `glorot_uniform`, in a range narrower by sqrt(3) for logistic units.
    Biases are drawn from the same range.
    """
    gain = 2.0 if logistic else 6.0

    def draw(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
        bound = np.sqrt(gain / (fan_in + fan_out))
        return rng.uniform(-bound, bound, (fan_in, fan_out)), rng.uniform(-bound, bound, fan_out)

    return draw


def glorot_uniform(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform within ±sqrt(6 / (fan_in + fan_out)), biases 0.

    Glorot and Bengio, 2010, equation 16.
    """
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, fan_out)), np.zeros(fan_out)


def glorot_normal(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights normal with variance 2 / (fan_in + fan_out), biases 0.

    Glorot and Bengio, 2010, equation 12.
    """
    return rng.normal(0.0, np.sqrt(2.0 / (fan_in + fan_out)), (fan_in, fan_out)), np.zeros(fan_out)


def he_uniform(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform within ±sqrt(6 / fan_in), which has He's variance of 2 / fan_in; biases 0."""
    bound = np.sqrt(6.0 / fan_in)
    return rng.uniform(-bound, bound, (fan_in, fan_out)), np.zeros(fan_out)


def he_normal(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights normal with variance 2 / fan_in, biases 0: He et al., 2015, equation 10."""
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), (fan_in, fan_out)), np.zeros(fan_out)


def uniform(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform in [-1, 1), biases 0: the article's network 2."""
    return rng.uniform(-1.0, 1.0, (fan_in, fan_out)), np.zeros(fan_out)


def uniform01(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform in [0, 1), biases 0: the article's network 1."""
    return rng.uniform(0.0, 1.0, (fan_in, fan_out)), np.zeros(fan_out)


def make_checked_initializer(initializer: Callable[..., Any]) -> Initializer:
    """Return an initializer that calls the user's and checks its result.

    Weights without biases get biases of 0. It raises ValueError for arrays that do not fit the
    layer.
    """

    def draw(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
        drawn = initializer(rng, fan_in, fan_out)
        W, b = drawn if isinstance(drawn, tuple) else (drawn, np.zeros(fan_out))
        try:
            W, b = np.asarray(W, np.float64), np.asarray(b, np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                "init must return an array of weights, or a tuple of weights and biases. "
                f"Got {type(drawn).__name__}."
            ) from None
        if W.shape != (fan_in, fan_out) or b.shape != (fan_out,):
            raise ValueError(
                f"init must return weights of shape ({fan_in}, {fan_out}), or a tuple of those "
                f"weights and biases of shape ({fan_out},). Got shapes {W.shape} and {b.shape}."
            )
        if not (np.isfinite(W).all() and np.isfinite(b).all()):
            raise ValueError(
                "init must return finite numbers. Got NaN or infinity for the layer of shape "
                f"({fan_in}, {fan_out})."
            )
        return W, b

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "uniform": uniform,
    "uniform01": uniform01,
}


def find_initializer(init: str, first_activation: str | None) -> Initializer:
    """Return the initializer of this name; 'auto' is scikit-learn's.

    Parameters
    ----------
    init : str
        'auto' or a name from `INITIALIZERS`.
    first_activation : str or None
        The activation of the first hidden layer, by which scikit-learn's initializer draws.
    """
    if init == "auto":
        return make_scikit_learn_initializer(logistic=first_activation == "logistic")
    return INITIALIZERS[init]
