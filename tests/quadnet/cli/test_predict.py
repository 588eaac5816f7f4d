"""The verb `predict`: one row or a file, from a server or a registry."""

import csv
import io
import sys

import pytest

from pipeline.scoring.scoring_job import score_file
from quadnet.cli.advice import explain_error
from quadnet.cli.parser import parse
from quadnet.errors import QuadnetError
from quadnet.registry import Registry
from service.commands.predict import predict as run_predict
from service.settings import PredictSettings
from tests.support.exact_models import publish
from tests.support.serving import ServerProcess, quadnet
from tests.support.table_models import (
    NAMES,
    library_answers,
    publish_table_models,
    to_values,
    training_table,
)

TABLE = training_table()
COLUMNS = to_values(TABLE)
N = len(COLUMNS["age"])
HEAD = "age,income,city,plan,since\n"
ONE = {
    "age": "31.5",
    "income": "3e4",
    "city": "Rome",
    "plan": "plan 1",
    "since": "2021-05-03T10:30",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("predict") / "registry")
    publish_table_models(registry)
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    return registry


@pytest.fixture(scope="module")
def server(registry):
    with ServerProcess(registry.root) as process:
        yield process


@pytest.fixture(params=["server", "registry"])
def models(request, registry, server):
    """Return the options that choose what answers."""
    if request.param == "registry":
        return ("--registry", registry.root)
    return ("--port", server.port)


