"""Backpropagation: the gradient of the loss by every parameter, in buffers allocated once."""

from typing import Any

import numpy as np

from quadnet.nn.layers.layer import FirstStep, LayerStep, StepContext
from quadnet.nn.network import Network
from quadnet.nn.parameters import Parameters
from quadnet.types import FloatArray


class Workspace:
    """The buffers of a training step on `n_rows` rows.

    Layers are held with one unit per row and one example per column. Call `forward`, then
    `backward` with the same arguments.

    Parameters
    ----------
    network : Network
    n_rows : int
    gradient : Parameters
        Where `backward` writes the gradient.
    rng : numpy.random.Generator, optional
        Draws for layers such as dropout; without it they are as in predicting.
    """

    def __init__(
        self,
        network: Network,
        n_rows: int,
        gradient: Parameters,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.network, self.n_rows = network, n_rows
        shape = (network.n_outputs, n_rows)
        self._D, self._scratch = (np.empty(shape, network.parameters.flat.dtype) for _ in range(2))
        self._row = self._scratch[0]
        # From the last layer to the first, because each layer writes into the next one's input.
        output, steps = self._scratch, list[LayerStep]()
        for i in range(len(network.layers) - 1, 0, -1):
            step = network.layers[i].make_step(self._context(i, gradient, output, rng))
            steps.insert(0, step)
            output = step.input
        self._first: FirstStep = network.layers[0].make_first_step(
            self._context(0, gradient, output, rng)
        )
        self._last = steps[-1] if steps else self._first
        self._forward = [step.forward for step in (self._first, *steps)]
        self._backward = [step.backward for step in (*reversed(steps), self._first)]

    def _context(
        self,
        i: int,
        gradient: Parameters,
        output: FloatArray,
        rng: np.random.Generator | None,
    ) -> StepContext:
        network = self.network
        return StepContext(
            network.shapes[i],
            network.parameters.segments[i],
            gradient.segments[i],
            self.n_rows,
            output,
            is_first=i == 0,
            may_overwrite_input=i > 0 and not network.layers[i - 1].needs_output,
            rng=rng,
        )

    def forward(self, X: Any, P: FloatArray) -> None:
        """Write the outputs for X into P, of shape (n_outputs, n_rows).

        X has shape (n_rows, n_features) and may be a SciPy sparse matrix.
        """
        self._first.rows, self._last.output = X, P
        for forward in self._forward:
            forward()
        self.network.loss.link(P, self._row)

    def backward(self, P: FloatArray, Y: FloatArray, scale: FloatArray) -> None:
        """Write the gradient of sum_n scale_n loss_n, overwriting the buffers.

        Y has the shape of P; scale is one number for all examples, or one number for each.
        """
        D = self._D
        self.network.loss.delta(P, Y, D, self._scratch)
        D *= scale
        for backward in self._backward:
            D = backward(D)
