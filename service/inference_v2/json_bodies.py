"""Decodes the bodies of REST requests for inference, and encodes the answers.

A body is JSON as the Open Inference Protocol defines it. With Triton's binary tensor data
extension, values follow the JSON in binary form; a header of HTTP then has the length of the JSON.
Source: the Open Inference Protocol, "HTTP/REST API", and Triton's "Binary Tensor Data Extension".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.tables.columns import Texts
from service.inference_v2.answers import AnswerEncoding, EncodedAnswer, InferAnswer
from service.inference_v2.tensors import (
    NUMBER_DTYPES,
    SHARED_MEMORY,
    InferRequest,
    InputTensor,
    RawTensor,
    RequestedOutput,
    format_shape,
    refuse_shared_memory,
)
from service.inference_v2.value_encodings import N_INSERTED, RAW, ValueEncoding

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header of HTTP with the number of bytes of the JSON before binary values."""

_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|\bNaN\b', re.DOTALL)
"""A string, also one without an end, or NaN outside of all strings. Each byte is read once."""

_MAX_REPLACED = 2**21
"""Limit for strings and NaN in JSON with NaN: Python takes a third of a second for so many."""

_MAX_LISTS, _MAX_VALUES = 2**21, 2**23
"""Limits for the JSON of one body. An empty list needs thirty times the memory of its text, a short
text fifteen times."""

_TYPES = {"BOOL": (bool,), "FP32": (int, float), "FP64": (int, float)}
"""The types of JSON values by datatype, the most general one last. Others have integers."""

_TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}

_LARGEST_FP32 = float(np.finfo(np.float32).max)


class JsonValues(ValueEncoding):
    """Elements of a JSON array; the numbers are the shortest that read back equal."""

    separator = b","
    nanoseconds_a_number = 50.0

    def encode_array(self, values: NDArray[Any]) -> bytes:
        """Return the elements; NaN is null."""
        flat = np.ascontiguousarray(values.ravel())
        return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]

    def encode_text(self, text: str) -> bytes:
        """Return one text."""
        return orjson.dumps(text)

    def split_text(self, tail: str) -> tuple[bytes, bytes]:
        """Return the bytes before and after the inserted characters."""
        return b'"', orjson.dumps("0" * N_INSERTED + tail)[1 + N_INSERTED :]


JSON = JsonValues()


class JsonEncoding(AnswerEncoding):
    """A JSON body, after which come the values of the outputs that were requested in binary form.

    Parameters
    ----------
    is_binary : bool
        Whether outputs are in binary form unless the request tells otherwise.
    """

    def __init__(self, *, is_binary: bool) -> None:
        self._is_binary = is_binary

    def choose_values(self, requested: RequestedOutput | None) -> ValueEncoding:
        """Return the encoding that was requested."""
        asked = None if requested is None else requested.is_binary
        return RAW if (self._is_binary if asked is None else asked) else JSON

    def encode(self, answer: InferAnswer) -> EncodedAnswer:
        """Return the JSON and the binary values."""
        outputs = []
        binary = [output.content for output in answer.outputs if output.encoding is RAW]
        for output in answer.outputs:
            described: dict[str, Any] = {
                "name": output.name,
                "datatype": output.datatype,
                "shape": output.shape,
            }
            if output.encoding is RAW:
                described["parameters"] = {"binary_data_size": len(output.content)}
            else:
                described["data"] = orjson.Fragment(b"[" + output.content + b"]")
            outputs.append(described)
        body: dict[str, Any] = {"model_name": answer.model, "model_version": str(answer.version)}
        if answer.id:
            body["id"] = answer.id
        if answer.parameters:
            body["parameters"] = answer.parameters
        header = orjson.dumps({**body, "outputs": outputs})
        if not binary:
            return EncodedAnswer(header)
        return EncodedAnswer(b"".join((header, *binary)), len(header))


