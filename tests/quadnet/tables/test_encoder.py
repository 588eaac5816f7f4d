"""Tables as inputs of a network: compared with scikit-learn, and with arithmetic by hand."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

from quadnet.errors import ConfigurationError, InvalidInput, UnsuitableData
from quadnet.tables.column_encoders import encoder_from_spec
from quadnet.tables.column_settings import CategorySettings, DateSettings, NumberSettings
from quadnet.tables.columns import Texts, take_table_rows
from quadnet.tables.encoder import TableEncoder, fit_encoder

NUMBER = {
    "kind": "number",
    "name": "age",
    "centre": 1.0,
    "scale": 2.0,
    "clip": False,
    "fill": 1.0,
    "indicator": True,
    "low": 0.0,
    "high": 3.0,
    "knots": [0.0, 1.5, 3.0],
}
CATEGORY = {
    "kind": "category",
    "name": "city",
    "categories": ["Oslo"],
    "rare": ["Rome"],
    "missing": True,
}
DATE = {
    "kind": "date",
    "name": "born",
    "parts": [{"part": "year", "centre": 2000.0, "scale": 1.0}],
    "indicator": False,
}
ALL_PARTS = ("year", "month", "weekday", "hour", "elapsed")


def dates(*texts):
    return np.array(texts, dtype="datetime64[us]")


def mixed_table(n_rows=300, seed=0):
    """Return a frame with gaps in every column but one, and the same as a table."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(40, 10, n_rows)),
            "income": rng.lognormal(10, 1, n_rows),
            "city": rng.choice(list("abcdefgh"), n_rows, p=[0.4, 0.3, 0.2, *[0.02] * 5]),
            "colour": pd.Series(rng.choice(["red", "blue", "missing"], n_rows), dtype=object),
        }
    )
    table = {
        "age": frame["age"].to_numpy(),
        "income": frame["income"].to_numpy(),
        "city": Texts.from_values(frame["city"]),
        "colour": Texts.from_values(
            None if value == "missing" else value for value in frame["colour"]
        ),
    }
    return frame, table


def test_the_outputs_are_those_of_scikit_learns_column_transformer():
    frame, table = mixed_table()
    train = np.arange(len(frame)) % 3 > 0
    encoder = fit_encoder(
        take_table_rows(table, train),
        {"city": CategorySettings(min_rows=10), "colour": CategorySettings(min_rows=1)},
    )
    one_hot = {"handle_unknown": "ignore", "sparse_output": False}
    numbers = make_pipeline(StandardScaler(), SimpleImputer(add_indicator=True))
    transformer = ColumnTransformer(
        [
            ("age", numbers, ["age"]),
            ("income", numbers, ["income"]),
            ("city", OneHotEncoder(min_frequency=10, **one_hot), ["city"]),
            # The last in the alphabet, so that it is the last output.
            ("colour", OneHotEncoder(**one_hot), ["colour"]),
        ]
    ).fit(frame[train].replace({"colour": {"missing": "zzz"}}))
    expected = transformer.transform(frame.replace({"colour": {"missing": "zzz"}}))
    found = encoder.transform(table)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert encoder.output_names[:3] == ("age", "age is missing", "income")
    assert "city is rare" in encoder.output_names
    assert encoder.output_names[-3:] == ("colour = blue", "colour = red", "colour is missing")


# Not 8, the number of categories: scikit-learn then gives the output for rare ones to one category.
@pytest.mark.parametrize("max_categories", [2, 3, 5, 7, 20])
@pytest.mark.parametrize("min_rows", [1, 4, 30])
def test_rare_categories_are_those_of_scikit_learn(max_categories, min_rows):
    frame, table = mixed_table(seed=1)
    only = {"city": table["city"]}
    settings = CategorySettings(max_categories=max_categories, min_rows=min_rows)
    encoder = fit_encoder(only, {"city": settings})
    peer = OneHotEncoder(
        max_categories=max_categories, min_frequency=min_rows, sparse_output=False
    ).fit(frame[["city"]])
    np.testing.assert_array_equal(encoder.transform(only), peer.transform(frame[["city"]]))
    infrequent = peer.infrequent_categories_[0]
    assert encoder.columns[0].rare == tuple([] if infrequent is None else infrequent.tolist())


