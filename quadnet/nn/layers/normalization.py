"""Normalization: values of mean 0 and variance 1, by channel or by example."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

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
    split_arrays,
)
from quadnet.nn.layers.settings import check_positive, check_share
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Normalizes each channel over the mini-batch, then scales and shifts it.

    y = scale (x - mean) / sqrt(variance + epsilon) + shift (Ioffe and Szegedy, 2015). Training uses
    the mean and the variance of the mini-batch, and keeps a running mean and variance, which
    predicting uses. A channel is the first axis: a picture's channel, or a unit of a dense layer.

    Parameters
    ----------
    momentum : float, default=0.1
        The share of the mini-batch in the running mean and variance.
    epsilon : float, default=1e-5
        Added to the variance.

    Notes
    -----
    Input and output of any shape. Its arrays are ``scale``, ``shift``, ``mean`` and ``variance``,
    each of shape (channels,). Row weights do not weigh the mean and the variance. A mini-batch with
    a single value per channel has no variance: it is normalized by the running mean and variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "batch_norm"
    needs_output: ClassVar[bool] = False
    only_mini_batches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share(self, "momentum")
        check_positive(self, "epsilon")

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        shape = (input_shape[0],)
        return {
            "scale": ArraySpec(shape),
            "shift": ArraySpec(shape),
            "mean": ArraySpec(shape, is_trained=False),
            "variance": ArraySpec(shape, is_trained=False),
        }

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        arrays["scale"][:] = arrays["variance"][:] = 1.0

    def affine(self, arrays: Arrays) -> tuple[FloatArray, FloatArray]:
        """Return each channel's factor and summand when predicting."""
        factor = arrays["scale"] / np.sqrt(arrays["variance"] + self.epsilon)
        return factor, arrays["shift"] - arrays["mean"] * factor

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        factor, summand = (_by_channel(array, A.ndim) for array in self.affine(arrays))
        return A * factor + summand

    def make_step(self, context: StepContext) -> LayerStep:
        return _BatchNormStep(self, context)


class _BatchNormStep(LayerStep):
    def __init__(self, layer: BatchNorm, context: StepContext) -> None:
        self._layer = layer
        self.input, self.output = context.empty(context.input_shape), context.output
        specs = layer.array_specs(context.input_shape)
        self._arrays = split_arrays(specs, context.parameters)
        self._gradient = split_arrays(specs, context.gradient)
        self._normal = np.empty_like(self.input)
        # Per channel, each of shape (channels, n_values).
        self._count = prod(self.input.shape[1:])
        self._deviation = np.ones(len(self.input), self.input.dtype)

    def forward(self) -> None:
        arrays, normal = self._arrays, self._normal.reshape(len(self.input), -1)
        values = self.input.reshape(len(self.input), -1)
        if self._count > 1:
            mean = np.add.reduce(values, axis=1)
            mean /= self._count
            np.subtract(values, mean[:, np.newaxis], out=normal)
            variance = np.vecdot(normal, normal)
            variance /= self._count
            share = self._layer.momentum
            arrays["mean"] += share * (mean - arrays["mean"])
            # The running variance is that of the population, as in other libraries.
            unbiased = variance * (self._count / (self._count - 1))
            arrays["variance"] += share * (unbiased - arrays["variance"])
        else:
            variance = arrays["variance"]
            np.subtract(values, arrays["mean"][:, np.newaxis], out=normal)
        np.sqrt(variance + self._layer.epsilon, out=self._deviation)
        normal /= self._deviation[:, np.newaxis]
        output = self.output.reshape(normal.shape)
        np.multiply(normal, arrays["scale"][:, np.newaxis], out=output)
        output += arrays["shift"][:, np.newaxis]

    def backward(self, D: FloatArray) -> FloatArray:
        # With x' = (x - mean) / deviation, and means over the mini-batch:
        # dx = scale / deviation * (D - mean(D) - x' mean(D x')).
        D_values, normal = D.reshape(len(D), -1), self._normal.reshape(len(D), -1)
        np.add.reduce(D_values, axis=1, out=self._gradient["shift"])
        np.vecdot(D_values, normal, out=self._gradient["scale"])
        if self._count > 1:
            D_values -= self._gradient["shift"][:, np.newaxis] / self._count
            normal *= self._gradient["scale"][:, np.newaxis] / self._count
            D_values -= normal
        D_values *= (self._arrays["scale"] / self._deviation)[:, np.newaxis]
        return D


