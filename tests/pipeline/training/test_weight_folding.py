"""Layers and scalers that are folded into their neighbours compute what they did before."""

import itertools

import numpy as np
import pytest
from numpy.random import RandomState

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.targets import ClassTarget
from pipeline.training import weight_folding
from pipeline.training.candidate_training import fit_network
from quadnet import NeuralNetworkClassifier
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
from quadnet.nn.layer_trace import trace_layers
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import version_files
from tests.support.exact_models import record

PICTURE = (2, 6, 5)
SAME = {"padding": "same"}

# Layers of a stack, and the kinds that are published. The output layer is added.
STACKS = [
    # Directly before.
    ([Conv2D(3, 2), BatchNorm(), "relu", Flatten()], "conv2d activation flatten dense"),
    ([Conv2D(3, 3, **SAME, bias=False), BatchNorm(), Flatten()], "conv2d flatten dense"),
    ([Conv2D(3, 3, 2, "same"), BatchNorm(0.5, 0.01), BatchNorm(), Flatten()],
     "conv2d flatten dense"),
    ([Flatten(), Dense(4, bias=False), BatchNorm(), "tanh"], "flatten dense activation dense"),
    ([Flatten(), Dense(4), Dropout(0.5), BatchNorm(), Dropout(0.2)], "flatten dense dense"),
    # Directly after.
    ([BatchNorm(), Conv2D(3, 2), Flatten()], "conv2d flatten dense"),
    ([BatchNorm(), BatchNorm(), Conv2D(3, 1, **SAME, bias=False), Flatten()],
     "conv2d flatten dense"),
    ([BatchNorm(), Flatten(), Dense(3, bias=False)], "flatten dense dense"),
    ([Flatten(), BatchNorm(), Dropout(0.5), Dense(3)], "flatten dense dense"),
    ([Conv2D(3, 2), "relu", BatchNorm(), Conv2D(2, 2, 2), Flatten()],
     "conv2d activation conv2d flatten dense"),
    ([Conv2D(3, 2), "relu", BatchNorm(), Flatten()], "conv2d activation flatten dense"),
    ([Conv2D(3, 2), MaxPool2D(2), GlobalAveragePool2D(), BatchNorm()],
     "conv2d max_pool2d global_average_pool2d dense"),
    # Inside of another layer.
    ([Residual([Conv2D(4, 3, **SAME), BatchNorm(), "relu", Dropout(0.5), Conv2D(2, 1, **SAME),
                BatchNorm()]), Flatten()], "residual(conv2d activation conv2d) flatten dense"),
    ([Residual([BatchNorm(), "relu", Residual([BatchNorm(), Conv2D(2, 1)])]), Flatten()],
     "residual(batch_norm activation residual(conv2d)) flatten dense"),
    ([Residual([Dropout(0.5)]), Flatten()], "residual(activation) flatten dense"),
    # No neighbour absorbs it exactly: zeros at the border, other kinds, a sum.
    ([BatchNorm(), Conv2D(3, 3, **SAME), Flatten()], "batch_norm conv2d flatten dense"),
    ([BatchNorm(), MaxPool2D(2), Flatten()], "batch_norm max_pool2d flatten dense"),
    ([BatchNorm(), Residual([Conv2D(2, 1), "tanh"]), Flatten()],
     "batch_norm residual(conv2d activation) flatten dense"),
    ([Conv2D(3, 2), "relu", BatchNorm(), AveragePool2D(2), "relu", Flatten()],
     "conv2d activation batch_norm average_pool2d activation flatten dense"),
    ([LayerNorm(), BatchNorm(), LayerNorm(), Flatten()],
     "layer_norm batch_norm layer_norm flatten dense"),
]  # fmt: skip


