"""Decodes and checks the requests to a sandbox: a training run, or a network to inspect.

The limits bound the work that one caller can cause, whatever the page sends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quadnet import quadrants
from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS, find_initializer
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.network import Network
from quadnet.nn.solvers import SOLVERS, Solver
from quadnet.types import BoolArray, FloatArray
from service.quadrant_v1.codec import QUADRANT_NUMBERS
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.checks import check_finite_numbers
from service.wire.messages import parse_message

MAX_POINTS = 5_000
MAX_LAYERS = 6
MAX_UNITS = 64
MAX_SIDE = 160
MAX_EPOCHS = 1_000_000

LOSSES = {name: LOSS_PARAMETERS[name].several_classes for name in ("log_loss", "squared_error")}
_LINKS = {"softmax": "softmax_cross_entropy", "logistic": "sigmoid_squared_error"}

CHOICES = {
    "activation": tuple(ACTIVATIONS),
    "loss": tuple(LOSSES),
    "init": ("auto", *INITIALIZERS),
    # The others see all rows at once, and so have no updates to show.
    "solver": tuple(name for name, solver in SOLVERS.items() if solver.makes_updates),
}
"""The allowed values of the named fields of a TrainRequest. The page offers the same."""


@dataclass(frozen=True)
class LabelledPoints:
    """Points X of shape (n, 2), and their quadrants Y as one-hot rows of shape (n, 4)."""

    X: FloatArray
    Y: BoolArray


@dataclass(frozen=True)
class SandboxRequest:
    """Everything that determines a run: two runs of one request are equal bit for bit.

    `network` has the initial weights. `moments`, `epoch` and `updates` are the state from which the
    run continues.
    """

    network: Network
    train: LabelledPoints
    test: LabelledPoints
    solver: Solver
    learning_rate: float
    momentum: float
    batch_size: int
    alpha: float
    seed: int
    max_epochs: int
    stop_accuracy: float
    epoch: int
    updates: int
    moments: FloatArray
    map_side: int
    epochs_per_frame: int
    frames_per_second: float


def decode_train_request(content: bytes) -> SandboxRequest:
    """Decode a TrainRequest.

    Raises
    ------
    InvalidInput
        If a setting is out of range, over a limit, or contradicts another one.
    """
    request = parse_message(pb.TrainRequest, content)
    train = _decode_labelled_points(
        request.x, request.y, request.quadrants, ("x", "y", "quadrants")
    )
    if not len(train.X):
        raise _invalid_field("x", "at least one training point", "0 points")
    fields = ("test_x", "test_y", "test_quadrants")
    test = _decode_labelled_points(request.test_x, request.test_y, request.test_quadrants, fields)
    _check_range("learning_rate", request.learning_rate, above=0.0)
    _check_range("batch_size", request.batch_size, least=1)
    _check_range("alpha", request.alpha, least=0.0)
    _check_range("momentum", request.momentum, least=0.0, below=1.0)
    _check_range("dropout", request.dropout, least=0.0, below=1.0)
    _check_range("max_epochs", request.max_epochs, least=0, most=MAX_EPOCHS)
    _check_range("stop_accuracy", request.stop_accuracy, least=0.0, most=1.0)
    _check_range("epochs_per_frame", request.epochs_per_frame, least=0, most=MAX_EPOCHS)
    if request.frames_per_second:
        _check_range("frames_per_second", request.frames_per_second, least=0.1, most=30.0)
    _check_side(request.map_side)
    network = _make_network(request)
    state = request.state
    solver = SOLVERS[_check_choice("solver", request.solver or "sgd", CHOICES["solver"])]
    moments = np.array(state.moments)
    if request.HasField("state"):
        _check_range("state.epoch", state.epoch, least=0, most=MAX_EPOCHS)
        _check_range("state.updates", state.updates, least=0, most=MAX_EPOCHS * MAX_POINTS)
        _assign_layers(network, state.layers, "state.layers")
        expected = len(network.parameters.flat) * solver.n_moments
        if len(moments) not in (0, expected):
            raise _invalid_field("state.moments", f"0 or {expected} numbers", str(len(moments)))
        _check_finite("state.moments", moments)
    return SandboxRequest(
        network=network,
        train=train,
        test=test,
        solver=solver,
        learning_rate=request.learning_rate,
        momentum=request.momentum,
        batch_size=min(request.batch_size, len(train.X)),
        alpha=request.alpha,
        seed=request.seed,
        max_epochs=request.max_epochs,
        stop_accuracy=request.stop_accuracy,
        epoch=state.epoch,
        updates=state.updates,
        moments=moments,
        map_side=request.map_side,
        epochs_per_frame=request.epochs_per_frame or 1,
        frames_per_second=request.frames_per_second or 15.0,
    )


def decode_inspect_request(content: bytes) -> tuple[pb.InspectRequest, Network, FloatArray]:
    """Return an InspectRequest, its network, and its points of shape (n, 2).

    Raises
    ------
    InvalidInput
        If the layers are not a sandbox network, or a limit is exceeded.
    """
    request = parse_message(pb.InspectRequest, content)
    _check_side(request.map_side)
    X = _decode_points(request.x, request.y, ("x", "y"))
    if len(request.features) not in (0, 2):
        raise _invalid_field(
            "features", "no numbers, or x and y", f"{len(request.features)} numbers"
        )
    _check_finite("features", np.array(request.features))
    if not request.layers:
        raise _invalid_field("layers", "at least the output layer", "no layers")
    *hidden, last = request.layers
    _check_hidden([layer.units for layer in hidden], "layers")
    names = [
        _check_choice(f"layers[{i}].activation", layer.activation, list(ACTIVATIONS))
        for i, layer in enumerate(hidden)
    ]
    link = _check_choice(f"layers[{len(hidden)}].activation", last.activation, list(_LINKS))
    sizes = [2, *(layer.units for layer in hidden), 4]
    network = Network.dense(sizes, activations=names, loss=_LINKS[link])
    _assign_layers(network, request.layers, "layers")
    return request, network, X


def make_map_cells(side: int) -> FloatArray:
    """Return the centres of a map's cells, shape (side * side, 2), row by row from the top."""
    at = (2 * np.arange(side) + 1) / side - 1
    return np.column_stack([np.tile(at, side), np.repeat(-at, side)])


