"""One HTTP connection, bounded in time and memory.

Uvicorn reads and writes HTTP/1.1. By itself it waits without limit for the head of a request, for
a client that does not read, and for the rest of a body that it discards.
"""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

SECONDS_FOR_HEAD = 10.0
"""Time from the first byte of a request, or from the connection, to the end of its headers."""

SECONDS_IDLE = 75
"""Time for which a connection may stay without a request. Proxies reuse theirs for a minute."""

SECONDS_TO_FLUSH = 5.0
"""Time for a client to read the rest of an answer after which the connection is closed."""

MAX_HEAD_BYTES = 16 * 1024

_NO_LINGER = struct.pack("ii", 1, 0)

App: TypeAlias = Callable[["RestConnection", Any, Any, Any], Awaitable[None]]

_QUIET = logging.getLogger(f"{__name__}.uvicorn")
_QUIET.setLevel(logging.ERROR)


@dataclass
class Connections:
    """The connections of one server.

    Attributes
    ----------
    limit : int
        Maximum number of connections. A new one closes the one that has been idle for longest, or
        is closed itself if all of them work.
    state : ServerState
        Uvicorn's record of all connections.
    idle : dict
        The connections without a request, ordered by the start of their idleness.
    """

    limit: int
    state: ServerState = field(default_factory=ServerState)
    idle: dict["RestConnection", None] = field(default_factory=dict)


class RestConnection(H11Protocol):
    """The protocol of one connection.

    Parameters
    ----------
    config : uvicorn.Config
    connections : Connections
    app : callable
        Called with this connection and the three arguments of ASGI, in a task for each request.

    Attributes
    ----------
    working : asyncio.Task or None
        The task of the current request. It is cancelled when the connection is lost.
    is_malformed : bool
        Whether the client has sent what is not HTTP.
    made : float
        Start of the connection, on the loop's clock.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections, app: App) -> None:
        super().__init__(config, connections.state, {})
        self.app = partial(app, self)
        self.logger = _QUIET
        self.working: asyncio.Task[Any] | None = None
        self.is_malformed = False
        self.made = self.loop.time()
        self._all = connections
        self._head_due: asyncio.TimerHandle | None = None
        self._abort_due: asyncio.TimerHandle | None = None

    @property
    def has_read_request(self) -> bool:
        """Whether the whole body of the current request has arrived."""
        return self.conn.their_state is not h11.SEND_BODY

    # As in uvicorn; uvloop's transports are not instances of asyncio's class.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._all.limit:
            # Itself, if no other connection is idle.
            next(iter(self._all.idle)).abort()

    def data_received(self, data: bytes) -> None:
        """Handle bytes of the client."""
        super().data_received(data)
        if self.conn.their_state is h11.DONE and not self.conn.trailing_data[0]:
            # Uvicorn stops reading at a large part of a body. After the last one it would not
            # notice that the client has gone.
            self.flow.resume_reading()
        if self.conn.their_state is not h11.IDLE:
            self._end_wait_for_head()
        elif self._head_due is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the current request."""
        self._end_wait_for_head()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._abort_due is not None:
            self._abort_due.cancel()
        if self.working is not None:
            self.working.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have arrived already."""
        self._all.idle[self] = None
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE:
            self._all.idle.pop(self, None)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, which has been idle for too long."""
        self.close()

    def close_after_answer(self) -> None:
        """Close the connection after the current answer, which must not have been completed."""
        self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Close the connection if it has no request."""
        if self in self._all.idle:
            self.close()

    def close(self) -> None:
        """Close the connection once the client has read everything, or a few seconds later."""
        self._all.idle.pop(self, None)
        self.transport.close()
        if self._abort_due is None and self.transport.get_write_buffer_size():
            self._abort_due = self.loop.call_later(SECONDS_TO_FLUSH, self.abort)

    def end_request(self) -> None:
        """Forget the current task, whose answer has been written."""
        if self.working is asyncio.current_task():
            self.working = None
        if self.transport.is_closing():
            self.close()

    def abort(self) -> None:
        """Close the connection at once, without what the client has not read."""
        self._all.idle.pop(self, None)
        # Otherwise the kernel would keep the rest for minutes.
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, and close the connection."""
        self.is_malformed = True
        self._refuse(
            b"400 Bad Request",
            "INVALID_ARGUMENT",
            "The bytes are not a request in HTTP/1.1, or its headers take more than "
            f"{MAX_HEAD_BYTES} bytes.",
        )

    def _wait_for_head(self) -> None:
        self._all.idle[self] = None
        self._head_due = self.loop.call_later(SECONDS_FOR_HEAD, self._end_slow_head)

    def _end_wait_for_head(self) -> None:
        self._all.idle.pop(self, None)
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _end_slow_head(self) -> None:
        self._head_due = None
        if self.conn.trailing_data[0]:
            self._refuse(
                b"408 Request Timeout",
                "DEADLINE_EXCEEDED",
                f"The headers did not arrive within {SECONDS_FOR_HEAD:g} seconds.",
            )
        else:
            self.close()

    def _refuse(self, status: bytes, code: str, message: str) -> None:
        """Answer a request that has no task, and close the connection."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = json.dumps({"error": message, "code": code}).encode("ascii")
            self.transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (status, len(body), body)
            )
        self.close()
