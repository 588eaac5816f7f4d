"""Stacks of layers in a run file: JSON values of `network.layers`, made into layers and checked.

A layer is an object with its kind and its settings, or the name of an activation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from math import prod
from typing import Any

from pydantic import JsonValue

from quadnet.errors import shorten
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.kinds import LAYER_KINDS, layer_from_spec
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_shapes, make_hidden_layers, with_channels

DENSE_KEYS = ("hidden_layer_sizes", "activation", "dropout")
"""The parameters of the network that `layers` replaces."""


def check_network(network: Mapping[str, JsonValue], space: Mapping[str, object]) -> None:
    """Check the keys of a run file that concern layers.

    Parameters
    ----------
    network : mapping
        The section `network`.
    space : mapping
        The section `search.space`; may be empty.

    Raises
    ------
    ValueError
        If a layer is wrong or does not fit the layer below, or if there are both `layers` and a
        key that it replaces. The message begins with the key.
    """
    stacks: dict[str, JsonValue] = {}
    if network.get("layers") is not None:
        stacks["network.layers"] = network["layers"]
    choices = space.get("layers")
    if isinstance(choices, list):
        stacks |= {f"search.space.layers[{i}]": stack for i, stack in enumerate(choices)}
    if not stacks:
        return
    _check_replaced(network if "network.layers" in stacks else {}, space, next(iter(stacks)))
    shape = parse_input_shape(network)
    for key, stack in stacks.items():
        layers = parse_layers(stack, key)
        if shape is not None:
            check_fit(layers, shape, key)


def check_searched_layers(network: Mapping[str, JsonValue], space: Mapping[str, object]) -> None:
    """Raise ValueError if a search of layers has a key in `network` that they replace.

    Only for a configuration as written: in a resolved one, the keys have their defaults.
    """
    if "layers" in space:
        _check_replaced(network, {}, "search.space.layers")


def _check_replaced(
    network: Mapping[str, JsonValue], space: Mapping[str, object], stack: str
) -> None:
    used = [f"network.{key}" for key in DENSE_KEYS if key in network]
    used += [f"search.space.{key}" for key in DENSE_KEYS if key in space]
    if used:
        key = stack.partition("[")[0]
        raise ValueError(
            f"{used[0]}: expected either {key} or {used[0]}, got both. {key} has all hidden "
            f"layers, with their activations and dropout; remove {used[0]}"
        )


def parse_layers(value: JsonValue, key: str = "network.layers") -> tuple[Layer, ...]:
    """Return the layers that a JSON value describes.

    Raises
    ------
    ValueError
        If it is not a list of layers. The message begins with the key and the layer's number.
    """
    if not isinstance(value, list):
        raise ValueError(  # noqa: TRY004 - one class for whatever is wrong in a file
            f'{key}: expected a list of layers, such as [{{kind = "dense", units = 64}}, "relu"], '
            f"got {shorten(str(value))}"
        )
    try:
        return tuple(_parse_layer(spec, f"{key}[{i}]") for i, spec in enumerate(value))
    except RecursionError:
        raise ValueError(f"{key}: expected fewer layers inside of each other") from None


def _parse_layer(spec: JsonValue, name: str) -> Layer:
    if isinstance(spec, str):
        if spec not in ACTIVATIONS:
            hint = f'. Write {{kind = "{spec}"}} for the layer' if spec in LAYER_KINDS else ""
            raise ValueError(
                f"{name}: expected the name of an activation ({', '.join(ACTIVATIONS)}) or a layer "
                f"with a kind, got {shorten(spec)}{hint}"
            )
        spec = {"kind": "activation", "function": spec}
    try:
        return layer_from_spec(spec, name=name)
    except OverflowError:
        raise ValueError(f"{name}: expected smaller numbers, got {shorten(str(spec))}") from None
    except ValueError as error:
        raise ValueError(str(error).rstrip(".")) from None


def parse_input_shape(network: Mapping[str, JsonValue]) -> Shape | None:
    """Return the shape of a row's values, in which pictures have channels; None if it is not set.

    A value that is not a shape is left to the estimator, which refuses it.
    """
    value = network.get("input_shape")
    sizes = value if isinstance(value, list) else [value]
    shape = tuple(size for size in sizes if type(size) is int and size > 0)
    if len(shape) < len(sizes):
        return None
    return with_channels(shape)


def make_hidden_stack(
    network: Mapping[str, JsonValue], n_features: int
) -> tuple[list[Layer], Shape]:
    """Return the hidden layers of a resolved network, and the shape of their input.

    They have the network's shapes and arrays; activations between dense layers may be others.

    Raises
    ------
    ValueError
        If they do not fit rows of so many features.
    """
    shape = parse_input_shape(network) or (n_features,)
    if prod(shape) != n_features:
        given = network["input_shape"]
        raise ValueError(
            f"network.input_shape: expected a shape of {n_features:,} values, one for each feature "
            f"of the data, got {given}, which has {prod(shape):,}"
        )
    if network.get("layers") is not None:
        layers = list(parse_layers(network["layers"]))
        check_fit(layers, shape)
        return layers, shape
    sizes = network["hidden_layer_sizes"]
    units = [int(str(n)) for n in (sizes if isinstance(sizes, list) else [sizes])]
    # Any activation will do for the shapes; the estimator checks those of the network.
    return make_hidden_layers(units, ["relu"] * len(units)), (n_features,)


def check_fit(layers: Sequence[Layer], input_shape: Shape, key: str = "network.layers") -> None:
    """Raise ValueError if a layer, or the output layer, does not fit the layer below."""
    try:
        output = find_shapes(layers, input_shape)[-1]
    except ValueError as error:
        # The message begins with the layer's place in `layers`.
        raise ValueError(f"{key}{str(error).removeprefix('layers').rstrip('.')}") from None
    if len(output) != 1:
        raise ValueError(
            f"{key}: expected an output of shape (n_values,) for the output layer, which is added, "
            f'got the shape {output}. Add {{kind = "flatten"}} at the end'
        )


def describe_layers(value: JsonValue) -> Iterator[str]:
    """Yield a short text for each layer of a list in JSON, such as ``dense(units=64)``.

    Settings with their default are left out.
    """
    for spec in value if isinstance(value, list) else []:
        if not isinstance(spec, dict) or spec.get("kind") not in LAYER_KINDS:
            yield str(spec)
        elif spec["kind"] == "activation":
            yield str(spec.get("function"))
        else:
            kind = str(spec["kind"])
            usual = {field.name: field.default for field in fields(LAYER_KINDS[kind])}  # type: ignore[arg-type]
            if "size" in spec:
                usual["stride"] = spec["size"]
            settings = [
                f"{name}={_describe_setting(name, each)}"
                for name, each in spec.items()
                if name in usual
                and _describe_setting(name, each) != _describe_setting(name, usual[name])
            ]
            yield f"{kind}({', '.join(settings)})" if settings else kind


def _describe_setting(name: str, value: Any) -> str:
    if name == "layers":
        return f"[{', '.join(describe_layers(value))}]"
    if isinstance(value, list):
        return "x".join(map(str, value[:1] if len(set(value)) == 1 else value))
    return str(value)
