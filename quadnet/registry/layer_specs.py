"""The layers in a manifest: parsed, counted and measured, before anything is allocated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from quadnet.nn.layers.kinds import layer_from_spec
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_shapes

MAX_LAYERS = 2000
"""Most layers of a network, with those inside of other layers."""

MAX_DEPTH = 8
"""Most layers that are inside each other."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """What a network needs.

    Parameters
    ----------
    n_values : int
        Number of values of all its arrays.
    widest : int
        How many values of one row the largest array holds when predicting.
    """

    n_values: int
    widest: int


def measure_network(layers: Sequence[Layer], input_shape: Shape) -> NetworkSize:
    """Return what a network of these layers needs.

    Raises
    ------
    ValueError
        If a layer does not fit the output of the layer below. The message names it.
    """
    pairs = list(zip(layers, find_shapes(layers, input_shape), strict=False))
    specs = [spec for layer, shape in pairs for spec in layer.array_specs(shape).values()]
    return NetworkSize(
        n_values=sum(prod(spec.shape) for spec in specs),
        widest=max(layer.widest(shape) for layer, shape in pairs),
    )


def count_layers(layers: Sequence[Layer]) -> int:
    """Return the number of layers, with those inside of other layers."""
    return sum(1 for layer in layers for _ in _list_depths(layer.to_spec()))


def measure_depth(layers: Sequence[Layer]) -> int:
    """Return how many layers are inside each other at most."""
    return max(depth for layer in layers for depth in _list_depths(layer.to_spec()))


def _list_depths(spec: Mapping[str, Any], depth: int = 1) -> Iterator[int]:
    """Yield the depth of the layer and of each layer inside of it."""
    yield depth
    for inner in spec.get("layers", ()):
        yield from _list_depths(inner, depth + 1)


def _parse_layers(specs: object) -> list[Layer]:
    if not isinstance(specs, (list, tuple)) or not specs:
        raise PydanticCustomError("layers", "expected a list of at least one layer")
    try:
        layers = [_parse_layer(spec, f"layers[{i}]") for i, spec in enumerate(specs)]
    except (ValueError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise PydanticCustomError("layers", "{reason}", {"reason": reason}) from error
    if (number := count_layers(layers)) > MAX_LAYERS:
        limits = {"most": MAX_LAYERS, "number": number}
        raise PydanticCustomError("layers", "expected at most {most} layers, got {number}", limits)
    return layers


def _parse_layer(spec: object, name: str) -> Layer:
    # A layer of a kind that readers do not know must not be published either.
    values = spec.to_spec() if isinstance(spec, Layer) else spec
    layer = layer_from_spec(values, name=name)
    if measure_depth([layer]) > MAX_DEPTH:
        raise ValueError(
            f"{name}: expected at most {MAX_DEPTH} layers inside each other, found more"
        )
    return layer


ManifestLayers = Annotated[
    list[Layer],
    PlainValidator(_parse_layers),
    PlainSerializer(lambda layers: [layer.to_spec() for layer in layers]),
]
"""The layers of a pydantic model: in JSON, each is an object with its kind and its settings."""
