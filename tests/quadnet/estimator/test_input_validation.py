"""Parameters, data and arrays that the estimator refuses, and what it says."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import NotFittedError

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import MLP_TAKES_WEIGHTS, fit

X_IRIS, Y_IRIS = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("alpha", -1, "a float in the range [0.0, inf)"),
        ("hidden_layer_sizes", (3, 0), "an int above 0 or a sequence of them"),
        ("max_fun", 0, "an int in the range [1, inf)"),
        ("solver", "lion", "a str among {'adam', 'adamw', 'lbfgs', 'sgd'}"),
        ("batch_size", 0, "a str among {'auto'} or an int in the range [1, inf)"),
        ("momentum", 1.1, "a float in the range [0.0, 1.0]"),
        ("max_iter", 2.5, "an int in the range [1, inf)"),
        ("shuffle", "yes", "an instance of 'bool'"),
        ("learning_rate_init", 0.0, "a float in the range (0.0, inf)"),
        ("loss", "hinge", "a str among {'binary_cross_entropy', 'log_loss', 'squared_error'}"),
        ("dropout", 1.0, "a float in the range [0.0, 1.0)"),
        ("step_factor", 0, "a float in the range (0.0, 1.0]"),
        ("class_weight", "even", "a str among {'balanced'} or a dict of numbers or None"),
        ("max_grad_norm", -1, "a float in the range (0.0, inf) or None"),
        ("n_iter_no_change", 0.5, "an int in the range [1, inf) or inf"),
    ],
)
def test_a_wrong_parameter_is_named_at_fit_as_scikit_learn_does(name, value, expected):
    net = NeuralNetworkClassifier(**{name: value})
    with pytest.raises((ValueError, TypeError)) as caught:
        net.fit([[0.0], [1.0]], [0, 1])
    assert str(caught.value) == (
        f"The {name!r} parameter of NeuralNetworkClassifier must be {expected}. "
        f"Got {value!r} instead."
    )


def test_a_solver_of_a_wrong_type_is_named_by_partial_fit_too():
    net = NeuralNetworkClassifier(solver=["adam"])
    assert hasattr(net, "partial_fit")
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="The 'solver' parameter"):
            train([[0.0], [1.0]], [0, 1])


def test_divergence_is_an_error_that_says_what_to_lower():
    X, y = make_classification(50, 4, random_state=0)
    net = NeuralNetworkClassifier(solver="sgd", learning_rate_init=1e200, activation="identity")
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"diverged.*Lower learning_rate_init"),
    ):
        net.fit(X * 1e100, y)


def test_predicting_before_fitting_is_said():
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(NeuralNetworkClassifier(), method)([[0.0, 0.0]])
    with pytest.raises(NotFittedError):
        NeuralNetworkClassifier().freeze()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_val": X_IRIS}, "X_val is provided, but y_val was not provided"),
        ({"y_val": Y_IRIS}, "y_val is provided, but X_val was not provided"),
        ({"sample_weight_val": [1]}, "sample_weight_val is provided"),
        ({"X_val": X_IRIS, "y_val": Y_IRIS[:9]}, "inconsistent numbers of samples"),
        ({"X_val": X_IRIS[:, :2], "y_val": Y_IRIS}, "X has 2 features, but .* expecting 4"),
        ({"X_val": X_IRIS, "y_val": Y_IRIS + 7}, r"y_val: .*'y' has \[7 8 9\]"),
        ({"X_val": X_IRIS * np.nan, "y_val": Y_IRIS}, "contains NaN"),
    ],
)
def test_validation_rows_that_do_not_fit_are_refused(arguments, message):
    net = NeuralNetworkClassifier(early_stopping=True, max_iter=2)
    with pytest.raises(ValueError, match=message):
        net.fit(X_IRIS, Y_IRIS, **arguments)


def test_a_class_too_small_to_be_split_is_named():
    X, y = [[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"only 1 sample.*It is 1\."):
        NeuralNetworkClassifier(early_stopping=True).fit(X, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("weights.1"), "'weights.1' is missing"),
        (lambda arrays: arrays.pop("estimator"), "'estimator' is missing"),
        (lambda arrays: arrays.update({"weights.0": np.ones((4, 3))}), r"got \(4, 3\)"),
        (lambda arrays: arrays.update(classes=np.arange(7)), "7 classes for 3 outputs"),
        (lambda arrays: arrays.update(estimator=np.array("{")), "must be a JSON text"),
        (lambda arrays: arrays.update(estimator=np.array("3")), "must be a JSON object, got 3"),
        (lambda arrays: arrays.update({"weights.0": np.float64(3)}), "must have 2 dimensions"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    net = fit(NeuralNetworkClassifier((5,), max_iter=2), X_IRIS, Y_IRIS)
    arrays = net.to_arrays()
    change(arrays)
    with pytest.raises(ValueError, match=message):
        NeuralNetworkClassifier.from_arrays(arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": [[1.0], [np.nan]], "y": [0, 1]}, "Input X contains NaN"),
        ({"X": [[1.0], [np.inf]], "y": [0, 1]}, "Input X contains infinity"),
        ({"X": np.array([[1j], [2]]), "y": [0, 1]}, "Complex data not supported"),
        ({"X": [1.0, 2.0], "y": [0, 1]}, "Reshape your data"),
        ({"X": np.empty((0, 3)), "y": []}, "0 sample"),
        ({"X": np.empty((3, 0)), "y": [0, 1, 0]}, "0 feature"),
        ({"X": [[1.0], [2.0]], "y": [0, 1, 2]}, "inconsistent numbers of samples"),
        ({"X": [[1.0], [2.0]], "y": [0.5, 1.7]}, "Unknown label type: continuous"),
        ({"X": [[1.0], [2.0]], "y": [[0, 2], [3, 1]]}, "MultiOutputClassifier"),
        ({"X": [[1.0], [2.0]], "y": None}, "requires y to be passed"),
        ({"X": [[1.0], [2.0]], "y": [0, 1], "sample_weight": [1]}, r"Got the shape \(1,\)"),
        ({"X": [[1.0], [2.0]], "y": [0, 1], "sample_weight": [1, -2]}, "Got -2 in row 1"),
        ({"X": [[1.0], [2.0]], "y": [0, 1], "sample_weight": [1, -0.1]}, "Got -0.1 in row 1"),
        (
            {"X": np.float32([[1.0], [2.0]]), "y": [0, 1], "sample_weight": [1, 1e40]},
            r"finite and not negative, also as float32. Got 1e\+40 in row 1",
        ),
        ({"X": [[1.0], [2.0]], "y": [0, 1], "sample_weight": [np.nan, 1]}, "Got nan in row 0"),
        ({"X": [[1.0], [2.0]], "y": [0, 1], "sample_weight": [0, 0]}, "weights are zero"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NeuralNetworkClassifier(max_iter=2).fit(**arguments)


@pytest.mark.parametrize(
    ("changes", "calls", "message"),
    [
        ({}, [([0, 1], None)], "classes must be passed on the first call"),
        ({}, [([0, 1], [0, 1]), ([0, 2], None)], r"not in `self.classes_`.*\[0 2\]"),
        ({}, [([0, 1], [0, 1]), ([0, 1], [0, 2])], "not the same as on last call"),
        ({}, [([0, 1], [0, 5])], "not in `self.classes_`"),
        ({}, [([0, 1], [0, 1]), ([[0, 1], [1, 1]], None)], "one label per row"),
        ({}, [([[0, 1], [1, 1]], [0, 1, 2])], "one column for each of the 3 classes"),
        ({"early_stopping": True}, [([0, 1], [0, 1])], "does not support early_stopping=True"),
        ({"class_weight": "balanced"}, [([0, 1], [0, 1])], "does not support class_weight"),
        ({"solver": "lbfgs"}, [([0, 1], [0, 1])], "does not support solver='lbfgs'"),
    ],
)
def test_a_partial_fit_that_cannot_be_made_is_refused(changes, calls, message):
    net = NeuralNetworkClassifier((2,), **changes)
    assert hasattr(net, "partial_fit") == (not changes)
    *good, (y, classes) = calls
    for y_good, classes_good in good:
        net.partial_fit([[1.0], [2.0]], np.array(y_good), classes=classes_good)
    with pytest.raises(ValueError, match=message):
        net.partial_fit([[1.0], [2.0]], np.array(y), classes=classes)


def test_classes_of_a_kind_that_cannot_be_compared_are_refused():
    records = np.array([(1, 2), (2, 3)], [("a", int), ("b", int)])
    net = NeuralNetworkClassifier((2,))
    with pytest.raises(ValueError, match=r"not in `self.classes_`"):
        net.partial_fit([[1.0], [2.0]], [0, 1], classes=records)
    net.partial_fit([[1.0], [2.0]], [0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match="not the same as on last call"):
        net.partial_fit([[1.0], [2.0]], [0, 1], classes=records)


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_values_near_the_largest_float_bring_no_warning_of_numpys(kind):
    # The tests make errors of warnings. The sum of these columns is inf - inf.
    X = kind(np.where(np.arange(400).reshape(200, 2) % 3 > 0, 1e308, -1e308))
    net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
    with pytest.raises(ValueError, match=r"Training diverged.*scale X to zero mean"):
        net.fit(X, np.arange(200) % 2)
    fit(net.set_params(solver="adam", max_iter=1), kind(np.eye(2)), [0, 1])
    with np.errstate(all="ignore"):
        assert net.predict(X).shape == (200,)


def test_bad_rows_are_refused_when_predicting_too():
    net = fit(NeuralNetworkClassifier((5,), max_iter=2, random_state=0), X_IRIS, Y_IRIS)
    for rows, message in (
        (X_IRIS * np.nan, "contains NaN"),
        (X_IRIS * np.inf, "contains"),
        (X_IRIS[:, :2], "X has 2 features, but NeuralNetworkClassifier is expecting 4"),
        (X_IRIS[0], "Reshape your data"),
        (X_IRIS[:0], "0 sample"),
        (X_IRIS * 1j, "Complex data"),
    ):
        with pytest.raises(ValueError, match=message):
            net.predict_proba(rows)
    named = fit(clone(net), pd.DataFrame(X_IRIS, columns=list("abcd")), Y_IRIS)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named.predict_proba(X_IRIS)


@pytest.mark.parametrize(
    "encode",
    [
        lambda on: np.where(on, 1, -1),
        lambda on: np.where(on, 2.0, 1.0),
        lambda on: np.where(on, 0, 5).astype(np.uint8),
        lambda on: csr_array(np.where(on, 3, 0)),
        lambda on: np.full(on.shape, 2),
    ],
)
def test_several_columns_of_other_values_than_0_and_1_are_refused(encode):
    on = X_IRIS[:, :3] > np.median(X_IRIS[:, :3], axis=0)
    said = "y with several columns must hold 0 and 1 only, 1 where the row has the label. Got"
    with pytest.raises(ValueError, match=said):
        NeuralNetworkClassifier(max_iter=2).fit(X_IRIS, encode(on))
    with pytest.raises(ValueError, match=said):
        NeuralNetworkClassifier().partial_fit(X_IRIS, encode(on), classes=["a", "b", "c"])
    net = fit(NeuralNetworkClassifier((3,), max_iter=2), X_IRIS, on.astype(int))
    with pytest.raises(ValueError, match=said):
        net.check_gradients(X_IRIS, encode(on))
    with pytest.raises(ValueError, match=f"y_val: {said}"):
        fit(net, X_IRIS, on.astype(int), X_val=X_IRIS, y_val=encode(on))
    for same in (on, on.astype(float), csr_array(on.astype(int)), on.astype(np.uint8).tolist()):
        fit(net, X_IRIS, same)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"a", "b"}, r"`classes` must be a list .* Got \{'"),
        ({"a": 1, "b": 2}.keys(), r"`classes` must be a list .* Got dict_keys"),
        ((label for label in "ab"), "`classes` must be a list .* Got <generator"),
        ("ab", "`classes` must be a list .* Got 'ab'"),
        (2, "`classes` must be a list .* Got 2"),
        ([], r"`classes` must be a list .* Got \[\]"),
        ([["a", "b"]], r"`classes` must be a list .* Got \[\['a', 'b'\]\]"),
        (["a", "b", 1], "`classes` must hold labels of one kind"),
        (["a", "b", None], "`classes` must hold labels of one kind"),
        ([0.5, 1.5], "`classes` must hold labels of one kind"),
        ([0, 1, np.nan], "`classes` must hold labels of one kind"),
        ([1j, 2j], "`classes` must hold labels of one kind"),
        pytest.param(
            [b"a", b"b"],
            "`classes` must hold labels of one kind",
            marks=pytest.mark.skipif(
                not MLP_TAKES_WEIGHTS,
                reason="scikit-learn 1.6 itself accepts labels that are bytes",
            ),
        ),
        ([dt.date(2020, 1, 1), dt.date(2021, 1, 1)], "`classes` must hold labels"),
        ([["a"], ["b", "c"]], "`classes` must be a list .* Got "),
        (csr_array([[1, 2]]), "`classes` must be a list .* Got <Compressed"),
    ],
)
def test_classes_that_are_no_list_of_labels_are_named(classes, said):
    net = NeuralNetworkClassifier((2,))
    with pytest.raises(ValueError, match=said):
        net.partial_fit([[1.0], [2.0]], ["a", "b"], classes=classes)
    net.partial_fit([[1.0], [2.0]], ["a", "b"], classes=np.array(["b", "a"], dtype=object))
    for same in (("a", "b"), np.array(["a", "b"]), pd.Series(["b", "a"]), pd.Index(["a", "b"])):
        net.partial_fit([[1.0], [2.0]], ["a", "b"], classes=same)
    # Also where y is of the same odd kind.
    if isinstance(classes, list):
        with pytest.raises(ValueError, match=said):
            NeuralNetworkClassifier((2,)).partial_fit(
                [[1.0]] * len(classes), classes, classes=classes
            )
    if not hasattr(classes, "send"):  # the generator is used up
        with pytest.raises(ValueError, match=said):
            net.partial_fit([[1.0], [2.0]], ["a", "b"], classes=classes)
