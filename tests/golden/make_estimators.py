"""Make the golden estimators: stored estimators that must load for ever, and their predictions.

    uv run --group dev python -m tests.golden.make_estimators

replaces the files of the newest release in tests/golden/estimators, those of earlier releases stay
as these releases wrote them. The expected numbers do not come from Quadnet: network, gradient and
optimizers are written out here in plain NumPy.
"""

import json
from pathlib import Path

import numpy as np
import skops.io

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from tests.golden.make import logistic, numbers

HERE = Path(__file__).parent / "estimators"
EXPECTED = HERE / "expected.json"
RELEASES = ["0.1", "0.2", "0.3"]
ALL_ROWS = {"batch_size": 30, "shuffle": False, "alpha": 0.0}


def softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


# The slope is a function of the activation's value.
ACTIVATIONS = {
    "tanh": (np.tanh, lambda H: 1 - H**2),
    "relu": (lambda Z: np.maximum(Z, 0), lambda H: H > 0),
    "logistic": (logistic, lambda H: H * (1 - H)),
}


def sgd_step(theta, gradient, state, *, rate=0.1, momentum=0.5):
    state["v"] = momentum * state.get("v", 0.0) - rate * gradient
    return theta + state["v"]


def adam_step(theta, gradient, state, *, rate=0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-8):
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * gradient
    state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * gradient**2
    rate *= np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return theta - rate * state["m"] / (np.sqrt(state["v"]) + epsilon)


MODELS = {
    "letters": {
        "sizes": (3, 5, 3), "activation": "tanh", "link": softmax, "dtype": "float64",
        "classes": ["a", "b", "c"], "names": ["x", "y", "z"], "step": adam_step, "bias": True,
        "parameters": {
            "solver": "adam", "learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.95,
            "class_weight": {"a": 1.0}, "random_state": 7, **ALL_ROWS,
        },
    },
    "yes-or-no": {
        "sizes": (2, 4, 1), "activation": "relu", "link": logistic, "dtype": "float32",
        "classes": [False, True], "names": None, "step": sgd_step, "bias": False,
        "parameters": {
            "solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.5, "random_state": 7,
            "nesterovs_momentum": False, "fit_intercept": False, **ALL_ROWS,
        },
    },
    "tags": {
        "sizes": (2, 3, 4), "activation": "logistic", "link": logistic, "dtype": "float64",
        "classes": [0, 1, 2, 3], "names": None, "step": adam_step, "bias": True,
        "parameters": {
            "solver": "adam", "learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.95,
            "random_state": 7, **ALL_ROWS,
        },
    },
}  # fmt: skip


def targets(name, n):
    """Return the network's targets for n rows: 0 and 1, of shape (n, n_outputs)."""
    n_outputs = MODELS[name]["sizes"][-1]
    if name == "tags":
        return (np.arange(n)[:, np.newaxis] % (np.arange(4) + 2) == 0).astype(float)
    codes = np.arange(n) * 7 % 5 % max(n_outputs, 2)
    return np.eye(3)[codes] if n_outputs == 3 else codes[:, np.newaxis].astype(float)


def labels(name, Y):
    """Return y as the estimator takes it."""
    if name == "tags":
        return Y.astype(int)
    classes = np.array(MODELS[name]["classes"])
    return classes[Y.argmax(axis=1)] if Y.shape[1] > 1 else classes[Y[:, 0].astype(int)]


def data(name):
    """Return the rows to train on, their targets, and the rows to predict for."""
    model = MODELS[name]
    X = numbers(30, model["sizes"][0], scale=1.5, seed=3).astype(model["dtype"])
    return X, targets(name, 30), numbers(12, model["sizes"][0], scale=2.0, seed=5)


def starting_weights(name):
    (n_in, n_hidden, n_out), dtype = MODELS[name]["sizes"], MODELS[name]["dtype"]
    W = [numbers(n_in, n_hidden, seed=11).astype(dtype), numbers(n_hidden, n_out, seed=13)]
    b = [numbers(n, seed=17 + n) * MODELS[name]["bias"] for n in (n_hidden, n_out)]
    return [w.astype(dtype) for w in W], [v.astype(dtype) for v in b]


def outputs(name, W, b, X):
    """Return the hidden activations and the outputs."""
    activate, _ = ACTIVATIONS[MODELS[name]["activation"]]
    H = activate(X @ W[0] + b[0])
    return H, MODELS[name]["link"](H @ W[1] + b[1])


def probabilities(name, W, b, X):
    P = outputs(name, W, b, X)[1]
    return np.hstack([1 - P, P]) if P.shape[1] == 1 else P