@dataclass(frozen=True)
class JsonTensor(InputTensor):
    """An input whose values are in the JSON: a flat list, or lists in lists as the shape has them.

    Parameters
    ----------
    data : list
    """

    data: list[Any]

    _nanoseconds_a_number: ClassVar[float] = 100.0

    def read_numbers(self, *, may_be_missing: bool = False) -> NDArray[Any]:
        """Return the values; null is NaN, or None in an array of objects without NaN."""
        types = _TYPES.get(self.datatype, (int,))
        values = self._read_values(types, may_be_missing=may_be_missing)
        if self.datatype == "BOOL":
            missing = None in values
            return np.array(values, dtype=object if missing else np.bool_)
        dtype = NUMBER_DTYPES[self.datatype]
        if dtype.kind == "f":
            numbers = np.array(values, dtype=np.float64)
            if self.datatype == "FP32":
                self._check_range(values, -_LARGEST_FP32, _LARGEST_FP32)
            return numbers.astype(dtype)
        limits = np.iinfo(dtype)
        self._check_range(values, int(limits.min), int(limits.max))
        return np.array(values, dtype=object if None in values else dtype)

    def read_texts(self) -> Texts:
        """Return the texts; null is missing."""
        return Texts.from_values(self._read_values((str,), may_be_missing=True))

    def locate(self, index: int) -> str:
        """Return the path of a value, such as inputs[0].data[7] or inputs[0].data[3][1]."""
        places = [index]
        if self._is_nested:
            places = [int(place) for place in np.unravel_index(index, self.shape)]
        return f"{self.field}.data" + "".join(f"[{place}]" for place in places)

    @property
    def _is_nested(self) -> bool:
        return bool(self.data) and isinstance(self.data[0], list)

    def _read_values(self, types: tuple[type, ...], *, may_be_missing: bool) -> list[Any]:
        """Return a flat list of values of these types."""
        values = self._flatten()
        wrong = set(map(type, values)) - {*types, *((type(None),) if may_be_missing else ())}
        if wrong:
            index = next(i for i, value in enumerate(values) if type(value) in wrong)
            name = _TYPE_NAMES[types[-1]]
            self.refuse(
                self.locate(index),
                f"{name}, for {self.datatype}" + (", or null" if may_be_missing else ""),
                _show(values[index]),
            )
        return values

    def _flatten(self) -> list[Any]:
        """Return the values without lists in lists; the lengths must be those of the shape."""
        depth = len(self.shape) if self._is_nested else 1
        sizes = self.shape if self._is_nested else (self.n_values,)
        values: list[Any] = self.data
        self._check_length(f"{self.field}.data", values, sizes[0])
        for level in range(1, depth):
            for i, each in enumerate(values):
                place = np.unravel_index(i, self.shape[:level])
                path = f"{self.field}.data" + "".join(f"[{int(at)}]" for at in place)
                if not isinstance(each, list):
                    self.refuse(path, f"a list of {sizes[level]} values", _show(each))
                self._check_length(path, each, sizes[level])
            values = list(chain.from_iterable(values))
        return values

    def _check_length(self, path: str, values: Sequence[Any], size: int) -> None:
        if len(values) != size:
            self.refuse(
                path,
                f"{size} values, for the shape {format_shape(self.shape)}",
                f"{len(values)} values",
            )

    def _check_range(self, values: Sequence[Any], low: float, high: float) -> None:
        """Refuse numbers outside of the datatype's range."""
        present = [value for value in values if value is not None]
        if present and not low <= min(present) <= max(present) <= high:
            index = next(
                i
                for i, value in enumerate(values)
                if value is not None and not low <= value <= high
            )
            self.refuse(
                self.locate(index),
                f"{self.datatype}, from {low} to {high}",
                _show(values[index]),
            )


def decode_body(
    content: bytes, header_length: int | None, *, model: str = "", version: str = ""
) -> tuple[InferRequest, JsonEncoding]:
    """Return the request in a body, and the encoding of its answer.

    Parameters
    ----------
    content : bytes
    header_length : int or None
        The value of the header `HEADER_LENGTH`: the number of bytes of the JSON. None if the whole
        body is JSON.
    model, version : str
        As in the request's path.

    Raises
    ------
    InvalidInput
        If the body is not such JSON, or its binary part does not have the announced size. The
        values are checked when they are read.
    """
    length = len(content) if header_length is None else header_length
    if not 0 <= length <= len(content):
        _raise_invalid(
            "request",
            f"expected a header {HEADER_LENGTH} from 0 to {len(content)}, got {length}",
        )
    body = _parse_json(content[:length] if length < len(content) else content)
    parameters = _read_parameters(body, "")
    binary = _BinaryPart(memoryview(content)[length:], has_header=header_length is not None)
    inputs = [
        _read_input(each, f"inputs[{i}]", binary)
        for i, each in enumerate(_read_list(body, "inputs"))
    ]
    binary.check_end()
    outputs = [
        _read_output(each, f"outputs[{i}]")
        for i, each in enumerate(
            _read_list(body, "outputs") if body.get("outputs") is not None else ()
        )
    ]
    request_id = body.get("id")
    if not isinstance(request_id, str | None):
        _raise_invalid("id", f"expected a text, got {_show(request_id)}")
    is_binary = _read_flag(parameters, "binary_data_output", "parameters")
    request = InferRequest(request_id or "", model, version, inputs, outputs)
    return request, JsonEncoding(is_binary=bool(is_binary))


class _BinaryPart:
    """The bytes after the JSON, of which each input takes its own in turn."""

    def __init__(self, content: memoryview, *, has_header: bool) -> None:
        self._content, self._at, self._has_header = content, 0, has_header

    def take(self, size: object, field: str) -> memoryview:
        """Return the next bytes."""
        left = len(self._content) - self._at
        if type(size) is not int or size < 0:
            _raise_invalid(field, f"expected a number of bytes, got {_show(size)}")
        if not self._has_header:
            _raise_invalid(
                field,
                f"expected the header {HEADER_LENGTH} with the number of bytes of the JSON, after "
                "which the binary values follow; got no such header",
            )
        if size > left:
            _raise_invalid(field, f"expected at most the {left} bytes that follow, got {size}")
        self._at += size
        return self._content[self._at - size : self._at]

    def check_end(self) -> None:
        """Raise InvalidInput if bytes are left."""
        left = len(self._content) - self._at
        if left:
            _raise_invalid(
                "request",
                f"expected {self._at} bytes after the JSON, the sum of binary_data_size of the "
                f"inputs; got {len(self._content)}",
            )


