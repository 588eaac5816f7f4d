"""How good the networks are, compared with scikit-learn's models on the same rows and folds.

uv run --group dev python tests/benchmarks/quality.py
"""

import argparse
import statistics
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_friedman1,
    make_friedman2,
    make_friedman3,
    make_swiss_roll,
)
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.training.candidate_training import train_candidate
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor, quadrants

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


def regression_tables() -> dict[str, tuple[Any, Any]]:
    """Return eight tables of numbers: scikit-learn's own, and generated ones with noise."""

    def last_column_of(X: Any, column: int) -> tuple[Any, Any]:
        return np.delete(X, column, axis=1), X[:, column]

    friedman = {"n_samples": 1000, "random_state": 0}
    roll, position = make_swiss_roll(1000, noise=0.5, random_state=0)
    return {
        "diabetes": load_diabetes(return_X_y=True),
        "iris, petal width": last_column_of(load_iris().data, 3),
        "wine, alcohol": last_column_of(load_wine().data, 0),
        "cancer, worst smoothness": last_column_of(load_breast_cancer().data, 24),
        "friedman1": make_friedman1(noise=1.0, **friedman),
        "friedman2": make_friedman2(noise=100.0, **friedman),
        "friedman3": make_friedman3(noise=0.1, **friedman),
        "swiss roll": (roll, position),
    }


def regression(seeds: int) -> None:
    """Print R squared in five folds, and how the intervals of coverage 0.9 keep their promise."""
    shared = {"max_iter": 1000, "early_stopping": True, "n_iter_no_change": 30}
    makers = {
        "quadnet, scale_target": lambda seed: make_pipeline(
            StandardScaler(),
            NeuralNetworkRegressor(
                scale_target=True, learning_rate_init=0.01, random_state=seed, **shared
            ),
        ),
        "MLPRegressor": lambda seed: make_pipeline(
            StandardScaler(), MLPRegressor(learning_rate_init=0.01, random_state=seed, **shared)
        ),
        "HistGradientBoosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
        "Ridge": lambda seed: make_pipeline(StandardScaler(), Ridge()),
    }
    losses = {"squared_error": None, "quantile": [0.05, 0.5, 0.95]}
    print(f"regression, 5 folds, {seeds} seeds: R squared; coverage of 0.9 and width in deviations")
    print(f"  {'':25s}" + "".join(f"{name:>22s}" for name in (*makers, *losses)))
    for table, (X, y) in regression_tables().items():
        folds = KFold(5, shuffle=True, random_state=0)
        cells = [
            f"{np.mean([cross_val_score(m(i), X, y, cv=folds).mean() for i in range(seeds)]):.3f}"
            for m in makers.values()
        ]
        for loss, quantiles in losses.items():
            shares, widths = [], []
            for seed in range(seeds):
                for train, test in folds.split(X):
                    scaler = StandardScaler().fit(X[train])
                    net = NeuralNetworkRegressor(
                        loss, quantiles=quantiles, scale_target=True, learning_rate_init=0.01,
                        calibration_fraction=0.25, random_state=seed, **shared,
                    ).fit(scaler.transform(X[train]), y[train])  # fmt: skip
                    lower, upper = net.predict_interval(scaler.transform(X[test]), 0.9)
                    shares.append(((lower <= y[test]) & (y[test] <= upper)).mean())
                    widths.append((upper - lower).mean() / y.std())
            cells.append(f"{np.mean(shares):.3f} {np.mean(widths):.2f}")
        print(f"  {table:25s}" + "".join(f"{cell:>22s}" for cell in cells), flush=True)


def main() -> None:
    """Print all four."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, no digits, no regression")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(1):
        few_points(1 if quick else 20)
        preset(1 if quick else 20)
        if not quick:
            digits(3)
            regression(3)


if __name__ == "__main__":
    main()
