"""Decodes `inference.ModelInferRequest` and encodes `inference.ModelInferResponse`.

Raw contents are not copied: if the alignment allows it, the array of an input is a view of the
message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.tables.columns import Texts
from service.inference_v2.answers import AnswerEncoding, EncodedAnswer, InferAnswer
from service.inference_v2.tensors import (
    NUMBER_DTYPES,
    SHARED_MEMORY,
    Buffer,
    InferRequest,
    InputTensor,
    RawTensor,
    RequestedOutput,
    decode_texts,
    format_shape,
    refuse_shared_memory,
)
from service.inference_v2.value_encodings import RAW, TYPED, TYPED_FIELDS, ValueEncoding
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.messages import parse_message
from service.wire.packed_arrays import (
    MAX_FIELDS,
    encode_element,
    encode_packed_field,
    split_fields,
)

CLASSIFICATION = "classification"

_RAW_INPUTS = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER

_MAX_BYTES_OF_MANY_FIELDS = 2**20
_MAX_FIELDS_OF_LARGE_MESSAGE = 2**14
"""Limit for messages of more than so many bytes. Protobuf's parser needs forty times the memory of
a message that consists of empty inputs. To count this many fields takes ten milliseconds."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
}
"""The field of typed values, by datatype."""

_CONTENTS_DTYPES: dict[str, np.dtype[Any]] = {
    "bool_contents": np.dtype(np.bool_),
    "int_contents": np.dtype("<i4"),
    "int64_contents": np.dtype("<i8"),
    "uint_contents": np.dtype("<u4"),
    "uint64_contents": np.dtype("<u8"),
    "fp32_contents": np.dtype("<f4"),
    "fp64_contents": np.dtype("<f8"),
}

_Response = pb.ModelInferResponse
_Tensor = _Response.InferOutputTensor


@dataclass(frozen=True)
class TypedTensor(InputTensor):
    """An input whose values are in the field `contents`.

    Parameters
    ----------
    contents : inference.InferTensorContents
    """

    contents: pb.InferTensorContents

    _nanoseconds_a_number: ClassVar[float] = 30.0

    def read_numbers(self, *, may_be_missing: bool = False) -> NDArray[Any]:
        """Return the numbers; this form has no missing values."""
        del may_be_missing
        field = _CONTENTS[self.datatype]
        self._check_count("numbers")
        dtype = _CONTENTS_DTYPES[field]
        values: NDArray[Any] = np.array(getattr(self.contents, field), dtype=dtype)
        sent = NUMBER_DTYPES.get(self.datatype, dtype)
        if sent.itemsize < dtype.itemsize:
            limits = np.iinfo(sent)
            wrong = np.flatnonzero((values < limits.min) | (values > limits.max))
            if len(wrong):
                self.refuse(
                    f"{self.field}.contents.{field}[{wrong[0]}]",
                    f"{self.datatype}, from {limits.min} to {limits.max}",
                    str(values[wrong[0]]),
                )
        return values

    def read_texts(self) -> Texts:
        """Return the texts."""
        self._check_count("texts")
        places: dict[bytes, int] = {}
        contents = self.contents.bytes_contents
        codes = [places.setdefault(value, len(places)) for value in contents]
        return decode_texts(self, np.array(codes, np.intp), tuple(places))

    def _check_count(self, what: str) -> None:
        """Raise InvalidInput unless all values are in the field of the datatype."""
        expected, n_values = _CONTENTS[self.datatype], self.n_values
        sent = {field.name: len(values) for field, values in self.contents.ListFields()}
        if sent != ({expected: n_values} if n_values else {}):
            self.refuse(
                f"{self.field}.contents",
                f"{n_values} {what} in {expected}, for {self.datatype} of shape "
                f"{format_shape(self.shape)}",
                " and ".join(f"{n} in {field}" for field, n in sent.items()) or f"no {what}",
            )


def decode_request(content: bytes) -> tuple[InferRequest, "GrpcEncoding"]:
    """Return the request, and the encoding of its answer.

    Raises
    ------
    InvalidInput
        If the bytes are not such a message or are a large one with many fields, the values are both
        raw and typed, or a parameter is invalid.
    """
    message, raw = _split_request(content)
    inputs: list[InputTensor]
    if raw:
        inputs = _pair_raw_inputs(message.inputs, raw)
    else:
        inputs = [
            TypedTensor(f"inputs[{i}]", each.name, each.datatype, tuple(each.shape), each.contents)
            for i, each in enumerate(message.inputs)
        ]
    for sent, tensor in zip(message.inputs, inputs, strict=True):
        if SHARED_MEMORY in sent.parameters:
            refuse_shared_memory(tensor.field)
    outputs = [_read_output(f"outputs[{i}]", each) for i, each in enumerate(message.outputs)]
    request = InferRequest(message.id, message.model_name, message.model_version, inputs, outputs)
    return request, GrpcEncoding(is_raw=bool(raw))


