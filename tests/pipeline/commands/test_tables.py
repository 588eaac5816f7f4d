"""Tables through the command line: init, train, and what a new user meets."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.table_run import make_table_run
from pipeline.config.run_file import parse_run_file
from pipeline.config.run_file_writer import make_model_name
from quadnet.errors import ConfigurationError, InvalidInput
from tests.support.serving import QUADNET, quadnet
from tests.support.tables import write_table

N = 300
RNG = np.random.default_rng(0)
AGE = np.round(RNG.normal(40, 12, N), 1)
CITY = RNG.choice(["Oslo", "Rome", "Bern"], N)
BOUGHT = np.where(AGE + 12 * (CITY == "Rome") + RNG.normal(0, 6, N) > 44, "yes", "no")
TABLE = {
    "id": list(range(N)),
    "age": ["" if i % 17 == 0 else float(a) for i, a in enumerate(AGE)],
    "city": CITY.tolist(),
    "bought": BOUGHT.tolist(),
}


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path, TABLE, "shop.csv")


def test_dry_run_shows_what_was_understood_and_writes_nothing(tmp_path, table):
    done = quadnet(
        "train", str(table), "--label", "bought", "--dry-run", "--registry", str(tmp_path / "reg")
    )
    lines = done.stdout.splitlines()
    assert lines[0] == f"{table}: CSV, comma, UTF-8, 300 rows."
    assert lines[1] == "Task: classification."
    assert [line.split() for line in lines[2:6]] == [
        ["bought", "label"],
        ["id", "ignored", "it", "identifies", "the", "rows"],
        ["age", "number", f"{len(set(TABLE['age'])) - 1}", "different", "numbers,", "18", "gaps"],
        ["city", "category", "3", "categories"],
    ]
    assert lines[-1].endswith("The network gets 15 inputs. Nothing was trained.")
    assert list(tmp_path.iterdir()) == [table]


def test_init_prints_the_run_file_that_train_would_use(tmp_path, table):
    text = quadnet("init", str(table), "--label", "bought").stdout
    assert re.search('^# city = "category" +# 3 categories$', text, re.MULTILINE)
    config = parse_run_file(text, tmp_path / "run.toml")
    assert (config.name, config.task, config.data.columns) == ("shop", "classification", {})
    # A line that is no comment any more decides.
    decided = text.replace('# id = "ignored"', 'id = "number"')
    (tmp_path / "run.toml").write_text(decided)
    done = quadnet("train", str(tmp_path / "run.toml"), "--dry-run")
    assert "  id      number    set in data.columns\n" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device /dev/full")
def test_a_run_file_that_does_not_fit_on_the_disk_is_an_error(tmp_path):
    columns = {f"measurement number {i}": TABLE["age"] for i in range(200)}
    path = write_table(tmp_path, columns | {"bought": TABLE["bought"]}, "shop.csv")
    with Path("/dev/full").open("w") as full:
        words = [*QUADNET, "init", str(path), "--label", "bought"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    message = "quadnet init: an output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_every_commented_line_of_init_is_valid(tmp_path, table):
    """Uncommented, each decision says the same as the table."""
    text = make_table_run(str(table), ["bought"]).format()
    head, columns = text.split("[data.columns]\n")
    columns, rest = columns.split("\n\n", 1)
    uncommented = "\n".join(line.removeprefix("# ") for line in columns.splitlines())
    config = parse_run_file(f"{head}[data.columns]\n{uncommented}\n\n{rest}", tmp_path / "run.toml")
    kinds = {name: options.kind for name, options in config.data.columns.items()}
    assert kinds == {"id": "ignored", "age": "number", "city": "category"}


def test_any_name_of_a_file_survives_the_run_file(tmp_path):
    path = write_table(tmp_path, TABLE, 'a\nname = "b" [1].csv')
    run = make_table_run(str(path), ["bought"])
    assert run.parse([]).data.path == str(path)
    assert parse_run_file(run.format(), tmp_path / "run.toml").data.path == str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train", "x.toml", "--label", "y"],
            "--label: expected a table, got the run file x.toml.",
        ),
        (["train", "x.toml", "--task", "regression"], "--task: expected a table, got the run file"),
        (["train", "x.toml", "--name", "b"], "Change the key name of the file, or with --set."),
        (["init", "x.toml", "--label", "y"], "expected a table and --label, as in penguins.csv"),
    ],
)
def test_options_of_tables_are_refused_with_a_run_file(words, message):
    done = quadnet(*words)
    assert done.returncode == 2
    assert message in done.stderr


def test_search_of_a_table_names_the_command_that_makes_a_run_file(table):
    done = quadnet("search", table)
    assert f"{table} is a table: expected a run file. `quadnet init` makes one" in done.stderr


@pytest.mark.parametrize(
    "name",
    ["a b", 'quo"te', "back\\slash", "dotted.name", "tab\tname", "ümlaut", "中文", "#x", "="],
)
def test_any_name_of_a_column_survives_the_run_file(tmp_path, name):
    path = write_table(tmp_path, {name: TABLE["age"], "y": TABLE["bought"]}, "t.csv")
    text = make_table_run(str(path), ["y"]).format()
    columns = text.split("[data.columns]\n")[1].split("\n\n")[0]
    config = parse_run_file(
        text.replace(columns, columns.removeprefix("# ")), tmp_path / "run.toml"
    )
    assert list(config.data.columns) == [name]


@pytest.mark.parametrize(
    ("file", "name"),
    [("shop.csv", "shop"), ("My Data (2).csv.gz", "my-data-2"), ("Ü.csv", "table"), ("-", "table")],
)
def test_name_of_the_model_follows_from_the_file(file, name):
    assert make_model_name(file) == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{table}"], "is a table: name the column to predict with --label."),
        (["{table}", "--label", "nothing"], "column nothing: expected such a column, found only:"),
        (["{table}x", "--label", "bought"], "cannot be read: No such file or directory."),
        (["{table}", "--label", "bought", "--task", "regression"], "expected a number, got '"),
        (["{table}", "--label", "bought", "--set", "data.drop=[1]"], "data.drop"),
    ],
)
def test_wrong_commands_are_explained(table, words, message):
    done = quadnet("train", *(word.format(table=table) for word in words), "--dry-run")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_task_follows_from_the_values_of_the_label(tmp_path):
    numbers = {"x": TABLE["age"], "city": TABLE["city"]}
    for values, task in (
        (RNG.normal(size=N).round(3).tolist(), "regression"),
        (RNG.integers(0, 3, N).tolist(), "classification"),
        (RNG.integers(0, 1000, N).tolist(), "regression"),
        (RNG.choice(["1", "2", "x"], N).tolist(), "classification"),
        # A word among many numbers is an error, which is reported with its line.
        ([*RNG.normal(size=N - 1).round(3).tolist(), "inf"], "regression"),
    ):
        path = write_table(tmp_path, numbers | {"y": values})
        assert f'task = "{task}"' in make_table_run(str(path), ["y"]).format()
    path = write_table(tmp_path, numbers | {"a": [0, 1] * (N // 2), "b": [1, 0] * (N // 2)})
    text = make_table_run(str(path), ["a", "b"]).format()
    assert 'task = "multilabel"' in text
    assert 'label = ["a", "b"]' in text


def test_a_preset_is_no_table_even_if_there_is_such_a_file(tmp_path):
    (tmp_path / "quadrants").mkdir()
    done = quadnet("train", "quadrants", "--dry-run", "--set", "data.points=100", cwd=tmp_path)
    assert done.stdout.endswith("The network gets 2 inputs. Nothing was trained.\n"), done.stderr
    done = quadnet("train", "digits", "--label", "digit", cwd=tmp_path)
    assert "digits is a preset, which has its label: expected a table" in done.stderr


def test_changes_of_reading_decide_on_how_the_table_is_read(tmp_path):
    columns = TABLE | {"age": [-9 if i % 17 == 0 else a for i, a in enumerate(AGE.tolist())]}
    path = write_table(tmp_path, columns, "shop.csv")
    assert ", 18 gaps" not in make_table_run(str(path), ["bought"]).format()
    words = ["train", path, "--label", "bought", "--dry-run", "--set"]
    assert ", 18 gaps" in quadnet(*words, 'data.read.missing=["-9"]').stdout
    with pytest.raises(InvalidInput, match="column bought: expected such a column"):
        make_table_run(str(path), ["bought"], changes=['data.read.delimiter=";"'])


@pytest.mark.parametrize(
    "change", ["test.time=day", "test.after=day", "test.after=2025-08-01", "test.path={}"]
)
def test_a_change_replaces_the_test_part_that_a_table_gets_by_itself(tmp_path, change):
    days = [f"2025-{i // 28 + 1:02}-{i % 28 + 1:02}" for i in range(N)]
    path = write_table(tmp_path, TABLE | {"day": days}, "shop.csv")
    run = make_table_run(str(path), ["bought"], changes=[change.format(path)])
    assert run.parse([change.format(path)]).test.stratify is False


def test_a_label_that_is_named_twice_is_refused(table):
    done = quadnet("train", table, "--label", "city", "--label", "city", "--dry-run")
    assert done.stderr == (
        "quadnet train: shop.csv: data: expected different columns as labels and weight.\n"
    )


@pytest.mark.parametrize("format_", ["2025-01-{:02}", "{:02}.01.2025"])
def test_dates_are_no_label_unless_the_user_says_so(tmp_path, format_):
    days = [format_.format(i % 28 + 1) for i in range(N)]
    path = write_table(tmp_path, {"x": TABLE["age"], "y": days}, "t.csv")
    with pytest.raises(ConfigurationError, match="is a column of dates"):
        make_table_run(str(path), ["y"])
    assert make_table_run(str(path), ["y"], task="classification").parse([]).data.label == "y"


def test_init_names_the_dialect_that_was_found(tmp_path):
    rows = zip(TABLE["age"], TABLE["city"], TABLE["bought"], strict=True)
    lines = [";".join(map(str, row)).replace(".", ",") for row in rows]
    path = tmp_path / "excel.csv"
    path.write_text("\n".join(["age;city;bought", *lines]))
    text = make_table_run(str(path), ["bought"]).format()
    assert text.startswith(f"# {path}: CSV, semicolon, decimal comma, UTF-8, 300 rows.\n")
    read = text.split("[data.read]\n")[1].split("\n\n")[0]
    uncommented = "\n".join(line.removeprefix("# ") for line in read.splitlines())
    found = parse_run_file(text.replace(read, uncommented), tmp_path / "run.toml").data.read
    assert (found.format, found.delimiter, found.decimal) == ("csv", ";", ",")
    assert "NA" in found.missing


def test_quantiles_need_one_network_and_get_one(tmp_path):
    table = {"age": TABLE["age"], "paid": RNG.normal(size=N).round(4).tolist()}
    path = write_table(tmp_path, table)
    changes = ["network.loss=quantile", "network.quantiles=[0.1, 0.9]"]
    assert "n_ensemble" in make_table_run(str(path), ["paid"]).format()
    assert "n_ensemble" not in make_table_run(str(path), ["paid"], changes=changes).format()


def test_columns_that_are_not_used_are_named_when_training(tmp_path, table):
    changes = ["network.max_iter=1", "network.n_ensemble=1", "gate.better_than_majority=false"]
    words = [word for change in changes for word in ("--set", change)]
    done = quadnet("train", "shop.csv", "--label", "bought", *words, cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "Columns not used: 'id' (it identifies the rows)."


def test_a_file_that_is_not_there_is_no_preset(tmp_path):
    done = quadnet("train", "nofile.csv", cwd=tmp_path)
    assert done.stderr == "quadnet train: nofile.csv cannot be read: No such file or directory.\n"


def test_a_model_takes_the_gaps_that_it_was_judged_on(tmp_path):
    whole = {name: TABLE[name] for name in ("age", "city", "bought")} | {"age": AGE.tolist()}
    write_table(tmp_path, whole, "shop.csv")
    held_out = {name: values[:60] for name, values in whole.items()}
    held_out["age"] = ["" if i % 7 == 0 else age for i, age in enumerate(held_out["age"])]
    held_out["city"] = ["" if i % 5 == 0 else city for i, city in enumerate(held_out["city"])]
    path = write_table(tmp_path, held_out, "test.csv")
    changes = ["network.max_iter=1", "network.n_ensemble=1", "gate.better_than_majority=false"]
    words = [word for change in [*changes, f"test.path={path}"] for word in ("--set", change)]
    quadnet("train", "shop.csv", "--label", "bought", *words, cwd=tmp_path)
    done = quadnet("predict", "shop", "test.csv", "--registry", "models", cwd=tmp_path)
    assert done.stderr.endswith("columns that model shop does not take are ignored: bought.\n")
    assert len(done.stdout.splitlines()) == 61
