"""How good the networks are: beside scikit-learn's MLP on the same rows and folds.

uv run --group dev python tests/benchmarks/quality.py
"""

import argparse
import statistics
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.training.candidate_training import train_candidate
from quadnet import NeuralNetworkClassifier, quadrants

FEW_POINTS = {"solver": "lbfgs", "alpha": 0.0, "max_iter": 1000, "tol": 1e-9}
"""What suits 1,000 points of four classes that do not overlap."""


def uniform_points(seed: int, n: int) -> tuple[Any, Any]:
    """Return points in the square and their quadrants."""
    X = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return X, quadrants.label_quadrants(X)


def few_points(seeds: int) -> None:
    """Print the accuracy of what 1,000 points teach."""
    X_held, y_held = uniform_points(10**6, 100_000)
    makers = {
        "quadnet 2-6-4, tanh, lbfgs, no biases": lambda seed: NeuralNetworkClassifier(
            (6,), "tanh", fit_intercept=False, random_state=seed, **FEW_POINTS
        ),
        "quadnet 2-6-4, tanh, lbfgs": lambda seed: NeuralNetworkClassifier(
            (6,), "tanh", random_state=seed, **FEW_POINTS
        ),
        "MLPClassifier, defaults": lambda seed: MLPClassifier(random_state=seed),
        "MLPClassifier (6,), defaults": lambda seed: MLPClassifier((6,), random_state=seed),
        "MLPClassifier 2-6-4, tanh, lbfgs": lambda seed: MLPClassifier(
            (6,), "tanh", random_state=seed, **FEW_POINTS
        ),
        "SVC, linear, C=1e6": lambda seed: SVC(kernel="linear", C=1e6),
    }
    print(f"quadrants from 1,000 points, {seeds} seeds, 100,000 held out (target 99.6 %)")
    for name, make in makers.items():
        scores = [
            make(seed).fit(*uniform_points(seed, 1000)).score(X_held, y_held)
            for seed in range(seeds)
        ]
        print(f"  {name:38s} median {statistics.median(scores):8.3%}  worst {min(scores):8.3%}")


def preset(seeds: int) -> None:
    """Print what the preset `quadrants` reaches, whatever its seed, and how long it trains."""
    trials = [
        evaluate_candidate(
            train_candidate(
                load_preset(
                    "quadrants",
                    [f"data.seed={seed}", f"network.random_state={seed}", "test.points=100_000"],
                )
            )
        )
        for seed in range(seeds)
    ]
    scores = [judged.evaluations["test"].metrics.accuracy for judged in trials]
    seconds = statistics.median(judged.candidate.training.seconds for judged in trials)
    print(f"preset quadrants, {seeds} seeds, 100,000 held out (target 99.9 % in under 2 s)")
    print(
        f"  {'quadnet train quadrants':38s} median {statistics.median(scores):8.3%}  "
        f"worst {min(scores):8.3%}  {seconds:.2f} s"
    )


def digits(seeds: int) -> None:
    """Print cross-validated accuracies on the digits."""
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    network: dict[str, Any] = dict(load_preset("digits").network)
    makers = {
        "quadnet, preset digits": lambda seed: NeuralNetworkClassifier(
            **(network | {"random_state": seed})
        ),
        "MLPClassifier (128,), scaled": lambda seed: make_pipeline(
            StandardScaler(), MLPClassifier((128,), random_state=seed, max_iter=400)
        ),
        "MLPClassifier (128,)": lambda seed: MLPClassifier((128,), random_state=seed, max_iter=400),
        "SVC, rbf": lambda seed: SVC(),
    }
    print(f"digits, 10 folds, stratified and shuffled with seed 0, {seeds} seeds (target 98.5 %)")
    for name, make in makers.items():
        scores = [cross_val_score(make(seed), X, y, cv=folds).mean() for seed in range(seeds)]
        print(
            f"  {name:38s} median {statistics.median(scores):8.2%}  seed 0 {scores[0]:8.2%}",
            flush=True,
        )


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, and no digits")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(1):
        few_points(1 if quick else 20)
        preset(1 if quick else 20)
        if not quick:
            digits(3)


if __name__ == "__main__":
    main()
