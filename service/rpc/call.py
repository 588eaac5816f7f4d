"""One call on its way through the server: what policies read, and what is logged about it."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import grpc
import grpc.aio

from quadnet.registry.version_files import Model

REQUEST_ID = "x-request-id"

_TRANSIT_SECONDS, _ROUNDING = 0.02, 0.01
"""By how much a client's deadline may be earlier than the server's.

A client ends its call at its own deadline. The server's deadline is later by the transit time of
the request, which is assumed to be at most a quarter of the timeout, and by gRPC's rounding of
timeouts, which is up to one hundredth.
"""

# As text: at run time grpcio's types cannot be subscripted.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Slot(Protocol):
    """The place that a call occupies while it computes an answer."""

    def take(self) -> None:
        """Take the slot unless it is held; raise the error of a policy that refuses."""

    def release(self) -> None:
        """Release the slot if it is held."""


@dataclass(slots=True)
class Call:
    """One call.

    Attributes
    ----------
    method : str
        Such as ``quadrant.v1.QuadrantService/Classify``.
    context : grpc.aio.ServicerContext
    metadata : dict
    request_id : str
    waited : float
        Seconds that the call waited inside gRPC before it started.
    queued : int
        Number of calls that waited there when it started.
    has_read : bool
        Whether the call has begun to read its message.
    started : float
        Start of the call, on the performance counter.
    status, points, model, version
        The result, set once the call is answered.
    seconds, peer
        Duration and address of the caller, set once the call has ended.
    slot : Slot or None
        The slot, while the call works.
    """

    method: str
    context: Context
    metadata: dict[str, Any]
    request_id: str
    waited: float = 0.0
    queued: int = 0
    has_read: bool = False
    started: float = field(default_factory=time.perf_counter)
    status: grpc.StatusCode = grpc.StatusCode.OK
    points: int = 0
    model: str = ""
    version: int = 0
    seconds: float = 0.0
    peer: str = ""
    slot: Slot | None = None

    @classmethod
    def from_context(
        cls, method: str, context: Context, waited: float = 0.0, queued: int = 0
    ) -> "Call":
        """Return a call that has just started, with its own request id or a new one."""
        metadata = dict(context.invocation_metadata() or ())
        request_id = str(metadata.get(REQUEST_ID, ""))
        # The id is logged and sent back, so it must be short and printable.
        if not (0 < len(request_id) <= 128 and request_id.isascii() and request_id.isprintable()):
            request_id = os.urandom(8).hex()
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return cls(method, context, metadata, request_id, waited, queued)

    def note_end(self) -> None:
        """Record the duration and the peer, which gRPC soon discards."""
        self.seconds = time.perf_counter() - self.started
        self.peer = self.context.peer()

    def note_version(self, model: Model) -> None:
        """Record the version that answers."""
        self.model, self.version = model.manifest.model, model.manifest.version

    def release_slot(self) -> None:
        """Release the slot, because the call is about to wait for the registry."""
        if self.slot is not None:
            self.slot.release()

    def take_slot(self) -> None:
        """Take a slot again; raise Overloaded if all slots are taken."""
        if self.slot is not None:
            self.slot.take()

    def status_after_caller_left(self) -> grpc.StatusCode:
        """Return the status that the caller saw when it ended the call or its deadline passed."""
        # None without a deadline; grpcio's types do not declare that.
        remaining = cast("float | None", self.context.time_remaining())
        if remaining is None:
            return grpc.StatusCode.CANCELLED
        given = time.perf_counter() - self.started + remaining
        late = remaining <= min(_TRANSIT_SECONDS, given / 4) + _ROUNDING * given
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


async def read_message(context: Context) -> Any:
    """Return the next message of a call, or EOF, without the leak of grpcio's own read.

    grpcio frees the memory of a read only in the coroutine that waits for it. A cancelled call
    would cancel that coroutine and leak 100 bytes (grpc issue 43360). In a separate task the read
    completes, as soon as the call has ended.
    """
    reading = asyncio.ensure_future(context.read())
    reading.add_done_callback(_retrieve_error)
    return await asyncio.shield(reading)


def _retrieve_error(reading: "asyncio.Future[Any]") -> None:
    """Retrieve the error of a read that has no waiter, or asyncio logs it."""
    if not reading.cancelled():
        reading.exception()
