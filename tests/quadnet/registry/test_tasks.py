"""Versions that predict numbers or several labels, or that have an encoder: published and read."""

import copy
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from quadnet import NeuralNetworkRegressor
from quadnet.errors import CorruptVersion
from quadnet.layers import Activation, Dense
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import Registry, version_files
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import fit_encoder
from tests.support.exact_models import exact_predictor, measure, record, signed

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] * 1e6 + 3e6
LABELS = ["new", "old", "red"]


def numbers(**parameters):
    parameters = {"loss": "quantile", "quantiles": [0.05, 0.5, 0.95]} | parameters
    net = NeuralNetworkRegressor(
        hidden_layer_sizes=(4,), scale_target=True, max_iter=20, random_state=0, **parameters
    )
    with pytest.warns(UserWarning, match="Maximum iterations|max_iter"):
        net.fit(X, Y)
    return net


def labels():
    network = Network.dense([3, 4, 3], activations=["tanh"], loss="multilabel_cross_entropy")
    network.parameters.flat[:] = np.random.default_rng(1).normal(size=network.parameters.flat.size)
    return Predictor(network, LABELS)


@pytest.fixture(scope="module")
def net():
    return numbers()


@pytest.fixture
def version(tmp_path, net):
    registry = Registry(tmp_path)
    predictor = net.freeze()
    return registry, registry.publish("prices", predictor, record(predictor, 3), X[:8])


def change(version, **values):
    """Write the manifest with these values, and return the registry."""
    registry, _ = version
    path = registry.path("prices", 1) / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, value in values.items():
        *parents, last = name.split("__")
        inner = manifest
        for parent in parents:
            inner = inner[parent]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    path.unlink()
    path.write_bytes(signed(manifest))
    return registry


def test_numbers_and_quantiles_are_those_of_the_estimator(version, net):
    registry, published = version
    model = registry.load("prices", 1)
    assert isinstance(model.predictor, RegressionPredictor)
    np.testing.assert_array_equal(model.predictor.predict(X), net.predict(X))
    np.testing.assert_array_equal(model.predictor.predict_quantiles(X), net.predict_quantiles(X))
    assert model.manifest == published.manifest
    assert model.manifest.architecture.quantiles == (0.05, 0.5, 0.95)
    stored = load((registry.path("prices", 1) / version_files.SELFTEST).read_bytes())
    np.testing.assert_array_equal(stored["values"], net.predict_quantiles(X[:8]))


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_loss_of_numbers_is_published(tmp_path, loss, dtype):
    settings = {"delta": 2.5} if loss == "huber" else None
    layers = [Dense(4), Activation("relu"), Dense(1)]
    network = Network(layers, (3,), loss=loss, loss_settings=settings, dtype=dtype)
    network.parameters.flat[:] = np.random.default_rng(1).normal(size=network.parameters.flat.size)
    predictor = RegressionPredictor(network, None)
    registry = Registry(tmp_path)
    registry.publish("numbers", predictor, record(predictor, 3), X)
    model = registry.load("numbers", 1)
    np.testing.assert_array_equal(model.predictor.predict(X), predictor.predict(X))
    assert model.manifest.architecture.loss_settings == network.loss_settings


def test_labels_are_predicted_one_by_one(tmp_path):
    predictor, registry = labels(), Registry(tmp_path)
    registry.publish("tags", predictor, record(predictor, 3), X[:8])
    model = registry.load("tags", 1)
    np.testing.assert_array_equal(model.classifier.probabilities(X), predictor.probabilities(X))
    np.testing.assert_array_equal(model.predictor.predict(X), predictor.predict(X))
    assert set(np.unique(model.predictor.predict(X))) == {0, 1}
    assert model.manifest.signature.classes == LABELS


