"""Stacks of layers as users write them: made, checked, and cut into blocks."""

from collections.abc import Iterable, Sequence
from typing import Any

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.layer import Layer, Shape, UnfitInput


def make_layers(layers: Iterable[Any], name: str = "layers") -> tuple[Layer, ...]:
    """Return the layers of a list in which activations may be given by their names.

    Raises
    ------
    ValueError
        If an entry is neither a layer nor the name of an activation.
    """
    made: list[Layer] = []
    for i, layer in enumerate(layers):
        if isinstance(layer, str) and layer in ACTIVATIONS:
            made.append(Activation(layer))
        elif isinstance(layer, Layer):
            made.append(layer)
        else:
            raise ValueError(
                f"{name}[{i}] must be a layer, such as Dense(64), or the name of an activation: "
                f"{', '.join(map(repr, ACTIVATIONS))}. Got {layer!r}."
            )
    return tuple(made)


def make_hidden_layers(
    sizes: Sequence[int],
    activations: Sequence[str],
    *,
    bias: bool = True,
    dropout: float = 0.0,
) -> list[Layer]:
    """Return dense layers of these sizes, each with its activation, and dropout if it is not 0."""
    layers: list[Layer] = []
    for units, activation in zip(sizes, activations, strict=True):
        layers += [Dense(units, bias=bias), Activation(activation)]
        layers += [Dropout(dropout)] if dropout else []
    return layers


def with_channels(shape: Shape) -> Shape:
    """Return the shape of a row as layers take it: (height, width) is a picture of one channel."""
    return (1, *shape) if len(shape) == 2 else shape


def name_layer(layer: Layer) -> str:
    """Return a layer as text, and an activation as its name in quotes."""
    return repr(layer.function if isinstance(layer, Activation) else layer)


def make_dense_layers(
    layer_sizes: Sequence[int],
    activations: Sequence[str],
    *,
    bias: bool = True,
    dropout: float = 0.0,
) -> list[Layer]:
    """Return the layers of a dense network with these units, from the inputs to the outputs."""
    _, *hidden, n_outputs = layer_sizes
    layers = make_hidden_layers(hidden, activations, bias=bias, dropout=dropout)
    return [*layers, Dense(n_outputs, bias=bias)]


def find_shapes(layers: Sequence[Layer], input_shape: Shape) -> tuple[Shape, ...]:
    """Return the shape of the input, and of each layer's output.

    Raises
    ------
    ValueError
        If a layer does not fit the output of the layer below. The message names it.
    """
    shapes = [input_shape]
    for i, layer in enumerate(layers):
        try:
            shapes.append(layer.output_shape(shapes[-1]))
        except UnfitInput as error:
            advice = f" {error.advice}" if error.advice else ""
            raise ValueError(
                f"layers[{i}], {layer!r}, needs {error.needs}. Got the shape {shapes[-1]}.{advice}"
            ) from None
    return tuple(shapes)


def find_blocks(layers: Sequence[Layer]) -> list[slice]:
    """Return the blocks of a stack: each layer with the activation and dropout that follow it.

    Those keep the shape and have no parameters. A block is what users see as one layer. A second
    activation is a block of its own, so that every block has at most one.
    """
    starts: list[int] = []
    has_activation = False
    for i, layer in enumerate(layers):
        is_activation = isinstance(layer, Activation)
        follows = isinstance(layer, Dropout) or (is_activation and not has_activation)
        if i == 0 or not follows:
            starts.append(i)
            has_activation = False
        has_activation |= is_activation
    return [slice(*pair) for pair in zip(starts, [*starts[1:], len(layers)], strict=True)]
