"""The part of the Connect protocol that the page uses: JSON messages, errors and streams.

Unary calls are JSON over POST. A stream is a sequence of envelopes: one byte of flags, four bytes
of length, and the message in JSON. The last envelope has the end of the stream or an error.
Source: the Connect protocol reference, "Unary-Response" and "Streaming-RPC".
"""

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from quadnet.errors import InvalidInput
from service.rpc.errors import HTTP_STATUSES
from service.wire.json_messages import decode_json

UNARY = "application/json"
STREAM = "application/connect+json"

_END = 2
_HEADER = struct.Struct(">BI")

_CODES = {code.name.lower(): code for code in grpc.StatusCode} | {
    "canceled": grpc.StatusCode.CANCELLED
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
        return self.http or HTTP_STATUSES[_CODES[self.code]]

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
    """Return the bytes of a message in JSON, of the type of the empty message `request`.

    Raises
    ------
    ConnectError
        If the content is not JSON, or does not match the message type.
    """
    try:
        return decode_json(content, request).SerializeToString()
    except InvalidInput as error:
        raise ConnectError("invalid_argument", error.violations[0].description) from error


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