def test_a_robust_scale_is_that_of_scikit_learn_and_the_clip_is_as_written():
    values = np.random.default_rng(2).standard_cauchy(500)
    table = {"x": values}
    scaled = RobustScaler().fit_transform(values[:, np.newaxis])
    for clip in (False, True):
        encoder = fit_encoder(table, {"x": NumberSettings("robust", clip=clip)})
        expected = scaled / np.sqrt(1 + (scaled / 3) ** 2) if clip else scaled
        np.testing.assert_allclose(encoder.transform(table), expected, rtol=1e-12, atol=1e-12)
    assert np.abs(encoder.transform(table)).max() < 3


def test_a_robust_scale_of_equal_quartiles_is_half_the_range():
    table = {"x": np.array([0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 3.0])}
    encoder = fit_encoder(table, {"x": NumberSettings("robust")})
    assert encoder.transform(table).ravel().tolist() == [0, 0, 0, 0, 0, -0.5, 1.5]


def test_pieces_are_lines_between_quantiles():
    rng = np.random.default_rng(4)
    values = np.round(rng.gamma(2.0, size=401), 1)  # many values occur several times
    values[::50] = np.nan
    train, later = {"x": values}, {"x": np.array([-5.0, 0.07, 0.5, 1.23, np.nan, 99.0])}
    encoder = fit_encoder(train, {"x": NumberSettings(n_pieces=8)})
    seen = values[~np.isnan(values)]
    knots = np.unique(np.quantile(seen, np.arange(9) / 8, method="lower"))
    assert encoder.columns[0].knots == tuple(knots)
    pieces = [[low, high] for low, high in pairwise(knots)]
    first = f"x from {knots[0]:.6g} to {knots[1]:.6g}"
    assert encoder.output_names[:2] == ("x", first)
    assert encoder.output_names[-1] == "x is missing"
    for table in (train, later):
        filled = np.where(np.isnan(table["x"]), seen.mean(), table["x"])
        expected = np.stack([np.interp(filled, piece, [0.0, 0.5]) for piece in pieces], axis=1)
        found = encoder.transform(table)
        np.testing.assert_allclose(found[:, 1:-1], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found[:, -1], np.isnan(table["x"]))
        without = fit_encoder(train).transform(table)
        np.testing.assert_array_equal(found[:, [0, -1]], without)
    assert TableEncoder.from_specs(json.loads(json.dumps(encoder.to_specs()))) == encoder


def test_pieces_of_few_or_very_large_values():
    settings = {"x": NumberSettings(n_pieces=16)}
    for few in ([0.0, 1.0, 1.0], [2.0, 2.0], [np.nan, np.nan]):
        assert fit_encoder({"x": np.array(few)}, settings).columns[0].knots == ()
    large = {"x": np.array([-1.7e308, 0.0, 1.7e308])}
    found = fit_encoder(large, settings).transform(large)[:, 1:]
    assert found.tolist() == [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]]


def test_without_scaling_numbers_stay_as_they_are_and_gaps_become_the_mean():
    table = {"x": np.array([1.0, np.nan, 6.0])}
    encoder = fit_encoder(table, {"x": NumberSettings("none")})
    assert encoder.transform(table).tolist() == [[1.0, 0.0], [3.5, 1.0], [6.0, 0.0]]
    column = encoder.columns[0]
    assert (column.low, column.high) == (1.0, 6.0)


def test_a_gap_that_training_did_not_have_becomes_the_mean():
    encoder = fit_encoder({"x": np.array([1.0, 2.0, 6.0])})
    assert encoder.output_names == ("x",)
    assert encoder.transform({"x": np.array([np.nan, 3.0])}).tolist() == [[0.0], [0.0]]


def test_a_column_without_values_is_encoded():
    table = {
        "x": np.full(3, np.nan),
        "city": Texts.from_values([None] * 3),
        "born": dates("NaT", "NaT", "NaT"),
    }
    encoder = fit_encoder(table)
    outputs = encoder.transform(table)
    assert np.isfinite(outputs).all()
    missing = [name for name in encoder.output_names if name.endswith("is missing")]
    assert missing == ["x is missing", "city is missing", "born is missing"]
    assert (outputs[:, [encoder.output_names.index(name) for name in missing]] == 1).all()


def test_unknown_categories_are_as_missing_and_counted():
    gaps = Texts.from_values(["Oslo", "Oslo", "Rome", "Rome", None])
    complete = Texts.from_values(["Oslo", "Oslo", "Rome", "Rome", "Oslo"])
    asked = {"city": Texts.from_values(["Paris", None, "Rome", "Paris", "Oslo"])}
    encoder = fit_encoder({"city": gaps})
    assert encoder.transform(asked).tolist() == [
        [0, 0, 1],
        [0, 0, 1],
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]
    assert encoder.count_unknown(asked) == {"city": 2}
    encoder = fit_encoder({"city": complete})
    assert encoder.transform(asked).tolist() == [[0, 0], [0, 0], [0, 1], [0, 0], [1, 0]]


