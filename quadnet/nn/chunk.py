"""A few consecutive mini-batches of one size, gathered into buffers that are used again."""

import ctypes
from typing import Any

import numpy as np

from quadnet.nn.losses.of_classes import find_values
from quadnet.nn.optimizers import Optimizer
from quadnet.nn.replay.update_loop import UpdateCounts, UpdateLoop
from quadnet.nn.update import Update
from quadnet.types import BoolArray, FloatArray, IntArray

_REPLAYED_NANOSECONDS = 20e6
"""About how long one call of C may take, during which an interrupt must wait."""


class Chunk:
    """The buffers of at most `n_batches` mini-batches, and their updates.

    Parameters
    ----------
    update : Update
    n_batches : int
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
        The rows of all chunks.
    targets : dtype
        The type of the targets that are gathered.
    is_weighted : bool
        Whether rows have weights.
    library : ctypes.CDLL or None
        The compiled part, which replays updates.
    planned : int
        How many updates there will be, at most.
    counts : UpdateCounts
        Added to.
    """

    def __init__(
        self,
        update: Update,
        n_batches: int,
        X: Any,
        *,
        targets: np.dtype[Any],
        is_weighted: bool,
        library: ctypes.CDLL | None,
        planned: int,
        counts: UpdateCounts,
    ) -> None:
        network, n_rows = update.workspace.network, update.workspace.n_rows
        dtype, n_outputs = network.parameters.flat.dtype, network.n_outputs
        self._values, self._filled = find_values(network.loss, targets), slice(0, n_batches)
        self._loss_divisor = network.loss_divisor
        self._sparse = not isinstance(X, np.ndarray)
        self._X: Any = [None] if self._sparse else np.empty((n_batches, n_rows, X.shape[1]), dtype)
        # Rows of targets, and the same as numbers.
        self._gathered = self._numbers = np.empty((n_batches * n_rows, n_outputs), targets)
        if targets != dtype:
            self._numbers = np.empty(self._gathered.shape, dtype)
        self._Y = np.empty((n_batches, n_outputs, n_rows), dtype)
        self._P = np.zeros_like(self._Y)
        self._weights = np.ones((n_batches, n_rows), dtype) if is_weighted else None
        self._batch_weights = np.full(n_batches, n_rows, dtype)
        self._learning_rates, self._step_sizes, self._inverse_weights, self._penalties = np.zeros(
            (4, n_batches), dtype
        )
        # One number for all rows of a mini-batch; with weights, one for each row.
        scales = np.full((n_batches, n_rows) if is_weighted else n_batches, 1.0 / n_rows, dtype)
        self._scales = scales
        arrays = [self._X, self._Y, self._P]
        numbers = [self._inverse_weights, self._learning_rates, self._step_sizes]
        self._counts = counts
        self._loop = UpdateLoop(
            update,
            arrays=[*arrays, scales] if is_weighted else arrays,
            numbers=numbers if is_weighted else [scales, *numbers],
            results=self._penalties,
            outputs=self._P,
            state=update.state,
            library=library,
            planned=planned,
            at_once=max(1, min(n_batches, int(_REPLAYED_NANOSECONDS / update.nanoseconds()))),
            counts=counts,
        )

    def fill(
        self, X: Any, Y: BoolArray | FloatArray, weights: FloatArray | None, rows: IntArray
    ) -> int:
        """Gather these rows, for all mini-batches or the first few; return for how many."""
        n_outputs, n_rows = self._Y.shape[1:]
        self._filled = filled = slice(0, len(rows) // n_rows)
        # mode="clip" writes straight into `out`; the default would buffer it first.
        targets = Y.take(rows, axis=0, out=self._gathered[: len(rows)], mode="clip")
        numbers = self._numbers[: len(rows)]
        if numbers.dtype != targets.dtype:
            # Truth values become numbers in the order of memory: while they are transposed, every
            # one that differs from the one before costs nanoseconds.
            np.copyto(numbers, targets, casting="unsafe")
        self._Y[filled] = numbers.reshape(-1, n_rows, n_outputs).transpose(0, 2, 1)
        if self._sparse:
            self._X[0] = X[rows]  # the list is what the loop has
        else:
            gathered = self._X[filled].reshape(len(rows), -1)
            X.take(rows, axis=0, out=gathered, mode="clip")
        if self._weights is not None:
            assert weights is not None
            given = self._weights[filled] = weights[rows].reshape(-1, n_rows)
            total = self._batch_weights[filled] = given.sum(axis=1)
            divisors = np.where(total > 0, total, 1)
            self._scales[filled] = given / divisors[:, np.newaxis]
            self._inverse_weights[filled] = 1.0 / divisors
            self._penalties[:] = 0.0
        return filled.stop

    def update(self, optimizer: Optimizer, rates: FloatArray | None) -> int:
        """Make one update for each mini-batch with a weight; return how many.

        `rates` has the learning rate of each mini-batch; by default it is the optimizer's.
        """
        filled, done_before = self._filled, self._counts.total
        self._learning_rates[filled] = optimizer.learning_rate if rates is None else rates
        for part in self._weighted_parts():
            made_before = self._counts.total
            self._step_sizes[part] = optimizer.step_sizes(
                optimizer.learning_rate if rates is None else rates[part], part.stop - part.start
            )
            try:
                self._loop.run(part.start, part.stop)
            finally:  # after an interrupt too
                optimizer.count_steps(self._counts.total - made_before)
        if rates is not None:
            optimizer.learning_rate = float(rates[-1])
        return self._counts.total - done_before

    def _weighted_parts(self) -> list[slice]:
        """Return the runs of mini-batches whose weight is not 0."""
        if self._weights is None:
            return [self._filled]
        has_weight = np.flatnonzero(self._batch_weights[self._filled])
        runs = np.split(has_weight, np.flatnonzero(np.diff(has_weight) > 1) + 1)
        return [slice(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]

    def loss(self) -> float:
        """Return the weighted sum of the rows' losses, from the outputs of the last pass."""
        filled = self._filled
        values = self._values(self._P[filled], self._Y[filled])
        penalty = 0.5 * float(self._batch_weights[filled].dot(self._penalties[filled]))
        if self._weights is None:
            return penalty + float(values.sum()) / self._loss_divisor
        return penalty + float(np.vdot(values, self._weights[filled])) / self._loss_divisor
