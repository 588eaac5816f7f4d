"""One input for each column: every form, datatype and shape gives the answers of the library."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quadnet
from quadnet.errors import InvalidInput
from quadnet.nn.network import Network
from quadnet.nn.predictor import RegressionPredictor
from quadnet.registry import Registry
from quadnet.tables.columns import Texts, take_table_rows
from quadnet.tables.encoder import TableEncoder, fit_encoder
from quadnet.tables.raw_columns import ArrayColumn
from service.inference_v2.json_bodies import HEADER_LENGTH
from tests.golden import make as golden
from tests.support.exact_models import record
from tests.support.http_client import request
from tests.support.inference_client import InferenceStub, outputs
from tests.support.inference_in_process import InProcessInference
from tests.support.named_tensors import (
    Tensor,
    binary_body,
    infer,
    json_body,
    raw_request,
    read_body,
    to_tensors,
    typed_request,
)
from tests.support.table_models import (
    LOSSES,
    QUANTILES,
    library_answers,
    publish_table_model,
    sample_table,
    training_table,
)

FORMS = ["raw", "typed", "JSON", "binary"]


@pytest.fixture(scope="module")
def inference(table_models):
    return InProcessInference(table_models[0], "classes", max_points=50_000)


def check_answers(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, strict=found[name].dtype != object)


@pytest.mark.parametrize("predicts", LOSSES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 20_000])
def test_answers_equal_those_of_the_library(inference, table_models, predicts, form, n):
    table = sample_table(n)
    found, parameters = infer(inference, form, to_tensors(table), predicts)
    model = table_models[1][predicts]
    check_answers(found, library_answers(model, table))
    unknown = {k: v for k, v in model.encoder.count_unknown(table).items() if v}
    shown = ", ".join(f"{name}: {count}" for name, count in unknown.items())
    assert parameters == ({"unknown_categories": shown} if unknown else {})
    if predicts == "quantiles":
        assert found["quantiles"].shape == (n, len(QUANTILES))
        np.testing.assert_array_equal(found["value"], found["quantiles"][:, 1])


@pytest.mark.parametrize("predicts", LOSSES)
def test_a_server_answers_as_the_loaded_model_does(table_models, table_server, predicts):
    """Over both transports, in every form: the same bits as `quadnet.load`."""
    loaded, table = quadnet.load(predicts, registry=table_models[0].root), sample_table(3000)
    if predicts in ("classes", "labels"):
        expected = {"probabilities": loaded.predict_proba(table), "label": loaded.predict(table)}
        if predicts == "labels":
            expected["label"] = expected["label"].astype(bool)
    else:
        expected = {"value": loaded.predict(table)}
        if predicts == "quantiles":
            expected["quantiles"] = loaded.predict_quantiles(table)
    tensors = to_tensors(table)
    stub = InferenceStub(table_server.channel)
    for make in (raw_request, typed_request):
        answer = outputs(stub.ModelInfer(make(tensors, predicts)))
        if predicts == "classes":
            answer["label"] = np.array([name.decode() for name in answer["label"]])
        check_answers(answer, expected)
    path = f"/v2/models/{predicts}/infer"
    answer = request(table_server.url, "POST", path, json.loads(json_body(tensors)))
    assert answer.status == 200, answer.values
    found, parameters = read_body(answer.body)
    check_answers(found, expected)
    assert parameters["unknown_categories"].startswith("city: ")
    content, length = binary_body(tensors, parameters={"binary_data_output": True})
    headers = {HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}
    answer = request(table_server.url, "POST", path, content, headers)
    assert answer.status == 200, answer.values
    found, _ = read_body(answer.body, int(answer.headers[HEADER_LENGTH.lower()]))
    check_answers(found, expected)


def test_metadata_over_http_has_the_columns(table_server):
    found = request(table_server.url, "GET", "/v2/models/body").values
    assert [(each["name"], each["shape"]) for each in found["inputs"]] == [
        ("height", [-1]),
        ("weight", [-1]),
        ("x", [-1, 2]),
    ]
    refused = request(
        table_server.url,
        "POST",
        "/v2/models/body/infer",
        {"inputs": [{"name": "weight", "datatype": "FP64", "shape": [1], "data": [None]}]},
    )
    assert refused.status == 400
    assert refused.values["error"] == (
        "inputs: the column 'height' is missing; the columns are height, weight"
    )


@pytest.mark.parametrize("form", FORMS)
def test_inputs_come_in_any_order_with_one_or_two_axes(inference, table_models, form):
    table = sample_table(7)
    tensors = [
        each._replace(shape=(7, 1) if i % 2 else (7,)) for i, each in enumerate(to_tensors(table))
    ][::-1]
    found, _ = infer(inference, form, tensors, "classes")
    check_answers(found, library_answers(table_models[1]["classes"], table))


NUMBERS = {
    "FP32": [0.1, 7, 12, 3e9],
    "FP64": [0.1, 7, 12, 1e300],
    "BOOL": [True, False, True, True],
    **{f"INT{size}": [-1, 7, 12, 99] for size in (8, 16, 32, 64)},
    **{f"UINT{size}": [1, 7, 12, 99] for size in (8, 16, 32, 64)},
}


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("form", FORMS)
def test_every_datatype_is_read_as_the_library_reads_an_array(
    inference, table_models, datatype, kind, form
):
    name = {"number": "age", "category": "city"}[kind]
    sent = Tensor(name, datatype, NUMBERS[datatype])
    table = sample_table(4) | {name: ArrayColumn(sent.array()).read(kind)}
    tensors = [sent, *(each for each in to_tensors(table) if each.name != name)]
    found, parameters = infer(inference, form, tensors, "classes")
    check_answers(found, library_answers(table_models[1]["classes"], table))
    if kind == "category":
        # "12" is the text of the number 12.
        known = sum(float(value) == 12 for value in sent.array())
        assert f"city: {4 - known}" in parameters["unknown_categories"]


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_numbers_are_also_one_array(inference, table_models, form):
    model = table_models[1]["body"]
    X = np.random.default_rng(3).normal(100, 50, (300, 2))
    X[5, 0] = np.nan
    table = {"height": X[:, 0], "weight": X[:, 1]}
    expected = library_answers(model, table)
    assert expected["probabilities"].dtype == np.float32
    for tensors in (to_tensors(table), [Tensor("x", "FP64", X, X.shape)]):
        found, _ = infer(inference, form, tensors, "body")
        check_answers(found, expected)
    integers = np.arange(150, 168, dtype=np.int16).reshape(9, 2)
    found, _ = infer(inference, form, [Tensor("x", "INT16", integers, (9, 2))], "body")
    as_numbers = integers.astype(np.float64)
    table = {"height": as_numbers[:, 0], "weight": as_numbers[:, 1]}
    check_answers(found, library_answers(model, table))


def test_missing_values_are_null_nan_or_empty(inference, table_models):
    table = sample_table(2) | {
        "age": np.array([np.nan, 5.0]),
        "city": Texts.from_values([None, "Rome"]),
        "since": np.array(["NaT", "2021-03-04T05:06:07"], "datetime64[us]"),
    }
    expected = library_answers(table_models[1]["classes"], table)
    rest = [each for each in to_tensors(table) if each.name not in ("age", "city", "since")]
    for form, missing in (("JSON", None), ("JSON", ""), ("raw", ""), ("typed", ""), ("binary", "")):
        for ages in ([np.nan, 5.0], [None, 5]) if form == "JSON" else ([np.nan, 5.0],):
            tensors = [
                Tensor("age", "FP64", ages),
                Tensor("city", "BYTES", [missing, "Rome"]),
                Tensor("since", "BYTES", [missing, "2021-03-04T06:06:07+01:00"]),
            ]
            found, _ = infer(inference, form, [*tensors, *rest], "classes")
            check_answers(found, expected)
    # Integers may be null, too.
    tensors = [Tensor("age", "INT64", np.array([None, 5])), *to_tensors(table)[1:]]
    check_answers(infer(inference, "JSON", tensors, "classes")[0], expected)


@pytest.mark.parametrize("form", ["raw", "JSON"])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("age", None, "inputs: the column 'age' is missing; the columns are age, income, city, "),
        ("age", ("Age", "FP64", [1, 2]), "inputs[0].name: the model has no column 'Age'; it has"),
        ("age", ("income", "FP64", [1, 2]), "inputs[1].name: expected each column once, got 'inc"),
        ("age", ("age", "BYTES", ["1", "2"]), "inputs[0].datatype: input 'age': expected FP64 or"),
        ("age", ("age", "FP16", [1, 2]), "inputs[0].datatype: input 'age': expected FP64 or"),
        ("city", ("city", "", [1, 2]), "inputs[2].datatype: input 'city': expected BYTES, a"),
        (
            "since",
            ("since", "INT64", [1, 2]),
            "inputs[4].datatype: input 'since': expected BYTES, with texts such as 2024-01-31",
        ),
        (
            "age",
            ("age", "FP64", [1, 2, 3, 4], (2, 2)),
            "inputs[0].shape: input 'age': expected [n] or [n, 1], a value for each row; got [2, 2",
        ),
        ("age", ("age", "FP64", [1], ()), "inputs[0].shape: input 'age': expected [n] or [n, 1]"),
        ("age", ("age", "FP64", [], (-2,)), "inputs[0].shape: input 'age': expected [n] or [n, 1]"),
        (
            "city",
            ("city", "BYTES", ["a", "b", "c"]),
            "inputs[2].shape: input 'city': expected 2 rows, as input 'age' has; got 3",
        ),
        (
            "age",
            ("age", "FP64", [1], (2**40,)),
            "inputs[0].shape: input 'age': expected at most 50000 rows per call; got 1099511627776",
        ),
        (
            "income",
            ("income", "FP64", [1, np.nan]),
            "income[1]: is missing, but no row that the model was trained on had a gap in this",
        ),
        ("plan", ("plan", "BYTES", ["plan 1", ""]), "plan[1]: is missing, but no row"),
        (
            "since",
            ("since", "BYTES", ["2020-01-01", "yesterday"]),
            "since[1]: expected a date such as 2024-01-31 or 2024-01-31T12:30:00Z, got 'yesterday'",
        ),
        ("since", ("since", "BYTES", ["2020-13-01", ""]), "since[0]: expected a date such as"),
    ],
)
def test_a_wrong_column_is_named(inference, form, name, change, message):
    tensors = to_tensors(sample_table(2))
    changed = [
        Tensor(*change) if change and each.name == name else each
        for each in tensors
        if change or each.name != name
    ]
    with pytest.raises(InvalidInput) as caught:
        infer(inference, form, changed, "classes")
    assert str(caught.value).startswith(message)


def test_every_unknown_repeated_and_missing_column_is_named_at_once(inference):
    tensors = to_tensors(sample_table(2))
    changed = [tensors[0], tensors[0], Tensor("foo", "FP64", [1, 2]), *tensors[2:]]
    with pytest.raises(InvalidInput) as caught:
        infer(inference, "raw", changed, "classes")
    columns = "age, income, city, plan, since"
    assert [(each.field, each.description) for each in caught.value.violations] == [
        ("inputs[1].name", "expected each column once, got 'age' again"),
        (
            "inputs[2].name",
            f"the model has no column 'foo'; it has {columns}. Leave it out",
        ),
        ("inputs", f"the column 'income' is missing; the columns are {columns}"),
    ]
    # "x" is taken only if all columns are numbers.
    with pytest.raises(InvalidInput, match="no column 'x'"):
        infer(inference, "raw", [Tensor("x", "FP64", np.zeros((2, 5)), (2, 5))], "classes")
    with pytest.raises(InvalidInput, match=r"expected \[n, 2\], rows of 2 features; got \[2, 5\]"):
        infer(inference, "raw", [Tensor("x", "FP64", np.zeros((2, 5)), (2, 5))], "body")


@pytest.mark.parametrize("form", ["raw", "typed", "binary"])
def test_infinity_and_invalid_utf_8_are_refused_by_row(inference, form):
    tensors = to_tensors(sample_table(30_000))
    ages = np.zeros(30_000)
    ages[[12_345, 29_999]] = np.inf, -np.inf
    with pytest.raises(InvalidInput) as caught:
        infer(inference, form, [Tensor("age", "FP64", ages), *tensors[1:]], "classes")
    assert [each.field for each in caught.value.violations] == ["age[12345]", "age[29999]"]
    assert "must be finite or missing, got inf" in str(caught.value)
    cities = [b"Oslo"] * 30_000
    cities[20_000] = b"\xff\xfe"
    changed = [Tensor("city", "BYTES", cities), *(t for t in tensors if t.name != "city")]
    with pytest.raises(InvalidInput, match=r"city\[20000\]: .*expected a text in UTF-8; got"):
        infer(inference, form, changed, "classes")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected 2 texts for BYTES of shape [2], each after its length in 4 little-endian"),
        (b"\1\0\0\0a", "got 5 bytes that end after 1 texts"),
        (b"\1\0\0\0a\1\0\0", "got 8 bytes that end after 1 texts"),
        (b"\1\0\0\0a\2\0\0\0b", "got 10 bytes that end inside the text 1"),
        (b"\xff\xff\xff\xffa", "got 5 bytes that end inside the text 0"),
        (b"\1\0\0\0a\0\0\0\0\0\0\0\0", "got 13 bytes that continue after the last text"),
    ],
)
def test_raw_texts_must_have_their_lengths(inference, content, message, monkeypatch):
    tensors = to_tensors(sample_table(2))
    monkeypatch.setattr(
        Tensor, "content", lambda self, real=Tensor.content: (
            content if self.name == "city" else real(self)
        )
    )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        infer(inference, "raw", tensors, "classes")
    assert str(caught.value).startswith("raw_input_contents[2]: input 'city': expected 2 texts")
    assert message in str(caught.value)


def test_many_distinct_texts_are_answered_as_one_unknown_category(table_models, inference):
    n = 50_000
    table = sample_table(n) | {"city": Texts.from_values([f"city {i}" for i in range(n)])}
    found, parameters = infer(inference, "raw", to_tensors(table), "numbers")
    check_answers(found, library_answers(table_models[1]["numbers"], table))
    assert f"city: {n}" in parameters["unknown_categories"]


def test_a_column_with_the_name_of_the_array_is_a_column(registry):
    numbers = {"x": np.arange(60.0), "y": np.arange(60.0) ** 2}
    model = publish_table_model(registry, "m", table=numbers)
    inference = InProcessInference(registry, "m")
    table = {name: values[:5] for name, values in numbers.items()}
    found, _ = infer(inference, "raw", to_tensors(table), "m")
    check_answers(found, library_answers(model, table))
    array = Tensor("x", "FP64", np.zeros((5, 2)), (5, 2))
    with pytest.raises(InvalidInput, match="the column 'y' is missing; the columns are x, y"):
        infer(inference, "raw", [array], "m")


def test_what_a_column_refuses_is_named_by_its_row_in_the_request(registry):
    """Also beyond the first slice of rows."""
    columns = fit_encoder(training_table()).columns
    changes = {"city": {"unknown": "refused"}, "income": {"gaps": "refused"}}
    encoder = TableEncoder(
        tuple(dataclasses.replace(each, **changes.get(each.name, {})) for each in columns)
    )
    publish_table_model(registry, "m", encoder=encoder)
    inference = InProcessInference(registry, "m")
    n = 200_000
    row = sample_table(1) | {"city": Texts.from_values(["Oslo"])}
    table = take_table_rows(row, np.zeros(n, np.intp))
    cities = table["city"].to_array()
    cities[199_000] = "Paris"
    income = table["income"].copy()
    income[150_000] = np.nan
    for changed, field, text in (
        ({"city": Texts.from_values(cities)}, "city[199000]", "must be one of .*, got 'Paris'"),
        ({"income": income}, "income[150000]", "missing"),
    ):
        with pytest.raises(InvalidInput, match=text) as caught:
            infer(inference, "raw", to_tensors(table | changed), "m")
        assert [each.field for each in caught.value.violations] == [field]


def test_outputs_are_those_of_the_task(inference):
    field = "outputs[0].parameters[classification]"
    for model, name, reason in (
        ("numbers", "value", "the model predicts numbers; leave it out"),
        ("quantiles", "quantiles", "the model predicts numbers; leave it out"),
        ("labels", "probabilities", "the model predicts several labels for each row; leave it out"),
    ):
        asked = [{"name": name, "parameters": {"classification": 2}}]
        content, length = binary_body(to_tensors(sample_table(1)), outputs=asked)
        with pytest.raises(InvalidInput) as caught:
            inference.infer_body(content, length, model=model)
        assert str(caught.value) == (
            f"{field}: output {name!r}: expected no class_count, because {reason}"
        )
    for model, expected in (
        ("numbers", "expected 'value', got 'label'"),
        ("quantiles", "expected 'value' or 'quantiles', got 'label'"),
    ):
        content, length = binary_body(to_tensors(sample_table(1)), outputs=[{"name": "label"}])
        with pytest.raises(InvalidInput, match=expected):
            inference.infer_body(content, length, model=model)


def test_rows_that_overflow_have_no_number(registry):
    network = Network.dense([2, 1], activations=[], loss="squared_error")
    network.parameters.weights[0][:] = [[10.0], [-10.0]]
    predictor = RegressionPredictor(network, None)
    registry.publish("m", predictor, record(predictor), np.zeros((1, 2)))
    inference = InProcessInference(registry, "m")
    X = np.array([[1e308, 1e308], [1.0, 1.0]])
    found, _ = infer(inference, "raw", [Tensor("x", "FP64", X, (2, 2))], "m", "1")
    np.testing.assert_array_equal(found["value"], [np.nan, 0.0])
    found, _ = infer(inference, "JSON", [Tensor("x", "FP64", X, (2, 2))], "m", "1")
    np.testing.assert_array_equal(found["value"], [np.nan, 0.0])


@pytest.mark.parametrize("name", ["prices", "counts", "tags", "shop"])
@pytest.mark.parametrize("form", FORMS)
def test_golden_versions_are_served(name, form):
    root = golden.HERE / "2"
    expected = json.loads((root / golden.EXPECTED).read_text())[name]
    inference = InProcessInference(Registry(root), name)
    if name == "shop":
        ages, cities, days = zip(*golden.ROWS, strict=True)
        tensors = [
            Tensor("age", "FP64", [np.nan if age is None else age for age in ages]),
            Tensor("city", "BYTES", cities),
            Tensor("day", "BYTES", [str(day or "") for day in days]),
        ]
    else:
        X = np.array(expected["points"])
        tensors = [Tensor("x", "FP64", X, X.shape)]
    found, _ = infer(inference, form, tensors, name, "1")
    if name == "shop":
        predictor = inference.live.current.predictor
        expected = {"probabilities": predictor.probabilities(np.array(expected["inputs"]))}
    numbers = np.array(expected.get("probabilities", expected.get("values")))
    answered = found[next(key for key in ("quantiles", "value", "probabilities") if key in found)]
    # "counts" computes in float32.
    tolerance = 1e-12 if answered.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(answered.reshape(numbers.shape), numbers, rtol=tolerance)


numbers = st.lists(st.floats(allow_infinity=False, width=32) | st.integers(-9, 9), max_size=4)
texts = st.lists(st.sampled_from(["Oslo", "12", "plan 1", "2020-01-01", "", "?"]), max_size=4)
names = st.sampled_from(["age", "income", "city", "plan", "since", "x", "y"])
tensor_lists = st.lists(
    st.builds(Tensor, names, st.sampled_from(["FP64", "FP32"]), numbers)
    | st.builds(Tensor, names, st.just("BYTES"), texts),
    max_size=6,
)


@given(
    changes=st.dictionaries(
        st.sampled_from(["age", "income", "city", "plan", "since"]),
        st.builds(lambda datatype, values: (datatype, values), st.just("FP64"), numbers)
        | st.builds(lambda datatype, values: (datatype, values), st.just("BYTES"), texts),
        max_size=2,
    ),
    others=tensor_lists,
    form=st.sampled_from(FORMS),
    predicts=st.sampled_from([*LOSSES]),
)
@settings(max_examples=100, deadline=None)
def test_any_tensors_get_the_answers_of_the_library_or_are_refused(
    inference, table_models, changes, others, form, predicts
):
    n = len(next(iter(changes.values()))[1]) if changes else 3
    table = sample_table(n)
    tensors = [
        Tensor(each.name, *changes[each.name]) if each.name in changes else each
        for each in to_tensors(table)
    ]
    tensors = others if others and not changes else tensors
    try:
        found, _ = infer(inference, form, tensors, predicts)
    except InvalidInput as error:
        assert error.violations
        return
    kinds = table_models[1][predicts].encoder.columns
    for column in kinds:
        (sent,) = [each for each in tensors if each.name == column.name]
        values = np.array(sent.values, object if sent.datatype == "BYTES" else np.float64)
        if sent.datatype == "BYTES":
            values[values == ""] = None
        table[column.name] = ArrayColumn(values).read(column.kind)
    check_answers(found, library_answers(table_models[1][predicts], table))


def test_dates_are_read_with_time_and_zone(inference, table_models):
    moments = ["2021-03-04", "2021-03-04T05:06", "2021-03-04 05:06:07.5", "2021-03-04T23:30:00-05"]
    utc = [
        dt.datetime(2021, 3, 4),
        dt.datetime(2021, 3, 4, 5, 6),
        dt.datetime(2021, 3, 4, 5, 6, 7, 500_000),
        dt.datetime(2021, 3, 5, 4, 30),
    ]
    table = sample_table(4) | {"since": np.array(utc, "datetime64[us]")}
    tensors = [*to_tensors(table)[:-1], Tensor("since", "BYTES", moments)]
    found, _ = infer(inference, "raw", tensors, "classes")
    check_answers(found, library_answers(table_models[1]["classes"], table))
