"""The gateway: JSON from the browser, gRPC to the servers, the page's files. It knows no model.

What can be called is a list, each entry read from the .proto's descriptor: there is no second
schema.
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
from service.playground.connect_protocol import Failure
from service.playground.host_check import Fence, refusal
from service.quadrant_v1.codec import SERVICE
from service.rpc.call import REQUEST_ID
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

STATIC = Path(__file__).parent / "static"

# Told here, because what the system says of .js may be text/plain, and then nothing runs.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


def _page() -> str:
    """Return the page with the names that the sandbox knows as options of its form."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    for field, names in sandbox_request.CHOICES.items():
        options = "".join(f"<option>{name}</option>" for name in names)
        page = page.replace(f'<select id="{field}">', f'<select id="{field}">{options}')
    return page


_PAGE = _page()
_FILES = {path.name: path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}

MAX_BODY_BYTES = 4 * 2**20

_SECONDS = 10.0
_TIMEOUT = "connect-timeout-ms"
_PASSED_ON = ("Classify", "ListModels", "GetModel", "Explain")


@dataclass(frozen=True)
class Target:
    """A gRPC server to dial: its channel, its name in messages, and what it wants to see."""

    channel: Any  # grpc.aio.Channel, whose calls types-grpcio cannot name
    address: str
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Method:
    """One method that may be called."""

    target: Target
    path: str
    request: type[Message]
    response: type[Message]

    @classmethod
    def of(cls, target: Target, service: str, name: str) -> "Method":
        """Return the method that the .proto describes."""
        services = pb.DESCRIPTOR.services_by_name
        described = services[service.rpartition(".")[2]].methods_by_name[name]
        return cls(
            target,
            f"/{service}/{name}",
            GetMessageClass(described.input_type),
            GetMessageClass(described.output_type),
        )


class Gateway:
    """What the browser talks to.

    Parameters
    ----------
    served : Target
        The server that answers from published versions.
    sandboxes : Target
        The one that trains for the page.
    allowed : frozenset of str
        What the header Host may say.
    """

    def __init__(self, served: Target, sandboxes: Target, allowed: frozenset[str]) -> None:
        unary = [Method.of(served, SERVICE, name) for name in _PASSED_ON]
        unary.append(Method.of(sandboxes, sandbox_server.SERVICE, "Inspect"))
        train = Method.of(sandboxes, sandbox_server.SERVICE, "Train")
        routes = [
            Route(method.path, _answering(_unary, method), methods=["POST"]) for method in unary
        ]
        routes.append(Route(train.path, _answering(_stream, train), methods=["POST"]))
        routes += [Route("/", _file, methods=["GET"]), Route("/{name}", _file, methods=["GET"])]
        app = Starlette(
            routes=routes,
            exception_handlers={
                404: _no_such,
                405: _wrong_method,
                ClientDisconnect: _abandoned,
                Failure: _failed,
                Exception: _unexpected,
            },
        )
        # A redirect to the path without its last slash would be a second name of each file.
        app.router.redirect_slashes = False
        # Around Starlette, not among its middlewares: its own error handler stands before them.
        self.app = Fence(app, allowed)


def _answering(respond: Any, method: Method) -> Any:
    async def endpoint(request: Request) -> Response:
        response: Response = await respond(request, method)
        return response

    return endpoint


async def _unary(request: Request, method: Method) -> Response:
    content = connect_protocol.decode(
        await _body(request, connect_protocol.UNARY), method.request()
    )
    options = _options(request, method.target)
    call = method.target.channel.unary_unary(method.path)(
        content, timeout=options.timeout, metadata=options.metadata
    )
    try:
        answer = method.response.FromString(await call)
    except grpc.aio.AioRpcError as error:
        raise connect_protocol.failure_of(error, method.target.address) from error
    headers = {
        REQUEST_ID: str(
            connect_protocol.entries(await call.trailing_metadata()).get(REQUEST_ID, "")
        )
    }
    return Response(
        connect_protocol.encode(answer), media_type=connect_protocol.UNARY, headers=headers
    )


