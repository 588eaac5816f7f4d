"""What a stored estimator holds: plain arrays and one public class, in a pickle and elsewhere."""

import copy
import json
import pickle
import pickletools

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import fit

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMED = pd.DataFrame(X, columns=list("abcd"))
LETTERS = np.array(["a", "b", "c"])[Y]
OURS = "quadnet.NeuralNetworkClassifier"

FITTED = {
    "adam": lambda: fit(NeuralNetworkClassifier((5,), max_iter=5, random_state=0), X, Y),
    "sgd": lambda: fit(NeuralNetworkClassifier((5,), "gelu", solver="sgd", max_iter=5), X, Y),
    "lbfgs": lambda: fit(NeuralNetworkClassifier((5,), solver="lbfgs", max_iter=5), X, Y),
    "names": lambda: fit(NeuralNetworkClassifier((5, 4), ("tanh", "silu")), NAMED, LETTERS),
    "several labels": lambda: fit(
        NeuralNetworkClassifier((5,), max_iter=5), X, np.tri(3, dtype=int)[Y]
    ),
    "early stopping": lambda: fit(
        NeuralNetworkClassifier((5,), early_stopping=True, scoring="loss"), X, Y
    ),
    "float32": lambda: fit(
        NeuralNetworkClassifier((5,), fit_intercept=False, max_iter=5), X.astype("f"), Y
    ),
    "parameters": lambda: fit(
        NeuralNetworkClassifier(
            np.array([5]), class_weight={0: 2.0}, random_state=np.random.RandomState(0)
        ),
        X,
        Y,
    ),
    "partial fits": lambda: (
        NeuralNetworkClassifier((5,), solver="adamw", alpha=0.1, learning_rate="cosine")
        .partial_fit(X, Y, classes=range(3))
        .partial_fit(X[:50], Y[:50])
    ),
    "not fitted": lambda: NeuralNetworkClassifier((5,)),
}


def answers(net):
    rows = NAMED if hasattr(net, "feature_names_in_") else X
    return net.predict_proba(rows) if hasattr(net, "classes_") else None


def globals_in(pickled):
    found = pickletools.genops(pickle.loads(pickled) and pickled)
    return {argument.replace(" ", ".") for op, argument, _ in found if op.name == "GLOBAL"}


@pytest.mark.parametrize("kind", FITTED)
def test_a_stored_estimator_names_one_class_of_ours(kind):
    net = FITTED[kind]()
    stored = skops.io.dumps(net)
    assert skops.io.get_untrusted_types(data=stored) == [OURS]
    np.testing.assert_array_equal(answers(skops.io.loads(stored, trusted=[OURS])), answers(net))
    named = globals_in(pickle.dumps(net, protocol=0))
    assert {name for name in named if name.startswith("quadnet")} == {OURS}
    # And what the state holds is what any reader of arrays and JSON knows.
    for value in net.__getstate__().values():
        parts = value.values() if isinstance(value, dict) else [value]
        for part in parts:
            assert not type(part).__module__.startswith("quadnet")
            assert not callable(part)


def test_a_stored_pipeline_and_a_frozen_network_name_public_classes_only():
    pipeline = fit(make_pipeline(StandardScaler(), FITTED["adam"]()), X, Y)
    assert skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)) == [OURS]
    frozen = FITTED["names"]().freeze()
    named = globals_in(pickle.dumps(frozen, protocol=0))
    assert {name for name in named if name.startswith("quadnet")} == {"quadnet.Predictor"}


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize(
    "through",
    [
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: skops.io.loads(skops.io.dumps(net), trusted=[OURS]),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_what_comes_back_is_the_same_and_goes_on_training_alike(kind, through):
    net = FITTED[kind]()
    back = through(net)
    assert vars(back).keys() == vars(net).keys() - {"_penalty_buffers"}
    np.testing.assert_array_equal(answers(back), answers(net))
    assert back.get_params().keys() == net.get_params().keys()
    if kind in ("not fitted", "lbfgs", "early stopping"):
        return
    for name in ("loss_curve_", "n_updates_", "t_", "best_iteration_", "stop_reason_"):
        assert getattr(back, name) == getattr(net, name), name
    rows = NAMED if kind == "names" else X.astype(net.coefs_[0].dtype)
    y = {"names": LETTERS, "several labels": np.tri(3, dtype=int)[Y]}.get(kind, Y)
    # One after the other: neither may change the other's weights or moments.
    state = net._random_state.get_state()
    for each in (net, back) * 2:
        each._random_state = np.random.RandomState(0)
        each._random_state.set_state(state)
        each.partial_fit(rows, y)
    np.testing.assert_array_equal(back.coefs_[0], net.coefs_[0])
    assert back.learning_rate_curve_ == net.learning_rate_curve_


def test_a_memory_mapped_file_goes_on_training(tmp_path):
    net = FITTED["adam"]()
    joblib.dump(net, tmp_path / "net")
    mapped = joblib.load(tmp_path / "net", mmap_mode="r")
    mapped.partial_fit(X, Y)
    net.partial_fit(X, Y)
    np.testing.assert_array_equal(mapped.coefs_[0], net.coefs_[0])


def test_an_early_stopped_network_is_stored_once():
    net = NeuralNetworkClassifier((500,), early_stopping=True, max_iter=2, solver="sgd")
    fit(net, X, Y)
    # Weights and momentum.
    assert len(pickle.dumps(net)) < 2 * 8 * net.n_parameters_ + 10_000


def test_weights_put_in_are_stored():
    net = FITTED["adam"]()
    net.coefs_ = [np.zeros_like(W) for W in net.coefs_]
    back = skops.io.loads(skops.io.dumps(net), trusted=[OURS])
    assert all((W == 0).all() for W in back.coefs_)
    assert clone(net).get_params() == back.get_params()


def test_arrays_of_the_first_release_load():
    description = {
        "format": 1,
        "activations": ["relu"],
        "loss": "sigmoid_cross_entropy",
        "bias": True,
        "parameters": {"hidden_layer_sizes": [1], "class_weight": {"pairs": [["no", 2.0]]}},
    }
    back = NeuralNetworkClassifier.from_arrays(
        {
            "estimator": np.array(json.dumps(description)),
            "weights.0": np.array([[2.0]]),
            "weights.1": np.array([[3.0]]),
            "biases.0": np.array([-1.0]),
            "biases.1": np.array([-3.0]),
            "classes": np.array(["no", "yes"]),
        }
    )
    # 3 relu(2 x - 1) - 3 is above 0 from x = 1 on.
    assert back.predict([[0.9], [1.1]]).tolist() == ["no", "yes"]
    assert back.decision_function([[2.0]]).tolist() == [6.0]
    assert back.class_weight == {"no": 2.0}
