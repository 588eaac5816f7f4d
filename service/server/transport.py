"""grpcio's asyncio server with one queue per method, protected against paths that are not UTF-8.

gRPC's core keeps the calls of each registered method in a separate queue, so a health check does
not wait behind thousands of other calls. Calls to unknown methods have one common queue. From 1.84
on, the first version with these queues, grpcio decodes the paths in that queue in its main loop: a
single path that is not UTF-8, sent by any client, ends the loop and so the server. Therefore this
module takes the calls out of that queue without decoding their paths. It overrides an undocumented
method of grpcio; the tests send such a path.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, cast

import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_server

from service.rpc.grpc_calls import Context

Options = Sequence[tuple[str, Any]]
Refuse = Callable[[Context], Coroutine[Any, Any, None]]


def make_grpc_server(options: Options, refuse_unknown: Refuse) -> grpc.aio.Server:
    """Return a server without methods and without a port.

    Its methods must be registered with `add_registered_method_handlers`.

    Parameters
    ----------
    options : sequence of (str, value)
        gRPC's channel arguments.
    refuse_unknown : callable
        Ends calls to methods that are not registered.
    """
    # In grpcio's type stubs, the class does not inherit from the interface that it implements.
    return cast(grpc.aio.Server, _GrpcServer(options, refuse_unknown))


class _GrpcServer(grpc_server.Server):
    """`grpc.aio.Server` with another core."""

    def __init__(self, options: Options, refuse_unknown: Refuse) -> None:
        # Without the constructor of the base class, which would create another core.
        self._loop = asyncio.get_running_loop()
        self._server = _GrpcCore(self._loop, options, refuse_unknown)


class _GrpcCore(cygrpc.AioServer):  # type: ignore[misc]
    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: Options, refuse_unknown: Refuse
    ) -> None:
        super().__init__(loop, None, (), (), tuple(options), None)
        self._event_loop = loop
        self._refuse_unknown = refuse_unknown
        self._refusals: set[asyncio.Task[None]] = set()

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Return the future of a registered method's next call.

        For unknown methods, whose `method` is None, return a task that handles them and never ends.
        """
        if method is None:
            return self._event_loop.create_task(self._take_unknown())
        future: asyncio.Future[Any] = super()._make_request_call_future(method)
        return future

    async def _take_unknown(self) -> None:
        while True:
            state = await self._request_call()
            refusal = self._event_loop.create_task(self._refuse(state))
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)

    async def _refuse(self, state: Any) -> None:
        loop = self._event_loop
        context = cygrpc._ServicerContext(state, None, None, loop)  # noqa: SLF001
        refusal = loop.create_task(self._refuse_unknown(context))
        # As grpcio does for each call. Without this, gRPC would count the call as open for ever.
        await cygrpc._handle_cancellation_from_core(refusal, state, loop)  # noqa: SLF001
        with suppress(asyncio.CancelledError):
            await refusal
