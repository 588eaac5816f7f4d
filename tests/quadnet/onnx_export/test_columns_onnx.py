"""Columns of a table in ONNX models: what two runtimes answer, and the library."""

import json
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor, register_onnx_converter
from quadnet.errors import InvalidInput, Unsupported
from quadnet.onnx_export.column_inputs import make_example_table, make_feed
from quadnet.onnx_export.column_operators import (
    COLUMN_OPERATORS,
    DATE_PART_OPERATORS,
    add_encoder,
    make_inputs,
)
from quadnet.onnx_export.document import IR_VERSION, OPSET
from quadnet.onnx_export.layer_operators import Graph
from quadnet.tables.column_encoders import (
    ENCODER_KINDS,
    CategoryEncoder,
    DateEncoder,
    DatePart,
    NumberEncoder,
)
from quadnet.tables.column_settings import NumberSettings
from quadnet.tables.columns import Texts, find_missing
from quadnet.tables.date_parts import DATE_PARTS
from quadnet.tables.encoder import TableEncoder, fit_encoder
from tests.support.oracle import fit

ENCODED = {"categorical_features": "from_dtype", "missing": "indicator"}
FEW = settings(max_examples=15, deadline=None)


def open_session(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def run(content, feed):
    """Return the outputs of both runtimes by their names."""
    names = [each.name for each in onnx.load_from_string(content).graph.output]
    with np.errstate(over="ignore", under="ignore"):
        answers = ReferenceEvaluator(content).run(None, feed), open_session(content).run(None, feed)
    return [dict(zip(names, each, strict=True)) for each in answers]


def export_encoder(encoder, dtype=np.float64):
    """Return a model of the encoder alone."""
    inputs = make_inputs(encoder)
    graph = Graph(np.dtype(dtype), [each.name for each in inputs])
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = ["rows", encoder.n_outputs]
    output = onnx.helper.make_tensor_value_info(add_encoder(graph, encoder), kind, shape)
    document = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "encoder", inputs, [output], graph.initializers),
        opset_imports=[
            onnx.helper.make_opsetid("", OPSET),
            onnx.helper.make_opsetid("ai.onnx.ml", 2),
        ],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(document, full_check=True)
    return document.SerializeToString()


def check_encoder(encoder, table):
    """Check that the encoder's outputs are the same numbers in ONNX."""
    expected = encoder.transform(table)
    for answer in run(export_encoder(encoder), make_feed(encoder, table)):
        (found,) = answer.values()
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


# ---- each kind of column

EXTREME = [1e308, -1e308, 1.7e308, -0.0, 5e-324, 2.3e-308, 1e-310, np.nan, 1.0]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("indicator", [False, True])
@pytest.mark.parametrize(
    ("centre", "scale"),
    [
        (0.0, 1.0),
        (40.0, 9.0),
        (1e308, 1e307),
        (-1.7e308, 1e308),
        (0.1, 3e-308),
        (1e-50, 1.000000001),  # in float32 they are 0 and 1
    ],
)
def test_extreme_numbers(centre, scale, indicator, clip):
    knots = (-1e308, 0.0, 1e-300, 40.0, 40.000001, 1.7e308) if clip else ()
    encoder = NumberEncoder("x", centre, scale, clip, centre, indicator, 0.0, 1.0, knots)
    check_encoder(TableEncoder((encoder,)), {"x": np.array([*EXTREME, centre, -centre, 40.1])})


NUMBERS = st.lists(st.floats(allow_infinity=False), min_size=1, max_size=8).map(np.array)


SCALES = st.sampled_from(["standard", "robust", "none"])


@given(NUMBERS, NUMBERS, SCALES, st.booleans(), st.integers(0, 5))
@FEW
def test_any_numbers(train, test, scale, clip, n_pieces):
    encoder = fit_encoder({"x": train}, {"x": NumberSettings(scale, clip, n_pieces)})
    check_encoder(encoder, {"x": test})


TEXTS = st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=8)


@given(TEXTS, TEXTS)
@example(["a", "a", "", "", "b", None], ["a", "b", "", None, "unknown", "?"])
@example([None], [None, "a", ""])
@example(["a"], [None, "a", ""])
@FEW
def test_any_texts(train, test):
    encoder = fit_encoder({"x": Texts.from_values(train)})
    if encoder.n_outputs:
        check_encoder(encoder, {"x": Texts.from_values(test)})


