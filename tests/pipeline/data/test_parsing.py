"""Raw columns into numbers, truth values and dates: exact, or with the rows that are wrong."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.parsing.dates import ISO_8601, find_date_formats, parse_dates
from pipeline.data.parsing.numbers import parse_numbers, parse_truth_values
from quadnet.errors import ConfigurationError
from quadnet.tables.columns import Texts


def column(*values):
    return Texts.from_values(values)


def problems(parsed):
    return {int(row): parsed.describe(row) for row in parsed.bad}


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
@settings(max_examples=50)
def test_numbers_are_exact(values):
    expected = np.array(values, "f8")
    texts = [None if value is None else repr(value) for value in values]
    parsed = parse_numbers(column(*texts))
    np.testing.assert_array_equal(parsed.values, expected)
    assert parsed.values.dtype == np.float64
    assert not len(parsed.bad)
    with_comma = column(*(text and text.replace(".", ",") for text in texts))
    np.testing.assert_array_equal(parse_numbers(with_comma, ",").values, expected)


def test_bad_numbers_are_described_by_row():
    parsed = parse_numbers(column("1", "x", None, " 2 ", "1e999", "x", "1_0", "\u0661"))
    np.testing.assert_array_equal(parsed.values, [1, np.nan, np.nan, 2, *[np.nan] * 4])
    assert problems(parsed) == {
        1: "expected a number, got 'x'",
        4: "expected a finite number, got '1e999'",
        5: "expected a number, got 'x'",
        6: "expected a number, got '1_0'",
        7: "expected a number, got '\u0661'",
    }
    parsed = parse_numbers(column("1,5", "1.5", "1,5,5", "-,5"), ",")
    np.testing.assert_array_equal(parsed.values, [1.5, np.nan, np.nan, -0.5])
    assert problems(parsed) == {
        1: "expected a number with a decimal comma, got '1.5'",
        2: "expected a number, got '1,5,5'",
    }
    parsed = parse_numbers(np.array([1.0, np.inf, np.nan]))
    np.testing.assert_array_equal(parsed.values, [1, np.nan, np.nan])
    assert problems(parsed) == {1: "expected a finite number, got inf"}


def test_a_text_that_no_row_has_is_no_problem():
    texts = column("1", "x").take(np.array([0]))
    assert parse_numbers(texts).values.tolist() == [1.0]
    assert not len(parse_numbers(texts).bad)


def test_truth_values_are_0_and_1():
    parsed = parse_truth_values(column("True", "no", None, "1", "0.0", "maybe"))
    np.testing.assert_array_equal(parsed.values, [1, 0, np.nan, 1, 0, np.nan])
    assert problems(parsed) == {5: "expected true or false, got 'maybe'"}
    parsed = parse_truth_values(np.array([1.0, 0.0, np.nan, 0.5]))
    np.testing.assert_array_equal(parsed.values, [1, 0, np.nan, np.nan])
    assert problems(parsed) == {3: "expected 0 or 1, got 0.5"}


ZONES = st.integers(-14 * 4, 14 * 4).map(lambda n: timezone(timedelta(minutes=15 * n)))
MOMENTS = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1))


@given(st.lists(st.tuples(MOMENTS, st.none() | ZONES), min_size=1), st.sampled_from("T "))
@settings(max_examples=50)
def test_iso_dates_are_exact_and_in_utc(moments, separator):
    moments = [moment.replace(tzinfo=zone) for moment, zone in moments]
    texts = column(*(moment.isoformat(separator) for moment in moments))
    expected = [
        moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
        for moment in moments
    ]
    assert find_date_formats(texts) == (ISO_8601,)
    assert parse_dates(texts).values.tolist() == expected


@pytest.mark.parametrize(
    ("texts", "formats"),
    [
        (("2024-01-31", None, "2023-12-01 05:06"), (ISO_8601,)),
        (("2024-01-31T05:06:07.123456789Z", "2024-01-31 05:06:07,5 UTC"), (ISO_8601,)),
        (("2024-01-31 05:06:07+0130", "2024-01-31 05:06 -08"), (ISO_8601,)),
        (("31.01.2024", "1.2.2024"), ("%d.%m.%Y",)),
        (("31/01/2024", "01/02/2024"), ("%d/%m/%Y",)),
        (("01/31/2024", "01/02/2024"), ("%m/%d/%Y",)),
        (("01/02/2024", "11/12/2024"), ("%d/%m/%Y", "%m/%d/%Y")),
        (("13/01/2024", "01/13/2024"), ()),
        (("31-01-2024 23:59:01",), ("%d-%m-%Y %H:%M:%S",)),
        (("1/31/2024 11:59 PM",), ("%m/%d/%Y %I:%M %p",)),
        (("2024/01/31 23:59",), ("%Y/%m/%d %H:%M",)),
        (("2024-02-30",), ()),
        (("20240131", "20240201"), ()),
        (("2024-01",), ()),
        (("1.5", "2.5"), ()),
        (("2024-01-31", "x"), ()),
        ((None,), ()),
    ],
)
def test_a_format_must_fit_the_whole_column(texts, formats):
    assert find_date_formats(column(*texts)) == formats
    known = [text for text in texts if text]
    for name in formats if formats != (ISO_8601,) else ():
        expected = pd.to_datetime(pd.Series(known), format=name).to_numpy("M8[us]")
        np.testing.assert_array_equal(parse_dates(column(*known), name).values, expected)


def test_bad_dates_are_described_by_row():
    parsed = parse_dates(column("2024-01-31", None, "31.01.2024", "2024-13-01"))
    assert parsed.values.astype(str).tolist()[:2] == ["2024-01-31T00:00:00.000000", "NaT"]
    assert problems(parsed) == {
        2: "expected a date in the format ISO 8601, got '31.01.2024'",
        3: "expected a date in the format ISO 8601, got '2024-13-01'",
    }
    parsed = parse_dates(column("0001-01-01 00:00+01:00"))
    assert list(problems(parsed)) == [0]
    dates = np.array(["2024-01-31", "NaT"], "M8[us]")
    assert parse_dates(dates).values is dates


@pytest.mark.parametrize("name", ["%Q %Y", "%Y%", "%Y %Y", "%d.%m.", "date", ""])
def test_wrong_formats_are_refused(name):
    with pytest.raises(ConfigurationError, match=r"^Expected a date format such as %d.%m.%Y, got"):
        parse_dates(column("2024-01-31"), name)


def test_formats_of_most_rows_are_those_with_the_fewest_others():
    texts = column(*["13.01.2024"] * 8, *["01.02.2024"] * 11, "unknown")
    assert find_date_formats(texts) == ()
    assert find_date_formats(texts, 0.9) == ("%d.%m.%Y",)
    assert find_date_formats(texts, 0.96) == ()
    assert find_date_formats(column("2024-01-31", "31.01.2024"), 0.5) == (ISO_8601, "%d.%m.%Y")
