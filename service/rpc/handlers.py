"""gRPC handlers for methods that take bytes and return bytes.

A method gets the bytes of a message, so that an unparsable message is an error like any other, and
returns bytes, so that an answer can be written from arrays.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpc.aio

from quadnet.errors import InvalidInput, QuadnetError, TooLarge, Violation
from service.rpc.backlog import Backlog
from service.rpc.call import Call
from service.rpc.call_runner import CallRunner
from service.rpc.errors import UnknownMethod
from service.rpc.grpc_calls import Context, read_message
from service.rpc.message_waits import MessageWaits
from service.rpc.policies.policy import CallPolicy
from service.rpc.policy_steps import hold_slot
from service.wire.checks import check_answer_size

Unary = Callable[[bytes, Call], Awaitable[bytes]]
ServerStream = Callable[[bytes, Call], AsyncIterator[bytes]]
# As text: at run time grpcio's types cannot be subscripted.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_SECONDS_TO_BE_CANCELLED = 0.05
_SECONDS_FOR_STREAM_TO_BE_CANCELLED = 0.002

_EVICTION_AGE = 1.0
"""Seconds that a message has to arrive even while many other calls wait for theirs."""

_HEALTH_CALLS = 64
_HEALTH_SECONDS = 2.0
"""Limits for health checks, which need no token and do not compete with other calls. Their messages
have a few bytes, so many slow ones are an attack on memory."""

_UNKNOWN_METHOD = "unknown"
"""The method name of calls to a method that does not exist, in the log and the metrics."""


class HandlerFactory:
    """Makes gRPC handlers that run a method with the server's policies and limits.

    Parameters
    ----------
    policies : sequence of CallPolicy
        They start in this order and end in reverse order. An earlier policy also sees the calls
        that a later one refuses.
    limit : int
        Maximum number of calls in progress. In addition, twice as many messages may be arriving,
        and sixteen times as many streams may be idle.
    message_timeout : float
        Seconds within which the message of a unary call must arrive.
    backlog : Backlog or None
        Measures how long calls have waited inside gRPC.
    max_bytes : int, default=2**31 - 1
        Maximum size of requests and answers.
    """

    def __init__(
        self,
        policies: Sequence[CallPolicy],
        *,
        limit: int,
        message_timeout: float,
        backlog: Backlog | None = None,
        max_bytes: int = 2**31 - 1,
    ) -> None:
        self._max_bytes = max_bytes
        self._policies = tuple(policies)
        self._health_policies = tuple(each for each in policies if not each.exempts_health)
        self._runner = CallRunner(backlog)
        self._unary = MessageWaits(2 * limit, eviction_age=_EVICTION_AGE, timeout=message_timeout)
        self._streams = MessageWaits(16 * limit, eviction_age=0.0, timeout=None)
        # A check whose message has arrived waits for one turn of the event loop, in which gRPC
        # starts only one more call. So a check with its message is never the oldest one.
        self._health = MessageWaits(
            _HEALTH_CALLS, eviction_age=0.0, timeout=min(_HEALTH_SECONDS, message_timeout)
        )

    def make_unary(self, method: str, respond: Unary, *, is_health: bool = False) -> Handler:
        """Return the handler of a method with one message in and one message out."""
        if is_health:
            return self._make_unary(method, respond, self._health, self._health_policies)
        return self._make_unary(method, respond, self._unary, self._policies)

    def make_unary_without_policies(self, method: str, respond: Unary) -> Handler:
        """Return the handler of a unary method whose calls are neither limited nor logged."""
        return self._make_unary(method, respond, self._health, ())

    def make_server_stream(self, method: str, respond: ServerStream) -> Handler:
        """Return the handler of a method with one message in and a stream out.

        The call holds its slot until the last message is written.
        """
        return self._make_server_stream(method, respond, self._unary, self._policies)

    def make_server_stream_without_policies(self, method: str, respond: ServerStream) -> Handler:
        """Return the handler of a server stream whose calls are neither limited nor logged."""
        return self._make_server_stream(method, respond, self._health, ())

    def make_stream(self, method: str, respond: Unary) -> Handler:
        """Return the handler of a method that answers each message of a stream with one message.

        An answer is written before the next message is read, and writing waits until the caller
        reads. So the server holds at most one message in each direction, however slow the caller.
        """

        async def relay(call: Call, context: Context) -> None:
            while True:
                content = await self._streams.receive(call, partial(read_message, context))
                if content is grpc.aio.EOF:
                    break
                request = self._check_request_size(content)
                with hold_slot(self._policies, call):
                    reply = await respond(request, call)
                await context.write(self._check_answer_size(reply))
            # A lost caller looks like the end of the stream until gRPC cancels this task. Without
            # the wait its call would be counted as answered. Usually 0.1 ms are enough.
            await asyncio.sleep(_SECONDS_FOR_STREAM_TO_BE_CANCELLED)

        return self._make_stream(method, relay, self._policies)

    async def refuse_unknown(self, context: Context, services: Iterable[str]) -> None:
        """Refuse a call to a method that is not in these services.

        gRPC itself would refuse it too, but then it would be neither logged nor counted.
        """

        async def refuse(_call: Call, _context: Context) -> None:
            raise UnknownMethod(services)

        # Not under its path: callers choose it, and each path would become a label of the metrics.
        await self._runner.run(_UNKNOWN_METHOD, context, self._policies, refuse)

    def end_idle_calls(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on, end each call that has waited this long for a message, with this error."""
        for waits in (self._unary, self._streams, self._health):
            waits.end_idle(seconds, error)

    def expect_closed_connections(self) -> None:
        """From now on, record lost calls as UNAVAILABLE: the server closes the connections."""
        self._runner.closes_connections = True

    def close(self) -> None:
        """Close the policies and the message waits, after the last call."""
        for waits in (self._unary, self._streams, self._health):
            waits.close()
        for policy in self._policies:
            policy.close()

    def _make_unary(
        self, method: str, respond: Unary, waits: MessageWaits, policies: Sequence[CallPolicy]
    ) -> Handler:
        async def read_and_respond(call: Call, context: Context) -> bytes:
            content = await self._read_only_message(waits, call, context)
            with hold_slot(policies, call):
                return self._check_answer_size(await respond(content, call))

        async def handle(_requests: object, context: Context) -> bytes:
            return await self._runner.run(method, context, policies, read_and_respond)

        # Declared as a stream: grpcio reads the message of a unary call before it calls a handler.
        return grpc.stream_unary_rpc_method_handler(handle)

    def _make_server_stream(
        self,
        method: str,
        respond: ServerStream,
        waits: MessageWaits,
        policies: Sequence[CallPolicy],
    ) -> Handler:
        async def relay(call: Call, context: Context) -> None:
            content = await self._read_only_message(waits, call, context)
            with hold_slot(policies, call):
                async for reply in respond(content, call):
                    await context.write(self._check_answer_size(reply))

        return self._make_stream(method, relay, policies)

    def _make_stream(
        self,
        method: str,
        relay: Callable[[Call, Context], Awaitable[None]],
        policies: Sequence[CallPolicy],
    ) -> Handler:
        async def handle(_requests: object, context: Context) -> None:
            await self._runner.run(method, context, policies, relay, is_unary=False)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _read_only_message(self, waits: MessageWaits, call: Call, context: Context) -> bytes:
        """Return the one message of a call."""
        call.has_read = True
        content = await waits.receive(call, partial(read_message, context))
        if content is grpc.aio.EOF:
            # The caller sent no message, or is lost: then gRPC cancels this task in a moment.
            await asyncio.sleep(_SECONDS_TO_BE_CANCELLED)
            raise InvalidInput([Violation("request", "expected one message, got no message")])
        return self._check_request_size(content)

    def _check_request_size(self, content: object) -> bytes:
        """Return the message; raise TooLarge if it has more than the maximum number of bytes.

        gRPC's own refusal is not visible here: it ends the call internally, which looks like a
        cancellation by the caller.
        """
        assert isinstance(content, bytes)
        if len(content) > self._max_bytes:
            raise TooLarge(
                f"The request has {len(content)} bytes; this server reads at most "
                f"{self._max_bytes}. Send it in several calls."
            )
        return content

    def _check_answer_size(self, answer: bytes) -> bytes:
        """Return the answer if it is not too large.

        Methods that can give better advice check the size of their answers before.
        """
        check_answer_size(
            len(answer),
            self._max_bytes,
            field="request",
            instead="request less, or raise the server's setting max_message_bytes",
        )
        return answer
