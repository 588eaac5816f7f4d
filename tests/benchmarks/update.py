"""Where the time of one update goes: calls into NumPy, memory taken, and the share of BLAS.

uv run --group dev python tests/benchmarks/update.py
"""

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
from quadnet.nn.training import MiniBatches, Penalty

ROUNDS = 10


class Counting(np.ndarray):
    """An array that counts the calls into NumPy that it takes part in."""

    calls = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Count a ufunc, an operator or a reduction."""
        Counting.calls += 1
        if "out" in kwargs:
            kwargs["out"] = tuple(map(_plain, kwargs["out"]))
        return getattr(ufunc, method)(*map(_plain, inputs), **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Count a function, such as dot."""
        Counting.calls += 1
        return func(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Counting) else value


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
    X: np.ndarray, y: np.ndarray, hidden: int, batch_size: int, solver: str
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
        network, X, Y, optimizer=optimizer, batch_size=batch_size, penalty=Penalty(1e-4)
    )


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


def calls(batches: MiniBatches) -> float:
    """Return the calls into NumPy an update, gathering and losses of its chunk included."""
    chunks = {chunk for chunk, _ in batches._pass}
    steps = {bound.__self__ for chunk in chunks for bound in chunk.workspace._backward}
    workspaces = [chunk.workspace for chunk in chunks]
    for owner in [*chunks, *workspaces, *steps, batches.optimizer, batches]:
        for name, value in vars(owner).items():
            if type(value) is np.ndarray:
                setattr(owner, name, value.view(Counting))
            elif isinstance(value, list) and value and type(value[0]) is np.ndarray:
                setattr(owner, name, [array.view(Counting) for array in value])
    gradient = batches._gradient
    gradient.flat = gradient.flat.view(Counting)
    parameters = batches.network.parameters
    parameters.flat = parameters.flat.view(Counting)
    Counting.calls = 0
    batches.run(np.arange(batches.n_rows))
    return Counting.calls / batches.n_batches


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1000, 2))
    quadrant = (points[:, 0] > 0) + 2 * (points[:, 1] > 0)
    digits, digit = load_digits(return_X_y=True)
    digits, digit = digits[:1600] / 16, digit[:1600]
    wide, label = rng.normal(size=(2000, 784)), rng.integers(10, size=2000)
    print(f"{'':48s} {'us':>8s} {'BLAS us':>8s} {'share':>6s} {'calls':>6s} {'rise, bytes':>12s}")
    for name, (X, y, hidden, batch_size, solver) in {
        "1,000 x 2, (6,), batch 200, adam": (points, quadrant, 6, 200, "adam"),
        "1,000 x 2, (6,), batch 1, sgd": (points, quadrant, 6, 1, "sgd"),
        "digits, (64,), batch 200, adam": (digits, digit, 64, 200, "adam"),
        "2,000 x 784, (128,), batch 200, adam": (wide, label, 128, 200, "adam"),
    }.items():
        for dtype in (np.float64, np.float32):
            batches = mini_batches(X.astype(dtype), y, hidden, batch_size, solver)
            with threadpool_limits(1):
                all_of_it, blas = microseconds(batches), microseconds_of_blas(batches)
            rise = largest_temporary(batches)
            print(
                f"{f'{name}, {np.dtype(dtype)}':48s} {all_of_it:8.1f} {blas:8.1f} "
                f"{blas / all_of_it:6.0%} {calls(batches):6.1f} {rise:12,d}"
            )


if __name__ == "__main__":
    main()
