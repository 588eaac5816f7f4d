"""`PlaygroundService`: it trains exactly as the library does, within its limits."""

import math

import grpc
import numpy as np
import pytest

from quadnet import quadrants
from quadnet.nn.initializers import uniform01
from quadnet.nn.network import Network
from quadnet.nn.optimizers import SGD
from quadnet.nn.training import MiniBatches, Penalty, train
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.service.playground.page_client import PageServerProcess
from tests.support.serving import refused

X = quadrants.CENTRES
RIGHT = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def page():
    # No server is running: sandboxes need none.
    with PageServerProcess(1, "--max-runs", "2", "--log-level", "info") as process:
        yield process


def request(**changes):
    given = {
        "x": X[:, 0],
        "y": X[:, 1],
        "quadrants": RIGHT,
        "init": "uniform01",
        "loss": "squared_error",
        "learning_rate": 0.1,
        "batch_size": 1,
        "seed": 3,
        "max_epochs": 20,
        "frames_per_second": 30,
        **changes,
    }
    return pb.TrainRequest(**given)


def frames(page, **changes):
    return list(page.stub.Train(request(**changes), timeout=60))


def flat(frame):
    layers = frame.state.layers
    return np.concatenate([np.r_[layer.weights, layer.biases] for layer in layers])


def random_points(n, seed=5):
    points = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    numbers = {q.name: number for q, number in zip(quadrants.QUADRANTS, RIGHT, strict=True)}
    return points, [numbers[name] for name in quadrants.label_quadrants(points)]


def test_a_run_equals_the_training_loop_of_the_library(page):
    """The same draws and epochs with the library alone give the same bits."""
    last = frames(page, max_epochs=7, epochs_per_frame=7)[-1]
    network = Network.dense([2, 4], activations=[], loss="sigmoid_squared_error")
    network.initialize(uniform01, np.random.RandomState(3))
    optimizer = SGD(network.parameters.flat, learning_rate=0.1, momentum=0.0, nesterov=False)
    batches = MiniBatches(
        network,
        X,
        np.eye(4, dtype=bool),
        optimizer=optimizer,
        batch_size=1,
        penalty=Penalty(0.0),
    )
    for epoch in range(7):
        next(train(batches, shuffle=True, rng=np.random.RandomState([3, epoch])))
    (layer,) = last.state.layers
    assert np.array_equal(np.reshape(layer.weights, (2, 4)), network.parameters.weights[0])
    assert np.array_equal(layer.biases, network.parameters.biases[0])
    P = network.outputs(X)
    assert last.loss == pytest.approx(0.5 * ((P - np.eye(4)) ** 2).sum(axis=1).mean(), abs=1e-12)
    assert (last.epoch, last.state.updates) == (7, 28)


def test_frames_start_with_the_initial_state_and_come_every_few_epochs(page):
    run = frames(page, max_epochs=10, epochs_per_frame=4)
    assert [frame.epoch for frame in run] == [0, 4, 8, 10]
    assert [bool(frame.stop_reason) for frame in run] == [False, False, False, True]
    assert [frame.stop_reason_code for frame in run] == [0, 0, 0, pb.STOP_REASON_MAX_EPOCHS]
    assert run[-1].stop_reason == "All 10 epochs are done."
    assert run[-1].loss < run[0].loss
    start = np.random.RandomState(3).uniform(0, 1, (2, 4))
    assert np.array_equal(run[0].state.layers[0].weights, start.ravel())


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "sgd", "momentum": 0.9},
        {"solver": "adam"},
        {"solver": "adamw", "alpha": 0.1},
        {"dropout": 0.3, "activation": "relu"},
        {"biases": False, "alpha": 0.01, "loss": "log_loss", "init": "auto"},
    ],
    ids=str,
)
def test_a_resumed_run_equals_a_run_that_never_stopped(page, settings):
    settings = {"hidden_layer_sizes": [5, 3], "batch_size": 3, "init": "he_uniform", **settings}
    whole = frames(page, max_epochs=12, epochs_per_frame=3, **settings)
    assert len({flat(frame).tobytes() for frame in whole}) == 5
    rest = frames(page, max_epochs=12, epochs_per_frame=3, state=whole[2].state, **settings)
    assert [frame.SerializeToString() for frame in rest] == [
        frame.SerializeToString() for frame in whole[2:]
    ]
    if settings.get("biases") is False:
        assert not any(any(layer.biases) for layer in whole[-1].state.layers)


