"""Runs a call: starts and ends the policies, and turns errors into statuses.

Policies start before the message is read, so a refused call costs no memory, however large its
message is. The exception are two refused calls at a time: their messages are read and discarded,
because some proxies do not forward an answer to half a request. Behind HAProxy 2.6 callers would
see CANCELLED instead of the status, from about 256 KiB on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from quadnet.errors import Overloaded
from service.rpc.backlog import Backlog
from service.rpc.call import REQUEST_ID, Call
from service.rpc.errors import describe_error, make_status, make_trailing_metadata
from service.rpc.grpc_calls import Context, make_call, read_message
from service.rpc.policies.policy import CallPolicy
from service.rpc.policy_steps import StartedPolicies
from service.telemetry import metrics

T = TypeVar("T")

_MAX_DISCARDING = 2
_SECONDS_TO_DISCARD = 0.5
"""How many messages of refused calls may be read at a time, and for how long each."""

_GRPC_LOGGER = logging.getLogger("grpc._cython.cygrpc")


class CallRunner:
    """Runs calls with policies.

    Parameters
    ----------
    backlog : Backlog or None
        Measures how long calls have waited inside gRPC.

    Attributes
    ----------
    closes_connections : bool
        Whether the server is closing connections, so that lost calls are UNAVAILABLE.
    """

    def __init__(self, backlog: Backlog | None) -> None:
        _GRPC_LOGGER.addFilter(_is_worth_logging)
        self._backlog = backlog
        self._discarding = 0
        self.closes_connections = False

    async def run(
        self,
        method: str,
        context: Context,
        policies: Sequence[CallPolicy],
        work: Callable[[Call, Context], Awaitable[T]],
        *,
        is_unary: bool = True,
    ) -> T:
        """Start the policies, run `work`, and end the policies; end the call with any error."""
        call = self._make_call(method, context)
        started = StartedPolicies(call)
        try:
            started.begin(policies)
            return await work(call, context)
        except asyncio.CancelledError:
            # By the caller, or by grpcio because the deadline has passed.
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
                # Refused before its message was read: the policies end before it is discarded.
                started.end()
            await self._refuse(call, context, error, discards=is_unary and not call.has_read)
            raise AssertionError("a refusal raises") from error
        finally:
            started.end()

    def _make_call(self, method: str, context: Context) -> Call:
        if self._backlog is None:
            return make_call(method, context)
        waited = self._backlog.start_call()
        return make_call(method, context, waited, self._backlog.waiting)

    async def _refuse(
        self, call: Call, context: Context, error: Exception, *, discards: bool
    ) -> None:
        """End a call with the error's status; always raises.

        `abort` sends no message before the status, unlike `set_code`: a client does not retry a
        call that has received a message.
        """
        if isinstance(error, Overloaded):
            metrics.CALLS_SHED.inc()
        report = describe_error(error, call.method, call.request_id)
        call.status, status = report.code, make_status(report)
        if call.context.time_remaining() == 0:
            # gRPC has set this call's status, or will in a moment. A second status could not be
            # sent, and grpcio leaks what it fails to send: 400 bytes per call.
            call.status = grpc.StatusCode.DEADLINE_EXCEEDED
            raise asyncio.CancelledError from error
        if discards:
            await self._discard_message(context)
        metadata = (*make_trailing_metadata(report, status), (REQUEST_ID, call.request_id))
        try:
            await context.abort(call.status, status.message, metadata)
        except grpc.aio.AbortError as aborted:
            # gRPC stores this error in the call, and its traceback refers to the call: each
            # refused call would live until the garbage collector runs.
            aborted.__traceback__ = aborted.__context__ = None
            raise asyncio.CancelledError("The call is refused.") from None
        except grpc.aio.InternalError:
            raise self._connection_lost(call) from None

    async def _discard_message(self, context: Context) -> None:
        """Read the message of a refused call, within the limits."""
        if self._discarding >= _MAX_DISCARDING or context.time_remaining() == 0:
            return
        self._discarding += 1
        try:
            async with asyncio.timeout(_SECONDS_TO_DISCARD):
                await read_message(context)
        except (TimeoutError, grpc.aio.InternalError):
            pass
        finally:
            self._discarding -= 1

    def _connection_lost(self, call: Call) -> asyncio.CancelledError:
        """Return the error to raise when gRPC cannot send or read because the call has ended.

        If gRPC's own error were raised before gRPC has noticed that the caller is gone, it would be
        logged with two tracebacks.
        """
        call.status = self._status_of_lost(call)
        return asyncio.CancelledError("The connection is lost.")

    def _status_of_lost(self, call: Call) -> grpc.StatusCode:
        """Return the status that the caller of a call without a connection sees."""
        if self.closes_connections:
            return grpc.StatusCode.UNAVAILABLE
        return call.status_after_caller_left()


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return False for two of gRPC's log messages, which carry a traceback but report no fault.

    The first reports that the caller was gone when its answer was sent: the call ended after the
    method returned and before the event loop was notified. The second reports metadata that are
    not UTF-8.
    """
    return not str(record.msg).startswith(
        ("ExecuteBatchError raised in core by servicer method", "Invalid encoding on ")
    )
