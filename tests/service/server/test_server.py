"""The life of a server process: starting, swapping versions, stopping."""

import shutil
import signal
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.registry import alias_changes
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import append_aliases_by_hand, point_champion_by_hand, publish
from tests.support.serving import SERVICE, ServerProcess, quadnet, refused, until


def version_served(server):
    return server.stub.Classify(pb.ClassifyRequest()).model.version


def test_a_server_on_an_empty_registry_serves_once_a_version_is_published(registry):
    with ServerProcess(registry.root, "--poll", "0.05") as server:
        assert "NOT_SERVING: There is no model 'quadrants'" in server.announcement[0]
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=30
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = refused(server.stub.Classify, pb.ClassifyRequest())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert quadnet("health", "--port", server.port).returncode == 1
        publish(registry)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert version_served(server) == 1


@pytest.mark.parametrize("verb", ["serve", "up"])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("alias", "Champion", "expected an alias: a lower-case letter"),
        ("alias", "7", "a version is served once an alias points to it, got '7'"),
        ("alias", "a b", "expected an alias"),
        ("alias", "champion\n", "expected an alias"),
        ("model", "Quadrants", "should match pattern"),
        ("model", "quadrants:7", "should match pattern"),
    ],
)
def test_an_invalid_name_is_refused_before_the_server_starts(registry, verb, name, value, expected):
    where = ("--registry", registry.root, "--port", 0)
    by_flag = quadnet(verb, *where, f"--{name}", value)
    by_variable = quadnet(verb, *where, env={f"QUADNET_{name.upper()}": value})
    for finished, called in ((by_flag, f"--{name}"), (by_variable, f"QUADNET_{name.upper()}")):
        assert finished.returncode == 2
        assert finished.stdout == ""
        assert finished.stderr.startswith(f"quadnet {verb}: {called}: ")
        assert expected in finished.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--alias", "champoin"),
            "Model 'quadrants' has no alias 'champoin'. Its aliases: champion.",
        ),
        (
            ("--model", "quadrant"),
            "There is no model 'quadrant' in the registry. It holds: quadrants.",
        ),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_names_a_missing_alias_or_model_and_waits_for_it(
    registry, options, reason, workers
):
    publish(registry)
    publish(registry, scale=2.0, alias="")
    more = ("--poll", "0.05", "--workers", workers)
    with ServerProcess(registry.root, *options, *more) as server:
        assert f"NOT_SERVING: {reason} Waiting for alias" in server.announcement[0]
        assert (
            "settings alias and model name. Calls that name another model" in server.announcement[0]
        )
        assert server.logged("served version not updated")["reason"] == reason
        if "--alias" in options:
            alias_changes.set_aliases(registry, "quadrants", {"champoin": 2}, reason="")
        else:
            publish(registry, "quadrant")
        server.logged("version live")
        until(lambda: quadnet("health", "--port", server.port).returncode == 0, seconds=60)


def test_the_alias_latest_can_be_served(registry):
    publish(registry, alias="")
    with ServerProcess(registry.root, "--alias", "latest", "--poll", "0.05") as server:
        assert version_served(server) == 1
        publish(registry, alias="", scale=2.0)
        until(lambda: version_served(server) == 2)


def test_the_alias_is_followed_and_a_bad_version_never_replaces_a_good_one(registry):
    publish(registry)
    with ServerProcess(registry.root, "--poll", "0.05") as server:
        publish(registry, scale=2.0)
        until(lambda: version_served(server) == 2)
        alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="back")
        until(lambda: version_served(server) == 1)

        publish(registry, scale=4.0, alias="")
        version = registry.root / "models/quadrants/versions/000003"
        weights = version / "weights.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        # By hand, because the registry refuses to point an alias at a corrupt version.
        point_champion_by_hand(registry, 3)
        # The log line shows that the server has tried to load it.
        line = server.logged("served version not updated")
        assert "3 of model 'quadrants' must not be used: weights.safetensors" in line["reason"]
        assert version_served(server) == 1

        # An unreadable alias log changes nothing either.
        generation = append_aliases_by_hand(registry, b"{")
        line = server.logged("served version not updated", 2)
        assert f"{generation:08d}.json cannot be read" in line["reason"]
        assert version_served(server) == 1

        (registry.root / "models").rename(registry.root / "away")
        assert (
            "There is no model 'quadrants'"
            in server.logged("served version not updated", 3)["reason"]
        )
        assert version_served(server) == 1
        code, _, _ = server.stop()
        assert code == 0


