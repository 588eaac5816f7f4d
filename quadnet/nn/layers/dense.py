"""The dense layer: every output is a weighted sum of all inputs, plus a bias."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState

from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.layer import (
    Arrays,
    ArraySpec,
    Layer,
    LayerStep,
    Shape,
    StepContext,
    UnfitInput,
)
from quadnet.nn.layers.settings import check_count, check_flag
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A fully connected layer: each of its units has a weight for every input, and a bias.

    Parameters
    ----------
    units : int
    bias : bool, default=True

    Notes
    -----
    Input of shape (n_inputs,), output (units,). Its arrays are ``weights``, of shape
    (n_inputs, units), and ``biases``, of shape (units,).

    Examples
    --------
    >>> from quadnet.layers import Dense
    >>> Dense(64)
    Dense(64)
    """

    units: int
    bias: bool = True

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "dense"
    needs_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self, "units")
        check_flag(self, "bias")

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise UnfitInput("an input of shape (n_inputs,)", "Put Flatten() before it.")
        return (self.units,)

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        # Biases follow the weights in memory, so that both are one matrix, whose last row they are:
        # with a 1 appended to the input, the layer is one product, and so is its gradient.
        specs = {"weights": ArraySpec((*input_shape, self.units), decays=True)}
        return specs | ({"biases": ArraySpec((self.units,))} if self.bias else {})

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        weights, biases = initializer(rng, prod(input_shape), self.units)
        arrays["weights"][:] = weights
        if self.bias:
            arrays["biases"][:] = biases

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        Z: FloatArray = arrays["weights"].T.dot(A)
        if self.bias:
            Z += arrays["biases"][:, np.newaxis]
        return Z

    def apply_to_rows(self, arrays: Arrays, X: Any) -> FloatArray:
        # For one row the method takes half the time of `@`; sparse matrices have it too.
        Z: FloatArray = X.dot(arrays["weights"])
        if self.bias:
            # Two vectors are added in half the time of a matrix and a vector.
            target = Z.reshape(-1) if len(Z) == 1 else Z
            target += arrays["biases"]
        return Z

    def make_step(self, context: StepContext) -> LayerStep:
        return _DenseStep(self, context)

    def make_first_step(self, context: StepContext) -> "_FirstDenseStep":
        return _FirstDenseStep(self, context)

    def multiply_adds(self, input_shape: Shape) -> int:
        return prod(input_shape) * self.units


def choose_product(n_inner: int) -> Callable[..., FloatArray]:
    """Return the function for products of matrices of shapes (m, n_inner) and (n_inner, p).

    Where `n_inner` is 1, every value is a single product. `np.dot` takes 0 for 0 * inf there, but
    the loop that is replayed gives NaN: a fit that diverges replayed would not diverge otherwise.
    `np.matmul` takes three times as long there for 300 x 100 values.
    """
    return np.multiply if n_inner == 1 else np.dot


class _DenseStep(LayerStep):
    """The input has a last row of ones, which multiplies the biases."""

    def __init__(self, layer: Dense, context: StepContext) -> None:
        (n_inputs,) = context.input_shape
        shape = (n_inputs + layer.bias, layer.units)
        matrix = context.parameters.reshape(shape)
        self._map, self._weights = matrix.T, matrix[:n_inputs]
        self._gradient = context.gradient.reshape(shape)
        self._A = np.ones((n_inputs + layer.bias, context.n_rows), context.output.dtype)
        self._D = context.empty((n_inputs,))
        self.input, self.output = self._A[:n_inputs], context.output
        self._multiply_inputs = choose_product(n_inputs + layer.bias)
        self._multiply_rows = choose_product(context.n_rows)
        self._multiply_units = choose_product(layer.units)

    def forward(self) -> None:
        self._multiply_inputs(self._map, self._A, self.output)

    def backward(self, D: FloatArray) -> FloatArray:
        self._multiply_rows(self._A, D.T, self._gradient)
        return self._multiply_units(self._weights, D, self._D)


def _is_faster_by_row(n_inputs: int, n_rows: int, dtype: np.dtype[Any]) -> bool:
    """Whether a product of rows, and a copy that transposes it, beat the transposed product.

    With 784 inputs and 128 units it takes 12 % less in float32; in float64 9 % less for 32 rows,
    but 2 % more for 200, where the copy is too large for the cache.
    """
    return n_inputs >= 256 and (dtype == np.float32 or n_rows <= 64)


class _FirstDenseStep:
    """Reads rows of X, which have no column of ones: biases are added separately."""

    def __init__(self, layer: Dense, context: StepContext) -> None:
        (n_inputs,) = context.input_shape
        shape = (n_inputs + layer.bias, layer.units)
        matrix, gradient = context.parameters.reshape(shape), context.gradient.reshape(shape)
        self._weights, self._gradient = matrix[:n_inputs], gradient[:n_inputs]
        self._map = self._weights.T
        self._biases = matrix[-1][:, np.newaxis] if layer.bias else None
        self._bias_gradient = gradient[-1][:, np.newaxis]
        self._ones = np.ones((context.n_rows, 1), context.output.dtype)
        self._multiply_inputs = choose_product(n_inputs)
        self._multiply_rows = choose_product(context.n_rows)
        self._by_row: FloatArray | None = None
        if _is_faster_by_row(n_inputs, context.n_rows, context.output.dtype):
            # Without the padding, the columns of 128 units would share a few sets of the cache.
            padded = np.empty((context.n_rows, layer.units + 16), context.output.dtype)
            self._by_row = padded[:, : layer.units]
        self.rows: Any = None
        self.output = context.output

    def forward(self) -> None:
        rows, output, product = self.rows, self.output, self.output
        if not isinstance(rows, np.ndarray):
            product = (rows @ self._weights).T
        elif self._by_row is None:
            self._multiply_inputs(self._map, rows.T, output)
        else:
            np.matmul(rows, self._weights, out=self._by_row)
            product = self._by_row.T
        if self._biases is not None:
            np.add(product, self._biases, out=output)
        elif product is not output:
            np.positive(product, out=output)

    def backward(self, D: FloatArray) -> FloatArray:
        if isinstance(self.rows, np.ndarray):
            self._multiply_rows(self.rows.T, D.T, self._gradient)
        else:
            self._gradient[:] = self.rows.T @ D.T
        if self._biases is not None:
            self._multiply_rows(D, self._ones, self._bias_gradient)
        return D