def test_the_articles_network_1_learns_the_quadrants(page):
    points, right = random_points(1000)
    test = {"test_x": points[:, 0], "test_y": points[:, 1], "test_quadrants": right}
    first, *_, last = frames(page, max_epochs=2500, epochs_per_frame=500, **test)
    assert last.test_accuracy >= 0.99 > first.test_accuracy
    answers = np.frombuffer(last.test_answers, np.uint8)
    assert (answers == right).mean() == last.test_accuracy
    assert 0 < last.test_loss < first.test_loss


def test_stopping_at_an_accuracy(page):
    points, right = random_points(400)
    run = frames(
        page,
        x=points[:, 0],
        y=points[:, 1],
        quadrants=right,
        hidden_layer_sizes=[6],
        solver="adam",
        loss="log_loss",
        init="auto",
        learning_rate=0.05,
        batch_size=32,
        max_epochs=1000,
        stop_accuracy=0.97,
    )
    assert run[-1].accuracy >= 0.97 > run[-2].accuracy
    assert run[-1].stop_reason_code == pb.STOP_REASON_ACCURACY
    assert "The accuracy to stop at is reached" in run[-1].stop_reason


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_a_run_that_diverges_ends_with_a_message_and_without_numbers(page, loss):
    run = frames(page, learning_rate=1e6, loss=loss, hidden_layer_sizes=[6], max_epochs=100)
    assert run[-1].stop_reason_code == pb.STOP_REASON_DIVERGED
    assert "Lower the learning rate, now 1e+06" in run[-1].stop_reason
    assert not run[-1].HasField("state")
    for frame in run[:-1]:
        assert np.isfinite(flat(frame)).all()
        assert math.isfinite(frame.loss)


def test_the_map_has_the_networks_answers_from_the_top_left(page):
    last = frames(page, max_epochs=2000, epochs_per_frame=2000, map_side=10)[-1]
    cells = np.frombuffer(last.decision_map, np.uint8).reshape(10, 10, 4)
    assert cells[0, 0].argmax() == 1  # II is at the top left
    assert cells[0, 9].argmax() == 0
    assert cells[9, 0].argmax() == 2
    assert cells[9, 9].argmax() == 3
    (layer,) = last.state.layers
    at = np.array([-0.9, 0.9])
    P = 1 / (1 + np.exp(-(at @ np.reshape(layer.weights, (2, 4)) + layer.biases)))
    assert cells[0, 0].tolist() == np.rint(P / P.sum() * 255).tolist()


def test_inspect_traces_one_point_and_answers_others(page):
    state = frames(page, max_epochs=3, hidden_layer_sizes=[4])[-1].state
    answer = page.stub.Inspect(
        pb.InspectRequest(
            layers=state.layers, map_side=8, x=[0.5, -0.25], y=[0.5, 0.75], features=[-0.25, 0.75]
        )
    )
    hidden, output = state.layers
    a = np.tanh(np.array([-0.25, 0.75]) @ np.reshape(hidden.weights, (2, 4)) + hidden.biases)
    z = a @ np.reshape(output.weights, (4, 4)) + output.biases
    P = 1 / (1 + np.exp(-z))
    assert [unit.activation for unit in answer.layers[0].units] == pytest.approx(a, abs=1e-12)
    assert [unit.pre_activation for unit in answer.layers[1].units] == pytest.approx(z, abs=1e-12)
    assert answer.probabilities == pytest.approx(P / P.sum(), abs=1e-12)
    assert answer.label == ("I", "II", "III", "IV")[P.argmax()]
    assert answer.quadrants[1] == P.argmax() + 1
    assert answer.certainties[1] == pytest.approx(max(P) / P.sum(), abs=1e-6)
    assert len(answer.decision_map) == 8 * 8 * 4


