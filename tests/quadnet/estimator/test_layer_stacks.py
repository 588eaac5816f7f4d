"""The estimator with stacks of layers, through its public methods."""

import json
import pickle
import warnings

import numpy as np
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils._param_validation import InvalidParameterError

from quadnet import NeuralNetworkClassifier
from quadnet.layers import (
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

X, y = load_digits(return_X_y=True)
X = X / 16.0
PICTURES = X.reshape(-1, 8, 8)
TRAIN, TEST = slice(0, 1300), slice(1300, None)

STACK = [
    Conv2D(8, 3, padding="same", bias=False),
    BatchNorm(),
    "relu",
    Residual([Conv2D(8, 3, padding="same"), "relu"]),
    MaxPool2D(2),
    Flatten(),
    LayerNorm(),
    Dense(32),
    "tanh",
    Dropout(0.1),
]


def make_net(layers=STACK, **options):
    options = {"input_shape": (8, 8), "random_state": 0, "max_iter": 3, "tol": 0.0} | options
    return NeuralNetworkClassifier(
        layers=layers, **{"batch_size": 32, "learning_rate_init": 0.01} | options
    )


def fit_quietly(net, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three epochs do not converge
        return net.fit(*args, **options)


@pytest.fixture(scope="module")
def fitted():
    return fit_quietly(make_net(), PICTURES[TRAIN], y[TRAIN])


def test_a_convolution_learns_digits(fitted):
    assert fitted.score(PICTURES[TEST], y[TEST]) > 0.9
    assert fitted.n_features_in_ == 64
    assert fitted.n_layers_ == 9
    assert [values.shape for values in fitted.activations(X[:2])] == [
        *[(2, 8, 8, 8)] * 3,
        (2, 8, 4, 4),
        *[(2, 128)] * 2,
        (2, 32),
        (2, 10),
    ]


@pytest.mark.parametrize("as_rows", [lambda rows: rows, csr_array, np.ndarray.tolist])
def test_rows_pictures_and_sparse_rows_are_the_same_input(fitted, as_rows):
    other = fit_quietly(make_net(), as_rows(X[TRAIN]), y[TRAIN])
    P = fitted.predict_proba(PICTURES[:50])
    np.testing.assert_array_equal(other.predict_proba(as_rows(X[:50])), P)
    np.testing.assert_allclose(other.predict_proba(as_rows(X[:1])), P[:1], rtol=1e-9)


def test_float32_is_trained_and_answered_in_float32():
    rows = X.astype(np.float32)
    net = fit_quietly(make_net(), rows[TRAIN], y[TRAIN])
    assert net.predict_proba(rows[:5]).dtype == np.float32
    assert net.score(rows[TEST], y[TEST]) > 0.9


@pytest.mark.parametrize(
    "restore",
    [
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: NeuralNetworkClassifier.from_arrays(net.to_arrays()),
    ],
)
def test_a_stored_estimator_predicts_and_is_fitted_as_the_original(fitted, restore):
    other = restore(fitted)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert other.layers == fitted.layers
    again = fit_quietly(clone(other), X[TRAIN], y[TRAIN])
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_frozen_network_has_no_dropout_and_predicts_the_same(fitted):
    frozen = fitted.freeze()
    np.testing.assert_array_equal(frozen.probabilities(X), fitted.predict_proba(X))
    assert "Dropout" not in repr(frozen.network.layers)
    assert str(frozen).startswith("Predictor(1x8x8 - conv2d - batch_norm - relu - residual")
    with pytest.raises(ValueError, match="read-only"):
        frozen.network.parameters.arrays[0]["weights"][:] = 0.0


def test_gradients_of_the_whole_stack_are_right(fitted):
    assert fitted.check_gradients(X[:4], y[:4], sample_weight=[1.0, 2.0, 0.5, 1.0]) < 1e-5


def test_a_grid_varies_whole_stacks_in_a_pipeline():
    stacks = [[Flatten(), Dense(8), "relu"], [Conv2D(4, 3), "relu", GlobalAveragePool2D()]]
    pipeline = make_pipeline(MinMaxScaler(), make_net(max_iter=1))
    grid = GridSearchCV(pipeline, {"neuralnetworkclassifier__layers": stacks}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid.fit(X[:400], y[:400])
    assert grid.cv_results_["param_neuralnetworkclassifier__layers"].tolist() == stacks
    assert grid.best_params_["neuralnetworkclassifier__layers"] == stacks[0]


def test_a_second_fit_with_warm_start_continues_all_arrays(fitted):
    net = fit_quietly(make_net(max_iter=2, warm_start=True), X[TRAIN], y[TRAIN])
    mean = net.parameters_[1]["mean"].copy()
    loss = net.loss_
    fit_quietly(net, X[TRAIN], y[TRAIN])
    assert net.loss_ < loss
    assert (net.parameters_[1]["mean"] != mean).any()
    net.set_params(layers=[Flatten(), Dense(5)])
    with pytest.raises(ValueError, match="parameters_ are those of another architecture"):
        net.fit(X[TRAIN], y[TRAIN])
    fit_quietly(net.set_params(warm_start=False), X[TRAIN], y[TRAIN])
    assert not hasattr(net, "parameters_")
    assert [W.shape for W in net.coefs_] == [(64, 5), (5, 10)]


def test_partial_fit_makes_passes_over_parts():
    net = make_net()
    for _ in range(3):
        for start in range(0, 1300, 650):
            part = slice(start, start + 650)
            net.partial_fit(PICTURES[part], y[part], classes=np.arange(10))
    assert net.score(X[TEST], y[TEST]) > 0.9


def test_predictions_use_the_arrays_that_the_caller_sets(fitted):
    net = pickle.loads(pickle.dumps(fitted))
    arrays = net.parameters_[-1]
    arrays["weights"] = np.zeros_like(arrays["weights"])
    arrays["biases"][:] = 0.0
    np.testing.assert_allclose(net.predict_proba(X[:3]), 0.1)
    arrays["weights"] = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"parameters_ do not fit the network: .*\(3, 3\)"):
        net.predict(X[:3])


def test_early_stopping_restores_the_running_statistics_of_the_best_epoch():
    net = make_net(early_stopping=True, max_iter=4, n_iter_no_change=1)
    fit_quietly(net, X[TRAIN], y[TRAIN], X_val=X[TEST], y_val=y[TEST])
    assert net.score(X[TEST], y[TEST]) == pytest.approx(net.best_validation_score_)


def test_dense_layers_in_a_list_are_the_network_of_hidden_layer_sizes():
    options = {"random_state": 3, "max_iter": 5}
    plain = fit_quietly(NeuralNetworkClassifier((9, 5), "tanh", **options), X, y)
    listed = NeuralNetworkClassifier(layers=[Dense(9), "tanh", Dense(5), "tanh"], **options)
    fit_quietly(listed, X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), listed.predict_proba(X))
    for ours, theirs in zip(plain.coefs_, listed.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_one_dimensional_convolution_has_kernels_of_height_1():
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(300, 1, 30))
    label = waves[:, 0, 10:20].sum(axis=1) > 0
    net = make_net([Conv2D(8, (1, 10)), "relu", Flatten()], input_shape=(1, 30), max_iter=30)
    assert fit_quietly(net, waves, label).score(waves, label) > 0.9


def test_the_summary_counts_shapes_parameters_and_products(capsys, fitted):
    make_net().summary()
    before = capsys.readouterr().out.splitlines()
    fitted.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == [
        "0", "Conv2D(8,", "3,", "padding='same',", "bias=False)", "8", "x", "8", "x", "8",
        "72", f"{8 * 9 * 64:,}",
    ]  # fmt: skip
    assert lines[3].split()[1:3] == ["BatchNorm(),", "relu"]
    assert lines[-2].split()[-3:] == ["10", "330", "320"]
    total = sum(
        array.size
        for arrays in fitted.parameters_
        for name, array in arrays.items()
        if name not in ("mean", "variance")
    )
    assert fitted.n_parameters_ == total
    assert f"{total:,}" in lines[-1]
    assert len(before) == len(lines) - 1
    with pytest.raises(NotFittedError, match="call fit first, or set input_shape"):
        NeuralNetworkClassifier(layers=STACK).summary()


def test_the_stack_is_shown_in_a_notebook(fitted):
    for page in (fitted._repr_html_(), fitted._repr_mimebundle_()["text/html"]):
        assert "<td>1  BatchNorm(), relu</td><td>8 x 8 x 8</td><td>16</td>" in page
    assert "<td>" not in NeuralNetworkClassifier()._repr_html_().partition("multiply-adds")[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 3}, "'layers' parameter .* must be a list of layers or None. Got 3"),
        ({"layers": ["relo"]}, r"layers\[0\] must be a layer, such as Dense\(64\), or the name"),
        ({"layers": [Dense]}, r"layers\[0\] must be a layer"),
        ({"layers": [Conv2D(8, 9)]}, r"layers\[0\], Conv2D\(8, 9\), needs a picture of at least"),
        ({"layers": [Dense(3)]}, r"layers\[0\], Dense\(3\), .* Got the shape \(1, 8, 8\). Put Fl"),
        ({"solver": "lbfgs"}, r"layers\[1\], BatchNorm\(\), is trained on mini-batches, which"),
        ({"dropout": 0.5}, r"'dropout' .* must be 0.0 with layers, in which Dropout\(rate\) is"),
        ({"input_shape": "big"}, "'input_shape' parameter .* must be an int above 0 or a seq"),
        ({"input_shape": (8, 0)}, "'input_shape' parameter"),
        ({"input_shape": ()}, "'input_shape' parameter .* must be of at least one number"),
        ({"layers": []}, r"must end with one row of values.* \(1, 8, 8\). Put Flatten\(\) at the"),
        ({"layers": [Conv2D(2, 3)]}, r"must end with one row of values.* \(2, 6, 6\)"),
    ],
)
def test_a_wrong_stack_is_refused(options, message):
    with pytest.raises(InvalidParameterError, match=message):
        make_net().set_params(**options).fit(X, y)


