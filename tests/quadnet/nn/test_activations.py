"""Each activation against an independent formula, and its derivative against differences."""

import numpy as np
import pytest
from scipy.special import erf, expit

from quadnet.nn.activations import ACTIVATIONS

Z = np.array([[-800.0, -30.0, -1.5, -1e-3], [1e-3, 0.7, 30.0, 800.0]])

INDEPENDENT = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": lambda z: 1 - 2 * expit(-2 * z),
    "relu": lambda z: np.where(z > 0, z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * expit(2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)),
    "silu": lambda z: z * expit(z),
    "softplus": lambda z: np.where(z > 0, z, 0) + np.log1p(np.exp(-abs(z))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_equals_an_independent_formula(name, dtype):
    z = Z.astype(dtype)
    a = ACTIVATIONS[name].forward(z)
    assert a.dtype == dtype
    np.testing.assert_array_equal(z, Z.astype(dtype))
    np.testing.assert_allclose(a, INDEPENDENT[name](z), rtol=1e-6, atol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_forward_writes_where_it_is_told_to(name):
    activation = ACTIVATIONS[name]
    expected = activation.forward(Z)
    out = np.empty_like(Z)
    assert activation.forward(Z, out) is out
    np.testing.assert_array_equal(out, expected)
    if activation.in_place:
        z = Z.copy()
        np.testing.assert_array_equal(activation.forward(z, z), expected)


@pytest.mark.parametrize("n_examples", [6, 40])  # relu takes another path for long rows
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_multiplies_by_the_derivative(name, n_examples):
    z = np.linspace(-4.05, 4.05, 5 * n_examples).reshape(5, n_examples)
    h = 1e-6
    expected = (INDEPENDENT[name](z + h) - INDEPENDENT[name](z - h)) / (2 * h)
    activation = ACTIVATIONS[name]
    a = activation.forward(z, z if activation.in_place else None)
    delta = np.full_like(z, 3.0)
    activation.backward(z, a, delta, np.empty(z.shape, bool))
    np.testing.assert_allclose(delta, 3.0 * expected, rtol=1e-6, atol=1e-8)


def test_gelu_is_within_its_promise_of_the_exact_form():
    z = np.linspace(-6, 6, 2001)
    exact = z * (1 + erf(z / np.sqrt(2))) / 2
    assert abs(ACTIVATIONS["gelu"].forward(z) - exact).max() < 5e-4
