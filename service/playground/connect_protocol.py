"""The part of the Connect protocol that the page uses: JSON messages, errors and streams.

Unary calls are JSON over POST. A stream is a sequence of envelopes: one byte of flags, four bytes
of length, and the message in JSON. The last envelope has the end of the stream or an error.
Source: the Connect protocol reference, "Unary-Response" and "Streaming-RPC".
"""

import base64
import json
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

UNARY = "application/json"
STREAM = "application/connect+json"

_END = 2
_NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_HEADER = struct.Struct(">BI")

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of half of a surrogate pair, in JSON."""

_HTTP = {
    "canceled": 499,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "unavailable": 503,
    "unauthenticated": 401,
}


@dataclass
class ConnectError(Exception):
    """An error for the caller: one of Connect's codes, a message, and details if there are any."""

    code: str
    message: str
    details: list[dict[str, str]] = field(default_factory=list)
    http: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status: `http`, or the status of the code if that is None."""
        return self.http or _HTTP.get(self.code, 500)

    def as_json(self) -> dict[str, Any]:
        """Return the error in Connect's JSON form."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def encoded(self) -> bytes:
        """Return the error as the body of a response.

        In ASCII: the message may quote half of a surrogate pair, which UTF-8 cannot encode.
        """
        return json.dumps(self.as_json()).encode("ascii")


def convert_grpc_error(error: grpc.aio.AioRpcError, address: str) -> ConnectError:
    """Return the Connect error for a failed gRPC call."""
    code = "canceled" if error.code() is grpc.StatusCode.CANCELLED else error.code().name.lower()
    packed = metadata_by_key(error.trailing_metadata()).get("grpc-status-details-bin")
    if packed is None:
        # An error of gRPC itself, whose text names addresses and functions of its core.
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return ConnectError(code, f"No Quadnet server answers at {address}.")
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ConnectError(code, f"The server at {address} did not answer in time.")
        return ConnectError(code, error.details() or "The server gave no reason.")
    try:
        status = status_pb2.Status.FromString(
            packed if isinstance(packed, bytes) else packed.encode("latin-1")
        )
    except (DecodeError, UnicodeEncodeError):
        return ConnectError(code, error.details() or "The server gave no reason.")
    details = [
        {
            "type": detail.type_url.rpartition("/")[2],
            "value": base64.b64encode(detail.value).decode().rstrip("="),
        }
        for detail in status.details
    ]
    return ConnectError(code, status.message, details)


def metadata_by_key(metadata: Any) -> dict[str, Any]:
    """Return gRPC metadata as a dict."""
    # Through a tuple: older metadata classes of grpcio look like a mapping, but are not.
    return dict(tuple(metadata or ()))


def decode_request(content: bytes, request: Message) -> bytes:
    """Return the bytes of a message in JSON.

    Parameters
    ----------
    content : bytes
        The JSON.
    request : Message
        An empty message of the expected type.

    Raises
    ------
    ConnectError
        If the content is not JSON, or does not match the message type.
    """
    name = request.DESCRIPTOR.full_name
    values = _parse_object(content, name)
    for each in request.DESCRIPTOR.fields:
        column = getattr(request, each.name)
        # The cells of a map are thousands of numbers, which `ParseDict` would parse one by one.
        if hasattr(column, "extend") and each.cpp_type in _NUMBERS:
            column.extend(_take_finite_numbers(values, each.name))
    try:
        json_format.ParseDict(values, request)
    except (json_format.ParseError, OverflowError) as error:
        # The first line names the field and the value.
        reason = str(error).partition("\n")[0][:200]
        raise ConnectError("invalid_argument", f"expected a {name} in JSON; {reason}") from error
    return request.SerializeToString()


def _parse_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        # Strict UTF-8: json.loads would also accept bytes of half a surrogate pair.
        found = json.loads(content.decode())
        if _SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # As the name of a field, it makes the protobuf library raise SystemError.
        raise ConnectError(
            "invalid_argument",
            f"expected a {name} in JSON, got text with half of a surrogate pair",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConnectError(
            "invalid_argument", f"expected a {name} in JSON, got invalid JSON"
        ) from error
    if not isinstance(found, dict):
        raise ConnectError(
            "invalid_argument",
            f"expected a {name} in JSON, an object, got {type(found).__name__}",
        )
    return found


def encode_response(response: Message) -> bytes:
    """Return the message in JSON, with zeros and empty lists."""
    columns: dict[str, list[Any]] = {}
    for each, value in response.ListFields():
        if not hasattr(value, "extend"):
            continue
        if each.cpp_type in _NUMBERS and math.isfinite(sum(value)):
            columns[each.json_name] = list(value)
            response.ClearField(each.name)
        elif each.enum_type is not None:
            names = {value.number: value.name for value in each.enum_type.values}
            columns[each.json_name] = [names.get(number, number) for number in value]
            response.ClearField(each.name)
    values = json_format.MessageToDict(response, always_print_fields_with_no_presence=True)
    return json.dumps(values | columns, separators=(",", ":")).encode()


def _take_finite_numbers(values: dict[str, Any], name: str) -> list[float]:
    """Remove and return a list of finite numbers; return [] and leave any other value there."""
    given = values.get(name)
    if not isinstance(given, list) or not set(map(type, given)) <= {int, float}:
        return []
    try:
        finite = math.isfinite(sum(map(float, given)))
    except OverflowError:
        return []
    return values.pop(name) if finite else []


def encode_envelope(content: bytes) -> bytes:
    """Return the envelope of one message of a stream."""
    return _HEADER.pack(0, len(content)) + content


def encode_end(error: ConnectError | None = None) -> bytes:
    """Return the last envelope of a stream, with an error or without one."""
    content = json.dumps({} if error is None else {"error": error.as_json()}).encode()
    return _HEADER.pack(_END, len(content)) + content


def decode_envelope(content: bytes) -> bytes:
    """Return the message in the request of a stream, which is one envelope.

    Raises
    ------
    ConnectError
        If the request is not exactly one envelope.
    """
    if len(content) >= _HEADER.size:
        flags, length = _HEADER.unpack_from(content)
        if flags == 0 and length == len(content) - _HEADER.size:
            return content[_HEADER.size :]
    raise ConnectError(
        "invalid_argument",
        "expected one envelope, of a zero byte, four of length and a message; "
        f"got {len(content)} bytes",
    )
