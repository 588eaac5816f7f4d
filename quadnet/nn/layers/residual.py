"""A connection past some layers: their input is added to their output."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from quadnet.nn.layers.stack import find_shapes, make_layers, name_layer
from quadnet.types import FloatArray


@dataclass(frozen=True, repr=False)
class Residual(Layer):
    """Adds its input to the output of its layers (He et al., 2015).

    Parameters
    ----------
    layers : sequence of layers
        As the estimator's `layers`; their output must have the shape of their input.

    Notes
    -----
    Input and output of any shape. Its arrays are those of its layers, with their numbers, such as
    ``0.weights``.
    """

    layers: Sequence[Any]

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "residual"
    needs_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)):
            raise ValueError(  # noqa: TRY004 - one class for all wrong settings
                f"Residual: layers must be a list of layers. Got {self.layers!r}."
            )
        layers = make_layers(self.layers, "Residual: layers")
        if not layers:
            raise ValueError("Residual: layers must have at least one layer. Got an empty list.")
        object.__setattr__(self, "layers", layers)

    def __repr__(self) -> str:
        """Return the layer with a list, in which activations have their names."""
        return f"Residual([{', '.join(map(name_layer, self.layers))}])"

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        """Whether any of its layers draws random numbers in training."""
        return any(layer.is_random for layer in self.layers)

    @property
    def only_mini_batches(self) -> bool:  # type: ignore[override]
        """Whether any of its layers needs mini-batches."""
        return any(layer.only_mini_batches for layer in self.layers)

    def _shapes(self, input_shape: Shape) -> tuple[Shape, ...]:
        return find_shapes(self.layers, input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        try:
            output = self._shapes(input_shape)[-1]
        except ValueError as error:
            raise UnfitInput(f"layers that fit each other: {error}") from None
        if output != input_shape:
            raise UnfitInput(
                f"layers that keep the shape of their input; these make {output} of it",
                "Use padding='same', stride 1 and as many filters or units as the input has.",
            )
        return input_shape

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        return {
            f"{i}.{name}": spec
            for i, (layer, shape) in enumerate(
                zip(self.layers, self._shapes(input_shape), strict=False)
            )
            for name, spec in layer.array_specs(shape).items()
        }

    def _arrays_of(self, i: int, arrays: Arrays) -> Arrays:
        prefix = f"{i}."
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        for i, (layer, shape) in enumerate(
            zip(self.layers, self._shapes(input_shape), strict=False)
        ):
            layer.initialize(self._arrays_of(i, arrays), shape, initializer, rng)

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        B = A
        for i, layer in enumerate(self.layers):
            B = layer.apply(self._arrays_of(i, arrays), B)
        return A + B

    def make_step(self, context: StepContext) -> LayerStep:
        return _ResidualStep(self, context)

    def for_predicting(self) -> "Residual":
        kept = [layer.for_predicting() for layer in self.layers]
        # Without any layer left, the output is twice the input.
        return Residual([layer for layer in kept if layer is not None] or ["identity"])

    def widest(self, input_shape: Shape) -> int:
        shapes = self._shapes(input_shape)
        inner: list[int] = [
            layer.widest(shape) for layer, shape in zip(self.layers, shapes, strict=False)
        ]
        return max(inner)

    def multiply_adds(self, input_shape: Shape) -> int:
        shapes = self._shapes(input_shape)
        return sum(
            layer.multiply_adds(shape) for layer, shape in zip(self.layers, shapes, strict=False)
        )

    def nanoseconds(self, input_shape: Shape) -> float:
        shapes = self._shapes(input_shape)
        inside: float = sum(
            layer.nanoseconds(shape) for layer, shape in zip(self.layers, shapes, strict=False)
        )
        return prod(input_shape) + inside


class _ResidualStep(LayerStep):
    """The layers below write into `input`, which a copy protects from the layers inside."""

    def __init__(self, layer: Residual, context: StepContext) -> None:
        shapes = find_shapes(layer.layers, context.input_shape)
        sizes = [
            sum(prod(spec.shape) for spec in each.array_specs(shape).values())
            for each, shape in zip(layer.layers, shapes, strict=False)
        ]
        ends = np.cumsum(sizes).tolist()
        self.input, self.output = context.empty(context.input_shape), context.output
        output, self._steps = context.empty(context.input_shape), list[LayerStep]()
        self._inner_output = output
        for i in reversed(range(len(layer.layers))):
            part = slice(ends[i] - sizes[i], ends[i])
            inner = replace(
                context,
                input_shape=shapes[i],
                parameters=context.parameters[part],
                gradient=context.gradient[part],
                output=output,
                is_first=False,
                may_overwrite_input=i > 0 and not layer.layers[i - 1].needs_output,
            )
            self._steps.insert(0, layer.layers[i].make_step(inner))
            output = self._steps[0].input
        self._D = np.empty_like(self.input)

    def forward(self) -> None:
        self._steps[0].input[:] = self.input
        for step in self._steps:
            step.forward()
        np.add(self.input, self._inner_output, out=self.output)

    def backward(self, D: FloatArray) -> FloatArray:
        self._D[:] = D
        for step in reversed(self._steps):
            D = step.backward(D)
        self._D += D
        return self._D
