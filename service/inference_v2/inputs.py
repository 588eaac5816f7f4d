"""Decodes and checks an `inference.ModelInferRequest`; the result is one array.

An error names the tensor, what was expected and what was found. If the alignment allows it, the
array is a view of the message. It keeps the datatype that was sent: each slice is converted when it
is computed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import Facts, InvalidInput, Violation, listing, shorten
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire import packed_arrays
from service.wire.checks import MAX_POINTS, check_finite_numbers
from service.wire.messages import parse_message
from service.wire.packed_arrays import split_fields

INPUT = "x"

SHARED_MEMORY = "shared_memory_region"

_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER

_MAX_BYTES_OF_MANY_FIELDS = 2**20
"""Maximum size of a message with more than MAX_FIELDS fields. Protobuf's parser needs forty times
the memory of a message that consists of empty inputs."""

Buffer: TypeAlias = bytes | memoryview

_CONTENTS_DTYPES: dict[str, np.dtype[Any]] = {
    "int_contents": np.dtype("<i4"),
    "int64_contents": np.dtype("<i8"),
    "uint_contents": np.dtype("<u4"),
    "uint64_contents": np.dtype("<u8"),
    "fp32_contents": np.dtype("<f4"),
    "fp64_contents": np.dtype("<f8"),
}


class Datatype(NamedTuple):
    """The representation of numbers: raw as `dtype`, or typed in the field `contents`."""

    dtype: np.dtype[Any]
    contents: str


INPUT_DATATYPES = {
    "FP32": Datatype(np.dtype("<f4"), "fp32_contents"),
    "FP64": Datatype(np.dtype("<f8"), "fp64_contents"),
    "INT8": Datatype(np.dtype("<i1"), "int_contents"),
    "INT16": Datatype(np.dtype("<i2"), "int_contents"),
    "INT32": Datatype(np.dtype("<i4"), "int_contents"),
    "INT64": Datatype(np.dtype("<i8"), "int64_contents"),
    "UINT8": Datatype(np.dtype("<u1"), "uint_contents"),
    "UINT16": Datatype(np.dtype("<u2"), "uint_contents"),
    "UINT32": Datatype(np.dtype("<u4"), "uint_contents"),
    "UINT64": Datatype(np.dtype("<u8"), "uint64_contents"),
}


def decode_request(content: bytes) -> tuple[pb.ModelInferRequest, Sequence[Buffer]]:
    """Return a ModelInferRequest without its raw contents, and its raw contents, without a copy.

    Raises
    ------
    InvalidInput
        If the bytes are not such a message, or are a large one with many fields.
    """
    parts = split_fields(content, (_RAW,))
    if parts is None:
        if len(content) > _MAX_BYTES_OF_MANY_FIELDS:
            raise InvalidInput(
                [
                    Violation(
                        "request",
                        f"expected at most {packed_arrays.MAX_FIELDS} inputs, outputs, parameters "
                        "and other fields in a message of more than "
                        f"{_MAX_BYTES_OF_MANY_FIELDS} bytes, got more",
                    )
                ]
            )
        request = parse_message(pb.ModelInferRequest, content)
        return request, request.raw_input_contents
    places, rest = parts
    view = memoryview(content)
    return parse_message(pb.ModelInferRequest, rest), [view[start:end] for _, start, end in places]


def decode_input(
    request: pb.ModelInferRequest, raw: Sequence[Buffer], *, n_features: int, max_rows: int
) -> NDArray[Any]:
    """Return the request's input, of shape (n_rows, n_features), in the datatype that was sent.

    Raises
    ------
    InvalidInput
        If there is not exactly one input with this name, datatype and shape, it has too many rows,
        or a number is not finite.
    """
    names = [tensor.name for tensor in request.inputs]
    if names != [INPUT]:
        _raise_wrong_inputs(names)
    tensor = request.inputs[0]
    datatype = INPUT_DATATYPES.get(tensor.datatype)
    if datatype is None:
        _raise_invalid_input(
            "inputs[0].datatype", f"one of {listing([*INPUT_DATATYPES])}", shorten(tensor.datatype)
        )
    if tensor.parameters:
        refuse_shared_memory(tensor.parameters, "inputs[0]")
    shape = tuple(tensor.shape)
    _check_shape(shape, n_features, max_rows)
    n_values = shape[0] * shape[1]
    if raw:
        X = _from_raw(tensor, datatype, n_values, raw).reshape(shape)
    else:
        X = _from_contents(tensor, datatype, n_values).reshape(shape)
    if datatype.dtype.kind == "f":
        check_finite_numbers(X, lambda row, column: f"{INPUT}[{row}][{column}]")
    return X


def refuse_shared_memory(parameters: Any, field: str) -> None:
    """Raise InvalidInput if the parameters place the tensor's values in shared memory."""
    if SHARED_MEMORY in parameters:
        raise InvalidInput(
            [
                Violation(
                    f"{field}.parameters[{SHARED_MEMORY}]",
                    "expected no such parameter, because this server has no shared memory; send "
                    "and receive the values in the messages",
                )
            ]
        )