def _make_network(request: pb.TrainRequest) -> Network:
    sizes = list(request.hidden_layer_sizes)
    _check_hidden(sizes, "hidden_layer_sizes")
    activation = _check_choice("activation", request.activation or "tanh", CHOICES["activation"])
    loss = _check_choice("loss", request.loss or "log_loss", CHOICES["loss"])
    init = _check_choice("init", request.init or "auto", CHOICES["init"])
    network = Network.dense(
        [2, *sizes, 4],
        activations=[activation] * len(sizes),
        loss=LOSSES[loss],
        bias=request.biases or not request.HasField("biases"),
        dropout=request.dropout,
    )
    network.initialize(find_initializer(init, activation), np.random.RandomState(request.seed))
    return network


def _assign_layers(network: Network, layers: Sequence[pb.Layer], field: str) -> None:
    """Assign the layers' weights and biases to the network, if they fit and are finite."""
    expected = [W.shape for W in network.parameters.weights]
    if len(layers) != len(expected):
        raise _invalid_field(field, f"{len(expected)} layers, as in the settings", f"{len(layers)}")
    has_biases = any("biases" in arrays for arrays in network.parameters.arrays)
    weights, biases = [], []
    for i, (layer, (inputs, units)) in enumerate(zip(layers, expected, strict=True)):
        W, b = np.array(layer.weights), np.array(layer.biases)
        if len(W) != inputs * units or len(b) != units:
            raise _invalid_field(
                f"{field}[{i}]",
                f"{inputs * units} weights and {units} biases",
                f"{len(W)} and {len(b)}",
            )
        _check_finite(f"{field}[{i}].weights", W)
        _check_finite(f"{field}[{i}].biases", b)
        if not has_biases and b.any():
            raise _invalid_field(
                f"{field}[{i}].biases", "zeros, because biases are off", "other numbers"
            )
        weights.append(W.reshape(inputs, units))
        biases.append(b)
    network.parameters.assign(weights, biases)


def _decode_labelled_points(
    x: Sequence[float], y: Sequence[float], quadrant: Sequence[int], fields: tuple[str, str, str]
) -> LabelledPoints:
    X = _decode_points(x, y, fields[:2])
    if len(quadrant) != len(X):
        raise _invalid_field(fields[2], f"as many as {fields[0]}, {len(X)}", str(len(quadrant)))
    numbers = np.array(quadrant, np.int64)
    order = np.array([QUADRANT_NUMBERS[name] for name in quadrants.NAMES])
    Y = numbers[:, np.newaxis] == order
    unknown = np.flatnonzero(~Y.any(axis=1))
    if len(unknown):
        row = unknown[0]
        raise _invalid_field(
            f"{fields[2]}[{row}]", "one of the four quadrants", f"the number {numbers[row]}"
        )
    return LabelledPoints(X, Y)


def _decode_points(x: Sequence[float], y: Sequence[float], fields: Sequence[str]) -> FloatArray:
    if len(x) > MAX_POINTS:
        raise _invalid_field(fields[0], f"at most {MAX_POINTS} points", str(len(x)))
    if len(x) != len(y):
        raise _invalid_field(fields[1], f"as many values as {fields[0]}, {len(x)}", str(len(y)))
    _check_finite(fields[0], np.array(x))
    _check_finite(fields[1], np.array(y))
    return np.column_stack([np.array(x, float), np.array(y, float)])


def _check_hidden(sizes: Sequence[int], field: str) -> None:
    if len(sizes) > MAX_LAYERS:
        raise _invalid_field(field, f"at most {MAX_LAYERS} hidden layers", str(len(sizes)))
    for i, units in enumerate(sizes):
        if not 1 <= units <= MAX_UNITS:
            raise _invalid_field(f"{field}[{i}]", f"from 1 to {MAX_UNITS} units", str(units))


def _check_side(side: int) -> None:
    _check_range("map_side", side, least=0, most=MAX_SIDE)


def _check_finite(field: str, values: FloatArray) -> None:
    check_finite_numbers(values, lambda i: f"{field}[{i}]")


def _check_range(
    field: str,
    value: float,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    if least <= value <= most and above < value < below:
        return
    limits = [
        f"{word} {limit:,.9g}"
        for word, limit in (("from", least), ("above", above), ("to", most), ("below", below))
        if math.isfinite(limit)
    ]
    raise _invalid_field(field, f"a number {' '.join(limits)}", f"{value:g}")


def _check_choice(field: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise _invalid_field(field, f"one of {', '.join(known)}", shorten(value))
    return value


def _invalid_field(field: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput([Violation(field, f"expected {expected}, got {got}")])