def test_values_of_a_column_of_texts_that_no_row_has_are_no_categories():
    texts = Texts(np.array([0, 0, 2, 2]), ("a", "never", "b"))
    assert fit_encoder({"x": texts}).output_names == ("x = a", "x = b")


def test_dates_become_the_numbers_that_the_calendar_has():
    moments = [
        datetime(1969, 12, 31, 23, 30, tzinfo=UTC),
        datetime(2000, 2, 29, 0, 0, tzinfo=UTC),
        datetime(2026, 11, 28, 12, 15, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ]
    column = np.array([m.replace(tzinfo=None) for m in moments], dtype="datetime64[us]")
    encoder = fit_encoder({"born": column})
    assert encoder.output_names == tuple(f"born: {part}" for part in ALL_PARTS)
    expected = np.array(
        [
            [m.year, m.month, m.weekday(), m.hour + m.minute / 60, m.timestamp() / 86400]
            for m in moments
        ]
    )
    standardized = StandardScaler().fit_transform(expected)
    np.testing.assert_allclose(encoder.transform({"born": column}), standardized, rtol=1e-9)


def test_dates_without_times_have_no_hour_and_missing_ones_are_the_mean():
    column = dates("2020-01-06", "2020-01-08", "NaT")  # a Monday and a Wednesday
    encoder = fit_encoder({"born": column})
    names = [f"born: {part}" for part in ("year", "month", "weekday", "elapsed")]
    assert encoder.output_names == (*names, "born is missing")
    assert encoder.transform({"born": column}).tolist() == [
        [0, 0, -1, -1, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    only_days = DateSettings(parts=("weekday",))
    assert fit_encoder({"born": column}, {"born": only_days}).output_names == (
        "born: weekday",
        "born is missing",
    )


def test_other_units_of_time_mean_the_same():
    column = dates("2020-01-06", "2021-03-08")
    encoder = fit_encoder({"born": column})
    expected = encoder.transform({"born": column})
    for unit in ("D", "s", "ns"):
        found = encoder.transform({"born": column.astype(f"datetime64[{unit}]")})
        np.testing.assert_array_equal(found, expected)


EXTREME = st.floats(allow_nan=True, allow_infinity=False, width=64) | st.sampled_from(
    [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 0.0, 1.7e9, 2.0**63]
)


@settings(max_examples=80, deadline=None)
@given(
    train=st.lists(EXTREME, min_size=1, max_size=6),
    asked=st.lists(EXTREME, min_size=1, max_size=4),
    scale=st.sampled_from(["standard", "robust", "none"]),
    clip=st.booleans(),
    n_pieces=st.integers(0, 4),
)
@example(train=[0.0, 5e-324, 1.0, 2.0], asked=[5e-324], scale="none", clip=False, n_pieces=3)
def test_no_finite_number_becomes_nan_or_infinity(train, asked, scale, clip, n_pieces):
    settings = NumberSettings(scale, clip=clip, n_pieces=n_pieces)
    encoder = fit_encoder({"x": np.array(train)}, {"x": settings})
    for values in (train, asked):
        outputs = encoder.transform({"x": np.array(values)})
        assert np.isfinite(outputs.astype(np.float32)).all()
        assert not clip or np.abs(outputs).max() <= 3
    again = TableEncoder.from_specs(json.loads(json.dumps(encoder.to_specs())))
    assert again == encoder


def test_very_large_numbers_are_standardized_as_their_multiples_are():
    values = np.array([-1.0, 0.25, 1.0, 1.0])
    expected = fit_encoder({"x": values}).transform({"x": values})
    for factor in (2.0**1023, 2.0**-1000):
        scaled = {"x": values * factor}
        np.testing.assert_allclose(fit_encoder(scaled).transform(scaled), expected, rtol=1e-12)


def test_a_row_is_encoded_alike_with_and_without_a_very_large_one():
    encoder = fit_encoder({"x": np.array([0.0, 6e-308])})
    alone = encoder.transform({"x": np.array([3.3e-309])})
    beside = encoder.transform({"x": np.array([3.3e-309, 1e308])})
    assert beside[0, 0] == alone[0, 0]


def test_time_stamps_keep_their_digits_and_rounding_errors_are_no_deviation():
    seconds = 1.7e9 + np.arange(5.0)
    expected = (np.arange(5.0) - 2) / np.sqrt(2)
    found = fit_encoder({"x": seconds}).transform({"x": seconds})
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)
    noise = np.array([0.1 + 0.2, 0.3, 0.3])
    assert np.abs(fit_encoder({"x": noise}).transform({"x": noise})).max() < 1e-15
    constant = np.full(7, 0.1)
    encoder = fit_encoder({"x": constant})
    assert encoder.transform({"x": constant}).tolist() == [[0.0]] * 7
    assert encoder.columns[0].scale == 1.0


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.text(max_size=4), min_size=1, max_size=3, unique=True),
    texts=st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=12),
    min_rows=st.integers(1, 3),
)
def test_output_names_are_distinct_and_specs_are_read_back(names, texts, min_rows):
    table = {name: Texts.from_values(texts) for name in names}
    encoder = fit_encoder(table, dict.fromkeys(names, CategorySettings(min_rows=min_rows)))
    assert len(set(encoder.output_names)) == encoder.n_outputs == encoder.transform(table).shape[1]
    assert (encoder.transform(table).sum(axis=1) == len(names)).all()
    assert list(encoder.output_groups) == list(encoder.input_names) == names
    assert TableEncoder.from_specs(json.loads(json.dumps(encoder.to_specs()))) == encoder


