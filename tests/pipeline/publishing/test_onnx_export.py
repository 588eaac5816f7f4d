"""An exported version in onnxruntime, which shares no code with Quadnet."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from pipeline.commands.model_settings import ExportSettings
from pipeline.publishing import onnx_export
from pipeline.publishing.onnx_export import check_answers, export_onnx
from quadnet import __version__
from quadnet.cli import parser
from quadnet.errors import FileUnusable, OutputExists, Unsupported
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from tests.support.environments import installation
from tests.support.exact_models import publish, record

# The output layers that a manifest allows: a loss and a number of classes. Those with a single
# class are last, because they do not depend on the activation.
OUTPUTS = [
    ("softmax_cross_entropy", 3),
    ("sigmoid_cross_entropy", 2),
    ("sigmoid_cross_entropy", 4),
    ("sigmoid_squared_error", 2),
    ("sigmoid_squared_error", 3),
    ("softmax_cross_entropy", 1),
    ("sigmoid_squared_error", 1),
]
HOSTILE = ["", "I, II", 'say "I"', "l'été\n", "象限", "🙂", "\\", "a\0b", "I"]

ROWS = np.random.RandomState(0).normal(size=(10_000, 3))
SCALES = [1.0, 1e3, 1e6, 1e30]


def published(
    registry, loss, n_classes, *, hidden=(), activation="tanh", dtype="float64", bias=True
):
    """Publish a network of random weights, and return it as a reader sees it."""
    n_outputs = 1 if n_classes <= 2 else n_classes
    network = Network.dense(
        [3, *hidden, n_outputs],
        activations=[activation] * len(hidden),
        loss=loss,
        bias=bias,
        dtype=dtype,
    )
    rng = np.random.RandomState(1)
    for W, b in zip(network.parameters.weights, network.parameters.biases, strict=True):
        W[:] = rng.normal(scale=2 / np.sqrt(len(W)), size=W.shape)
        if bias:
            b[:] = rng.normal(size=b.shape)
    predictor = Predictor(network, [f"class {i}" for i in range(n_classes)])
    return registry.publish("random", predictor, record(predictor, 3), ROWS[:20])


def run_onnxruntime(content, X):
    """Return the probabilities and labels that onnxruntime gives, in one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options)
    return session.run(["probabilities", "label"], {"x": X})


def check_same_answers(model):
    """Compare onnxruntime's predictions with Quadnet's, from ordinary rows to far saturation."""
    predictor, content = model.predictor, onnx_export.to_onnx(model)
    check_answers(content, model)
    X = np.vstack([scale * ROWS[: 10_000 if scale == 1 else 1_000] for scale in SCALES])
    X = X.astype(predictor.dtype)
    P, labels = run_onnxruntime(content, X)
    expected = predictor.probabilities(X)
    assert P.dtype == predictor.dtype
    off = np.abs(P - expected).max(axis=1)
    assert off[:10_000].max() <= 1e-6
    if len(predictor.classes) == 1:
        assert off.max() == 0
        assert set(labels) == {"class 0"}
        return
    # There a sum's products are added in another order, so that logits differ in their last digits.
    # Large ones make a difference: as much as if ours were off by that.
    Z = predictor.network.logits(X)
    rounding = 16 * np.finfo(X.dtype).eps * np.maximum(1, np.abs(Z).max(axis=1))
    allowed = np.full(len(X), 1e-6)
    for k, sign in itertools.product(range(Z.shape[1]), (-1, 1)):
        other = Z.copy()
        other[:, k] += sign * rounding
        change = np.abs(predictor.network.loss.probabilities(other.T).T - expected).max(axis=1)
        np.maximum(allowed, 2 * change, out=allowed)
    assert (off <= allowed).all()
    ordered = np.sort(np.hstack([-Z, Z]) if Z.shape[1] == 1 else Z, axis=1)
    certain = ordered[:, -1] - ordered[:, -2] > rounding
    assert (labels == predictor.predict(X))[certain].all()


