"""REST bodies: JSON and the binary tensor data extension, read by the standard library's json."""

import json
import math

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from quadnet.errors import InvalidInput
from service.inference_v2.answers import InferAnswer, OutputValues
from service.inference_v2.json_bodies import JSON, JsonEncoding, decode_body
from service.inference_v2.json_messages import index_to_json, message_to_json
from tests.support.inference_client import DTYPES, elements
from tests.support.inference_in_process import InProcessInference

POINTS = [[0.5, 0.5], [-0.3, 0.8]]


@pytest.fixture(scope="module")
def inference(inference_models):
    return InProcessInference(inference_models[0], "quadrants", max_points=1000)


def body(data=POINTS, shape=(2, 2), datatype="FP64", **fields):
    tensor = {"name": "x", "shape": list(shape), "datatype": datatype, "data": data}
    return {"inputs": [tensor | fields.pop("tensor", {})], **fields}


def encode(value):
    return json.dumps(value).encode()


def binary(values, datatype, **fields):
    """Return a body with an input in binary form, and the length of its JSON."""
    content = np.asarray(values, DTYPES[datatype]).tobytes()
    tensor = {"name": "x", "shape": list(np.shape(values)), "datatype": datatype}
    tensor["parameters"] = {"binary_data_size": len(content)}
    header = encode({"inputs": [tensor], **fields})
    return header + content, len(header)


def infer(inference, value, **options):
    answer = inference.infer_body(encode(value), **options)
    assert answer.header_length is None
    return json.loads(answer.body)


def test_a_json_body_is_answered_in_json(inference):
    found = infer(inference, body(id="seven", parameters={"anything": 1}), model="quadrants")
    assert (found["model_name"], found["model_version"], found["id"]) == ("quadrants", "1", "seven")
    probabilities, label = found["outputs"]
    assert (probabilities["name"], probabilities["shape"]) == ("probabilities", [2, 4])
    P = inference.live.current.classifier.probabilities_by_class(np.array(POINTS)).T
    assert probabilities["data"] == P.ravel().tolist()
    assert label == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["I", "II"]}


def test_nan_that_json_does_not_have_is_null():
    name = 'NaN, "NaN'
    tensor = {"name": name, "shape": [3], "datatype": "FP64", "data": [1.0, float("nan"), 2.0]}
    request, _ = decode_body(encode({"inputs": [tensor]}), None, model="m", version="")
    (found,) = request.inputs
    assert found.name == name
    np.testing.assert_array_equal(found.read_numbers(may_be_missing=True), [1.0, np.nan, 2.0])


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
def test_every_datatype_gives_the_answers_of_the_library(
    inference, inference_models, datatype, form
):
    X = np.random.default_rng(1).integers(0, 17, (300, 64)).astype(DTYPES[datatype])
    if form == "binary":
        answer = inference.infer_body(*binary(X, datatype), model="digits")
        found = json.loads(answer.body)
    else:
        data = X.tolist() if form == "nested" else X.ravel().tolist()
        found = infer(inference, body(data, X.shape, datatype), model="digits")
    P = inference_models[1]["digits"].probabilities_by_class(X).T
    (probabilities, _) = found["outputs"]
    assert probabilities["datatype"] == "FP32"
    np.testing.assert_array_equal(
        np.array(probabilities["data"], np.float32).reshape(X.shape[0], 10), P
    )


@pytest.mark.parametrize(
    ("fields", "is_binary"),
    [
        ({"parameters": {"binary_data_output": True}}, {"probabilities": True, "label": True}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [
                    {"name": "label"},
                    {"name": "probabilities", "parameters": {"binary_data": False}},
                ],
            },
            {"label": True, "probabilities": False},
        ),
        (
            {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
            {"probabilities": True},
        ),
        ({"outputs": []}, {"probabilities": False, "label": False}),
    ],
)
def test_each_output_is_binary_if_the_request_says_so(inference, fields, is_binary):
    content, length = binary(POINTS, "FP64", **fields)
    answer = inference.infer_body(content, length)
    header = json.loads(answer.body[: answer.header_length])
    rest = answer.body[answer.header_length :] if any(is_binary.values()) else b""
    expected = infer(inference, body())["outputs"]
    assert [output["name"] for output in header["outputs"]] == [*is_binary]
    for output in header["outputs"]:
        (plain,) = [each["data"] for each in expected if each["name"] == output["name"]]
        assert ("data" in output) is not is_binary[output["name"]]
        if "data" in output:
            assert output["data"] == plain
            continue
        size = output["parameters"]["binary_data_size"]
        values, rest = rest[:size], rest[size:]
        if output["datatype"] == "BYTES":
            assert [each.decode() for each in elements(values)] == plain
        else:
            assert np.frombuffer(values, "<f8").tolist() == plain
    assert rest == b""
    assert (answer.header_length is not None) is any(is_binary.values())