def _split_request(content: bytes) -> tuple[pb.ModelInferRequest, Sequence[Buffer]]:
    """Return the message without its raw contents, and its raw contents, without a copy."""
    is_large = len(content) > _MAX_BYTES_OF_MANY_FIELDS
    max_fields = _MAX_FIELDS_OF_LARGE_MESSAGE if is_large else MAX_FIELDS
    parts = split_fields(content, (_RAW_INPUTS,), max_fields)
    if parts is None:
        if is_large:
            raise InvalidInput(
                [
                    Violation(
                        "request",
                        f"expected at most {max_fields} inputs, outputs, parameters "
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


def _pair_raw_inputs(
    tensors: Sequence[pb.ModelInferRequest.InferInputTensor], raw: Sequence[Buffer]
) -> list[InputTensor]:
    """Return the inputs with their raw contents."""
    if len(raw) != len(tensors):
        raise InvalidInput(
            [
                Violation(
                    "raw_input_contents",
                    f"expected one element for each input, {len(tensors)}; got {len(raw)}",
                )
            ]
        )
    inputs: list[InputTensor] = []
    for i, (each, values) in enumerate(zip(tensors, raw, strict=True)):
        field = f"inputs[{i}]"
        tensor = RawTensor(
            field,
            each.name,
            each.datatype,
            tuple(each.shape),
            values,
            f"raw_input_contents[{i}]",
        )
        # Some clients send an empty `contents`.
        if each.contents.ListFields():
            tensor.refuse(
                f"{field}.contents",
                "no contents, because raw_input_contents has the numbers",
                "both; send the numbers once",
            )
        inputs.append(tensor)
    return inputs


def _read_output(
    field: str, requested: pb.ModelInferRequest.InferRequestedOutputTensor
) -> RequestedOutput:
    if not requested.parameters:
        return RequestedOutput(field, requested.name)
    if SHARED_MEMORY in requested.parameters:
        refuse_shared_memory(field)
    if CLASSIFICATION not in requested.parameters:
        return RequestedOutput(field, requested.name)
    parameter = requested.parameters[CLASSIFICATION]
    kind = parameter.WhichOneof("parameter_choice")
    if kind != "int64_param" or parameter.int64_param < 1:
        found = "no value" if kind is None else f"{kind} {shorten(str(getattr(parameter, kind)))}"
        raise InvalidInput(
            [
                Violation(
                    f"{field}.parameters[{CLASSIFICATION}]",
                    f"output {shorten(requested.name)}: expected a number of classes from 1 as "
                    f"int64_param, got {found}",
                )
            ]
        )
    return RequestedOutput(field, requested.name, parameter.int64_param)


class GrpcEncoding(AnswerEncoding):
    """An `inference.ModelInferResponse`, whose values are raw if those of the request were.

    Parameters
    ----------
    is_raw : bool
    """

    def __init__(self, *, is_raw: bool) -> None:
        self._values: ValueEncoding = RAW if is_raw else TYPED

    def choose_values(self, requested: RequestedOutput | None) -> ValueEncoding:
        """Return the same encoding for each output."""
        del requested
        return self._values

    def encode(self, answer: InferAnswer) -> EncodedAnswer:
        """Return the message."""
        tensors = tuple((each.name, each.datatype, each.shape) for each in answer.outputs)
        version, parameters = (answer.model, answer.version), tuple(answer.parameters.items())
        parts = [encode_packed_field(_Response.ID_FIELD_NUMBER, answer.id.encode())]
        if self._values is RAW:
            parts.append(_encode_without_values(*version, tensors, parameters))
            raw_field = _Response.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
            parts.extend(encode_element(raw_field, each.content) for each in answer.outputs)
            return EncodedAnswer(b"".join(parts))
        parts.append(_encode_without_values(*version, (), parameters))
        for output, tensor in zip(answer.outputs, tensors, strict=True):
            values = output.content
            if output.datatype != "BYTES":
                values = encode_packed_field(TYPED_FIELDS[output.datatype], values)
            contents = encode_element(_Tensor.CONTENTS_FIELD_NUMBER, values)
            encoded = _make_tensor(*tensor).SerializeToString() + contents
            parts.append(encode_element(_Response.OUTPUTS_FIELD_NUMBER, encoded))
        return EncodedAnswer(b"".join(parts))


def _make_tensor(name: str, datatype: str, shape: tuple[int, ...]) -> _Tensor:
    return _Tensor(name=name, datatype=datatype, shape=shape)


@lru_cache(maxsize=256)
def _encode_without_values(
    model: str,
    version: int,
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...],
    parameters: tuple[tuple[str, str], ...],
) -> bytes:
    """Return a ModelInferResponse of this version, with these outputs and no values."""
    response = _Response(
        model_name=model,
        model_version=str(version),
        outputs=[_make_tensor(*each) for each in tensors],
    )
    for name, value in parameters:
        response.parameters[name].string_param = value
    return response.SerializeToString()
