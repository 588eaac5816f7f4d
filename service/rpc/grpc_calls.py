"""Calls over gRPC: made from grpcio's context, and their messages read from it."""

import asyncio
from typing import Any, TypeAlias, cast

import grpc.aio

from service.rpc.call import REQUEST_ID, Call, CallContext, choose_request_id

# As text: at run time grpcio's types cannot be subscripted.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def make_call(method: str, context: Context, waited: float = 0.0, queued: int = 0) -> Call:
    """Return a call that has just started; its request id is sent back at its end."""
    metadata = dict(context.invocation_metadata() or ())
    request_id = choose_request_id(metadata)
    context.set_trailing_metadata(((REQUEST_ID, request_id),))
    # grpcio's types do not declare that `time_remaining` is None without a deadline.
    return Call(method, cast(CallContext, context), metadata, request_id, waited, queued)


async def read_message(context: Context) -> Any:
    """Return the next message of a call, or EOF, without the leak of grpcio's own read.

    grpcio frees the memory of a read only in the coroutine that waits for it. A cancelled call
    would cancel that coroutine and leak 100 bytes (grpc issue 43360). In a separate task the read
    completes, as soon as the call has ended.
    """
    reading = asyncio.ensure_future(context.read())
    reading.add_done_callback(_retrieve_error)
    return await asyncio.shield(reading)


def _retrieve_error(reading: "asyncio.Future[Any]") -> None:
    """Retrieve the error of a read that has no waiter, or asyncio logs it."""
    if not reading.cancelled():
        reading.exception()
