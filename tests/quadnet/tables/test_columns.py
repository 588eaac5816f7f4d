"""Columns of tables in memory."""

import numpy as np
import pandas as pd
import pytest

from quadnet.errors import InvalidInput
from quadnet.tables.columns import (
    Texts,
    column_kind,
    find_missing,
    table_length,
    take_rows,
    take_table_rows,
)


def dates(*texts):
    return np.array(texts, dtype="datetime64[us]")


def test_texts_are_what_pandas_makes_of_them():
    values = ["b", None, "a", "b", None, "c"]
    texts = Texts.from_values(values)
    expected = pd.Categorical(values, categories=["b", "a", "c"])
    np.testing.assert_array_equal(texts.codes, expected.codes)
    assert texts.values == ("b", "a", "c")
    assert texts.to_array().tolist() == values
    assert texts.count().tolist() == [2, 1, 1]
    assert len(texts) == 6


def test_rows_are_taken_by_index_and_by_mask():
    table = {
        "age": np.array([1.0, np.nan, 3.0]),
        "city": Texts.from_values(["x", None, "y"]),
        "born": dates("2020-01-01", "NaT", "2021-01-01"),
    }
    for rows in (np.array([2, 0]), np.array([True, False, True])):
        taken = take_table_rows(table, rows)
        assert table_length(taken) == 2
        frame = pd.DataFrame({"age": table["age"], "city": table["city"].to_array()})[["city"]]
        expected = frame.iloc[rows]["city"].tolist()
        assert taken["city"].to_array().tolist() == expected
        np.testing.assert_array_equal(take_rows(table["born"], rows), table["born"][rows])


def test_missing_values_are_found_in_each_kind_of_column():
    columns = {
        "number": np.array([1.0, np.nan]),
        "category": Texts.from_values(["x", None]),
        "date": dates("2020-01-01", "NaT"),
    }
    for kind, column in columns.items():
        assert column_kind(column) == kind
        assert find_missing(column).tolist() == [False, True]


def test_a_table_whose_columns_differ_in_length_is_refused():
    with pytest.raises(InvalidInput, match="b: must have 2 rows, as 'a' has; got 3"):
        table_length({"a": np.zeros(2), "b": np.zeros(3)})
    assert table_length({}) == 0


@pytest.mark.parametrize(
    ("codes", "values", "message"),
    [
        ([0, 1], ("x", "x"), "must be distinct"),
        ([0, 2], ("x", "y"), "from -1 to 1, got 0 to 2"),
        ([-2, 0], ("x", "y"), "from -1 to 1, got -2 to 0"),
    ],
)
def test_texts_that_are_inconsistent_are_refused(codes, values, message):
    with pytest.raises(ValueError, match=message):
        Texts(np.array(codes), values)