def test_texts_as_a_caller_sends_them():
    encoder = TableEncoder((CategoryEncoder("city", ("Oslo", "Zürich"), ("Bern", "Rome"), True),))
    rows = np.array(["Zürich", "Rome", "Lima", "", "oslo", "Oslo"])[:, np.newaxis]
    for answer in run(export_encoder(encoder), {"city": rows}):
        (found,) = answer.values()
        assert found.argmax(axis=1).tolist() == [1, 2, 3, 3, 3, 0]
        assert (found.sum(axis=1) == 1).all()


def test_a_column_without_outputs_is_an_input_nevertheless():
    columns = CategoryEncoder("empty", (), (), False), CategoryEncoder("city", ("Oslo",), (), False)
    table = {"empty": Texts.from_values(["a", None]), "city": Texts.from_values(["Oslo", "Rome"])}
    check_encoder(TableEncoder(columns), table)


@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": "rare"},
        {"unknown": "rare", "missing": True},
        {"unknown": "zeros", "missing": True},
        {"gaps": "filled"},
    ],
)
def test_gaps_and_unknown_texts_as_the_encoder_treats_them(settings):
    column = CategoryEncoder("x", ("Oslo",), ("Bern",), **{"missing": False, **settings})
    table = {"x": Texts.from_values(["Oslo", "Bern", "Lima", None])}
    check_encoder(TableEncoder((column,)), table)


def test_what_an_encoder_refuses_is_nan_in_a_graph():
    encoder = TableEncoder(
        (
            NumberEncoder("x", 1.0, 2.0, False, 1.0, False, 0.0, 1.0, (), gaps="refused"),
            CategoryEncoder("city", ("Oslo",), (), False, gaps="refused", unknown="refused"),
        )
    )
    table = {
        "x": np.array([1.0, np.nan, 1.0, 1.0]),
        "city": Texts.from_values(["Oslo", "Oslo", "Lima", None]),
    }
    for answer in run(export_encoder(encoder), make_feed(encoder, table)):
        (found,) = answer.values()
        assert np.isnan(found).any(axis=1).tolist() == [False, True, True, True]
    encoder.transform(make_example_table(encoder))


LEAP_DAYS = ["1600-02-29", "1900-02-28", "1900-03-01", "1968-02-29", "2000-02-29", "2100-03-01"]
DATES = [*LEAP_DAYS, "1969-12-31T23:59:59.999999", "1970-01-01", "2024-12-31T12:30", "0001-01-01"]


def encode_parts(dates):
    """Return the raw parts of dates in onnxruntime, a row for each date."""
    parts = tuple(DatePart(part, 0.0, 1.0) for part in DATE_PARTS)
    encoder = TableEncoder((DateEncoder("when", parts, True),))
    table = {"when": np.array(dates, "datetime64[us]")}
    check_encoder(encoder, table)
    (rows,) = open_session(export_encoder(encoder)).run(None, make_feed(encoder, table))
    return rows


def test_dates_have_the_parts_that_python_finds():
    for text, row in zip(DATES, encode_parts(DATES), strict=True):
        date = datetime.fromisoformat(text)
        since = date - datetime(1970, 1, 1)
        hour = (date - date.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(hours=1)
        expected = [date.year, date.month, date.weekday(), hour, since / timedelta(days=1), 0]
        assert row.tolist() == expected, text


def test_the_first_and_the_last_day_of_every_month():
    months = [(year, month) for year in range(1895, 2105) for month in range(1, 13)]
    days = [(y, m, d) for y, m in months for d in (1, monthrange(y, m)[1])]
    rows = encode_parts([f"{y}-{m:02}-{d:02}" for y, m, d in days])
    assert rows[:, :2].tolist() == [[y, m] for y, m, _ in days]


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=20))
@example([-(2**63) + 1, 2**63 - 1, -1, 0])
@FEW
def test_any_dates(microseconds):
    dates = [*np.array(microseconds).astype("datetime64[us]"), np.datetime64("NaT")]
    encode_parts(dates)


def test_every_kind_of_encoder_and_every_part_of_a_date_has_operators():
    assert COLUMN_OPERATORS.keys() == ENCODER_KINDS.keys()
    assert DATE_PART_OPERATORS.keys() == DATE_PARTS.keys()


