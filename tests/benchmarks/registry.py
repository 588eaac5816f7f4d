"""How long it takes to publish a version and to load one, verified.

    uv run --group dev python -m tests.benchmarks.registry

Beside it, in the same turns and on the same directory, what others do with the same network and
without any of the promises: `joblib.dump` and `load` of the estimator, `np.savez` and `load` of
its arrays. Medians, in milliseconds, on one BLAS thread; `fsync` is what flushing to the
disk takes of a publishing, and so depends on the disk.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from quadnet import NeuralNetworkClassifier
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry
from tests.support.exact_models import record

NETWORKS = {"2-6-4": (2, (6,), 4), "784-128-10": (784, (128,), 10)}


def trained(n_features: int, hidden: tuple[int, ...], n_classes: int) -> NeuralNetworkClassifier:
    """Return an estimator that has seen a little."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, n_features))
    y = np.arange(200) % n_classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NeuralNetworkClassifier(hidden, max_iter=2, random_state=0).fit(X, y)


def milliseconds(task: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def flushing(task: Callable[[], Any]) -> float:
    """Return how many milliseconds of a call are spent in fsync."""
    spent = 0.0
    original = os.fsync

    def timed(descriptor: int) -> None:
        nonlocal spent
        start = time.perf_counter()
        original(descriptor)
        spent += time.perf_counter() - start

    os.fsync = timed  # type: ignore[assignment]
    try:
        task()
    finally:
        os.fsync = original
    return 1e3 * spent


def measure(net: NeuralNetworkClassifier, folder: Path, repeat: int) -> dict[str, float]:
    """Return the median of each task, done in turns."""
    registry = Registry(folder / "registry")
    predictor = Predictor(net.freeze().network, [str(name) for name in net.classes_])
    kept = record(predictor, predictor.n_features)
    inputs = np.random.default_rng(1).normal(size=(37, predictor.n_features))

    def publish() -> None:
        registry.publish("model", predictor, kept, inputs)

    publish()
    arrays = net.to_arrays()
    tasks: dict[str, Callable[[], Any]] = {
        "publish": publish,
        "load": lambda: registry.load("model", 1),
        "joblib.dump": lambda: joblib.dump(net, folder / "net.joblib"),
        "joblib.load": lambda: joblib.load(folder / "net.joblib"),
        "np.savez": lambda: np.savez(folder / "net.npz", **arrays),
        "np.load": lambda: dict(np.load(folder / "net.npz")),
    }
    times: dict[str, list[float]] = {name: [] for name in [*tasks, "fsync"]}
    for _ in range(repeat):
        for name, task in tasks.items():
            times[name].append(milliseconds(task))
        times["fsync"].append(flushing(publish))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=31)
    repeat = parser.parse_args().repeat
    print(f"milliseconds, median of {repeat}")
    for name, sizes in NETWORKS.items():
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, threadpool_limits(1):
            medians = measure(trained(*sizes), Path(folder), repeat)
        for task, value in medians.items():
            print(f"  {name:10s}  {task:12s} {value:8.2f} ms")


if __name__ == "__main__":
    main()