def train(name, W, b, state):
    """Make one update on all rows, with the cross-entropy's gradient."""
    model, (X, Y, _) = MODELS[name], data(name)
    X = X.astype(float)
    H, P = outputs(name, W, b, X)
    D = (P - Y) / len(X)
    below = D @ W[1].T * ACTIVATIONS[model["activation"]][1](H)
    gradients = [X.T @ below, H.T @ D, below.sum(axis=0), D.sum(axis=0)]
    if not model["bias"]:
        gradients[2:] = [0 * b[0], 0 * b[1]]
    flat = np.concatenate([each.ravel() for each in (*W, *b)])
    flat = model["step"](flat, np.concatenate([each.ravel() for each in gradients]), state)
    parts, start = [], 0
    for each in (*W, *b):
        parts.append(flat[start : start + each.size].reshape(each.shape))
        start += each.size
    return parts[:2], parts[2:]


def estimator(name):
    """Return an estimator after one update from the starting weights."""
    model, (X, Y, _) = MODELS[name], data(name)
    net = NeuralNetworkClassifier(model["sizes"][1:-1], model["activation"], **model["parameters"])
    net.coefs_, net.intercepts_ = starting_weights(name)
    rows = X
    if model["names"]:
        import pandas as pd

        rows = pd.DataFrame(X, columns=model["names"])
    return net.partial_fit(rows, labels(name, Y), classes=model["classes"])


def expected(name):
    """Return the predictions after one update, and after the next."""
    points, state = data(name)[2], {}
    W, b = ([each.astype(float) for each in part] for part in starting_weights(name))
    answers = {"points": points.tolist()}
    for when in ("stored", "resumed"):
        W, b = train(name, W, b, state)
        answers[when] = probabilities(name, W, b, points).tolist()
    return answers


def prices():
    """Return y for the regressor: two columns in different units."""
    return np.round(numbers(30, 2, scale=3.0, seed=29) * [100.0, 1.0] + [500.0, 0.0], 3)


def regressor():
    """Return a regressor of quantiles after one update of no length, with calibrated intervals."""
    net = NeuralNetworkRegressor(
        "quantile", (4,), "tanh", quantiles=[0.25, 0.5, 0.75], scale_target=True, **REGRESSOR
    )
    X = numbers(30, 3, scale=1.5, seed=3)
    W, b = regressor_weights()
    net.coefs_, net.intercepts_ = [W[0].copy(), W[1].copy()], [b[0].copy(), b[1].copy()]
    return net.fit(X, prices(), X_cal=X[:12], y_cal=prices()[:12])


REGRESSOR = {
    "solver": "sgd", "learning_rate_init": 1e-300, "momentum": 0.0, "max_iter": 1,
    "warm_start": True, "random_state": 7, **ALL_ROWS,
}  # fmt: skip


def regressor_weights():
    """Return weights in the units of y."""
    W = [numbers(3, 4, seed=11), numbers(4, 6, seed=13) * np.tile([100.0, 1.0], 3)]
    return W, [numbers(4, seed=17), numbers(6, seed=19) * np.tile([100.0, 1.0], 3)]


def expected_regressor():
    """Return the regressor's quantiles and its intervals of coverage 0.8, by their formulas."""
    W, b = regressor_weights()
    deviations = prices().std(axis=0)

    def quantiles(X):
        Z = (np.tanh(X @ W[0] + b[0]) @ W[1] + b[1]).reshape(len(X), 3, 2)
        steps = deviations * np.logaddexp(0, Z[:, 1:] / deviations)
        return np.cumsum(np.concatenate([Z[:, :1], steps], axis=1), axis=1)

    low, _, high = np.moveaxis(quantiles(numbers(30, 3, scale=1.5, seed=3)[:12]), 1, 0)
    y = prices()[:12]
    margin = np.sort(np.maximum(low - y, y - high), axis=0)[int(np.ceil(13 * 0.8)) - 1]
    points = numbers(12, 3, scale=2.0, seed=5)
    Q = quantiles(points)
    return {
        "points": points.tolist(),
        "quantiles": np.moveaxis(Q, 1, 2).tolist(),
        "lower": (Q[:, 0] - margin).tolist(),
        "upper": (Q[:, 2] + margin).tolist(),
    }


def make(root):
    """Store every model as arrays and with skops."""
    root.mkdir(parents=True, exist_ok=True)
    for name in (*MODELS, "quantiles"):
        net = regressor() if name == "quantiles" else estimator(name)
        np.savez(root / f"{name}.npz", **net.to_arrays())
        skops.io.dump(net, root / f"{name}.skops")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")  # one epoch is not enough
    make(HERE / RELEASES[-1])
    answers = {name: expected(name) for name in MODELS} | {"quantiles": expected_regressor()}
    EXPECTED.write_text(json.dumps(answers, indent=1) + "\n")
    print(f"Made {HERE.relative_to(Path.cwd())}.")
