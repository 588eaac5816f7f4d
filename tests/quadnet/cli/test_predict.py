"""The verb `predict`: one row or a file, from a server or a registry."""

import csv
import io

import pytest

from quadnet.registry import Registry
from tests.support.exact_models import publish
from tests.support.serving import quadnet
from tests.support.shop_models import CLASSES, COLUMNS, library_answers, publish_table_models

N = len(COLUMNS["age"])
ONE = {"age": "31.5", "city": "Rome", "day": "2024-05-03T10:30", "size": "4"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("predict") / "registry")
    publish_table_models(registry)
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    return registry


@pytest.fixture(params=["registry"])
def models(request, registry):
    """Return the options that choose what answers."""
    return ("--registry", registry.root)


def write(path, columns=COLUMNS, delimiter=","):
    """Write columns as a CSV file, with empty cells for missing values."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path


def settings(values):
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def predict(*words, **options):
    done = quadnet("predict", *words, **options)
    return done.returncode, done.stdout, done.stderr


def test_one_row_gets_its_label_and_the_probability_of_each_class(models):
    code, printed, errors = predict("shop", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    heading, label, *classes = printed.splitlines()
    assert heading == "shop version 1"
    shares = {line[:8].strip(): float(line.split()[-1].rstrip("%")) for line in classes}
    assert shares.keys() == set(CLASSES)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert label == f"label: {next(iter(shares))}"
    assert sum(shares.values()) == pytest.approx(100, abs=0.02)


def test_one_row_gets_its_value_and_quantiles(models):
    code, printed, errors = predict("prices", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    heading, *lines = printed.splitlines()
    numbers = {name: float(number) for name, number in map(str.split, lines)}
    assert heading == "prices version 1"
    assert list(numbers) == ["value", "quantile_0.05", "quantile_0.5", "quantile_0.95"]
    assert numbers["quantile_0.05"] <= numbers["quantile_0.5"] == numbers["value"]


def test_one_row_gets_each_of_several_labels(models):
    code, printed, errors = predict("tags:1", *settings(ONE), *models)
    assert (code, errors) == (0, "")
    lines = [line.split() for line in printed.splitlines()[1:]]
    assert [name for name, _, _ in lines] == ["old", "new"]
    assert all((has == "yes") == (float(share.rstrip("%")) > 50) for _, has, share in lines)


def test_missing_values_and_unknown_categories_are_answered(models):
    code, printed, errors = predict(
        "length", *settings({**ONE, "age": "", "day": "NA", "city": "Paris"}), *models
    )
    assert (code, printed.splitlines()[0]) == (0, "length version 1")
    assert errors == (
        "quadnet predict: cells with categories that did not occur in training: 1 in city.\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sise": "4"}, "--set sise: model shop has no column 'sise'. Did you mean size?"),
        ({"qq": "4"}, "model shop has no column 'qq'. It has age, city, day, size."),
        ({"size": "big"}, "--set size: expected a number, got 'big'."),
        ({"size": ""}, "--set size: "),
        ({"day": "3 May"}, "--set day: expected a date such as 2024-01-31"),
    ],
)
def test_a_wrong_value_is_named(models, change, message):
    code, printed, errors = predict("shop", *settings({**ONE, **change}), *models)
    assert (code, printed) == (1, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_columns_that_are_not_set_are_named(models):
    code, printed, errors = predict("shop", "--set", "age=3", "--set", "city=Oslo", *models)
    assert (code, printed) == (1, "")
    assert errors == (
        "quadnet predict: Model shop also takes day, size: add --set day=VALUE --set size=VALUE, "
        "or day= for a missing value.\n"
    )
    code, _, errors = predict("shop", "--set", "age=3", "--set", "age=4", *models)
    assert (code, errors) == (1, "quadnet predict: --set age: expected one value, got age twice.\n")


@pytest.mark.parametrize("name", ["shop", "prices", "length", "tags"])
def test_a_file_gets_the_columns_of_score(registry, models, name, tmp_path):
    source = write(tmp_path / "rows.csv", {"id": range(N), **COLUMNS})
    code, printed, errors = predict(name, source, *models)
    assert code == 0
    assert errors == (
        f"quadnet predict: columns that model {name} does not take are ignored: id.\n"
    )
    target = tmp_path / "scored.csv"
    scored = quadnet("score", name, source, target, "--registry", registry.root)
    assert scored.returncode == 0, scored.stderr
    assert printed == target.read_text()


def test_a_file_of_numbers_is_answered_by_the_version_of_an_alias(models, tmp_path):
    source = write(tmp_path / "points.csv", {"y": [0.5, -0.8], "x": [0.5, -0.1]}, "\t")
    code, printed, errors = predict("quadrants:candidate", "-", *models, given=source.read_text())
    assert (code, errors) == (0, "")
    rows = list(csv.DictReader(io.StringIO(printed), delimiter="\t"))
    assert [(row["label"], row["version"]) for row in rows] == [("I", "2"), ("III", "2")]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_delimiters_quotes_and_a_byte_order_mark_are_read(registry, models, delimiter, tmp_path):
    columns = {"note": ['a "b"\nc' + delimiter] * N, **dict(reversed(COLUMNS.items()))}
    source = write(tmp_path / "rows.csv", columns, delimiter)
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes() + b"\n")
    code, printed, _ = predict("shop", source, *models, "--prefix", "guessed_")
    rows = list(csv.DictReader(io.StringIO(printed), delimiter=delimiter))
    assert code == 0
    assert [row["note"] for row in rows] == columns["note"]
    labels = library_answers(registry, "shop")["label"].tolist()
    assert [row["guessed_label"] for row in rows] == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,city,day\n1,Oslo,\n", "lacks the column size, which model shop takes"),
        ("age,cit,day,siz\n", "lacks the columns city, size, which model shop takes"),
        ("age,city,day,size\n1,Oslo,,x\n", "line 2, column size: expected a number, got 'x'"),
        ("age,city,day,size\n1,Oslo,,2\n1,Oslo,31.1.24,2\n", "line 3, column day: expected a date"),
        ('age,city,day,size\n1,"Os\nlo",,2\n\n1,Oslo,,\n', "line 5, column size: "),
        ("age,city,day,size\n1,Oslo,,2\n1,Oslo,\n", "line 3: expected 4 cells, got 3"),
        ("age,city,day,size,age\n", "expected distinct columns, got 'age' twice"),
        ("age,city,day,size,label\n", "already has a column label: the added columns need another"),
        ("", "lacks the columns age, city, day, size"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(models, content, message, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    code, _, errors = predict("shop", path, *models)
    assert code == 1
    assert message in errors.splitlines()[-1]
    assert str(path) in errors.splitlines()[-1]


def test_a_file_without_rows_gets_the_header(models, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,city,day,size\n")
    code, printed, errors = predict("shop", path, *models)
    assert (code, printed, errors) == (0, "age,city,day,size,label,certainty,version\n", "")
    assert "No such file" in predict("shop", tmp_path / "absent.csv", *models)[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected MODEL, as in quadnet predict titanic rows.csv"),
        (["shop"], "expected rows: a CSV file"),
        (["shop", "rows.csv", "--set", "a=1"], "expected a file or --set, got both"),
        (["shop", "--set", "age"], "--set: expected NAME=VALUE, as in age=31, got 'age'"),
    ],
)
def test_wrong_usage_is_one_sentence(words, message):
    code, printed, errors = predict(*words)
    assert (code, printed) == (2, "")
    assert message in errors


def test_a_model_that_is_not_there_is_named(models):
    code, printed, errors = predict("chop", *settings(ONE), *models)
    assert (code, printed) == (1, "")
    assert "There is no model 'chop'" in errors
    assert "has no version 9" in predict("shop:9", *settings(ONE), *models)[2]
    assert "has no alias 'next'" in predict("shop:next", *settings(ONE), *models)[2]


def test_the_registry_of_other_verbs_does_not_choose_what_answers(registry):
    code, _, errors = predict(
        "shop", *settings(ONE), "--port", "1", env={"QUADNET_REGISTRY": str(registry.root)}
    )
    assert code == 1
    assert "No Quadnet server answers at 127.0.0.1:1." in errors
