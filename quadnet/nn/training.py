"""Training: one generator that yields one `Epoch` at a time.

Whoever trains consumes this one loop and decides when to stop. It never ends by itself and knows
no clock, file or log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import RandomState

from quadnet.nn.backpropagation import Workspace
from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer
from quadnet.nn.parameters import Parameters
from quadnet.nn.schedules import Schedule
from quadnet.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows did.

    `number` counts from 1, `loss` is the mean over the pass's rows, penalty included, and
    `updates` counts the steps made since training began.
    """

    number: int
    loss: float
    updates: int


@dataclass(frozen=True)
class Penalty:
    """The L2 penalty of a step: alpha / 2 times the weights' squares, biases left out, per row.

    A row is a row of the mini-batch (scikit-learn's rule, under which the penalty of an epoch
    grows with the number of mini-batches) or, with `per_sample`, of the whole training set, so
    that mini-batches of any size pursue one and the same objective.
    """

    alpha: float
    per_sample: bool = False


class Decay:
    """The penalty's gradient, and the arrays that it takes: as long as the parameters.

    One call of training may leave it to the next, which then need not make them.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._shape = (parameters.layer_sizes, parameters.bias, parameters.flat.dtype)
        self.product = np.empty_like(parameters.flat)
        self._vectors: dict[tuple[float, float], FloatArray] = {}

    def fits(self, parameters: Parameters) -> bool:
        """Whether it can serve these parameters."""
        return self._shape == (parameters.layer_sizes, parameters.bias, parameters.flat.dtype)

    def vector(self, parameters: Parameters, alpha: float, divisor: float) -> FloatArray:
        """Return the vector whose product with the parameters is the penalty's gradient."""
        key = (alpha, divisor)
        if key not in self._vectors:
            if len(self._vectors) > 1:  # a pass has mini-batches of two sizes at most
                self._vectors.clear()
            self._vectors[key] = parameters.weights_only(alpha)
            self._vectors[key] /= divisor
        return self._vectors[key]


