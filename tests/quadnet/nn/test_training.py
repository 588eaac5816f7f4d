"""The training loop, seen from outside: epochs, updates, order, weights and batches."""

from itertools import islice

import numpy as np
import pytest
from numpy.random import RandomState
from scipy.sparse import csr_array

from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.layer import StepContext
from quadnet.nn.network import Network
from quadnet.nn.optimizers import SGD
from quadnet.nn.schedules import Schedule
from quadnet.nn.training import MiniBatches, Penalty, train

X = np.random.default_rng(0).normal(size=(10, 2))
Y = np.eye(4, dtype=bool)[np.arange(10) % 4]
STILL = 1e-300  # a learning rate that leaves the network as it is


def new_network():
    network = Network.dense([2, 3, 4], activations=["tanh"], loss="softmax_cross_entropy")
    network.initialize(INITIALIZERS["glorot_uniform"], RandomState(0))
    return network


def mean_loss(network, weights=None):
    values = network.loss.values(network.outputs(X).T, Y.T.astype(float))
    return np.average(values, weights=weights)


def batches_of(network, *, batch_size, alpha=0.0, learning_rate=0.1, rows=X, **options):
    optimizer = SGD(network.parameters.flat, learning_rate=learning_rate, momentum=0.0)
    penalty = options.pop("penalty", Penalty(alpha))
    return MiniBatches(
        network, rows, Y, optimizer=optimizer, batch_size=batch_size, penalty=penalty, **options
    )


def run(network, epochs, *, shuffle=False, schedule=None, **options):
    batches = batches_of(network, **options)
    endless = train(batches, shuffle=shuffle, rng=RandomState(1), schedule=schedule)
    return list(islice(endless, epochs))


def test_each_epoch_is_counted_and_the_short_last_batch_is_an_update():
    epochs = run(new_network(), 3, batch_size=4)
    assert [(e.number, e.updates) for e in epochs] == [(1, 3), (2, 6), (3, 9)]


def test_a_whole_batch_epoch_reports_the_loss_before_its_update():
    network = new_network()
    before = mean_loss(network)
    assert run(network, 1, batch_size=10)[0].loss == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 10])
@pytest.mark.parametrize("weights", [None, np.arange(10.0)])
def test_the_epochs_loss_counts_every_row_by_its_weight(batch_size, weights):
    network = new_network()
    epoch = run(network, 1, batch_size=batch_size, learning_rate=STILL, weights=weights)[0]
    assert epoch.loss == pytest.approx(mean_loss(network, weights), rel=1e-12)


def test_rows_gathered_in_many_chunks_are_the_same_rows(monkeypatch):
    apart, together = new_network(), new_network()
    run(together, 3, batch_size=2, shuffle=True)
    monkeypatch.setattr(MiniBatches, "_CHUNK_BYTES", 1)
    run(apart, 3, batch_size=2, shuffle=True)
    np.testing.assert_array_equal(apart.parameters.flat, together.parameters.flat)


def test_sparse_rows_train_the_same_network():
    dense, sparse = new_network(), new_network()
    sparsely = run(sparse, 3, batch_size=4, shuffle=True, rows=csr_array(X))
    densely = run(dense, 3, batch_size=4, shuffle=True)
    np.testing.assert_allclose(sparse.parameters.flat, dense.parameters.flat, rtol=1e-12)
    assert [e.loss for e in sparsely] == pytest.approx([e.loss for e in densely], rel=1e-12)


def test_the_penalty_falls_on_weights_and_not_on_biases():
    network = new_network()
    for b in network.parameters.biases:
        b[:] = 3.0
    squares = sum(float((W**2).sum()) for W in network.parameters.weights)
    penalised = run(network, 1, batch_size=10, alpha=0.5, learning_rate=STILL)[0].loss
    assert penalised == pytest.approx(mean_loss(network) + 0.5 * 0.5 * squares / 10, rel=1e-12)


