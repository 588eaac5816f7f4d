"""Rows in every form that callers have, read as one table."""

import datetime as dt
import doctest

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quadnet.errors import InvalidInput
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import TableEncoder, fit_encoder
from quadnet.tables.table_reading import read_table

MOMENTS = np.array(["2020-01-01T12:30", "NaT", "2021-06-01"], "datetime64[us]")
ENCODER = fit_encoder(
    {
        "age": np.array([31.0, np.nan, 20.0]),
        "city": Texts.from_values(["Oslo", None, "Rome"]),
        "born": MOMENTS,
    }
)
AGE, CITY = [31, None, 20], ["Oslo", None, "Rome"]
BORN = [
    dt.datetime(2020, 1, 1, 14, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    None,
    dt.datetime(2021, 6, 1, tzinfo=dt.UTC),
]
TEXTS = ["2020-01-01T14:30:00+02:00", "", "2021-06-01"]
COLUMNS = {"city": CITY, "born": BORN, "age": AGE}
ARROW = pa.table(COLUMNS)

ROWS = {
    "lists": COLUMNS,
    "tuples": {name: tuple(values) for name, values in COLUMNS.items()},
    "arrays": {
        "age": np.array([31.0, np.nan, 20.0])[:, np.newaxis],
        "city": np.array(CITY, object),
        "born": MOMENTS,
    },
    "texts": {"age": ["31", None, "20"], "city": Texts.from_values(CITY), "born": TEXTS},
    "array of dates as texts": {"age": AGE, "city": CITY, "born": np.array(TEXTS)},
    "pandas": pd.DataFrame(COLUMNS),
    "pandas, nullable": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas, dates as texts": pd.DataFrame({**COLUMNS, "born": TEXTS}),
    "pandas series": dict(pd.DataFrame(COLUMNS).items()),
    "polars": pl.DataFrame(COLUMNS),
    "polars, dates as texts": pl.DataFrame({**COLUMNS, "born": TEXTS}),
    "polars series": {name: pl.DataFrame(COLUMNS)[name] for name in COLUMNS},
    "pyarrow": ARROW,
    "pyarrow arrays": {name: ARROW[name] for name in COLUMNS},
    "objects": np.array(list(zip(AGE, CITY, BORN, strict=True)), object),
    "lists of rows": [list(row) for row in zip(AGE, CITY, BORN, strict=True)],
    "pandas without names": pd.DataFrame(list(zip(AGE, CITY, TEXTS, strict=True))),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_every_form_gives_the_same_table(rows):
    table = read_table(rows, ENCODER)
    assert list(table) == ["age", "city", "born"]
    np.testing.assert_array_equal(table["age"], [31.0, np.nan, 20.0])
    assert table["city"].to_array().tolist() == CITY
    np.testing.assert_array_equal(table["born"], MOMENTS)


def test_the_example_runs():
    (test,) = doctest.DocTestFinder().find(read_table)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": None}, r"age: is missing; the columns are age, city, born"),
        ({"foo": [1, 2, 3]}, r"foo: the model has no column 'foo'; it has age.*Leave it out"),
        ({"age": [31, "old", 20]}, r"age\[1\]: expected numbers, got 'old'"),
        ({"age": [31, 20]}, r"city: must have 2 rows, as 'age' has; got 3"),
        ({"age": 31}, r"age: must be a sequence with a value for each row, got 31"),
        ({"city": "Oslo"}, r"city: must be a sequence with a value for each row, got 'Oslo'"),
        ({"age": MOMENTS}, r"age: expected numbers, got the type datetime64"),
        ({"age": np.ones((3, 2))}, r"age: must have one axis.*\(3, 2\)"),
        ({"born": [None, "2020-02-30", None]}, r"born\[1\]: expected a date.*got '2020-02-30'"),
        ({"born": [None, 2020, None]}, r"born\[1\]: expected a date.*got 2020"),
        ({"born": np.array([1.0, 2.0, 3.0])}, r"born: expected dates, got the type float64"),
    ],
)
def test_wrong_columns_are_named(changes, message):
    columns = {name: values for name, values in (COLUMNS | changes).items() if values is not None}
    with pytest.raises(InvalidInput, match=message):
        read_table(columns, ENCODER)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 4)), r"X: must have 3 columns, in the order age, city, born; got 4"),
        (np.ones(3), r"X: must be a data frame.*two axes; got ndarray of shape \(3,\)"),
        ([[1], [2, 3]], r"X: must have rows of equal length"),
        (31, r"got int"),
        (pd.DataFrame([[1, 2, 3]], columns=["age", "age", "city"]), r"X: .*distinct names"),
    ],
)
def test_wrong_tables_are_refused(rows, message):
    with pytest.raises(InvalidInput, match=message):
        read_table(rows, ENCODER)


