"""The network: shapes and parameters, forward and backward. Arrays in, arrays out.

`Network.outputs` is pure and keeps no scratch, so any number of threads may share one network.
Training's buffers live in a `Workspace`, which belongs to whoever trains.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import RandomState
from numpy.typing import DTypeLike

from quadnet.activations import ACTIVATIONS
from quadnet.initializers import Initializer
from quadnet.losses import LOSSES
from quadnet.parameters import Parameters
from quadnet.types import FloatArray


class Network:
    """A fully connected network.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units a layer, from the inputs to the outputs, such as ``(2, 6, 4)``.
    activations : sequence of str
        One name from `ACTIVATIONS` a hidden layer.
    loss : str
        A name from `LOSSES`: the output layer's link and loss.
    bias : bool, default=True
    dtype : dtype, default=float64

    Attributes
    ----------
    parameters : Parameters
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activations: Sequence[str],
        loss: str,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
    ) -> None:
        assert len(activations) == len(layer_sizes) - 2, "one activation a hidden layer"
        self.layer_sizes = tuple(layer_sizes)
        self.activation_names = tuple(activations)
        self.loss_name = loss
        self.activations = [ACTIVATIONS[name] for name in activations]
        self.loss = LOSSES[loss]()
        self.parameters = Parameters(layer_sizes, bias=bias, dtype=dtype)

    def initialize(self, initializer: Initializer, rng: RandomState) -> None:
        """Draw every layer's weights and biases, from the inputs to the outputs."""
        for W, b in zip(self.parameters.weights, self.parameters.biases, strict=True):
            drawn_W, drawn_b = initializer(rng, *W.shape)
            W[:] = drawn_W
            if self.parameters.bias:
                b[:] = drawn_b

    def outputs(self, X: FloatArray) -> FloatArray:
        """Return the output layer's values, of shape (n_rows, n_outputs), for X (n_rows, n_in)."""
        A = X
        *hidden, (W, b) = zip(self.parameters.weights, self.parameters.biases, strict=True)
        for (W_hidden, b_hidden), activation in zip(hidden, self.activations, strict=True):
            Z = A @ W_hidden
            Z += b_hidden
            activation.forward(Z)
            A = Z
        P = A @ W
        P += b
        self.loss.link(P)
        return P

    def probabilities(self, X: FloatArray) -> FloatArray:
        """Return rows that sum to 1, of shape (n_rows, n_classes)."""
        return self.loss.probabilities(self.outputs(X))


class Workspace:
    """The buffers of one training step for mini-batches of `n_rows` rows.

    Fill `X` (n_rows, n_in) and `Y` (n_rows, n_outputs), then call `backpropagate`.
    """

    def __init__(self, network: Network, n_rows: int) -> None:
        dtype = network.parameters.flat.dtype
        self.network = network
        # A[0] is the input, A[i] the activation of layer i; D[i] is the gradient behind A[i + 1].
        self.A: list[FloatArray] = [np.empty((n_rows, n), dtype) for n in network.layer_sizes]
        self.D: list[FloatArray] = [np.empty((n_rows, n), dtype) for n in network.layer_sizes[1:]]
        self.X = self.A[0]
        self.Y = np.empty_like(self.A[-1])

    def backpropagate(self, gradient: Parameters) -> float:
        """Write the gradient of the mean loss over X, Y; return that loss (without penalty)."""
        A, D, Y = self.A, self.D, self.Y
        parameters, activations = self.network.parameters, self.network.activations
        loss, last = self.network.loss, len(D) - 1

        for i, (W, b) in enumerate(zip(parameters.weights, parameters.biases, strict=True)):
            Z = np.matmul(A[i], W, out=A[i + 1])
            Z += b
            if i < last:
                activations[i].forward(Z)
            else:
                loss.link(Z)
        value = loss.value(A[-1], Y)

        loss.delta(A[-1], Y, D[last])
        D[last] /= len(Y)
        for i in range(last, -1, -1):
            np.matmul(A[i].T, D[i], out=gradient.weights[i])
            np.add.reduce(D[i], axis=0, out=gradient.biases[i])
            if i:
                np.matmul(D[i], parameters.weights[i].T, out=D[i - 1])
                activations[i - 1].backward(A[i], D[i - 1])
        return value
