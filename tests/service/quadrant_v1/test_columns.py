"""GetModel, Explain and Classify on versions that take a table's columns, and on other tasks."""

import json
import shutil
from datetime import date

import grpc
import numpy as np
import pytest

from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.quadrants import NAMES
from quadnet.registry import Registry, alias_changes
from quadnet.tables.column_encoders import CategoryEncoder, NumberEncoder
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import TableEncoder, fit_encoder
from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.golden import make
from tests.support.exact_models import record
from tests.support.serving import ServerProcess, refused

POINTS = np.array([[0.5, 0.25], [-2.0, 0.5], [-0.5, -0.75], [30.0, -1.0]])


def publish_table(registry, name, encoder, predictor, rows):
    """Publish a version with this encoder, and point its champion at it."""
    kept = record(predictor, encoder.n_outputs).model_copy(update={"encoder": encoder})
    registry.publish(name, predictor, kept, encoder.transform(rows))
    alias_changes.set_aliases(registry, name, {"champion": 1}, reason="test")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("columns") / "registry"
    shutil.copytree(make.HERE / "2", root)
    registry = Registry(root)
    # Its columns are y and x, in this order.
    rows = {"y": POINTS[:, 1], "x": POINTS[:, 0]}
    network = Network.dense([2, 4], activations=[], loss="softmax_cross_entropy")
    # The weights are the signs of the quadrants I to IV, of y and of x.
    network.parameters.weights[0][:] = [[1, 1, -1, -1], [1, -1, -1, 1]]
    publish_table(registry, "plane", fit_encoder(rows), Predictor(network, NAMES), rows)
    whole = {
        "age": np.array([1.0, 2.0, 4.0]),
        "city": Texts.from_values(["Oslo", "Rome"] * 2).take(np.arange(3)),
    }
    network = Network.dense([3, 1], activations=[], loss="sigmoid_cross_entropy")
    network.parameters.weights[0][:] = [[1], [3], [5]]
    publish_table(registry, "whole", fit_encoder(whole), Predictor(network, ["a", "b"]), whole)
    # A pipeline's encoder: a step fills gaps, and a whole number has the text of a file, too.
    columns = (
        NumberEncoder("age", 0.0, 1.0, False, 1.0, False, -9.0, 99.0, (), "filled"),
        CategoryEncoder("rooms", ("1", "1.0", "2", "2.0"), (), missing=False, gaps="filled"),
        CategoryEncoder("city", ("Oslo",), (), missing=False, gaps="refused"),
    )
    network = Network.dense([6, 1], activations=[], loss="sigmoid_cross_entropy")
    rows = {"age": POINTS[:, 0], "rooms": Texts.from_values(["1", "2", "1.0", "2"])}
    rows["city"] = Texts.from_values(["Oslo"] * 4)
    predictor = Predictor(network, ["a", "b"])
    publish_table(registry, "filled", TableEncoder(columns), predictor, rows)
    return registry


@pytest.fixture(scope="module")
def server(registry):
    with ServerProcess(registry.root) as process:
        yield process


def value(name, given):
    if given is None:
        return pb.ColumnValue(name=name)
    return pb.ColumnValue(name=name, **{"text" if isinstance(given, str) else "number": given})


def explain(server, model, **columns):
    values = [value(name, given) for name, given in columns.items()]
    return server.stub.Explain(pb.ExplainRequest(model=pb.ModelRef(name=model), columns=values))


