"""How fast convolutions are: beside PyTorch on the CPU, if it is installed.

    uv run --group dev python tests/benchmarks/convolution.py

The same stack on the same mini-batches of 28 x 28 pictures in float32, with Adam, each in turn, on
one thread; the medians are printed. A ratio above 1 says how many times faster quadnet is.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import RandomState
from threadpoolctl import threadpool_limits

from quadnet.layers import Activation, Conv2D, Dense, Flatten, MaxPool2D
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.network import Network
from quadnet.nn.optimizers import Adam
from quadnet.nn.training import MiniBatches, Penalty

try:
    import torch
except ImportError:
    torch = None

BATCH, CLASSES, SIDE = 64, 10, 28
RELU = Activation("relu")
LAYERS = [
    *[Conv2D(16, 3), RELU, MaxPool2D(2)],
    *[Conv2D(32, 3), RELU, MaxPool2D(2)],
    *[Flatten(), Dense(64), RELU, Dense(CLASSES)],
]


class Quadnet:
    """The stack, with the library's own training loop."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        shape = (1, SIDE, SIDE)
        self.X, self.y = X, y
        self.network = Network(LAYERS, shape, loss="softmax_cross_entropy", dtype=np.float32)
        self.network.initialize(INITIALIZERS["he_uniform"], RandomState(0))
        self.batches = self.make_batches(X, y)

    def make_batches(self, X: np.ndarray, y: np.ndarray) -> MiniBatches:
        """Return the mini-batches with their buffers."""
        return MiniBatches(
            self.network,
            X,
            np.eye(CLASSES, dtype=bool)[y],
            optimizer=Adam(self.network.parameters.flat, learning_rate=1e-3),
            batch_size=BATCH,
            penalty=Penalty(0.0),
        )

    def train(self) -> None:
        """Make one pass."""
        self.batches.run(np.arange(len(self.X)))

    def predict(self, n_rows: int) -> Any:
        """Return the probabilities of the first pictures."""
        return self.network.probabilities(self.X[:n_rows])

    def megabytes(self) -> float:
        """Return the memory that one mini-batch takes, buffers included, without the optimizer."""
        tracemalloc.start()
        kept = self.make_batches(self.X[:BATCH], self.y[:BATCH])
        kept.run(np.arange(BATCH))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return (peak - 5 * self.network.parameters.flat.nbytes) / 1e6


class PyTorch:
    """The same stack in PyTorch, in the loop that its tutorials show."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        torch.set_num_threads(1)
        self.X = torch.tensor(X).reshape(-1, 1, SIDE, SIDE)
        self.y = torch.tensor(y)
        nn = torch.nn
        self.network = nn.Sequential(
            *[nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)],
            *[nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)],
            *[nn.Flatten(), nn.Linear(800, 64), nn.ReLU(), nn.Linear(64, CLASSES)],
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.loss = nn.CrossEntropyLoss()

    def train(self) -> None:
        """Make one pass."""
        for start in range(0, len(self.X), BATCH):
            part = slice(start, start + BATCH)
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.network(self.X[part]), self.y[part]).backward()
            self.optimizer.step()

    def predict(self, n_rows: int) -> Any:
        """Return the probabilities of the first pictures."""
        with torch.inference_mode():
            return torch.softmax(self.network(self.X[:n_rows]), 1)

    def megabytes(self) -> float:
        """Return the memory of the values that the backward pass of one mini-batch needs."""
        kept = {}

        def keep(tensor: Any) -> Any:
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.loss(self.network(self.X[:BATCH]), self.y[:BATCH])
        return sum(kept.values()) / 1e6


def seconds(work: Callable[[], object], repeat: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=7, help="passes of each side (default 7)")
    parser.add_argument("--pictures", type=int, default=40 * BATCH, help="(default 2560)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.random((arguments.pictures, SIDE * SIDE), dtype=np.float32)
    y = rng.integers(CLASSES, size=len(X))
    sides = [Quadnet(X, y)] if torch is None else [Quadnet(X, y), PyTorch(X, y)]
    measures = {
        f"training, 28 x 28, batch {BATCH}, pictures a second": lambda side: (
            len(X) / seconds(side.train, 1)
        ),
        "predicting 1 x 28 x 28, pictures a second": lambda side: (
            1 / seconds(lambda: side.predict(1), 200)
        ),
        "predicting 1,024 x 28 x 28, pictures a second": lambda side: (
            1024 / seconds(lambda: side.predict(1024), 1)
        ),
    }
    for side in sides:
        side.train()
    print("| workload | " + " | ".join(type(side).__name__ for side in sides) + " | ratio |")
    for name, measure in measures.items():
        # In turn, so that both meet the same neighbours.
        rounds = [[measure(side) for side in sides] for _ in range(arguments.repeat)]
        medians = [statistics.median(values) for values in zip(*rounds, strict=True)]
        ratio = f"{medians[0] / medians[1]:.2f}" if len(medians) > 1 else ""
        print(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in medians) + f" | {ratio} |")
    print(
        "| memory of one mini-batch | "
        + " | ".join(f"{s.megabytes():.1f} MB" for s in sides)
        + " | |"
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
