"""Who may talk to the page: pages of other origins and names that merely resolve to us may not.

The names that are allowed are told, never taken from the request: a site that rebinds its name to
127.0.0.1 sends its own name in both headers.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import address
from service.web.connect import Failure

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def allowed_hosts(host: str, port: int, others: Collection[str]) -> frozenset[str]:
    """Return what the header Host may say: where the page is, on this machine, and the others."""
    names = {"127.0.0.1", "localhost", "::1"}
    if host not in address.EVERYWHERE:
        names.add(host)
    here = {address.join(name, port) for name in names}
    return frozenset(name.lower() for name in (*here, *others))


class Fence:
    """Stands before everything else: checks Host and Origin, and adds the security headers."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        failure = self._refusal(Headers(scope=scope))
        if failure is None:
            await self._app(scope, receive, send_with_headers)
        else:
            response = JSONResponse(failure.as_json(), failure.status)
            await response(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> Failure | None:
        known = ", ".join(sorted(self._allowed))
        host = headers.get("host", "")
        if host.lower() not in self._allowed:
            return Failure(
                "permission_denied",
                f"expected the header Host to be one of {known}, got {host[:80]!r}. "
                "Start the page with --allow-host to let it be called so.",
                http=421,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self._allowed:
            return Failure(
                "permission_denied",
                f"expected a request from the page itself, got one from {origin[:80]!r}.",
            )
        return None
