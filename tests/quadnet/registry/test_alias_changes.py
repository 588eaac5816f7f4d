"""Aliases: changed together or not at all; a rollback never restores a bad version."""

import json

import pytest

from quadnet.errors import ConfigurationError, Conflict, CorruptVersion, NotFound, RegistryError
from quadnet.registry import (
    Registry,
    alias_changes,
    garbage_collection,
    integrity_check,
    tombstones,
)
from tests.support.exact_models import publish, signed

MODEL = "quadrants"


@pytest.fixture
def four(registry):
    """Return a registry with four versions, and no alias yet."""
    for scale in (1.0, 2.0, 3.0, 4.0):
        publish(registry, scale=scale, alias="")
    return registry


def move(registry, reason="test", **changes):
    return alias_changes.set_aliases(registry, MODEL, changes, reason=reason)


def pointing(registry):
    return {alias: to.version for alias, to in registry.aliases(MODEL).aliases.items()}


def generation(registry, number):
    return registry.home(MODEL) / "aliases" / f"{number:08d}.json"


def test_several_aliases_move_in_one_step(four):
    written = move(four, champion=1, candidate=2, canary=3)
    assert written.generation == 1
    assert pointing(four) == {"champion": 1, "candidate": 2, "canary": 3}
    assert written == four.aliases(MODEL)


def test_if_one_of_several_cannot_move_none_does(four):
    move(four, champion=1)
    for changes, kind in (
        ({"champion": 2, "candidate": 9}, NotFound),
        ({"champion": 2, "candidate": "nobody"}, NotFound),
        ({"champion": 2, "candidate": None}, NotFound),
        ({"champion": 2, "Candidate": 3}, ConfigurationError),
    ):
        with pytest.raises(kind):
            alias_changes.set_aliases(four, MODEL, changes, reason="test")
        assert pointing(four) == {"champion": 1}
    assert four.aliases(MODEL).generation == 1


def test_two_aliases_are_swapped_in_one_step(four):
    move(four, champion=1, candidate=2)
    written = move(four, champion="candidate", candidate="champion")
    assert written.generation == 2
    assert pointing(four) == {"champion": 2, "candidate": 1}


def test_an_alias_can_be_pointed_at_what_another_means(four):
    move(four, champion=1)
    move(four, candidate="latest", canary="champion")
    assert pointing(four) == {"champion": 1, "candidate": 4, "canary": 1}


def test_an_alias_can_be_removed_and_the_log_remembers_it(four):
    move(four, champion=1, candidate=2)
    move(four, candidate=None)
    assert pointing(four) == {"champion": 1}
    with pytest.raises(NotFound, match=r"no alias 'candidate'\. Its aliases: champion\."):
        four.target(MODEL, "candidate")
    with pytest.raises(NotFound, match=r"has no alias 'candidate' to remove"):
        move(four, candidate=None)
    assert [len(each.aliases) for each in four.alias_log(MODEL).history()] == [1, 2]


def test_who_expects_another_generation_is_told_what_there_is_and_changes_nothing(four):
    move(four, champion=1)
    move(four, champion=2)
    with pytest.raises(Conflict, match=r"at generation 1, found generation 2: champion=2\."):
        alias_changes.set_aliases(
            four, MODEL, {"champion": 3}, reason="test", expected_generation=1
        )
    assert pointing(four) == {"champion": 2}
    alias_changes.set_aliases(four, MODEL, {"champion": 3}, reason="test", expected_generation=2)
    assert pointing(four) == {"champion": 3}


def test_of_two_writers_the_second_applies_its_change_to_what_the_first_wrote(four):
    move(four, champion=1)
    log = four.alias_log(MODEL)
    seen = []

    def change(current):
        seen.append(sorted(current))
        if len(seen) == 1:
            # Another writer commits first.
            move(Registry(four.root), candidate=2)
        return current | {"canary": current["champion"]}

    assert log.append(change, reason="second").generation == 3
    assert seen == [["champion"], ["candidate", "champion"]]
    assert pointing(four) == {"champion": 1, "candidate": 2, "canary": 1}


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_writer_can_be_expected_too(four, number):
    expected = {"expected_generation": number}
    if number == 0:
        assert (
            alias_changes.set_aliases(four, MODEL, {"a": 1}, reason="", **expected).generation == 1
        )
    else:
        with pytest.raises(Conflict, match=r"found generation 0: none"):
            alias_changes.set_aliases(four, MODEL, {"a": 1}, reason="", **expected)


