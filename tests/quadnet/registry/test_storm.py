"""32 processes in one registry: no duplicate number, no dangling alias, no lock."""

from collections import Counter

import pytest

from quadnet.registry import Registry, integrity_check, tombstones
from tests.support import forked_processes, registry_storm


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_lost_mixed_up_or_left_dangling_in_a_storm(tmp_path, seed):
    with forked_processes.memory(tmp_path) as directory:
        said = forked_processes.run("tests.support.registry_storm", directory, 32, 12, seed)
        judge(Registry(directory / "registry"), said["reports"])
    assert said["looked"] > 10


def judge(registry, reports):
    model = registry_storm.MODEL
    published = {}
    for report in reports:
        for version, scale in report["published"].items():
            assert int(version) not in published, "a number was given twice"
            published[int(version)] = scale
    # All numbers were used, without gaps, and each version has the content of its publisher.
    assert (
        sorted(published) == registry.version_numbers(model) == list(range(1, len(published) + 1))
    )
    versions = registry.versions(model)
    for version in versions:
        assert registry_storm.scale_of(registry.load(model, version)) == published[version]

    removed = Counter(version for report in reports for version in report["removed"])
    assert set(published) - set(versions) == set(removed) != set()
    for version in removed:
        assert tombstones.is_removed(registry.path(model, version))

    # The log has exactly the changes that were reported to the processes, each once.
    log = registry.alias_log(model)
    history = list(log.history())
    told = sorted(generation for report in reports for generation in report["generations"])
    assert told == [each.generation for each in reversed(history)] == list(range(1, len(told) + 1))
    assert len(told) > 50

    # Protected versions exist.
    protected = {to.version for each in history[:2] for to in each.aliases.values()}
    assert protected | set(sorted(published)[-2:]) <= set(versions)
    assert [c.problem for c in integrity_check.verify_registry(registry)] == [None] * (
        len(versions) + 1
    )

    # Only documented errors occurred.
    for refused in (text for report in reports for text in report["refused"]):
        assert any(
            kind in refused
            for kind in (
                "compare: Conflict: Expected the aliases at generation",
                "roll_back: Conflict: Expected the aliases at generation",
                "Conflict: Version",  # ... is being removed
                "it was removed",
                "NotFound: There is no alias",
                "roll_back: NotFound: The alias",  # ... had no other target
                "has no alias",
            )
        ), refused
