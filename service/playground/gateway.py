"""The gateway: serves the page's files, and forwards JSON calls of the browser as gRPC.

It knows no model. It forwards only listed methods, and reads their message types from the
descriptor of the .proto, so there is no second schema.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from service.playground import connect_protocol, sandbox_request, sandbox_server
from service.playground.connect_protocol import (
    ConnectError,
    convert_grpc_error,
    decode_envelope,
    decode_request,
    encode_end,
    encode_envelope,
    metadata_by_key,
)
from service.playground.host_check import HostCheck, make_error_response
from service.quadrant_v1.codec import SERVICE
from service.rpc.call import REQUEST_ID
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.json_messages import encode_json

STATIC = Path(__file__).parent / "static"

# Set here, because the system's table may map .js to text/plain, and then browsers run no script.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


def _render_page() -> str:
    """Return the page with the allowed values of the sandbox as options of its form."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    for field, names in sandbox_request.CHOICES.items():
        options = "".join(f"<option>{name}</option>" for name in names)
        page = page.replace(f'<select id="{field}">', f'<select id="{field}">{options}')
    return page


_PAGE = _render_page()
_FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}

MAX_BODY_BYTES = 4 * 2**20

_SECONDS = 10.0
_TIMEOUT = "connect-timeout-ms"
_FORWARDED_METHODS = ("Classify", "ListModels", "GetModel", "Explain")


@dataclass(frozen=True)
class GrpcTarget:
    """A gRPC server: its channel, its address for messages, and the metadata for each call."""

    channel: Any  # grpc.aio.Channel, whose calls types-grpcio does not type
    address: str
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class GatewayMethod:
    """One method that the browser may call."""

    target: GrpcTarget
    path: str
    request: type[Message]
    response: type[Message]

    @classmethod
    def from_descriptor(cls, target: GrpcTarget, service: str, name: str) -> "GatewayMethod":
        """Return the method with the message types from the .proto."""
        services = pb.DESCRIPTOR.services_by_name
        described = services[service.rpartition(".")[2]].methods_by_name[name]
        return cls(
            target,
            f"/{service}/{name}",
            GetMessageClass(described.input_type),
            GetMessageClass(described.output_type),
        )


class Gateway:
    """The HTTP application of the page.

    Parameters
    ----------
    served : GrpcTarget
        The server of published versions.
    sandboxes : GrpcTarget
        The server of the sandboxes.
    allowed : frozenset of str
        The allowed values of the header Host.

    Attributes
    ----------
    app : ASGI application
    """

    def __init__(self, served: GrpcTarget, sandboxes: GrpcTarget, allowed: frozenset[str]) -> None:
        unary = [
            GatewayMethod.from_descriptor(served, SERVICE, name) for name in _FORWARDED_METHODS
        ]
        unary.append(GatewayMethod.from_descriptor(sandboxes, sandbox_server.SERVICE, "Inspect"))
        train = GatewayMethod.from_descriptor(sandboxes, sandbox_server.SERVICE, "Train")
        routes = [
            Route(method.path, _make_endpoint(_answer_unary, method), methods=["POST"])
            for method in unary
        ]
        routes.append(Route(train.path, _make_endpoint(_answer_stream, train), methods=["POST"]))
        routes += [
            Route("/", _serve_file, methods=["GET"]),
            Route("/{name}", _serve_file, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                404: _answer_not_found,
                405: _answer_wrong_method,
                ClientDisconnect: _answer_disconnected,
                ConnectError: _answer_error,
                Exception: _answer_unexpected_error,
            },
        )
        # A redirect to the path without its last slash would give each file a second name.
        app.router.redirect_slashes = False
        # Around Starlette, not as one of its middlewares: its error handler runs before those.
        self.app = HostCheck(app, allowed)


def _make_endpoint(respond: Any, method: GatewayMethod) -> Any:
    async def endpoint(request: Request) -> Response:
        response: Response = await respond(request, method)
        return response

    return endpoint


async def _answer_unary(request: Request, method: GatewayMethod) -> Response:
    content = decode_request(await _read_body(request, connect_protocol.UNARY), method.request())
    options = _read_call_options(request, method.target)
    call = method.target.channel.unary_unary(method.path)(
        content, timeout=options.timeout, metadata=options.metadata
    )
    try:
        answer = method.response.FromString(await call)
    except grpc.aio.AioRpcError as error:
        raise convert_grpc_error(error, method.target.address) from error
    headers = {REQUEST_ID: str(metadata_by_key(await call.trailing_metadata()).get(REQUEST_ID, ""))}
    return Response(encode_json(answer), media_type=connect_protocol.UNARY, headers=headers)