def test_class_count_is_answered_in_json(inference):
    found = infer(
        inference,
        body([[0, 0]], (1, 2), "INT8")
        | {"outputs": [{"name": "probabilities", "parameters": {"classification": 3}}]},
    )
    (output,) = found["outputs"]
    assert (output["shape"], output["datatype"]) == ([1, 3], "BYTES")
    assert output["data"] == ["0.250000:0:I", "0.250000:1:II", "0.250000:2:III"]


@given(st.lists(st.floats(width=32), max_size=20), st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_numbers_and_texts_read_back_equal(values, text):
    for dtype in (np.float32, np.float64):
        array = np.array(values, dtype)
        output = OutputValues("a", "FP32", array.shape, JSON, JSON.encode_array(array))
        head, tail = JSON.split_text(text)
        names = [JSON.encode_text(text), b"%b%.6f%b" % (head, 0.5, tail)]
        texts = OutputValues("b", "BYTES", (2,), JSON, b",".join(names))
        answer = InferAnswer("", "m", 1, [output, texts], {"unknown_categories": text})
        content = JsonEncoding(is_binary=False).encode(answer).body
        found = json.loads(content)
        numbers, strings = (each["data"] for each in found["outputs"])
        expected = [float(v) if math.isfinite(v) else None for v in array]
        read = [None if v is None else float(dtype(v)) for v in numbers]
        assert read == expected
        # The shortest text that reads back equal, as NumPy writes it.
        for number, value in zip(numbers, array, strict=True):
            if number is not None:
                assert number == float(str(value))
        assert strings == [text, "0.500000" + text]
        assert found["parameters"] == {"unknown_categories": text}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [[1, 2], [3]]}, "inputs[0].data[1]: input 'x': expected 2 values, for the shape"),
        ({"data": [[1, 2], 3]}, "inputs[0].data[1]: input 'x': expected a list of 2 values; got 3"),
        ({"data": [1, 2, 3]}, "inputs[0].data: input 'x': expected 4 values, for the shape [2, 2]"),
        ({"data": [[[1, 2]], [[3, 4]]]}, "inputs[0].data[0]: input 'x': expected 2 values"),
        (
            {"data": [1, 2, "3", 4]},
            "inputs[0].data[2]: input 'x': expected a number, for FP64; got the text '3'",
        ),
        ({"data": [[1, 2], [3, None]]}, "inputs[0].data[1][1]: input 'x': expected a number"),
        ({"data": [1, 2, True, 4]}, "inputs[0].data[2]: input 'x': expected a number, for FP64"),
        (
            {"data": [1, 2, 3, 1.5], "datatype": "INT64"},
            "inputs[0].data[3]: input 'x': expected an integer, for INT64; got 1.5",
        ),
        (
            {"data": [1, 2, 3, 300], "datatype": "UINT8"},
            "inputs[0].data[3]: input 'x': expected UINT8, from 0 to 255; got 300",
        ),
        (
            {"data": [1, 2, 3, -1], "datatype": "UINT64"},
            "inputs[0].data[3]: input 'x': expected UINT64, from 0 to 18446744073709551615; got -1",
        ),
        (
            {"data": [1, 2, 1e39, 1], "datatype": "FP32"},
            "inputs[0].data[2]: input 'x': expected FP32, from -3.4028234663852886e+38",
        ),
        ({"data": None}, "inputs[0].data: expected a list of values, or the parameter"),
        ({"data": "abcd"}, "inputs[0].data: expected a list of values"),
        ({"shape": "2"}, "inputs[0].shape: expected a list of integers, got the text '2'"),
        ({"shape": [2.0, 2]}, "inputs[0].shape: expected a list of integers"),
        ({"shape": [2, True]}, "inputs[0].shape: expected a list of integers"),
        ({"shape": [-2, -2]}, "inputs[0].shape: input 'x': expected [n, 2]"),
        ({"shape": None}, "inputs[0].shape: expected a list of integers, got null or no value"),
        ({"name": 7}, "inputs[0].name: expected a text, got 7"),
        ({"datatype": None}, "inputs[0].datatype: expected a text"),
        ({"parameters": []}, "inputs[0].parameters: expected an object, got a list of 0 values"),
        (
            {"parameters": {"shared_memory_region": "a"}},
            "inputs[0].parameters[shared_memory_region]: expected no such parameter",
        ),
        (
            {"parameters": {"binary_data_size": 8}},
            "inputs[0].data: expected no data beside binary_data_size, got both",
        ),
        (
            {"parameters": {"binary_data_size": 8}, "data": None},
            "inputs[0].parameters[binary_data_size]: expected the header Inference-Header",
        ),
    ],
)
def test_a_wrong_input_is_refused_by_its_path(inference, changes, message):
    with pytest.raises(InvalidInput) as caught:
        infer(inference, body(tensor=changes))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "request: expected JSON in UTF-8, got 0 bytes"),
        (b'{"inputs": [Infinity]}', "request: expected JSON in UTF-8"),
        (b'{"inputs": [NaN, "\\"NaN}', "request: expected JSON in UTF-8"),
        (b"\xff", "request: expected JSON in UTF-8"),
        (b"[" * 3000, "request: expected JSON in UTF-8"),
        (b"[1]", "request: expected a JSON object, got a list of 1 values"),
        (b"[" * 3_000_000, "request: expected JSON with at most 8,388,608 values in 2,097,152"),
        (b"{}", "inputs: expected a list of inputs, got null or no value"),
        (b'{"inputs": {}}', "inputs: expected a list of inputs, got an object"),
        (b'{"inputs": [1]}', "inputs[0]: expected an object, got 1"),
        (
            b'{"inputs": []}',
            "inputs: expected one input 'x' of shape [n, 2], with all features; got no",
        ),
        (encode(body(id=7)), "id: expected a text, got 7"),
        (encode(body(parameters=7)), "parameters: expected an object, got 7"),
        (
            encode(body(parameters={"binary_data_output": 1})),
            "parameters[binary_data_output]: expected true or false, got 1",
        ),
        (encode(body(outputs={"a": 1})), "outputs: expected a list of outputs, got an object"),
        (encode(body(outputs=0)), "outputs: expected a list of outputs, got 0"),
        (encode(body(outputs=[{}])), "outputs[0].name: expected a text"),
        (encode(body(outputs=[{"name": "a"}])), "outputs[0].name: expected 'probabilities' or"),
        (
            encode(body(outputs=[{"name": "label", "parameters": {"classification": 0}}])),
            "outputs[0].parameters[classification]: output 'label': expected a number of classes",
        ),
    ],
)
def test_a_wrong_body_is_refused_by_its_path(inference, content, message):
    with pytest.raises(InvalidInput) as caught:
        inference.infer_body(content)
    assert str(caught.value).startswith(message)


