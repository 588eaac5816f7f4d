"""What stands around every method: the policies, and the table of errors.

Methods take bytes and return bytes, so that a message that cannot be parsed is an error like any
other, and an answer can be written from arrays. Policies begin before the message is read: a call
that is refused costs no memory, however large it is, but for two calls at a time. Their messages
are read and thrown away for the sake of proxies that do not pass on an answer to half a request:
behind HAProxy 2.6 callers would see CANCELLED instead of the status, from about 256 KiB on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio

from quadnet.errors import InvalidInput, Overloaded, QuadnetError, TooLarge, Violation
from service.rpc.backlog import Backlog
from service.rpc.call import REQUEST_ID, Call, Context, read_message
from service.rpc.errors import UnknownMethod, to_status, trailing_metadata
from service.rpc.message_waits import MessageWaits
from service.rpc.policies.policy import Policy
from service.telemetry import metrics
from service.wire.checks import check_answer_size

T = TypeVar("T")

_MOST_DISCARDING = 2
_SECONDS_TO_DISCARD = 0.5
"""How many refused messages may be read at a time, and for how long each."""

Unary = Callable[[bytes, Call], Awaitable[bytes]]
ServerStream = Callable[[bytes, Call], AsyncIterator[bytes]]
# As text: at run time grpcio's types cannot be subscripted.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

SECONDS_TO_BE_CANCELLED = 0.05
_SECONDS_FOR_STREAM_TO_BE_CANCELLED = 0.002

_PATIENCE = 1.0
"""Seconds that a message has to arrive even while many others wait for theirs."""

_HEALTH_CALLS = 64
_HEALTH_SECONDS = 2.0
"""Calls that ask for health need no token and compete with no others. Their messages have a few
bytes, so many of them that take long to arrive are an attack on memory."""

UNKNOWN = "unknown"
"""The method of calls that ask for a method that does not exist, in the log and the metrics."""

_GRPC_LOGGER = logging.getLogger("grpc._cython.cygrpc")


class Guard:
    """Puts policies around methods.

    Parameters
    ----------
    policies : sequence of Policy
        They begin in this order and end in the opposite one; what the first ones look at, the
        refusals of the others are too.
    limit : int
        The most calls in progress. So many messages may arrive at a time besides twice over, and
        sixteen times as many streams may be idle.
    message_timeout : float
        Seconds in which the message of a unary call has to arrive.
    backlog : Backlog or None
        Tells how long calls have waited inside gRPC.
    max_bytes : int, default=2**31 - 1
        Larger requests and answers are refused.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        limit: int,
        message_timeout: float,
        backlog: Backlog | None = None,
        max_bytes: int = 2**31 - 1,
    ) -> None:
        self._max_bytes = max_bytes
        _GRPC_LOGGER.addFilter(_is_worth_a_line)
        self._policies = tuple(policies)
        self._policies_of_health = tuple(each for each in policies if not each.exempts_health)
        self._discarding = 0
        self._closes_connections = False
        self._backlog = backlog
        self._unary = MessageWaits(2 * limit, patience=_PATIENCE, timeout=message_timeout)
        self._streams = MessageWaits(16 * limit, patience=0.0, timeout=None)
        # A check whose message is there waits for one turn of the event loop, in which gRPC hands
        # over one more: so those that make room are always others.
        self._health = MessageWaits(
            _HEALTH_CALLS, patience=0.0, timeout=min(_HEALTH_SECONDS, message_timeout)
        )

    def unary(self, method: str, respond: Unary, *, is_health: bool = False) -> Handler:
        """Return the handler of a method with one message in and one out."""
        if is_health:
            return self._unary_handler(method, respond, self._health, self._policies_of_health)
        return self._unary_handler(method, respond, self._unary, self._policies)

    def probe(self, method: str, respond: Unary) -> Handler:
        """Return the handler of a unary method without policies: not even a line in the log."""
        return self._unary_handler(method, respond, self._health, ())

    def watch(self, method: str, respond: ServerStream) -> Handler:
        """Return the handler of a method without policies, with one message in and a stream out."""
        return self._stream_out(method, respond, self._health, ())

    def stream(self, method: str, respond: Unary) -> Handler:
        """Return the handler of a method that answers each message of a stream with one.

        An answer is written before the next message is read, and writing waits for the reader:
        the server holds one message of each, however slow the caller is.
        """

        async def relay(call: Call) -> None:
            while (content := await self._streams.message(call)) is not grpc.aio.EOF:
                request = self._received(content)
                with _work(self._policies, call):
                    reply = await respond(request, call)
                await call.context.write(self._checked(reply))
            # A caller that has gone away looks the same as the end of the messages, until gRPC
            # cancels this. Without the wait its call would be counted as answered. Usually 0.1 ms
            # are enough.
            await asyncio.sleep(_SECONDS_FOR_STREAM_TO_BE_CANCELLED)

        return self._streaming(method, relay, self._policies)

    def server_stream(self, method: str, respond: ServerStream) -> Handler:
        """Return the handler of a method with one message in and a stream out.

        It works until its last message is written.
        """
        return self._stream_out(method, respond, self._unary, self._policies)

    async def refuse_unknown(self, context: Context, services: Iterable[str]) -> None:
        """End a call of a method that is none of these services'.

        gRPC refuses such calls, too, but unseen by the policies, and so by the log and the metrics.
        """

        async def refuse(_call: Call) -> None:
            raise UnknownMethod(services)

        # Not under the path: callers choose it, and each would become a label of the metrics.
        await self._run(UNKNOWN, context, self._policies, refuse)

    def end_idle_calls(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on, end each call that waits for a message for so long, with this error."""
        for waits in (self._unary, self._streams, self._health):
            waits.end_idle(seconds, error)

    def expect_closed_connections(self) -> None:
        """From now on a call without a connection has lost it to the server, not to its caller."""
        self._closes_connections = True

    def close(self) -> None:
        """Let the policies finish: no call will come any more."""
        for waits in (self._unary, self._streams, self._health):
            waits.close()
        for policy in self._policies:
            policy.close()

    def _unary_handler(
        self, method: str, respond: Unary, waits: MessageWaits, policies: Sequence[Policy]
    ) -> Handler:
        async def read_and_respond(call: Call) -> bytes:
            content = await self._first(waits, call)
            with _work(policies, call):
                return self._checked(await respond(content, call))

        async def handle(_requests: object, context: Context) -> bytes:
            return await self._run(method, context, policies, read_and_respond)

        # To the library it is a stream: it reads a unary call's message before it asks anybody.
        return grpc.stream_unary_rpc_method_handler(handle)

    def _stream_out(
        self, method: str, respond: ServerStream, waits: MessageWaits, policies: Sequence[Policy]
    ) -> Handler:
        async def relay(call: Call) -> None:
            content = await self._first(waits, call)
            with _work(policies, call):
                async for reply in respond(content, call):
                    await call.context.write(self._checked(reply))

        return self._streaming(method, relay, policies)

    def _streaming(
        self, method: str, relay: Callable[[Call], Awaitable[None]], policies: Sequence[Policy]
    ) -> Handler:
        async def handle(_requests: object, context: Context) -> None:
            await self._run(method, context, policies, relay, is_unary=False)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _first(self, waits: MessageWaits, call: Call) -> bytes:
        """Return the one message of a call."""
        call.has_read = True
        content = await waits.message(call)
        if content is grpc.aio.EOF:
            # The caller has sent none, or has gone away: then gRPC cancels this in a moment.
            await asyncio.sleep(SECONDS_TO_BE_CANCELLED)
            raise InvalidInput([Violation("request", "expected one message, got none")])
        return self._received(content)

    def _received(self, content: object) -> bytes:
        """Return a message; raise TooLarge if it is.

        gRPC's own refusal would leave no trace of its status: it ends the call from within, which
        looks as if the caller had cancelled it.
        """
        assert isinstance(content, bytes)
        if len(content) > self._max_bytes:
            raise TooLarge(
                f"The request has {len(content)} bytes; this server reads at most "
                f"{self._max_bytes}. Send it in several calls."
            )
        return content

    def _checked(self, answer: bytes) -> bytes:
        """Return the answer if it is not too large; methods that know what to do say so first."""
        check_answer_size(
            len(answer),
            self._max_bytes,
            field="request",
            instead="ask for less, or raise the server's --max-message-bytes",
        )
        return answer

    async def _discard_message(self, context: Context) -> None:
        """Read the message of a refused call, within bounds."""
        if self._discarding >= _MOST_DISCARDING or context.time_remaining() == 0:
            return
        self._discarding += 1
        try:
            async with asyncio.timeout(_SECONDS_TO_DISCARD):
                await read_message(context)
        except (TimeoutError, grpc.aio.InternalError):
            pass
        finally:
            self._discarding -= 1

    def _begin(self, method: str, context: Context) -> Call:
        if self._backlog is None:
            return Call.begin(method, context)
        waited = self._backlog.begin()
        return Call.begin(method, context, waited, self._backlog.waiting)

    async def _run(
        self,
        method: str,
        context: Context,
        policies: Sequence[Policy],
        work: Callable[[Call], Awaitable[T]],
        *,
        is_unary: bool = True,
    ) -> T:
        call = self._begin(method, context)
        begun = []
        try:
            for policy in policies:
                policy.begin(call)
                begun.append(policy)
            return await work(call)
        except asyncio.CancelledError:
            # By the caller, or by the library because the deadline has come.
            call.status = self._status_of_lost(call)
            raise
        except grpc.aio.InternalError:
            raise self._connection_lost(call) from None
        except grpc.aio.BaseError:
            # The server has stopped.
            call.status = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            if is_unary and not call.has_read:
                # Refused before the message was read: from here on the call holds no slot.
                while begun:
                    begun.pop().end(call)
            await self._refuse(call, error, discards=is_unary and not call.has_read)
            raise AssertionError("a refusal raises") from error
        finally:
            for policy in reversed(begun):
                policy.end(call)

    async def _refuse(self, call: Call, error: Exception, *, discards: bool) -> None:
        """End a call with the error's status, and raise.

        Unlike a status that is only set, this one goes without a message before it: what has sent a
        message is not retried by clients.
        """
        if isinstance(error, Overloaded):
            metrics.CALLS_SHED.inc()
        call.status, status = to_status(error, call.method, call.request_id)
        if call.context.time_remaining() == 0:
            # gRPC has given this call its status, or does so in a moment. A second one could not be
            # sent, and grpcio leaks what it fails to send: 400 bytes a call.
            call.status = grpc.StatusCode.DEADLINE_EXCEEDED
            raise asyncio.CancelledError from error
        if discards:
            await self._discard_message(call.context)
        metadata = (*trailing_metadata(error, status), (REQUEST_ID, call.request_id))
        try:
            await call.context.abort(call.status, status.message, metadata)
        except grpc.aio.AbortError as aborted:
            # gRPC keeps this error with the call. What it refers to refers to the call: each call
            # that was refused would live until the garbage collector runs.
            aborted.__traceback__ = aborted.__context__ = None
            raise asyncio.CancelledError("The call is refused.") from None
        except grpc.aio.InternalError:
            raise self._connection_lost(call) from None

    def _connection_lost(self, call: Call) -> asyncio.CancelledError:
        """Return what to raise where gRPC cannot send or read because the call has ended.

        gRPC's own error, raised on, would be logged with two tracebacks if it arrives before gRPC
        has noted that the caller has gone.
        """
        call.status = self._status_of_lost(call)
        return asyncio.CancelledError("The connection is lost.")

    def _status_of_lost(self, call: Call) -> grpc.StatusCode:
        """Return the status that the caller of a call without a connection sees."""
        if self._closes_connections:
            return grpc.StatusCode.UNAVAILABLE
        return call.status_of_caller_that_left()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Return whether a message of gRPC's own is more than a remark on a caller, with a traceback.

    One is that an answer found no caller any more, where the call ends after the method has
    returned and before the event loop has heard of it. The other is that metadata are not UTF-8.
    """
    return not str(record.msg).startswith(
        ("ExecuteBatchError raised in core by servicer method", "Invalid encoding on ")
    )


@contextmanager
def _work(policies: Sequence[Policy], call: Call) -> Iterator[None]:
    """Let the policies look at a call while it makes its answer."""
    call.slot = slot = _Slot(policies, call)
    try:
        slot.take()
        yield
    finally:
        slot.release()
        # Else the two refer to each other, and live until the garbage collector runs.
        call.slot = None


class _Slot:
    """The policies whose work has begun for a call."""

    def __init__(self, policies: Sequence[Policy], call: Call) -> None:
        self._policies = policies
        self._call = call
        self._begun: list[Policy] = []

    def take(self) -> None:
        if self._begun:
            return
        for policy in self._policies:
            policy.begin_work(self._call)
            self._begun.append(policy)

    def release(self) -> None:
        while self._begun:
            self._begun.pop().end_work(self._call)