def _check_shape(shape: tuple[int, ...], n_features: int, max_rows: int) -> None:
    field = "inputs[0].shape"
    if len(shape) != 2 or shape[1] != n_features or shape[0] < 0:
        _raise_invalid_input(
            field, f"[n, {n_features}], rows of {n_features} features", format_shape(shape)
        )
    if shape[0] > max_rows:
        _raise_invalid_input(
            field,
            f"at most {max_rows} rows per call",
            f"{shape[0]}; send them in several calls",
            facts={MAX_POINTS: max_rows},
        )


def _from_raw(
    tensor: pb.ModelInferRequest.InferInputTensor,
    datatype: Datatype,
    n_values: int,
    raw: Sequence[Buffer],
) -> NDArray[Any]:
    # Some clients send an empty `contents`.
    if tensor.contents.ListFields():
        _raise_invalid_input(
            "inputs[0].contents",
            "no contents, because raw_input_contents has the numbers",
            "both; send the numbers once",
        )
    if len(raw) != 1:
        _raise_invalid_input("raw_input_contents", "1 element, for 1 input", str(len(raw)))
    n_bytes = n_values * datatype.dtype.itemsize
    if len(raw[0]) != n_bytes:
        _raise_invalid_input(
            "raw_input_contents[0]",
            f"{n_bytes} bytes for {tensor.datatype} of shape {format_shape(tensor.shape)}",
            str(len(raw[0])),
        )
    flat = np.frombuffer(raw[0], datatype.dtype)
    # The offset in the message depends on the other fields. Computations need aligned arrays.
    return flat if flat.flags.aligned else flat.copy()


def _from_contents(
    tensor: pb.ModelInferRequest.InferInputTensor, datatype: Datatype, n_values: int
) -> NDArray[Any]:
    sent = {field.name: len(values) for field, values in tensor.contents.ListFields()}
    if sent != ({datatype.contents: n_values} if n_values else {}):
        _raise_invalid_input(
            "inputs[0].contents",
            f"{n_values} numbers in {datatype.contents}, for {tensor.datatype} of shape "
            f"{format_shape(tensor.shape)}",
            " and ".join(f"{n} in {field}" for field, n in sent.items()) or "no numbers",
        )
    dtype = _CONTENTS_DTYPES[datatype.contents]
    values: NDArray[Any] = np.array(getattr(tensor.contents, datatype.contents), dtype=dtype)
    if datatype.dtype.itemsize < dtype.itemsize:
        limits = np.iinfo(datatype.dtype)
        wrong = np.flatnonzero((values < limits.min) | (values > limits.max))
        if len(wrong):
            _raise_invalid_input(
                f"inputs[0].contents.{datatype.contents}[{wrong[0]}]",
                f"{tensor.datatype}, from {limits.min} to {limits.max}",
                str(values[wrong[0]]),
            )
    return values


def _raise_wrong_inputs(names: Sequence[str]) -> NoReturn:
    for i, name in enumerate(names):
        if name != INPUT:
            raise InvalidInput(
                [Violation(f"inputs[{i}].name", f"expected {INPUT!r}, got {shorten(name)}")]
            )
    found = "no input" if not names else f"{len(names)} with this name"
    raise InvalidInput([Violation("inputs", f"expected one input {INPUT!r}, got {found}")])


def _raise_invalid_input(
    field: str, expected: str, found: str, *, facts: Facts | None = None
) -> NoReturn:
    violation = Violation(field, f"input {INPUT!r}: expected {expected}; got {found}")
    raise InvalidInput([violation], facts=facts)


def format_shape(shape: Sequence[int]) -> str:
    """Return the shape for an error message, with the first sizes only if there are many."""
    return f"[{listing([str(size) for size in shape])}]" if shape else "[]"
