"""What stands around every method: the policies, and the table of errors.

Methods take bytes and return bytes, so that a message that cannot be parsed is an error like any
other, and an answer can be written from arrays. Policies begin before the message is read: a call
that is refused costs no memory, however large it is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio

from service.call import REQUEST_ID, Call, Context
from service.errors import to_status, trailing_metadata
from service.policies.policy import Policy

T = TypeVar("T")

Unary = Callable[[bytes, Call], Awaitable[bytes]]
Stream = Callable[[AsyncIterator[bytes], Call], AsyncIterator[bytes]]
# As text: at run time grpcio's types cannot be subscripted.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Guard:
    """Puts policies around methods.

    Parameters
    ----------
    policies : sequence of Policy
        They begin in this order and end in the opposite one; what the first ones look at, the
        refusals of the others are too.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)
        self._policies_of_health = tuple(each for each in policies if not each.exempts_health)

    def unary(self, method: str, respond: Unary, *, is_health: bool = False) -> Handler:
        """Return the handler of a method with one message in and one out."""
        policies = self._policies_of_health if is_health else self._policies

        async def read_and_respond(call: Call) -> bytes:
            return await respond(await call.message(), call)

        async def handle(_requests: object, context: Context) -> bytes:
            return await self._run(method, context, policies, read_and_respond)

        # To the library it is a stream: it reads a unary call's message before it asks anybody.
        return grpc.stream_unary_rpc_method_handler(handle)

    def stream(self, method: str, respond: Stream) -> Handler:
        """Return the handler of a method with a stream in and a stream out.

        An answer is written before the next message is read, and writing waits for the reader:
        the server holds one message of each, however slow the caller is.
        """

        async def relay(call: Call) -> None:
            async for reply in respond(call.messages(), call):
                await call.context.write(reply)

        async def handle(_requests: object, context: Context) -> None:
            await self._run(method, context, self._policies, relay)

        return grpc.stream_stream_rpc_method_handler(handle)

    def close(self) -> None:
        """Let the policies finish: no call will come any more."""
        for policy in self._policies:
            policy.close()

    async def _run(
        self,
        method: str,
        context: Context,
        policies: Sequence[Policy],
        work: Callable[[Call], Awaitable[T]],
    ) -> T:
        call = Call.begin(method, context)
        begun = []
        try:
            for policy in policies:
                policy.begin(call)
                begun.append(policy)
            return await work(call)
        except asyncio.CancelledError:
            # By the caller, or by the library because the deadline has come.
            late = context.time_remaining() == 0
            call.status = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.BaseError:
            # The connection went away while a message was being read or written.
            call.status = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            call.status, status = to_status(error, call.method, call.request_id)
            # Unlike a status that is only set, this one goes without a message before it: what
            # has sent a message is not retried by clients.
            await context.abort(
                call.status,
                status.message,
                (*trailing_metadata(error, status), (REQUEST_ID, call.request_id)),
            )
            raise AssertionError("abort raises") from error
        finally:
            for policy in reversed(begun):
                policy.end(call)
