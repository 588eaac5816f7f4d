"""Pooling: one value for each window of a picture, the largest or the mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from quadnet.nn.layers.layer import Arrays, Layer, LayerStep, Shape, StepContext, UnfitInput
from quadnet.nn.layers.settings import check_pair
from quadnet.nn.layers.windows import Pair, Windows, place_windows
from quadnet.types import FloatArray


class _Pooling(Layer):
    size: int | Pair
    stride: int | Pair | None

    def __post_init__(self) -> None:
        check_pair(self, "size")
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)
        check_pair(self, "stride")

    def __repr__(self) -> str:
        """Return the layer without a stride that is the size of a window."""
        full = super().__repr__()
        return full.partition(", stride")[0] + ")" if self.stride == self.size else full

    def windows(self, input_shape: Shape) -> Windows:
        """Return the windows over pictures of this shape."""
        assert isinstance(self.size, tuple)
        assert isinstance(self.stride, tuple)
        return place_windows(input_shape, self.size, self.stride, padding="valid")

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.windows(input_shape).counts)

    def nanoseconds(self, input_shape: Shape) -> float:
        return float(prod(self.output_shape(input_shape)) * prod(self.windows(input_shape).size))


class _PoolingStep(LayerStep):
    def __init__(self, windows: Windows, context: StepContext) -> None:
        self.input, self.output = context.empty(context.input_shape), context.output
        self._D = np.empty_like(self.input)
        # For each place in a window, its value in every window, and the gradient there.
        self._views = list(windows.views(self.input))
        self._D_views = list(windows.views(self._D))


def _combine(ufunc: np.ufunc, views: Sequence[FloatArray], out: FloatArray) -> FloatArray:
    """Write the ufunc of all views into `out`, and return it."""
    np.copyto(out, views[0])
    for view in views[1:]:
        ufunc(out, view, out=out)
    return out


@dataclass(frozen=True, repr=False)
class MaxPool2D(_Pooling):
    """Takes the largest value of each window, channel by channel.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of a window.
    stride : int or (int, int), optional
        Steps from one window to the next, down and across; by default the size of a window. Rows
        and columns that do not fill a window are left out.

    Notes
    -----
    Input and output of shape (channels, height, width). Of equal values, the first one in the
    window gets the gradient.
    """

    size: int | Pair
    stride: int | Pair | None = None

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "max_pool2d"

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        views = list(self.windows(A.shape[:-1]).views(np.ascontiguousarray(A)))
        return _combine(np.maximum, views, np.empty(views[0].shape, A.dtype))

    def make_step(self, context: StepContext) -> LayerStep:
        return _MaxPoolStep(self.windows(context.input_shape), context)


class _MaxPoolStep(_PoolingStep):
    def __init__(self, windows: Windows, context: StepContext) -> None:
        super().__init__(windows, context)
        self._overlap = any(map(int.__gt__, windows.size, windows.stride))
        self._covered = windows.size == windows.stride and self._D.size == (
            prod(windows.size) * self.output.size
        )
        self._is_largest = np.empty(self.output.shape, np.bool_)
        self._share = np.empty_like(self.output)

    def forward(self) -> None:
        _combine(np.maximum, self._views, self.output)

    def backward(self, D: FloatArray) -> FloatArray:
        if not self._covered:  # otherwise every value is in one window, and written
            self._D[:] = 0.0
        for view, D_view in zip(self._views, self._D_views, strict=True):
            np.equal(view, self.output, out=self._is_largest)
            if self._overlap:
                np.multiply(D, self._is_largest, out=self._share)
                np.add(D_view, self._share, out=D_view)
            else:
                np.multiply(D, self._is_largest, out=D_view)
            # Of equal values only the first one gets the gradient.
            np.logical_not(self._is_largest, out=self._is_largest)
            D *= self._is_largest
        return self._D


@dataclass(frozen=True, repr=False)
class AveragePool2D(_Pooling):
    """Takes the mean of each window, channel by channel.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of a window.
    stride : int or (int, int), optional
        Steps from one window to the next, down and across; by default the size of a window. Rows
        and columns that do not fill a window are left out.

    Notes
    -----
    Input and output of shape (channels, height, width).
    """

    size: int | Pair
    stride: int | Pair | None = None

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "average_pool2d"
    needs_output: ClassVar[bool] = False

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        views = list(self.windows(A.shape[:-1]).views(np.ascontiguousarray(A)))
        mean = _combine(np.add, views, np.empty(views[0].shape, A.dtype))
        mean /= len(views)
        return mean

    def make_step(self, context: StepContext) -> LayerStep:
        return _AveragePoolStep(self.windows(context.input_shape), context)


class _AveragePoolStep(_PoolingStep):
    def forward(self) -> None:
        _combine(np.add, self._views, self.output)
        self.output /= len(self._views)

    def backward(self, D: FloatArray) -> FloatArray:
        D /= len(self._views)
        self._D[:] = 0.0
        for view in self._D_views:
            np.add(view, D, out=view)
        return self._D


@dataclass(frozen=True, repr=False)
class GlobalAveragePool2D(Layer):
    """Takes the mean of each channel.

    Notes
    -----
    Input of shape (channels, height, width), output (channels,).
    """

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "global_average_pool2d"
    needs_output: ClassVar[bool] = False

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3:
            raise UnfitInput(
                "an input of shape (channels, height, width)",
                "Set input_shape to the shape of a picture.",
            )
        return (input_shape[0],)

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        mean: FloatArray = A.mean(axis=(1, 2))
        return mean

    def make_step(self, context: StepContext) -> LayerStep:
        return _GlobalAverageStep(context)

    def nanoseconds(self, input_shape: Shape) -> float:
        return float(prod(input_shape))


class _GlobalAverageStep(LayerStep):
    def __init__(self, context: StepContext) -> None:
        self.input, self.output = context.empty(context.input_shape), context.output
        self._D = np.empty_like(self.input)
        self._count = prod(context.input_shape[1:])

    def forward(self) -> None:
        np.add.reduce(self.input, axis=(1, 2), out=self.output)
        self.output /= self._count

    def backward(self, D: FloatArray) -> FloatArray:
        D /= self._count
        self._D[:] = D[:, np.newaxis, np.newaxis]
        return self._D
