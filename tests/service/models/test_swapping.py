"""Versions are swapped under load: every call gets a correct answer of a version that was live."""

import hashlib
import json
import shutil
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.registry import alias_changes
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import point_champion_by_hand, publish, signed
from tests.support.fault_injection import Disturbance
from tests.support.inference_client import InferenceStub
from tests.support.inference_client import pb as inference_pb
from tests.support.load import HttpLoad, Load
from tests.support.serving import ServerProcess, refused, until

X = np.random.default_rng(3).uniform(-1, 1, (5, 2))
REQUEST = pb.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)

VERSIONS = 50


def scale_of(version):
    return 1.0 + version / 7


def expected_of(version):
    """Return the version's quadrants and probabilities, computed by NumPy alone."""
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    logits = scale_of(version) * (X @ signs.T)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits.argmax(axis=1) + 1, probabilities


def check_order(outcomes, moves):
    """Check that the versions answered in the order in which the alias moved to them.

    A call that starts after another has ended is never answered by an earlier version. `moves` is
    a list of (time, version), in order; the server may skip some.
    """
    events = sorted(
        [(each.begun, 1, each) for each in outcomes] + [(each.ended, 0, each) for each in outcomes],
        key=lambda event: event[:2],
    )
    seen = 0  # the last move that the answer of an ended call proves
    earliest, proven = {}, {}
    for _, starts, outcome in events:
        if starts:
            earliest[id(outcome)] = seen
        else:
            proven[id(outcome)] = next(
                (
                    i
                    for i in range(earliest[id(outcome)], len(moves))
                    if moves[i][1] == outcome.answer.model.version and moves[i][0] <= outcome.ended
                ),
                None,
            )
            assert proven[id(outcome)] is not None, outcome
            seen = max(seen, proven[id(outcome)])


@pytest.mark.parametrize(
    ("kind", "versions", "calls"),
    [
        (Load, VERSIONS, 60_000),
        pytest.param(Load, VERSIONS, 300_000, marks=pytest.mark.long),
        (HttpLoad, 6, 3000),
    ],
    ids=["grpc", "grpc-long", "http"],
)
def test_no_call_fails_while_versions_are_published_and_swapped(registry, kind, versions, calls):
    publish(registry, scale=scale_of(1))
    options = ("--poll", "0.02", "--log-level", "warning", "--http-port", "0")
    with ServerProcess(registry.root, *options) as server:
        moves = [(0.0, 1)]
        address = server.address if kind is Load else server.url
        with kind(address, REQUEST, in_flight=16, at_most=calls) as load:
            for version in range(2, versions + 1):
                moves.append((time.time(), version))
                publish(registry, scale=scale_of(version))
                load.wait_for(300, beyond=len(load.outcomes))
                if version % 3 == 0:
                    moves.append((time.time(), version - 2))
                    alias_changes.set_aliases(
                        registry, "quadrants", {"champion": version - 2}, reason=""
                    )
                    load.wait_for(300, beyond=len(load.outcomes))
            load.wait_for_all(300)
    assert not load.failed, load.failed[0]
    assert len(load.outcomes) == calls
    check_order(load.outcomes, moves)
    for version in range(1, versions + 1):
        answers = [each.answer for each in load.outcomes if each.answer.model.version == version]
        quadrants, probabilities = expected_of(version)
        for answer in answers:
            assert list(answer.quadrants) == quadrants.tolist()
        given = np.array([answer.all_certainties for answer in answers], np.float32)
        np.testing.assert_allclose(
            given, np.tile(probabilities.ravel(), (len(answers), 1)), rtol=1e-6
        )
    assert len({each.answer.model.version for each in load.outcomes}) > versions / 2


def damage_weights(version):
    path = version / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def truncate_weights(version):
    path = version / "weights.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-8])


def remove_self_test(version):
    (version / "selftest.safetensors").unlink()


