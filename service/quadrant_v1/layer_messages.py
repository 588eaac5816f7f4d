"""Layers, and their traces, in messages of `quadrant.v1`.

`_MESSAGES_BY_KIND` is the table of the kinds with messages of their own. A layer of any other kind,
also one that is not of this package, is described by its kind, its shapes and its arrays.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from quadnet.nn.layer_trace import LayerTrace, name_activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.layer import Arrays, Layer, Shape
from quadnet.nn.layers.stack import find_blocks
from quadnet.nn.network import Network
from quadnet.types import FloatArray
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.packed_arrays import encode_doubles

_WEIGHTS = pb.Layer.WEIGHTS_FIELD_NUMBER
_BIASES = pb.Layer.BIASES_FIELD_NUMBER
_VALUES = pb.LayerArray.VALUES_FIELD_NUMBER
_TERMS = pb.UnitTrace.TERMS_FIELD_NUMBER
_PRE_ACTIVATIONS = pb.LayerTrace.PRE_ACTIVATIONS_FIELD_NUMBER
_ACTIVATIONS = pb.LayerTrace.ACTIVATIONS_FIELD_NUMBER


@dataclass(frozen=True)
class _Block:
    """One layer of a network, with its activation and its arrays."""

    layer: Layer
    activation: str
    input_shape: Shape
    output_shape: Shape
    arrays: Arrays


class _LayerMessages:
    """The messages of a layer of any kind."""

    def encode_arrays(self, block: _Block) -> bytes:
        """Return the fields of `pb.Layer` that have the layer's arrays."""
        arrays = []
        for name, array in block.arrays.items():
            described = pb.LayerArray(name=name, shape=array.shape)
            described.MergeFromString(encode_doubles(_VALUES, array))
            arrays.append(described)
        return pb.Layer(arrays=arrays).SerializeToString()

    def encode_values(self, traced: LayerTrace) -> bytes:
        """Return the fields of `pb.LayerTrace` that have the values of the layer."""
        return encode_doubles(_PRE_ACTIVATIONS, traced.pre_activations) + encode_doubles(
            _ACTIVATIONS, traced.activations
        )

    def arrays_size(self, block: _Block) -> int:
        """Return the bytes of the numbers in `encode_arrays`."""
        return 8 * sum(array.size for array in block.arrays.values())

    def values_size(self, block: _Block) -> int:
        """Return the bytes of the numbers in `encode_values`."""
        return 2 * 8 * prod(block.output_shape)


class _DenseMessages(_LayerMessages):
    """The messages of a dense layer: its weights and biases, and a trace of each unit."""

    def encode_arrays(self, block: _Block) -> bytes:
        weights = block.arrays["weights"]
        biases = block.arrays.get("biases", np.zeros(weights.shape[1]))
        return encode_doubles(_WEIGHTS, weights) + encode_doubles(_BIASES, biases)

    def encode_values(self, traced: LayerTrace) -> bytes:
        terms, biases = _terms_and_biases(traced)
        described = pb.LayerTrace()
        for terms_of_unit, bias, z, a in zip(
            terms.T,
            biases.tolist(),
            traced.pre_activations.tolist(),
            traced.activations.tolist(),
            strict=True,
        ):
            unit = described.units.add(bias=bias, pre_activation=z, activation=a)
            unit.MergeFromString(encode_doubles(_TERMS, terms_of_unit))
        return described.SerializeToString()

    def arrays_size(self, block: _Block) -> int:
        (n_units,) = block.output_shape
        return 8 * (block.arrays["weights"].size + n_units)

    def values_size(self, block: _Block) -> int:
        # For each unit also the bias, the pre-activation and the activation, each with a tag.
        (n_units,) = block.output_shape
        return 8 * block.arrays["weights"].size + 3 * 9 * n_units


_MESSAGES_BY_KIND: dict[str, _LayerMessages] = {Dense.kind: _DenseMessages()}
_OTHER_MESSAGES = _LayerMessages()


def describe_layers(network: Network) -> list[pb.Layer]:
    """Return the layers of a network, each with its activation, up to the output layer."""
    return [_describe_block(block) for block in _blocks(network)]


def layers_size(network: Network) -> int:
    """Return the bytes that the numbers of the layers take in messages."""
    return sum(_messages(block.layer).arrays_size(block) for block in _blocks(network))


def describe_layer_trace(traced: LayerTrace) -> pb.LayerTrace:
    """Return the trace of one layer: unit by unit if it is dense, else by its values."""
    described = pb.LayerTrace(
        activation=traced.activation,
        kind=traced.layer.kind,
        shape=traced.activations.shape,
    )
    described.MergeFromString(_messages(traced.layer).encode_values(traced))
    return described


def traces_size(network: Network) -> int:
    """Return the bytes that the numbers of the traces of all layers take in messages."""
    return sum(_messages(block.layer).values_size(block) for block in _blocks(network))


def _messages(layer: Layer) -> _LayerMessages:
    return _MESSAGES_BY_KIND.get(layer.kind, _OTHER_MESSAGES)


def _blocks(network: Network) -> Iterator[_Block]:
    """Yield each layer with its activation. That of the output layer is the loss's link."""
    blocks = find_blocks(network.layers)
    for block in blocks:
        last = block == blocks[-1]
        yield _Block(
            network.layers[block.start],
            network.loss.link_name if last else name_activation(network, block),
            network.shapes[block.start],
            network.shapes[block.stop],
            network.parameters.arrays[block.start],
        )


def _describe_block(block: _Block) -> pb.Layer:
    settings: dict[str, Any] = block.layer.to_spec()
    kind = settings.pop("kind")
    described = pb.Layer(
        activation=block.activation,
        inputs=prod(block.input_shape),
        units=prod(block.output_shape),
        kind=kind,
        settings=json.dumps(settings),
        input_shape=block.input_shape,
        output_shape=block.output_shape,
    )
    described.MergeFromString(_messages(block.layer).encode_arrays(block))
    return described


def _terms_and_biases(traced: LayerTrace) -> tuple[FloatArray, FloatArray]:
    # `trace_layers` sets both for dense layers.
    assert traced.terms is not None
    assert traced.biases is not None
    return traced.terms, traced.biases
