"""Access control of the page: refuses requests by other origins and under other host names.

The allowed names come from the settings, never from the request: a site that rebinds its name to
127.0.0.1 sends its own name in both headers.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.net.address import WILDCARD_HOSTS, join_address
from service.playground import connect_protocol
from service.playground.connect_protocol import ConnectError

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Headers of every response. The HTTP server adds them, so that its own errors carry them too."""


def allowed_hosts(host: str, port: int, others: Collection[str]) -> frozenset[str]:
    """Return the allowed values of the header Host: the page's own addresses, and `others`."""
    names = {"127.0.0.1", "localhost", "::1"}
    if host not in WILDCARD_HOSTS:
        names.add(host)
    own = {join_address(name, port) for name in names}
    return frozenset(name.lower() for name in (*own, *others))


def make_error_response(error: ConnectError) -> Response:
    """Return the response that reports the error."""
    return Response(error.encoded(), error.status, media_type=connect_protocol.UNARY)


class HostCheck:
    """Middleware that checks Host and Origin before any other code handles a request.

    Both headers are compared as text with the allowed values. Nothing in them is parsed, so no
    value can make the check itself fail.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._hosts = allowed
        # A proxy that adds TLS is in front of the page: its origin is the same name over https.
        self._origins = frozenset(
            f"{scheme}://{host}" for scheme in ("http", "https") for host in allowed
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        error = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        app = self._app if error is None else make_error_response(error)
        await app(scope, receive, send)

    def _refusal(self, headers: Headers) -> ConnectError | None:
        # A header that is sent twice has two values, and each must be allowed.
        for host in headers.getlist("host") or [""]:
            if host.lower() not in self._hosts:
                known = ", ".join(sorted(self._hosts))
                return ConnectError(
                    "permission_denied",
                    f"expected the header Host to be one of {known}, got {host[:80]!r}. "
                    "The setting allow_host of the page allows another name.",
                    http=421,
                )
        for origin in headers.getlist("origin"):
            if origin.lower() not in self._origins:
                return ConnectError(
                    "permission_denied",
                    f"expected a request from the page itself, got one from {origin[:80]!r}.",
                )
        return None
