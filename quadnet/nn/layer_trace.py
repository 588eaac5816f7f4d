"""The computation of a network for one input, block by block and term by term."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.layer import Layer
from quadnet.nn.layers.stack import find_blocks
from quadnet.nn.network import Network
from quadnet.types import FloatArray


@dataclass(frozen=True)
class LayerTrace:
    """The values of one block for one input: activations = f(pre_activations).

    Parameters
    ----------
    layer : Layer
        The block's first layer.
    activation : str
        The name of f; for the output layer the link, "softmax" or "logistic".
    inputs : ndarray of shape (*input_shape,)
    terms : ndarray of shape (n_inputs, n_units) or None
        Each input times its weight, for a dense layer.
    biases : ndarray of shape (n_units,) or None
        For a dense layer.
    pre_activations, activations : ndarray of shape (*output_shape,)
        In a dense layer, a pre-activation is the sum of the unit's terms, plus its bias.
    """

    layer: Layer
    activation: str
    inputs: FloatArray
    terms: FloatArray | None
    biases: FloatArray | None
    pre_activations: FloatArray
    activations: FloatArray


def trace_layers(network: Network, x: FloatArray) -> Iterator[LayerTrace]:
    """Yield each block's trace for x, of shape (n_features,), from the first to the output.

    Pre-activations are computed as by `Network.values`; the sum of the terms may differ from them
    in the last digit.
    """
    dtype = network.parameters.flat.dtype
    a = np.asarray(x, dtype=dtype).reshape(network.input_shape)
    blocks = find_blocks(network.layers)
    for block in blocks:
        first, *following = network.layers[block]
        arrays = network.parameters.arrays[block.start]
        name = network.loss.link_name if block == blocks[-1] else name_activation(network, block)
        z = first.apply_to_rows(arrays, a[np.newaxis])[0]
        after = z.copy()
        for layer in following:
            after = layer.apply_to_rows({}, after[np.newaxis])[0]
        if block == blocks[-1]:
            network.loss.link(after[:, np.newaxis])
        terms = biases = None
        if isinstance(first, Dense):
            terms = a[:, np.newaxis] * arrays["weights"]
            biases = arrays["biases"] if first.bias else np.zeros(first.units, dtype)
        yield LayerTrace(first, name, a, terms, biases, z, after)
        a = after


def name_activation(network: Network, block: slice) -> str:
    """Return the name of a block's activation, "identity" without one."""
    names = [layer.function for layer in network.layers[block] if isinstance(layer, Activation)]
    return names[-1] if names else "identity"
