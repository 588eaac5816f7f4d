"""Public clients, unmodified: in separate environments, and in one process with the server."""

import base64
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from quadnet.registry import Registry
from service.stubs.quadrant.v1 import quadrant_pb2
from tests.support.environments import install, make_environment
from tests.support.exact_models import publish
from tests.support.inference_client import publish_network
from tests.support.serving import ROOT, ServerProcess

pytestmark = pytest.mark.environment

DIGITS = [str(digit) for digit in range(10)]
REPEAT = 500


def run(python, *words, given="", env=None):
    """Run a script outside of this repository and return its output."""
    done = subprocess.run(
        [python, "-P", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT.parent,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("interoperability") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    digits = publish_network(registry, "digits", (64, 20, 10), DIGITS, "float32")
    return registry, digits


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("triton") / "environment", "tritonclient[grpc]")


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_tritonclient_gets_the_answers_of_classify_bit_for_bit(models, triton, kind):
    registry, predictor = models
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 2)).astype(np.float32).astype(np.float64)
    digits = rng.uniform(0, 16, (30, 64)).round()
    rows = {"points": points.tolist(), "digits": digits.tolist(), "repeat": REPEAT}
    with ServerProcess(registry.root) as server:
        printed = run(
            triton / "python",
            ROOT / "tests/support/triton.py",
            kind,
            server.address,
            given=json.dumps(rows),
        )
        got = json.loads(printed)

        def classified(X):
            response = server.stub.Classify(
                quadrant_pb2.ClassifyRequest(x=X[:, 0], y=X[:, 1], all_certainties=True)
            )
            quadrants = [quadrant_pb2.Quadrant.Name(q)[9:] for q in response.quadrants]
            certainties = np.array(response.all_certainties, np.float32)
            return quadrants, certainties.reshape(len(X), 4)

        for name, X in {
            "infer float64": points,
            "infer float32": points,
            "big batch": np.tile(points, (REPEAT, 1)),
            "zero rows": points[:0],
        }.items():
            quadrants, certainties = classified(X)
            label, probabilities = got[name]["label"], got[name]["probabilities"]
            assert (label["shape"], label["values"]) == ([len(X)], quadrants)
            assert (probabilities["shape"], probabilities["dtype"]) == ([len(X), 4], "float64")
            P = np.frombuffer(base64.b64decode(probabilities["values"])).astype(np.float32)
            np.testing.assert_array_equal(P.reshape(len(X), 4), certainties)

        quadrants, certainties = classified(points[:3])
        assert got["class_count"]["label"]["values"] == quadrants
        best = got["class_count"]["probabilities"]
        assert (best["shape"], best["dtype"]) == ([3, 2], "object")
        for quadrant, row, text in zip(quadrants, certainties, best["values"][::2], strict=True):
            value, column, label = text.split(":")
            assert (label, int(column)) == (quadrant, row.argmax())
            assert abs(float(value) - row.max()) < 1e-6

    expected = predictor.predict(digits).tolist()
    assert got["digits"] == {"label": {"shape": [30], "dtype": "object", "values": expected}}
    assert (got["live"], got["ready"], got["model ready"]) == (True, True, True)
    assert got["server"]["name"] == "quadnet"
    assert got["server"]["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]
    config = got["config"]["config"]
    assert (config["name"], config["max_batch_size"]) == ("digits", 1_000_000)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["64"]}]
    assert config["output"][1] == {"name": "label", "data_type": "TYPE_STRING"}
    assert config["parameters"]["version"] == {"string_value": "1"}
    assert got["model"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "64"]}]
    assert got["alias"] == ["2", "7"]
    assert got["wrong shape"] == [
        "StatusCode.INVALID_ARGUMENT",
        "inputs[0].shape: input 'x': expected [n, 2], rows of 2 features; got [30, 64]",
    ]
    assert got["wrong version"] == [
        "StatusCode.NOT_FOUND",
        "Model 'quadrants' has no version 9. Its versions, newest first: 2, 1.",
    ]
    assert got["wrong model"][0] == "StatusCode.NOT_FOUND"
    assert got["unimplemented"][0] == "StatusCode.UNIMPLEMENTED"
    assert [(m["name"], m["version"], m["state"]) for m in got["index"]["models"]] == [
        ("digits", "1", "READY"),
        ("quadrants", "1", "READY"),
        ("quadrants", "2", "READY"),
    ]
    (counted,) = got["statistics"]["model_stats"]
    assert (counted["inference_count"], counted["execution_count"]) == ("30", "1")


