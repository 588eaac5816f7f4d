"""Columns of data frames: pandas, polars and pyarrow hold the same values."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quadnet.tables.frames import is_frame, open_frame
from quadnet.tables.raw_columns import ArrayColumn

DATA = {
    "whole": [1, None, 3],
    "number": [1.5, None, -2.0],
    "flag": [True, None, False],
    "text": ["x", None, "y"],
    "moment": [
        dt.datetime(2020, 1, 1, 12, 30, tzinfo=dt.UTC),
        None,
        dt.datetime(2021, 6, 1, tzinfo=dt.UTC),
    ],
    "price": [decimal.Decimal("1.25"), None, decimal.Decimal("2.00")],
}
NUMBERS = {
    "whole": [1, np.nan, 3],
    "number": [1.5, np.nan, -2],
    "flag": [1, np.nan, 0],
    "price": [1.25, np.nan, 2],
}
MOMENTS = np.array(["2020-01-01T12:30", "NaT", "2021-06-01"], dtype="datetime64[us]")


ARROW = pa.table(DATA)
FRAMES = {
    "pandas": pd.DataFrame(DATA),
    "pandas, nullable": pd.DataFrame(DATA).convert_dtypes(),
    "pandas of arrow": ARROW.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.DataFrame(DATA),
    "pyarrow": ARROW,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_every_library_gives_the_same_columns(frame):
    assert is_frame(frame)
    columns = dict(zip(DATA, open_frame(frame), strict=True))
    for each, expected in NUMBERS.items():
        np.testing.assert_array_equal(columns[each].read("number"), expected)
        assert columns[each].kind == "number"
    assert columns["text"].kind == "category"
    assert columns["text"].read("category").to_array().tolist() == ["x", None, "y"]
    assert columns["whole"].read("category").to_array().tolist() == ["1", None, "3"]
    assert columns["number"].read("category").to_array().tolist() == ["1.5", None, "-2"]
    assert columns["flag"].read("category").to_array().tolist() == ["True", None, "False"]
    np.testing.assert_array_equal(columns["moment"].read("date"), MOMENTS)
    assert columns["moment"].kind == "date"


def test_categories_are_recognised_and_read_as_their_texts():
    texts = ["x", None, "y"]
    for frame in (
        pd.DataFrame({"c": pd.Categorical(texts)}),
        pl.DataFrame({"c": pl.Series(texts, dtype=pl.Categorical)}),
        pl.DataFrame({"c": pl.Series(texts, dtype=pl.Enum(["y", "x"]))}),
        pa.table({"c": pa.array(texts).dictionary_encode()}),
    ):
        (column,) = open_frame(frame)
        assert (column.kind, column.is_text) == ("category", False)
        assert column.read("category").to_array().tolist() == texts
    (column,) = open_frame(pd.DataFrame({"c": pd.Categorical([1, None, 2])}))
    assert column.read("category").to_array().tolist() == ["1", None, "2"]
    np.testing.assert_array_equal(column.read("number"), [1, np.nan, 2])


def test_dates_are_in_utc():
    local = pd.DataFrame({"d": pd.to_datetime(["2020-01-01"]).tz_localize("Europe/Oslo")})
    days = pl.DataFrame({"d": [dt.date(2020, 1, 1)]})
    for frame, expected in ((local, "2019-12-31T23:00"), (days, "2020-01-01")):
        (column,) = open_frame(frame)
        found = column.read("date")
        assert found.dtype == "datetime64[us]"
        assert found.tolist() == [np.datetime64(expected, "us").item()]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1.0, 2.5, np.nan, -0.0, 1e300], ["1", "2.5", None, "0", "1e+300"]),
        ([True, False], ["True", "False"]),
        (np.array([1, 2], dtype=np.uint8), ["1", "2"]),
        (np.array([2**53, 2**53 + 1]), ["9007199254740992", "9007199254740993"]),
        (
            np.array(["a", 1, 1.0, None, pd.NA, pd.NaT, True], object),
            ["a", "1", "1", *[None] * 3, "True"],
        ),
        (np.array(["a", "b"]), ["a", "b"]),
    ],
)
def test_numbers_are_written_alike_whatever_their_type(values, texts):
    assert ArrayColumn(np.asarray(values)).read("category").to_array().tolist() == texts


def test_objects_that_are_no_numbers_are_named():
    values = np.array([1, None, pd.NA, "x", "4"], object)
    with pytest.raises(ValueError, match=r"expected numbers, got 'x' in row 3"):
        ArrayColumn(values).read("number")
    with pytest.raises(TypeError, match=r"expected numbers, got {'a': 1} in row 0"):
        ArrayColumn(np.array([{"a": 1}, None, 3], object)).read("number")
    values[3] = 2
    np.testing.assert_array_equal(ArrayColumn(values).read("number"), [1, np.nan, np.nan, 2, 4])


def test_types_without_an_encoding_are_refused():
    for frame, shown in (
        (pl.DataFrame({"c": [dt.timedelta(1)]}), "Duration"),
        (pl.DataFrame({"c": [[1, 2]]}), "List"),
        (pl.DataFrame({"c": [dt.time(1)]}), "Time"),
    ):
        (column,) = open_frame(frame)
        with pytest.raises(ValueError, match=f"type {shown}.* have no encoding. Make it numbers"):
            _ = column.kind
    (column,) = open_frame(pl.DataFrame({"c": [1]}))
    with pytest.raises(ValueError, match="expected dates, got the type Int64"):
        column.read("date")
    with pytest.raises(ValueError, match="expected dates, got the type float64"):
        ArrayColumn(np.zeros(2)).read("date")


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="columns of X must have distinct names"):
        open_frame(frame)


def test_arrays_are_no_frames():
    for each in (np.zeros((2, 2)), [[1]], pd.Series([1]), None):
        assert not is_frame(each)
