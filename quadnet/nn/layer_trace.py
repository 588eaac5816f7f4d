"""The computation of a network for one input, term by term."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quadnet.nn.network import Network
from quadnet.types import FloatArray


@dataclass(frozen=True)
class LayerTrace:
    """The values of one layer for one input: activations = f(pre_activations).

    Parameters
    ----------
    activation : str
        The name of f; for the output layer the link, "softmax" or "logistic".
    terms : ndarray of shape (n_inputs, n_units)
        Each input times its weight.
    biases, pre_activations, activations : ndarray of shape (n_units,)
        A pre-activation is the sum of the unit's terms, plus its bias.
    """

    activation: str
    terms: FloatArray
    biases: FloatArray
    pre_activations: FloatArray
    activations: FloatArray


def trace_layers(network: Network, x: FloatArray) -> Iterator[LayerTrace]:
    """Yield each layer's trace for x, of shape (n_features,), from the first layer to the output.

    Pre-activations are computed as by `Network.layers`; the sum of the terms may differ from them
    in the last digit.
    """
    a = np.asarray(x, dtype=network.parameters.flat.dtype)
    last = len(network.activations)
    for i, (W, b) in enumerate(
        zip(network.parameters.weights, network.parameters.biases, strict=True)
    ):
        z = a.dot(W) + b
        if i < last:
            name = network.activation_names[i]
            following = network.activations[i].forward(z.copy())
        else:
            name = network.loss.link_name
            following = z.copy()
            network.loss.link(following[:, np.newaxis])
        yield LayerTrace(name, a[:, np.newaxis] * W, b, z, following)
        a = following
