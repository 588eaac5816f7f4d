"""An exported version in onnxruntime, which shares no code with Quadnet."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

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
from quadnet.layers import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LayerNorm,
    MaxPool2D,
    Residual,
)
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.kinds import LAYER_KINDS
from quadnet.nn.layers.layer import Layer
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.onnx_export import layer_operators
from quadnet.registry import Registry
from quadnet.tables.column_settings import CategorySettings, NumberSettings
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import TableEncoder, fit_encoder
from tests.golden import make as golden
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


CONVOLUTIONS = [
    [Conv2D(3, kernel, stride, padding, bias=bias), Flatten()]
    for kernel, stride, padding, bias in itertools.product(
        [1, 2, 3, (1, 4), (6, 5)], [1, 2, (3, 1)], ["valid", "same"], [True, False]
    )
]
POOLS = [
    [kind(size, stride), Flatten()]
    for kind, size, stride in itertools.product(
        [MaxPool2D, AveragePool2D], [1, 2, 3, (1, 2), (6, 5)], [None, 1, 2, (2, 1)]
    )
]
STACKS = [
    *CONVOLUTIONS,
    *POOLS,
    [GlobalAveragePool2D()],
    [Flatten()],
    [Flatten(), Flatten(), Dense(4)],
    [BatchNorm(epsilon=0.01), Flatten()],
    [Flatten(), Dense(5, bias=False), BatchNorm(), Activation("relu")],
    [LayerNorm(), Flatten()],
    [Flatten(), Dense(5), LayerNorm(epsilon=0.1), Activation("gelu")],
    [Residual([Activation("tanh")]), GlobalAveragePool2D()],
    [Residual([Conv2D(2, 3, padding="same"), Dropout(0.3), "elu", Conv2D(2, 1)]), Flatten()],
    [Conv2D(2, 1), Residual([BatchNorm(), Residual([LayerNorm(), "silu"])]), Flatten(), Dense(3)],
    [Flatten(), Residual([Dense(60, bias=False), "softplus"]), Dense(3)],
    [Flatten(), Ensemble([Dense(4), "tanh", Dense(3)], 2, "softmax_cross_entropy")],
    [Ensemble([Conv2D(2, 3), Flatten(), Dense(4)], 3, "sigmoid_cross_entropy")],
    [Flatten(), Ensemble([Dense(2)], 3, "multilabel_squared_error")],
    [Flatten(), Ensemble([Dense(1)], 2, "sigmoid_squared_error")],
    [Conv2D(4, 3, padding="same"), BatchNorm(), Activation("relu"), MaxPool2D(2), Conv2D(3, 2),
     Activation("leaky_relu"), AveragePool2D((2, 1)), Flatten(), Dense(6), Activation("logistic")],
]  # fmt: skip


def published_stack(registry, layers, shape=(2, 6, 5), dtype="float64"):
    """Publish a network of these layers, with random values in every array."""
    network = Network([*layers, Dense(3)], shape, loss="softmax_cross_entropy", dtype=dtype)
    rng = np.random.RandomState(1)
    for name, array in network.parameters.named():
        # Small logits, so that rounding makes no large differences in float32.
        array[...] = rng.normal(size=array.shape) / 3
        if "variance" in name:
            array[...] = np.abs(array) + 0.1
    predictor = Predictor(network, ["class 0", "class 1", "class 2"])
    X = rng.normal(size=(200, network.n_features))
    return registry.publish("stack", predictor, record(predictor, network.n_features), X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", STACKS, ids=lambda layers: " ".join(map(repr, layers)))
def test_every_kind_of_layer_gives_the_same_answers(registry, layers, dtype):
    model = published_stack(registry, layers, dtype=dtype)
    content = onnx_export.to_onnx(model)
    check_answers(content, model)
    X = model.selftest_inputs
    P, labels = run_onnxruntime(content, X)
    assert P.dtype == dtype
    expected = model.predictor.probabilities(X)
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)
    certain = np.ptp(np.sort(expected, axis=1)[:, -2:], axis=1) > 1e-4
    assert (labels == model.predictor.predict(X))[certain].all()
    assert certain.sum() > 100
    for rows in (0, 1):
        P, labels = run_onnxruntime(content, X[:rows])
        assert (P.shape, labels.shape) == ((rows, 3), (rows,))


def test_every_kind_of_layer_is_in_these_tests():
    inner = [layer for layers in STACKS for each in layers if isinstance(each, (Ensemble, Residual))
             for layer in each.layers]  # fmt: skip
    kinds = {layer.kind for layer in (*itertools.chain(*STACKS), *inner)}
    assert kinds == LAYER_KINDS.keys()
    assert kinds - {Dropout.kind} == layer_operators.LAYER_OPERATORS.keys()


@dataclass(frozen=True)
class Double(Layer):
    """A layer from outside of the package."""

    kind: ClassVar[str] = "double"

    def output_shape(self, input_shape):
        return input_shape

    def apply(self, arrays, A):
        return 2 * A

    def make_step(self, context):
        raise AssertionError("This layer is never trained.")


def test_a_kind_without_operators_is_named_with_what_to_do(registry, tmp_path, monkeypatch):
    monkeypatch.setitem(LAYER_KINDS, "double", Double)
    inside = [Flatten(), Residual([Double()])]
    for layers, place in (([Flatten(), Double()], "[1]"), (inside, "[1].layers[0]")):
        model = published_stack(registry, layers)
        with pytest.raises(Unsupported) as caught:
            export_onnx(model, tmp_path / "double.onnx")
        assert str(caught.value).startswith(
            f"stack version {model.manifest.version} was not exported: layers{place} is of the "
            "kind 'double', for which no ONNX operators are known. Known kinds are dense, "
        )
        assert (
            "Add a function for 'double' to quadnet.onnx_export.layer_operators.LAYER_OPERATORS"
            in (str(caught.value))
        )
        assert not (tmp_path / "double.onnx").exists()
    # As the message advises.
    monkeypatch.setitem(
        layer_operators.LAYER_OPERATORS,
        "double",
        lambda graph, _, values: graph.add("Mul", values, 2.0),
    )
    export_onnx(model, tmp_path / "double.onnx")
    P, _ = run_onnxruntime((tmp_path / "double.onnx").read_bytes(), model.selftest_inputs)
    expected = model.predictor.probabilities(model.selftest_inputs)
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-12)


def test_a_version_of_format_1_gives_the_same_graph_as_ever():
    """The nodes and constants of a dense network, as releases before format 2 wrote them."""
    model = Registry(golden.HERE / "1").load("yes-or-no", 1)
    graph = onnx.load_from_string(onnx_export.to_onnx(model)).graph
    assert [(node.op_type, *node.input) for node in graph.node] == [
        ("Gemm", "x", "weights.0"),
        ("Relu", "gemm_0"),
        ("Gemm", "relu_1", "weights.1"),
        ("Neg", "gemm_2"),
        ("Concat", "neg_3", "gemm_2"),
        ("Neg", "concat_4"),
        ("Min", "neg_5", "number_88.0"),
        ("Exp", "min_6"),
        ("Add", "exp_7", "number_1.0"),
        ("Div", "number_1.0", "add_8"),
        ("Identity", "div_9"),
        ("ArgMax", "concat_4"),
        ("Gather", "classes", "argmax_11"),
    ]
    names = ["weights.0", "weights.1", "number_88.0", "number_1.0", "classes"]
    assert [constant.name for constant in graph.initializer] == names


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


def published_table(registry, *, regression=False):
    """Publish a network of random weights with an encoder, and return the version and a table."""
    table = {
        "size": np.array([1.0, np.nan, 3.0, 4.5]),
        "city": Texts.from_values(["Oslo", "Rome", "Oslo", None]),
        "since": np.array(["1969-12-31T23:59", "2000-02-29", "NaT", "2024-03-01"], "M8[us]"),
    }
    encoder = fit_encoder(table, {"size": NumberSettings(n_pieces=3), "city": CategorySettings(2)})
    loss = "squared_error" if regression else "softmax_cross_entropy"
    sizes = [encoder.n_outputs, 4, 1 if regression else 3]
    network = Network.dense(sizes, activations=["tanh"], loss=loss)
    network.parameters.flat[:] = np.random.RandomState(1).normal(size=network.parameters.flat.size)
    predictor = (
        RegressionPredictor(network, None) if regression else Predictor(network, list("abc"))
    )
    made = record(predictor, encoder.n_outputs).model_copy(update={"encoder": encoder})
    return registry.publish("tables", predictor, made, encoder.transform(table)), table


@pytest.mark.parametrize("regression", [False, True])
def test_a_version_with_an_encoder_takes_the_columns_of_a_table(registry, tmp_path, regression):
    model, table = published_table(registry, regression=regression)
    export_onnx(model, tmp_path / "tables.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "tables.onnx")
    texts = np.array(["Oslo", "Rome", "Oslo", ""])
    columns = {"size": table["size"], "city": texts, "since": table["since"].astype(np.int64)}
    feed = {name: column.reshape(-1, 1) for name, column in columns.items()}
    (found,) = session.run(["value" if regression else "probabilities"], feed)
    X = model.encoder.transform(table)
    expected = model.predictor.predict(X) if regression else model.classifier.probabilities(X)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    metadata = session.get_modelmeta().custom_metadata_map
    assert [each["column"] for each in json.loads(metadata["columns"])] == list(table)
    assert "features" not in metadata


@pytest.mark.parametrize("regression", [False, True])
def test_a_file_that_encodes_otherwise_is_refused(registry, regression):
    model, _ = published_table(registry, regression=regression)
    specs = model.encoder.to_specs()
    specs[0]["centre"] += 0.5
    other = model.manifest.model_copy(update={"encoder": TableEncoder.from_specs(specs)})
    content = onnx_export.to_onnx(dataclasses.replace(model, manifest=other))
    with pytest.raises(Unsupported, match=r"the file failed row \d+ of an example table: .*differ"):
        check_answers(content, model)


def test_a_file_that_answers_otherwise_is_not_written(registry, tmp_path, monkeypatch):
    model = published(registry, "softmax_cross_entropy", 3, hidden=(4,))
    monkeypatch.setitem(layer_operators.ACTIVATIONS, "tanh", layer_operators.ACTIVATIONS["relu"])
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