@pytest.mark.parametrize(
    ("rows", "shape", "got"),
    [
        (
            X,
            (9, 9),
            r"\(n_rows, 81\) or \(n_rows, 9, 9\), because of input_shape. Got \(1797, 64\)",
        ),
        (PICTURES.reshape(-1, 4, 16), (8, 8), r"Got \(1797, 4, 16\)"),
        (PICTURES[0, 0], (8, 8), r"Got \(8,\)"),
    ],
)
def test_rows_of_another_shape_are_refused(fitted, rows, shape, got):
    with pytest.raises(ValueError, match=got):
        make_net([Flatten()], input_shape=shape).fit(rows, y[: len(rows)])
    if shape == (8, 8):
        with pytest.raises(ValueError, match=got):
            fitted.predict(rows)


def test_a_stack_that_does_not_fit_the_rows_is_refused_without_an_input_shape():
    with pytest.raises(ValueError, match=r"layers\[0\], Conv2D\(2, 3\), needs .* Got the shape \("):
        NeuralNetworkClassifier(layers=[Conv2D(2, 3)]).fit(X, y)


def test_pictures_without_an_input_shape_are_refused_with_the_one_to_set():
    with pytest.raises(ValueError, match=r"X of shape \(1797, 8, 8\) needs input_shape=\(8, 8\)"):
        NeuralNetworkClassifier(layers=[Conv2D(2, 3), Flatten()]).fit(PICTURES, y)


