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
from quadnet.nn.chunk import Chunk
from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer
from quadnet.nn.parameters import Parameters
from quadnet.nn.replay.library import describe, find_library
from quadnet.nn.replay.update_loop import UpdateCounts
from quadnet.nn.schedules import Schedule
from quadnet.nn.update import Update
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
    Y : ndarray of bool or float, shape (n_rows, n_outputs)
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
    max_passes : int, default=1
        The most passes that will be made. If there are many updates, they are replayed from C.

    Attributes
    ----------
    counts : UpdateCounts
        How many updates were made by NumPy, and how many were replayed.
    """

    # Rows, targets and outputs are gathered for as many mini-batches at a time as fit into this
    # many bytes: small mini-batches share the cost, and the rows stay in the cache.
    _CHUNK_BYTES = 2**19

    def __init__(
        self,
        network: Network,
        X: Any,
        Y: BoolArray | FloatArray,
        *,
        optimizer: Optimizer,
        batch_size: int,
        weights: FloatArray | None = None,
        penalty: Penalty,
        max_gradient_norm: float | None = None,
        rng: np.random.Generator | None = None,
        penalty_buffers: PenaltyBuffers | None = None,
        max_passes: int = 1,
    ) -> None:
        self.network, self.optimizer, self.weights = network, optimizer, weights
        if penalty_buffers is None or not penalty_buffers.fits(network.parameters):
            penalty_buffers = PenaltyBuffers(network.parameters)
        self.penalty_buffers = penalty_buffers
        self.counts = UpdateCounts()
        self._X = X
        self._Y: Any = np.ascontiguousarray(Y)
        self._penalty = penalty
        gradient = network.parameters.like(optimizer.gradient)
        self.n_rows = X.shape[0]
        self.total = float(self.n_rows if weights is None else weights.sum())

        dense = isinstance(X, np.ndarray)
        n_batches, rest = divmod(self.n_rows, batch_size)
        self.n_batches = n_batches + bool(rest)
        row_bytes = (X.shape[1] + 2 * Y.shape[1]) * X.dtype.itemsize
        together = max(1, self._CHUNK_BYTES // (batch_size * row_bytes)) if dense else 1
        together = min(together, n_batches)
        library = find_library() if dense else None
        if library is None:
            self.counts.reason = describe() if dense else "X is sparse."

        def make_chunk(n_chunk: int, n_rows: int, n_updates: int) -> Chunk:
            update = Update(
                Workspace(network, n_rows, gradient, rng=rng),
                optimizer,
                penalty_vector=self._penalty_vector(n_rows),
                penalty_by_weight=weights is not None and not penalty.per_sample,
                max_norm=max_gradient_norm,
                scratch=penalty_buffers.product,
            )
            return Chunk(
                update, n_chunk, X, targets=Y.dtype, is_weighted=weights is not None,
                library=library, planned=max_passes * n_updates, counts=self.counts,
            )  # fmt: skip

        # The chunks in the order of the pass, and the rows of each.
        self._pass: list[tuple[Chunk, slice]] = []
        if n_batches:
            chunk = make_chunk(together, batch_size, n_batches)
            step, stop = together * batch_size, n_batches * batch_size
            self._pass += [(chunk, slice(i, min(i + step, stop))) for i in range(0, stop, step)]
        if rest:
            chunk = make_chunk(1, rest, 1)
            self._pass.append((chunk, slice(n_batches * batch_size, self.n_rows)))

    def _penalty_vector(self, n_rows: int) -> FloatArray | None:
        if not self._penalty.alpha:
            return None
        divisor = 1.0 if self.weights is not None else float(n_rows)
        if self._penalty.per_sample:
            divisor = self.total
        return self.penalty_buffers.vector(self.network.parameters, self._penalty.alpha, divisor)

    def run(self, order: IntArray, rates: FloatArray | None = None) -> tuple[float, int]:
        """Make one update per mini-batch, with the rows in `order`.

        `rates` has the learning rate of each update; by default it is the optimizer's.
        Returns the mean loss of a row and the number of updates.
        """
        total, updates, first = 0.0, 0, 0
        for chunk, part in self._pass:
            stop = first + chunk.fill(self._X, self._Y, self.weights, order[part])
            updates += chunk.update(self.optimizer, None if rates is None else rates[first:stop])
            total += chunk.loss()
            first = stop
        return total / self.total, updates


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