def make_predictor(layers, shape=PICTURE, dtype="float64", n_outputs=3, scale_step=None):
    """Return a predictor with random values in every array; every so many scales are 0."""
    made = [Activation(each) if isinstance(each, str) else each for each in layers]
    network = Network([*made, Dense(n_outputs)], shape, loss="softmax_cross_entropy", dtype=dtype)
    rng = RandomState(1)
    for name, array in network.parameters.named():
        array[...] = rng.normal(size=array.shape)
        if "variance" in name:
            array[...] = rng.uniform(0.1, 3.0, array.shape)
        if "scale" in name and scale_step is not None:
            array[::scale_step] = 0.0
    return Predictor(network, list("abc")[:n_outputs])


def describe(layers):
    """Return the kinds of layers, and those inside of each."""
    return " ".join(
        layer.kind + (f"({describe(layer.layers)})" if hasattr(layer, "layers") else "")
        for layer in layers
    )


def rows(shape, n=50):
    return RandomState(2).normal(size=(n, int(np.prod(shape))))


@pytest.mark.parametrize(("layers", "published"), STACKS, ids=lambda value: str(value)[:60])
def test_batch_normalization_is_folded_into_its_neighbours(layers, published):
    predictor = make_predictor(layers)
    folded = weight_folding.fold_normalization(predictor)
    assert describe(folded.network.layers) == published
    X = rows(PICTURE)
    expected = predictor.network.logits(X)
    assert np.abs(expected).max() > 0.1
    scale = np.abs(expected).max()
    np.testing.assert_allclose(folded.network.logits(X), expected, rtol=0, atol=1e-12 * scale)
    # What was folded has nothing left to fold, and the predictor was not changed.
    again = weight_folding.fold_normalization(folded)
    assert describe(again.network.layers) == published
    np.testing.assert_array_equal(predictor.network.logits(X), expected)


def test_a_unit_that_batch_normalization_scales_by_0_stays_0():
    layers = [Flatten(), BatchNorm(), BatchNorm(), Activation("relu"), Dense(4), BatchNorm()]
    predictor = make_predictor(layers, scale_step=2)
    folded = weight_folding.fold_normalization(predictor)
    X = rows(PICTURE)
    np.testing.assert_allclose(
        folded.network.logits(X), predictor.network.logits(X), rtol=0, atol=1e-11
    )


def test_without_batch_normalization_not_a_bit_changes():
    for dtype in ("float32", "float64"):
        predictor = make_predictor([Conv2D(3, 3, padding="same"), "relu", Flatten()], dtype=dtype)
        folded = weight_folding.fold_normalization(predictor)
        assert folded.dtype == dtype
        for name, array in folded.network.parameters.named():
            np.testing.assert_array_equal(array, dict(predictor.network.parameters.named())[name])


# First layers, and whether a layer for the scaler is put first.
SCALED = [
    ([Conv2D(3, 3), "relu", Flatten()], False),
    ([Conv2D(3, 2, 2, bias=False), Flatten()], False),
    ([Conv2D(3, 1, padding="same"), Flatten()], False),
    ([Conv2D(3, 3, padding="same"), Flatten()], True),
    ([Flatten(), Dense(4, bias=False), "tanh"], False),
    ([Flatten()], False),
    ([MaxPool2D(2), Flatten()], True),
    ([LayerNorm(), Flatten()], True),
    ([Residual([Conv2D(2, 1)]), Flatten()], True),
    ([Activation("tanh"), Flatten()], True),
    ([BatchNorm(), Conv2D(3, 3, padding="same"), Flatten()], False),
    ([BatchNorm(), Conv2D(3, 3), Flatten()], False),
]


