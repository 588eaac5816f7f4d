"""Each activation against an independent formula, and its derivative against differences."""

import numpy as np
import pytest
from scipy.special import expit

from quadnet.activations import ACTIVATIONS

Z = np.array([[-800.0, -30.0, -1.5, -1e-3], [1e-3, 0.7, 30.0, 800.0]])

INDEPENDENT = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": lambda z: 1 - 2 * expit(-2 * z),
    "relu": lambda z: np.where(z > 0, z, 0.0),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_equals_an_independent_formula(name, dtype):
    a = Z.astype(dtype)
    ACTIVATIONS[name].forward(a)
    assert a.dtype == dtype
    np.testing.assert_allclose(
        a, INDEPENDENT[name](Z.astype(dtype)), rtol=1e-6, atol=10 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_multiplies_by_the_derivative(name):
    z = np.linspace(-4.05, 4.05, 30).reshape(5, 6)
    h = 1e-6
    expected = (INDEPENDENT[name](z + h) - INDEPENDENT[name](z - h)) / (2 * h)
    a = z.copy()
    ACTIVATIONS[name].forward(a)
    delta = np.full_like(z, 3.0)
    ACTIVATIONS[name].backward(a, delta)
    np.testing.assert_allclose(delta, 3.0 * expected, rtol=1e-6, atol=1e-8)