def test_no_pictures_are_refused_as_no_rows(fitted):
    with pytest.raises(ValueError, match="0 sample"):
        fitted.predict(PICTURES[:0])


def test_weights_of_dense_layers_do_not_start_other_layers():
    net = NeuralNetworkClassifier((32,), warm_start=True, max_iter=2, random_state=0)
    fit_quietly(net, X, y)
    net.set_params(layers=[Dense(32), "relu", BatchNorm()])
    with pytest.raises(ValueError, match="expected the arrays of all layers, got those of dense"):
        net.fit(X, y)
    with pytest.raises(ValueError, match="another architecture"):
        net.partial_fit(X, y)


def test_arrays_are_read_by_their_names(fitted):
    net = pickle.loads(pickle.dumps(fitted))
    for i, arrays in enumerate(net.parameters_):
        net.parameters_[i] = {name: arrays[name] for name in sorted(arrays)}
    expected = fitted.predict_proba(X)
    for other in (net, net.freeze(), pickle.loads(pickle.dumps(net))):
        predict = getattr(other, "predict_proba", None) or other.probabilities
        np.testing.assert_array_equal(predict(X), expected)
    warm = fit_quietly(net.set_params(warm_start=True, max_iter=1), X[TRAIN], y[TRAIN])
    assert warm.score(X[TEST], y[TEST]) > 0.9