def test_float32_is_rounded_once():
    encoder = NumberEncoder("x", 1.7e9, 86400.0, False, 1.7e9, True, 0.0, 1.0, ())
    table = {"x": np.array([1.7e9 + 3601, np.nan, 1e308])}
    encoder = TableEncoder((encoder,))
    for answer in run(export_encoder(encoder, np.float32), make_feed(encoder, table)):
        (found,) = answer.values()
        np.testing.assert_array_equal(found, encoder.transform(table).astype(np.float32))


# ---- estimators


def customers(n_rows=200):
    """Return a frame of all kinds of columns, named as values of a graph are."""
    rng = np.random.default_rng(0)
    city = rng.choice(
        ["Oslo", "Rome", "Bern", "Kiew", "Ålesund"], n_rows, p=[0.4, 0.3, 0.28, 0.01, 0.01]
    )
    seconds = rng.integers(-(10**9), 10**9, n_rows)
    frame = pd.DataFrame(
        {
            "label": rng.normal(40, 10, n_rows),
            "sub_1": rng.lognormal(10, 1, n_rows),
            "x": pd.Categorical(city),
            "value": rng.choice(["red", "blue"], n_rows),
            "born on ☀": pd.Timestamp("1990-01-01") + pd.to_timedelta(seconds, unit="s"),
        }
    )
    for column in ("label", "x", "born on ☀"):
        frame.loc[rng.random(n_rows) < 0.1, column] = None
    y = (frame["label"].fillna(40) > 42) | (frame["x"] == "Oslo")
    return frame, y.to_numpy()


def to_inputs(frame):
    """Return a frame as a caller without Quadnet would pass it to the model."""
    micros = frame["born on ☀"].to_numpy().astype("datetime64[us]").astype(np.int64)
    columns = {
        "label (input)": frame["label"].to_numpy(float),
        "sub_1": frame["sub_1"].to_numpy(float),
        "x": frame["x"].astype(object).where(frame["x"].notna(), "").to_numpy(str),
        "value (input)": frame["value"].to_numpy(str),
        "born on ☀": micros,
    }
    return {name: column.reshape(-1, 1) for name, column in columns.items()}


TARGETS = {
    "two classes": lambda y: np.where(y, "yes", "no"),
    "three classes": lambda y: y + (np.arange(len(y)) % 2),
    "labels": lambda y: np.c_[y, ~y, np.arange(len(y)) % 2].astype(int),
}


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_classifier_answers_the_same_for_a_table(target, scale):
    frame, y = customers()
    net = NeuralNetworkClassifier((6,), scale=scale, max_iter=10, random_state=0, **ENCODED)
    fit(net, frame[:150], target(y)[:150])
    content = net.to_onnx()
    onnx.checker.check_model(content, full_check=True)
    assert content == net.to_onnx()
    test = frame[100:].copy()
    test["value"] = test["value"].where(np.arange(100) % 3 > 0, "green")
    for answer in run(content, to_inputs(test)):
        assert answer["label"].tolist() == net.predict(test).tolist()
        np.testing.assert_allclose(answer["probabilities"], net.predict_proba(test), atol=1e-12)


@pytest.mark.parametrize("parameters", [{}, {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9]}])
def test_a_regressor_answers_the_same_for_a_table(parameters):
    frame, y = customers()
    net = NeuralNetworkRegressor(
        hidden_layer_sizes=(6,), scale=True, max_iter=10, random_state=0, **ENCODED, **parameters
    )
    fit(net, frame, np.c_[y, frame["sub_1"] / 1e4])
    for answer in run(net.to_onnx(), to_inputs(frame)):
        np.testing.assert_allclose(answer["value"], net.predict(frame), rtol=1e-10, atol=1e-12)
        if parameters:
            quantiles = net.predict_quantiles(frame)
            np.testing.assert_allclose(answer["quantiles"], quantiles, rtol=1e-10, atol=1e-12)


def test_a_network_in_float32_takes_columns_in_float64():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    net = fit(NeuralNetworkClassifier((6,), missing="indicator", max_iter=10), X, X[:, 0] > 0)
    feed = {f"x{i}": X[:, [i]].astype(np.float64) for i in range(3)}
    for answer in run(net.to_onnx(), feed):
        assert answer["probabilities"].dtype == np.float32
        np.testing.assert_allclose(answer["probabilities"], net.predict_proba(X), atol=1e-5)


