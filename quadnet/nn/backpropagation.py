"""Backpropagation: the gradient of the loss by every parameter, in buffers allocated once."""

from typing import Any

import numpy as np

from quadnet.nn.network import Network
from quadnet.nn.parameters import Parameters
from quadnet.types import BoolArray, FloatArray


class Workspace:
    """The buffers of a training step on `n_rows` rows.

    Layers are held with one unit per row and one example per column; hidden layers have a last row
    of ones, which multiplies the next layer's biases. Call `forward`, then `backward` with the same
    arguments.

    Parameters
    ----------
    network : Network
    n_rows : int
    dropout : float, default=0.0
        The share of each hidden layer's units that every forward pass sets to 0, at random; the
        others are multiplied by 1 / (1 - dropout), so that predicting needs no correction
        (Srivastava et al., 2014, in its inverted form).
    rng : numpy.random.Generator, optional
        Draws the units; needed only with dropout.
    """

    def __init__(
        self,
        network: Network,
        n_rows: int,
        *,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        parameters = network.parameters
        dtype, bias, last = parameters.flat.dtype, parameters.bias, len(parameters.matrices) - 1
        self.network, self.n_rows, self._last = network, n_rows, last
        self._dropout, self._rng = dropout, rng

        def empty(n_units: int) -> FloatArray:
            return np.empty((n_units, n_rows), dtype)

        hidden, n_outputs = network.layer_sizes[1:-1], network.layer_sizes[-1]
        self._maps = [M.T for M in parameters.matrices]
        self._weights = parameters.weights
        # The rows of X have no column of ones: the first layer adds its biases separately.
        self._first_map = parameters.weights[0].T
        self._first_biases = parameters.biases[0][:, np.newaxis]
        self._ones = np.ones(n_rows, dtype)
        # For each hidden layer: pre-activations Z; activations H; A, the input of the next layer
        # with its row of ones; D, the gradient with respect to Z. Without dropout H is a view of A.
        self._A = [np.ones((n + bias, n_rows), dtype) for n in hidden]
        seen = [A[:n] for A, n in zip(self._A, hidden, strict=True)]
        self._seen = seen
        self._H = [empty(n) for n in hidden] if dropout else seen
        self._Z = [
            H if activation.in_place else np.empty_like(H)
            for H, activation in zip(self._H, network.activations, strict=True)
        ]
        self._kept = [empty(n) for n in hidden] if dropout else []
        self._masks: list[BoolArray] = [np.empty((n, n_rows), np.bool_) for n in hidden]
        self._D = [empty(n) for n in (*hidden, n_outputs)]
        self._D_by_example = [D.T for D in self._D]
        self._scratch = empty(n_outputs)
        self._row = self._scratch[0]

    def forward(self, X: Any, P: FloatArray) -> None:
        """Write the outputs for X into P, of shape (n_outputs, n_rows).

        X has shape (n_rows, n_in) and may be a SciPy sparse matrix.
        """
        network, outputs = self.network, [*self._Z, P]
        if isinstance(X, np.ndarray):
            np.dot(self._first_map, X.T, outputs[0])
        else:
            outputs[0][:] = (X @ self._weights[0]).T
        if network.parameters.bias:
            outputs[0] += self._first_biases
        for i, activation in enumerate(network.activations):
            activation.forward(self._Z[i], self._H[i])
            if self._dropout:
                self._drop(i)
            np.dot(self._maps[i + 1], self._A[i], outputs[i + 1])
        network.loss.link(P, self._row)

    def _drop(self, i: int) -> None:
        assert self._rng is not None
        kept, mask = self._kept[i], self._masks[i]
        self._rng.random(dtype=kept.dtype, out=kept)
        np.greater_equal(kept, self._dropout, out=mask)
        np.multiply(mask, 1.0 / (1.0 - self._dropout), out=kept)
        np.multiply(self._H[i], kept, out=self._seen[i])

    def backward(
        self, X: Any, P: FloatArray, Y: FloatArray, scale: FloatArray, gradient: Parameters
    ) -> None:
        """Write the gradient of sum_n scale_n loss_n into `gradient`, overwriting the buffers.

        Y has the shape of P; scale is one number for all examples, or one number for each.
        """
        network, D, last = self.network, self._D, self._last
        network.loss.delta(P, Y, D[last], self._scratch)
        D[last] *= scale
        for i in range(last, 0, -1):
            below = i - 1
            np.dot(self._A[below], self._D_by_example[i], gradient.matrices[i])
            np.dot(self._weights[i], D[i], D[below])
            if self._dropout:
                D[below] *= self._kept[below]
            network.activations[below].backward(
                self._Z[below], self._H[below], D[below], self._masks[below]
            )
        if isinstance(X, np.ndarray):
            np.dot(X.T, self._D_by_example[0], gradient.weights[0])
        else:
            gradient.weights[0][:] = X.T @ self._D_by_example[0]
        if gradient.bias:
            np.dot(D[0], self._ones, gradient.biases[0])