def test_a_version_of_classes_has_no_newer_key(tmp_path):
    """Older releases refuse keys that they do not know."""
    registry = Registry(tmp_path)
    predictor = exact_predictor()
    registry.publish("quadrants", predictor, record(predictor), np.eye(2))
    manifest = json.loads((registry.path("quadrants", 1) / "manifest.json").read_text())
    assert not {"task", "encoder"} & manifest.keys()
    assert manifest["signature"].keys() == {"features", "classes"}
    assert manifest["architecture"].keys() == {"layers", "input_shape", "loss", "dtype"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": None}, "the metrics must be those of the task classification"),
        ({"task": "multilabel"}, "the metrics must be those of the task multilabel"),
        ({"signature__target": None}, "signature.target must be there if the task is regression"),
        ({"signature__classes": ["a"]}, "signature.classes must be empty for a regression"),
        ({"architecture__loss_settings": None}, "the settings of the loss 'quantile' do not fit"),
        (
            {"architecture__loss_settings": {"quantiles": [0.5, 0.1], "scales": [1.0]}},
            "quantiles must increase",
        ),
        (
            {"architecture__loss_settings": {"quantiles": [0.5], "scales": [1.0]}},
            "the last layer must be dense with units = 1 for the quantiles",
        ),
        (
            {"architecture__loss_settings": {"quantiles": [0.5], "scales": [1.0], "hugo": 1.0}},
            "the settings of the loss 'quantile' do not fit",
        ),
        ({"architecture__loss": "softmax_cross_entropy"}, "the settings of the loss 'softmax"),
        (
            {"architecture__loss": "softmax_cross_entropy", "architecture__loss_settings": None},
            "the loss softmax_cross_entropy is not for regression",
        ),
        ({"encoder": []}, "encoder: "),
        ({"encoder": [{"kind": "magic", "name": "a"}]}, "encoder: "),
        ({"metrics__test__rmse": -1.0}, "greater than or equal to 0"),
        ({"metrics__test__rmse": None}, "metrics.test"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(version, values, message):
    with pytest.raises(CorruptVersion) as caught:
        change(version, **values).load("prices", 1)
    assert message in str(caught.value)


def test_another_value_in_the_self_test_is_found(version):
    registry, model = version
    path = registry.path("prices", 1) / version_files.SELFTEST
    tensors = load(path.read_bytes())
    for off, is_refused in ((1.0 + 1e-6, True), (1.0 + 1e-12, False)):
        content = save({**tensors, "values": tensors["values"] * off})
        path.unlink()
        path.write_bytes(content)
        files = {name: file.model_dump() for name, file in model.manifest.files.items()}
        files[path.name] = {
            "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
        }  # fmt: skip
        change(version, files=files)
        if is_refused:
            with pytest.raises(CorruptVersion, match="the self-test failed"):
                registry.load("prices", 1)
        else:
            registry.load("prices", 1)


def test_only_predictors_of_one_number_can_be_published(tmp_path, net):
    registry = Registry(tmp_path)
    with pytest.raises(TypeError, match="Got NeuralNetworkRegressor"):
        registry.publish("prices", net, record(net.freeze(), 3), X)
    two = RegressionPredictor(Network.dense([3, 2], activations=[], loss="squared_error"), 2)
    with pytest.raises(TypeError, match="Got one of 2 columns of numbers"):
        registry.publish("prices", two, record(two, 3), X)


def test_an_encoder_is_read_back_and_fits_the_network(tmp_path, net):
    table = {
        "size": np.array([1.0, np.nan, 3.0]),
        "city": Texts.from_values(["Oslo", "Rome", "Oslo"]),
    }
    encoder = fit_encoder(table)
    n_outputs = encoder.n_outputs
    network = Network.dense([n_outputs, 1], activations=[], loss="squared_error")
    network.parameters.flat[:] = 0.5
    predictor, registry = RegressionPredictor(network, None), Registry(tmp_path)
    made = record(predictor, n_outputs).model_copy(update={"encoder": encoder})
    rows = encoder.transform(table)
    registry.publish("tables", predictor, made, rows)
    model = registry.load("tables", 1)
    assert model.encoder == encoder
    np.testing.assert_array_equal(model.encoder.transform(table), rows)
    wrong = record(net.freeze(), 3).model_copy(update={"encoder": encoder})
    with pytest.raises(CorruptVersion, match="the encoder does not fit the signature"):
        registry.publish("prices", net.freeze(), wrong, X)


def test_metrics_of_each_task_survive_the_manifest(tmp_path):
    for i, predictor in enumerate(
        (labels(), numbers().freeze(), numbers(loss="huber", quantiles=None).freeze())
    ):
        registry = Registry(tmp_path / str(i))
        registry.publish("m", predictor, record(predictor, 3), X[:8])
        assert registry.load("m", 1).manifest.metrics["test"] == measure(predictor)


def list_paths(value, path=()):
    """Yield the path of each value in JSON."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from list_paths(value[key], (*path, key))


@pytest.fixture(scope="module")
def published(tmp_path_factory, net):
    registry = Registry(tmp_path_factory.mktemp("fuzz"))
    encoder = fit_encoder(dict(zip("abc", X.T, strict=True)))
    made = record(net.freeze(), 3).model_copy(update={"encoder": encoder})
    registry.publish("prices", net.freeze(), made, X[:8])
    path = registry.path("prices", 1) / "manifest.json"
    return registry, path, json.loads(path.read_text())


WRONG = [None, True, -1, 0, 3, 1.5, 1e308, "", "x", [], [1], {}, {"a": 1}, "regression", "poisson"]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_a_signed_manifest_is_refused_or_harmless(published, net, data):
    registry, path, manifest = published
    changed = copy.deepcopy(manifest)
    *parents, last = data.draw(st.sampled_from([*list_paths(manifest)]))
    inner = changed
    for parent in parents:
        inner = inner[parent]
    inner[last] = data.draw(st.sampled_from(WRONG))
    path.unlink()
    path.write_bytes(signed(changed))
    try:
        model = registry.load("prices", 1)
    except CorruptVersion as error:
        assert len(str(error)) < 700
    else:
        np.testing.assert_allclose(model.predictor.predict(X), net.predict(X), rtol=1e-9)
        assert model.encoder is None or model.encoder.n_outputs == 3
        assert model.manifest.task == "regression"
