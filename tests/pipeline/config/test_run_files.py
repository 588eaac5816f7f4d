"""Run files: valid ones, invalid ones, and their error messages."""

import json
import subprocess
import sys

import pytest

from pipeline.config import held_out_rows
from pipeline.config.data_sections import QuadrantsData
from pipeline.config.gate import Gate
from pipeline.config.presets import PRESET_NAMES, load_preset
from pipeline.config.run_config import RunConfig
from pipeline.config.run_file import load_run_file
from quadnet import NeuralNetworkClassifier
from quadnet.errors import ConfigurationError, FileUnusable, NotFound
from tests.support.serving import ROOT, quadnet

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
    return load_run_file(path, changes)


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
        (
            "data.pints=3",
            "no key data.pints. Did you mean points? The keys there are: kind, placement, points",
        ),
        (
            "dada.points=3",
            "there is no key dada. Did you mean data? The keys there are: name, task, data, dtype",
        ),
        ("data.points=3", "data.points: input should be greater than or equal to 4, got 3"),
        ("data.points=4.5", "data.points: input should be a valid integer, got 4.5"),
        ("data.points=many", "data.points: input should be a valid integer, got 'many'"),
        ("data.placement=left", "data.placement: input should be 'uniform' or 'centres'"),
        ("name=Mine!", "name: string should match pattern"),
        ("gate.accuracy=nan", "gate.accuracy: input should be a finite number, got nan"),
        ("data=5", "data: expected a section, got 5."),
        ("=5", "The change '=5': expected one KEY=VALUE"),
        ("data.points=5\nname='zz'", "expected one KEY=VALUE"),
        ("name.first=x", "The change 'name.first=x': name is a value, not a section."),
    ],
)
def test_an_invalid_change_is_reported_with_its_key(tmp_path, change, message):
    with pytest.raises(ConfigurationError) as caught:
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
def test_an_invalid_file_is_reported(tmp_path, text, message):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_a_byte_order_mark_in_front_of_a_file_is_no_part_of_it(tmp_path):
    assert load(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()) == load(tmp_path)


FUZZ = """
import contextlib, io, json, sys

from quadnet.cli import main as cli

registry, *words = sys.argv[1:]
base = [
    "data.points=8", "test.points=40", "network.max_iter=2", "network.hidden_layer_sizes=[2]",
    "network.solver=adam", "validation=0", "calibrate=false", "gate.log_loss=0",
]
found = {}
for change in json.load(sys.stdin):
    sets = [word for each in [*base, change] for word in ("--set", each)]
    sys.argv = ["quadnet", "train", "quadrants", "--registry", registry, *sets]
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:
            code = repr(error)
    found[change] = code, err.getvalue()
print(json.dumps(found))
"""

VALUES = [
    "abc", "", "0", "-1", "1.5", "1e400", "nan", "-inf", "true", "[]", "[1]", "[[1],[2,3]]",
    "['a']", "{}", "{a=1}", "{I='b'}", "1" + "0" * 400, "1979-05-27", "[1,'a']", "[-1]",
    "[1000000000000]",
]  # fmt: skip


