"""A registry that hangs or is slow: calls are still answered, and the server still stops."""

import os
import signal

import grpc
import pytest

from quadnet.registry import alias_changes
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.fault_injection import Disturbance
from tests.support.inference_client import InferenceStub
from tests.support.inference_client import pb as inference_pb
from tests.support.serving import ServerProcess, refused, until

POINT = pb.ClassifyRequest(x=[1], y=[1])
SECOND = pb.ClassifyRequest(model=pb.ModelRef(version=2), x=[1], y=[1])


@pytest.fixture
def disturbance(registry, tmp_path):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    return Disturbance(tmp_path / "disturbance", registry)


def serving(registry, disturbance, *options):
    return ServerProcess(registry.root, "--poll", "0.02", *options, env=disturbance.env)


def test_loaded_versions_are_answered_while_the_registry_hangs(registry, disturbance):
    with serving(registry, disturbance, "--max-calls", "40") as server:
        disturbance.hang()
        lists = [server.stub.ListModels.future(pb.ListModelsRequest()) for _ in range(40)]
        loads = [server.stub.Classify.future(SECOND) for _ in range(40)]
        # One read of the poll, two of the lists, and one load that all calls share.
        until(lambda: disturbance.hung() == 4)
        # The 80 calls that wait for them hold no slot of the 40: what follows is answered at once,
        # from memory.
        for model in (None, pb.ModelRef(version=1), pb.ModelRef(alias="champion")):
            assert server.stub.Classify(
                pb.ClassifyRequest(model=model, x=[1], y=[1]), timeout=60
            ).quadrants == [pb.QUADRANT_I]
            described = server.stub.GetModel(pb.GetModelRequest(model=model), timeout=60)
            assert list(described.aliases) == ["champion"]
        inference = InferenceStub(server.channel)
        for version in ("", "1"):
            request = inference_pb.ModelMetadataRequest(name="quadrants", version=version)
            assert list(inference.ModelMetadata(request, timeout=60).versions) == ["1", "2"]
        for call in lists:
            (model,) = call.result(60).models
            assert [version.version for version in model.versions] == [1]
            assert "has not responded" in model.failure
        for call in loads:
            error = call.exception(60)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "has not responded" in error.details()
            assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
        gate = disturbance.end()
        assert server.stub.Classify(SECOND, timeout=60).model.version == 2
        until(lambda: len(server.stub.ListModels(pb.ListModelsRequest()).models[0].versions) == 2)
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        server.logged("version live", version=2, alias="champion")
        os.close(gate)
        code, _, _ = server.stop()
    assert code == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_stops_while_its_registry_hangs(registry, disturbance, workers):
    with serving(registry, disturbance, "--workers", str(workers)) as server:
        disturbance.hang()
        until(lambda: disturbance.hung() == workers)
        calls = [server.stub.ListModels.future(pb.ListModelsRequest()) for _ in range(2)]
        until(lambda: disturbance.hung() == workers + 2)
        code, output, _ = server.stop()
        # The calls were answered from memory during the grace period.
        assert all(call.result(60).models[0].failure for call in calls)
    assert code == 0
    assert output.endswith("Stopped.\n")


def test_a_second_signal_stops_a_server_whose_registry_hangs(registry, disturbance):
    with serving(registry, disturbance) as server:
        disturbance.hang("versions/000002")
        call = server.stub.Classify.future(SECOND)
        until(lambda: disturbance.hung() == 1)
        server.process.send_signal(signal.SIGTERM)
        server.logged("stopping")
        assert not call.done()
        code, _, _ = server.stop()
    assert code == 0


def test_a_server_that_starts_on_a_hanging_registry_reports_it_and_waits(registry, disturbance):
    disturbance.hang()
    with serving(registry, disturbance) as server:
        assert "NOT_SERVING" in server.announcement[0]
        assert "has not responded for 10 seconds" in server.announcement[0]
        server.logged("registry does not respond")
        assert refused(server.stub.Classify, POINT).code() is grpc.StatusCode.UNAVAILABLE
        gate = disturbance.end()
        server.logged("version live", version=1)
        os.close(gate)
        assert server.stub.Classify(POINT, timeout=60).model.version == 1
        assert server.stop()[0] == 0


def test_cancelled_calls_do_not_keep_the_server_from_following_the_alias(registry, disturbance):
    publish(registry, scale=3.0, alias="")
    with serving(registry, disturbance) as server:
        disturbance.hang("versions/000003/manifest.json")
        calls = [server.stub.ListModels.future(pb.ListModelsRequest()) for _ in range(8)]
        until(lambda: disturbance.hung() == 2)
        for call in calls:
            call.cancel()
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        server.logged("version live", version=2, alias="champion")
        # Other versions are loaded as well.
        first = pb.ClassifyRequest(model=pb.ModelRef(version=1), x=[1], y=[1])
        assert server.stub.Classify(first, timeout=60).model.version == 1
        assert server.stop()[0] == 0
