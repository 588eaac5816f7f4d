"""Public clients, unmodified, call models by column names: every answer is the library's.

Each client is a program in an environment of its own (`tests/support/public_clients`). It gets
requests as JSON, ``[{"model": ..., "inputs": [[name, datatype, values], ...]}, ...]`` with null for
missing values, and prints the answers as ``[{output: {"dtype": ..., "values": ...}}, ...]``.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from quadnet.registry import Registry
from quadnet.tables.columns import column_kind
from service.client import ModelClient
from tests.support.environments import make_environment
from tests.support.exact_models import exact_predictor, publish
from tests.support.serving import ROOT, ServerProcess, quadnet
from tests.support.table_models import (
    library_answers,
    publish_table_models,
    sample_table,
    to_values,
)

pytestmark = pytest.mark.environment

PROGRAMS = ROOT / "tests/support/public_clients"
POINTS = np.random.default_rng(3).normal(size=(20, 2))

TRITON, KSERVE, MLSERVER = "tritonclient[grpc,http]", "kserve", "mlserver"
PYTHON_CLIENTS = {
    (TRITON, "grpc"): "triton_client.py",
    (TRITON, "http"): "triton_client.py",
    (TRITON, "http json"): "triton_client.py",
    (KSERVE, "grpc"): "kserve_client.py",
    (KSERVE, "rest"): "kserve_client.py",
    (KSERVE, "rest binary"): "kserve_client.py",
    (MLSERVER, "grpc"): "mlserver_client.py",
    (MLSERVER, "rest"): "mlserver_client.py",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("public_clients") / "registry")
    publish(registry)
    publish_table_models(registry)
    return registry


@pytest.fixture(scope="module")
def server(registry):
    with ServerProcess(registry.root, "--http-port", "0") as process:
        yield process


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """Return a function that makes an environment with a package, once."""
    made = {}

    def environment_of(package):
        if package not in made:
            folder = tmp_path_factory.mktemp("client") / "environment"
            made[package] = make_environment(folder, package)
        return made[package]

    return environment_of


def to_inputs(table):
    """Return a table as the inputs of a request."""
    datatypes = {"number": "FP64", "category": "BYTES", "date": "BYTES"}
    return [
        [name, datatypes[column_kind(table[name])], values]
        for name, values in to_values(table).items()
    ]


@pytest.fixture(scope="module")
def cases(registry):
    """Return requests, and the library's answers by the names of the outputs."""
    P = np.ascontiguousarray(exact_predictor().probabilities_by_class(POINTS).T)
    points = {"probabilities": P, "label": exact_predictor().predict(POINTS)}
    cases = [({"model": "quadrants", "inputs": [["x", "FP64", POINTS.tolist()]]}, points)]
    table = sample_table(2000)
    for name in ("classes", "labels", "numbers", "quantiles"):
        answers = library_answers(registry.load(name, 1), table)
        cases.append(({"model": name, "inputs": to_inputs(table)}, answers))
    rng = np.random.default_rng(4)
    numbers = {"weight": rng.normal(70, 10, 15), "height": rng.normal(170, 10, 15)}
    numbers["height"][3] = np.nan
    body = library_answers(registry.load("body", 1), numbers)
    cases.append(({"model": "body", "inputs": to_inputs(numbers)}, body))
    # Without gaps, which not every client can send in a matrix.
    X = np.column_stack([numbers["height"], numbers["weight"]])[4:]
    whole = {"height": X[:, 0], "weight": X[:, 1]}
    matrix = {"model": "body", "inputs": [["x", "FP64", X.tolist()]]}
    return [*cases, (matrix, library_answers(registry.load("body", 1), whole))]