def back(registry, **options):
    alias_changes.rollback(registry, MODEL, reason="it was bad", **options)
    return pointing(registry)["champion"]


def test_a_rollback_repeated_goes_back_further_and_then_says_that_there_is_no_more(four):
    for version in (1, 2, 3, 4):
        move(four, champion=version)
    assert [back(four), back(four), back(four)] == [3, 2, 1]
    with pytest.raises(NotFound, match="'champion' had no other target before version 1"):
        back(four)
    assert pointing(four) == {"champion": 1}


def test_after_a_rollback_and_new_moves_it_never_leads_to_what_was_rolled_back(four):
    move(four, champion=1)
    move(four, champion=2)
    move(four, champion=3)  # bad
    assert back(four) == 2
    move(four, candidate=3)  # another alias changes in between
    move(four, champion=4)  # bad, too
    assert back(four) == 2
    assert back(four) == 1
    with pytest.raises(NotFound, match="had no other target"):
        back(four)


def test_a_rollback_of_a_rollback_of_a_rollback_goes_on_from_where_it_led(four):
    for version in (1, 2, 3):
        move(four, champion=version)
    assert [back(four), back(four)] == [2, 1]
    move(four, champion=4)
    assert back(four) == 1
    with pytest.raises(NotFound, match="had no other target"):
        back(four)


def test_a_rollback_leaves_the_other_aliases_alone(four):
    move(four, champion=1, candidate=1)
    move(four, champion=2, candidate=2)
    written = alias_changes.rollback(four, MODEL, "candidate", reason="back")
    assert pointing(four) == {"champion": 2, "candidate": 1}
    assert written.restored == {"candidate": 1}


def test_a_rollback_to_a_generation_goes_there_and_on_from_there(four):
    for version in (1, 2, 3, 4):
        move(four, champion=version)
    assert back(four, to=2) == 2
    assert back(four) == 1
    # Forward again, to a generation that was rolled back, if it is named.
    assert back(four, to=3) == 3
    assert back(four) == 1
    for nowhere in (0, 99):
        with pytest.raises(NotFound, match=f"has no target in generation {nowhere}"):
            back(four, to=nowhere)


def test_an_alias_that_is_not_there_cannot_be_rolled_back(four):
    for alias in ("champion", "candidate", "x" * 10_000):
        with pytest.raises(NotFound, match="There is no alias") as caught:
            alias_changes.rollback(four, MODEL, alias, reason="back")
        assert len(str(caught.value)) < 200
    with pytest.raises(NotFound, match=r"no model 'quadrant' in the registry\. It holds: q"):
        alias_changes.rollback(four, "quadrant", reason="back")
    move(four, champion=1)
    move(four, champion=None)
    with pytest.raises(NotFound, match="There is no alias 'champion' to roll back"):
        back(four)


def test_a_version_that_was_removed_cannot_be_gone_back_to(four):
    move(four, champion=1)
    for version in (2, 3, 4):
        move(four, champion=version)
    policy = garbage_collection.RetentionPolicy(newest=1, days=0, generations=1)
    for item in list(garbage_collection.find_removable(four, policy)):
        assert garbage_collection.remove_item(four, item, policy)
    assert four.versions(MODEL) == [3, 4]  # the target of a rollback stays
    with pytest.raises(NotFound, match="no version 1: it was removed"):
        back(four, to=1)
    assert pointing(four) == {"champion": 4}
    assert back(four) == 3


def test_no_alias_is_ever_pointed_at_a_damaged_version(four):
    move(four, champion=1)
    weights = four.path(MODEL, 2) / "weights.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"")
    for change in ({"champion": 2}, {"candidate": 2}, {"champion": 3, "candidate": 2}):
        with pytest.raises(CorruptVersion, match=r"Version 2 .* weights\.safetensors"):
            alias_changes.set_aliases(four, MODEL, change, reason="test")
    assert pointing(four) == {"champion": 1}


def test_a_rollback_to_a_version_that_was_made_anew_is_refused(four):
    move(four, champion=1)
    move(four, champion=2)
    manifest = four.path(MODEL, 1) / "manifest.json"
    other = signed({**json.loads(manifest.read_bytes()), "selftest_atol": 1e-8})
    manifest.unlink()
    manifest.write_bytes(other)
    with pytest.raises(CorruptVersion, match="is not the one that 'champion' pointed to in gen"):
        back(four)


