"""Calls that are cancelled or late leave nothing in memory."""

import ctypes
import gc
import json
from contextlib import suppress

import grpc
import pytest

from quadnet.registry import Registry
from service.rpc.policies.access_log import AccessLog
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.deadline import Deadline
from service.rpc.policies.measurement import Measurement
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.abandoned_calls import abandoning, message
from tests.support.exact_models import publish
from tests.support.load import CLASSIFY
from tests.support.serving import served_here

POINT = pb.ClassifyRequest(x=[1], y=[1])
TWO_AND_ONE = pb.ClassifyRequest(x=[1, 2], y=[1])

HEALTH = "/grpc.health.v1.Health/Check"

CALLS, WARM_UP, RATE, ROUNDS = 6_000, 1_000, 1_000, 5

MOST_BYTES = 40
"""Bytes that a call may leave behind on average. grpcio leaks some 400 bytes of each call that ends
while its answer is being sent; that is one call in fifty. Without the server's precautions it leaks
100 bytes of each cancelled call and 400 bytes of each late call."""

_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if mallinfo2 is not None:
    mallinfo2.restype = Mallinfo


def bytes_in_use():
    """Return the allocated bytes of the C heap. Resident memory would include free blocks."""
    gc.collect()
    return mallinfo2().uordblks


@pytest.mark.skipif(mallinfo2 is None, reason="needs glibc 2.33")
@pytest.mark.parametrize("method", [CLASSIFY, HEALTH], ids=["Classify", "Check"])
@pytest.mark.parametrize("kind", ["cancelled", "late"])
def test_abandoned_calls_leave_nothing_in_memory(tmp_path, kind, method):
    registry = Registry(tmp_path)
    publish(registry)

    def abandon(address, calls, rate):
        with abandoning(address, calls, rate, [kind], method=method) as process:
            statuses = json.loads(process.stdout.read())
        assert sum(statuses.values()) == calls
        return calls - statuses.get("OK", 0)

    with served_here(registry, [Admission(64), Deadline()]) as channel:
        classify = channel.unary_unary(CLASSIFY)

        def in_use():
            # Calls that still wait inside the server take memory, too. This call waits behind them,
            # and is answered or refused.
            with suppress(grpc.RpcError):
                classify(message(CLASSIFY), timeout=60)
            return bytes_in_use()

        abandon(channel.target, WARM_UP, RATE)
        rate, rounds = RATE, 0
        # gRPC's own buffers and threads grow occasionally; a leak shows in every round.
        while rounds < ROUNDS:
            before = in_use()
            if abandon(channel.target, CALLS, rate) < CALLS / 10:
                # A fast machine answers calls before their deadline, unless there are more of them.
                rate *= 2
                assert rate < 100 * RATE
                continue
            # The last calls may still be in flight.
            if any(in_use() - before < MOST_BYTES * CALLS for _ in range(200)):
                return
            rounds += 1
        pytest.fail("each round left memory in use")


@pytest.mark.parametrize("request_", [POINT, TWO_AND_ONE], ids=["answered", "refused"])
def test_a_call_is_freed_when_it_ends_without_the_garbage_collector(registry, request_):
    publish(registry)
    policies = [Accounting(AccessLog(), Measurement()), Admission(64), Deadline()]
    with served_here(registry, policies) as channel:
        classify = channel.unary_unary(CLASSIFY)

        def call(n):
            for _ in range(n):
                classify.future(request_.SerializeToString(), timeout=60).exception()

        call(10)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            call(50)
            gc.collect()
            kept = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not kept & {"Call", "RPCState", "_ServicerContext"}
