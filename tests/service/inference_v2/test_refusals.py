"""Every invalid ModelInfer: the error names the tensor, what was expected and what was found."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support.inference_client import (
    FIELDS,
    MAX_ROWS,
    SERVICE,
    Input,
    Output,
    classified,
    outputs,
    raw,
    typed,
    with_contents,
    with_parameter,
)
from tests.support.serving import details_of, refused

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
X = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
x = Input(name="x", datatype="FP64", shape=[3, 2])
BYTES_FIELD = "raw_input_contents"
DATATYPES_TEXT = "one of FP32, FP64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64"
NAN = float("nan")


def changed(request, **fields):
    """Return the request with these fields changed, in its first input or in the request itself."""
    for name, value in fields.items():
        owner = request if hasattr(request, name) else request.inputs[0]
        if isinstance(value, list):
            del getattr(owner, name)[:]
            getattr(owner, name).extend(value)
        else:
            setattr(owner, name, value)
    return request


EXPECTED = "expected one input 'x' of shape [n, 2], with all features"


@pytest.mark.parametrize(
    ("request_", "field", "text"),
    [
        (
            changed(raw(X), inputs=[], raw_input_contents=[]),
            "inputs",
            f"{EXPECTED}; got no input",
        ),
        (
            changed(raw(X), inputs=[x, x], raw_input_contents=[b"", b""]),
            "inputs",
            f"{EXPECTED}; got 2 with this name",
        ),
        (changed(raw(X), name="points"), "inputs[0].name", f"{EXPECTED}; got 'points'"),
        (
            changed(raw(X), inputs=[x, Input(name="y")], raw_input_contents=[b"", b""]),
            "inputs[1].name",
            f"{EXPECTED}; got 'y'",
        ),
        *(
            (
                changed(raw(X), datatype=datatype),
                "inputs[0].datatype",
                f"input 'x': expected {DATATYPES_TEXT}; got '{datatype}'",
            )
            for datatype in ("BYTES", "BOOL", "FP16", "BF16", "fp32", "")
        ),
        *(
            (
                changed(raw(X), shape=shape),
                "inputs[0].shape",
                f"input 'x': expected [n, 2], rows of 2 features; got {shape}",
            )
            for shape in ([], [6], [2, 3], [3, 2, 1], [-1, 2], [3, -2], [2**62, 2**62], [-3, -2])
        ),
        (
            changed(raw(X), shape=[1] * 1000),
            "inputs[0].shape",
            (
                "input 'x': expected [n, 2], rows of 2 features; "
                "got [1, 1, 1, 1, 1, 1, 1, 1, 1, 1 and 990 more]"
            ),
        ),
        *(
            (
                changed(raw(X), shape=[rows, 2]),
                "inputs[0].shape",
                (
                    f"input 'x': expected at most 30000 rows per call; got {rows}; "
                    "send them in several calls"
                ),
            )
            for rows in (MAX_ROWS + 1, 2**62, 2**63 - 1)
        ),
        (
            changed(raw(X), raw_input_contents=[b"1234567"]),
            f"{BYTES_FIELD}[0]",
            "input 'x': expected 48 bytes for FP64 of shape [3, 2]; got 7",
        ),
        (
            changed(raw(X), datatype="INT16"),
            f"{BYTES_FIELD}[0]",
            "input 'x': expected 12 bytes for INT16 of shape [3, 2]; got 48",
        ),
        (
            changed(raw(X), raw_input_contents=[b"", b""]),
            BYTES_FIELD,
            "expected one element for each input, 1; got 2",
        ),
        (
            with_contents(raw(X), fp64_contents=[1, 2, 3, 4, 5, 6]),
            "inputs[0].contents",
            (
                "input 'x': expected no contents, because raw_input_contents has the numbers; "
                "got both; send the numbers once"
            ),
        ),
        (
            changed(raw(X), raw_input_contents=[]),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; "
                "got no numbers"
            ),
        ),
        (
            changed(typed(X), datatype="FP32"),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp32_contents, for FP32 of shape [3, 2]; "
                "got 6 in fp64_contents"
            ),
        ),
        (
            with_contents(typed(X), fp64_contents=[7]),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; "
                "got 7 in fp64_contents"
            ),
        ),
        (
            with_contents(typed(X), bytes_contents=[b"7"]),
            "inputs[0].contents",
            (
                "input 'x': expected 6 numbers in fp64_contents, for FP64 of shape [3, 2]; "
                "got 6 in fp64_contents and 1 in bytes_contents"
            ),
        ),
        *(
            (
                pb.ModelInferRequest(
                    inputs=[
                        Input(
                            name="x",
                            datatype=datatype,
                            shape=[1, 2],
                            contents=pb.InferTensorContents(**{FIELDS[datatype]: [least, wrong]}),
                        )
                    ]
                ),
                f"inputs[0].contents.{FIELDS[datatype]}[1]",
                f"input 'x': expected {datatype}, from {least} to {most}; got {wrong}",
            )
            for datatype, least, most, wrong in (
                ("INT8", -128, 127, 128),
                ("INT8", -128, 127, -129),
                ("INT16", -32768, 32767, 32768),
                ("UINT8", 0, 255, 256),
                ("UINT16", 0, 65535, 65536),
            )
        ),
        (
            raw([[0, 1], [NAN, 1]]),
            "x[1][0]",
            "expected a finite number, got nan",
        ),
        (
            typed([[0, 1], [0, float("-inf")]], "FP32"),
            "x[1][1]",
            "expected a finite number, got -inf",
        ),
        (
            raw(X, outputs=[Output(name="logits")]),
            "outputs[0].name",
            "expected 'probabilities' or 'label', got 'logits'",
        ),
        (
            raw(X, outputs=[Output(name="label"), Output(name="label")]),
            "outputs[1].name",
            "expected each output once, got 'label' again",
        ),
        *(
            (
                raw(X, outputs=classified(**value)),
                "outputs[0].parameters[classification]",
                (
                    "output 'probabilities': expected a number of classes from 1 as int64_param, "
                    f"got {came}"
                ),
            )
            for value, came in (
                ({"int64_param": 0}, "int64_param '0'"),
                ({"int64_param": -1}, "int64_param '-1'"),
                ({"string_param": "3"}, "string_param '3'"),
                ({"uint64_param": 3}, "uint64_param '3'"),
                ({"bool_param": True}, "bool_param 'True'"),
                ({}, "no value"),
            )
        ),
        (
            raw(X, outputs=classified("label", int64_param=1)),
            "outputs[0].parameters[classification]",
            (
                "output 'label': expected no class_count, because it has one class per row; "
                "request 'probabilities' instead"
            ),
        ),
        (
            raw(X, outputs=[with_parameter(Output(name="label"), "shared_memory_region")]),
            "outputs[0].parameters[shared_memory_region]",
            (
                "expected no such parameter, because this server has no shared memory; send and "
                "receive the values in the messages"
            ),
        ),
        (
            pb.ModelInferRequest(
                inputs=[
                    with_parameter(
                        Input(name="x", datatype="FP32", shape=[3, 2]),
                        "shared_memory_region",
                        string_param="mine",
                    )
                ]
            ),
            "inputs[0].parameters[shared_memory_region]",
            (
                "expected no such parameter, because this server has no shared memory; send and "
                "receive the values in the messages"
            ),
        ),
    ],
)
def test_an_invalid_request_names_the_tensor_what_was_expected_and_what_was_found(
    inference, request_, field, text
):
    error = refused(inference.ModelInfer, request_)
    assert (error.code(), error.details()) == (INVALID, f"{field}: {text}")
    violations = details_of(error, error_details_pb2.BadRequest).field_violations
    assert [(v.field, v.description) for v in violations] == [(field, text)]


def test_of_many_numbers_that_are_not_finite_the_first_are_named(inference):
    error = refused(inference.ModelInfer, raw([[1, 1]] * 3 + [[1, NAN]] * 20))
    assert (error.code(), error.details()) == (
        INVALID,
        "x[3][1]: expected a finite number, got nan (and 19 more faults)",
    )
    violations = details_of(error, error_details_pb2.BadRequest).field_violations
    assert [v.field for v in violations] == [f"x[{row}][1]" for row in range(3, 19)]


def test_bytes_that_cannot_be_parsed_are_refused(inference_server):
    for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        error = refused(inference_server.channel.unary_unary(f"/{SERVICE}/{method.name}"), b"\xff")
        assert error.code() is INVALID
        assert f"expected a message inference.{method.name}Request" in error.details()


@given(flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_get_an_answer_or_a_status_of_the_table(inference_server, flips):
    content = bytearray(typed(X, id="7", model_version="1").SerializeToString())
    for place, value in flips:
        content[place % len(content)] = value
    call = inference_server.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    try:
        outputs(pb.ModelInferResponse.FromString(call(bytes(content), timeout=10)))
    except grpc.RpcError as error:
        assert error.code() in (INVALID, NOT_FOUND), error


def peak_memory(server):
    """Return the peak resident memory of the server's process, in MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def test_a_large_message_with_many_fields_is_refused_before_it_takes_forty_times_the_memory(
    inference_server,
):
    before = peak_memory(inference_server)
    error = refused(
        inference_server.channel.unary_unary(f"/{SERVICE}/ModelInfer"), b"\x2a\x00" * 10_000_000
    )
    assert error.code() is INVALID
    assert error.details().startswith("request: expected at most 16384 inputs, outputs, parameters")
    # The message has 20 MB, which gRPC itself holds for a moment.
    assert peak_memory(inference_server) - before < 100
