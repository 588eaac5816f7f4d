"""The values of an example as one row."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from quadnet.nn.layers.layer import Arrays, Layer, LayerStep, Shape, StepContext
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """Puts the values of an example into one row, in C order: what `Dense` needs.

    Notes
    -----
    Input of any shape, output (n_values,).
    """

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (prod(input_shape),)

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        return A.reshape(prod(A.shape[:-1]), A.shape[-1])

    def apply_to_rows(self, arrays: Arrays, X: Any) -> Any:
        return X.reshape(len(X), prod(X.shape[1:]))

    def make_step(self, context: StepContext) -> LayerStep:
        return _FlattenStep(context)

    def nanoseconds(self, input_shape: Shape) -> float:
        return 0.0


class _FlattenStep(LayerStep):
    """Input and output are the same memory."""

    def __init__(self, context: StepContext) -> None:
        self._shape = (*context.input_shape, context.n_rows)
        self.output = context.output
        self.input = self.output.reshape(self._shape)

    def forward(self) -> None:
        """Do nothing: the layer below has written the output."""

    def backward(self, D: FloatArray) -> FloatArray:
        return D.reshape(self._shape)