@pytest.mark.parametrize(("layers", "inserted"), SCALED, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scaler_of_pictures_is_folded_into_the_first_layer(layers, inserted, dtype):
    X = rows(PICTURE, 80) * np.repeat([3.0, 0.01], 30) + np.repeat([-7.0, 0.2], 30)
    scaler = weight_folding.fit_scaler(X, PICTURE)
    # One mean and one deviation for all values of a channel.
    channels = X.reshape(80, 2, -1)
    np.testing.assert_allclose(scaler.mean_, np.repeat(channels.mean(axis=(0, 2)), 30))
    np.testing.assert_allclose(scaler.scale_, np.repeat(channels.std(axis=(0, 2)), 30))
    predictor = make_predictor(layers, dtype=dtype)
    folded = weight_folding.fold_scaler(predictor, scaler.mean_, scaler.scale_)
    assert folded.dtype == dtype
    first = [BatchNorm.kind] if inserted else []
    kinds = [layer.kind for layer in predictor.network.layers]
    assert [layer.kind for layer in folded.network.layers] == first + kinds
    expected = predictor.network.logits(scaler.transform(X).astype(dtype))
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(
        folded.network.logits(X.astype(dtype)), expected,
        rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()),
    )  # fmt: skip
    cooled = weight_folding.fold_temperature(folded, 2.5)
    np.testing.assert_allclose(
        cooled.network.logits(X.astype(dtype)), folded.network.logits(X.astype(dtype)) / 2.5,
        rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()),
    )  # fmt: skip


@pytest.mark.parametrize(
    "layers",
    [[Dense(4, bias=False), "relu"], [], [BatchNorm(), "tanh"], [Activation("tanh")],
     [LayerNorm(), Dense(3)], [Residual([Dense(5), "relu"])], [Flatten(), BatchNorm(), Dense(3)]],
    ids=str,
)  # fmt: skip
def test_a_scaler_of_columns_is_folded_into_any_first_layer(layers):
    X = rows((5,)) * [1.0, 20.0, 0.001, 1.0, 3.0] + [0.0, 1e3, 1.0, -1.0, 2.0]
    X[:, 3] = 4.0
    for shape in (None, (5,)):
        scaler = weight_folding.fit_scaler(X, shape)
        assert scaler.scale_[3] == 1.0
        predictor = make_predictor(layers, shape=(5,))
        folded = weight_folding.fold_scaler(predictor, scaler.mean_, scaler.scale_)
        expected = predictor.network.logits(scaler.transform(X))
        np.testing.assert_allclose(folded.network.logits(X), expected, rtol=0, atol=1e-9)


def test_a_scaler_that_differs_within_a_channel_is_folded_where_it_can_be():
    X = rows(PICTURE)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    dense = make_predictor([Flatten(), Dense(4), "relu"])
    folded = weight_folding.fold_scaler(dense, mean, scale)
    expected = dense.network.logits((X - mean) / scale)
    np.testing.assert_allclose(folded.network.logits(X), expected, rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match=r"The first layer, Conv2D\(3, 3\), cannot absorb a scaler "
                       "whose mean or scale differs within a channel"):  # fmt: skip
        weight_folding.fold_scaler(make_predictor([Conv2D(3, 3), Flatten()]), mean, scale)


