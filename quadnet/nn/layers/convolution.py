"""The convolution of pictures with kernels, as a matrix product over patches."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.random import RandomState

from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.dense import choose_product
from quadnet.nn.layers.layer import Arrays, ArraySpec, Layer, LayerStep, Shape, StepContext
from quadnet.nn.layers.settings import check_choice, check_count, check_flag, check_pair
from quadnet.nn.layers.windows import Pair, Windows, place_windows
from quadnet.types import FloatArray

_PATCH_BYTES = 2**19
"""About how many bytes the patches take that are multiplied at a time: they stay in the cache."""


@dataclass(frozen=True, repr=False)
class Conv2D(Layer):
    """Slides kernels over pictures: each output is a weighted sum of one patch, plus a bias.

    As in other libraries, the kernel is not turned around: it is a cross-correlation.

    Parameters
    ----------
    filters : int
        Number of kernels: the channels of the output.
    kernel : int or (int, int)
        Height and width of a kernel. A one-dimensional convolution has kernels of height 1.
    stride : int or (int, int), default=1
        Steps from one patch to the next, down and across.
    padding : {'valid', 'same'}, default='valid'
        With 'valid' every patch lies inside the picture. With 'same' the picture is surrounded by
        zeros, so that the output has height / stride rows, rounded up.
    bias : bool, default=True

    Notes
    -----
    Input of shape (channels, height, width), output (filters, height, width). Its arrays are
    ``weights``, of shape (filters, channels, kernel height, kernel width), and ``biases``, of shape
    (filters,).

    Examples
    --------
    >>> from quadnet.layers import Conv2D
    >>> Conv2D(16, 3)
    Conv2D(16, 3)
    """

    filters: int
    kernel: int | Pair
    stride: int | Pair = 1
    padding: str = "valid"
    bias: bool = True

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "conv2d"
    needs_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self, "filters")
        check_pair(self, "kernel")
        check_pair(self, "stride")
        check_choice(self, "padding", ("valid", "same"))
        check_flag(self, "bias")

    def windows(self, input_shape: Shape) -> Windows:
        """Return the patches of pictures of this shape."""
        assert isinstance(self.kernel, tuple)
        assert isinstance(self.stride, tuple)
        return place_windows(input_shape, self.kernel, self.stride, padding=self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.filters, *self.windows(input_shape).counts)

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        kernel = self.windows(input_shape).size
        specs = {"weights": ArraySpec((self.filters, input_shape[0], *kernel), decays=True)}
        return specs | ({"biases": ArraySpec((self.filters,))} if self.bias else {})

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        # Each filter is a unit, with the values of a patch as its inputs.
        shape = arrays["weights"].shape
        weights, biases = initializer(rng, prod(shape[1:]), self.filters)
        arrays["weights"][:] = weights.T.reshape(shape)
        if self.bias:
            arrays["biases"][:] = biases

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        n_rows = A.shape[-1]
        patches = _Patches(self.windows(A.shape[:-1]), A.shape[0], n_rows, A.dtype)
        output = np.empty((self.filters, *patches.windows.counts, n_rows), A.dtype)
        matrix = arrays["weights"].reshape(self.filters, -1)
        patches.multiply(matrix, patches.pad(np.ascontiguousarray(A)), output)
        if self.bias:
            output += arrays["biases"][:, np.newaxis, np.newaxis, np.newaxis]
        return output

    def make_step(self, context: StepContext) -> LayerStep:
        return _ConvolutionStep(self, context)

    def widest(self, input_shape: Shape) -> int:
        windows, channels = self.windows(input_shape), input_shape[0]
        # The patches of one row of windows are in memory at a time.
        patches = prod(windows.size) * windows.counts[1]
        inputs = channels * max(prod(windows.padded), patches)
        return max(inputs, prod(self.output_shape(input_shape)))

    def multiply_adds(self, input_shape: Shape) -> int:
        windows = self.windows(input_shape)
        return self.filters * input_shape[0] * prod(windows.size) * prod(windows.counts)


class _Patches:
    """The patches of pictures as the columns of a matrix, a few rows of windows at a time."""

    def __init__(
        self, windows: Windows, channels: int, n_rows: int, dtype: np.dtype[np.floating]
    ) -> None:
        self.windows, self._channels = windows, channels
        n_down, n_across = windows.counts
        self._row = n_across * n_rows
        row_bytes = channels * prod(windows.size) * self._row * dtype.itemsize
        rows = min(n_down, max(1, _PATCH_BYTES // max(1, row_bytes)))
        self._slices = [(first, min(rows, n_down - first)) for first in range(0, n_down, rows)]
        self._padded = (
            np.zeros((channels, *windows.padded, n_rows), dtype) if windows.is_padded else None
        )
        size = channels * prod(windows.size)
        self._buffer = np.empty(size * rows * self._row, dtype)
        # For each slice: its place in the output, the buffer by place in a window, and as a matrix.
        self._parts = []
        for first, count in self._slices:
            used = self._buffer[: size * count * self._row]
            by_place = used.reshape(channels, prod(windows.size), count, n_across, n_rows)
            place = slice(first * self._row, (first + count) * self._row)
            self._parts.append((first, count, place, by_place, used.reshape(size, -1)))

    def pad(self, A: FloatArray) -> FloatArray:
        """Return the pictures with zeros around them, in a buffer."""
        if self._padded is None:
            return A
        self._padded[self.windows.interior] = A
        return self._padded

    def slices(self, padded: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Yield a place in the output, and the matrix of its patches, one patch per column."""
        for first, count, place, by_place, matrix in self._parts:
            for i, view in enumerate(self.windows.views(padded, first, count)):
                by_place[:, i] = view
            yield place, matrix

    def multiply(self, matrix: FloatArray, padded: FloatArray, output: FloatArray) -> None:
        """Write the product of a matrix and all patches."""
        columns = output.reshape(len(matrix), -1)
        for place, patches in self.slices(padded):
            np.matmul(matrix, patches, out=columns[:, place])

    def scatter(self, matrix: FloatArray, D: FloatArray, padded: FloatArray) -> None:
        """Add the product of a matrix and D to the values that the patches were taken from."""
        columns = D.reshape(matrix.shape[1], -1)
        for first, count, place, by_place, patches in self._parts:
            np.matmul(matrix, columns[:, place], out=patches)
            for i, view in enumerate(self.windows.views(padded, first, count)):
                np.add(view, by_place[:, i], out=view)


