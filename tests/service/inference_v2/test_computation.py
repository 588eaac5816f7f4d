"""Batches of ModelInfer: without rows, with many rows, and with the same numbers as Classify."""

import grpc
import numpy as np
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2
from tests.support.inference_client import DTYPES, MAX_ROWS, InferenceStub, outputs, raw, typed
from tests.support.serving import ServerProcess, refused


@pytest.mark.parametrize("points", [0, 1, 100, 20_000])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("ask", [raw, typed])
def test_answers_equal_those_of_classify_bit_for_bit(
    inference_server, inference, points, datatype, ask
):
    X = np.random.default_rng(points).normal(size=(points, 2)).astype(DTYPES[datatype])
    answered = outputs(inference.ModelInfer(ask(X, datatype)))
    classified = inference_server.stub.Classify(
        quadrant_pb2.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)
    )
    np.testing.assert_array_equal(
        answered["probabilities"].astype(np.float32).ravel(),
        np.array(classified.all_certainties, np.float32),
    )
    quadrants = [quadrant_pb2.Quadrant.Name(q) for q in classified.quadrants]
    assert [f"QUADRANT_{label.decode()}" for label in answered["label"]] == quadrants


@pytest.mark.parametrize("ask", [raw, typed])
def test_a_batch_without_rows_gets_empty_outputs(inference, ask):
    response = inference.ModelInfer(ask(np.empty((0, 64)), "FP32", "digits"))
    answered = outputs(response)
    assert {name: array.shape for name, array in answered.items()} == {
        "probabilities": (0, 10),
        "label": (0,),
    }
    assert len(response.raw_output_contents) == (2 if ask is raw else 0)


def test_rows_that_overflow_get_equal_probabilities_and_no_label(inference):
    request = raw([[1e308, 1e308], [1, 1]])
    answered = outputs(inference.ModelInfer(request))
    assert answered["label"].tolist() == [b"", b"I"]
    assert answered["probabilities"][0].tolist() == [0.25] * 4
    # Finite as sent, but not in the model's float32.
    answered = outputs(inference.ModelInfer(raw(np.full((1, 64), 1e300), "FP64", "digits")))
    assert np.isfinite(answered["probabilities"]).all()


def test_a_batch_of_the_published_maximum_size_is_answered(inference):
    answered = outputs(inference.ModelInfer(raw(np.zeros((MAX_ROWS, 2)), "INT8")))
    assert answered["probabilities"].shape == (MAX_ROWS, 4)


def test_an_answer_over_the_message_limit_is_refused_with_advice(inference_models):
    registry, _ = inference_models
    with ServerProcess(registry.root, "--max-message-bytes", "4096") as server:
        stub = InferenceStub(server.channel)
        request = raw(np.zeros((150, 2)), "INT8")
        error = refused(stub.ModelInfer, request)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("outputs: expected an answer of at most 4096 bytes, got")
        request.outputs.add(name="label")
        assert len(outputs(stub.ModelInfer(request))["label"]) == 150
        _, _, log = server.stop()
        assert not [line for line in log if line.get("level") == "error"]