def test_only_the_given_rows_are_read_and_their_order_does_not_matter():
    _, table = mixed_table(seed=3)
    rows = np.arange(100)
    encoder = fit_encoder(take_table_rows(table, rows))
    later = {name: column for name, column in table.items() if name != "income"}
    later["income"] = np.where(np.arange(300) < 100, table["income"], 1e9)
    assert fit_encoder(take_table_rows({n: later[n] for n in table}, rows)) == encoder
    shuffled = fit_encoder(take_table_rows(table, rows[::-1]))
    assert shuffled.output_names == encoder.output_names


def test_the_mapping_from_outputs_to_columns():
    _, table = mixed_table()
    encoder = fit_encoder(table)
    groups = encoder.output_groups
    assert groups["age"] == range(2)
    assert groups["income"] == range(2, 3)
    assert encoder.number_outputs.tolist() == [0, 2]
    assert sum(map(len, groups.values())) == encoder.n_outputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": np.array([1.0, np.inf])}, r"age\[1\]: must be finite or missing, got inf"),
        ({"age": np.array([-np.inf] * 2)}, r"age\[0\]: .* got -inf \(and 1 more fault\)"),
        ({"age": Texts.from_values(["1", "2"])}, "age: must be a column of kind number, got cat"),
        ({"city": np.zeros(2)}, "city: must be a column of kind category, got number"),
        ({"age": None}, "age: is missing; found city"),
        ({"city": Texts.from_values(["x"])}, "city: must have 2 rows, as 'age' has; got 1"),
    ],
)
def test_a_table_that_cannot_be_encoded_is_refused(change, message):
    good = {"age": np.array([1.0, 2.0]), "city": Texts.from_values(["x", "x"])}
    encoder = fit_encoder(good)
    wrong = {name: column for name, column in (good | change).items() if column is not None}
    with pytest.raises(InvalidInput, match=message):
        encoder.transform(wrong)


