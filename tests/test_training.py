"""The training loop, seen from outside: epochs, updates, order and batches."""

from itertools import islice

import numpy as np
import pytest
from numpy.random import RandomState

from quadnet.initializers import INITIALIZERS
from quadnet.network import Network
from quadnet.optimizers import SGD
from quadnet.training import MiniBatches, train

X = np.random.default_rng(0).normal(size=(10, 2))
Y = np.eye(4)[np.arange(10) % 4]


def new_network():
    network = Network([2, 3, 4], activations=["tanh"], loss="softmax_cross_entropy")
    network.initialize(INITIALIZERS["glorot_uniform"], RandomState(0))
    return network


def run(network, epochs, *, batch_size, alpha=0.0, shuffle=False, learning_rate=0.1):
    optimizer = SGD(network.parameters.flat, learning_rate=learning_rate, momentum=0.0)
    batches = MiniBatches(network, X, Y, optimizer=optimizer, batch_size=batch_size, alpha=alpha)
    return list(islice(train(batches, shuffle=shuffle, rng=RandomState(1)), epochs))


def test_each_epoch_is_counted_and_the_short_last_batch_is_an_update():
    epochs = run(new_network(), 3, batch_size=4)
    assert [(e.number, e.updates) for e in epochs] == [(1, 3), (2, 6), (3, 9)]


def test_a_whole_batch_epoch_reports_the_loss_before_its_update():
    network = new_network()
    before = network.loss.value(network.outputs(X), Y)
    assert run(network, 1, batch_size=10)[0].loss == pytest.approx(before, rel=1e-12)


def test_the_epochs_loss_weighs_every_row_alike():
    # With a rate of next to nothing, the mean over batches of 4, 4 and 2 is the mean over rows.
    network = new_network()
    whole = network.loss.value(network.outputs(X), Y)
    epoch = run(network, 1, batch_size=4, learning_rate=1e-300)[0]
    assert epoch.loss == pytest.approx(whole, rel=1e-12)


def test_the_penalty_falls_on_weights_and_not_on_biases():
    network = new_network()
    plain = run(network, 1, batch_size=10, learning_rate=1e-300)[0].loss
    squares = sum(float((W**2).sum()) for W in network.parameters.weights)
    network.parameters.biases[0][:] = 0
    for b in network.parameters.biases:
        b[:] = 0
    unpenalised = network.loss.value(network.outputs(X), Y)
    penalised = run(network, 1, batch_size=10, alpha=0.5, learning_rate=1e-300)[0].loss
    assert penalised == pytest.approx(unpenalised + 0.5 * 0.5 * squares / 10, rel=1e-12)
    assert plain != penalised


def test_shuffling_draws_from_the_given_state_only():
    first, second = new_network(), new_network()
    state = np.random.get_state()[1].copy()
    run(first, 5, batch_size=3, shuffle=True)
    run(second, 5, batch_size=3, shuffle=True)
    np.testing.assert_array_equal(first.parameters.flat, second.parameters.flat)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    ordered = new_network()
    run(ordered, 5, batch_size=3, shuffle=False)
    assert (ordered.parameters.flat != first.parameters.flat).any()