async def _stream(request: Request, method: Method) -> Response:
    content = connect_protocol.opened(await _body(request, connect_protocol.STREAM))
    message = connect_protocol.decode(content, method.request())
    options = _options(request, method.target, seconds=None)

    async def envelopes() -> AsyncIterator[bytes]:
        call = method.target.channel.unary_stream(method.path)(
            message, timeout=options.timeout, metadata=options.metadata
        )
        try:
            async for update in call:
                yield connect_protocol.envelope(
                    connect_protocol.encode(method.response.FromString(update))
                )
            yield connect_protocol.end()
        except grpc.aio.AioRpcError as error:
            yield connect_protocol.end(connect_protocol.failure_of(error, method.target.address))
        finally:
            # The browser has gone away: then so shall the run.
            call.cancel()

    return StreamingResponse(envelopes(), media_type=connect_protocol.STREAM)


@dataclass(frozen=True)
class _Options:
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]


def _options(request: Request, target: Target, *, seconds: float | None = _SECONDS) -> _Options:
    given = request.headers.get(_TIMEOUT)
    if given is not None:
        if not (given.isascii() and given.isdigit() and len(given) <= 10):
            raise Failure(
                "invalid_argument",
                f"{_TIMEOUT}: expected milliseconds, at most ten digits, got {given[:40]!r}",
            )
        seconds = int(given) / 1000
        if not seconds:
            # To grpcio a time of 0 is none at all.
            raise Failure("deadline_exceeded", f"{_TIMEOUT}: no time is left to answer in")
    request_id = request.headers.get(REQUEST_ID, "")
    # Others are not passed on: the server replaces what it would not log, and gRPC refuses a call
    # whose metadata is too large, in words of its core.
    safe = 0 < len(request_id) <= 128 and request_id.isascii() and request_id.isprintable()
    named = ((REQUEST_ID, request_id),) if safe else ()
    return _Options(seconds, (*target.metadata, *named))


async def _body(request: Request, media_type: str) -> bytes:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        # Only with such a type does a browser ask first whether a foreign page may send it.
        raise Failure(
            "invalid_argument",
            f"expected the content type {media_type}, got {given[:80]!r}",
            http=415,
        )
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise Failure(
                "resource_exhausted",
                f"expected at most {MAX_BODY_BYTES:,} bytes a request, got more; send less at a "
                "time, or ask the gRPC server itself",
                http=413,
            )
    return bytes(content)


async def _file(request: Request) -> Response:
    # Looked up among the names that exist: no text from a request reaches the file system.
    name = request.path_params.get("name", "index.html")
    if name == "index.html":
        return Response(_PAGE, headers={"Content-Type": MEDIA_TYPES[".html"]})
    path = _FILES.get(name)
    if path is None:
        return await _no_such(request, None)
    return FileResponse(path, headers={"Content-Type": MEDIA_TYPES[path.suffix]})


async def _no_such(request: Request, _: Any) -> Response:
    return refusal(Failure("unimplemented", f"There is no {_path(request)} here.", http=404))


async def _wrong_method(request: Request, _: Any) -> Response:
    text = f"{_path(request)} cannot be asked with {request.method[:10]}: calls are POST."
    response = refusal(Failure("unimplemented", text, http=405))
    response.headers["Allow"] = "POST"
    return response


async def _abandoned(_request: Request, _: Any) -> Response:
    """Return a response for the access log's sake: the browser has closed the connection."""
    return refusal(Failure("canceled", "The browser closed the connection."))


async def _failed(_: Request, failure: Any) -> Response:
    return refusal(failure)


async def _unexpected(_request: Request, _: Any) -> Response:
    return refusal(Failure("internal", "The page's gateway failed. Its log says more."))


def _path(request: Request) -> str:
    # Not `request.url`, which joins Host and path and parses the result: "[" makes it raise.
    path: str = request.scope["path"]
    return path[:80]