def replace_self_test(version):
    """Replace the self-test by one of other weights, and forge its size, digest and signature."""
    other = version.parent / "000001" / "selftest.safetensors"
    content = other.read_bytes()
    path = version / "selftest.safetensors"
    path.chmod(0o644)
    path.write_bytes(content)
    manifest = version / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["files"]["selftest.safetensors"] = {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    del record["checksum"]
    manifest.chmod(0o644)
    manifest.write_bytes(signed(record))


def change_architecture(version):
    """Change the units of the output layer in the manifest, and sign it again."""
    manifest = version / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["architecture"]["layers"][-1]["units"] = 5
    del record["checksum"]
    manifest.chmod(0o644)
    manifest.write_bytes(signed(record))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_weights, "weights.safetensors: its sha256 is not the one in the manifest."),
        (truncate_weights, "weights.safetensors: expected"),
        (remove_self_test, "selftest.safetensors: No such file or directory."),
        (replace_self_test, "the self-test failed: row 0 is off by"),
        (change_architecture, "the last layer must be dense with units = 4 for 4"),
    ],
)
def test_a_bad_version_is_never_served_and_listed_with_its_reason(registry, damage, reason):
    publish(registry)
    publish(registry, scale=2.0, alias="")
    damage(registry.path("quadrants", 2))
    with (
        ServerProcess(registry.root, "--poll", "0.02", "--metrics-port", "0") as server,
        Load(server.address, REQUEST) as load,
    ):
        load.wait_for(200)
        point_champion_by_hand(registry, 2)
        assert reason in server.logged("served version not updated")["reason"]
        load.wait_for(500, beyond=len(load.outcomes))
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
        # It is not read again at each poll: damaged files do not repair themselves.
        assert server.scrape()["quadnet_model_load_failures_total", "quadrants"] <= 3
        assert server.scrape()["quadnet_model_failing", "champion", "quadrants"] == 1
        assert server.scrape()["quadnet_model_version", "champion", "quadrants"] == 1
        by_number = pb.ClassifyRequest(model=pb.ModelRef(version=2), x=[1], y=[1])
        refusal = refused(server.stub.Classify, by_number)
        # A valid version after it is served at once.
        publish(registry, scale=3.0)
        server.logged("version live", version=3)
        load.wait_for(200, beyond=len(load.outcomes))
        recovered = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
    assert not load.failed
    assert {each.answer.model.version for each in load.outcomes} == {1, 3}
    first, second = listed.models[0].versions
    assert first.state == pb.VersionSummary.STATE_LOADED
    assert second.state == pb.VersionSummary.STATE_FAILED
    assert reason in second.reason
    assert reason in listed.failure
    assert str(registry.root) not in str(listed)
    assert refusal.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason in refusal.details()
    assert recovered.failure == ""


def test_a_version_with_another_signature_does_not_replace_the_served_one(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--poll", "0.02") as server,
        Load(server.address, REQUEST) as load,
    ):
        publish(registry, classes=("a", "b", "c", "d"))
        reason = server.logged("served version not updated")["reason"]
        assert "has the classes a, b, c, d; the served version 1 has the classes I" in reason
        load.wait_for(200, beyond=len(load.outcomes))
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
    assert not load.failed
    assert {each.answer.model.version for each in load.outcomes} == {1}
    assert listed.failure == listed.models[0].versions[1].reason == reason


def count_weight_reads(disturbance, version):
    return disturbance.opened(f"versions/{version:06d}/weights.safetensors")


def wait_for_polls(disturbance, n):
    """Wait until the server has polled the registry n more times."""
    start = disturbance.opened("registry.json")
    until(lambda: disturbance.opened("registry.json") >= start + n, seconds=60)


def test_a_version_with_another_signature_is_read_once(registry, tmp_path):
    publish(registry)
    disturbance = Disturbance(tmp_path / "disturbance", registry)
    with ServerProcess(registry.root, "--poll", "0.02", env=disturbance.env) as server:
        publish(registry, classes=("a", "b", "c", "d"))
        server.logged("served version not updated")
        assert count_weight_reads(disturbance, 2) == 1
        wait_for_polls(disturbance, 50)
        assert count_weight_reads(disturbance, 2) == 1
        # Calls that name the version are answered.
        second = inference_pb.ModelMetadataRequest(name="quadrants", version="2")
        found = InferenceStub(server.channel).ModelMetadata(second, timeout=60)
        assert json.loads(found.properties["classes"]) == ["a", "b", "c", "d"]
        # A version that fits replaces the first; version 2 is then compared with that one.
        publish(registry, scale=3.0)
        server.logged("version live", version=3, alias="champion")
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        server.logged("served version not updated", 2)
        alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="")
        server.logged("version live", 2, version=1, alias="champion")
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 1