def test_an_alias_gives_way_to_a_removal_under_way_and_says_what_to_do(four):
    move(four, champion=1)
    mark = tombstones.place_mark(four.path(MODEL, 2), "test")
    for changes in ({"champion": 2}, {"candidate": 2}):
        with pytest.raises(Conflict, match=r"Version 2 .* is being removed .* was not changed"):
            alias_changes.set_aliases(four, MODEL, changes, reason="test")
    assert pointing(four) == {"champion": 1}
    assert sorted(p.name for p in (four.home(MODEL) / "aliases").iterdir()) == ["00000001.json"]
    # A mark does not affect the current target: another alias can point to it too.
    tombstones.place_mark(four.path(MODEL, 1), "test")
    move(four, candidate="champion", canary=3)
    mark.unlink()
    move(four, champion=2)


@pytest.mark.parametrize(
    "name",
    [
        "latest",
        "7",
        "007",
        "Champion",
        "",
        "x" * 65,
        "a b",
        "ünï",
        "../x",
        "a/b",
        "a\n",
        "-a",
        "a.",
    ],
)
def test_names_that_no_alias_can_have(four, name):
    with pytest.raises(
        ConfigurationError, match="cannot be an alias: expected a lower-case letter"
    ):
        alias_changes.set_aliases(four, MODEL, {name: 1}, reason="test")
    assert not (four.home(MODEL) / "aliases").exists()


@pytest.mark.parametrize("model", ["digits", "Quadrants", "../quadrants", ""])
def test_aliases_of_a_model_that_is_not_there_leave_nothing_behind(four, model):
    with pytest.raises(NotFound):
        alias_changes.set_aliases(four, model, {"champion": 1}, reason="test")
    with pytest.raises(NotFound):
        alias_changes.rollback(four, model, reason="test")
    assert [path.name for path in (four.root / "models").iterdir()] == [MODEL]


def test_the_history_says_who_when_and_why_and_each_pins_the_one_before(four):
    move(four, reason="first", champion=1)
    move(four, reason="better", champion=2)
    alias_changes.rollback(four, MODEL, reason="not better")
    newest, middle, oldest = four.alias_log(MODEL).history()
    assert [each.reason for each in (oldest, middle, newest)] == ["first", "better", "not better"]
    assert oldest.previous_sha256 is None
    assert oldest.at < middle.at < newest.at
    assert newest.by.user
    assert newest.by.host
    assert newest.restored == {"champion": 1}
    assert middle.restored == {}


def rewritten(path, change):
    values = json.loads(path.read_bytes())
    change(values)
    path.unlink()
    path.write_bytes(signed(values))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(reason="all was well"),
        lambda values: values["aliases"].pop("champion"),
        lambda values: values.update(generation=7),
        lambda values: values.update(previous_sha256="0" * 64),
    ],
)
def test_history_that_was_rewritten_is_found_even_with_its_checksum(four, number, change):
    for version in (1, 2, 3, 4):
        move(four, champion=version)
    rewritten(generation(four, number), change)
    problem = list(integrity_check.verify_registry(four, MODEL))[-1].problem
    assert "quadrants/aliases/0000000" in problem
    assert "changed by hand" in problem or "contains generation 7" in problem
    with pytest.raises(RegistryError):
        back(four)


def test_history_that_lost_a_part_is_found(four):
    for version in (1, 2, 3):
        move(four, champion=version)
    whole = generation(four, 2).read_bytes()
    generation(four, 2).unlink()
    assert "part of it is lost" in list(integrity_check.verify_registry(four))[-1].problem
    generation(four, 1).unlink()
    assert (
        "found number 3 first: the older files are lost"
        in list(integrity_check.verify_registry(four))[-1].problem
    )
    # Served aliases can still be read and changed.
    assert pointing(four) == {"champion": 3}
    move(four, champion=4)
    # A copy under another name is refused as the newest.
    generation(four, 9).write_bytes(whole)
    with pytest.raises(RegistryError, match=r"00000009\.json contains generation 2"):
        four.aliases(MODEL)


def test_any_flipped_bit_of_the_newest_generation_is_found(four):
    move(four, champion=1, candidate=2)
    path = generation(four, 1)
    content = path.read_bytes()
    path.chmod(0o644)
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(RegistryError, match=r"00000001\.json cannot be read, and it holds"):
            four.target(MODEL)


def test_an_alias_of_a_version_that_is_not_there_is_found(four):
    move(four, champion=1)
    version = four.path(MODEL, 1)
    version.rename(four.root / "elsewhere")
    assert [c.problem for c in integrity_check.verify_registry(four)][:-1] == [None] * 3
    assert "'champion': Model 'quadrants' has no version 1." in (
        list(integrity_check.verify_registry(four))[-1].problem
    )
