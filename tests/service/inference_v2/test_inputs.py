"""Inputs of the Open Inference Protocol: any model, any datatype, raw and typed."""

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.inference_v2.grpc_messages import decode_request
from service.inference_v2.matrix_input import read_matrix
from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support.inference_client import (
    DTYPES,
    FIELDS,
    Input,
    Output,
    outputs,
    raw,
    typed,
    with_contents,
)


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("ask", [raw, typed])
@pytest.mark.parametrize("model", ["digits", "irises", "binary"])
def test_every_model_accepts_every_datatype(inference, inference_models, model, ask, datatype):
    predictor = inference_models[1][model]
    X = np.random.default_rng(0).uniform(0, 9, (50, predictor.n_features))
    X = X.astype(DTYPES[datatype])
    response = inference.ModelInfer(ask(X, datatype, model))
    assert (response.model_name, response.model_version, response.id) == (model, "1", "")
    answered = outputs(response)
    assert list(answered) == ["probabilities", "label"]
    assert answered["probabilities"].dtype == predictor.dtype
    # Equal bit for bit to `probabilities_by_class`, and up to rounding to `probabilities`.
    by_class = predictor.probabilities_by_class(X)
    np.testing.assert_array_equal(answered["probabilities"], by_class.T)
    rounding = 100 * np.finfo(predictor.dtype).eps
    np.testing.assert_allclose(by_class.T, predictor.probabilities(X), rtol=0, atol=rounding)
    names = predictor.predict(X).tolist()
    assert answered["label"].tolist() == [name.encode() for name in names]
    assert bool(response.raw_output_contents) is (ask is raw)


dimension = st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1))
shapes = st.one_of(
    st.tuples(st.integers(0, 5), st.just(2)), st.lists(dimension, max_size=4).map(tuple)
)


@given(
    shape=shapes,
    datatype=st.sampled_from([*DTYPES, "BYTES", "BOOL", "FP16", ""]),
    data=st.data(),
    parts=st.integers(0, 2),
    contents=st.booleans(),
    asked=st.lists(st.sampled_from(["probabilities", "label", "other"]), max_size=3),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tensor_gets_an_answer_or_is_refused(
    inference, shape, datatype, data, parts, contents, asked
):
    dtype = np.dtype(DTYPES.get(datatype, "u1"))
    fits = len(shape) == 2 and shape[1] == 2 and 0 <= shape[0] <= 5
    exact = 2 * shape[0] * dtype.itemsize if fits else 0
    length = data.draw(st.one_of(st.just(exact), st.integers(0, 100)))
    values = data.draw(st.binary(min_size=length, max_size=length))
    request = pb.ModelInferRequest(
        inputs=[Input(name="x", datatype=datatype, shape=shape)],
        outputs=[Output(name=name) for name in asked],
        raw_input_contents=[values] * parts,
    )
    if contents:
        n = data.draw(st.integers(0, 10))
        field = FIELDS.get(datatype, "bytes_contents")
        value = b"7" if field == "bytes_contents" else 7
        with_contents(request, **{field: [value] * n})
        # Empty contents count as absent.
        contents = n > 0
    n_sent = length / dtype.itemsize if parts else (n if contents else 0)
    good = (
        fits
        and datatype in DTYPES
        and (parts == 0 or (parts == 1 and not contents))
        and n_sent == 2 * shape[0]
        and (not parts or bool(np.isfinite(np.frombuffer(values, dtype)).all()))
        and len(asked) == len(set(asked))
        and "other" not in asked
    )
    try:
        response = inference.ModelInfer(request, timeout=10)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
        assert not good
        return
    assert good
    answered = outputs(response)
    assert list(answered) == (asked or ["probabilities", "label"])
    assert all(len(array) == shape[0] for array in answered.values())
    for row in answered.get("probabilities", []):
        assert np.isclose(row.sum(), 1)


@given(
    before=st.text(max_size=8),
    rows=st.integers(0, 4),
    datatype=st.sampled_from(sorted(DTYPES)),
)
@settings(deadline=None)
def test_raw_numbers_are_used_in_place_if_they_are_aligned(before, rows, datatype):
    values = np.arange(2 * rows).reshape(rows, 2).astype(DTYPES[datatype])
    content = raw(values, datatype, id=before).SerializeToString()
    request, _ = decode_request(content)
    assert request.id == before
    decoded = read_matrix(request.inputs, n_features=2, max_rows=10)
    np.testing.assert_array_equal(decoded, values)
    assert decoded.flags.aligned
    message = np.frombuffer(content, np.uint8)
    if rows:
        # The values are the last field of the message.
        start = message.ctypes.data + len(content) - values.nbytes
        in_place = start % values.itemsize == 0
        assert np.shares_memory(decoded, message) is in_place
