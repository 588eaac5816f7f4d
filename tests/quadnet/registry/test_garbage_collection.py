"""What gc removes, and removals during reads and changes of aliases."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from quadnet.errors import Conflict, CorruptVersion, NotFound, RegistryError
from quadnet.registry import (
    alias_changes,
    atomic_files,
    garbage_collection,
    integrity_check,
    tombstones,
    version_files,
)
from tests.support.exact_models import exact_predictor, publish, signed

MODEL = "quadrants"
EVERYTHING = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0, grace=0)


def versions(registry, count):
    for scale in range(1, count + 1):
        publish(registry, scale=float(scale), alias="")
    return registry


def move(registry, **changes):
    return alias_changes.set_aliases(registry, MODEL, changes, reason="test")


def may_go(registry, policy):
    return [
        item.version or item.what for item in garbage_collection.find_removable(registry, policy)
    ]


def sweep(registry, policy=EVERYTHING):
    return [
        garbage_collection.remove_item(registry, item, policy)
        for item in list(garbage_collection.find_removable(registry, policy))
    ]


def tree(root):
    return sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))


def test_looking_changes_nothing(registry):
    versions(registry, 3)
    (registry.home(MODEL) / ".staging" / "dead").mkdir()
    before = tree(registry.root)
    assert may_go(registry, EVERYTHING) == ["unfinished version", 1, 2]
    assert tree(registry.root) == before


def test_a_directory_that_is_no_registry_is_left_alone(registry):
    registry.root.mkdir()
    stranger = registry.root / f"{atomic_files.TEMPORARY_PREFIX}thesis"
    stranger.write_text("x")
    assert may_go(registry, EVERYTHING) == []
    assert stranger.exists()


@pytest.mark.parametrize(("newest", "going"), [(-5, [1, 2, 3]), (0, [1, 2, 3]), (1, [1, 2, 3]),
                                               (3, [1]), (4, []), (9, [])])  # fmt: skip
def test_the_newest_versions_stay_and_one_at_the_least(registry, newest, going):
    versions(registry, 4)
    policy = garbage_collection.RetentionPolicy(newest=newest, days=0, generations=0)
    assert may_go(registry, policy) == going


def test_young_versions_stay(registry):
    versions(registry, 3)
    for version, days in ((1, 8), (2, 6)):
        rewrite(registry, version, created=datetime.now(UTC) - timedelta(days=days))
    assert may_go(
        registry, garbage_collection.RetentionPolicy(newest=1, days=7, generations=0)
    ) == [1]
    assert may_go(
        registry, garbage_collection.RetentionPolicy(newest=1, days=5, generations=0)
    ) == [1, 2]
    assert (
        may_go(registry, garbage_collection.RetentionPolicy(newest=1, days=9, generations=0)) == []
    )


def rewrite(registry, version, **values):
    path = registry.path(MODEL, version) / version_files.MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest |= {name: value.isoformat() for name, value in values.items()}
    path.unlink()
    path.write_bytes(signed(manifest))


def test_what_an_alias_points_to_stays_and_what_a_rollback_leads_to(registry):
    versions(registry, 6)
    for champion in (1, 2, 3):
        move(registry, champion=champion)
    move(registry, candidate=5)
    assert may_go(registry, EVERYTHING) == [1, 4]
    alias_changes.rollback(registry, MODEL, reason="back")
    assert may_go(registry, EVERYTHING) == [3, 4]  # aliases point to 2 and 5; a rollback restores 1


@pytest.mark.parametrize(
    ("generations", "going"), [(0, [1, 2]), (1, [1, 2]), (3, [1, 2]), (4, [1]), (5, []), (99, [])]
)
def test_what_an_alias_pointed_to_lately_stays(registry, generations, going):
    versions(registry, 5)
    for champion in (1, 2, 3, 4, 4):
        move(registry, champion=champion)
    policy = garbage_collection.RetentionPolicy(newest=1, days=0, generations=generations)
    assert may_go(registry, policy) == going


def test_a_version_whose_manifest_cannot_be_read_stays_for_whoever_mends_it(registry):
    versions(registry, 4)
    (registry.path(MODEL, 1) / version_files.MANIFEST).unlink()
    manifest = registry.path(MODEL, 2) / version_files.MANIFEST
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert may_go(registry, EVERYTHING) == [3]
    assert sweep(registry) == [True]
    with pytest.raises(CorruptVersion, match=r"manifest\.json: No such file"):
        registry.load(MODEL, 1)


def test_nothing_goes_while_the_aliases_cannot_be_read(registry):
    versions(registry, 3)
    for champion in (1, 2):
        move(registry, champion=champion)
    log = registry.home(MODEL) / "aliases"
    items = list(garbage_collection.find_removable(registry, EVERYTHING))
    for name in ("00000002.json", "00000001.json"):
        path = log / name
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:-1])
        with pytest.raises(RegistryError, match=f"{name} cannot be read"):
            list(garbage_collection.find_removable(registry, EVERYTHING))
        for item in items:
            with pytest.raises(RegistryError, match=f"{name} cannot be read"):
                garbage_collection.remove_item(registry, item, EVERYTHING)
        path.write_bytes(content)
    assert registry.versions(MODEL) == [1, 2, 3]


def test_sizes_are_those_of_the_files(registry):
    versions(registry, 2)
    litter = registry.home(MODEL) / "aliases" / f"{atomic_files.TEMPORARY_PREFIX}x"
    litter.parent.mkdir()
    litter.write_bytes(b"12345")
    sizes = [item.size for item in garbage_collection.find_removable(registry, EVERYTHING)]
    assert sizes == [5, sum(p.stat().st_size for p in registry.path(MODEL, 1).iterdir())]


def test_a_removed_version_is_gone_and_its_number_is_never_given_again(registry):
    versions(registry, 3)
    assert sweep(registry) == [True, True]
    assert registry.versions(MODEL) == [3]
    assert registry.version_numbers(MODEL) == [1, 2, 3]
    for ask in (registry.load, registry.digest):
        with pytest.raises(
            NotFound,
            match=r"Model 'quadrants' has no version 1: it was removed\. "
            r"Its versions, newest first: 3\.",
        ):
            ask(MODEL, 1)
    with pytest.raises(NotFound, match=r"has no version 4\. Its"):
        registry.load(MODEL, 4)
    with pytest.raises(NotFound, match="it was removed"):
        registry.resolve("quadrants:1")
    assert [path.name for path in registry.path(MODEL, 1).iterdir()] == [tombstones.TOMBSTONE_NAME]
    assert may_go(registry, EVERYTHING) == []
    assert [checked.problem for checked in integrity_check.verify_registry(registry)] == [
        None,
        None,
    ]
    publish(registry, alias="")
    assert registry.versions(MODEL) == [3, 4]


def test_not_even_the_newest_versions_number_comes_back(registry):
    versions(registry, 3)
    assert tombstones.turn_into_tombstone(
        tombstones.place_mark(registry.path(MODEL, 3), "by somebody else's policy")
    )
    assert registry.target(MODEL, "latest").version == 2
    assert publish(registry, alias="").manifest.version == 4
    assert registry.versions(MODEL) == [1, 2, 4]


def test_no_version_can_appear_where_one_was_removed(registry):
    versions(registry, 3)
    sweep(registry)
    staging = registry.home(MODEL) / ".staging" / "x"
    registry.path(MODEL, 3).rename(staging)
    assert not atomic_files.rename_exclusively(staging, registry.path(MODEL, 1))


def test_a_removal_that_died_is_ended_by_the_next(registry):
    versions(registry, 3)
    directory = registry.path(MODEL, 1)
    assert tombstones.turn_into_tombstone(
        tombstones.place_mark(directory, "test")
    )  # and then it was killed
    assert registry.versions(MODEL) == [2, 3]
    (rest,) = [
        item
        for item in garbage_collection.find_removable(registry, EVERYTHING)
        if item.version == 1
    ]
    assert rest.what == "files of a removed version"
    assert rest.size > 1000
    assert garbage_collection.remove_item(registry, rest, EVERYTHING)
    assert atomic_files.list_names(directory) == [tombstones.TOMBSTONE_NAME]


def test_a_mark_whose_maker_died_is_swept_from_a_version_that_stays(registry):
    publish(registry, alias="")
    tombstones.place_mark(registry.path(MODEL, 1), "test")
    with pytest.raises(
        Conflict, match="If no garbage collection is running, one was killed: the next"
    ):
        move(registry, candidate=1)
    assert may_go(registry, garbage_collection.RetentionPolicy()) == []
    assert may_go(registry, EVERYTHING) == ["mark of a killed gc"]
    assert sweep(registry) == [True]
    move(registry, candidate=1)


def test_a_mark_that_was_swept_away_stops_the_removal_it_was_made_for(registry):
    publish(registry)
    mark = tombstones.place_mark(registry.path(MODEL, 1), "test")
    mark.unlink()
    assert not tombstones.turn_into_tombstone(mark)
    assert registry.versions(MODEL) == [1]


def test_what_an_alias_has_come_to_point_to_meanwhile_stays(registry):
    versions(registry, 3)
    items = list(garbage_collection.find_removable(registry, EVERYTHING))
    assert [item.version for item in items] == [1, 2]
    move(registry, champion=1)
    assert [garbage_collection.remove_item(registry, item, EVERYTHING) for item in items] == [
        False,
        True,
    ]
    assert registry.versions(MODEL) == [1, 3]
    # No mark remains.
    move(registry, candidate=1)


def test_what_an_alias_is_just_being_pointed_at_stays(registry):
    """The writer of the alias looks for marks before gc places one, and links after."""
    versions(registry, 3)
    items = list(garbage_collection.find_removable(registry, EVERYTHING))
    log = registry.alias_log(MODEL)
    target = registry.target(MODEL, "latest").model_copy(
        update={"version": 1, "manifest_sha256": registry.digest(MODEL, 1)}
    )

    def at_the_last_moment(current, following):
        assert following["champion"].version == 1
        assert not tombstones.is_being_removed(registry.path(MODEL, 1))
        assert [garbage_collection.remove_item(registry, item, EVERYTHING) for item in items] == [
            False,
            True,
        ]

    log.append(lambda current: {"champion": target}, reason="test", check=at_the_last_moment)
    assert registry.load(MODEL, registry.target(MODEL).version).manifest.version == 1


def test_an_alias_that_comes_after_the_mark_gives_way(registry, monkeypatch):
    """The alias is changed after gc has read the aliases and before it makes the tombstone."""
    versions(registry, 2)
    (item,) = garbage_collection.find_removable(registry, EVERYTHING)
    turn_into_tombstone = tombstones.turn_into_tombstone

    def late(mark):
        with pytest.raises(Conflict, match=r"Version 1 .* is being removed"):
            move(registry, champion=1)
        return turn_into_tombstone(mark)

    monkeypatch.setattr(tombstones, "turn_into_tombstone", late)
    assert garbage_collection.remove_item(registry, item, EVERYTHING)
    assert registry.aliases(MODEL).aliases == {}


@pytest.mark.parametrize(
    "name", [version_files.MANIFEST, version_files.WEIGHTS, version_files.SELFTEST]
)
def test_a_reader_caught_in_the_middle_is_told_that_the_version_was_removed(
    registry, monkeypatch, name
):
    versions(registry, 2)
    items = list(garbage_collection.find_removable(registry, EVERYTHING))
    open_regular_file = atomic_files.open_regular_file

    def late(path):
        if path.name == name and items:
            assert garbage_collection.remove_item(registry, items.pop(), EVERYTHING)
        return open_regular_file(path)

    monkeypatch.setattr(atomic_files, "open_regular_file", late)
    with pytest.raises(NotFound, match="no version 1: it was removed"):
        registry.load(MODEL, 1)


def test_a_reader_of_an_attachment_is_told_too(registry):
    predictor = exact_predictor()
    model = publish(registry, alias="")
    versions(registry, 1)
    assert registry.attachment(model, "card.md") is None
    sweep(registry)
    with pytest.raises(NotFound, match="it was removed"):
        registry.attachment(model, version_files.WEIGHTS)
    assert model.predictor.predict([[1.0, 1.0]]) == predictor.predict([[1.0, 1.0]])


def litter(registry):
    home = registry.home(MODEL)
    places = [
        registry.root / f"{atomic_files.TEMPORARY_PREFIX}1",
        registry.root / "models" / f"{atomic_files.TEMPORARY_PREFIX}2",
        home / f"{atomic_files.TEMPORARY_PREFIX}3",
        home / "versions" / f"{atomic_files.TEMPORARY_PREFIX}4",
        home / "aliases" / f"{atomic_files.TEMPORARY_PREFIX}5",
        home / ".staging" / "6",
        home / ".trash" / "7",
    ]
    for i, path in enumerate(places):
        if i == 4:
            path.write_text("half")
        else:
            path.mkdir(parents=True)
    for path in places[-2:]:
        (path / version_files.WEIGHTS).write_text("half")
    return places


@pytest.mark.parametrize("future", [False, True])
def test_litter_goes_when_it_is_old_whatever_the_clock_says(registry, future):
    publish(registry)
    places = litter(registry)
    policy = garbage_collection.RetentionPolicy(grace=60)
    assert may_go(registry, policy) == []
    for path in places:
        # The clock was set back by a year, so that old versions have times in the future.
        moment = time.time() + 365 * 86_400 if future else time.time() - 61
        os.utime(path, (moment, moment))
    assert len(may_go(registry, policy)) == len(places)
    assert sweep(registry, policy) == [True] * len(places)
    assert not any(path.exists() for path in places)
    assert registry.load(MODEL, 1)


def test_versions_made_before_the_clock_was_set_back_go_too_and_their_order_stays(registry):
    versions(registry, 4)
    for version in (1, 2):
        rewrite(registry, version, created=datetime.now(UTC) + timedelta(days=365))
    policy = garbage_collection.RetentionPolicy(newest=1, days=7, generations=0)
    assert may_go(registry, policy) == [1, 2]
    assert registry.target(MODEL, "latest").version == 4
    rewrite(registry, 3, created=datetime(2000, 1, 1))  # without a time zone
    assert may_go(registry, policy) == [1, 2, 3]


def test_strangers_in_the_registry_are_neither_versions_nor_in_the_way(registry):
    versions(registry, 2)
    (registry.path(MODEL, 9)).write_text("a file")
    (registry.root / "models" / "notes").write_text("a file")
    (registry.home(MODEL) / "README").write_text("mine")
    assert registry.models() == [MODEL]
    with pytest.raises(CorruptVersion, match=r"Version 9 .*manifest\.json: Not a directory"):
        registry.load(MODEL, 9)
    assert may_go(registry, EVERYTHING) == [1, 2]
    assert sweep(registry) == [True, True]
    assert publish(registry, alias="").manifest.version == 10
    assert (registry.home(MODEL) / "README").exists()
