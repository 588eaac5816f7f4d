"""The client of any model: rows by column names in, answers out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quadnet.errors import InvalidInput, NotFound, Unreachable
from quadnet.registry import alias_changes
from service.client import ModelClient
from tests.support.exact_models import exact_predictor, publish
from tests.support.inference_client import MAX_ROWS
from tests.support.serving import ServerProcess, long_call

POINTS = np.random.default_rng(0).normal(size=(200, 2))


@pytest.fixture(scope="module")
def client(inference_server):
    with ModelClient(inference_server.address) as client:
        yield client


def expected(X, scale=3.0):
    """Return the labels and the probabilities of the exact model for these points."""
    P = np.ascontiguousarray(exact_predictor(scale).probabilities_by_class(X).T)
    return exact_predictor(scale).predict(X).tolist(), P


FORMS = {
    "array": lambda X: X,
    "list of rows": lambda X: X.tolist(),
    "columns in another order": lambda X: {"y": X[:, 1], "x": X[:, 0]},
    "lists and series": lambda X: {"y": pl.Series(X[:, 1]), "x": X[:, 0].tolist()},
    "rows by names": lambda X: [{"y": y, "x": x} for x, y in X.tolist()],
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_any_form_get_arrays(client, form):
    answers = client.predict("quadrants", FORMS[form](POINTS))
    labels, P = expected(POINTS)
    assert answers.labels.tolist() == labels
    np.testing.assert_array_equal(answers.probabilities, P, strict=True)
    assert (answers.model, answers.version, len(answers.digest)) == ("quadrants", 1, 64)
    assert answers.classes == ("I", "II", "III", "IV")
    assert (answers.values, answers.quantiles, answers.unknown_categories) == (None, None, {})


FRAMES = {
    "pandas": lambda columns: pd.DataFrame(columns, index=[f"r{i}" for i in range(200)]),
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("library", FRAMES)
def test_a_data_frame_gets_one_of_the_same_library(client, library):
    frame = FRAMES[library]({"y": POINTS[:, 1], "x": POINTS[:, 0]})
    answers = client.predict("quadrants", frame)
    assert type(answers) is type(frame)
    labels, P = expected(POINTS)
    names = ["label", "probability_I", "probability_II", "probability_III", "probability_IV"]
    assert [str(name) for name in getattr(answers, "column_names", answers.columns)] == names
    found = [np.asarray(answers[name]) for name in names]
    assert found[0].tolist() == labels
    np.testing.assert_array_equal(np.column_stack(found[1:]), P)
    if library == "pandas":
        assert answers.index.equals(frame.index)


def test_a_frame_without_names_is_read_in_the_order_of_the_model(client, inference_models):
    digits = np.random.default_rng(1).uniform(0, 16, (7, 64)).round()
    answers = client.predict("digits", pd.DataFrame(digits))
    P = np.ascontiguousarray(inference_models[1]["digits"].probabilities_by_class(digits).T)
    np.testing.assert_array_equal(answers.filter(like="probability_").to_numpy(), P, strict=True)


def test_one_row_is_given_by_its_values(client):
    answers = client.predict("quadrants", {"x": 0.5, "y": -2})
    assert answers.labels.tolist() == ["IV"]


def test_no_rows_get_no_answers(client):
    answers = client.predict("quadrants", POINTS[:0])
    assert (answers.labels.shape, answers.probabilities.shape) == ((0,), (0, 4))
    frame = client.predict("quadrants", pd.DataFrame({"x": [], "y": []}))
    assert (len(frame), frame.columns[0]) == (0, "label")


def test_more_rows_than_the_server_accepts_are_sent_in_several_calls(client):
    X = np.random.default_rng(2).normal(size=(MAX_ROWS + 5, 2))
    labels, P = expected(X)
    answers = client.predict("quadrants", X)
    assert answers.labels.tolist() == labels
    np.testing.assert_array_equal(answers.probabilities, P)
    in_parts = client.predict("quadrants", X[:100], rows_a_call=7)
    np.testing.assert_array_equal(in_parts.probabilities, P[:100])
    message = f"rows_a_call: expected at most {MAX_ROWS}, the server's limit, got {MAX_ROWS + 1}"
    with pytest.raises(InvalidInput, match=message):
        client.predict("quadrants", X, rows_a_call=MAX_ROWS + 1)


def test_a_version_is_chosen_by_number_or_alias(client):
    _, P = expected(POINTS, 5.0)
    for choice in ({"version": 2}, {"alias": "candidate"}):
        answers = client.predict("quadrants", POINTS, **choice)
        assert answers.version == 2
        np.testing.assert_array_equal(answers.probabilities, P)
    assert client.describe("quadrants", alias="candidate").version == 2
    with pytest.raises(NotFound, match="Model 'quadrants' has no version 9"):
        client.predict("quadrants", POINTS, version=9)
    with pytest.raises(NotFound, match="There is no model 'churn'"):
        client.predict("churn", POINTS)
    with pytest.raises(InvalidInput, match="a version or an alias, got 2 and 'candidate'"):
        client.predict("quadrants", POINTS, version=2, alias="candidate")


def test_a_model_is_described_by_its_columns(client):
    described = client.describe("irises")
    assert described.columns == {"x": "number", "y": "number", "z": "number", "x3": "number"}
    assert described.classes == ("setosa", "", "Ünicode")
    assert described.outputs == {"probabilities": (-1, 3), "label": (-1,)}
    assert (described.model, described.version, described.versions) == ("irises", 1, (1,))
    assert described.max_rows == MAX_ROWS
    entries = {(each.name, each.version) for each in client.models().models}
    assert {("quadrants", "1"), ("quadrants", "2"), ("irises", "1")} <= entries


NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        ({"x": [1.0]}, ["y"], "is missing"),
        ({"x": [1.0], "y": [2.0], "z": [3]}, ["z"], "Leave it out"),
        ({"x": [1.0, 2.0], "y": [2.0]}, ["y"], "must have 2 rows, as 'x' has; got 1"),
        ({"x": [1, "no"], "y": [1, 2]}, ["x[1]"], "expected numbers, got 'no'"),
        ({"x": [1, 2, NAN], "y": [NAN, 1, 2]}, ["y[0]", "x[2]"], "expected a finite number"),
        (pd.DataFrame({"x": [1, 2], "y": [3, None]}), ["y[1]"], "expected a finite number"),
        ([[1, 2], [3, float("inf")]], ["y[1]"], "expected a finite number, got inf"),
        ([{"x": 1, "y": 2}, {"x": 1}], ["rows[1]"], "but the first row has 'y'"),
        ([{"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 3}], ["rows[1]"], "but it has 'z'"),
    ],
)
def test_wrong_rows_are_refused_with_column_and_row(client, rows, fields, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        client.predict("quadrants", rows)
    assert [each.field for each in caught.value.violations] == fields


@pytest.mark.parametrize("rows", [POINTS[:, :1], POINTS[0], "abc", 3, None])
def test_rows_of_another_shape_are_refused(client, rows):
    with pytest.raises(InvalidInput, match=r"^rows: must .*columns"):
        client.predict("quadrants", rows)


def test_a_remembered_description_is_replaced_when_the_alias_moves(registry):
    publish(registry, "letters", classes=("a", "b", "c", "d"))
    publish(registry, "letters", classes=("d", "c", "b", "a"), alias="")
    with (
        ServerProcess(registry.root, "--poll", "0.01") as server,
        ModelClient(server.address) as client,
    ):
        assert client.predict("letters", POINTS[:1]).classes == ("a", "b", "c", "d")
        alias_changes.set_aliases(registry, "letters", {"champion": 2}, reason="")
        while (answers := client.predict("letters", POINTS[:1])).version != 2:
            pass
        assert answers.classes == ("d", "c", "b", "a")
        assert answers.digest == client.describe("letters").digest
        # The first version is still answered, from what is remembered of it.
        assert client.predict("letters", POINTS[:1], version=1).classes == ("a", "b", "c", "d")


def test_one_version_answers_all_calls_even_if_the_alias_moves_in_between(registry):
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="")
    with (
        ServerProcess(registry.root, "--poll", "0.01") as server,
        ModelClient(server.address) as client,
    ):
        stop = threading.Event()

        def swap():
            version = 1
            while not stop.is_set():
                version = 3 - version
                alias_changes.set_aliases(registry, "quadrants", {"champion": version}, reason="")

        swapping = threading.Thread(target=swap)
        swapping.start()
        seen = set()
        try:
            while len(seen) < 2:
                answers = client.predict("quadrants", POINTS, rows_a_call=10)
                seen.add(answers.version)
                _, P = expected(POINTS, {1: 3.0, 2: 5.0}[answers.version])
                np.testing.assert_array_equal(answers.probabilities, P)
        finally:
            stop.set()
            swapping.join()


def test_calls_to_an_overloaded_server_are_retried(registry):
    publish(registry)
    with (
        ServerProcess(registry.root, "--max-calls", "1") as server,
        ModelClient(server.address) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.describe("quadrants")
        with long_call(server, registry):
            refusals = sum(line.get("status") == "RESOURCE_EXHAUSTED" for line in server.log())
            answers = pool.submit(client.predict, "quadrants", POINTS)
            server.logged("call", refusals + 1, status="RESOURCE_EXHAUSTED")
        assert answers.result(20).labels.tolist() == expected(POINTS, 10.0)[0]


def test_a_closed_client_and_a_missing_server_are_named():
    client = ModelClient("127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"No Quadnet server answers at 127\.0\.0\.1:1"):
        client.predict("quadrants", POINTS)
    client.close()
    with pytest.raises(Unreachable, match="This ModelClient is closed"):
        client.predict("quadrants", POINTS)
