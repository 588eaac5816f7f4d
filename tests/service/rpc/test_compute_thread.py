"""Other calls are answered during a long computation."""

import asyncio
import threading

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.layers import Conv2D, Dense, Flatten
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.nn.row_slices import direct_rows
from quadnet.quadrants import NAMES
from quadnet.registry import alias_changes
from service.rpc.compute_thread import ComputeThread
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import record
from tests.support.serving import ServerProcess, until

POINT = pb.ClassifyRequest(x=[0.5], y=[0.5])


def test_small_calls_and_health_are_answered_while_a_large_one_is_computed(registry):
    # 2-512-512-4: a million points take many seconds, however fast the machine.
    wide = Network.dense(
        [2, 512, 512, 4], activations=["tanh", "tanh"], loss="softmax_cross_entropy"
    )
    wide.parameters.flat[:] = np.random.default_rng(0).normal(size=wide.parameters.flat.size) / 16
    predictor = Predictor(wide, NAMES)
    registry.publish("quadrants", predictor, record(predictor), np.zeros((1, 2)))
    alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="test")
    large = pb.ClassifyRequest(x=np.full(1_000_000, 0.5), y=np.full(1_000_000, 0.5))
    with ServerProcess(registry.root, "--metrics-port", "0") as server:
        health = health_pb2_grpc.HealthStub(server.channel)
        computed = server.stub.Classify.future(large, timeout=120)
        until(lambda: server.scrape().get(("quadnet_calls_in_flight",)) == 1)
        for _ in range(5):
            assert len(server.stub.Classify(POINT, timeout=30).quadrants) == 1
            health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert not computed.done()
        # A cancelled call is not computed to its end.
        computed.cancel()
        server.logged("call", status="CANCELLED")
        until(lambda: server.scrape()["quadnet_calls_in_flight",] == 0)


@pytest.mark.parametrize(("side", "fewest", "most"), [(4, 512, 4096), (28, 1, 8), (200, 0, 0)])
def test_the_rows_of_a_millisecond_depend_on_the_layers(side, fewest, most):
    layers = [Conv2D(32, 3), Flatten(), Dense(2)]
    rows = direct_rows(Network(layers, (1, side, side), loss="softmax_cross_entropy"))
    assert fewest <= rows <= most


def test_rows_that_each_take_long_are_computed_on_the_thread_one_at_a_time():
    async def run():
        compute_thread = ComputeThread()
        await compute_thread.run_in_slices(3, 0, lambda rows: seen.append((rows, current())))
        return [
            await compute_thread.run_by_size(8, current, nanoseconds=nanoseconds)
            for nanoseconds in (1e5, 1e8)
        ]

    current, seen = threading.current_thread, []
    fast, slow = asyncio.run(run())
    assert [rows for rows, _ in seen] == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert {thread for _, thread in seen} == {slow}
    assert fast is current()
    assert slow is not current()
