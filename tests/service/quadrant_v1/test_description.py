"""ListModels, GetModel and Explain: models listed, described, and traced term by term."""

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2

from quadnet.errors import InvalidInput
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry, alias_changes
from quadnet.registry.manifest import Feature
from service.client import QuadrantClient
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import exact_predictor, publish, record
from tests.support.inference_client import SERVICE as INFERENCE
from tests.support.inference_client import InferenceStub, publish_network, raw
from tests.support.serving import SERVICE, ServerProcess, details_of, refused

SIGNS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])


def random_predictor(layer_sizes, activations, loss, *, bias=True, dtype="float64", n_classes=None):
    """Return a predictor of any shape, with random weights."""
    network = Network.dense(layer_sizes, activations=activations, loss=loss, bias=bias, dtype=dtype)
    network.parameters.flat[:] = np.random.default_rng(1).normal(size=network.parameters.flat.size)
    names = [f"class {i}" for i in range(n_classes or layer_sizes[-1])]
    return Predictor(network, names)


MODELS = {
    "deep": random_predictor([3, 5, 4, 6], ["tanh", "relu"], "softmax_cross_entropy"),
    "single": random_predictor([2, 3, 4], ["gelu"], "sigmoid_squared_error", dtype="float32"),
    "binary": random_predictor([4, 3, 1], ["logistic"], "sigmoid_cross_entropy", n_classes=2),
    "no-biases": random_predictor([2, 6, 4], ["elu"], "softmax_cross_entropy", bias=False),
}

