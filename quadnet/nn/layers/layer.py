"""What a network needs of a layer.

A layer is a small frozen object: its settings, and functions of arrays. It holds no parameters,
which are in the network's flat vector, and no buffers, which are in its `LayerStep`. The same
object may be in any number of networks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState

from quadnet.nn.initializers import Initializer
from quadnet.types import FloatArray

Shape = tuple[int, ...]
"""The shape of one example's values, such as ``(16, 28, 28)`` or ``(64,)``."""

Arrays = Mapping[str, FloatArray]
"""A layer's arrays by name."""


class UnfitInput(ValueError):
    """The input of a layer has a shape that the layer cannot compute with.

    Parameters
    ----------
    needs : str
        What the layer needs, such as "an input of shape (channels, height, width)".
    advice : str, default=""
        What to do, as a sentence.
    """

    def __init__(self, needs: str, advice: str = "") -> None:
        self.needs, self.advice = needs, advice
        super().__init__(f"it needs {needs}")


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a layer.

    Parameters
    ----------
    shape : tuple of int
    decays : bool, default=False
        Whether the penalty `alpha` applies to it, as it does to weights, but not to biases.
    is_trained : bool, default=True
        Whether updates change it. A running mean, for example, is changed by the forward pass
        alone; its gradient stays 0.
    """

    shape: Shape
    decays: bool = False
    is_trained: bool = True


@dataclass(slots=True)
class StepContext:
    """What a layer needs to take part in a training step on `n_rows` rows.

    Parameters
    ----------
    input_shape : tuple of int
    parameters, gradient : ndarray
        The layer's part of the flat vectors of the parameters and of their gradient.
    n_rows : int
    output : ndarray of shape (*output_shape, n_rows)
        Where the layer writes its output: the next layer's input.
    is_first : bool
        Whether there is no layer below that would read the gradient of the input.
    may_overwrite_input : bool
        Whether the layer below does not need its output any more, so that this layer may write its
        own output over it.
    rng : numpy.random.Generator or None
        Draws for layers that are random in training; without it they are as in predicting.
    """

    input_shape: Shape
    parameters: FloatArray
    gradient: FloatArray
    n_rows: int
    output: FloatArray
    is_first: bool = False
    may_overwrite_input: bool = False
    rng: np.random.Generator | None = None

    def empty(self, shape: Shape) -> FloatArray:
        """Return a new buffer for values of this shape, of shape (*shape, n_rows)."""
        return np.empty((*shape, self.n_rows), self.output.dtype)


class LayerStep(ABC):
    """A layer's part of a training step: its buffers, its forward and its backward pass.

    Its NumPy calls are recorded once, and replayed from C. It must not branch on values that it
    reads through `np.asarray`, which the recording does not see; other branches on values are left
    to NumPy. It carries nothing from one update to the next, except in its parameters.

    Attributes
    ----------
    input : ndarray of shape (*input_shape, n_rows)
        The layer below writes its output into it.
    output : ndarray of shape (*output_shape, n_rows)
    """

    input: FloatArray
    output: FloatArray

    @abstractmethod
    def forward(self) -> None:
        """Compute `output` from `input`."""

    @abstractmethod
    def backward(self, D: FloatArray) -> FloatArray:
        """Write the gradient of the parameters; return the gradient with respect to the input.

        D is the gradient with respect to the output: contiguous, of its shape, and may be
        overwritten. So is the result.
        """


class FirstStep:
    """The first layer's part of a training step, whose input are rows of X."""

    def __init__(self, step: LayerStep) -> None:
        self._step = step
        self._columns = step.input.reshape(-1, step.input.shape[-1])
        self.rows: Any = None

    @property
    def output(self) -> FloatArray:
        """The array that the layer writes into."""
        return self._step.output

    @output.setter
    def output(self, array: FloatArray) -> None:
        self._step.output = array

    def forward(self) -> None:
        """Compute the output for `rows`, of shape (n_rows, n_features), dense or sparse."""
        dense = isinstance(self.rows, np.ndarray)
        self._columns[:] = (self.rows if dense else self.rows.toarray()).T
        self._step.forward()

    def backward(self, D: FloatArray) -> FloatArray:
        """Write the gradient of the parameters."""
        return self._step.backward(D)


