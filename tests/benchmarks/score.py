"""How fast files are scored: beside pandas and scikit-learn's MLP doing the same job.

    uv run --group dev python tests/benchmarks/score.py

Both read the same file, answer with the same network, and write all of its columns with label,
certainty and version. They take turns on one BLAS thread, each run in a process of its own, so that
the peak of resident memory is its own; imports are not timed. Medians are printed. A ratio above 1
says how many times faster quadnet is. The input is in the system's cache for both.
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry
from quadnet.registry.manifest import Feature, Signature

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.support.exact_models import record  # noqa: E402

TIMED = """
import json, pickle, re, sys, time
from pathlib import Path
path, folder = map(Path, sys.argv[1:])
kind = path.suffix.removeprefix(".")
{job}
start = time.perf_counter()
work()
seconds = time.perf_counter() - start
# Not getrusage: that knows the memory of the process that started this one, too.
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(json.dumps([seconds, int(peak) / 1024]))
"""

PANDAS = """
import pandas as pd
features, network = pickle.loads((folder / "network.pickle").read_bytes())

def work():
    frame = getattr(pd, "read_" + kind)(path)
    P = network.predict_proba(frame[features].to_numpy())
    frame["label"] = network.classes_[P.argmax(axis=1)]
    frame["certainty"] = P.max(axis=1).round(6) if kind == "csv" else P.max(axis=1)
    frame["version"] = 1
    getattr(frame, "to_" + kind)(folder / ("pandas." + kind), index=False)
"""

QUADNET = """
from pipeline.scoring.scoring_job import score_file
from pipeline.data.files.arrow import parquet
from quadnet.registry import Registry
model = Registry(folder / "registry").load("bench", 1)

def work():
    score_file(model, path, folder / ("quadnet." + kind), overwrite=True)
"""

JOBS = {"quadnet": QUADNET, "pandas": PANDAS}

WORKLOADS = {
    "2 columns, a 2-6-4 network": (2, (6,), 0, 1.0),
    "2 of 6 columns, a 2-6-4 network": (2, (6,), 4, 0.6),
    "20 columns, a 20-64-4 network": (20, (64,), 0, 0.2),
}
"""Features, hidden layers, other columns, and the share of the rows that are asked for."""


def prepare(folder: Path, n_features: int, hidden: tuple[int, ...], n_others: int, n: int) -> None:
    """Write the same rows as CSV and as Parquet, and the same network for both sides."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, n_features))
    names = [f"x{i}" for i in range(n_features)]
    frame = pd.DataFrame(X, columns=names)
    for i in range(n_others):
        frame[f"other{i}"] = rng.choice(["Basel", "Bern", "Genf"], n) if i % 2 else np.arange(n)
    frame.to_csv(folder / "in.csv", index=False)
    frame.to_parquet(folder / "in.parquet", index=False)

    some = X[:1000]
    quadrants = np.array(["I", "II", "III", "IV"])[(some[:, 0] > 0) + 2 * (some[:, 1] > 0)]
    peer = MLPClassifier(hidden, max_iter=20, random_state=0).fit(some, quadrants)
    (folder / "network.pickle").write_bytes(pickle.dumps((names, peer)))
    network = Network.dense(
        [n_features, *hidden, 4],
        activations=["relu"] * len(hidden),
        loss="softmax_cross_entropy",
    )
    for i, (W, b) in enumerate(zip(peer.coefs_, peer.intercepts_, strict=True)):
        network.parameters.weights[i][:], network.parameters.biases[i][:] = W, b
    predictor = Predictor(network, peer.classes_)
    signature = Signature(
        features=[Feature(name=name, min=-1.0, max=1.0) for name in names],
        classes=list(map(str, peer.classes_)),
    )
    about = record(predictor).model_copy(update={"signature": signature})
    Registry(folder / "registry").publish("bench", predictor, about, some[:5])


def run(job: str, path: Path) -> tuple[float, float]:
    """Return the seconds and the megabytes that the job takes in a process of its own."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
    words = [sys.executable, "-c", TIMED.format(job=JOBS[job]), str(path), str(path.parent)]
    done = subprocess.run(
        words, capture_output=True, check=True, cwd=ROOT, env={**os.environ, **threads}
    )
    seconds, megabytes = json.loads(done.stdout)
    return seconds, megabytes


def report(name: str, path: Path, n: int, repeat: int) -> None:
    """Let both score the file in turn, and print one row."""
    runs: dict[str, list[tuple[float, float]]] = {job: [] for job in JOBS}
    for _ in range(repeat):
        for job, results in runs.items():
            results.append(run(job, path))
    seconds = {job: statistics.median(s for s, _ in results) for job, results in runs.items()}
    megabytes = {job: max(m for _, m in results) for job, results in runs.items()}
    ours, theirs = seconds["quadnet"], seconds["pandas"]
    print(
        f"{name:42s} {n / ours:12,.0f} {n / theirs:12,.0f} {theirs / ours:8.2f} x "
        f"{megabytes['quadnet']:10,.0f} {megabytes['pandas']:8,.0f}",
        flush=True,
    )
    # The same work was done: the same answers came out.
    read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
    mine, other = (read(path.with_name(job + path.suffix)) for job in JOBS)
    assert list(mine) == list(other)
    assert (mine["label"] == other["label"]).all()
    np.testing.assert_allclose(mine["certainty"], other["certainty"], atol=1.1e-6)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, the median counts")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the longest file")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}, pandas {pd.__version__}"
    print(f"{versions}, one BLAS thread")
    print(f"{'rows a second, MB at the peak':42s} {'quadnet':>12s} {'pandas':>12s} {'ratio':>10s} "
          f"{'quadnet':>10s} {'pandas':>8s}")  # fmt: skip
    for name, (n_features, hidden, n_others, share) in WORKLOADS.items():
        n = max(1, int(options.rows * share))
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), n_features, hidden, n_others, n)
            for kind in ("csv", "parquet"):
                report(f"{kind}: {name}", Path(folder) / f"in.{kind}", n, options.repeat)


if __name__ == "__main__":
    main()