class _ConvolutionStep(LayerStep):
    def __init__(self, layer: Conv2D, context: StepContext) -> None:
        channels = context.input_shape[0]
        windows = layer.windows(context.input_shape)
        self.input, self.output = context.empty(context.input_shape), context.output
        dtype, filters = self.output.dtype, layer.filters
        n_weights = filters * channels * prod(windows.size)
        self._matrix = context.parameters[:n_weights].reshape(filters, -1)
        self._gradient = context.gradient[:n_weights].reshape(filters, -1)
        self._biases = self._bias_gradient = None
        if layer.bias:
            self._biases = context.parameters[n_weights:].reshape(-1, 1, 1, 1)
            self._bias_gradient = context.gradient[n_weights:, np.newaxis]
        self._patches = _Patches(windows, channels, context.n_rows, dtype)
        self._part = np.empty_like(self._gradient)
        self._ones = np.ones((prod(self.output.shape[1:]), 1), dtype)
        self._multiply_values = choose_product(len(self._ones))
        self._D = None
        if not context.is_first:
            self._D = np.empty((channels, *windows.padded, context.n_rows), dtype)
        # The gradient without the zeros around the picture.
        self._inside = np.empty_like(self.input) if windows.is_padded else None
        self._windows = windows

    def forward(self) -> None:
        self._patches.multiply(self._matrix, self._patches.pad(self.input), self.output)
        if self._biases is not None:
            self.output += self._biases

    def backward(self, D: FloatArray) -> FloatArray:
        columns = D.reshape(len(D), -1)
        self._gradient[:] = 0.0
        # The patches are gathered again: to keep them would take the kernel's size times the memory
        # of the input, and as much time to read as to gather.
        for place, patches in self._patches.slices(self._patches.pad(self.input)):
            np.matmul(columns[:, place], patches.T, out=self._part)
            self._gradient += self._part
        if self._bias_gradient is not None:
            self._multiply_values(columns, self._ones, self._bias_gradient)
        if self._D is None:
            return D
        self._D[:] = 0.0
        self._patches.scatter(self._matrix.T, D, self._D)
        if self._inside is None:
            return self._D
        np.copyto(self._inside, self._D[self._windows.interior])
        return self._inside
