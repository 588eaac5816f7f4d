"""The table of layer kinds, and stacks of layers as users write them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.layer import Layer

LAYER_KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in (Dense, Activation, Dropout)}
"""The kinds of layers by their names in files. A new kind is one more row."""


def layer_from_spec(spec: Mapping[str, Any]) -> Layer:
    """Return the layer that `Layer.to_spec` was called on.

    Raises
    ------
    ValueError
        If the kind is unknown, or a setting is wrong.
    """
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if kind not in LAYER_KINDS:
        raise ValueError(f"unknown kind {kind!r}; this release has {', '.join(LAYER_KINDS)}")
    try:
        return LAYER_KINDS[kind].from_settings(settings)
    except TypeError as error:
        raise ValueError(f"wrong settings of {kind!r}: {error}") from None


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
