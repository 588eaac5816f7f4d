"""The client of any model, with models that take the columns of a table."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quadnet.errors import InvalidInput
from quadnet.registry import Registry, alias_changes
from service.client import ModelClient
from tests.support.serving import ServerProcess, until
from tests.support.table_models import (
    NAMES,
    QUANTILES,
    library_answers,
    publish_table_model,
    publish_table_models,
    sample_table,
    to_values,
)

TABLE = sample_table(300)
VALUES = to_values(TABLE)
DATES = {**VALUES, "since": TABLE["since"]}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("tables") / "registry")
    publish_table_models(registry)
    return registry


@pytest.fixture(scope="module")
def client(registry):
    options = ("--model", "classes")
    with ServerProcess(registry.root, *options) as server, ModelClient(server.address) as client:
        yield client


def check(answers, expected):
    found = {
        "probabilities": answers.probabilities,
        "label": answers.labels,
        "value": answers.values,
        "quantiles": answers.quantiles,
    }
    assert {name for name, values in found.items() if values is not None} == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
        if values.dtype.kind == "f":
            assert found[name].dtype == values.dtype


@pytest.mark.parametrize("model", ["classes", "labels", "numbers", "quantiles"])
def test_columns_get_the_answers_of_the_library(client, registry, model):
    expected = library_answers(registry.load(model, 1), TABLE)
    for rows in (VALUES, TABLE, dict(reversed(DATES.items()))):
        answers = client.predict(model, rows)
        check(answers, expected)
        assert answers.unknown_categories == registry.load(model, 1).encoder.count_unknown(TABLE)
    row_by_row = [dict(zip(VALUES, row, strict=True)) for row in zip(*VALUES.values(), strict=True)]
    check(client.predict(model, row_by_row), expected)
    as_array = np.array([list(row.values()) for row in row_by_row], object)
    check(client.predict(model, as_array), expected)
    assert answers.quantile_levels == (QUANTILES if model == "quantiles" else ())


LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
COLUMNS = {
    "classes": ["label", "probability_no", "probability_yes", "probability_Ünsure"],
    "labels": [f"{what}_{name}" for name in NAMES for what in ("label", "probability")],
    "numbers": ["value"],
    "quantiles": ["value", "quantile_0.1", "quantile_0.5", "quantile_0.9"],
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("model", COLUMNS)
def test_a_data_frame_gets_the_answers_as_columns(client, registry, model, library):
    answers = client.predict(model, LIBRARIES[library](DATES))
    assert type(answers) is type(LIBRARIES[library]({}))
    names = [str(name) for name in getattr(answers, "column_names", answers.columns)]
    assert names == COLUMNS[model]
    found = {name: np.asarray(answers[name]) for name in names}
    expected = library_answers(registry.load(model, 1), TABLE)
    if model in ("numbers", "quantiles"):
        columns = [expected["value"], *expected.get("quantiles", np.empty((0, 0))).T]
    elif model == "labels":
        pairs = zip(expected["label"].T, expected["probabilities"].T, strict=True)
        columns = [column for pair in pairs for column in pair]
    else:
        columns = [expected["label"], *expected["probabilities"].T]
    for name, column in zip(names, columns, strict=True):
        np.testing.assert_array_equal(found[name], column)


def test_dates_with_a_zone_and_categories_of_pandas_are_read(client):
    frame = pd.DataFrame(DATES)
    expected = client.predict("classes", frame)
    moved = frame.assign(
        since=frame["since"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        city=frame["city"].astype("category"),
        age=frame["age"].astype("Float64"),
    )
    pd.testing.assert_frame_equal(client.predict("classes", moved), expected)


def test_rows_in_several_calls_get_the_same_answers(client, registry):
    expected = library_answers(registry.load("classes", 1), TABLE)
    answers = client.predict("classes", VALUES, rows_a_call=64)
    check(answers, expected)
    assert answers.unknown_categories == registry.load("classes", 1).encoder.count_unknown(TABLE)


def test_a_model_is_described_by_the_kinds_of_its_columns(client):
    described = client.describe("quantiles")
    kinds = ["number", "number", "category", "category", "date"]
    assert described.columns == dict(zip(VALUES, kinds, strict=True))
    assert described.outputs == {"value": (-1,), "quantiles": (-1, 3)}
    assert (described.classes, described.quantiles) == ((), QUANTILES)
    assert client.describe("labels").is_multilabel


def change(**columns):
    return {**{name: values[:200] for name, values in VALUES.items()}, **columns}


def replace(name, row, value):
    return change(**{name: [value if i == row else x for i, x in enumerate(VALUES[name][:200])]})


@pytest.mark.parametrize(
    ("rows", "field", "message"),
    [
        (replace("income", 150, None), "income[150]", "is missing, but no row"),
        (replace("income", 150, float("inf")), "income[150]", "inf"),
        (replace("age", 3, "old"), "age[3]", "expected numbers, got 'old'"),
        (replace("since", 9, "yesterday"), "since[9]", "expected a date such as 2024-01-31"),
        (replace("city", 8, "\ud800"), "city[8]", "expected a text that UTF-8 can encode"),
        ({"age": [1.0]}, "income", "is missing"),
        (change(towns=["Oslo"] * 200), "towns", "Leave it out"),
        (change(plan=["plan 1"]), "plan", "must have 200 rows"),
    ],
)
def test_wrong_rows_are_refused_with_column_and_row(client, rows, field, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        client.predict("classes", rows, rows_a_call=64)
    assert caught.value.violations[0].field == field


def test_the_columns_of_a_new_version_are_read_when_the_alias_moves(registry):
    few = {name: TABLE[name] for name in ("age", "city")}
    publish_table_model(registry, "moving", table=few)
    others = {"age": few["city"], "day": TABLE["since"]}
    version = publish_table_model(registry, "moving", table=others).manifest.version
    alias_changes.set_aliases(registry, "moving", {"champion": 1}, reason="test")
    with (
        # Not as the default model, for which the server refuses versions with other columns.
        ServerProcess(registry.root, "--model", "classes", "--poll", "0.01") as server,
        ModelClient(server.address) as client,
    ):
        assert client.predict("moving", few).version == 1
        alias_changes.set_aliases(registry, "moving", {"champion": version}, reason="test")
        until(lambda: client.describe("moving", alias="champion").version == version)
        # The description without an alias is still that of the first version.
        answers = client.predict("moving", others)
        assert answers.version == version
        check(answers, library_answers(registry.load("moving", version), others))
        with pytest.raises(InvalidInput, match="day: is missing"):
            client.predict("moving", few)
