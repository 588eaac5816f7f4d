"""Training: one generator that yields one `Epoch` at a time.

The estimator, the pipeline and the page's sandbox all consume this one loop and decide for
themselves when to stop. It never ends by itself and knows no clock, file or log.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from quadnet.network import Network, Workspace
from quadnet.optimizers import Optimizer
from quadnet.types import FloatArray, IntArray


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows did.

    `number` counts from 1, `loss` is the mean over the pass's rows, penalty included, and
    `updates` counts the steps made since training began.
    """

    number: int
    loss: float
    updates: int


class MiniBatches:
    """One pass over mini-batches: the inner loop of training, and the owner of its buffers.

    X has shape (n_rows, n_in), Y (n_rows, n_outputs).
    """

    def __init__(
        self,
        network: Network,
        X: FloatArray,
        Y: FloatArray,
        *,
        optimizer: Optimizer,
        batch_size: int,
        alpha: float,
    ) -> None:
        self.network, self.X, self.Y = network, X, Y
        self.optimizer, self.alpha = optimizer, alpha
        self.gradient = network.parameters.like()
        n_rows = len(X)
        self.slices = [
            slice(start, min(start + batch_size, n_rows)) for start in range(0, n_rows, batch_size)
        ]
        sizes = {s.stop - s.start for s in self.slices}
        self.workspaces = {size: Workspace(network, size) for size in sizes}

    def run(self, order: IntArray) -> float:
        """Make one update a mini-batch, taking rows in `order`; return the mean loss of a row."""
        return sum(self._step(order[s]) for s in self.slices) / len(self.X)

    def _step(self, rows: IntArray) -> float:
        """Update the network on these rows; return the sum of their losses."""
        n = len(rows)
        work = self.workspaces[n]
        # mode="clip" writes straight into `out`; the default would buffer it first.
        np.take(self.X, rows, axis=0, out=work.X, mode="clip")
        np.take(self.Y, rows, axis=0, out=work.Y, mode="clip")
        loss = work.backpropagate(self.gradient)
        if self.alpha:
            weights = self.network.parameters.flat_weights
            self.gradient.flat_weights += (self.alpha / n) * weights
            loss += 0.5 * self.alpha / n * float(np.vdot(weights, weights))
        self.optimizer.step(self.network.parameters.flat, self.gradient.flat)
        return loss * n


def train(batches: MiniBatches, *, shuffle: bool, rng: RandomState) -> Iterator[Epoch]:
    """Train the batches' network in place, without end; yield after each pass over the rows.

    The shuffles compose and draw from `rng` as scikit-learn's do, so the same seed visits the rows
    in the same order.
    """
    n_rows = len(batches.X)
    order = np.arange(n_rows)
    number = 0
    while True:
        if shuffle:
            permutation = np.arange(n_rows)
            rng.shuffle(permutation)
            order = order[permutation]
        number += 1
        loss = batches.run(order)
        yield Epoch(number, loss, updates=number * len(batches.slices))