def test_binary_values_must_have_the_announced_size(inference):
    content, length = binary(POINTS, "FP64")
    for wrong, at, message in (
        (content + b"1", length, "request: expected 32 bytes after the JSON, the sum of"),
        (content[:-1], length, "inputs[0].parameters[binary_data_size]: expected at most the 31"),
        (content, len(content) + 1, "request: expected a header Inference-Header-Content-Length"),
        (content, -1, "request: expected a header Inference-Header-Content-Length"),
        (content, length - 1, "request: expected JSON"),
        (content, None, "request: expected JSON"),
    ):
        with pytest.raises(InvalidInput) as caught:
            inference.infer_body(wrong, at)
        assert str(caught.value).startswith(message)
    header = encode(body(tensor={"parameters": {"binary_data_size": 16}, "data": None}))
    with pytest.raises(InvalidInput, match="expected 32 bytes for FP64 of shape"):
        inference.infer_body(header + bytes(16), len(header))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
keys = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "outputs"])


@given(
    tensor=st.dictionaries(keys, json_values, max_size=2),
    fields=st.dictionaries(keys, json_values, max_size=1),
    tail=st.binary(max_size=3),
    length=st.none() | st.integers(0, 200),
)
@settings(max_examples=150, deadline=None)
def test_any_body_is_answered_or_refused(inference, tensor, fields, tail, length):
    content = json.dumps(body(tensor=tensor) | fields).encode() + tail
    try:
        answer = inference.infer_body(content, length)
    except InvalidInput as error:
        assert error.violations
    else:
        assert json.loads(answer.body)["model_name"] == "quadrants"


def test_messages_have_numbers_where_the_protocol_has_numbers(inference):
    described = inference.call("model_metadata", "digits", "")
    found = message_to_json(described)
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]
    assert found["properties"] == dict(described.properties)
    statistics = inference.call("model_statistics", "", "")
    found = message_to_json(statistics)
    assert type(found["model_stats"][0]["inference_count"]) is int
    config = inference.call("model_config", "digits", "").config
    assert message_to_json(config)["input"][0] == {
        "name": "x",
        "data_type": "TYPE_FP32",
        "dims": [64],
    }
    index = inference.call("repository_index", "", only_ready=True)
    assert index_to_json(index)[0] == {
        "name": "digits", "version": "1", "state": "READY", "reason": ""
    }  # fmt: skip
    # protobuf reads them back.
    for message in (described, statistics, config):
        kind = type(message)
        assert json_format.ParseDict(message_to_json(message), kind()) == message


def test_the_request_has_what_the_path_has():
    request, _ = decode_body(encode(body()), None, model="m", version="7")
    assert (request.model, request.version, request.id) == ("m", "7", "")
