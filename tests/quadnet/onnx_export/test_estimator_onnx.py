"""Estimators and pipelines as ONNX models: what onnxruntime answers, against the estimators."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor, register_onnx_converter
from quadnet.errors import Unsupported
from quadnet.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Residual

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.filterwarnings("ignore:The training loss"),  # few updates, and large numbers
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)) * [1, 10, 0.1, 5] + 3
NUMBERS = (X[:, 0] > 3) + 2 * (X[:, 1] > 3)
TARGETS = {
    "whole numbers": NUMBERS,
    "two texts": np.array(["no", "yes"])[NUMBERS % 2],
    "texts": np.array(["north", "east", "south", "Größe"])[NUMBERS],
    "objects": np.array(["north", "east", "south", "west"], object)[NUMBERS],
    "truth values": NUMBERS > 1,
    "numbers": NUMBERS + 1.0,
    "labels": (X > [3, 3, 3, 5]).astype(int),
    "one class": np.ones(300, int),
}


def answers(content, rows):
    """Return the label and the probabilities of onnxruntime."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities"], {session.get_inputs()[0].name: rows})


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
def test_a_classifier_answers_the_same_as_onnx(y, loss, dtype):
    net = NeuralNetworkClassifier((8,), loss=loss, max_iter=30, random_state=0)
    rows = X.astype(dtype)
    with_one_class = len(np.unique(y)) == 1
    if with_one_class and loss == "log_loss":
        net.set_params(activation="tanh")
    net.fit(rows, y)
    content = net.to_onnx()
    onnx.checker.check_model(content, full_check=True)
    label, probabilities = answers(content, rows)
    expected = net.predict(rows)
    assert label.tolist() == expected.tolist()
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(
        probabilities, net.predict_proba(rows), atol=1e-12 if dtype == np.float64 else 1e-5
    )


def test_a_stack_of_layers_answers_the_same():
    pictures = np.random.default_rng(0).normal(size=(200, 36)).astype(np.float32)
    y = pictures[:, :18].sum(axis=1) > 0
    stack = [
        Conv2D(4, 3, padding="same"), BatchNorm(), "relu", Residual([Conv2D(4, 1), "tanh"]),
        MaxPool2D(2), Flatten(), Dropout(0.1), Dense(6), "gelu",
    ]  # fmt: skip
    net = NeuralNetworkClassifier(layers=stack, input_shape=(6, 6), max_iter=5, random_state=0)
    label, probabilities = answers(net.fit(pictures, y).to_onnx(), pictures)
    np.testing.assert_array_equal(label.astype(bool), net.predict(pictures))
    np.testing.assert_allclose(probabilities, net.predict_proba(pictures), atol=1e-5)