SEEN = {"age": np.array([1.0, 3.0] * 2), "city": Texts.from_values(["Oslo", "Rome"] * 2)}


def make_encoder(changes):
    """Return an encoder of rows without gaps, with these changes to its specs."""
    specs = fit_encoder(SEEN).to_specs()
    return TableEncoder.from_specs([{**spec, **changes.get(spec["name"], {})} for spec in specs])


def test_gaps_that_training_had_not_are_refused_and_filled():
    encoder = make_encoder({})
    table = read_table({"age": [1, None], "city": ["Oslo", "Rome"]}, encoder)
    with pytest.raises(InvalidInput, match=r"age\[1\]: is missing, but no row .*fill it, or train"):
        encoder.refuse_unseen_gaps(table)
    assert encoder.transform(table)[1].tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(InvalidInput, match=r"city\[0\]: is missing, but no row"):
        encoder.refuse_unseen_gaps(read_table({"age": [1], "city": [None]}, encoder))
    with_gaps = fit_encoder({"age": np.array([1.0, np.nan]), "city": Texts.from_values([None] * 2)})
    with_gaps.refuse_unseen_gaps(read_table({"age": [None], "city": [None]}, with_gaps))


def test_gaps_may_be_filled_or_refused_always():
    rows = {"age": [None], "city": ["Oslo"]}
    filled = make_encoder({"age": {"gaps": "filled"}})
    filled.refuse_unseen_gaps(read_table(rows, filled))
    assert filled.transform(read_table(rows, filled)).tolist() == [[0.0, 1.0, 0.0]]
    refused = make_encoder({"age": {"gaps": "refused"}})
    refused.refuse_unseen_gaps(read_table(rows, refused))
    with pytest.raises(InvalidInput, match=r"age\[0\]: is missing; the model takes no gaps"):
        refused.transform(read_table(rows, refused))


@pytest.mark.parametrize(
    ("changes", "unknown", "gap"),
    [
        ({}, [0, 0], [0, 0]),
        ({"missing": True}, [0, 0, 1], [0, 0, 1]),
        ({"rare": ["Bern"], "missing": True}, [0, 0, 0, 1], [0, 0, 0, 1]),
        ({"unknown": "zeros", "missing": True}, [0, 0, 0], [0, 0, 1]),
        ({"rare": ["Bern"], "unknown": "rare"}, [0, 0, 1], [0, 0, 1]),
        ({"rare": ["Bern"], "unknown": "rare", "missing": True}, [0, 0, 1, 0], [0, 0, 0, 1]),
    ],
)
def test_unknown_categories(changes, unknown, gap):
    encoder = make_encoder({"city": changes})
    table = read_table({"age": [2, 2], "city": ["Lima", None]}, encoder)
    np.testing.assert_array_equal(encoder.transform(table)[:, 1:], [unknown, gap])
    assert encoder.count_unknown(table) == {"city": 1}


def test_unknown_categories_may_be_refused():
    encoder = make_encoder({"city": {"unknown": "refused"}})
    table = read_table({"age": [2, 2], "city": ["Oslo", "Lima"]}, encoder)
    with pytest.raises(InvalidInput, match=r"city\[1\]: must be one of Oslo, Rome.*got 'Lima'"):
        encoder.transform(table)


def test_newer_settings_are_written_only_where_they_are_set():
    encoder = make_encoder({"city": {"unknown": "refused", "gaps": "filled"}})
    age, city = encoder.to_specs()
    assert "gaps" not in age
    assert (city["unknown"], city["gaps"]) == ("refused", "filled")
    assert TableEncoder.from_specs([age, city]) == encoder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": {"gaps": "kept"}}, "gaps must be one of unseen, filled, refused, got 'kept'"),
        ({"age": {"gaps": "filled", "indicator": True}}, "gaps must be 'unseen' with an output"),
        ({"city": {"unknown": 3}}, "unknown must be one of missing, rare, zeros, refused, got 3"),
        ({"city": {"unknown": "rare"}}, "unknown must not be 'rare' without rare categories"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(changes)
