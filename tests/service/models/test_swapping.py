"""Versions change under load: every call is answered, by a version that was live, and rightly."""

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
from tests.support.load import Load
from tests.support.serving import ServerProcess, refused, until

X = np.random.default_rng(3).uniform(-1, 1, (5, 2))
REQUEST = pb.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)

VERSIONS = 50


def scale_of(version):
    return 1.0 + version / 7


def expected_of(version):
    """Return what the version's weights give, by NumPy alone."""
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    logits = scale_of(version) * (X @ signs.T)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits.argmax(axis=1) + 1, probabilities


def check_order(outcomes, moves):
    """Check that the versions answered in the order in which the alias moved to them.

    A call that begins when another has ended is never answered by what was live before. `moves`
    are (time, version), in order; the server may skip some.
    """
    events = sorted(
        [(each.begun, 1, each) for each in outcomes] + [(each.ended, 0, each) for each in outcomes],
        key=lambda event: event[:2],
    )
    seen = 0  # the last move that an ended call has shown to have been followed
    earliest, shown = {}, {}
    for _, begins, outcome in events:
        if begins:
            earliest[id(outcome)] = seen
        else:
            shown[id(outcome)] = next(
                (
                    i
                    for i in range(earliest[id(outcome)], len(moves))
                    if moves[i][1] == outcome.answer.model.version and moves[i][0] <= outcome.ended
                ),
                None,
            )
            assert shown[id(outcome)] is not None, outcome
            seen = max(seen, shown[id(outcome)])


def test_no_call_fails_while_fifty_versions_are_published_and_swapped(registry):
    publish(registry, scale=scale_of(1))
    with ServerProcess(registry.root, "--poll", "0.02", "--log-level", "warning") as server:
        moves = [(0.0, 1)]
        with Load(server.address, REQUEST, in_flight=16, at_most=100_000) as load:
            for version in range(2, VERSIONS + 1):
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
    assert len(load.outcomes) == 100_000
    check_order(load.outcomes, moves)
    for version in range(1, VERSIONS + 1):
        answers = [each.answer for each in load.outcomes if each.answer.model.version == version]
        quadrants, probabilities = expected_of(version)
        for answer in answers:
            assert list(answer.quadrants) == quadrants.tolist()
        given = np.array([answer.all_certainties for answer in answers], np.float32)
        np.testing.assert_allclose(
            given, np.tile(probabilities.ravel(), (len(answers), 1)), rtol=1e-6
        )
    assert len({each.answer.model.version for each in load.outcomes}) > VERSIONS / 2


def spoil_weights(version):
    path = version / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def cut_weights_short(version):
    path = version / "weights.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-8])


def remove_the_self_test(version):
    (version / "selftest.safetensors").unlink()


def let_the_self_test_expect_other_answers(version):
    """Exchange the self-test for one of other weights, and forge everything that vouches for it."""
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


def give_it_another_architecture(version):
    """Say in the manifest, validly signed, that the network has other layers."""
    manifest = version / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["architecture"]["layer_sizes"] = [2, 5]
    del record["checksum"]
    manifest.chmod(0o644)
    manifest.write_bytes(signed(record))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_weights, "weights.safetensors: its sha256 is not the one in the manifest."),
        (cut_weights_short, "weights.safetensors: expected"),
        (remove_the_self_test, "selftest.safetensors: No such file or directory."),
        (let_the_self_test_expect_other_answers, "the self-test failed: row 0 is off by"),
        (give_it_another_architecture, "the architecture does not fit the signature."),
    ],
)
def test_a_bad_version_is_never_served_and_shown_with_its_reason(registry, spoil, reason):
    publish(registry)
    publish(registry, scale=2.0, alias="")
    spoil(registry.path("quadrants", 2))
    with (
        ServerProcess(registry.root, "--poll", "0.02", "--metrics-port", "0") as server,
        Load(server.address, REQUEST) as load,
    ):
        load.wait_for(200)
        point_champion_by_hand(registry, 2)
        assert reason in server.logged("not swapped")["reason"]
        load.wait_for(500, beyond=len(load.outcomes))
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
        # Nor is it asked for again at each look: files do not mend themselves.
        assert server.scrape()["quadnet_model_load_failures_total", "quadrants"] <= 3
        assert server.scrape()["quadnet_model_failing", "champion", "quadrants"] == 1
        assert server.scrape()["quadnet_model_version", "champion", "quadrants"] == 1
        by_number = pb.ClassifyRequest(model=pb.ModelRef(version=2), x=[1], y=[1])
        refusal = refused(server.stub.Classify, by_number)
        # A good version after it is taken at once.
        publish(registry, scale=3.0)
        server.logged("live", version=3)
        load.wait_for(200, beyond=len(load.outcomes))
        well = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
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
    assert well.failure == ""