class MiniBatches:
    """One pass over mini-batches: the inner loop of training, and the owner of its buffers.

    Parameters
    ----------
    network : Network
        Trained in place.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    Y : ndarray of bool, shape (n_rows, n_outputs)
    optimizer : Optimizer
    batch_size : int
    weights : ndarray of shape (n_rows,), optional
        How much each row counts. A mini-batch whose weights are all 0 makes no update.
    penalty : Penalty
    max_gradient_norm : float, optional
        Longer gradients are scaled down to this Euclidean norm (Pascanu et al., 2013).
    dropout, dropout_rng
        As for `Workspace`.
    decay : Decay, optional
        That of an earlier call.
    """

    # Rows, targets and outputs are held for as many mini-batches at a time as fit into this many
    # bytes, so that small ones share the cost and the rows are in the cache when their turn comes.
    _CHUNK_BYTES = 2**18

    def __init__(
        self,
        network: Network,
        X: Any,
        Y: BoolArray,
        *,
        optimizer: Optimizer,
        batch_size: int,
        weights: FloatArray | None = None,
        penalty: Penalty,
        max_gradient_norm: float | None = None,
        dropout: float = 0.0,
        dropout_rng: np.random.Generator | None = None,
        decay: Decay | None = None,
    ) -> None:
        self.network, self.optimizer, self.weights = network, optimizer, weights
        reusable = decay is not None and decay.fits(network.parameters)
        self.decay = decay if decay and reusable else Decay(network.parameters)
        self._X = X
        # One label a row, so that a chunk's targets come out with their examples side by side.
        self._Y = np.ascontiguousarray(Y.T)
        self._penalty, self._max_norm = penalty, max_gradient_norm
        self._gradient = network.parameters.like(optimizer.gradient)
        self.n_rows = X.shape[0]
        self.total = float(self.n_rows if weights is None else weights.sum())

        dense = isinstance(X, np.ndarray)
        n_batches, rest = divmod(self.n_rows, batch_size)
        row_bytes = (X.shape[1] + 2 * Y.shape[1]) * X.dtype.itemsize
        together = max(1, self._CHUNK_BYTES // (batch_size * row_bytes)) if dense else 1
        n_chunks, last = divmod(n_batches, together)
        # Chunks in the order of the pass, and for each the rows it takes.
        shapes = [(together, batch_size)] * n_chunks + [(last, batch_size)] * bool(last)
        shapes += [(1, rest)] * bool(rest)
        workspaces = {
            n: Workspace(network, n, dropout=dropout, rng=dropout_rng)
            for n in {n for _, n in shapes}
        }
        chunks = {shape: _Chunk(workspaces[shape[1]], shape[0], X) for shape in set(shapes)}
        self._pass = []
        start = 0
        for shape in shapes:
            stop = start + shape[0] * shape[1]
            self._pass.append((chunks[shape], slice(start, stop)))
            start = stop
        self._decays = {n: self._decay_for(n) for n in workspaces}
        self.n_batches = n_batches + bool(rest)

    def _decay_for(self, n_rows: int) -> FloatArray | None:
        if not self._penalty.alpha:
            return None
        divisor = 1.0 if self.weights is not None else float(n_rows)
        if self._penalty.per_sample:
            divisor = self.total
        return self.decay.vector(self.network.parameters, self._penalty.alpha, divisor)

    def run(self, order: IntArray, rates: Iterator[float] | None = None) -> tuple[float, int]:
        """Make one update a mini-batch, taking rows in `order`.

        `rates` gives the learning rate of each update; without them it is the optimizer's own.
        Returns the mean loss of a row and the number of updates.
        """
        theta, gradient, optimizer = self.network.parameters.flat, self._gradient, self.optimizer
        decayed = self.decay.product
        total, updates = 0.0, 0
        for chunk, part in self._pass:
            chunk.fill(self._X, self._Y, self.weights, order[part])
            work, decay = chunk.workspace, self._decays[chunk.workspace.n_rows]
            for X, Y, P, scale, weight in chunk.batches():
                if rates is not None:
                    optimizer.learning_rate = next(rates)
                if weight == 0.0:
                    continue
                work.forward(X, P)
                work.backward(X, P, Y, scale, gradient)
                if decay is not None:
                    np.multiply(theta, decay, out=decayed)
                    if self.weights is not None and not self._penalty.per_sample:
                        decayed *= 1.0 / weight
                    gradient.flat += decayed
                    total += 0.5 * weight * float(theta.dot(decayed))
                if self._max_norm is not None:
                    self._shorten(gradient.flat, self._max_norm)
                optimizer.step(theta)
                updates += 1
            total += chunk.loss()
        return total / self.total, updates

    @staticmethod
    def _shorten(gradient: FloatArray, longest: float) -> None:
        norm = float(gradient.dot(gradient)) ** 0.5
        if norm == np.inf:  # the squares overflow long before the gradient does
            largest = float(np.abs(gradient).max())
            norm = largest * float(np.linalg.norm(gradient / largest))
        if norm > longest:
            gradient *= longest / norm


class _Chunk:
    """Buffers for the rows of a few mini-batches, one after the other, all of one size."""

    def __init__(self, workspace: Workspace, n_batches: int, X: Any) -> None:
        self.workspace = workspace
        network, n_rows = workspace.network, workspace.n_rows
        dtype = network.parameters.flat.dtype
        self._shape = (n_batches, n_rows)
        n_in, n_outputs = X.shape[1], network.layer_sizes[-1]
        self._sparse = not isinstance(X, np.ndarray)
        self._X: Any = None
        if not self._sparse:
            self._X = np.empty((n_batches, n_rows, n_in), dtype)
            self._rows = self._X.reshape(n_batches * n_rows, n_in)
        self._labels = np.empty((n_outputs, n_batches * n_rows), np.bool_)
        self._targets = np.empty(self._labels.shape, dtype)
        self._Y = self._targets.reshape(n_outputs, n_batches, n_rows).transpose(1, 0, 2)
        self._P = np.zeros((n_batches, n_outputs, n_rows), dtype)
        self._weights: FloatArray | None = None
        self._batch_weights: FloatArray = np.full(n_batches, n_rows, dtype)
        # One number for every row of a mini-batch, until `fill` is given weights.
        self._scales: Any = [np.asarray(1.0 / n_rows, dtype)] * n_batches

    def fill(self, X: Any, Y: BoolArray, weights: FloatArray | None, rows: IntArray) -> None:
        """Gather these rows."""
        # mode="clip" writes straight into `out`; the default would buffer it first.
        np.take(Y, rows, axis=1, out=self._labels, mode="clip")
        self._targets[:] = self._labels
        if self._sparse:
            self._X = [X[rows]]
        else:
            np.take(X, rows, axis=0, out=self._rows, mode="clip")
        if weights is not None:
            self._weights = weights[rows].reshape(self._shape)
            self._batch_weights = self._weights.sum(axis=1)
            divisors = np.where(self._batch_weights > 0, self._batch_weights, 1)
            self._scales = self._weights / divisors[:, np.newaxis]

    def batches(self) -> Iterator[tuple[Any, FloatArray, FloatArray, FloatArray, float]]:
        """Yield each mini-batch's X, Y, room for its outputs, its rows' scale, and its weight."""
        return zip(
            self._X, self._Y, self._P, self._scales, self._batch_weights.tolist(), strict=True
        )

    def loss(self) -> float:
        """Return the sum of the rows' losses, weighted, from the outputs of the last pass."""
        values = self.workspace.network.loss.values(self._P, self._Y)
        if self._weights is None:
            return float(values.sum())
        return float(np.vdot(values, self._weights))


def train(
    batches: MiniBatches,
    *,
    shuffle: bool,
    rng: RandomState,
    schedule: Schedule | None = None,
    epochs_done: int = 0,
) -> Iterator[Epoch]:
    """Train the batches' network in place, without end; yield after each pass over the rows.

    The shuffles compose and draw from `rng` as scikit-learn's do, so the same seed visits the rows
    in the same order.
    """
    order = np.arange(batches.n_rows)
    number = updates = 0
    while True:
        if shuffle:
            permutation = np.arange(batches.n_rows)
            rng.shuffle(permutation)
            order = order[permutation]
        rates = (
            None if schedule is None else schedule.rates(epochs_done + number, batches.n_batches)
        )
        number += 1
        loss, done = batches.run(order, rates)
        updates += done
        yield Epoch(number, loss, updates)