def test_a_version_that_cannot_be_loaded_is_retried_with_back_off(registry, tmp_path):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    disturbance = Disturbance(tmp_path / "disturbance", registry)
    with ServerProcess(registry.root, "--poll", "0.02", env=disturbance.env) as server:
        # As with too little memory.
        disturbance.fail("versions/000002/weights.safetensors")
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        reason = server.logged("served version not updated")["reason"]
        assert reason == (
            "Version 2 of model 'quadrants' cannot be loaded at the moment; the server's log has "
            "the reason."
        )
        wait_for_polls(disturbance, 100)
        for _ in range(20):
            for ref in (pb.ModelRef(version=2), pb.ModelRef(alias="candidate")):
                error = refused(server.stub.Classify, pb.ClassifyRequest(model=ref, x=[1], y=[1]))
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert error.details() == reason
        # Retries come after 1, 2, 4, ... seconds.
        assert 1 <= count_weight_reads(disturbance, 2) <= 8
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=60)
        assert listed.models[0].versions[1].state == pb.VersionSummary.STATE_FAILED
        assert listed.models[0].versions[1].reason == listed.failure == reason
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 1
        disturbance.end()
        server.logged("version live", version=2, alias="champion")
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 2


def delete(root, away):
    shutil.rmtree(root)


def empty(root, away):
    shutil.rmtree(root / "models")
    (root / "models").mkdir()


def make_unreadable(root, away):
    """Replace the directory by a file: not even root can list that."""
    (root / "models/quadrants/aliases").rename(away)
    (root / "models/quadrants/aliases").write_text("a file")


def damage_the_marker(root, away):
    (root / "registry.json").chmod(0o644)
    (root / "registry.json").write_text("{")


CANDIDATE = pb.ClassifyRequest(model=pb.ModelRef(alias="candidate"), x=[1], y=[1])


def test_loaded_versions_survive_a_registry_that_is_deleted_piece_by_piece(registry):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    with ServerProcess(registry.root, "--poll", "0.02") as server:
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2
        # This is how the deletion of a large directory looks half-way.
        shutil.rmtree(registry.root / "models/quadrants/aliases")
        assert "has no alias" in server.logged("served version not updated")["reason"]
        shutil.rmtree(registry.root)
        assert "There is no model" in server.logged("served version not updated", 2)["reason"]
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2


def test_a_removed_alias_is_no_longer_answered(registry):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    with ServerProcess(registry.root, "--poll", "0.02") as server:
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2
        alias_changes.set_aliases(registry, "quadrants", {"candidate": None}, reason="done with")
        until(lambda: is_unknown(server, CANDIDATE))


def is_unknown(server, request):
    try:
        server.stub.Classify(request, timeout=10)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND
    return False


@pytest.mark.parametrize("harm", [delete, empty, make_unreadable, damage_the_marker])
def test_the_server_answers_without_its_registry_and_recovers(registry, tmp_path, harm):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    copy = tmp_path / "copy"
    shutil.copytree(registry.root, copy)
    with (
        ServerProcess(registry.root, "--poll", "0.02") as server,
        Load(server.address, REQUEST) as load,
    ):
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2
        load.wait_for(100)
        harm(registry.root, tmp_path / "away")
        server.logged("served version not updated")
        load.wait_for(200, beyond=len(load.outcomes))
        # Versions that were loaded on demand are still answered.
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2
        health = health_pb2_grpc.HealthStub(server.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10
        )
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        if harm is make_unreadable:
            error = refused(
                server.stub.Classify, pb.ClassifyRequest(model=pb.ModelRef(alias="other"))
            )
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert str(registry.root) not in error.details()

        shutil.rmtree(registry.root, ignore_errors=True)
        copy.rename(registry.root)
        publish(registry, scale=3.0)
        server.logged("version live", version=3)
        load.wait_for(100, beyond=len(load.outcomes))
    assert not load.failed
    assert {each.answer.model.version for each in load.outcomes} == {1, 3}
