"""Dropout: values that training sets to 0 at random."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from quadnet.nn.layers.layer import Arrays, Layer, LayerStep, Shape, StepContext
from quadnet.nn.layers.settings import check_share
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Sets a share of the values to 0 in every forward pass of training, at random.

    The others are multiplied by 1 / (1 - rate), so that predicting needs no correction
    (Srivastava et al., 2014, in its inverted form).

    Parameters
    ----------
    rate : float
        The share, from 0 to below 1.

    Notes
    -----
    Input and output of any shape.
    """

    rate: float

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "dropout"
    needs_output: ClassVar[bool] = False
    is_random: ClassVar[bool] = True
    only_mini_batches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share(self, "rate")

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        return A

    def apply_to_rows(self, arrays: Arrays, X: Any) -> Any:
        return X

    def make_step(self, context: StepContext) -> LayerStep:
        return _DropoutStep(self, context)

    def for_predicting(self) -> None:
        return None

    def nanoseconds(self, input_shape: Shape) -> float:
        return 0.0


class _DropoutStep(LayerStep):
    def __init__(self, layer: Dropout, context: StepContext) -> None:
        self._rate, self._rng = layer.rate, context.rng
        self.output = context.output
        self.input = context.empty(context.input_shape)
        self._kept = np.ones_like(self.input)
        self._mask = np.empty(self.input.shape, np.bool_)

    def forward(self) -> None:
        if self._rng is None:
            self.output[:] = self.input
            return
        kept = self._kept
        self._rng.random(dtype=kept.dtype, out=kept)
        np.greater_equal(kept, self._rate, out=self._mask)
        np.copyto(kept, self._mask)
        kept *= 1.0 / (1.0 - self._rate)
        np.multiply(self.input, kept, out=self.output)

    def backward(self, D: FloatArray) -> FloatArray:
        D *= self._kept
        return D