def state(**changes):
    layer = pb.Layer(activation="logistic", inputs=2, units=4, weights=[0.1] * 8, biases=[0] * 4)
    return pb.SandboxState(**{"layers": [layer], **changes})


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x": [], "y": [], "quadrants": []},
            "x: expected at least one training point, got 0 points",
        ),
        ({"x": [0.5] * 5001}, "x: expected at most 5000 points, got 5001"),
        ({"y": [0.5]}, "y: expected as many values as x, 4, got 1"),
        ({"x": [0.5, NAN, 1, 1]}, "x[1]: expected a finite number, got nan"),
        ({"quadrants": [1, 2, 3]}, "quadrants: expected as many as x, 4, got 3"),
        ({"quadrants": [1, 2, 3, 0]}, "quadrants[3]: expected one of the four quadrants, got"),
        ({"hidden_layer_sizes": [6, 65]}, "hidden_layer_sizes[1]: expected from 1 to 64 units"),
        ({"hidden_layer_sizes": [0]}, "hidden_layer_sizes[0]: expected from 1 to 64 units, got 0"),
        ({"hidden_layer_sizes": [1] * 7}, "hidden_layer_sizes: expected at most 6 hidden layers"),
        ({"activation": "sine"}, "activation: expected one of identity, logistic, tanh"),
        ({"loss": "x" * 999}, "loss: expected one of log_loss, squared_error, got 'xxx"),
        ({"solver": "lbfgs"}, "solver: expected one of sgd, adam, adamw, got 'lbfgs'"),
        ({"init": "zeros"}, "init: expected one of auto, glorot_uniform"),
        ({"learning_rate": 0}, "learning_rate: expected a number above 0, got 0"),
        ({"learning_rate": NAN}, "learning_rate: expected a number above 0, got nan"),
        ({"batch_size": 0}, "batch_size: expected a number from 1, got 0"),
        ({"alpha": -1}, "alpha: expected a number from 0, got -1"),
        ({"momentum": 1}, "momentum: expected a number from 0 below 1, got 1"),
        ({"dropout": 1}, "dropout: expected a number from 0 below 1, got 1"),
        ({"max_epochs": 10**7}, "max_epochs: expected a number from 0 to 1,000,000, got 1e+07"),
        ({"map_side": 161}, "map_side: expected a number from 0 to 160, got 161"),
        ({"stop_accuracy": 1.5}, "stop_accuracy: expected a number from 0 to 1, got 1.5"),
        ({"frames_per_second": 60}, "frames_per_second: expected a number from 0.1 to 30, got 60"),
        ({"test_x": [1]}, "test_y: expected as many values as test_x, 1, got 0"),
        ({"state": state(layers=[])}, "state.layers: expected 1 layers, as in the settings, got"),
        ({"state": state(epoch=-1)}, "state.epoch: expected a number from 0 to 1,000,000, got -1"),
        ({"state": state(moments=[1])}, "state.moments: expected 0 or 12 numbers, got 1"),
        ({"state": state(), "hidden_layer_sizes": [3]}, "state.layers: expected 2 layers"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_requests_are_refused_with_what_was_expected(page, changes, message):
    error = refused(lambda r, **options: list(page.stub.Train(r, **options)), request(**changes))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.details()
    assert len(error.details()) < 500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": []}, "layers: expected at least the output layer, got no layers"),
        ({"features": [1]}, "features: expected no numbers, or x and y, got 1 numbers"),
        ({"features": [1, NAN]}, "features[1]: expected a finite number, got nan"),
        ({"x": [NAN], "y": [1]}, "x[0]: expected a finite number, got nan"),
        ({"map_side": -1}, "map_side: expected a number from 0 to 160, got -1"),
        (
            {"layers": [pb.Layer(activation="tanh", units=4, weights=[0] * 8, biases=[0] * 4)]},
            "layers[0].activation: expected one of softmax, logistic, got 'tanh'",
        ),
        (
            {"layers": [pb.Layer(activation="softmax", units=4, weights=[0] * 7)]},
            "layers[0]: expected 8 weights and 4 biases, got 7 and 0",
        ),
        (
            {"layers": [pb.Layer(activation="softmax", weights=[NAN] * 8, biases=[0] * 4)]},
            "layers[0].weights[0]: expected a finite number, got nan (and 7 more faults)",
        ),
    ],
    ids=lambda value: str(value)[:40].replace("\n", " "),
)
def test_bad_inspections_are_refused_with_what_was_expected(page, changes, message):
    given = {"layers": state().layers, **changes}
    error = refused(page.stub.Inspect, pb.InspectRequest(**given))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.details()


def test_the_number_of_runs_is_limited_and_a_run_ends_when_its_caller_leaves(page):
    endless = {"max_epochs": 1_000_000, "epochs_per_frame": 1}
    runs = [page.stub.Train(request(**endless), timeout=60) for _ in range(2)]
    for run in runs:
        next(run)
    error = refused(lambda r, **options: list(page.stub.Train(r, **options)), request())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for run in runs:
        run.cancel()
    page.logged("call", n=2, method="quadrant.v1.PlaygroundService/Train", status="CANCELLED")
    assert frames(page, max_epochs=1)[-1].epoch == 1


def test_a_run_ends_at_the_limit_of_seconds():
    with PageServerProcess(1, "--run-seconds", "0.2") as page:
        run = frames(page, max_epochs=1_000_000)
    assert run[-1].stop_reason_code == pb.STOP_REASON_TIME_LIMIT
    assert "limit of 0.2 seconds per run is reached" in run[-1].stop_reason
    assert run[-1].HasField("state")
