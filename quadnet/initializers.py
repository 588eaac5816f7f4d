"""Starting weights and biases, one layer at a time.

Every initializer draws from the `RandomState` it is given, weights first, so that the same seed
gives the same network; `glorot_uniform` makes the very draws of scikit-learn's MLP.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import RandomState

from quadnet.types import FloatArray

Initializer = Callable[[RandomState, int, int], tuple[FloatArray, FloatArray]]
"""(random state, fan-in, fan-out) -> weights of shape (fan-in, fan-out), biases (fan-out,)."""


def glorot_uniform(
    rng: RandomState, fan_in: int, fan_out: int, *, gain: float = 6.0
) -> tuple[FloatArray, FloatArray]:
    """Weights and biases uniform within ±sqrt(gain / (fan_in + fan_out)).

    Glorot and Bengio, 2010, equation 16, for weights; drawing the biases from the same range is
    scikit-learn's habit.
    """
    bound = np.sqrt(gain / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, fan_out)), rng.uniform(-bound, bound, fan_out)


def glorot_uniform_logistic(
    rng: RandomState, fan_in: int, fan_out: int
) -> tuple[FloatArray, FloatArray]:
    """`glorot_uniform` with the narrower range that scikit-learn gives logistic units."""
    return glorot_uniform(rng, fan_in, fan_out, gain=2.0)


def uniform(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform in [-1, 1), biases 0: the article's network 2."""
    return rng.uniform(-1.0, 1.0, (fan_in, fan_out)), np.zeros(fan_out)


def uniform01(rng: RandomState, fan_in: int, fan_out: int) -> tuple[FloatArray, FloatArray]:
    """Weights uniform in [0, 1), biases 0: the article's network 1."""
    return rng.uniform(0.0, 1.0, (fan_in, fan_out)), np.zeros(fan_out)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_uniform_logistic": glorot_uniform_logistic,
    "uniform": uniform,
    "uniform01": uniform01,
}