def write(path, columns=COLUMNS, delimiter=","):
    """Write columns as a CSV file, with empty cells for missing values."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path


def settings(values):
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def predict(capsys):
    """Return a function that runs the verb in this process, which takes a tenth of the time."""

    def run(*words):
        settings = parse(PredictSettings, "quadnet predict", [str(word) for word in words])
        try:
            code = run_predict(settings)
        except QuadnetError as error:
            print(f"quadnet predict: {explain_error(error)}", file=sys.stderr)
            code = 1
        return (code, *capsys.readouterr())

    return run


def predict_apart(*words, **options):
    """Run the verb in a process of its own."""
    done = quadnet("predict", *words, **options)
    return done.returncode, done.stdout, done.stderr


def test_one_row_gets_its_label_and_the_probability_of_each_class(models, predict):
    code, printed, errors = predict("classes", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    heading, label, *classes = printed.splitlines()
    assert heading == "classes version 1"
    shares = {line[:8].strip(): float(line.split()[-1].rstrip("%")) for line in classes}
    assert shares.keys() == set(NAMES)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert label == f"label: {next(iter(shares))}"
    assert sum(shares.values()) == pytest.approx(100, abs=0.02)


def test_one_row_gets_its_value_and_quantiles(models, predict):
    code, printed, errors = predict("quantiles", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    heading, *lines = printed.splitlines()
    numbers = {name: float(number) for name, number in map(str.split, lines)}
    assert heading == "quantiles version 1"
    assert list(numbers) == ["value", "quantile_0.1", "quantile_0.5", "quantile_0.9"]
    assert numbers["quantile_0.1"] <= numbers["quantile_0.5"] == numbers["value"]


def test_one_row_gets_each_of_several_labels(models, predict):
    code, printed, errors = predict("labels:1", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    lines = [line.split() for line in printed.splitlines()[1:]]
    assert [name for name, _, _ in lines] == NAMES
    assert all((has == "yes") == (float(share.rstrip("%")) > 50) for _, has, share in lines)


def test_missing_values_and_unknown_categories_are_answered(models, predict):
    code, printed, errors = predict(
        "numbers", *settings({**ONE, "age": "", "since": "NA", "city": "Paris"}), *models
    )
    assert (code, printed.splitlines()[0]) == (0, "numbers version 1")
    assert errors == (
        "quadnet predict: cells with categories that did not occur in training: 1 in city.\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"incom": "4"}, "--set incom: model classes has no column 'incom'. Did you mean income?"),
        ({"qq": "4"}, "has no column 'qq'. It has age, income, city, plan, since."),
        ({"income": "big"}, "--set income: expected a number, got 'big'."),
        ({"income": "inf"}, "--set income: expected a number, got 'inf'."),
        ({"income": ""}, "--set income: is missing, but no row"),
        ({"since": "3 May"}, "--set since: expected a date such as 2024-01-31"),
    ],
)
def test_a_wrong_value_is_named(models, change, message, predict):
    code, printed, errors = predict("classes", *settings({**ONE, **change}), *models)
    assert (code, printed) == (1, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_columns_that_are_not_set_are_named(models, predict):
    code, printed, errors = predict("classes", "--set", "age=3", "--set", "city=Oslo", *models)
    assert (code, printed) == (1, "")
    assert errors == (
        "quadnet predict: Model classes also takes income, plan, since: add --set income=VALUE "
        "--set plan=VALUE --set since=VALUE. Without a value, as in income=, it is missing, which "
        "columns with gaps in training accept.\n"
    )
    code, _, errors = predict("classes", "--set", "age=3", "--set", "age=4", *models)
    assert (code, errors) == (1, "quadnet predict: --set age: expected one value, got age twice.\n")


@pytest.mark.parametrize("name", ["classes", "quantiles", "numbers", "labels"])
def test_a_file_gets_the_columns_of_score(registry, models, name, tmp_path, predict):
    source = write(tmp_path / "rows.csv", {"id": range(N), **COLUMNS})
    code, printed, errors = predict(name, source, *models)
    assert code == 0
    assert errors == (
        f"quadnet predict: columns that model {name} does not take are ignored: id.\n"
    )
    target = tmp_path / "scored.csv"
    score_file(registry.load(name, 1), source, target)
    assert printed == target.read_text()


def test_a_file_of_numbers_is_answered_by_the_version_of_an_alias(server, tmp_path):
    source = write(tmp_path / "points.csv", {"y": [0.5, -0.8], "x": [0.5, -0.1]}, "\t")
    code, printed, errors = predict_apart(
        "quadrants:candidate", "-", "--port", server.port, given=source.read_text()
    )
    assert (code, errors) == (0, "")
    rows = list(csv.DictReader(io.StringIO(printed), delimiter="\t"))
    assert [(row["label"], row["version"]) for row in rows] == [("I", "2"), ("III", "2")]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_delimiters_quotes_and_a_byte_order_mark_are_read(
    registry, models, delimiter, tmp_path, predict
):
    columns = {"note": ['a "b"\nc' + delimiter] * N, **dict(reversed(COLUMNS.items()))}
    source = write(tmp_path / "rows.csv", columns, delimiter)
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes() + b"\n")
    code, printed, _ = predict("classes", source, *models, "--prefix", "guessed_")
    rows = list(csv.DictReader(io.StringIO(printed), delimiter=delimiter))
    assert code == 0
    assert [row["note"] for row in rows] == columns["note"]
    labels = library_answers(registry.load("classes", 1), TABLE)["label"].tolist()
    assert [row["guessed_label"] for row in rows] == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,income,city,plan\n", "lacks the column since, which model classes takes"),
        ("age,income,cit,pla,since\n", "lacks the columns city, plan, which model classes takes"),
        (HEAD + "1,x,,plan 1,\n", "line 2, column income: expected a number, got 'x'"),
        (HEAD + "1,1_0,,plan 1,\n", "line 2, column income: expected a number, got '1_0'"),
        (HEAD + "1,\u0663,,plan 1,\n", "line 2, column income: expected a number, got '\u0663'"),
        (HEAD + "1,2,,plan 1,\n1,2,,plan 1,31.1.24\n", "line 3, column since: expected a date"),
        (HEAD + '1,2,"Os\nlo",plan 1,\n\n1,,,plan 1,\n', "line 5, column income: is missing, but"),
        (HEAD + "1,2,,plan 1,\n1,Oslo,\n", "line 3: expected 5 cells, got 3"),
        ("age,income,city,plan,since,age\n", "expected distinct columns, got 'age' twice"),
        ("age,income,city,plan,since,label\n", "already has a column label: the added columns"),
        ("", "lacks the columns age, income, city, plan, since"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(models, content, message, tmp_path, predict):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    code, _, errors = predict("classes", path, *models)
    assert code == 1
    assert message in errors.splitlines()[-1]
    assert str(path) in errors.splitlines()[-1]


def test_a_file_without_rows_gets_the_header(models, tmp_path, predict):
    path = tmp_path / "rows.csv"
    path.write_text(HEAD)
    code, printed, errors = predict("classes", path, *models)
    assert (code, printed, errors) == (0, HEAD.strip() + ",label,certainty,version\n", "")
    assert "No such file" in predict("classes", tmp_path / "absent.csv", *models)[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected MODEL, as in quadnet predict titanic rows.csv"),
        (["classes"], "expected rows: a CSV file"),
        (["classes", "rows.csv", "--set", "a=1"], "expected a file or --set, got both"),
        (["classes", "--set", "age"], "--set: expected NAME=VALUE, as in age=31, got 'age'"),
    ],
)
def test_wrong_usage_is_one_sentence(words, message):
    code, printed, errors = predict_apart(*words)
    assert (code, printed) == (2, "")
    assert message in errors


def test_a_model_that_is_not_there_is_named(models, predict):
    code, printed, errors = predict("chop", *settings(ONE), *models)
    assert (code, printed) == (1, "")
    assert "There is no model 'chop'" in errors
    assert "has no version 9" in predict("classes:9", *settings(ONE), *models)[2]
    assert "has no alias 'next'" in predict("classes:next", *settings(ONE), *models)[2]


def test_the_registry_of_other_verbs_does_not_choose_what_answers(registry):
    code, _, errors = predict_apart(
        "classes", *settings(ONE), "--port", "1", env={"QUADNET_REGISTRY": str(registry.root)}
    )
    assert code == 1
    assert "No Quadnet server answers at 127.0.0.1:1." in errors
