"""One call on its way through the server: what policies read, and what is logged about it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from quadnet.registry.version_files import Model

REQUEST_ID = "x-request-id"

_TRANSIT_SECONDS, _ROUNDING = 0.02, 0.01
"""By how much a client's deadline may be earlier than the server's.

A client ends its call at its own deadline. The server's deadline is later by the transit time of
the request, which is assumed to be at most a quarter of the timeout, and by gRPC's rounding of
timeouts, which is up to one hundredth.
"""


class CallContext(Protocol):
    """What a call needs of its transport. The context of a gRPC call is one."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without a deadline."""

    def peer(self) -> str:
        """Return the caller's address."""


class Slot(Protocol):
    """The place that a call occupies while it computes an answer."""

    def take(self) -> None:
        """Take the slot unless it is held; raise the error of a policy that refuses."""

    def release(self) -> None:
        """Release the slot if it is held."""


@dataclass(slots=True)
class Call:
    """One call, over gRPC or HTTP.

    Attributes
    ----------
    method : str
        Such as ``quadrant.v1.QuadrantService/Classify`` or ``POST /v1/classify``.
    context : CallContext
    metadata : mapping
        The metadata of gRPC, or the headers of HTTP, by their names in lower case.
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
    context: CallContext
    metadata: Mapping[str, Any]
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

    def note_end(self) -> None:
        """Record the duration and the peer, which the transport soon discards."""
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
        remaining = self.context.time_remaining()
        if remaining is None:
            return grpc.StatusCode.CANCELLED
        given = time.perf_counter() - self.started + remaining
        late = remaining <= min(_TRANSIT_SECONDS, given / 4) + _ROUNDING * given
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def choose_request_id(metadata: Mapping[str, Any]) -> str:
    """Return the caller's request id if it is short and printable, or a new one.

    It is logged and sent back.
    """
    request_id = str(metadata.get(REQUEST_ID, ""))
    if 0 < len(request_id) <= 128 and request_id.isascii() and request_id.isprintable():
        return request_id
    return os.urandom(8).hex()