@dataclass(frozen=True, repr=False)
class LayerNorm(Layer):
    """Normalizes the values of each example, then scales and shifts each of them.

    y = scale (x - mean) / sqrt(variance + epsilon) + shift, with the mean and the variance of the
    example's values (Ba, Kiros and Hinton, 2016).

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance.

    Notes
    -----
    Input and output of any shape. Its arrays are ``scale`` and ``shift``, of that shape.
    """

    epsilon: float = 1e-5

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "layer_norm"
    needs_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive(self, "epsilon")

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        return {"scale": ArraySpec(input_shape), "shift": ArraySpec(input_shape)}

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        arrays["scale"][:] = 1.0

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        axes = tuple(range(A.ndim - 1))
        normal: FloatArray = A - A.mean(axis=axes)
        normal /= np.sqrt((normal * normal).mean(axis=axes) + self.epsilon)
        normal *= arrays["scale"][..., np.newaxis]
        normal += arrays["shift"][..., np.newaxis]
        return normal

    def make_step(self, context: StepContext) -> LayerStep:
        return _LayerNormStep(self, context)


class _LayerNormStep(LayerStep):
    def __init__(self, layer: LayerNorm, context: StepContext) -> None:
        self._epsilon = layer.epsilon
        self.input, self.output = context.empty(context.input_shape), context.output
        specs = layer.array_specs(context.input_shape)
        self._scale, _ = (
            array.reshape(-1, 1) for array in split_arrays(specs, context.parameters).values()
        )
        self._shift = context.parameters[self._scale.size :].reshape(-1, 1)
        self._scale_gradient = context.gradient[: self._scale.size]
        self._shift_gradient = context.gradient[self._scale.size :]
        self._normal = np.empty((self._scale.size, context.n_rows), self.input.dtype)
        self._scratch = np.empty_like(self._normal)
        self._deviation = np.empty(context.n_rows, self.input.dtype)

    def forward(self) -> None:
        normal = self._normal
        values = self.input.reshape(normal.shape)
        mean = np.add.reduce(values, axis=0)
        mean /= len(normal)
        np.subtract(values, mean, out=normal)
        squares = np.multiply(normal, normal, out=self._scratch)
        deviation = np.add.reduce(squares, axis=0, out=self._deviation)
        deviation /= len(normal)
        deviation += self._epsilon
        np.sqrt(deviation, out=deviation)
        normal /= self._deviation
        output = self.output.reshape(normal.shape)
        np.multiply(normal, self._scale, out=output)
        output += self._shift

    def backward(self, D: FloatArray) -> FloatArray:
        # As in batch normalization, with means over the example's values.
        normal = self._normal
        D_values = D.reshape(normal.shape)
        np.add.reduce(D_values, axis=1, out=self._shift_gradient)
        np.vecdot(D_values, normal, out=self._scale_gradient)
        D_values *= self._scale
        product = np.add.reduce(np.multiply(D_values, normal, out=self._scratch), axis=0)
        product /= len(normal)
        mean = np.add.reduce(D_values, axis=0)
        mean /= len(normal)
        D_values -= mean
        normal *= product
        D_values -= normal
        D_values /= self._deviation
        return D


def _by_channel(array: FloatArray, n_axes: int) -> FloatArray:
    return array.reshape(-1, *(1,) * (n_axes - 1))
