"""Packed fields, encoded from arrays and decoded into arrays, compared with protobuf itself."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.packed_arrays import (
    decode_doubles,
    encode_doubles,
    encode_packed_field,
    split_fields,
)

X, Y = 2, 3

doubles = arrays.arrays(np.float64, st.integers(0, 300), elements=st.floats(width=64))
floats = arrays.arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32))
quadrants = arrays.arrays(np.uint8, st.integers(0, 300), elements=st.integers(0, 4))


def same(a, b):
    """Compare bytes, because NaN differs from itself."""
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


@given(x=doubles, y=doubles)
def test_doubles_are_encoded_as_protobuf_encodes_them(x, y):
    plain = pb.ClassifyRequest(x=x.tolist(), y=y.tolist()).SerializeToString()
    assert encode_doubles(X, x) + encode_doubles(Y, y) == plain


@given(numbers=quadrants, certainties=floats)
def test_an_answer_encoded_from_arrays_equals_one_from_lists(numbers, certainties):
    model = pb.ModelVersion(name="quadrants", version=7, digest="0" * 64)
    plain = pb.ClassifyResponse(
        model=model, quadrants=numbers.tolist(), certainties=certainties.tolist()
    )
    written = (
        pb.ClassifyResponse(model=model).SerializeToString()
        + encode_packed_field(2, numbers.tobytes())
        + encode_packed_field(3, certainties.tobytes())
    )
    assert same(pb.ClassifyResponse.FromString(written), plain)
    assert written == plain.SerializeToString()


@given(x=doubles, y=doubles, certainty=st.floats(0, 1, width=32), name=st.text(max_size=20))
def test_columns_are_decoded_and_the_rest_is_returned(x, y, certainty, name):
    message = pb.ClassifyRequest(
        model=pb.ModelRef(name=name), x=x.tolist(), y=y.tolist(), min_certainty=certainty
    )
    columns, rest = decode_doubles(message.SerializeToString(), (X, Y))
    empty = np.empty(0)
    np.testing.assert_array_equal(columns.get(X, empty), x)
    np.testing.assert_array_equal(columns.get(Y, empty), y)
    del message.x[:], message.y[:]
    assert same(pb.ClassifyRequest.FromString(rest), message)


@given(content=st.binary(max_size=100))
def test_any_bytes_are_decoded_as_protobuf_decodes_them_or_left_to_it(content):
    split = decode_doubles(content, (X, Y))
    if split is None:
        return
    columns, rest = split
    try:
        message = pb.ClassifyRequest.FromString(content)
    except DecodeError:
        # The fault is in the rest, which protobuf parses.
        with pytest.raises(DecodeError):
            pb.ClassifyRequest.FromString(rest)
        return
    empty = np.empty(0)
    np.testing.assert_array_equal(columns.get(X, empty), np.array(list(message.x)))
    np.testing.assert_array_equal(columns.get(Y, empty), np.array(list(message.y)))


def field(number, kind, content):
    return bytes([number << 3 | kind]) + content


ONE = np.array([1.0]).tobytes()


@pytest.mark.parametrize(
    "content",
    [
        # Not packed, which every parser must accept.
        field(X, 1, ONE) + field(Y, 1, ONE),
        # In two parts.
        field(X, 2, b"\x08" + ONE) * 2 + field(Y, 2, b"\x10" + ONE + ONE),
        # More than MAX_FIELDS fields.
        field(15, 0, b"\x01") * 50 + field(X, 2, b"\x08" + ONE) + field(Y, 2, b"\x08" + ONE),
    ],
)
def test_other_valid_encodings_are_left_to_protobuf(content):
    assert decode_doubles(content, (X, Y)) is None
    message = pb.ClassifyRequest.FromString(content)
    assert len(message.x) == len(message.y) > 0


@pytest.mark.parametrize(
    "content",
    [
        field(X, 2, b"\x10" + ONE),
        field(X, 2, b"\x07" + ONE[:7]),
        field(X, 2, b"\xff" * 10 + b"\x01"),
        field(X, 2, b""),
        b"\x80",
        field(X, 3, b""),
        field(1, 1, b"1234"),
    ],
)
def test_damaged_messages_are_left_to_protobuf_which_refuses_them(content):
    assert decode_doubles(content, (X, Y)) is None
    with pytest.raises(DecodeError):
        pb.ClassifyRequest.FromString(content)


@given(
    parts=st.lists(st.binary(max_size=300), max_size=4),
    id_=st.text(max_size=200),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)
@settings(deadline=None)
def test_splitting_a_message_loses_nothing(parts, id_, shape):
    request = inference_pb2.ModelInferRequest(
        id=id_, inputs=[{"name": "x", "shape": shape}], raw_input_contents=parts
    )
    content = request.SerializeToString()
    places, rest = split_fields(content, (7,))
    assert [content[start:end] for _, start, end in places] == parts
    request.ClearField("raw_input_contents")
    assert inference_pb2.ModelInferRequest.FromString(rest) == request