@pytest.mark.parametrize(("loss", "n_classes"), OUTPUTS[:-2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_gives_the_same_answers(registry, activation, loss, n_classes):
    for hidden, dtype, bias in itertools.product(
        [(5,), (6, 5)], ["float32", "float64"], [True, False]
    ):
        check_same_answers(
            published(
                registry,
                loss,
                n_classes,
                hidden=hidden,
                activation=activation,
                dtype=dtype,
                bias=bias,
            )
        )


@pytest.mark.parametrize(("loss", "n_classes"), OUTPUTS)
def test_a_network_without_hidden_layers_does_too(registry, loss, n_classes):
    for dtype, bias in itertools.product(["float32", "float64"], [True, False]):
        check_same_answers(published(registry, loss, n_classes, dtype=dtype, bias=bias))


def test_a_link_stays_one_and_its_file_is_written(registry, tmp_path):
    model = publish(registry)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    link = tmp_path / "q.onnx"
    link.symlink_to(elsewhere / "real.onnx")
    for overwrite in (False, True):
        export_onnx(model, link, overwrite=overwrite)
        assert link.is_symlink()
        assert (elsewhere / "real.onnx").stat().st_size > 500
        assert [path.name for path in elsewhere.iterdir()] == ["real.onnx"]


def test_equal_logits_go_to_the_earlier_class(registry):
    model = publish(registry)
    X = np.array([[0.0, 0.0], [0.0, 0.5], [0.0, -0.5], [-0.5, 0.0]])
    _, labels = run_onnxruntime(onnx_export.to_onnx(model), X)
    assert labels.tolist() == model.predictor.predict(X).tolist() == ["I", "I", "III", "II"]
    binary = published(registry, "sigmoid_cross_entropy", 2, bias=False)
    _, labels = run_onnxruntime(onnx_export.to_onnx(binary), np.zeros((1, 3)))
    assert labels.tolist() == ["class 0"]


def test_the_label_is_of_the_logits_where_probabilities_are_all_the_same(registry):
    network = Network.dense([1, 3], activations=[], loss="sigmoid_cross_entropy")
    network.parameters.weights[0][:] = [[100.0, 300.0, 200.0]]
    predictor = Predictor(network, ["a", "b", "c"])
    X = np.array([[1.0], [-9.0]])
    model = registry.publish("saturated", predictor, record(predictor, 1), X)
    P, labels = run_onnxruntime(onnx_export.to_onnx(model), X)
    assert np.ptp(P, axis=1).tolist() == [0.0, 0.0]
    assert labels.tolist() == predictor.predict(X).tolist() == ["b", "a"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_units_far_below_zero_are_as_in_the_network(registry, activation, dtype):
    # A unit of exactly 0 leaves the logits equal; a small one does not.
    network = Network.dense(
        [1, 2, 3], activations=[activation], loss="softmax_cross_entropy", bias=False, dtype=dtype
    )
    network.parameters.weights[0][:] = [[1.0, 2.0]]
    network.parameters.weights[1][:] = [[1.0, 0.0, 2.0], [2.0, 0.0, 4.0]]
    predictor = Predictor(network, ["a", "b", "c"])
    X = np.array([[-1.0], [-40.0], [-600.0], [-1e30]], dtype)
    model = registry.publish("far", predictor, record(predictor, 1), X)
    P, labels = run_onnxruntime(onnx_export.to_onnx(model), X)
    np.testing.assert_allclose(P, predictor.probabilities(X), rtol=0, atol=1e-6)
    # For the last row onnxruntime 1.20 computes exp as 2e-308 and not as 0.
    assert labels[:3].tolist() == predictor.predict(X[:3]).tolist()


def test_small_probabilities_keep_their_digits(registry):
    model = published(registry, "sigmoid_cross_entropy", 2)
    X = ROWS * 100
    P, _ = run_onnxruntime(onnx_export.to_onnx(model), X)
    assert P.min() < 1e-200
    np.testing.assert_allclose(P, model.predictor.probabilities(X), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "n_classes"), OUTPUTS)
def test_no_rows_give_no_answers(registry, loss, n_classes, dtype):
    model = published(registry, loss, n_classes, hidden=(4,), dtype=dtype)
    P, labels = run_onnxruntime(onnx_export.to_onnx(model), np.zeros((0, 3), dtype))
    assert (P.shape, P.dtype, labels.shape) == ((0, n_classes), dtype, (0,))


@pytest.fixture
def hostile(registry):
    """Return a version with class names that often break software."""
    n = len(HOSTILE)
    network = Network.dense([n, n], activations=[], loss="softmax_cross_entropy")
    network.parameters.weights[0][:] = np.eye(n)
    predictor = Predictor(network, HOSTILE)
    plain = record(predictor, 1)
    (feature,) = plain.signature.features
    features = [feature.model_copy(update={"name": name}) for name in HOSTILE]
    signature = plain.signature.model_copy(update={"features": features})
    hostile = plain.model_copy(update={"signature": signature})
    return registry.publish("hostile", predictor, hostile, np.eye(n))


def test_any_name_can_be_a_label(hostile):
    X = hostile.selftest_inputs
    _, labels = run_onnxruntime(onnx_export.to_onnx(hostile), X)
    assert labels.tolist() == hostile.predictor.predict(X).tolist() == HOSTILE


def test_names_and_origin_are_in_the_metadata(hostile, tmp_path):
    path = tmp_path / "hostile.onnx"
    export_onnx(hostile, path)
    document = onnx.load(path)
    assert (document.producer_name, document.producer_version) == ("quadnet", __version__)
    assert document.model_version == 1
    assert document.doc_string.startswith("hostile version 1: from x,")
    found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(found.pop("classes")) == HOSTILE
    assert json.loads(found.pop("features")) == HOSTILE
    assert found == {
        "model": "hostile",
        "version": "1",
        "manifest_sha256": hostile.digest,
        "created": hostile.manifest.created.isoformat(),
        "quadnet": hostile.manifest.lineage.quadnet,
    }


def test_a_version_always_gives_the_same_bytes(registry, tmp_path):
    publish(registry)
    for name in ("one.onnx", "two.onnx"):
        export_onnx(registry.load("quadrants", 1), tmp_path / name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_a_file_that_answers_otherwise_is_not_written(registry, tmp_path, monkeypatch):
    model = published(registry, "softmax_cross_entropy", 3, hidden=(4,))
    monkeypatch.setitem(onnx_export._ACTIVATIONS, "tanh", onnx_export._ACTIVATIONS["relu"])
    with pytest.raises(
        Unsupported, match=r"random version 1 was not exported, because the file failed row 0 of"
    ):
        export_onnx(model, tmp_path / "wrong.onnx")
    assert list(tmp_path.glob("*.onnx")) == []


def test_right_probabilities_with_wrong_labels_are_refused(registry):
    model = publish(registry)
    renamed = Predictor(model.predictor.network, ["I", "II", "III", "5"])
    content = onnx_export.to_onnx(dataclasses.replace(model, predictor=renamed))
    with pytest.raises(Unsupported, match=r"row 3 of the self-test: expected 'IV', got '5'"):
        check_answers(content, model)


def test_an_existing_file_is_replaced_only_with_overwrite(registry, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    model = publish(registry)
    with pytest.raises(OutputExists, match=r"model\.onnx exists already\.$"):
        export_onnx(model, path)
    assert path.read_text() == "mine"
    export_onnx(model, path, overwrite=True)
    assert path.read_bytes() == onnx_export.to_onnx(model)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/model.onnx", "No such file or directory"),
        ("file/model.onnx", "Not a directory"),
        ("folder.onnx", "Is a directory"),
        (f"{'n' * 300}.onnx", "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_reported(registry, tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FileUnusable, match=f"onnx cannot be written: {reason}"):
        export_onnx(publish(registry), tmp_path / name, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.onnx", "registry"]


def test_a_full_disk_leaves_nothing(registry, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    model = publish(registry)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FileUnusable, match=r"model\.onnx cannot be written: fsync: No space"):
        export_onnx(model, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["registry"]


def test_without_the_library_the_error_names_the_extra():
    code = "import sys; sys.modules['onnx'] = None\nimport pipeline.publishing.onnx_export"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("quadnet.errors.MissingExtra: Writing an ONNX file needs packages")
    assert last.endswith(installation("onnx"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a model and a file, as in quadrants:champion quadrants.onnx"),
        (["quadrants", "--onnx"], "expected a model and a file, as in quadrants:champion"),
        (["quadrants", "q.onnx"], "expected a format: add --onnx, the only one"),
        (["quadrants", "q.pb", "--onnx"], "FILE: expected a name that ends in .onnx, got 'q.pb'"),
    ],
)
def test_wrong_usage_is_one_sentence(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse(ExportSettings, "quadnet models export", words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_words_become_settings():
    words = ["quadrants:7", "q.onnx", "--onnx", "--overwrite"]
    settings = parser.parse(ExportSettings, "quadnet models export", words)
    assert (settings.model, str(settings.file), settings.overwrite) == (
        "quadrants:7",
        "q.onnx",
        True,
    )