def refusal(server, model, *columns, features=()):
    request = pb.ExplainRequest(model=pb.ModelRef(name=model), columns=columns, features=features)
    error = refused(server.stub.Explain, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    return error.details()


@pytest.mark.parametrize("row", range(len(make.ROWS)))
def test_explain_follows_a_row_of_a_table_from_its_columns(server, row):
    age, city, day = make.ROWS[row]
    # In another order than the version's.
    answer = explain(server, "shop", day=day, age=age, city=city)
    expected = make.encode_by_hand(age, city, day)
    np.testing.assert_allclose(answer.features, expected, rtol=1e-14, atol=1e-14)
    first = answer.layers[0]
    weights = make.network("shop").parameters.weights[0]
    for unit, w in zip(first.units, weights.T, strict=True):
        np.testing.assert_allclose(unit.terms, w * expected, rtol=1e-12, atol=1e-12)
    assert answer.label == answer.classes[int(np.argmax(answer.probabilities))]
    assert sum(answer.probabilities) == pytest.approx(1.0)
    assert list(answer.unknown_categories) == (["city"] if city == "unknown" else [])


def test_the_client_takes_columns_by_name(server):
    row = {"day": date(2024, 2, 29), "age": np.float32(1), "city": "Oslo"}
    with QuadrantClient(f"127.0.0.1:{server.port}") as client:
        answer = client.explain(row, model="shop")
        missing = client.explain({"day": None, "age": float("nan"), "city": None}, model="shop")
    assert answer == explain(server, "shop", age=1.0, city="Oslo", day="2024-02-29")
    assert missing == explain(server, "shop", age=None, city=None, day=None)


def test_get_model_describes_the_columns(server):
    answer = server.stub.GetModel(pb.GetModelRequest(model=pb.ModelRef(name="shop")))
    age, city, day = answer.columns
    assert (age.name, age.kind, age.min, age.max, age.mean) == ("age", "number", 1.0, 30.0, 10.5)
    assert (city.kind, list(city.categories)) == ("category", ["Oslo", "Rome", "Bern", "Ürümqi"])
    assert (day.kind, [each.features for each in answer.columns]) == ("date", [5, 4, 5])
    assert all(each.may_be_missing for each in answer.columns)
    assert sum(each.features for each in answer.columns) == len(answer.features)
    assert answer.task == "classification"
    whole = server.stub.GetModel(pb.GetModelRequest(model=pb.ModelRef(name="whole")))
    assert not any(each.may_be_missing for each in whole.columns)
    filled = server.stub.GetModel(pb.GetModelRequest(model=pb.ModelRef(name="filled")))
    assert [each.may_be_missing for each in filled.columns] == [True, True, False]
    assert list(filled.columns[1].categories) == ["1", "2"]


@pytest.mark.parametrize("name", ["prices", "counts", "tags"])
def test_explain_and_get_model_work_for_every_task(server, name):
    expected = json.loads((make.HERE / "2" / make.EXPECTED).read_text())[name]
    request = pb.GetModelRequest(model=pb.ModelRef(name=name))
    described = server.stub.GetModel(request)
    assert described.task == ("multilabel" if name == "tags" else "regression")
    assert described.metrics
    for x, values in zip(
        expected["points"][:5],
        expected.get("values", expected.get("probabilities"))[:5],
        strict=True,
    ):
        answer = server.stub.Explain(pb.ExplainRequest(model=pb.ModelRef(name=name), features=x))
        assert list(answer.features) == x
        if name == "tags":
            np.testing.assert_allclose(answer.probabilities, values, rtol=1e-12)
            pairs = zip(answer.classes, answer.probabilities, strict=True)
            assert list(answer.labels) == [each for each, p in pairs if p > 0.5]
            assert not answer.label
        else:
            found = answer.quantiles or [answer.value]
            rtol = 1e-6 if name == "counts" else 1e-12  # that network computes in float32
            np.testing.assert_allclose(found, np.atleast_1d(values), rtol=rtol)
            assert not answer.probabilities
            assert described.target.name
        if name == "prices":
            assert list(described.quantiles) == [0.1, 0.5, 0.9]
            assert answer.value == answer.quantiles[1]


def test_classify_takes_x_and_y_by_the_names_of_columns(server):
    request = pb.ClassifyRequest(model=pb.ModelRef(name="plane"), x=POINTS[:, 0], y=POINTS[:, 1])
    # One by one: x and y are centred at 0.
    answer = server.stub.Classify(request)
    mean = POINTS.mean(axis=0)
    expected = [
        {(True, True): 1, (False, True): 2, (False, False): 3, (True, False): 4}[tuple(p > mean)]
        for p in POINTS
    ]
    assert list(answer.quadrants) == expected
    trace = server.stub.Explain(
        pb.ExplainRequest(model=pb.ModelRef(name="plane"), features=POINTS[0, ::-1])
    )
    assert trace.label == NAMES[expected[0] - 1]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "shop",
            "Model 'shop' has the columns age, city, day and the classes no, rather, yes, not 2",
        ),
        ("prices", "and a number to predict, not 2 features and the four quadrants"),
        ("tags", "and the labels "),
    ],
)
def test_classify_names_the_rpc_for_other_versions(server, model, text):
    request = pb.ClassifyRequest(model=pb.ModelRef(name=model), x=[0.5], y=[0.5])
    error = refused(server.stub.Classify, request)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert text in error.details()
    assert "inference.GRPCInferenceService/ModelInfer" in error.details()


def test_wrong_columns_are_refused_by_their_name(server):
    oslo = value("city", "Oslo")
    assert "age" in refusal(server, "whole", oslo)
    assert "'zip'" in refusal(server, "whole", oslo, value("age", 1.0), value("zip", "x"))
    text = refusal(server, "whole", oslo, value("age", "old"))
    assert "age" in text
    assert "'old'" in text
    gap = refusal(server, "whole", oslo, value("age", None))
    assert "age" in gap
    assert "trained" in gap
    assert "city" in refusal(server, "whole", value("city", None), value("age", 1.0))
    again = refusal(server, "whole", oslo, oslo)
    assert again == "columns[1].name: expected each column once, got 'city' again"
    assert "not all numbers: age (number), city (category)" in refusal(
        server, "whole", features=[1.0, 2.0]
    )
    assert "takes features" in refusal(server, "quadrants", oslo)
    infinite = refusal(server, "plane", value("x", np.inf), value("y", 1.0))
    assert "x[0]" in infinite
    bad = pb.ExplainRequest(
        model=pb.ModelRef(name="shop"), columns=[value("age", 1.0), oslo, value("day", "soon")]
    )
    error = refused(server.stub.Explain, bad)
    assert "'soon'" in error.details()
