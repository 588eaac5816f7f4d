"""Training: a generator that yields one `Epoch` at a time.

The loop never ends by itself: the caller decides when to stop. It reads no clock and writes no file
or log.
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
    """The result of one pass over the training rows.

    `number` counts from 1, `loss` is the mean over the rows, penalty included, and `updates` counts
    the updates since training began.
    """

    number: int
    loss: float
    updates: int


@dataclass(frozen=True)
class Penalty:
    """The L2 penalty of an update: alpha / 2 times the squared weights, divided by the rows.

    Biases have no penalty. The rows are those of the mini-batch, as in scikit-learn, where the
    penalty of an epoch grows with the number of mini-batches. With `per_sample` they are those of
    the training set, so that mini-batches of any size minimise the same objective.
    """

    alpha: float
    per_sample: bool = False


class PenaltyBuffers:
    """The arrays for the penalty's gradient, each as long as the parameters.

    One call of training may pass them to the next, which saves allocating them again.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._shape = (parameters.specs, parameters.flat.dtype)
        self.product = np.empty_like(parameters.flat)
        self._vectors: dict[tuple[float, float], FloatArray] = {}

    def fits(self, parameters: Parameters) -> bool:
        """Whether the arrays have the shape and dtype of these parameters."""
        return self._shape == (parameters.specs, parameters.flat.dtype)

    def vector(self, parameters: Parameters, alpha: float, divisor: float) -> FloatArray:
        """Return the vector whose product with the parameters is the penalty's gradient."""
        key = (alpha, divisor)
        if key not in self._vectors:
            if len(self._vectors) > 1:  # a pass has mini-batches of at most two sizes
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
        Row weights. A mini-batch whose weights are all 0 makes no update.
    penalty : Penalty
    max_gradient_norm : float, optional
        Longer gradients are scaled down to this Euclidean norm (Pascanu et al., 2013).
    rng : numpy.random.Generator, optional
        As for `Workspace`.
    penalty_buffers : PenaltyBuffers, optional
        Those of an earlier call, to be used again.
    """

    # Rows, targets and outputs are gathered for as many mini-batches at a time as fit into this
    # many bytes: small mini-batches share the cost, and the rows stay in the cache.
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
        rng: np.random.Generator | None = None,
        penalty_buffers: PenaltyBuffers | None = None,
    ) -> None:
        self.network, self.optimizer, self.weights = network, optimizer, weights
        if penalty_buffers is None or not penalty_buffers.fits(network.parameters):
            penalty_buffers = PenaltyBuffers(network.parameters)
        self.penalty_buffers = penalty_buffers
        self._X = X
        # One output per row, so that gathering a chunk's targets keeps examples side by side.
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
        # The chunks in the order of the pass, and the rows of each.
        shapes = [(together, batch_size)] * n_chunks + [(last, batch_size)] * bool(last)
        shapes += [(1, rest)] * bool(rest)
        workspaces = {
            n: Workspace(network, n, self._gradient, rng=rng) for n in {n for _, n in shapes}
        }
        chunks = {shape: _Chunk(workspaces[shape[1]], shape[0], X) for shape in set(shapes)}
        self._pass = []
        start = 0
        for shape in shapes:
            stop = start + shape[0] * shape[1]
            self._pass.append((chunks[shape], slice(start, stop)))
            start = stop
        self._penalty_vectors = {n: self._penalty_vector(n) for n in workspaces}
        self.n_batches = n_batches + bool(rest)

    def _penalty_vector(self, n_rows: int) -> FloatArray | None:
        if not self._penalty.alpha:
            return None
        divisor = 1.0 if self.weights is not None else float(n_rows)
        if self._penalty.per_sample:
            divisor = self.total
        return self.penalty_buffers.vector(self.network.parameters, self._penalty.alpha, divisor)

    def run(self, order: IntArray, rates: Iterator[float] | None = None) -> tuple[float, int]:
        """Make one update per mini-batch, with the rows in `order`.

        `rates` yields the learning rate of each update; by default it is the optimizer's.
        Returns the mean loss of a row and the number of updates.
        """
        theta, gradient, optimizer = self.network.parameters.flat, self._gradient, self.optimizer
        penalty_gradient = self.penalty_buffers.product
        total, updates = 0.0, 0
        for chunk, part in self._pass:
            chunk.fill(self._X, self._Y, self.weights, order[part])
            work = chunk.workspace
            penalty_vector = self._penalty_vectors[work.n_rows]
            for X, Y, P, scale, weight in chunk.batches():
                if rates is not None:
                    optimizer.learning_rate = next(rates)
                if weight == 0.0:
                    continue
                work.forward(X, P)
                work.backward(P, Y, scale)
                if penalty_vector is not None:
                    np.multiply(theta, penalty_vector, out=penalty_gradient)
                    if self.weights is not None and not self._penalty.per_sample:
                        penalty_gradient *= 1.0 / weight
                    gradient.flat += penalty_gradient
                    total += 0.5 * weight * float(theta.dot(penalty_gradient))
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
    """Buffers for the rows of a few consecutive mini-batches of one size."""

    def __init__(self, workspace: Workspace, n_batches: int, X: Any) -> None:
        self.workspace = workspace
        network, n_rows = workspace.network, workspace.n_rows
        dtype = network.parameters.flat.dtype
        self._shape = (n_batches, n_rows)
        n_in, n_outputs = X.shape[1], network.n_outputs
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
        # One number for all rows of a mini-batch; with weights, `fill` replaces it by one per row.
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
        """Yield each mini-batch's X, Y, array for the outputs, scale of the rows, and weight."""
        return zip(
            self._X, self._Y, self._P, self._scales, self._batch_weights.tolist(), strict=True
        )

    def loss(self) -> float:
        """Return the weighted sum of the rows' losses, from the outputs of the last pass."""
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
    """Train the network of the batches in place, forever; yield after each pass over the rows.

    Each shuffle permutes the order of the previous one and draws from `rng`, as in scikit-learn:
    the same seed visits the rows in the same order.
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