def test_a_version_that_takes_something_else_does_not_replace_the_one_that_is_called(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--poll", "0.02") as server,
        Load(server.address, REQUEST) as load,
    ):
        publish(registry, classes=("a", "b", "c", "d"))
        reason = server.logged("not swapped")["reason"]
        assert "has the classes a, b, c, d; version 1, which is served, takes 2" in reason
        load.wait_for(200, beyond=len(load.outcomes))
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=10)
    assert not load.failed
    assert {each.answer.model.version for each in load.outcomes} == {1}
    assert listed.failure == listed.models[0].versions[1].reason == reason


def opened_weights(disturbance, version):
    return disturbance.opened(f"versions/{version:06d}/weights.safetensors")


def wait_for_polls(disturbance, n):
    """Wait until the server has looked at the registry so many times more."""
    start = disturbance.opened("registry.json")
    until(lambda: disturbance.opened("registry.json") >= start + n, seconds=60)


def test_a_version_that_takes_something_else_is_read_once(registry, tmp_path):
    publish(registry)
    disturbance = Disturbance(tmp_path / "disturbance", registry)
    with ServerProcess(registry.root, "--poll", "0.02", env=disturbance.env) as server:
        publish(registry, classes=("a", "b", "c", "d"))
        server.logged("not swapped")
        assert opened_weights(disturbance, 2) == 1
        wait_for_polls(disturbance, 50)
        assert opened_weights(disturbance, 2) == 1
        # It answers those who ask for it.
        second = inference_pb.ModelMetadataRequest(name="quadrants", version="2")
        found = InferenceStub(server.channel).ModelMetadata(second, timeout=60)
        assert json.loads(found.properties["classes"]) == ["a", "b", "c", "d"]
        # One that fits replaces the first, and then it is compared with that.
        publish(registry, scale=3.0)
        server.logged("live", version=3, alias="champion")
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        server.logged("not swapped", 2)
        alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="")
        server.logged("live", 2, version=1, alias="champion")
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 1


def test_a_version_that_cannot_be_loaded_is_tried_less_and_less_often(registry, tmp_path):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    disturbance = Disturbance(tmp_path / "disturbance", registry)
    with ServerProcess(registry.root, "--poll", "0.02", env=disturbance.env) as server:
        # There is too little memory for it.
        disturbance.fail("versions/000002/weights.safetensors")
        alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
        reason = server.logged("not swapped")["reason"]
        assert reason == (
            "Version 2 of model 'quadrants' cannot be loaded at the moment; the server's log says "
            "more."
        )
        wait_for_polls(disturbance, 100)
        for _ in range(20):
            for ref in (pb.ModelRef(version=2), pb.ModelRef(alias="candidate")):
                error = refused(server.stub.Classify, pb.ClassifyRequest(model=ref, x=[1], y=[1]))
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert error.details() == reason
        # After 1, 2, 4, ... seconds.
        assert 1 <= opened_weights(disturbance, 2) <= 8
        listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=60)
        assert listed.models[0].versions[1].state == pb.VersionSummary.STATE_FAILED
        assert listed.models[0].versions[1].reason == listed.failure == reason
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 1
        disturbance.end()
        server.logged("live", version=2, alias="champion")
        assert server.stub.Classify(REQUEST, timeout=60).model.version == 2


def delete(root, away):
    shutil.rmtree(root)


def empty(root, away):
    shutil.rmtree(root / "models")
    (root / "models").mkdir()


def make_unreadable(root, away):
    """Put a file where the directory was: that cannot be listed, by root either."""
    (root / "models/quadrants/aliases").rename(away)
    (root / "models/quadrants/aliases").write_text("a file")


def damage_the_marker(root, away):
    (root / "registry.json").chmod(0o644)
    (root / "registry.json").write_text("{")


CANDIDATE = pb.ClassifyRequest(model=pb.ModelRef(alias="candidate"), x=[1], y=[1])


def test_what_callers_ask_for_outlives_a_registry_that_goes_in_parts(registry):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    with ServerProcess(registry.root, "--poll", "0.02") as server:
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2
        # What a large directory's deletion looks like on the way.
        shutil.rmtree(registry.root / "models/quadrants/aliases")
        assert "has no alias" in server.logged("not swapped")["reason"]
        shutil.rmtree(registry.root)
        assert "There is no model" in server.logged("not swapped", 2)["reason"]
        assert server.stub.Classify(CANDIDATE, timeout=10).model.version == 2


def test_an_alias_that_is_taken_away_is_answered_no_longer(registry):
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
def test_without_its_registry_the_server_goes_on_and_recovers(registry, tmp_path, harm):
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
        server.logged("not swapped")
        load.wait_for(200, beyond=len(load.outcomes))
        # What was asked for before is still there, too.
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
        server.logged("live", version=3)
        load.wait_for(100, beyond=len(load.outcomes))
    assert not load.failed
    assert {each.answer.model.version for each in load.outcomes} == {1, 3}
