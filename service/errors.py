"""One table from domain errors to gRPC statuses, and the interceptor that applies it.

Everything outside the table is a fault of ours: the caller gets a fixed text with a request id,
the log gets the rest.
"""

# grpcio's own types cannot be subscripted at run time, only in its type stubs.
from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from quadnet.errors import (
    CorruptVersion,
    InvalidInput,
    NotFound,
    NotReady,
    QuadnetError,
    Unsupported,
)

DOMAIN = "quadnet"

STATUSES: dict[type[Exception], int] = {
    InvalidInput: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    Unsupported: code_pb2.FAILED_PRECONDITION,
    CorruptVersion: code_pb2.FAILED_PRECONDITION,
    NotReady: code_pb2.UNAVAILABLE,
    # What the methods inherited from the generated servicer raise.
    NotImplementedError: code_pb2.UNIMPLEMENTED,
}

_log = logging.getLogger(__name__)


def to_status(error: Exception, method: str) -> status_pb2.Status:
    """Return the google.rpc.Status that a caller may see for this error."""
    code = STATUSES.get(type(error))
    if code is None:
        request_id = str(uuid.uuid4())
        _log.error("%s failed, request id %s", method, request_id, exc_info=error)
        return status_pb2.Status(
            code=code_pb2.INTERNAL,
            message=f"The server failed. Its log has more under the request id {request_id}.",
        )
    if not isinstance(error, QuadnetError):
        return status_pb2.Status(code=code, message=f"This server does not answer {method}.")
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=_reason(type(error)), domain=DOMAIN)
    ]
    if isinstance(error, InvalidInput):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    return status_pb2.Status(
        code=code, message=str(error), details=[_pack(detail) for detail in details]
    )


def _reason(error: type[Exception]) -> str:
    """Spell the class's name as google.rpc.ErrorInfo spells reasons: INVALID_INPUT."""
    name = error.__name__
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


class ErrorInterceptor(grpc.ServerInterceptor):
    """Turns every exception of these services' methods into its status.

    Others are left alone: the health service's Watch is marked as non-blocking on its handler, and
    would hold a thread for each caller if that were lost.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = services

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the method's handler."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.split("/")[1] not in self._services:
            return handler
        request, response = (
            "stream" if streaming else "unary"
            for streaming in (handler.request_streaming, handler.response_streaming)
        )
        translate = _translate_stream if handler.response_streaming else _translate
        make_handler: Callable[..., grpc.RpcMethodHandler[Any, Any]]
        make_handler = getattr(grpc, f"{request}_{response}_rpc_method_handler")
        return make_handler(
            translate(getattr(handler, f"{request}_{response}"), method),
            handler.request_deserializer,
            handler.response_serializer,
        )


@contextmanager
def _translating(method: str, context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the last line before the caller
        context.abort_with_status(rpc_status.to_status(to_status(error, method)))


def _translate(respond: Any, method: str) -> Any:
    def responding(request: Any, context: grpc.ServicerContext) -> Any:
        with _translating(method, context):
            return respond(request, context)

    return responding


def _translate_stream(respond: Any, method: str) -> Any:
    def responding(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with _translating(method, context):
            yield from respond(request, context)

    return responding