def test_a_recreated_registry_is_followed_although_the_version_number_is_the_same(registry):
    publish(registry)
    with ServerProcess(registry.root, "--poll", "0.05") as server:
        numbered = pb.ClassifyRequest(model=pb.ModelRef(version=1))
        first = server.stub.Classify(numbered).model.digest
        shutil.rmtree(registry.root)
        second = publish(registry, scale=2.0).digest
        until(lambda: server.stub.Classify(pb.ClassifyRequest()).model.digest == second)
        # The default version is refreshed first, the others a moment later.
        until(lambda: server.stub.Classify(numbered).model.digest == second)
        assert second != first


def test_a_corrupt_version_is_refused_and_the_served_one_stays(registry):
    publish(registry)
    publish(registry, scale=2.0, alias="")
    (registry.root / "models/quadrants/versions/000002/weights.safetensors").write_bytes(b"x" * 400)
    with ServerProcess(registry.root, "--poll", "0.05") as server:
        asked = pb.ClassifyRequest(model=pb.ModelRef(version=2), x=[1], y=[1])
        error = refused(server.stub.Classify, asked)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "weights.safetensors" in error.details()
        assert str(registry.root) not in error.details()
        assert version_served(server) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_with_code_0(registry, number):
    publish(registry)
    with ServerProcess(registry.root) as server:
        assert version_served(server) == 1
        code, out, log = server.stop(number)
        assert (code, out) == (0, "Stopped.\n")
        assert sorted(line["event"] for line in log) == ["call", "stopping", "version live"]


def test_a_burst_of_signals_stops_the_server_once(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        for _ in range(50):
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert server.process.stdout.read() == "Stopped.\n"
        assert [line["event"] for line in server.log()].count("stopping") == 1


def test_a_health_watch_does_not_delay_the_stop(registry):
    publish(registry)
    with ServerProcess(registry.root, "--grace", "3600") as server:
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server.stop()[:2] == (0, "Stopped.\n")
        assert [answer.status for answer in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]


def test_calls_accepted_before_the_signal_are_answered(registry):
    publish(registry)
    X = np.random.default_rng(0).normal(size=(200_000, 2))
    request = pb.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)
    with ServerProcess(registry.root) as server:
        version_served(server)
        calls = [server.stub.Classify.future(request, timeout=60) for _ in range(6)]
        until(lambda: any(call.done() for call in calls))
        server.process.send_signal(signal.SIGTERM)
        answered = 0
        for call in calls:
            try:
                assert len(call.result().quadrants) == len(X)
                answered += 1
            except grpc.RpcError as error:
                # Only a call that the server had not yet accepted may be refused.
                assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert answered >= 1
        assert server.process.wait(30) == 0


def test_while_draining_the_server_answers_and_reports_not_serving(registry):
    publish(registry)
    with ServerProcess(registry.root, "--drain-delay", "30") as server:
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=30
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert version_served(server) == 1
        # A second signal ends the delay.
        watch.cancel()
        code, _, _ = server.stop()
        assert code == 0


def test_keepalive_pings_of_an_idle_client_do_not_end_its_connection(registry):
    publish(registry)
    options = [("grpc.keepalive_time_ms", 1200), ("grpc.keepalive_permit_without_calls", 1)]
    left = threading.Event()
    with (
        ServerProcess(registry.root) as server,
        grpc.insecure_channel(
            server.address, [*options, ("grpc.http2.max_pings_without_data", 0)]
        ) as channel,
    ):
        channel.subscribe(lambda state: state is grpc.ChannelConnectivity.IDLE and left.set())
        grpc.channel_ready_future(channel).result(20)
        left.clear()
        # The third excess ping would end the connection.
        assert not left.wait(6)
