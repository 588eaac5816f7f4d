"""The standard health service, `grpc.health.v1`: one status for the server and all its services.

A further name, `LIVENESS`, is SERVING from the start: it says only that the process answers, for
those who would end one that does not.

A client that watches keeps its call open for good; without an end to that, a server that stops
would wait for it until its grace is over.
"""

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2

from service.call import Context
from service.guard import Handler

NAME = health.SERVICE_NAME

LIVENESS = "liveness"

Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """The health of a fixed set of names, all of one status.

    No policy stands around its methods: whoever watches over the server is always answered.

    Parameters
    ----------
    names : sequence of str
        The services that can be asked for; "" is the server as a whole.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._servicer = health.aio.HealthServicer()
        self._serving: bool | None = None
        self._stopping = False
        self._ended = asyncio.Event()

    def handlers(self) -> dict[str, Handler]:
        """Return the service's methods, by name."""
        request = health_pb2.HealthCheckRequest.FromString
        response = health_pb2.HealthCheckResponse.SerializeToString
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self._servicer.Check, request, response),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, request, response),
        }

    @property
    def serving(self) -> bool:
        """Whether the status is SERVING."""
        return bool(self._serving) and not self._stopping

    async def report(self, *, serving: bool) -> None:
        """Tell whether the server is serving; only changes are sent to those who watch."""
        if serving is self._serving:
            return
        if self._serving is None:
            await self._servicer.set(LIVENESS, Status.SERVING)
        self._serving = serving
        for name in self._names:
            await self._servicer.set(name, Status.SERVING if serving else Status.NOT_SERVING)

    async def report_stopping(self) -> None:
        """Say NOT_SERVING from now on, whatever is reported later."""
        self._stopping = True
        await self._servicer.enter_graceful_shutdown()

    def end_watches(self) -> None:
        """End every watch that is open."""
        self._ended.set()

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Send the status now and whenever it changes, until the caller or the server ends it."""
        watching = asyncio.ensure_future(self._servicer.Watch(request, context))
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ending.cancel()
