"""The standard health service, `grpc.health.v1`: one status for the server and all its services.

The further name `LIVENESS` is SERVING from the start: it only shows that the process responds, for
liveness probes.

The servicer of grpcio-health-checking was rejected: it writes to one watching client after another
under a lock, so a client that does not read delays every change of status.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from grpc_health.v1 import health, health_pb2

from quadnet.errors import NotFound, listing
from service.rpc.call import Call
from service.rpc.handlers import Handler, HandlerFactory
from service.rpc.open_calls import OpenCalls
from service.wire.messages import parse_message

HEALTH_SERVICE = health.SERVICE_NAME

LIVENESS = "liveness"

Status = health_pb2.HealthCheckResponse.ServingStatus


class HealthServicer:
    """The health of a fixed set of names, all with the same status.

    Its methods have no policies, so a check is answered however busy the server is.

    Parameters
    ----------
    names : sequence of str
        The services; "" is the server as a whole.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._statuses = {LIVENESS: Status.SERVING} | dict.fromkeys(names, Status.NOT_SERVING)
        self._changed = asyncio.Event()
        self._stopping = False
        self._ended = False
        self._watches = OpenCalls()

    def make_handlers(self, factory: HandlerFactory) -> dict[str, Handler]:
        """Return the handlers of the service's methods, by name."""
        return {
            "Check": factory.make_unary_without_policies(f"{HEALTH_SERVICE}/Check", self._check),
            "Watch": factory.make_server_stream_without_policies(
                f"{HEALTH_SERVICE}/Watch", self._watch
            ),
        }

    @property
    def serving(self) -> bool:
        """Whether the status is SERVING."""
        return bool(self._statuses[self._names[0]] == Status.SERVING)

    def set_serving(self, *, serving: bool) -> None:
        """Set the status, unless the server is stopping."""
        if not self._stopping:
            self._set(Status.SERVING if serving else Status.NOT_SERVING, self._names)

    def set_stopping(self) -> None:
        """Set NOT_SERVING for every name, until the end of the process."""
        self._stopping = True
        self._set(Status.NOT_SERVING, list(self._statuses))

    async def end_watches(self) -> None:
        """End every watch, and wait until gRPC has sent the end to the clients."""
        self._ended = True
        self._notify()
        await self._watches.wait_until_zero()

    def _set(self, status: int, names: Sequence[str]) -> None:
        self._statuses |= dict.fromkeys(names, status)
        self._notify()

    def _notify(self) -> None:
        """Wake every watch; each then waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _check(self, content: bytes, call: Call) -> bytes:
        service = parse_message(health_pb2.HealthCheckRequest, content).service
        if service not in self._statuses:
            raise NotFound(
                f"The server has no health for a service of this name. It has: "
                f"{listing([name or repr(name) for name in self._statuses])}."
            )
        return _response(self._statuses[service])

    async def _watch(self, content: bytes, call: Call) -> AsyncIterator[bytes]:
        """Yield the status now and after each change, until the caller or the server ends it."""
        service = parse_message(health_pb2.HealthCheckRequest, content).service
        self._watches.add()
        last = None
        while not self._ended:
            changed = self._changed
            status = self._statuses.get(service, Status.SERVICE_UNKNOWN)
            if status != last:
                last = status
                yield _response(status)
            else:
                await changed.wait()


def _response(status: int) -> bytes:
    content: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return content