def test_all_of_it_together_is_what_the_estimator_computes():
    layers = [Conv2D(3, 3), BatchNorm(), "relu", Residual([BatchNorm(), Conv2D(3, 1)]),
              MaxPool2D(2), Flatten(), BatchNorm(), Dense(4), Dropout(0.1)]  # fmt: skip
    X = rows(PICTURE) * 5 + 3
    scaler = weight_folding.fit_scaler(X, PICTURE)
    predictor = make_predictor(layers)
    steps = itertools.accumulate(
        [
            weight_folding.fold_normalization,
            lambda p: weight_folding.fold_scaler(p, scaler.mean_, scaler.scale_),
            lambda p: weight_folding.fold_temperature(p, 1.7),
        ],
        lambda p, step: step(p),
        initial=predictor,
    )
    *_, published = steps
    assert "batch_norm" not in describe(published.network.layers)
    expected = predictor.network.logits(scaler.transform(X)) / 1.7
    np.testing.assert_allclose(published.network.logits(X), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_published_version_answers_as_the_estimator_that_was_trained(registry, padding, dtype):
    rng = RandomState(0)
    y = rng.randint(2, size=300)
    # Pictures of a horizontal or a vertical line, in numbers far from 0.
    pictures = rng.normal(size=(300, 6, 5))
    pictures[y == 0, 3, :] += 4
    pictures[y == 1, :, 2] += 4
    train = Dataset(
        tuple(f"p{i}" for i in range(30)), 50 + 20 * pictures.reshape(300, 30),
        ClassTarget.from_labels(np.array(["across", "down"])[y]),
    )  # fmt: skip
    layers = [Conv2D(4, 3, padding=padding), BatchNorm(), "relu", MaxPool2D(2), Flatten(),
              Dense(6), BatchNorm(), "relu"]  # fmt: skip
    estimator = NeuralNetworkClassifier(
        layers=layers,
        input_shape=(6, 5),
        solver="adam",
        max_iter=15,
        random_state=0,
        batch_size=50,
        learning_rate_init=0.02,
    )
    config = RunConfig.model_validate({
        "name": "lines", "data": {"kind": "quadrants", "points": 100}, "gate": {"accuracy": 0.5},
        "scale": True, "calibrate": True, "validation": 0.1, "dtype": dtype,
    })  # fmt: skip
    found = fit_network(estimator, train, train, config)
    assert found.predictor.dtype == dtype
    mean, scale = (found.scaler[name] for name in version_files.SCALER)
    assert (np.ptp(mean), np.ptp(scale)) == (0.0, 0.0)
    assert 40 < mean[0] < 70
    assert 15 < scale[0] < 50
    published = registry.publish(
        "lines", found.predictor, record(found.predictor, 30), train.X[:20], scaler=found.scaler
    )
    # With zeros at the border, the scaler needs a layer of its own.
    kinds = [layer.kind for layer in published.predictor.network.layers]
    first = ["batch_norm"] * (padding == "same")
    assert kinds == [*first, "conv2d", "activation", "max_pool2d", "flatten", "dense", "activation",
                     "dense"]  # fmt: skip
    expected = estimator.predict_proba(((train.X - mean) / scale).astype(dtype))
    np.testing.assert_array_equal(
        published.predictor.predict(train.X), np.array(["across", "down"])[expected.argmax(axis=1)]
    )
    assert (published.predictor.predict(train.X) == train.y).mean() > 0.9
    # Without the temperature, the probabilities are the estimator's.
    warm = weight_folding.fold_temperature(found.predictor, 1 / found.temperature)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(warm.probabilities(train.X), expected, rtol=0, atol=tolerance)


def test_an_ensemble_is_published_as_one_version(registry):
    rng = RandomState(0)
    X = 50 + 20 * rng.normal(size=(200, 3))
    codes = (X[:, 0] > 50).astype(int) + (X[:, 1] > 60)
    train = Dataset(
        ("a", "b", "c"), X, ClassTarget.from_labels(np.array(["low", "middle", "top"])[codes])
    )
    estimator = NeuralNetworkClassifier(
        (5,), n_ensemble=3, label_smoothing=0.1, max_iter=20, random_state=0, dropout=0.1
    )
    config = RunConfig.model_validate({
        "name": "three", "data": {"kind": "quadrants", "points": 100}, "gate": {"accuracy": 0.5},
        "scale": True, "calibrate": True, "validation": 0.1, "dtype": "float64",
    })  # fmt: skip
    found = fit_network(estimator, train, train, config)
    mean, scale = (found.scaler[name] for name in version_files.SCALER)
    published = registry.publish(
        "three", found.predictor, record(found.predictor, 3), X[:20], scaler=found.scaler
    )
    assert describe(published.predictor.network.layers) == (
        "batch_norm ensemble(dense activation dense) dense"
    )
    assert str(published.predictor.network) == "3 - batch_norm - ensemble of 3 - dense"
    loaded = registry.load("three", 1).predictor
    np.testing.assert_array_equal(loaded.probabilities(X), found.predictor.probabilities(X))
    scaled = (X - mean) / scale
    expected = np.mean([each.predict_proba(scaled) for each in estimator.estimators_], axis=0)
    warm = weight_folding.fold_temperature(found.predictor, 1 / found.temperature)
    np.testing.assert_allclose(warm.probabilities(X), expected, rtol=0, atol=1e-12)
    *_, last = trace_layers(loaded.network, X[0])
    np.testing.assert_allclose(last.activations, loaded.probabilities(X[:1])[0], rtol=1e-12)