@pytest.mark.parametrize("weights", [None, np.arange(10.0) + 1])
@pytest.mark.parametrize("batch_size", [2, 5, 10])
def test_a_penalty_per_sample_does_not_depend_on_the_batches(weights, batch_size):
    network = new_network()
    squares = sum(float((W**2).sum()) for W in network.parameters.weights)
    epoch = run(
        network,
        1,
        batch_size=batch_size,
        penalty=Penalty(0.5, per_sample=True),
        weights=weights,
        learning_rate=STILL,
    )[0]
    total = 10 if weights is None else weights.sum()
    expected = mean_loss(network, weights) + 0.5 * 0.5 * squares / total
    assert epoch.loss == pytest.approx(expected, rel=1e-12)


def test_a_mini_batch_that_counts_nothing_makes_no_update():
    weights = np.array([1.0, 2.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 3.0, 0.0])
    network = new_network()
    epoch = run(network, 1, batch_size=2, weights=weights, alpha=0.1)[0]
    assert epoch.updates == 3
    assert np.isfinite(epoch.loss)
    assert np.isfinite(network.parameters.flat).all()


def test_a_long_gradient_is_shortened_to_the_norm_allowed():
    free, held = new_network(), new_network()
    start = free.parameters.flat.copy()
    run(free, 1, batch_size=10, learning_rate=1.0)
    run(held, 1, batch_size=10, learning_rate=1.0, max_gradient_norm=0.01)
    step, short = free.parameters.flat - start, held.parameters.flat - start
    assert np.linalg.norm(step) > 0.02
    np.testing.assert_allclose(short, 0.01 * step / np.linalg.norm(step), rtol=1e-9)


def test_dropout_silences_the_share_it_says_and_keeps_the_expectation():
    none, output = np.empty(0), np.empty((400, 10))
    rng = np.random.default_rng(0)
    step = Dropout(0.25).make_step(StepContext((400,), none, none, 10, output, rng=rng))
    step.input[:] = 3.0
    step.forward()
    assert set(np.unique(output)) == {0.0, 4.0}
    assert (output == 0).mean() == pytest.approx(0.25, abs=0.02)


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


def rates(schedule, epochs, n_updates):
    return [rate for epoch in range(epochs) for rate in schedule.rates(epoch, n_updates)]


def test_a_cosine_falls_from_the_initial_rate_to_nothing():
    drawn = rates(Schedule("cosine", 0.8, max_epochs=4), 4, 2)
    np.testing.assert_allclose(drawn, [0.4 * (1 + np.cos(np.pi * i / 8)) for i in range(8)])
    assert rates(Schedule("cosine", 0.8, max_epochs=4), 5, 1)[-1] == 0.0


def test_steps_fall_by_their_factor():
    drawn = rates(Schedule("step", 1.0, step_epochs=2, step_factor=0.1), 5, 1)
    np.testing.assert_allclose(drawn, [1, 1, 0.1, 0.1, 0.01])


def test_a_warm_up_climbs_update_by_update_to_the_schedules_rate():
    drawn = rates(Schedule("constant", 0.6, warmup_epochs=1.5), 3, 2)
    np.testing.assert_allclose(drawn, [0.2, 0.4, 0.6, 0.6, 0.6, 0.6])


def test_training_uses_the_schedules_rate_of_each_update():
    network = new_network()
    batches = batches_of(network, batch_size=5)
    seen = []
    step = batches.optimizer.step

    def spy(theta, learning_rate, step_size):
        seen.append(learning_rate)
        step(theta, learning_rate, step_size)

    batches.optimizer.step = spy
    schedule = Schedule("cosine", 0.8, max_epochs=2)
    list(islice(train(batches, shuffle=False, rng=RandomState(0), schedule=schedule), 2))
    np.testing.assert_allclose(seen, [0.4 * (1 + np.cos(np.pi * i / 4)) for i in range(4)])