def _parse_json(content: bytes) -> dict[str, Any]:
    n_lists = content.count(b"[") + content.count(b"{")
    n_values = content.count(b",")
    if n_lists > _MAX_LISTS or n_values > _MAX_VALUES:
        _raise_invalid(
            "request",
            f"expected JSON with at most {_MAX_VALUES:,} values in {_MAX_LISTS:,} lists, got "
            f"{n_values:,} in {n_lists:,}; send flat lists, or the values in binary form",
        )
    try:
        body = _load_json(content)
    except orjson.JSONDecodeError as error:
        _raise_invalid("request", f"expected JSON in UTF-8, got {len(content)} bytes: {error}")
    if not isinstance(body, dict):
        _raise_invalid("request", f"expected a JSON object, got {_show(body)}")
    return body


def _load_json(content: bytes) -> Any:
    """Return the value, with None for NaN, which is no JSON.

    Python's json module writes NaN, and so does tritonclient for missing numbers.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        n_nan = content.count(b"NaN")
        if not n_nan or n_nan + content.count(b'"') > _MAX_REPLACED:
            raise
    return orjson.loads(
        _STRING_OR_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], content)
    )


def _read_input(found: object, field: str, binary: _BinaryPart) -> InputTensor:
    sent = _read_object(found, field)
    name, datatype = (_read_text(sent, key, field) for key in ("name", "datatype"))
    shape = _read_shape(sent, field)
    parameters = _read_parameters(sent, field)
    data = sent.get("data")
    if "binary_data_size" in parameters:
        size_field = f"{field}.parameters[binary_data_size]"
        if data is not None:
            _raise_invalid(f"{field}.data", "expected no data beside binary_data_size, got both")
        raw = binary.take(parameters["binary_data_size"], size_field)
        return RawTensor(field, name, datatype, shape, raw, size_field)
    if not isinstance(data, list):
        _raise_invalid(
            f"{field}.data",
            f"expected a list of values, or the parameter binary_data_size; got {_show(data)}",
        )
    return JsonTensor(field, name, datatype, shape, data)


def _read_output(found: object, field: str) -> RequestedOutput:
    sent = _read_object(found, field)
    name = _read_text(sent, "name", field)
    parameters = _read_parameters(sent, field)
    count = parameters.get("classification")
    if count is not None and (type(count) is not int or count < 1):
        _raise_invalid(
            f"{field}.parameters[classification]",
            f"output {shorten(name)}: expected a number of classes from 1, got {_show(count)}",
        )
    is_binary = _read_flag(parameters, "binary_data", f"{field}.parameters")
    return RequestedOutput(field, name, count or 0, is_binary)


def _read_object(found: object, field: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        _raise_invalid(field, f"expected an object, got {_show(found)}")
    return found


def _read_list(body: Mapping[str, Any], key: str) -> list[Any]:
    found = body.get(key)
    if not isinstance(found, list):
        _raise_invalid(key, f"expected a list of {key}, got {_show(found)}")
    return found


def _read_text(sent: Mapping[str, Any], key: str, field: str) -> str:
    found = sent.get(key)
    if not isinstance(found, str):
        _raise_invalid(f"{field}.{key}", f"expected a text, got {_show(found)}")
    return found


def _read_shape(sent: Mapping[str, Any], field: str) -> tuple[int, ...]:
    found = sent.get("shape")
    if not isinstance(found, list) or not all(type(size) is int for size in found):
        _raise_invalid(f"{field}.shape", f"expected a list of integers, got {_show(found)}")
    return tuple(found)


def _read_parameters(sent: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = sent.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        path = f"{field}.parameters" if field else "parameters"
        _raise_invalid(path, f"expected an object, got {_show(found)}")
    if field and SHARED_MEMORY in found:
        refuse_shared_memory(field)
    return found


def _read_flag(parameters: Mapping[str, Any], name: str, field: str) -> bool | None:
    found = parameters.get(name)
    if not isinstance(found, bool | None):
        _raise_invalid(f"{field}[{name}]", f"expected true or false, got {_show(found)}")
    return found


def _show(value: object) -> str:
    """Return a JSON value for a message."""
    if value is None:
        return "null or no value"
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)} values"
    if isinstance(value, dict):
        return f"an object with the keys {listing([*value])}"
    return orjson.dumps(value).decode()


def _raise_invalid(field: str, description: str) -> NoReturn:
    raise InvalidInput([Violation(field, description)])
