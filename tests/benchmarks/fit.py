"""How fast the estimator is, compared with scikit-learn's MLP, PyTorch and the article's network.

    uv run --group dev python tests/benchmarks/fit.py

Every workload is done by each in turn, five times, on one BLAS thread, with the same parameters
and the same number of updates; the medians are printed. A ratio above 1 says how many times faster
quadnet is. PyTorch and Node.js are compared only where they are installed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor

try:
    import torch
except ImportError:
    torch = None

try:
    from quadnet.nn.replay import library as replay_library
except ImportError:
    replay_library = None

ARTICLE = Path(__file__).with_name("article.js")


@dataclass(frozen=True)
class Workload:
    """Data, a network, and for how many epochs to train it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    hidden: tuple[int, ...]
    solver: str
    batch_size: int
    epochs: int
    targets: tuple[float, float]
    parameters: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        parameters = {
            "hidden_layer_sizes": self.hidden,
            "solver": self.solver,
            "batch_size": self.batch_size,
            "max_iter": self.epochs,
            "tol": 0.0,
            "n_iter_no_change": self.epochs,
            "random_state": 0,
        }
        object.__setattr__(self, "parameters", parameters)

    @property
    def updates(self) -> int:
        """How many mini-batches all epochs have."""
        return self.epochs * -(-len(self.X) // self.batch_size)

    def target(self, dtype: type) -> float:
        """Return how many times as fast as scikit-learn it should be."""
        return self.targets[dtype is np.float32]


def workloads() -> list[Workload]:
    """Return the workloads, in float64, with the targets in float64 and in float32."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1000, 2))
    quadrants = (points[:, 0] > 0) + 2 * (points[:, 1] > 0)
    digits, digit = load_digits(return_X_y=True)
    digits /= 16
    wide, label = rng.normal(size=(10_000, 784)), rng.integers(10, size=10_000)
    return [
        Workload("1,000 x 2, (6,), batch 200, adam", points, quadrants, (6,), "adam", 200, 200,
                 (12, 12)),
        Workload("1,000 x 2, (6,), batch 32, adam", points, quadrants, (6,), "adam", 32, 60,
                 (20, 20)),
        Workload("1,000 x 2, (6,), batch 1, sgd", points, quadrants, (6,), "sgd", 1, 4, (60, 60)),
        Workload("digits, (64,), batch 200, adam", digits, digit, (64,), "adam", 200, 40,
                 (2.5, 3.7)),
        Workload("10,000 x 784, (128,), batch 200, adam", wide, label, (128,), "adam", 200, 2,
                 (1.3, 1.5)),
    ]  # fmt: skip


def fit_torch(work: Workload, X: np.ndarray) -> None:
    """Train PyTorch's eager modules on the same workload, rows gathered by a permuted index."""
    torch.manual_seed(0)
    layers: list[Any] = []
    sizes = [X.shape[1], *work.hidden, int(work.y.max()) + 1]
    for fan_in, fan_out in pairwise(sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1]).to(torch.from_numpy(X).dtype)
    if work.solver == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    rows, labels = torch.from_numpy(X), torch.from_numpy(work.y.astype(np.int64))
    for _ in range(work.epochs):
        for batch in torch.randperm(len(rows)).split(work.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(rows[batch]), labels[batch]).backward()
            optimizer.step()