ACTIVATIONS = {
    "deep": ["tanh", "relu", "softmax"],
    "single": ["gelu", "logistic"],
    "binary": ["logistic", "logistic"],
    "no-biases": ["elu", "softmax"],
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("describing") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    for name, predictor in MODELS.items():
        X = np.random.default_rng(2).normal(size=(5, predictor.n_features))
        registry.publish(name, predictor, record(predictor, predictor.n_features), X)
        alias_changes.set_aliases(registry, name, {"champion": 1, "best": 1}, reason="test")
    return registry


@pytest.fixture(scope="module")
def server(registry):
    with ServerProcess(registry.root) as process:
        yield process


def test_the_trace_of_a_point_equals_a_calculation_by_hand(server):
    answer = server.stub.Explain(pb.ExplainRequest(features=[0.5, -0.25]))
    (layer,) = answer.layers
    assert layer.activation == "softmax"
    logits = 3.0 * SIGNS @ [0.5, -0.25]
    expected = np.exp(logits) / np.exp(logits).sum()
    for unit, signs, logit, probability in zip(layer.units, SIGNS, logits, expected, strict=True):
        assert list(unit.terms) == [3.0 * signs[0] * 0.5, 3.0 * signs[1] * -0.25]
        assert (unit.bias, unit.pre_activation) == (0, logit)
        assert unit.activation == pytest.approx(probability, rel=1e-12)
    np.testing.assert_allclose(answer.probabilities, expected, rtol=1e-12)
    assert (list(answer.classes), answer.label) == (["I", "II", "III", "IV"], "IV")
    assert (answer.model.name, answer.model.version) == ("quadrants", 1)


FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "gelu": lambda z: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_trace_of_any_network_adds_up_to_its_answer(server, name):
    predictor = MODELS[name]
    x = np.random.default_rng(7).normal(size=predictor.n_features)
    ref = pb.ModelRef(name=name)
    answer = server.stub.Explain(pb.ExplainRequest(model=ref, features=x))
    rtol = 1e-12 if predictor.dtype == np.float64 else 1e-5
    a = x
    for layer, W in zip(answer.layers, predictor.network.parameters.weights, strict=True):
        for unit, w in zip(layer.units, W.T, strict=True):
            np.testing.assert_allclose(unit.terms, a * w, rtol=rtol, atol=1e-6)
            assert sum(unit.terms) + unit.bias == pytest.approx(
                unit.pre_activation, rel=1e-4, abs=1e-5
            )
        z = np.array([unit.pre_activation for unit in layer.units])
        a = np.array([unit.activation for unit in layer.units])
        np.testing.assert_allclose(a, FUNCTIONS[layer.activation](z), rtol=1e-5, atol=1e-6)
    expected = predictor.probabilities(x[np.newaxis])[0]
    np.testing.assert_array_equal(answer.probabilities, expected.astype(np.float64))
    assert answer.label == f"class {expected.argmax()}"


def test_a_point_that_overflows_gets_equal_probabilities_and_no_label(server):
    answer = server.stub.Explain(pb.ExplainRequest(features=[1e308, 1e308]))
    assert list(answer.probabilities) == [0.25] * 4
    assert answer.label == ""


@pytest.mark.parametrize("name", MODELS)
def test_get_model_returns_the_complete_version(server, registry, name):
    predictor = MODELS[name]
    answer = server.stub.GetModel(pb.GetModelRequest(model=pb.ModelRef(name=name)))
    manifest = registry.load(name, 1).manifest
    parameters = predictor.network.parameters
    for layer, W, b in zip(answer.layers, parameters.weights, parameters.biases, strict=True):
        assert (layer.inputs, layer.units) == W.shape
        np.testing.assert_array_equal(np.reshape(layer.weights, W.shape), W)
        np.testing.assert_array_equal(layer.biases, b)
    assert [layer.activation for layer in answer.layers] == ACTIVATIONS[name]
    assert list(answer.classes) == predictor.classes.tolist()
    assert [feature.name for feature in answer.features] == [
        feature.name for feature in manifest.signature.features
    ]
    assert list(answer.aliases) == ["best", "champion"]
    assert dict(answer.metrics) == {"accuracy": 1.0, "log_loss": 0.1, "calibration_error": 0.0}
    assert (answer.training.epochs, answer.training.rows) == (1, 4)
    assert answer.created.ToDatetime(tzinfo=manifest.created.tzinfo) == manifest.created
    assert answer.model.digest == registry.digest(name, 1)


def test_models_are_listed_with_the_state_of_each_version(registry):
    with ServerProcess(registry.root) as server:
        before = server.stub.ListModels(pb.ListModelsRequest())
        assert [model.name for model in before.models] == sorted(["quadrants", *MODELS])
        (quadrants,) = [model for model in before.models if model.name == "quadrants"]
        assert dict(quadrants.aliases) == {"champion": 1, "candidate": 2}
        states = [version.state for version in quadrants.versions]
        assert states == [pb.VersionSummary.STATE_LOADED, pb.VersionSummary.STATE_AVAILABLE]
        assert [v.digest for v in quadrants.versions] == [
            registry.digest("quadrants", 1), registry.digest("quadrants", 2)
        ]  # fmt: skip
        assert all(version.created.seconds > 1.7e9 for version in quadrants.versions)
        server.stub.Classify(pb.ClassifyRequest(model=pb.ModelRef(version=2)))
        after = server.stub.ListModels(pb.ListModelsRequest(name="quadrants"))
        (quadrants,) = after.models
        assert {v.state for v in quadrants.versions} == {pb.VersionSummary.STATE_LOADED}


def test_unreadable_models_are_listed_with_the_reason_and_the_loaded_versions(tmp_path):
    registry = Registry(tmp_path / "registry")
    for model in ("other", "quadrants", "third"):
        publish(registry, model)
    unreadable = "The registry cannot be read at the moment; the server's log has the reason."
    with ServerProcess(registry.root) as server:
        server.stub.Classify(pb.ClassifyRequest(model=pb.ModelRef(name="other")))
        for model in ("other", "third"):
            newest = max((registry.root / f"models/{model}/aliases").glob("*.json"))
            newest.chmod(0o644)
            newest.write_text("{")
        listed = server.stub.ListModels(pb.ListModelsRequest())
        assert [model.failure for model in listed.models] == [unreadable, "", unreadable]
        loaded = [[v.state for v in model.versions] for model in listed.models]
        assert loaded == [[pb.VersionSummary.STATE_LOADED]] * 2 + [[]]
        assert listed.failure == ""
        assert str(registry.root) in server.logged("model not listed", model="third")["reason"]

        (registry.root / "models").rename(tmp_path / "away")
        (registry.root / "models").write_text("a file")
        listed = server.stub.ListModels(pb.ListModelsRequest())
        assert [model.name for model in listed.models] == ["other", "quadrants"]
        (quadrants,) = server.stub.ListModels(pb.ListModelsRequest(name="quadrants")).models
        assert [v.version for v in quadrants.versions] == [1]
        assert listed.failure == quadrants.failure == unreadable


def test_a_limited_number_of_versions_stays_loaded_on_demand(registry, tmp_path):
    many = Registry(tmp_path / "many")
    for version in range(1, 13):
        publish(many, scale=float(version))
    with ServerProcess(many.root) as server:
        for version in range(1, 13):
            ref = pb.ModelRef(version=version)
            answer = server.stub.Classify(pb.ClassifyRequest(model=ref, x=[0.1], y=[0.1]))
            expected = exact_predictor(float(version)).probabilities(np.array([[0.1, 0.1]]))
            assert answer.certainties[0] == expected.max().astype(np.float32)
        (listed,) = server.stub.ListModels(pb.ListModelsRequest()).models
    loaded = {v.version for v in listed.versions if v.state == pb.VersionSummary.STATE_LOADED}
    assert loaded == set(range(5, 13))


def test_aliases_of_other_models_are_followed_too(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    publish(registry, "other", scale=2.0)
    with ServerProcess(registry.root, "--poll", "0.02") as server:
        request = pb.ClassifyRequest(model=pb.ModelRef(name="other"), x=[1], y=[1])
        assert server.stub.Classify(request).model.version == 1
        publish(registry, "other", scale=3.0)
        server.logged("version live", model="other", version=2)
        assert server.stub.Classify(request).model.version == 2
        # An alias other than the champion is followed, too.
        request = pb.ClassifyRequest(model=pb.ModelRef(name="other", alias="best"))
        alias_changes.set_aliases(registry, "other", {"best": 1}, reason="")
        assert server.stub.Classify(request).model.version == 1
        alias_changes.set_aliases(registry, "other", {"best": 2}, reason="")
        server.logged("version live", model="other", alias="best", version=2)
        assert server.stub.Classify(request).model.version == 2


# ---- answers that do not fit into a message


POINTS = [0.5] * 60


def limited(registry, limit):
    return ServerProcess(registry.root, "--max-message-bytes", str(limit))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a registry with one large and many small models."""
    registry = Registry(tmp_path_factory.mktemp("large") / "registry")
    publish(registry)
    # 4,000 weights in the first layer; each takes 8 bytes in both answers.
    publish_network(registry, "large", (40, 100, 30), [f"class {i} {'x' * 30}" for i in range(30)])
    for i in range(30):
        publish(registry, f"small-{i}")
    return registry


@pytest.mark.parametrize(
    ("method", "request_", "instead"),
    [
        ("GetModel", pb.GetModelRequest(model=pb.ModelRef(name="large")), "read the version from"),
        (
            "Explain",
            pb.ExplainRequest(model=pb.ModelRef(name="large"), features=[0] * 40),
            "call Classify or ModelInfer",
        ),
    ],
)
def test_a_model_that_does_not_fit_into_a_message_is_refused_with_advice(
    large, method, request_, instead
):
    with limited(large, 4096) as server:
        error = refused(getattr(server.stub, method), request_)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("model: expected an answer of at most 4096 bytes, got ")
        assert f"raise the server's setting max_message_bytes, or {instead}" in error.details()
        with QuadrantClient(server.address) as client, pytest.raises(InvalidInput):
            client.get_model("large")


@pytest.mark.parametrize("method", ["GetModel", "Explain"])
def test_the_limit_of_an_answer_is_exact_to_a_byte(large, method):
    ref = pb.ModelRef(name="large")
    request = (
        pb.GetModelRequest(model=ref)
        if method == "GetModel"
        else pb.ExplainRequest(model=ref, features=[0.5] * 40)
    )
    with limited(large, 2**20) as server:
        answer = getattr(server.stub, method)(request)
    size = answer.ByteSize()
    assert size > 8 * 4000
    with limited(large, size) as server:
        assert getattr(server.stub, method)(request) == answer
    with limited(large, size - 1) as server:
        assert (
            f"at most {size - 1} bytes, got "
            in refused(getattr(server.stub, method), request).details()
        )


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (f"{SERVICE}/ListModels", pb.ListModelsRequest()),
        (f"{SERVICE}/ClassifyStream", pb.ClassifyRequest(x=POINTS, y=POINTS, all_certainties=True)),
        (f"{INFERENCE}/RepositoryIndex", inference_pb2.RepositoryIndexRequest()),
        (f"{INFERENCE}/ModelMetadata", inference_pb2.ModelMetadataRequest(name="large")),
        (f"{INFERENCE}/ModelStatistics", inference_pb2.ModelStatisticsRequest()),
        (
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        ),
    ],
)  # fmt: skip
def test_every_answer_that_does_not_fit_into_a_message_is_refused(large, path, request_):
    with limited(large, 1024) as server:
        if path.endswith("ModelStatistics"):
            for i in range(30):
                InferenceStub(server.channel).ModelInfer(raw([[1, 1]], model=f"small-{i}"))
        call = server.channel.stream_stream(f"/{path}")
        error = refused(
            lambda request, timeout: list(call(iter([request]), timeout=timeout)),
            request_.SerializeToString(),
        )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    assert "expected an answer of at most 1024 bytes, got " in error.details()


@pytest.mark.parametrize("letter", ["a", "Ü", "\U0001f7e6"])
def test_an_error_fits_into_the_metadata_whatever_names_it_repeats(tmp_path, letter):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    predictor = random_predictor([20, 4], [], "softmax_cross_entropy")
    written = record(predictor, 20)
    features = [Feature(name=f"{i} {letter * 90}", min=-1, max=1) for i in range(20)]
    written = written.model_copy(
        update={"signature": written.signature.model_copy(update={"features": features})}
    )
    registry.publish("names", predictor, written, np.zeros((1, 20)))
    alias_changes.set_aliases(registry, "names", {"champion": 1}, reason="test")
    with ServerProcess(registry.root) as server:
        error = refused(server.stub.Explain, pb.ExplainRequest(model=pb.ModelRef(name="names")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
        assert error.details().startswith(f"features: expected 20 values, of 0 {letter}")
        found = details_of(error, error_details_pb2.BadRequest).field_violations
        assert [each.field for each in found] == ["features"]
        with QuadrantClient(server.address) as client, pytest.raises(InvalidInput) as caught:
            client.explain([0], model="names")
        assert str(caught.value).startswith("features: expected 20 values")
