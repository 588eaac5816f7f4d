"""Hidden-layer activations: f(z), and f'(z) written in terms of a = f(z).

Both work in place, so that a training step allocates nothing. Expressing the derivative through
the activation itself means that back-propagation needs no copy of the pre-activations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quadnet.types import FloatArray


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Parameters
    ----------
    forward : callable
        ``forward(z)`` replaces z by f(z).
    backward : callable
        ``backward(a, delta)`` multiplies delta, the gradient with respect to a, by f'(z).
    """

    forward: Callable[[FloatArray], None]
    backward: Callable[[FloatArray, FloatArray], None]


def logistic(z: FloatArray) -> None:
    """Replace z by 1 / (1 + exp(-z)).

    Computed as (1 + tanh(z / 2)) / 2, which overflows for no z.
    """
    z *= 0.5
    np.tanh(z, out=z)
    z += 1.0
    z *= 0.5


def _logistic_backward(a: FloatArray, delta: FloatArray) -> None:
    delta *= a
    delta *= 1.0 - a


def _tanh(z: FloatArray) -> None:
    np.tanh(z, out=z)


def _tanh_backward(a: FloatArray, delta: FloatArray) -> None:
    delta *= 1.0 - a * a


def _relu(z: FloatArray) -> None:
    np.maximum(z, 0, out=z)


def _relu_backward(a: FloatArray, delta: FloatArray) -> None:
    # The derivative at z = 0 is taken as 0, as scikit-learn does.
    delta *= a > 0


def _identity(*arrays: FloatArray) -> None:
    """Leave the arrays as they are."""


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(_identity, _identity),
    "logistic": Activation(logistic, _logistic_backward),
    "tanh": Activation(_tanh, _tanh_backward),
    "relu": Activation(_relu, _relu_backward),
}