def seconds(call: Callable[[], object]) -> float:
    """Return how long the call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Time the calls in turn, `repeat` times over; return the median of each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: statistics.median(values) for name, values in times.items()}


def report(name: str, times: dict[str, float], n: int, target: float) -> None:
    """Print one row: microseconds per update or call, and ratios."""
    ours, theirs = times["quadnet"], times["peer"]
    torch_ratio = f"{times['torch'] / ours:7.1f} x" if "torch" in times else "        -"
    print(
        f"{name:54s} {ours / n * 1e6:10.1f} {theirs / n * 1e6:10.1f} {theirs / ours:8.2f} x "
        f"{target:6.1f} x {torch_ratio}",
        flush=True,
    )


def training(repeat: int, dtype: type) -> None:
    """Print the table of fits."""
    for work in workloads():
        X = work.X.astype(dtype)
        losses: dict[str, float] = {}

        def fit(
            estimator: Any,
            name: str,
            X: np.ndarray = X,
            work: Workload = work,
            losses: Any = losses,
        ) -> None:
            losses[name] = estimator(**work.parameters).fit(X, work.y).loss_

        calls: dict[str, Callable[[], object]] = {
            "quadnet": lambda fit=fit: fit(NeuralNetworkClassifier, "quadnet"),
            "peer": lambda fit=fit: fit(MLPClassifier, "peer"),
        }
        if torch is not None:
            calls["torch"] = lambda work=work, X=X: fit_torch(work, X)
        report(
            f"{work.name}, {np.dtype(dtype)}",
            medians(calls, repeat),
            work.updates,
            work.target(dtype),
        )
        # The same work was done: the same loss came out.
        np.testing.assert_allclose(losses["quadnet"], losses["peer"], rtol=1e-2)


def training_numbers(repeat: int, dtype: type) -> None:
    """Print the table of fits of a regressor, with the same targets as the classifier's."""
    for work in workloads():
        X, y = work.X.astype(dtype), work.y + work.X[:, 0]
        # In float64 y would make every update of scikit-learn's float64.
        y = y.astype(dtype)
        losses: dict[str, float] = {}

        def fit(
            estimator: Any,
            name: str,
            X: np.ndarray = X,
            y: np.ndarray = y,
            work: Workload = work,
            losses: Any = losses,
        ) -> None:
            losses[name] = estimator(**work.parameters).fit(X, y).loss_

        calls: dict[str, Callable[[], object]] = {
            "quadnet": lambda fit=fit: fit(NeuralNetworkRegressor, "quadnet"),
            "peer": lambda fit=fit: fit(MLPRegressor, "peer"),
        }
        name = f"numbers: {work.name}, {np.dtype(dtype)}"
        report(name, medians(calls, repeat), work.updates, work.target(dtype))
        np.testing.assert_allclose(losses["quadnet"], losses["peer"], rtol=1e-2)


def training_few_rows(repeat: int, dtype: type) -> None:
    """Print the time of whole fits that are too short for anything that must pay for itself."""
    work, n = workloads()[0], 10
    X, y = work.X[:10].astype(dtype), work.y[:10]
    parameters = work.parameters | {"batch_size": 10, "max_iter": 20}

    def times(estimator: Any) -> Callable[[], object]:
        return lambda: [estimator(**parameters).fit(X, y) for _ in range(n)]

    calls = {"quadnet": times(NeuralNetworkClassifier), "peer": times(MLPClassifier)}
    name = f"fit of 10 rows, 20 epochs, {np.dtype(dtype)}"
    report(name, medians(calls, 2 * repeat), n, 2.5)


ARTICLES_FIT = """
import json, sys, time, warnings
sys.path.insert(0, sys.argv[1])
from fit import ConvergenceWarning, fit_network_2, threadpool_limits
warnings.simplefilter("ignore", ConvergenceWarning)
with threadpool_limits(1):
    times = []
    for _ in range(11):
        start = time.perf_counter()
        accuracy = fit_network_2()
        times.append(time.perf_counter() - start)
print(json.dumps({"first": times[0], "optimised": sorted(times[1:])[5], "accuracy": accuracy}))
"""
"""Prints what `article.js` prints, for whole fits in a new process."""


def fit_network_2() -> float:
    """Train the article's network 2 with 10,000 single updates; return its accuracy."""
    X = np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    y = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
    net = NeuralNetworkClassifier(
        (6,), "logistic", solver="sgd", momentum=0.0, alpha=0.0, loss="squared_error",
        init="uniform", learning_rate_init=0.1, batch_size=1, max_iter=10, tol=0.0,
        random_state=0,
    )  # fmt: skip
    return float(net.fit(X, y).score(X, y))


def article(repeat: int) -> None:
    """Print the time of the article's network 2, compared with its own rule in Node.js.

    The first network of a process includes what V8 needs to optimise the rule, and what we need to
    record an update.
    """
    name, n = "article's network 2, 10,000 updates, Node.js", 10_000
    node = shutil.which("node")
    if node is None:
        print(f"{name:54s} - no comparison: node is not installed", flush=True)
        return
    commands = {
        "quadnet": [sys.executable, "-c", ARTICLES_FIT, str(Path(__file__).parent)],
        "peer": [node, str(ARTICLE), str(n)],
    }
    results: dict[str, list[dict[str, float]]] = {who: [] for who in commands}
    for _ in range(repeat):
        for who, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[who].append(json.loads(done.stdout))
    for when in ("first", "optimised"):
        times = {
            who: statistics.median(result[when] for result in each) for who, each in results.items()
        }
        report(f"{name}, {when}", times, n, 1)
    # Both have learned.
    accuracies = [result["accuracy"] for each in results.values() for result in each]
    if min(accuracies) < 0.6:
        raise SystemExit(f"Too few points are right: {min(accuracies):.0%}.")


