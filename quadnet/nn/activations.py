"""Hidden-layer activations: f(z) forward, and a gradient's product with f'(z) backward.

All write into the given arrays, so that a training step allocates nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from quadnet.types import BoolArray, FloatArray


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Parameters
    ----------
    forward : callable
        ``forward(z, out=None)`` returns f(z), written into ``out`` if given. ``out`` may be z only
        if the activation works in place.
    backward : callable
        ``backward(z, a, delta, mask)`` multiplies delta, the gradient with respect to a = f(z), by
        f'(z). z, a and the booleans in mask have the shape of delta and are overwritten.
    in_place : bool
        Whether z may be overwritten by f(z), f'(z) being a function of f(z).
    """

    forward: Callable[..., FloatArray]
    backward: Callable[[FloatArray, FloatArray, FloatArray, BoolArray], None]
    in_place: bool = False


def logistic(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Return 1 / (1 + exp(-z)), in `out` (which may be z) if given.

    Computed as (1 + tanh(z / 2)) / 2, which never overflows.
    """
    a = np.multiply(z, 0.5, out=out)
    np.tanh(a, out=a)
    a += 1.0
    a *= 0.5
    return a


def _logistic_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    delta *= a
    np.subtract(1.0, a, out=a)
    delta *= a


def _tanh(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    a: FloatArray = np.tanh(z, out=out)
    return a


def _tanh_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    a *= a
    np.subtract(1.0, a, out=a)
    delta *= a


def _identity(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    return np.positive(z, out=out)


def _identity_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    """Leave delta as it is: f' is 1."""


_zeros = lru_cache(maxsize=64)(np.zeros)


def _relu(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    # NumPy's maximum has a vector loop for two arrays, but not for an array and a number. On rows
    # as long as a mini-batch the vector loop takes half the time.
    n = z.shape[-1]
    zero = _zeros(n, z.dtype) if 32 <= n <= 4096 else 0
    a: FloatArray = np.maximum(z, zero, out=out)
    return a


def _relu_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    # The derivative at z = 0 is taken as 0, as scikit-learn does.
    delta *= np.greater(a, 0, out=mask)


LEAK = 0.01


def _leaky_relu(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    a = np.multiply(z, LEAK, out=out)
    return np.maximum(z, a, out=a)


def _leaky_relu_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    np.copyto(a, np.greater(z, 0, out=mask))
    a *= 1.0 - LEAK
    a += LEAK
    delta *= a


def _elu(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    a = np.minimum(z, 0, out=out)
    np.expm1(a, out=a)
    return np.maximum(z, a, out=a)


def _elu_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    # exp(z) = a + 1 where z < 0, and 1 elsewhere.
    np.minimum(a, 0, out=a)
    a += 1.0
    delta *= a


def _softplus(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    a: FloatArray = np.logaddexp(0, z, out=out)
    return a


def _softplus_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    delta *= logistic(z, out=z)


def _silu(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    a = logistic(z, out=out)
    a *= z
    return a


def _silu_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    # With s = logistic(z): f' = s + a - s a = 1 - (1 - s) (1 - a).
    logistic(z, out=z)
    np.subtract(1.0, z, out=z)
    np.subtract(1.0, a, out=a)
    a *= z
    np.subtract(1.0, a, out=a)
    delta *= a


_GELU_SCALE, _GELU_CUBE = np.sqrt(2.0 / np.pi).item(), 0.044715


def _gelu(z: FloatArray, out: FloatArray | None = None) -> FloatArray:
    # Half of z (1 + t), with t = tanh(scale (z + cube z^3)).
    a = _gelu_tanh(z, out)
    a += 1.0
    a *= z
    a *= 0.5
    return a


def _gelu_tanh(z: FloatArray, out: FloatArray | None) -> FloatArray:
    with np.errstate(over="ignore"):  # tanh of infinity is right
        t = np.multiply(z, z, out=out)
        t *= _GELU_SCALE * _GELU_CUBE
        t += _GELU_SCALE
        t *= z
    return np.tanh(t, out=t)


def _gelu_backward(z: FloatArray, a: FloatArray, delta: FloatArray, mask: BoolArray) -> None:
    # f' = (1 + t) / 2 * (1 + z (1 - t) scale (1 + 3 cube z^2)), from f = z (1 + t) / 2. This is
    # the only derivative here that needs three arrays at once: z, t and slope.
    t = _gelu_tanh(z, a)
    slope = z * z
    slope *= 3.0 * _GELU_SCALE * _GELU_CUBE
    slope += _GELU_SCALE
    slope *= z
    np.subtract(1.0, t, out=z)
    slope *= z
    slope += 1.0
    t += 1.0
    t *= 0.5
    slope *= t
    delta *= slope


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(_identity, _identity_backward, in_place=True),
    "logistic": Activation(logistic, _logistic_backward, in_place=True),
    "tanh": Activation(_tanh, _tanh_backward, in_place=True),
    "relu": Activation(_relu, _relu_backward, in_place=True),
    # max(z, 0.01 z): Maas, Hannun and Ng, 2013.
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_backward),
    # exp(z) - 1 below 0: Clevert, Unterthiner and Hochreiter, 2015, with alpha = 1.
    "elu": Activation(_elu, _elu_backward),
    # The tanh form of Hendrycks and Gimpel, 2016, within 0.0005 of z Phi(z), which needs SciPy.
    "gelu": Activation(_gelu, _gelu_backward),
    # z logistic(z): Elfwing, Uchibe and Doya, 2017; also called swish.
    "silu": Activation(_silu, _silu_backward),
    # log(1 + exp(z)): Dugas et al., 2000.
    "softplus": Activation(_softplus, _softplus_backward),
}
