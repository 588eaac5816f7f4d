"""One input followed through a network, term by term."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quadnet.nn.network import Network
from quadnet.types import FloatArray


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did with its inputs: activations = f(pre_activations).

    Parameters
    ----------
    activation : str
        The name of f; the output layer's is its link, "softmax" or "logistic".
    terms : ndarray of shape (n_inputs, n_units)
        Each input times its weight.
    biases, pre_activations, activations : ndarray of shape (n_units,)
        The pre-activations are the terms' sums and the biases.
    """

    activation: str
    terms: FloatArray
    biases: FloatArray
    pre_activations: FloatArray
    activations: FloatArray


def trace(network: Network, x: FloatArray) -> Iterator[LayerTrace]:
    """Yield what each layer does with x, of shape (n_features,), from the first to the output.

    The arithmetic is that of `Network.layers`, the terms apart: their sum may differ from the
    pre-activation in the last digit.
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