async def _answer_stream(request: Request, method: GatewayMethod) -> Response:
    content = decode_envelope(await _read_body(request, connect_protocol.STREAM))
    message = decode_request(content, method.request())
    options = _read_call_options(request, method.target, seconds=None)

    async def envelopes() -> AsyncIterator[bytes]:
        call = method.target.channel.unary_stream(method.path)(
            message, timeout=options.timeout, metadata=options.metadata
        )
        try:
            async for update in call:
                yield encode_envelope(encode_json(method.response.FromString(update)))
            yield encode_end()
        except grpc.aio.AioRpcError as error:
            yield encode_end(convert_grpc_error(error, method.target.address))
        finally:
            # The browser has closed the connection, so the run must end.
            call.cancel()

    return StreamingResponse(envelopes(), media_type=connect_protocol.STREAM)


@dataclass(frozen=True)
class _CallOptions:
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]


def _read_call_options(
    request: Request, target: GrpcTarget, *, seconds: float | None = _SECONDS
) -> _CallOptions:
    given = request.headers.get(_TIMEOUT)
    if given is not None:
        if not (given.isascii() and given.isdigit() and len(given) <= 10):
            raise ConnectError(
                "invalid_argument",
                f"{_TIMEOUT}: expected milliseconds, at most ten digits, got {given[:40]!r}",
            )
        seconds = int(given) / 1000
        if not seconds:
            # grpcio treats a timeout of 0 as no timeout.
            raise ConnectError("deadline_exceeded", f"{_TIMEOUT}: no time is left to answer in")
    request_id = request.headers.get(REQUEST_ID, "")
    # Other ids are not forwarded: the server would replace them, and gRPC refuses a call with too
    # large metadata with an error of its core.
    safe = 0 < len(request_id) <= 128 and request_id.isascii() and request_id.isprintable()
    named = ((REQUEST_ID, request_id),) if safe else ()
    return _CallOptions(seconds, (*target.metadata, *named))


async def _read_body(request: Request, media_type: str) -> bytes:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        # Only for these types does a browser send a preflight request before a foreign page's call.
        raise ConnectError(
            "invalid_argument",
            f"expected the content type {media_type}, got {given[:80]!r}",
            http=415,
        )
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise ConnectError(
                "resource_exhausted",
                f"expected at most {MAX_BODY_BYTES:,} bytes a request, got more; send less at a "
                "time, or call the gRPC server directly",
                http=413,
            )
    return bytes(content)


async def _serve_file(request: Request) -> Response:
    # Looked up among the names that exist: no text from a request reaches the file system.
    name = request.path_params.get("name", "index.html")
    if name == "index.html":
        return Response(_PAGE, headers={"Content-Type": MEDIA_TYPES[".html"]})
    path = _FILES.get(name)
    if path is None:
        return await _answer_not_found(request, None)
    return FileResponse(path, headers={"Content-Type": MEDIA_TYPES[path.suffix]})


async def _answer_not_found(request: Request, _: Any) -> Response:
    return make_error_response(
        ConnectError("unimplemented", f"There is no {_path(request)} here.", http=404)
    )


async def _answer_wrong_method(request: Request, _: Any) -> Response:
    text = f"{_path(request)} does not accept {request.method[:10]}: calls use POST."
    response = make_error_response(ConnectError("unimplemented", text, http=405))
    response.headers["Allow"] = "POST"
    return response


async def _answer_disconnected(_request: Request, _: Any) -> Response:
    """Return a response for the access log only: the browser has closed the connection."""
    return make_error_response(ConnectError("canceled", "The browser closed the connection."))


async def _answer_error(_: Request, failure: Any) -> Response:
    return make_error_response(failure)


async def _answer_unexpected_error(_request: Request, _: Any) -> Response:
    return make_error_response(
        ConnectError("internal", "The page's gateway failed. Its log has the reason.")
    )


def _path(request: Request) -> str:
    # Not `request.url`, which joins Host and path and parses the result: "[" makes it raise.
    path: str = request.scope["path"]
    return path[:80]