IN_ONE_PROCESS = """
import asyncio, sys
import numpy as np
{imports}
from pathlib import Path
import google.protobuf
from quadnet.registry import Registry
from service.models.live_models import LiveModels
from service.rpc.policies.draining import Draining
from service.server.server import Server, make_policies
from service.settings import ServeSettings

async def main():
    settings = ServeSettings(registry=Path(sys.argv[1]), port=0)
    draining = Draining()
    server = Server(LiveModels(Registry(settings.registry), model="quadrants"), settings,
                    make_policies(settings, draining), draining)
    started = asyncio.Event()
    running = asyncio.create_task(server.run(started.set))
    await started.wait()
    await call(f"127.0.0.1:{{server.port}}")
    server.request_stop()
    await running

async def call(address):
{call}

asyncio.run(main())
"""
TRITON_CALL = """
    client = triton.InferenceServerClient(address)
    asked = triton.InferInput("x", [2, 2], "FP32")
    asked.set_data_from_numpy(np.array([[0.5, 0.5], [-0.3, 0.8]], np.float32))
    result = await client.infer("quadrants", [asked])
    print(result.as_numpy("label").tolist())
    await client.close()
"""
KSERVE_CALL = """
    client = kserve.InferenceGRPCClient(address)
    asked = kserve.InferInput("x", [2, 2], "FP64", [0.5, 0.5, -0.3, 0.8])
    request = kserve.InferRequest("quadrants", [asked])
    answer = await client.infer(request, timeout=10)
    print([bytes(value) for value in answer.outputs[1].data])
    await client.close()
"""
# mlserver has no client of its own: it depends on tritonclient.
MLSERVER_CALL = """
    channel = grpc.aio.insecure_channel(address)
    stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
    asked = dataplane_pb2.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP64", shape=[2, 2],
        contents=dataplane_pb2.InferTensorContents(fp64_contents=[0.5, 0.5, -0.3, 0.8]))
    answer = await stub.ModelInfer(
        dataplane_pb2.ModelInferRequest(model_name="quadrants", inputs=[asked]))
    print(list(answer.outputs[1].contents.bytes_contents))
    # mlserver's conversion to raw contents leaves an empty message of typed contents.
    raw = ModelInferRequestConverter.from_types(
        types.InferenceRequest(inputs=[types.RequestInput(
            name="x", datatype="FP64", shape=[2, 2], data=[0.5, 0.5, -0.3, 0.8])]),
        model_name="quadrants", use_raw=True)
    assert raw.raw_input_contents and raw.inputs[0].HasField("contents")
    answer = await stub.ModelInfer(raw)
    assert answer.raw_output_contents[1] == b"\\1\\0\\0\\0I\\2\\0\\0\\0II"
    described = await stub.ModelMetadata(dataplane_pb2.ModelMetadataRequest(name="digits"))
    assert described.inputs[0].shape == [-1, 64]
    await channel.close()
"""
PACKAGES = {
    "tritonclient[grpc]": ("import tritonclient.grpc.aio as triton", TRITON_CALL),
    "kserve": ("import kserve", KSERVE_CALL),
    "mlserver": (
        (
            "import mlserver, grpc\nfrom mlserver import types\n"
            "from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc\n"
            "from mlserver.grpc.converters import ModelInferRequestConverter"
        ),
        MLSERVER_CALL,
    ),
}


@pytest.fixture(scope="module", params=PACKAGES)
def shared_environment(request, tmp_path_factory):
    """Return a package and an environment with this project and that package."""
    folder = tmp_path_factory.mktemp("shared") / "environment"
    return request.param, make_environment(folder, f"{ROOT}[serve]", request.param)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_package_for_the_protocol_runs_in_the_servers_process(
    models, shared_environment, first
):
    package, programs = shared_environment
    imports, call = PACKAGES[package]
    ours = "import service.server.server"
    in_order = [ours, imports] if first == "ours" else [imports, ours]
    script = IN_ONE_PROCESS.format(imports="\n".join(in_order), call=call)
    printed = run(programs / "python", "-c", script, models[0].root)
    assert "[b'I', b'II']" in printed.splitlines()


def test_tritonclient_runs_in_the_servers_process_with_a_protobuf_that_it_excludes(
    models, triton, tmp_path
):
    """Installed without dependencies: it requires an older protobuf than this environment has."""
    install(triton, "--no-deps", "--target", tmp_path, "tritonclient", "python-rapidjson")
    imports, call = PACKAGES["tritonclient[grpc]"]
    script = IN_ONE_PROCESS.format(imports=f"import service.server.server\n{imports}", call=call)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    printed = run(sys.executable, "-c", script, models[0].root, env={"PYTHONPATH": path})
    assert "[b'I', b'II']" in printed.splitlines()
