"""The layer of CONTRIBUTING.md, added from outside: trained, published, served and exported."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from quadnet.nn.replay.library import describe
from service.client import QuadrantClient
from tests.project.test_documentation import blocks_of
from tests.support.serving import ServerProcess

ROOT = Path(__file__).parents[2]

RUN = """
name = "gains"


[data]
kind = "quadrants"
points = 4000

[network]
layers = [{kind = "gain", start = 0.5}, {kind = "dense", units = 8}, "tanh", {kind = "gain"}]
max_iter = 60
batch_size = 32
learning_rate_init = 0.01

[gate]
accuracy = 0.9
"""

# As CONTRIBUTING.md shows it.
START = "import gain; from quadnet.cli.main import main; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module of the page, and a registry with a version that it trained."""
    folder = tmp_path_factory.mktemp("outside")
    code = [block.text for block in blocks_of("CONTRIBUTING.md") if block.language == "python"]
    (folder / "gain.py").write_text("\n".join(code))
    (folder / "run.toml").write_text(RUN)
    quadnet(folder, "train", "run.toml", "--registry", "registry")
    return folder


def quadnet(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arrays_of(folder):
    """Return the version's arrays, read without the layer."""
    from safetensors.numpy import load_file

    return load_file(folder / "registry/models/gains/versions/000001/weights.safetensors")


def logits(folder, X):
    """Return what the layers compute, written out."""
    arrays = arrays_of(folder)
    hidden = np.tanh((X * arrays["factors.0"]) @ arrays["weights.1"] + arrays["biases.1"])
    return hidden * arrays["factors.2"] @ arrays["weights.3"] + arrays["biases.3"]


REPLAYED = """
import warnings
import numpy as np
from gain import Gain
from quadnet import NeuralNetworkClassifier
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(400, 5))
net = NeuralNetworkClassifier(
    layers=[Gain(), "relu"], input_shape=(5,), batch_size=4, max_iter=10
)
print(net.fit(X, X[:, 0] > 0).replay_)
"""


@pytest.mark.skipif(describe() != "compiled", reason="there is no compiled part")
def test_its_updates_are_replayed_from_c(folder):
    done = subprocess.run(
        [sys.executable, "-c", REPLAYED],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    replay = ast.literal_eval(done.stdout)
    assert replay["replayed"] > 900
    assert replay["refused"] == 0


def test_the_gradient_of_the_layer_trains_it(folder):
    assert (arrays_of(folder)["factors.0"] != 0.5).all()
    manifest = json.loads(
        (folder / "registry/models/gains/versions/000001/manifest.json").read_bytes()
    )
    kinds = [layer["kind"] for layer in manifest["architecture"]["layers"]]
    assert kinds == ["gain", "dense", "activation", "gain", "dense"]
    assert manifest["metrics"]["test"]["accuracy"] > 0.9


def test_the_version_is_served_and_described(folder):
    skip_python_and_module = "import sys; sys.argv = sys.argv[3:]; " + START
    with (
        ServerProcess(
            folder / "registry",
            *("--model", "gains"),
            before=[sys.executable, "-c", skip_python_and_module],
            env={"PYTHONPATH": str(folder)},
        ) as server,
        QuadrantClient(server.address) as client,
    ):
        X = np.random.default_rng(0).uniform(-1, 1, (50, 2))
        expected = logits(folder, X).argmax(axis=1)
        classes = np.array(sorted(["I", "II", "III", "IV"]))
        assert client.classify(X).quadrants.tolist() == classes[expected].tolist()
        layers = client.get_model().layers
        assert [layer.kind for layer in layers] == ["gain", "dense", "gain", "dense"]


def test_the_version_is_exported(folder):
    quadnet(folder, "models", "export", "gains", "gains.onnx", "--onnx", "--registry", "registry")
    X = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    Z = logits(folder, X)
    session = onnxruntime.InferenceSession(folder / "gains.onnx")
    P, _ = session.run(None, {"x": X})
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(P, E / E.sum(axis=1, keepdims=True), rtol=1e-9)


def test_a_program_without_the_layer_refuses_the_version_by_the_layers_kind(folder):
    done = subprocess.run(
        [sys.executable, "-m", "quadnet", "models", "verify", "gains", "--registry", "registry"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert "layers[0] is of the unknown kind 'gain'; this release has dense, activation" in said
    assert "Traceback" not in said
