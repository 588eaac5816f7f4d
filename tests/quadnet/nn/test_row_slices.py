"""Slices of rows cover all rows in order, and their answers are those of the predictor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadnet.nn.layers.stack import make_dense_layers
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.nn.row_slices import (
    choose_values,
    compute_answers,
    direct_rows,
    row_slices,
    split_rows,
)

X = np.random.default_rng(0).normal(size=(50, 3))


def make_network(n_outputs, loss, **settings):
    network = Network(
        make_dense_layers([3, 5, n_outputs], ["tanh"]), (3,), loss=loss, loss_settings=settings
    )
    network.parameters.flat[:] = np.random.default_rng(1).normal(size=network.parameters.flat.size)
    return network


@given(n_rows=st.integers(0, 300), n_direct=st.sampled_from([0, 1, 2, 8, 64]))
@settings(deadline=None)
def test_slices_cover_all_rows_in_order(n_rows, n_direct):
    slices = list(split_rows(n_rows, n_direct))
    assert slices
    assert [row for each in slices for row in range(n_rows)[each]] == list(range(n_rows))
    sizes = [each.stop - each.start for each in slices]
    if n_rows <= n_direct:
        assert sizes == [n_rows]
    else:
        assert max(sizes) <= max(1, 4 * n_direct)


def test_a_network_has_slices_by_its_speed():
    fast, slow = (
        make_network(2, "softmax_cross_entropy"),
        Network.dense(
            [3, 3000, 3000, 2], activations=["tanh", "tanh"], loss="softmax_cross_entropy"
        ),
    )
    assert direct_rows(fast) > 100 * direct_rows(slow)
    assert [*row_slices(slow, 100)] == [*split_rows(100, direct_rows(slow))]


@pytest.mark.parametrize(
    ("loss", "n_outputs", "classes"),
    [
        ("softmax_cross_entropy", 4, "abcd"),
        ("sigmoid_cross_entropy", 1, "ab"),
        ("multilabel_cross_entropy", 3, "abc"),
    ],
)
def test_answers_of_classes_are_those_of_the_predictor(loss, n_outputs, classes):
    predictor = Predictor(make_network(n_outputs, loss), [*classes])
    answers = compute_answers(predictor, X)
    assert answers.unknown is None
    np.testing.assert_allclose(answers.numbers, predictor.probabilities(X), rtol=1e-12)
    if loss == "multilabel_cross_entropy":
        np.testing.assert_array_equal(answers.choose_labels(), predictor.predict(X))
    else:
        np.testing.assert_array_equal(
            predictor.classes[answers.choose_classes()], predictor.predict(X)
        )


def test_rows_that_overflow_are_unknown():
    network = Network.dense([3, 2], activations=[], loss="softmax_cross_entropy")
    network.parameters.weights[0][:] = 10.0
    predictor = Predictor(network, ["a", "b"])
    with np.errstate(all="ignore"):
        answers = compute_answers(predictor, np.array([[1e308] * 3, [0.0] * 3]))
    assert answers.unknown.tolist() == [True, False]
    assert answers.choose_classes().tolist() == [-1, 0]
    assert answers.numbers[0].tolist() == [0.5, 0.5]


def test_answers_of_numbers_are_those_of_the_predictor():
    plain = RegressionPredictor(make_network(1, "squared_error"), None)
    np.testing.assert_array_equal(compute_answers(plain, X).numbers[:, 0], plain.predict(X))
    quantiles = (0.1, 0.4, 0.9)
    several = RegressionPredictor(
        make_network(3, "quantile", quantiles=[*quantiles], scales=[1.0]), None
    )
    numbers = compute_answers(several, X).numbers
    np.testing.assert_array_equal(numbers, several.predict_quantiles(X))
    np.testing.assert_array_equal(choose_values(several.quantiles, numbers), several.predict(X))
