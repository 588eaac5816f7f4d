"""Run files: what is read, what is refused, and how it is said."""

import pytest

from pipeline import presets, runfile
from quadnet.errors import InvalidSetting, NotFound

GOOD = """
name = "mine"
[data]
kind = "quadrants"
points = 100
[network]
hidden_layer_sizes = [6]
[gate]
accuracy = 0.9
"""


def load(tmp_path, text=GOOD, changes=()):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return runfile.load(path, changes)


def test_what_is_left_out_has_its_default(tmp_path):
    run = load(tmp_path)
    assert run.data.placement == "uniform"
    assert run.data.draws is None
    assert run.test.points == 10_000


@pytest.mark.parametrize(
    ("change", "read", "value"),
    [
        ("data.points=4_000", lambda run: run.data.points, 4000),
        ("data.placement=centres", lambda run: run.data.placement, "centres"),
        ('data.placement="centres"', lambda run: run.data.placement, "centres"),
        ("network.hidden_layer_sizes=[6, 8]", lambda r: r.network["hidden_layer_sizes"], [6, 8]),
        ("network.learning_rate_init=1e-2", lambda r: r.network["learning_rate_init"], 0.01),
        ("network.fit_intercept=false", lambda run: run.network["fit_intercept"], False),
        ("test.points=7", lambda run: run.test.points, 7),
        ("gate.accuracy=0.5", lambda run: run.gate.accuracy, 0.5),
    ],
)
def test_set_changes_one_key(tmp_path, change, read, value):
    assert read(load(tmp_path, changes=[change])) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.pints=3", "there is no key data.pints. The keys there are: kind, placement, points"),
        ("dada.points=3", "there is no key dada. The keys there are: name, data, dtype"),
        ("data.points=3", "data.points: input should be greater than or equal to 4, got 3"),
        ("data.points=4.5", "data.points: input should be a valid integer, got 4.5"),
        ("data.points=many", "data.points: input should be a valid integer, got 'many'"),
        ("data.placement=left", "data.placement: input should be 'uniform' or 'centres'"),
        ("name=Mine!", "name: string should match pattern"),
        ("gate.accuracy=nan", "gate.accuracy: input should be a finite number, got nan"),
        ("data=5", "data: expected a section, got 5."),
        ("=5", "--set '=5': expected one KEY=VALUE"),
        ("data.points=5\nname='zz'", "expected one KEY=VALUE"),
        ("name.first=x", "--set name.first=x: name is a value, not a section"),
    ],
)
def test_a_wrong_change_is_said_with_its_place(tmp_path, change, message):
    with pytest.raises(InvalidSetting) as caught:
        load(tmp_path, changes=[change])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace('kind = "quadrants"', ""), "run.toml: the key data.kind is missing."),
        ("name = ", "is not valid TOML: Invalid value (at end of document)."),
        (b"name = '\xff'", "is not valid TOML"),
        ("", "run.toml: the key name is missing."),
    ],
)
def test_a_wrong_file_is_said(tmp_path, text, message):
    with pytest.raises(InvalidSetting) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InvalidSetting, match=r"no\.toml cannot be read: No such file"):
        runfile.load(tmp_path / "no.toml")


def test_the_digest_follows_the_values_and_not_the_spelling(tmp_path):
    plain = load(tmp_path)
    spelled_out = load(tmp_path, changes=["data.placement=uniform", "test.points=10000"])
    changed = load(tmp_path, changes=["data.seed=2"])
    assert plain.sha256() == spelled_out.sha256() != changed.sha256()


def test_presets_are_found_by_name():
    assert presets.NAMES == ("article-1", "article-2", "digits", "quadrants")
    for name in presets.NAMES:
        assert presets.load(name).name == name
    with pytest.raises(NotFound, match="The presets: article-1, article-2, digits, quadrants"):
        presets.load("article-3")