def run(*words, given, env=None):
    """Run a program outside of this repository with this JSON; return the JSON that it prints."""
    done = subprocess.run(
        [str(word) for word in words],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT.parent,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(cases, found):
    assert len(found) == len(cases)
    for (request, expected), outputs in zip(cases, found, strict=True):
        assert outputs.keys() == expected.keys(), request["model"]
        for name, values in expected.items():
            if values.dtype.kind == "f":
                assert outputs[name]["dtype"] == values.dtype.name, (request["model"], name)
            # JSON has the shortest text of a double: it reads back as the same number.
            got = np.array(outputs[name]["values"]).astype(values.dtype)
            np.testing.assert_array_equal(got, values, strict=values.dtype.kind == "f")


@pytest.mark.parametrize(("package", "kind"), PYTHON_CLIENTS)
def test_a_python_client_gets_the_answers_of_the_library(
    server, environments, cases, package, kind
):
    program = PROGRAMS / PYTHON_CLIENTS[package, kind]
    address = server.address if kind == "grpc" else server.url.removeprefix("http://")
    python = environments(package) / "python"
    found = run(python, "-P", program, kind, address, given=[request for request, _ in cases])
    check(cases, found)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    """Return a folder in which Node finds the packages for gRPC."""
    folder = tmp_path_factory.mktemp("node")
    packages = ("@grpc/grpc-js", "@grpc/proto-loader")
    subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages],
        check=True,
    )
    return folder


def test_node_gets_the_answers_of_the_library(server, cases, node_folder):
    proto = ROOT / "protos/inference/v2/inference.proto"
    # Node looks for packages in the folder of the program, not in the current one.
    program = node_folder / "node_client.js"
    program.write_text((PROGRAMS / "node_client.js").read_text())
    found = run("node", program, proto, server.address, given=[request for request, _ in cases])
    check(cases, found)


def test_curl_gets_the_answers_of_the_library(server, cases):
    found = []
    for request, _ in cases:
        inputs = [
            {"name": name, "datatype": datatype, "shape": np.shape(values), "data": values}
            for name, datatype, values in request["inputs"]
        ]
        url = f"{server.url}/v2/models/{request['model']}/infer"
        answer = run("curl", "--silent", "--fail", "--json", "@-", url, given={"inputs": inputs})
        dtypes = {"FP32": np.float32, "FP64": np.float64}
        outputs = {}
        for each in answer["outputs"]:
            values = np.array(each["data"], dtypes.get(each["datatype"])).reshape(each["shape"])
            outputs[each["name"]] = {"dtype": values.dtype.name, "values": values.tolist()}
        found.append(outputs)
    check(cases, found)


PAGE = (ROOT / "docs/clients.md").read_text()
BLOCKS = [text for _, text in re.findall(r"^```(\S*)\n(.*?)^```$", PAGE, re.M | re.S)]


def find_block(words):
    (block,) = (block for block in BLOCKS if words in block)
    return block


@pytest.fixture(scope="module")
def customers(tmp_path_factory):
    """Return a server with the model that the page publishes."""
    folder = tmp_path_factory.mktemp("customers")
    subprocess.run(
        [sys.executable, "-c", find_block("from random import Random")], cwd=folder, check=True
    )
    trained = quadnet("train", "customers.csv", "--label", "stays", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    options = ("--http-port", "0", "--model", "customers")
    with ServerProcess(folder / "models", *options) as process:
        yield process


@pytest.mark.parametrize(
    ("words", "package"),
    [
        ("import tritonclient.grpc", TRITON),
        ("import kserve", KSERVE),
        ("from mlserver", MLSERVER),
        ("@grpc/grpc-js", None),
    ],
)
def test_the_documented_example_runs_unchanged(
    customers, environments, node_folder, words, package
):
    addresses = {"127.0.0.1:50051": customers.address, "http://127.0.0.1:8080": customers.url}
    text = find_block(words)
    for documented, real in addresses.items():
        text = text.replace(documented, real)
    if package is None:
        shutil.copytree(ROOT / "protos", node_folder / "protos", dirs_exist_ok=True)
        command = ["node", "-e", text]
    else:
        command = [environments(package) / "python", "-P", "-c", text]
    done = subprocess.run(
        command, cwd=node_folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with ModelClient(customers.address) as client:
        columns = {"age": [31, None], "city": ["Rome", "Oslo"], "spent": [80, 12.5]}
        columns["since"] = ["2022-05-17", "2024-05-01"]
        expected = client.predict("customers", columns)
    for number in expected.probabilities.max(axis=1).astype(str):
        assert number[:8] in done.stdout
    for label in expected.labels:
        assert label in done.stdout