MEMORY_OF_A_FIT = """
import sys, tracemalloc, warnings
sys.path.insert(0, sys.argv[1])
from fit import NeuralNetworkClassifier, threadpool_limits, workloads
warnings.simplefilter("ignore")
work = workloads()[int(sys.argv[2])]
net = NeuralNetworkClassifier(**work.parameters)
net.fit(work.X[:50], work.y[:50])
with threadpool_limits(1):
    tracemalloc.start()
    net.fit(work.X, work.y)
    print(tracemalloc.get_traced_memory()[1])
"""
"""Prints by how many bytes memory rises at most during a fit."""


def memory() -> None:
    """Print how much memory the replay adds to a fit at most."""
    for i in (2, 3):
        peaks = []
        for replay in ("1", "0"):
            done = subprocess.run(
                [sys.executable, "-c", MEMORY_OF_A_FIT, str(ARTICLE.parent), str(i)],
                env=os.environ | {"QUADNET_REPLAY": replay},
                capture_output=True,
                text=True,
                check=True,
            )
            peaks.append(int(done.stdout) / 2**20)
        with_replay, without = peaks
        print(
            f"{f'memory of a fit, {workloads()[i].name}':54s} {with_replay:8.2f} MB, "
            f"without replay {without:.2f} MB: {with_replay - without:+.2f} MB, target < 1 MB",
            flush=True,
        )


def predicting(repeat: int, dtype: type) -> None:
    """Print the table of one-row predictions."""
    work, n = workloads()[0], 2000
    X = work.X.astype(dtype)
    ours = NeuralNetworkClassifier(**work.parameters).fit(X, work.y)
    theirs = MLPClassifier(**work.parameters).fit(X, work.y)
    frozen, row = ours.freeze(), X[:1]

    def times(predict: Callable[[np.ndarray], object]) -> Callable[[], object]:
        return lambda: [predict(row) for _ in range(n)]

    for name, predict in (
        ("predict_proba of one row", ours.predict_proba),
        ("predict_proba of one row, frozen", frozen.probabilities),
    ):
        calls = {"quadnet": times(predict), "peer": times(theirs.predict_proba)}
        report(f"{name}, {np.dtype(dtype)}", medians(calls, repeat), n, 10)


def continuing(repeat: int, dtype: type) -> None:
    """Print the table of partial fits: one mini-batch a call."""
    rng, n = np.random.default_rng(0), 5
    rows = rng.normal(size=(32, 784)).astype(dtype)
    sparse_row = sparse.random(1, 50_000, density=1e-3, format="csr", dtype=dtype)
    for name, X, hidden, solver in (
        ("32 rows, 784-128-10, adam", rows, (128,), "adam"),
        ("32 rows, 784-128-10, sgd", rows, (128,), "sgd"),
        ("32 rows, 20-100-10, adam", rows[:, :20].copy(), (100,), "adam"),
        ("1 sparse row, 50000-100-10, adam", sparse_row, (100,), "adam"),
    ):
        y = rng.integers(10, size=X.shape[0])
        nets = {"quadnet": NeuralNetworkClassifier, "peer": MLPClassifier}
        calls: dict[str, Callable[[], object]] = {}
        for who, estimator in nets.items():
            net = estimator(hidden, solver=solver, random_state=0)
            net.partial_fit(X, y, classes=range(10))
            calls[who] = lambda net=net, X=X, y=y: [net.partial_fit(X, y) for _ in range(n)]
        report(f"partial_fit, {name}, {np.dtype(dtype)}", medians(calls, 2 * repeat), n, 1.5)


def describe_replay() -> str:
    """Return whether updates are replayed by compiled code, or why they are not."""
    if replay_library is None:
        return "this release has no replay"
    return str(replay_library.describe())


def main() -> None:
    """Print the tables in both dtypes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, the median counts")
    repeat = parser.parse_args().repeat
    warnings.simplefilter("ignore", ConvergenceWarning)
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}"
    print(f"{versions}, PyTorch {torch.__version__ if torch else 'not installed'}, one thread")
    print(f"Replay: {describe_replay()}")
    print(f"{'microseconds an update or a call':54s} {'quadnet':>10s} {'peer':>10s} "
          f"{'ratio':>10s} {'target':>8s} {'torch':>9s}")  # fmt: skip
    if torch is not None:
        torch.set_num_threads(1)
    with threadpool_limits(1):
        for dtype in (np.float64, np.float32):
            training(repeat, dtype)
            training_numbers(repeat, dtype)
            training_few_rows(repeat, dtype)
            predicting(repeat, dtype)
            continuing(repeat, dtype)
        article(repeat)
    memory()


if __name__ == "__main__":
    main()