def test_a_model_describes_its_inputs_and_takes_no_rows():
    frame, y = customers()
    net = fit(NeuralNetworkClassifier((3,), max_iter=5, **ENCODED), frame, y)
    session = open_session(net.to_onnx())
    described = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    assert [each["column"] for each in described] == frame.columns.tolist()
    assert [each["input"] for each in described] == [each.name for each in session.get_inputs()]
    assert [each["kind"] for each in described] == ["number", "number", *["category"] * 2, "date"]
    assert [each.get("missing") for each in described] == [None, None, "", "", -(2**63)]
    types = {"number": "tensor(double)", "category": "tensor(string)", "date": "tensor(int64)"}
    for each, node in zip(described, session.get_inputs(), strict=True):
        assert (node.type, node.shape) == (types[each["kind"]], ["rows", 1])
    label, probabilities = session.run(["label", "probabilities"], to_inputs(frame[:0]))
    assert label.shape == (0,)
    assert probabilities.shape == (0, 2)


def test_an_example_table_has_every_kind_of_value():
    frame, y = customers()
    encoder = fit(NeuralNetworkClassifier((3,), max_iter=5, **ENCODED), frame, y).encoder_
    table = make_example_table(encoder)
    again = make_example_table(encoder)
    np.testing.assert_array_equal(encoder.transform(table), encoder.transform(again))
    check_encoder(encoder, table)
    outputs = encoder.transform(table)
    assert (np.ptp(outputs, axis=0) > 0).all()
    assert all(find_missing(column).any() for column in table.values())
    for name in ("label", "sub_1"):
        numbers = table[name][~np.isnan(table[name])]
        assert frame[name].min() <= numbers.min() <= numbers.max() <= frame[name].max()
    assert (encoder.count_unknown(table)["x"]) > 0


# ---- names, and what is refused


@pytest.mark.parametrize(
    ("columns", "inputs"),
    [
        (["", "age"], ["(input)", "age"]),
        (["label", "label (input)"], ["label (input) (input)", "label (input)"]),
        (["cast_0", "double_1.0", "isnan_0_"], ["cast_0", "double_1.0", "isnan_0_"]),
        (["a/b: c\n", "ünï ☀"], ["a/b: c\n", "ünï ☀"]),
    ],
)
def test_columns_of_any_name(columns, inputs):
    encoder = fit_encoder({name: np.array([1.0, 3.0, np.nan]) for name in columns})
    table = {name: np.array([i, np.nan]) for i, name in enumerate(columns)}
    assert list(make_feed(encoder, table)) == inputs
    check_encoder(encoder, table)


def test_an_empty_text_that_is_a_category_does_not_mean_missing():
    city = Texts.from_values(["", "", "?", "?", None])
    encoder = fit_encoder({"city": city})
    assert make_feed(encoder, {"city": city})["city"].ravel().tolist() == ["", "", "?", "?", "??"]


def test_a_feed_is_refused_without_a_column():
    encoder = fit_encoder({"age": np.array([1.0, 2.0]), "city": Texts.from_values(["a", "b"])})
    with pytest.raises(InvalidInput, match="city: is missing; found age"):
        make_feed(encoder, {"age": np.array([1.0])})
    with pytest.raises(InvalidInput, match="must have 1 rows, as 'age' has; got 2"):
        make_feed(encoder, {"age": np.array([1.0]), "city": Texts.from_values(["a", "b"])})


def test_a_kind_of_column_without_operators_is_refused_with_advice():
    @dataclass(frozen=True)
    class Picture(NumberEncoder):
        kind = "picture"

    encoder = TableEncoder((Picture("face", 0.0, 1.0, False, 0.0, False, 0.0, 0.0, ()),))
    with pytest.raises(Unsupported, match=r"'face' is of the kind 'picture'.* Add a row"):
        make_inputs(encoder)


def test_a_text_that_is_not_unicode_is_refused():
    encoder = fit_encoder({"city": Texts.from_values(["\ud800", "\ud800"])})
    with pytest.raises(Unsupported, match=r"'city' has the text '\\ud800', which an ONNX file can"):
        make_inputs(encoder)


@pytest.mark.parametrize("estimator", [NeuralNetworkClassifier, NeuralNetworkRegressor])
@pytest.mark.parametrize("columns", [["label"], ["x"], ["label", "x"]])
def test_skl2onnx_is_refused_with_advice(estimator, columns):
    register_onnx_converter()
    frame, y = customers(40)
    net = fit(estimator(hidden_layer_sizes=(3,), max_iter=5, **ENCODED), frame[columns], y)
    with pytest.raises(Unsupported, match=r"Use its method to_onnx\(\), or encode the columns"):
        skl2onnx.to_onnx(net, frame[columns][:1])