def test_a_stored_estimator_names_no_class_of_layers(fitted):
    stored = skops.io.dumps(fitted)
    assert skops.io.get_untrusted_types(data=stored) == ["quadnet.NeuralNetworkClassifier"]
    loaded = skops.io.loads(stored, trusted=["quadnet.NeuralNetworkClassifier"])
    assert loaded.layers == STACK
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_the_derivative_of_one_row_is_right_after_batch_normalization():
    net = fit_quietly(make_net([Flatten(), Dense(3), "tanh", BatchNorm()]), X, y)
    assert net.check_gradients(X[:1], y[:1]) < 1e-5


def test_the_activations_are_copies(fitted):
    net = fit_quietly(make_net([Flatten(), Dense(3)]), X, y)
    rows = X[:3].copy()
    net.activations(rows)[0][:] = 7.0
    np.testing.assert_array_equal(rows, X[:3])


def change(arrays, **entries):
    description = json.loads(str(arrays["estimator"])) | entries
    return arrays | {"estimator": np.array(json.dumps(description))}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 3}, "reads the formats 1, 2, got format 3"),
        ({"input_shape": [1, 8.0, 8]}, "input_shape must be a list of whole numbers above 0"),
        ({"input_shape": [-1, 8, 8]}, "input_shape must be a list of whole numbers above 0"),
        ({"input_shape": [1, 9, 9]}, "input_shape is .8, 8., but the network has 81 inputs"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
        ({"dtype": "float32"}, "must have the shape .* and the type float32, got .* float64"),
        ({"layers": [{"kind": "flatten"}]}, "must end with a dense layer"),
        ({"layers": []}, "must end with a dense layer"),
        ({"layers": [{"kind": "gru"}]}, r"layers\[0\] is of the unknown kind 'gru'"),
        (
            {"layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10**11}]},
            r"weights.0 must have 2 dimensions|must have the shape \(64, 100000000000\)",
        ),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
    ],
)
def test_arrays_that_contradict_their_description_are_refused(fitted, entries, message):
    with pytest.raises(ValueError, match=message):
        NeuralNetworkClassifier.from_arrays(change(fitted.to_arrays(), **entries))


def test_arrays_with_layers_nested_too_deeply_are_refused(fitted):
    nested = '{"kind": "residual", "layers": [' * 3000 + "]}" * 3000
    text = json.dumps(json.loads(str(fitted.to_arrays()["estimator"])) | {"layers": []})
    hostile = np.array(text.replace('"layers": []', f'"layers": [{nested}]', 1))
    with pytest.raises(ValueError, match="Expected the arrays that to_arrays"):
        NeuralNetworkClassifier.from_arrays(fitted.to_arrays() | {"estimator": hostile})
