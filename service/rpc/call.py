"""One call on its way through the server: what the policies look at, and what is noted of it."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import grpc
import grpc.aio

from quadnet.registry.version_files import Model

REQUEST_ID = "x-request-id"

_SECONDS_ON_THE_WAY, _ROUNDING = 0.02, 0.01
"""By how much a client's deadline may be ahead of the server's.

A client ends its call at its own deadline. The server's is later, by the way of the request, which
is taken for a quarter of short timeouts, and by gRPC's rounding, which is up to a hundredth.
"""

# As text: at run time grpcio's types cannot be subscripted.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Slot(Protocol):
    """What a call holds of the policies while it makes an answer."""

    def take(self) -> None:
        """Let the policies' work begin, unless it has; raises what refuses the call."""

    def release(self) -> None:
        """Let the policies' work end, unless it has."""


@dataclass(slots=True)
class Call:
    """One call.

    `method` is such as ``quadrant.v1.QuadrantService/Classify``. `waited` is how many seconds the
    call lay inside gRPC before it began, and `queued` how many calls lay there. `status`, `points`,
    `model` and `version` are known once it has been answered, `seconds` and `peer` once it has
    ended. `has_read` says whether the call has got as far as to read its message.
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
    def begin(cls, method: str, context: Context, waited: float = 0.0, queued: int = 0) -> "Call":
        """Note a call that has just come in, and give it an id if it brought none."""
        metadata = dict(context.invocation_metadata() or ())
        request_id = str(metadata.get(REQUEST_ID, ""))
        # What a caller sends is written into logs and sent back: neither for ever nor in binary.
        if not (0 < len(request_id) <= 128 and request_id.isascii() and request_id.isprintable()):
            request_id = os.urandom(8).hex()
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return cls(method, context, metadata, request_id, waited, queued)

    def ended(self) -> None:
        """Note how long it took and who had asked, which gRPC soon forgets."""
        self.seconds = time.perf_counter() - self.started
        self.peer = self.context.peer()

    def answered_by(self, model: Model) -> None:
        """Note which version answers."""
        self.model, self.version = model.manifest.model, model.manifest.version

    def release_slot(self) -> None:
        """Hold no slot from now on: the call is about to wait for the registry."""
        if self.slot is not None:
            self.slot.release()

    def take_slot(self) -> None:
        """Take a slot again; raise Overloaded if there is none."""
        if self.slot is not None:
            self.slot.take()

    def status_of_caller_that_left(self) -> grpc.StatusCode:
        """Return what the caller of a call that was ended from outside saw."""
        # None without a deadline, whatever grpcio's types say.
        remaining = cast("float | None", self.context.time_remaining())
        if remaining is None:
            return grpc.StatusCode.CANCELLED
        given = time.perf_counter() - self.started + remaining
        late = remaining <= min(_SECONDS_ON_THE_WAY, given / 4) + _ROUNDING * given
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


async def read_message(context: Context) -> Any:
    """Return the next message of a call, or EOF; grpcio's own read leaks if it is cancelled.

    grpcio frees the memory of a read only in the coroutine that waits for it. A cancelled call
    would cancel that coroutine, and 100 bytes would be lost (grpc issue 43360). In a task of its
    own the read ends by itself, which it does as soon as the call has ended.
    """
    reading = asyncio.ensure_future(context.read())
    reading.add_done_callback(_retrieve_error)
    return await asyncio.shield(reading)


def _retrieve_error(reading: "asyncio.Future[Any]") -> None:
    """Look at the error of a read that is no longer waited for, or asyncio logs it."""
    if not reading.cancelled():
        reading.exception()
