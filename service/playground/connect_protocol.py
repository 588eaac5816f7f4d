"""The Connect protocol, as far as the page speaks it: JSON both ways, errors, and streams.

Unary calls are JSON over POST. A stream is a row of envelopes: a byte of flags, four of length,
the message in JSON; the last one says how it ended.
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
class Failure(Exception):
    """What a caller is told: one of Connect's codes, a sentence, and details if there are any."""

    code: str
    message: str
    details: list[dict[str, str]] = field(default_factory=list)
    http: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status: its own, or else that of the code."""
        return self.http or _HTTP.get(self.code, 500)

    def as_json(self) -> dict[str, Any]:
        """Return the error as Connect writes it."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def encoded(self) -> bytes:
        """Return the error as the body of a response.

        In ASCII: the message may quote half of a surrogate pair, which UTF-8 cannot encode.
        """
        return json.dumps(self.as_json()).encode("ascii")


def failure_of(error: grpc.aio.AioRpcError, address: str) -> Failure:
    """Return what a call ended with."""
    code = "canceled" if error.code() is grpc.StatusCode.CANCELLED else error.code().name.lower()
    packed = entries(error.trailing_metadata()).get("grpc-status-details-bin")
    if packed is None:
        # gRPC's own words, which name addresses and calls of its core.
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return Failure(code, f"No Quadnet server answers at {address}.")
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Failure(code, f"The server at {address} gave no answer in time.")
        return Failure(code, error.details() or "The server gave no reason.")
    try:
        status = status_pb2.Status.FromString(
            packed if isinstance(packed, bytes) else packed.encode("latin-1")
        )
    except (DecodeError, UnicodeEncodeError):
        return Failure(code, error.details() or "The server gave no reason.")
    details = [
        {
            "type": detail.type_url.rpartition("/")[2],
            "value": base64.b64encode(detail.value).decode().rstrip("="),
        }
        for detail in status.details
    ]
    return Failure(code, status.message, details)


def entries(metadata: Any) -> dict[str, Any]:
    """Return gRPC metadata by key."""
    # By way of a tuple: the older ones of grpcio look like a mapping to dict, and are none.
    return dict(tuple(metadata or ()))


def decode(content: bytes, request: Message) -> bytes:
    """Return the message that the JSON spells, as bytes; `request` is an empty one of its kind.

    Raises
    ------
    Failure
        If it is no JSON, or not of that message.
    """
    name = request.DESCRIPTOR.full_name
    values = _object(content, name)
    for each in request.DESCRIPTOR.fields:
        column = getattr(request, each.name)
        # A map's cells are thousands of numbers, which the library would look at one by one.
        if hasattr(column, "extend") and each.cpp_type in _NUMBERS:
            column.extend(_numbers(values, each.name))
    try:
        json_format.ParseDict(values, request)
    except (json_format.ParseError, OverflowError) as error:
        # Its first line names the field and what came.
        reason = str(error).partition("\n")[0][:200]
        raise Failure("invalid_argument", f"expected a {name} in JSON; {reason}") from error
    return request.SerializeToString()


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        # Strictly UTF-8: json.loads would also let bytes through that spell half a surrogate pair.
        found = json.loads(content.decode())
        if _SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # The protobuf library raises SystemError for it, as a field's name.
        raise Failure(
            "invalid_argument",
            f"expected a {name} in JSON, got text with half of a surrogate pair",
        ) from error
    except (ValueError, RecursionError) as error:
        raise Failure(
            "invalid_argument", f"expected a {name} in JSON, got what is no JSON"
        ) from error
    if not isinstance(found, dict):
        raise Failure(
            "invalid_argument",
            f"expected a {name} in JSON, an object, got {type(found).__name__}",
        )
    return found


def encode(response: Message) -> bytes:
    """Return the message in JSON, zeros and empty lists included."""
    columns: dict[str, list[Any]] = {}
    for each, value in response.ListFields():
        if not hasattr(value, "extend"):
            continue
        if each.cpp_type in _NUMBERS and math.isfinite(sum(value)):
            columns[each.json_name] = list(value)
            response.ClearField(each.name)
        elif each.enum_type is not None:
            names = {known.number: known.name for known in each.enum_type.values}
            columns[each.json_name] = [names.get(number, number) for number in value]
            response.ClearField(each.name)
    values = json_format.MessageToDict(response, always_print_fields_with_no_presence=True)
    return json.dumps(values | columns, separators=(",", ":")).encode()


def _numbers(values: dict[str, Any], name: str) -> list[float]:
    """Take out a list of finite numbers, which needs no closer look; leave anything else."""
    given = values.get(name)
    if not isinstance(given, list) or not set(map(type, given)) <= {int, float}:
        return []
    try:
        finite = math.isfinite(sum(map(float, given)))
    except OverflowError:
        return []
    return values.pop(name) if finite else []


def envelope(content: bytes) -> bytes:
    """Return one message of a stream."""
    return _HEADER.pack(0, len(content)) + content


def end(failure: Failure | None = None) -> bytes:
    """Return what ends a stream: well, or with a failure."""
    content = json.dumps({} if failure is None else {"error": failure.as_json()}).encode()
    return _HEADER.pack(_END, len(content)) + content


def opened(content: bytes) -> bytes:
    """Return the one message that a stream's request holds.

    Raises
    ------
    Failure
        If it is not one envelope.
    """
    if len(content) >= _HEADER.size:
        flags, length = _HEADER.unpack_from(content)
        if flags == 0 and length == len(content) - _HEADER.size:
            return content[_HEADER.size :]
    raise Failure(
        "invalid_argument",
        "expected one envelope, of a zero byte, four of length and a message; "
        f"got {len(content)} bytes",
    )
