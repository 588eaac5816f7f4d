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
from service.playground.connect_protocol import Failure

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
    """Return what the header Host may say: where the page is, on this machine, and the others."""
    names = {"127.0.0.1", "localhost", "::1"}
    if host not in WILDCARD_HOSTS:
        names.add(host)
    here = {join_address(name, port) for name in names}
    return frozenset(name.lower() for name in (*here, *others))


def refusal(failure: Failure) -> Response:
    """Return the response that reports the failure."""
    return Response(failure.encoded(), failure.status, media_type=connect_protocol.UNARY)


class Fence:
    """Middleware that checks Host and Origin before anything else looks at a request.

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
        failure = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        app = self._app if failure is None else refusal(failure)
        await app(scope, receive, send)

    def _refusal(self, headers: Headers) -> Failure | None:
        # A header that is sent twice has two values, and each must be allowed.
        for host in headers.getlist("host") or [""]:
            if host.lower() not in self._hosts:
                known = ", ".join(sorted(self._hosts))
                return Failure(
                    "permission_denied",
                    f"expected the header Host to be one of {known}, got {host[:80]!r}. "
                    "The setting allow_host of the page allows another name.",
                    http=421,
                )
        for origin in headers.getlist("origin"):
            if origin.lower() not in self._origins:
                return Failure(
                    "permission_denied",
                    f"expected a request from the page itself, got one from {origin[:80]!r}.",
                )
        return None