COLUMNS = {"one number": X[:, 0] * 2 + 5, "two columns": np.c_[X[:, 1], X[:, 0] + 100.0]}
REGRESSORS = {
    "squared error": {},
    "scaled": {"scale": True, "scale_target": True},
    "poisson": {"loss": "poisson"},
    "one quantile": {"loss": "quantile", "quantiles": [0.3]},
    "quantiles": {"loss": "quantile", "quantiles": [0.1, 0.4, 0.9], "scale_target": True},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("parameters", REGRESSORS.values(), ids=REGRESSORS)
@pytest.mark.parametrize("y", COLUMNS.values(), ids=COLUMNS)
def test_a_regressor_answers_the_same_as_onnx(y, parameters, dtype):
    rows = X.astype(dtype)
    y = np.abs(y)
    net = NeuralNetworkRegressor(
        hidden_layer_sizes=(6,), max_iter=30, random_state=0, **parameters
    ).fit(rows, y)
    content = net.to_onnx()
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answered = dict(
        zip(
            [each.name for each in session.get_outputs()],
            session.run(None, {"x": rows}),
            strict=True,
        )
    )
    tolerance = {"rtol": 1e-10 if dtype == np.float64 else 1e-4, "atol": 1e-4}
    expected = net.predict(rows)
    assert answered["value"].shape == expected.shape == y.shape
    np.testing.assert_allclose(answered["value"], expected, **tolerance)
    if len(parameters.get("quantiles", ())) > 1:
        quantiles = net.predict_quantiles(rows)
        assert answered["quantiles"].shape == quantiles.shape
        np.testing.assert_allclose(answered["quantiles"], quantiles, **tolerance)
    else:
        assert list(answered) == ["value"]


@pytest.mark.parametrize("y", COLUMNS.values(), ids=COLUMNS)
def test_a_pipeline_with_a_regressor_converts(y):
    register_onnx_converter()
    net = NeuralNetworkRegressor(
        hidden_layer_sizes=(6,), max_iter=50, scale_target=True, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), net).fit(X, y)
    document = skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))
    session = onnxruntime.InferenceSession(
        document.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (value,) = session.run(None, {"X": X.astype(np.float32)})
    np.testing.assert_allclose(value, pipeline.predict(X).reshape(len(X), -1), atol=1e-2)


def test_exports_have_the_same_bytes_and_name_the_classes():
    net = NeuralNetworkClassifier((3,), max_iter=5, random_state=0).fit(X, TARGETS["texts"])
    content = net.to_onnx()
    assert content == net.to_onnx()
    metadata = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    assert metadata == {"classes": '["Größe", "east", "north", "south"]'}


@pytest.mark.parametrize(
    ("zipmap", "dtype"), [(True, np.float32), (False, np.float32), (False, np.float64)]
)
@pytest.mark.parametrize("name", ["whole numbers", "two texts", "texts"])
def test_a_pipeline_converts_with_skl2onnx(name, zipmap, dtype):
    register_onnx_converter()
    register_onnx_converter()  # a second time does no harm
    net = NeuralNetworkClassifier((8,), max_iter=60, random_state=0)
    columns = make_column_transformer((StandardScaler(), [0, 1]), (MinMaxScaler(), [2, 3]))
    pipeline = make_pipeline(columns, StandardScaler(), net).fit(X, TARGETS[name])
    rows = X.astype(dtype)
    document = skl2onnx.to_onnx(pipeline, rows[:1], options={"zipmap": zipmap})
    onnx.checker.check_model(document, full_check=True)
    session = onnxruntime.InferenceSession(
        document.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    label, probabilities = session.run(None, {"X": rows})
    expected = pipeline.predict_proba(X)
    if zipmap:
        probabilities = np.array([[row[c] for c in net.classes_.tolist()] for row in probabilities])
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    sure = np.sort(expected)[:, -1] > 0.51
    np.testing.assert_array_equal(label[sure], pipeline.predict(X)[sure])


def test_a_pipeline_of_two_networks_has_no_name_twice():
    from sklearn.ensemble import VotingClassifier

    register_onnx_converter()
    nets = [
        (str(seed), NeuralNetworkClassifier((4,), max_iter=20, random_state=seed))
        for seed in range(2)
    ]
    voting = VotingClassifier(nets, voting="soft", flatten_transform=False).fit(X, NUMBERS)
    rows = X.astype(np.float32)
    document = skl2onnx.to_onnx(voting, rows[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(
        document.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    _, probabilities = session.run(None, {"X": rows})
    np.testing.assert_allclose(probabilities, voting.predict_proba(X), atol=1e-4)


def test_whole_numbers_as_input():
    register_onnx_converter()
    whole = np.random.default_rng(0).integers(0, 5, size=(100, 3))
    net = NeuralNetworkClassifier((4,), max_iter=20, random_state=0).fit(whole, whole[:, 0] > 2)
    document = skl2onnx.to_onnx(net, whole[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(
        document.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    _, probabilities = session.run(None, {"X": whole})
    np.testing.assert_allclose(probabilities, net.predict_proba(whole), atol=1e-5)


def test_several_labels_are_refused_in_a_pipeline_with_advice():
    register_onnx_converter()
    net = NeuralNetworkClassifier((3,), max_iter=5).fit(X, TARGETS["labels"])
    with pytest.raises(Unsupported, match=r"Use its method to_onnx\(\)"):
        skl2onnx.to_onnx(net, X[:1].astype(np.float32))


def test_without_onnx_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from quadnet import NeuralNetworkClassifier\n"
        "net = NeuralNetworkClassifier((), solver='lbfgs').fit([[0.0], [1.0]], [0, 1])\n"
        "try: net.to_onnx()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtra ")
    assert "quadnet[onnx]" in done.stdout


def test_without_skl2onnx_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['skl2onnx'] = None\n"
        "import quadnet\n"
        "try: quadnet.register_onnx_converter()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtra Converting a pipeline to ONNX ")
    assert "quadnet[onnx]" in done.stdout
