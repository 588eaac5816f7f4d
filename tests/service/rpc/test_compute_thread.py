"""Other calls are answered during a long computation."""

import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.quadrants import NAMES
from quadnet.registry import alias_changes
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