@pytest.mark.parametrize("section", ["network", "data, test, gate", "the run"])
def test_no_value_of_any_key_is_an_unexpected_fault(tmp_path, section):
    network = NeuralNetworkClassifier().get_params()
    data = {
        "data": QuadrantsData, "test": held_out_rows.TestPart, "gate": Gate,
    }  # fmt: skip
    keys = {
        "network": [f"network.{name}" for name in network],
        "data, test, gate": [
            f"{name}.{k}" for name, kind in data.items() for k in kind.model_fields
        ],
        "the run": [
            *RunConfig.model_fields,
            "foo",
            "network.foo.bar",
            "a..b",
            "data.kind.x",
        ],
    }[section]
    changes = [f"{key}={value}" for key in keys for value in VALUES]
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, tmp_path / "registry"],
        input=json.dumps(changes),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found.keys() == set(changes)
    # Nearly all are refused, or miss a limit that no network can meet; the error is one sentence.
    bad = {
        change: (code, text)
        for change, (code, text) in found.items()
        if "unexpected fault" in text or (code, text.count("\n")) not in {(0, 0), (1, 1), (2, 1)}
    }
    assert bad == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "max_iter=abc",
            "The 'max_iter' parameter of NeuralNetworkClassifier must be an int in the",
        ),
        (
            "max_iter=[3]",
            "The 'max_iter' parameter of NeuralNetworkClassifier must be an int in the",
        ),
        ("scoring=3", "The 'scoring' parameter of NeuralNetworkClassifier must be an instance of"),
        ("alpha=1" + "0" * 400, "The 'alpha' parameter of NeuralNetworkClassifier must be a float"),
        ("hidden_layer_sizes=[[1],[2,3]]", "The 'hidden_layer_sizes' parameter of Neural"),
        ("class_weight={I='b'}", "class_weight"),
    ],
)
def test_a_value_that_the_estimator_refuses_is_reported(tmp_path, change, message):
    words = ["train", "quadrants", "--set", f"network.{change}", "--registry", tmp_path / "r"]
    done = quadnet(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("quadnet train: The network cannot be trained: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_layers_too_large_for_a_version_or_for_memory_are_reported(tmp_path):
    words = ["train", "quadrants", "--registry", tmp_path / "r"]
    done = quadnet(*words, "--set", "network.hidden_layer_sizes=[1000000000000]")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "could not be published: weights.safetensors would have 56,0" in done.stderr
    # A version of 56 MB, trained on batches that would need 2.4 TB.
    changes = [
        "network.hidden_layer_sizes=[1000000]", "network.solver=adam", "data.points=300000",
        "network.batch_size=300000", "validation=0", "calibrate=false",
    ]  # fmt: skip
    done = quadnet(*words, *(word for change in changes for word in ("--set", change)))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("quadnet train: The network cannot be trained: with network.")
    assert "it does not fit into memory. Use smaller layers." in done.stderr


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileUnusable, match=r"no\.toml cannot be read: No such file"):
        load_run_file(tmp_path / "no.toml")


def test_the_digest_follows_the_values_and_not_the_spelling(tmp_path):
    plain = load(tmp_path)
    spelled_out = load(tmp_path, changes=["data.placement=uniform", "test.points=10000"])
    changed = load(tmp_path, changes=["data.seed=2"])
    assert plain.sha256() == spelled_out.sha256() != changed.sha256()


def test_presets_are_found_by_name():
    assert PRESET_NAMES == (
        "article-1", "article-2", "digits", "fashion", "fashion-dense", "quadrants",
    )  # fmt: skip
    for name in PRESET_NAMES:
        assert load_preset(name).name == name
    with pytest.raises(
        NotFound, match="The presets: article-1, article-2, digits, fashion, fashion-dense, q"
    ):
        load_preset("article-3")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("data.columns.a=number", "a"),
        ("data.columns.größe=number", "größe"),
        ("data.columns.a b=number", "a b"),
        ("data.columns.#=number", "#"),
        ('data.columns."a"="number"', "a"),
        ('data.columns."a.b"="number"', "a.b"),
        ("data.columns.'a=\"b'=number", 'a="b'),
        ('data.columns."a\\nb" = {kind="number", scale="none"}', "a\nb"),
    ],
)
def test_a_change_sets_a_column_of_any_name(tmp_path, change, name):
    config = load(tmp_path, TABLE_RUN, changes=[change])
    assert {column: options.kind for column, options in config.data.columns.items()} == {
        name: "number"
    }


TABLE_RUN = """
name = "t"
[data]
kind = "table"
path = "t.csv"
label = "y"
[test]
share = 0.2
[gate]
accuracy = 0.0
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.columns=x", "run.toml: data.columns: input should be a valid dictionary, got 'x'."),
        ("data.columns.a=x", "data.columns.a.kind: expected one of number, category, date, ign"),
        (
            'data.columns.a={scale="none"}',
            "data.columns.a.kind is missing. The kinds are: number, category, date",
        ),
        ('data.columns.a={kind="number",n_pieces=-1}', "run.toml: data.columns.a.n_pieces: input"),
        ('data.columns.float={kind="number",n_pieces=-1}', "run.toml: data.columns.float.n_pieces"),
        (
            'data.columns.scale={kind="date",scale=1}',
            "is no key data.columns.scale.scale. The keys there are: kind, format, parts.",
        ),
        ("data.weight=y", "run.toml: data: expected different columns as labels and weight."),
        (
            "test.path=x",
            "run.toml: test.share: test.path decides on the test rows; remove test.share.",
        ),
    ],
)
def test_wrong_settings_of_a_table_are_reported_with_their_key(tmp_path, change, message):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, TABLE_RUN, changes=[change])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('data.path="a\\u0000b"', "data.path: expected a path without NUL"),
        (
            f"network.max_iter={'9' * 5000}",
            "The change 'network.max_iter': the number has too many digits.",
        ),
        ("..a=1", "expected one KEY=VALUE, as in network.max_iter=100. Correct the option --set."),
        ("network.=1", "expected one KEY=VALUE"),
        (
            'data.columns.age={kind="number"',
            'expected a table such as {kind="number", clip=true}, got \'{kind="number"\'.',
        ),
    ],
)
def test_changes_that_cannot_be_read_are_refused_in_words(tmp_path, change, expected):
    run_file = tmp_path / "run.toml"
    run_file.write_text('name = "t"\n[data]\nkind = "csv"\npath = "t.csv"\nlabel = "y"\n')
    done = quadnet("train", run_file, "--registry", tmp_path / "models", "--set", change)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "unexpected" not in done.stderr
