"""The cost of listing versions, counted in system calls, for n versions and for 2 n."""

import os
import shutil
import threading
from collections import Counter

import pytest

from quadnet.registry import tombstones
from service.models.live_models import LiveModels
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.support.exact_models import publish
from tests.support.inference_client import InferenceStub
from tests.support.inference_client import pb as inference_pb
from tests.support.serving import served_here

N = 60


@pytest.fixture
def system_calls():
    """Count the system calls of each thread that starts from now on, by the thread's name."""
    counts = Counter()

    def profile(_frame, event, called):
        # `posix.fspath` makes no system call.
        if event == "c_call" and called.__module__ == "posix" and called.__name__ != "fspath":
            counts[threading.current_thread().name] += 1

    threading.setprofile(profile)
    yield counts
    threading.setprofile(None)


def multiply(registry, first, last):
    """Add versions that have only a manifest."""
    manifest = registry.path("quadrants", 1) / "manifest.json"
    for number in range(first, last + 1):
        registry.path("quadrants", number).mkdir()
        shutil.copy(manifest, registry.path("quadrants", number))
    settle(registry)


def remove(registry, first, last):
    for number in range(first, last + 1):
        assert tombstones.turn_into_tombstone(
            tombstones.place_mark(registry.path("quadrants", number), "test")
        )
    settle(registry)


def settle(registry):
    """Set the directory's modification time to the past, as if all versions were old."""
    os.utime(
        registry.path("quadrants", 1).parent,
        (1e9, 1e9 + len(registry.version_numbers("quadrants"))),
    )


@pytest.mark.parametrize("method", ["ListModels", "RepositoryIndex"])
def test_listing_versions_is_linear_and_cheap_when_repeated(registry, method, system_calls):
    publish(registry)
    multiply(registry, 2, N)
    with served_here(registry, []) as channel:

        def versions():
            if method == "ListModels":
                stub = quadrant_pb2_grpc.QuadrantServiceStub(channel)
                (model,) = stub.ListModels(pb.ListModelsRequest(), timeout=60).models
                return [version.version for version in model.versions]
            request = inference_pb.RepositoryIndexRequest()
            models = InferenceStub(channel).RepositoryIndex(request, timeout=60).models
            return [int(version.version) for version in models]

        def cost():
            before = system_calls["registry-read"]
            found = versions()
            return system_calls["registry-read"] - before, found

        cold, found = cost()
        assert found == [*range(1, N + 1)]
        warm, _ = cost()
        multiply(registry, N + 1, 2 * N)
        cold_again, found = cost()
        assert found == [*range(1, 2 * N + 1)]
        warm_twice, _ = cost()
        # The N new versions are read completely, and the N known ones are only checked.
        assert 0 < cold_again - warm < 1.2 * cold
        assert warm < warm_twice < 2.2 * warm
        # Two checks per version (removed? same manifest?), and the fixed cost of a listing.
        assert warm_twice <= 2 * 2 * N + 20

        # Removed versions are checked once, and then never again.
        remove(registry, 2, 2 * N)
        removed, found = cost()
        assert found == [1]
        assert removed <= 2 * N + 25
        nothing_left, _ = cost()
        assert nothing_left <= 25


@pytest.mark.parametrize("alias", ["champion", "latest"])
def test_removed_versions_do_not_add_to_the_cost_of_following_an_alias(
    registry, system_calls, alias
):
    publish(registry)
    live = LiveModels(registry, model="quadrants", alias=alias)

    def cost():
        before = system_calls["poll"]
        thread = threading.Thread(target=live.refresh, name="poll")
        thread.start()
        thread.join(60)
        return system_calls["poll"] - before

    settle(registry)
    cost()
    alone = cost()
    multiply(registry, 2, N)
    remove(registry, 2, N)
    cost()
    assert cost() == alone
    assert live.current.manifest.version == 1
