"""Where the time of one update goes: calls of NumPy, memory taken, the share of BLAS; and replayed.

uv run --group dev python tests/benchmarks/update.py
"""

import os
import statistics
import time
import tracemalloc
from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers import dense
from quadnet.nn.network import Network
from quadnet.nn.optimizers import SGD, Adam
from quadnet.nn.replay.library import describe
from quadnet.nn.training import MiniBatches, Penalty

ROUNDS = 10


class TimedDot:
    """NumPy, with its products timed."""

    seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        """Return NumPy's own."""
        return getattr(np, name)

    def dot(self, *args: Any) -> Any:
        """Time a product."""
        start = time.perf_counter()
        result = np.dot(*args)
        TimedDot.seconds += time.perf_counter() - start
        return result

    def matmul(self, *args: Any, **options: Any) -> Any:
        """Time a product."""
        start = time.perf_counter()
        result = np.matmul(*args, **options)
        TimedDot.seconds += time.perf_counter() - start
        return result


def mini_batches(
    X: np.ndarray, y: np.ndarray, hidden: int, batch_size: int, solver: str, *, passes: int
) -> MiniBatches:
    """Return mini-batches of a relu network with one hidden layer."""
    n_classes = int(y.max()) + 1
    network = Network.dense(
        [X.shape[1], hidden, n_classes],
        activations=["relu"],
        loss="softmax_cross_entropy",
        dtype=X.dtype,
    )
    network.initialize(INITIALIZERS["glorot_uniform"], RandomState(0))
    optimizer = {"adam": Adam, "sgd": SGD}[solver](network.parameters.flat, learning_rate=1e-3)
    Y = np.eye(n_classes, dtype=bool)[y]
    return MiniBatches(
        network, X, Y, optimizer=optimizer, batch_size=batch_size, penalty=Penalty(1e-4),
        max_passes=passes,
    )  # fmt: skip


def microseconds(batches: MiniBatches) -> float:
    """Return the median time of an update, over passes."""
    order, times = np.arange(batches.n_rows), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        batches.run(order)
        times.append((time.perf_counter() - start) / batches.n_batches)
    return statistics.median(times) * 1e6


def microseconds_of_blas(batches: MiniBatches) -> float:
    """Return the time of an update's matrix products."""
    timed = TimedDot()
    TimedDot.seconds = 0.0
    dense.np = timed  # type: ignore[attr-defined]
    try:
        for _ in range(ROUNDS):
            batches.run(np.arange(batches.n_rows))
    finally:
        dense.np = np  # type: ignore[attr-defined]
    return TimedDot.seconds / (ROUNDS * batches.n_batches) * 1e6


def largest_temporary(batches: MiniBatches) -> int:
    """Return by how many bytes memory rises at most while a pass is made."""
    order = np.arange(batches.n_rows)
    batches.run(order)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    batches.run(order)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def replayed(batches: MiniBatches) -> tuple[float, int]:
    """Return the median time of an update that is replayed, and its calls of NumPy."""
    order = np.arange(batches.n_rows)
    while not batches.counts.replayed:
        batches.run(order)
    loop = batches._pass[0][0]._loop
    return microseconds(batches), len(loop._recording._calls._finished)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1000, 2))
    quadrant = (points[:, 0] > 0) + 2 * (points[:, 1] > 0)
    digits, digit = load_digits(return_X_y=True)
    digits, digit = digits[:1600] / 16, digit[:1600]
    wide, label = rng.normal(size=(2000, 784)), rng.integers(10, size=2000)
    print(f"Replay: {describe()}")
    print(f"{'':42s} {'us':>8s} {'BLAS us':>8s} {'share':>6s} {'rise, bytes':>12s} "
          f"{'replayed':>9s} {'calls':>6s}")  # fmt: skip
    for name, (X, y, hidden, batch_size, solver) in {
        "1,000 x 2, (6,), batch 200, adam": (points, quadrant, 6, 200, "adam"),
        "1,000 x 2, (6,), batch 1, sgd": (points, quadrant, 6, 1, "sgd"),
        "digits, (64,), batch 200, adam": (digits, digit, 64, 200, "adam"),
        "2,000 x 784, (128,), batch 200, adam": (wide, label, 128, 200, "adam"),
    }.items():
        for dtype in (np.float64, np.float32):
            os.environ["QUADNET_REPLAY"] = "0"
            batches = mini_batches(X.astype(dtype), y, hidden, batch_size, solver, passes=1)
            with threadpool_limits(1):
                all_of_it, blas = microseconds(batches), microseconds_of_blas(batches)
            rise = largest_temporary(batches)
            print(
                f"{f'{name}, {np.dtype(dtype)}':42s} {all_of_it:8.1f} {blas:8.1f} "
                f"{blas / all_of_it:6.0%} {rise:12,d}", end=" ",
            )  # fmt: skip
            os.environ["QUADNET_REPLAY"] = "1"
            if hidden < 128 and describe() == "compiled":
                many = mini_batches(X.astype(dtype), y, hidden, batch_size, solver, passes=10**6)
                with threadpool_limits(1):
                    print("{:9.1f} {:6d}".format(*replayed(many)))
            else:
                print(f"{'-':>9s} {'-':>6s}")


if __name__ == "__main__":
    main()