def test_fits_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInput, match=r"x\[1\]: must be finite"):
        fit_encoder({"x": np.array([1.0, np.inf])})
    with pytest.raises(UnsuitableData, match="'x' has no rows"):
        fit_encoder({"x": np.array([])})
    with pytest.raises(ConfigurationError, match=r"settings for the column 'z'.*It has x"):
        fit_encoder({"x": np.zeros(2)}, {"z": NumberSettings()})
    with pytest.raises(ConfigurationError, match="for the kind date, but the column is of kind n"):
        fit_encoder({"x": np.zeros(2)}, {"x": DateSettings()})
    with pytest.raises(ValueError, match="at least one column"):
        fit_encoder({})


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (NumberSettings, {"scale": "log"}, "scale must be one of 'standard', 'robust', 'none'"),
        (NumberSettings, {"scale": None}, "scale must be"),
        (NumberSettings, {"clip": 1}, "clip must be True or False, got 1"),
        (NumberSettings, {"n_pieces": -1}, "n_pieces must be a whole number from 0 to 1000, got -"),
        (NumberSettings, {"n_pieces": 2.0}, "n_pieces must be a whole number"),
        (CategorySettings, {"max_categories": 1}, "max_categories must be a whole number from 2"),
        (CategorySettings, {"min_rows": 0.5}, "min_rows must be a whole number from 1"),
        (DateSettings, {"parts": ()}, "parts must be different ones of year"),
        (DateSettings, {"parts": ("week",)}, "got .'week',"),
        (DateSettings, {"parts": ("year", "year")}, "parts must be different"),
        (DateSettings, {"parts": [["year"]]}, "parts must be different"),
    ],
)
def test_wrong_settings_are_refused(kind, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**settings)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "must be a mapping with a kind, got a list of 0 values"),
        ({"name": "x"}, "unknown kind None; this release has number, category, date"),
        ({"kind": "picture"}, "unknown kind 'picture'"),
        ({"kind": ["number"]}, "unknown kind a list"),
        (NUMBER | {"scale": 0.0}, "scale must be above 0"),
        (NUMBER | {"scale": -1}, "scale must be above 0"),
        (NUMBER | {"scale": float("nan")}, "scale must be a finite number, got nan"),
        (NUMBER | {"centre": float("inf")}, "centre must be a finite number"),
        (NUMBER | {"fill": 10**400}, "fill must be a finite number, got 1000"),
        (NUMBER | {"fill": "1"}, "fill must be a finite number, got '1'"),
        (NUMBER | {"fill": True}, "fill must be a finite number"),
        (NUMBER | {"clip": 0}, "clip must be true or false"),
        (NUMBER | {"low": 4.0}, "low must not be above high"),
        (NUMBER | {"knots": "012"}, "knots must be a list"),
        (NUMBER | {"knots": [0.0, 1.0]}, "at least three increasing numbers"),
        (NUMBER | {"knots": [0.0, 2.0, 1.0]}, "increasing numbers, got a list of 3 values"),
        (NUMBER | {"knots": [0.0, 1.0, float("nan")]}, "increasing numbers"),
        (NUMBER | {"knots": [0.0, 5e-324, 1.0]}, "increasing numbers"),
        (NUMBER | {"knots": [*range(1002)]}, "list of at most 1001 numbers"),
        (NUMBER | {"name": 3}, "name must be a text, got 3"),
        (NUMBER | {"extra": 3}, "there is no setting 'extra'; the settings are name, centre"),
        (NUMBER | {7: 3}, "there is no setting 7"),
        ({k: v for k, v in NUMBER.items() if k != "fill"}, "the setting 'fill' is missing"),
        (CATEGORY | {"categories": "Oslo"}, "categories must be a list of texts"),
        (CATEGORY | {"categories": [1]}, "categories must be a list of texts"),
        (CATEGORY | {"categories": ["a", "a"]}, "must occur once, got 'a' twice"),
        (CATEGORY | {"rare": ["Oslo"]}, "must occur once, got 'Oslo' twice"),
        (CATEGORY | {"rare": [str(i) for i in range(20_000)]}, "20,000 categories, got 20,001"),
        (CATEGORY | {"missing": None}, "missing must be true or false"),
        (DATE | {"parts": []}, "parts must be different ones, at least one"),
        (DATE | {"parts": DATE["parts"] * 2}, "parts must be different ones"),
        (DATE | {"parts": ["year"]}, "expected a mapping, got 'year'"),
        (DATE | {"parts": 3}, "parts must be a list"),
        (DATE | {"parts": [{"part": "week", "centre": 0, "scale": 1}]}, "part must be one of year"),
        (DATE | {"parts": [{"part": "year", "centre": 0}]}, "'scale' is missing"),
    ],
)
def test_specs_that_are_wrong_are_refused_with_their_place(spec, message):
    with pytest.raises(ValueError, match=rf"^encoder\[2\].*{message}"):
        encoder_from_spec(spec, name="encoder[2]")


def test_lists_of_specs_that_are_wrong_are_refused():
    for specs, message in (
        (None, "manifest.encoder must be a list of columns, got NoneType"),
        ("ab", "must be a list of columns, got str"),
        ([], "manifest.encoder: an encoder must have at least one column"),
        ([NUMBER, 3], r"manifest.encoder\[1\] must be a mapping"),
        ([NUMBER, NUMBER], "a name of its own, got 'age' twice"),
        ([NUMBER] * 70_000, "may have 65,536 columns"),
        (
            [CATEGORY | {"categories": [], "rare": [], "missing": False}],
            "1 to 65,536 outputs, got 0",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            TableEncoder.from_specs(specs, name="manifest.encoder")
    assert TableEncoder.from_specs([NUMBER, CATEGORY, DATE]).to_specs() == [NUMBER, CATEGORY, DATE]
