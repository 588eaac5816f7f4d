"""The standard health service, `grpc.health.v1`: one status for the server and all its services.

A further name, `LIVENESS`, is SERVING from the start: it says only that the process answers, for
those who would end one that does not.

A client that watches keeps its call open for good; without an end to that, a server that stops
would wait for it until its grace is over.
"""

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from service.backlog import Backlog
from service.call import Context, read_message
from service.guard import SECONDS_TO_BE_CANCELLED, Handler
from service.open_calls import OpenCalls

NAME = health.SERVICE_NAME

LIVENESS = "liveness"

Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """The health of a fixed set of names, all of one status.

    No policy stands around its methods, so a check is answered however busy the server is.

    Parameters
    ----------
    names : sequence of str
        The services that can be asked for; "" is the server as a whole.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._servicer = health.aio.HealthServicer()
        self._serving: bool | None = None
        self._stopping = False
        self._watches = OpenCalls()
        self._ended = asyncio.Event()

    def handlers(self, backlog: Backlog) -> dict[str, Handler]:
        """Return the service's methods, by name; their calls are counted in `backlog`."""

        async def check(_requests: object, context: Context) -> health_pb2.HealthCheckResponse:
            backlog.begin()
            request = await _request(context)
            return await self._servicer.Check(request, context)

        async def watch(_requests: object, context: Context) -> None:
            backlog.begin()
            self._watches.add()
            await self._watch(await _request(context), context)

        # As streams, because gRPC's own reading of unary calls leaks: see `read_message`.
        write = health_pb2.HealthCheckResponse.SerializeToString
        return {
            "Check": grpc.stream_unary_rpc_method_handler(check, None, write),
            "Watch": grpc.stream_stream_rpc_method_handler(watch, None, write),
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

    async def end_watches(self) -> None:
        """End every watch, and wait until the clients have been sent the end."""
        self._ended.set()
        await self._watches.wait_for_none()

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Send the status now and whenever it changes, until the caller or the server ends it."""
        watching = asyncio.ensure_future(self._servicer.Watch(request, context))
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ending.cancel()


async def _request(context: Context) -> health_pb2.HealthCheckRequest:
    """Return the request, or end the call if there is none."""
    content = await read_message(context)
    if content is grpc.aio.EOF:
        # The caller may have gone away: then gRPC cancels this in a moment.
        await asyncio.sleep(SECONDS_TO_BE_CANCELLED)
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "request: expected one message, got none"
        )
    try:
        return health_pb2.HealthCheckRequest.FromString(content)
    except DecodeError:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT,
            "request: expected the bytes of a grpc.health.v1.HealthCheckRequest, got others",
        )
        raise AssertionError("abort raises") from None
