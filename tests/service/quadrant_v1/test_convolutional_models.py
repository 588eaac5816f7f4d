"""A served convolutional model: described, explained and called as it computes."""

import grpc
import numpy as np
import pytest

from quadnet.registry import Registry
from service.client import QuadrantClient
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.inference_client import InferenceStub, outputs, raw
from tests.support.layer_reference import ACTIVATIONS, compute_layer, compute_network, traced_values
from tests.support.picture_models import KINDS, SIDE, make_pictures, publish_pictures
from tests.support.serving import ServerProcess, refused

TOLERANCES = {"float64": {"rtol": 1e-9, "atol": 1e-12}, "float32": {"rtol": 1e-3, "atol": 1e-5}}


@pytest.fixture(scope="module")
def predictors():
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory, predictors):
    registry = Registry(tmp_path_factory.mktemp("pictures") / "registry")
    publish(registry)
    for dtype in TOLERANCES:
        predictors[dtype] = publish_pictures(registry, dtype, dtype)
    with ServerProcess(registry.root) as process:
        yield process


@pytest.fixture
def client(server):
    with QuadrantClient(server.address) as client:
        yield client


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_client_computes_the_answer_of_model_infer_from_get_model(server, client, dtype):
    layers = client.get_model(dtype).layers
    assert [layer.kind for layer in layers] == KINDS
    X = make_pictures(5)
    answered = outputs(InferenceStub(server.channel).ModelInfer(raw(X, "FP64", dtype)))
    expected = [compute_network(layers, x.reshape(1, SIDE, SIDE)) for x in X]
    np.testing.assert_allclose(answered["probabilities"], expected, **TOLERANCES[dtype])
    labels = [str(np.argmax(row)).encode() for row in expected]
    assert answered["label"].tolist() == labels


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_each_layer_is_explained_by_its_values(client, dtype):
    (x,) = make_pictures(1)
    layers, explained = client.get_model(dtype).layers, client.explain(x, model=dtype)
    A = x.reshape(1, SIDE, SIDE)
    for layer, traced in zip(layers, explained.layers, strict=True):
        before, after = traced_values(traced)
        assert after.shape == tuple(layer.output_shape)
        np.testing.assert_allclose(before, compute_layer(layer, A), **TOLERANCES[dtype])
        A = ACTIVATIONS[layer.activation](before)
        np.testing.assert_allclose(after, A, **TOLERANCES[dtype])
        A = after
    np.testing.assert_allclose(explained.probabilities, A, rtol=1e-6)
    assert explained.label == str(A.argmax())


@pytest.mark.parametrize("n_rows", [0, 1, 300, 5000])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_batches_of_any_size_are_answered_as_by_the_predictor(server, predictors, dtype, n_rows):
    X = make_pictures(n_rows)
    answered = outputs(InferenceStub(server.channel).ModelInfer(raw(X, "FP64", dtype)))
    expected = predictors[dtype].probabilities(X)
    # Sums of slices may be rounded in another order.
    rtol = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(answered["probabilities"], expected, rtol=rtol, atol=rtol / 100)
    assert answered["label"].tolist() == [str(i).encode() for i in expected.argmax(axis=1)]


def test_the_input_of_model_infer_is_a_row_of_pixels(server):
    request = inference_pb2.ModelMetadataRequest(name="float32")
    (described,) = InferenceStub(server.channel).ModelMetadata(request).inputs
    assert (described.datatype, list(described.shape)) == ("FP32", [-1, SIDE * SIDE])


def test_a_model_of_pictures_is_not_asked_for_points(server):
    request = pb.ClassifyRequest(model=pb.ModelRef(name="float64"), x=[0], y=[0])
    error = refused(server.stub.Classify, request)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "has 64 features" in error.details()
    assert "ModelInfer" in error.details()


@pytest.mark.parametrize(
    ("method", "field"), [("GetModel", {}), ("Explain", {"features": [0] * 64})]
)
def test_a_description_that_does_not_fit_into_a_message_is_refused(tmp_path, server, method, field):
    registry = Registry(tmp_path / "registry")
    publish_pictures(registry, "quadrants")
    requests = {"GetModel": pb.GetModelRequest, "Explain": pb.ExplainRequest}
    size = getattr(server.stub, method)(
        requests[method](model=pb.ModelRef(name="float64"), **field)
    ).ByteSize()
    with ServerProcess(registry.root, "--max-message-bytes", str(size // 2)) as small:
        error = refused(getattr(small.stub, method), requests[method](**field))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"expected an answer of at most {size // 2} bytes, got " in error.details()