class Layer(ABC):
    """One layer of a network. Kinds are frozen dataclasses; `LAYER_KINDS` lists them.

    A kind must have `kind`, `output_shape`, `apply` and `make_step`, and `array_specs` and
    `initialize` if it has parameters.
    """

    kind: ClassVar[str]
    """The name in files, such as "dense"."""

    needs_output: ClassVar[bool] = True
    """Whether the backward pass reads the output, so that no layer above may overwrite it."""

    is_random: ClassVar[bool] = False
    """Whether the forward pass of training draws random numbers."""

    only_mini_batches: ClassVar[bool] = False
    """Whether training needs mini-batches, so that L-BFGS cannot train the layer."""

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "kind") and "kind" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} must have a kind of its own, by which files name it. It has that "
                f"of its base class, {cls.kind!r}."
            )

    @abstractmethod
    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one example's output; raise UnfitInput without one."""

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        """Return the layer's arrays by name, in the order in which they are in memory."""
        return {}

    def initialize(
        self, arrays: Arrays, input_shape: Shape, initializer: Initializer, rng: RandomState
    ) -> None:
        """Write the starting values into the arrays, which hold zeros."""

    @abstractmethod
    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        """Return the output for the input A, of shape (*input_shape, n), when predicting.

        A may have any layout in memory. It must not be changed.
        """

    def apply_to_rows(self, arrays: Arrays, X: Any) -> FloatArray:
        """Return the output for the input X, of shape (n_rows, *input_shape)."""
        return np.moveaxis(self.apply(arrays, np.moveaxis(X, 0, -1)), -1, 0)

    @abstractmethod
    def make_step(self, context: StepContext) -> LayerStep:
        """Return the layer's part of a training step."""

    def make_first_step(self, context: StepContext) -> Any:
        """Return the part of a training step of a layer that reads rows of X."""
        return FirstStep(self.make_step(context))

    def for_predicting(self) -> "Layer | None":
        """Return the layer without what only training needs, if there is anything left."""
        return self

    def widest(self, input_shape: Shape) -> int:
        """Return how many values of one example the largest array holds when predicting."""
        return max(prod(input_shape), prod(self.output_shape(input_shape)))

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return the number of products of a weight and a value for one example."""
        return 0

    def nanoseconds(self, input_shape: Shape) -> float:
        """Return about how long one of many examples takes when predicting, on one core.

        4 ns for each value of the output, its activation included, and 0.06 ns for each product of
        a weight and a value: measured in float64.
        """
        return 4.0 * prod(self.output_shape(input_shape)) + 0.06 * self.multiply_adds(input_shape)

    def __repr__(self) -> str:
        """Return the layer as one would write it, without settings that have their defaults."""
        settings = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is MISSING:
                settings.append(_shorten(value))
            elif _shorten(value) != _shorten(field.default):
                settings.append(f"{field.name}={_shorten(value)}")
        return f"{type(self).__name__}({', '.join(settings)})"

    def to_spec(self) -> dict[str, Any]:
        """Return the layer as JSON values: its kind and its settings."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind} | {name: _to_json(value) for name, value in settings.items()}


def _shorten(value: Any) -> str:
    """Return a setting as text, and a pair of two equal numbers as one number."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return repr(value[0])
    return repr(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value.to_spec() if isinstance(value, Layer) else value


def split_arrays(specs: Mapping[str, ArraySpec], flat: FloatArray) -> dict[str, FloatArray]:
    """Return views of `flat` for these arrays, one after the other."""
    views, start = {}, 0
    for name, spec in specs.items():
        stop = start + prod(spec.shape)
        views[name] = flat[start:stop].reshape(spec.shape)
        start = stop
    return views
