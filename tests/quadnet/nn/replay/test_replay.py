"""Fits that are replayed from C against the same fits by NumPy: bit for bit."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from scipy import sparse

from quadnet import NeuralNetworkClassifier
from quadnet.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    LayerStep,
    MaxPool2D,
    Residual,
)
from quadnet.nn.replay.library import describe

pytestmark = pytest.mark.skipif(
    describe() != "compiled", reason="there is no compiled part, or it is switched off"
)

RNG = np.random.default_rng(0)
ROWS = RNG.uniform(-1, 1, (400, 5))
LABELS = (ROWS[:, 0] > 0) + 2 * (ROWS[:, 1] > 0)
PICTURES = RNG.normal(size=(400, 36))
SOME_WEIGHTS = RNG.uniform(0, 2, 400)
FEW_WEIGHTS = (RNG.uniform(size=400) > 0.9) * 1.0


def fit(X=ROWS, y=LABELS, *, sample_weight=None, batch_size=7, **parameters):
    """Return an estimator after some 700 updates."""
    if "layers" not in parameters:
        parameters.setdefault("hidden_layer_sizes", (6,))
    net = NeuralNetworkClassifier(
        batch_size=batch_size,
        max_iter=-(-700 * batch_size // len(X)),
        n_iter_no_change=1000,
        random_state=0,
        **parameters,
    )
    return net.fit(X, y, sample_weight=sample_weight)


def check_both_ways(monkeypatch, X=ROWS, **parameters):
    """Fit by NumPy and replayed; return the latter."""
    monkeypatch.setenv("QUADNET_REPLAY", "0")
    computed = fit(X, **parameters)
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    replayed = fit(X, **parameters)
    assert computed.replay_["replayed"] == 0
    assert computed.replay_["reason"] == (
        "Switched off: the environment variable QUADNET_REPLAY is 0."
    )
    assert replayed.replay_["refused"] == 0, replayed.replay_
    assert replayed.replay_["replayed"] > 100, replayed.replay_
    done = replayed.replay_["replayed"] + replayed.replay_["computed"]
    assert done == computed.replay_["computed"] == computed.n_updates_ == replayed.n_updates_
    flat = [net._network.parameters.flat for net in (computed, replayed)]
    assert flat[0].tobytes() == flat[1].tobytes()
    assert computed.loss_curve_ == replayed.loss_curve_
    assert computed.learning_rate_curve_ == replayed.learning_rate_curve_
    moments = [net._optimizer.__getstate__() for net in (computed, replayed)]
    for name, value in moments[0].items():
        np.testing.assert_array_equal(value, moments[1][name])
    return replayed


ACTIVATIONS = "identity logistic tanh relu leaky_relu elu gelu silu softplus".split()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_losses(monkeypatch, activation, loss, dtype):
    for batch_size in (1, 32):
        check_both_ways(
            monkeypatch, ROWS.astype(dtype), activation=activation, loss=loss, batch_size=batch_size
        )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"momentum": 0.0},
        {"nesterovs_momentum": False},
        {"dropout": 0.2},
        {"max_grad_norm": 0.1},
        {"learning_rate": "cosine"},
        {"learning_rate": "step", "early_stopping": True},
        {"learning_rate": "invscaling"},
        {"warmup_epochs": 2.0},
        {"alpha": 0.0},
        {"alpha": 0.1, "alpha_scaling": "samples"},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (5, 4, 3), "dropout": (0.1, 0.2, 0.3)},
        {"sample_weight": SOME_WEIGHTS},
        {"sample_weight": FEW_WEIGHTS, "dropout": 0.3, "max_grad_norm": 1.0},
        {"class_weight": "balanced"},
    ],
    ids=str,
)
def test_solvers_and_what_they_do(monkeypatch, parameters, solver, dtype):
    check_both_ways(monkeypatch, ROWS.astype(dtype), solver=solver, **parameters)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "layers",
    [
        [Dense(6), BatchNorm(), "relu"],
        [Dense(6, bias=False), LayerNorm(), "gelu", Dropout(0.3)],
        [Residual([Dense(5), "tanh", Dropout(0.1)]), "elu"],
        [Conv2D(3, 3), "relu", MaxPool2D(2), Flatten(), Dense(5), "relu"],
        [Conv2D(3, 3, padding="same"), BatchNorm(), AveragePool2D(2), GlobalAveragePool2D()],
        [Conv2D(2, 3, stride=2, padding="same"), MaxPool2D(2, 1), Flatten(), LayerNorm()],
        [Residual([Conv2D(1, 3, padding="same"), Activation("silu")]), Flatten()],
    ],
    ids=str,
)
def test_layers(monkeypatch, layers, dtype):
    is_picture = any(isinstance(layer, Flatten | GlobalAveragePool2D) for layer in layers)
    rows = PICTURES if is_picture else ROWS
    check_both_ways(
        monkeypatch,
        rows.astype(dtype),
        layers=layers,
        input_shape=(6, 6) if is_picture else (5,),
        batch_size=9,
    )


@pytest.mark.parametrize(
    "y", [LABELS > 1, np.eye(4, dtype=int)[LABELS]], ids=["two classes", "labels"]
)
def test_targets(monkeypatch, y):
    check_both_ways(monkeypatch, y=y)


def test_rows_of_every_kind(monkeypatch):
    read_only = ROWS.copy()
    read_only.setflags(write=False)
    memory = np.zeros(ROWS.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(np.float64).reshape(ROWS.shape)
    unaligned[:] = ROWS
    assert not unaligned.flags.aligned
    swapped = ROWS.astype(ROWS.dtype.newbyteorder())
    expected = check_both_ways(monkeypatch)
    for X in (read_only, unaligned, swapped, np.asfortranarray(ROWS), ROWS[::-1][::-1]):
        net = check_both_ways(monkeypatch, X)
        np.testing.assert_array_equal(net.predict_proba(ROWS), expected.predict_proba(ROWS))


def test_what_is_not_replayed_says_why(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    assert fit(sparse.csr_array(ROWS)).replay_["reason"] == "X is sparse."
    large = fit(hidden_layer_sizes=(10_000,), batch_size=200, solver="sgd")
    assert large.replay_["replayed"] == 0
    assert large.replay_["reason"].startswith("The network has many parameters")
    few = NeuralNetworkClassifier((6,), max_iter=5).set_params(tol=0).fit(ROWS[:10], LABELS[:10])
    assert few.replay_ == {"computed": 5, "replayed": 0, "refused": 0, "reason": ""}
    lbfgs = NeuralNetworkClassifier((6,), solver="lbfgs", max_iter=20).fit(ROWS, LABELS)
    assert lbfgs.replay_["replayed"] == lbfgs.replay_["computed"] == 0


def test_a_wrong_value_of_the_switch_is_an_error(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "maybe")
    with pytest.raises(ValueError, match="QUADNET_REPLAY must be 0 or 1, got 'maybe'"):
        fit()
