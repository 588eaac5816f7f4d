"""An activation as a layer: the same function of every value."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.layer import Arrays, Layer, LayerStep, Shape, StepContext
from quadnet.nn.layers.settings import check_choice
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """The same function of every value. In a list of layers, its name is enough.

    Parameters
    ----------
    function : str
        'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', 'silu' or 'softplus'.

    Notes
    -----
    Input and output of any shape.
    """

    function: str

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        check_choice(self, "function", ACTIVATIONS)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        return ACTIVATIONS[self.function].forward(A)

    def apply_to_rows(self, arrays: Arrays, X: Any) -> FloatArray:
        return ACTIVATIONS[self.function].forward(X)

    def make_step(self, context: StepContext) -> LayerStep:
        return _ActivationStep(self, context)

    def nanoseconds(self, input_shape: Shape) -> float:
        """Return 0: the layer below counts the activation of its values."""
        return 0.0


class _ActivationStep(LayerStep):
    def __init__(self, layer: Activation, context: StepContext) -> None:
        self._function = function = ACTIVATIONS[layer.function]
        self.output = context.output
        in_place = function.in_place and context.may_overwrite_input
        self.input = self.output if in_place else np.empty_like(self.output)
        self._mask = np.empty(self.output.shape, np.bool_)
        # Derivatives that are functions of the input overwrite it, which the layer below may need.
        reads_input = not function.in_place
        keeps_input = reads_input and not context.may_overwrite_input
        self._spare = np.empty_like(self.input) if keeps_input else None

    def forward(self) -> None:
        self._function.forward(self.input, self.output)

    def backward(self, D: FloatArray) -> FloatArray:
        z = self.input
        if self._spare is not None:
            np.copyto(self._spare, z)
            z = self._spare
        self._function.backward(z, self.output, D, self._mask)
        return D
