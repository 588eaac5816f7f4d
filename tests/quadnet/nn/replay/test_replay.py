"""Fits that are replayed from C against the same fits by NumPy: bit for bit."""

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

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
    Layer,
    LayerNorm,
    LayerStep,
    MaxPool2D,
    Residual,
)
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.replay.library import describe

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # the networks do not converge
    pytest.mark.skipif(
        describe() != "compiled", reason="there is no compiled part, or it is switched off"
    ),
]

ROOT = Path(__file__).parents[4]

RNG = np.random.default_rng(0)
ROWS = RNG.uniform(-1, 1, (400, 5))
LABELS = (ROWS[:, 0] > 0) + 2 * (ROWS[:, 1] > 0)
PICTURES = RNG.normal(size=(400, 36))
SOME_WEIGHTS = RNG.uniform(0, 2, 400)
FEW_WEIGHTS = (RNG.uniform(size=400) > 0.9) * 1.0


def fit(X=ROWS, y=LABELS, *, sample_weight=None, batch_size=7, **parameters):
    """Return an estimator after some 700 updates."""
    if "layers" not in parameters:
        parameters.setdefault("hidden_layer_sizes", (6,))
    net = NeuralNetworkClassifier(
        batch_size=batch_size,
        max_iter=-(-700 * batch_size // X.shape[0]),
        n_iter_no_change=1000,
        random_state=0,
        **parameters,
    )
    return net.fit(X, y, sample_weight=sample_weight)


def check_both_ways(monkeypatch, X=ROWS, **parameters):
    """Fit by NumPy and replayed; return the latter."""
    monkeypatch.setenv("QUADNET_REPLAY", "0")
    computed = fit(X, **parameters)
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    replayed = fit(X, **parameters)
    assert computed.replay_["replayed"] == 0
    assert computed.replay_["reason"] == (
        "switched off: the environment variable QUADNET_REPLAY is 0."
    )
    assert replayed.replay_["refused"] == 0, replayed.replay_
    assert replayed.replay_["replayed"] > 100, replayed.replay_
    done = replayed.replay_["replayed"] + replayed.replay_["computed"]
    assert done == computed.replay_["computed"] == computed.n_updates_ == replayed.n_updates_
    flat = [net._network.parameters.flat for net in (computed, replayed)]
    assert flat[0].tobytes() == flat[1].tobytes()
    assert computed.loss_curve_ == replayed.loss_curve_
    assert computed.learning_rate_curve_ == replayed.learning_rate_curve_
    moments = [net._optimizer.__getstate__() for net in (computed, replayed)]
    for name, value in moments[0].items():
        assert np.asarray(value).tobytes() == np.asarray(moments[1][name]).tobytes(), name
    return replayed


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["log_loss", "binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_losses(monkeypatch, activation, loss, dtype):
    for batch_size in (1, 32):
        check_both_ways(
            monkeypatch, ROWS.astype(dtype), activation=activation, loss=loss, batch_size=batch_size
        )


SETTINGS = {
    "no momentum": {"momentum": 0.0},
    "classical momentum": {"nesterovs_momentum": False},
    "dropout": {"dropout": 0.2},
    "clipping": {"max_grad_norm": 0.1},
    "cosine": {"learning_rate": "cosine"},
    "steps, early stopping": {"learning_rate": "step", "early_stopping": True},
    "falling rate": {"learning_rate": "invscaling"},
    "warm-up": {"warmup_epochs": 2.0},
    "no penalty": {"alpha": 0.0},
    "penalty by sample": {"alpha": 0.1, "alpha_scaling": "samples"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "three hidden layers": {"hidden_layer_sizes": (5, 4, 3), "dropout": 0.2},
    "weights": {"sample_weight": SOME_WEIGHTS},
    "weights of 0": {"sample_weight": FEW_WEIGHTS, "dropout": 0.3, "max_grad_norm": 1.0},
    "class weights": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("parameters", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_solvers_and_what_they_do(monkeypatch, parameters, solver, dtype):
    check_both_ways(monkeypatch, ROWS.astype(dtype), solver=solver, **parameters)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "layers",
    [
        [Dense(6), BatchNorm(), "relu"],
        [Dense(6, bias=False), LayerNorm(), "gelu", Dropout(0.3)],
        [Residual([Dense(5), "tanh", Dropout(0.1)]), "elu"],
        [Conv2D(3, 3), "relu", MaxPool2D(2), Flatten(), Dense(5), "relu"],
        [Conv2D(3, 3, padding="same"), BatchNorm(), AveragePool2D(2), GlobalAveragePool2D()],
        [Conv2D(2, 3, stride=2, padding="same"), MaxPool2D(2, 1), Flatten(), LayerNorm()],
        [Residual([Conv2D(1, 3, padding="same"), Activation("silu")]), Flatten()],
    ],
    ids=str,
)
def test_layers(monkeypatch, layers, dtype):
    is_picture = any(isinstance(layer, Flatten | GlobalAveragePool2D) for layer in layers)
    rows = PICTURES if is_picture else ROWS
    check_both_ways(
        monkeypatch,
        rows.astype(dtype),
        layers=layers,
        input_shape=(6, 6) if is_picture else (5,),
        batch_size=9,
    )


@pytest.mark.parametrize(
    "y", [LABELS > 1, np.eye(4, dtype=int)[LABELS]], ids=["two classes", "labels"]
)
def test_targets(monkeypatch, y):
    check_both_ways(monkeypatch, y=y)


def test_rows_of_every_kind(monkeypatch):
    read_only = ROWS.copy()
    read_only.setflags(write=False)
    memory = np.zeros(ROWS.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(np.float64).reshape(ROWS.shape)
    unaligned[:] = ROWS
    assert not unaligned.flags.aligned
    swapped = ROWS.astype(ROWS.dtype.newbyteorder())
    expected = check_both_ways(monkeypatch)
    for X in (read_only, unaligned, swapped, np.asfortranarray(ROWS), ROWS[::-1][::-1]):
        net = check_both_ways(monkeypatch, X)
        np.testing.assert_array_equal(net.predict_proba(ROWS), expected.predict_proba(ROWS))


def test_what_is_not_replayed_says_why(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    assert fit(sparse.csr_array(ROWS)).replay_["reason"] == "X is sparse."
    large = fit(hidden_layer_sizes=(10_000,), batch_size=200, solver="sgd")
    assert large.replay_["replayed"] == 0
    assert large.replay_["reason"].startswith("The network has many parameters")
    few = NeuralNetworkClassifier((6,), max_iter=5).set_params(tol=0).fit(ROWS[:10], LABELS[:10])
    assert few.replay_ == {"computed": 5, "replayed": 0, "refused": 0, "reason": ""}
    lbfgs = NeuralNetworkClassifier((6,), solver="lbfgs", max_iter=20).fit(ROWS, LABELS)
    assert lbfgs.replay_["replayed"] == lbfgs.replay_["computed"] == 0


@dataclass(frozen=True)
class Foreign(Layer):
    """A layer of someone else, whose step does one thing that cannot be recorded."""

    habit: str
    kind = "foreign"
    needs_output = False

    def output_shape(self, input_shape):
        return input_shape

    def apply(self, arrays, A):
        return 2 * A

    def make_step(self, context):
        return ForeignStep(self.habit, context)


class ForeignStep(LayerStep):
    def __init__(self, habit, context):
        self.habit, self.context = habit, context
        self.input, self.output = context.empty(context.input_shape), context.output
        self.hidden, self.calls = np.empty_like(self.input), 0

    def forward(self):
        np.multiply(self.input, 2.0, out=self.output)
        match self.habit:
            case "branches" if self.input.sum() > 0:
                self.output *= 1.0
            case "reads a number":
                self.output *= 1.0 + 0.0 * float(self.input[0, 0])
            case "copies":
                self.output += 0.0 * self.input.copy()
            case "leaves NumPy's sight":
                np.copyto(self.hidden, np.asarray(self.input.view(np.ndarray)) * 2.0)
                self.output[:] = np.ndarray.view(self.hidden, np.ndarray) + 0.0
            case "counts":
                self.calls += 1
                self.output *= 1.0 + self.calls % 3
            case "gathers":
                self.output[:] = np.where(self.input > 0, self.output, self.output)
            case "asks its context":
                self.context.output *= 3.0
            case "fails":
                self.output += {"ndarray": 0.0}[type(self.input).__name__]

    def backward(self, D):
        D *= 2.0
        return D


@pytest.mark.parametrize(
    "habit",
    ["branches", "reads a number", "copies", "leaves NumPy's sight", "counts", "gathers", "fails"],
)
def test_a_layer_that_cannot_be_recorded_is_left_to_numpy(monkeypatch, habit):
    layers = [Dense(4), Foreign(habit), "relu"]
    monkeypatch.setenv("QUADNET_REPLAY", "0")
    computed = fit(layers=layers, input_shape=(5,))
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    net = fit(layers=layers, input_shape=(5,))
    assert net.replay_["replayed"] == 0
    assert net.replay_["refused"] == 1
    assert net.replay_["reason"].startswith("An update cannot be replayed: ")
    if habit != "counts":  # it was asked twice for one update
        assert net._network.parameters.flat.tobytes() == computed._network.parameters.flat.tobytes()


@pytest.mark.parametrize("habit", ["none", "asks its context"])
def test_a_layer_of_someone_else_is_replayed(monkeypatch, habit):
    check_both_ways(monkeypatch, layers=[Dense(4), Foreign(habit), "relu"], input_shape=(5,))


def test_divergence_is_the_same_error(monkeypatch):
    texts = []
    for switch in "01":
        monkeypatch.setenv("QUADNET_REPLAY", switch)
        with pytest.raises(ValueError, match="Training diverged") as caught:
            fit(1e3 * ROWS, activation="identity", solver="sgd", learning_rate_init=0.5)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("hidden", [1, 3])
def test_values_that_overflow_late_are_the_same_error(monkeypatch, hidden):
    # The inputs of the hidden units are infinite, and the gradient of the output is exactly 0.
    X = np.random.default_rng(0).normal(size=(400, 1))
    y = X[:, 0] > 0
    X[300:], y[300:] = 1e307 * np.abs(X[300:]), True
    texts = []
    for switch in "01":
        monkeypatch.setenv("QUADNET_REPLAY", switch)
        with pytest.raises(ValueError, match="the loss of epoch 1 is nan") as caught:
            fit(
                *(X, y), hidden_layer_sizes=(hidden,), batch_size=1, shuffle=False, alpha=0.0,
                solver="sgd", momentum=0.0, learning_rate_init=1.0, init="uniform01",
            )  # fmt: skip
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_running_means_that_overflow_are_the_same_error(monkeypatch):
    # In the update that is recorded, the ninth.
    X = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    X[320:360] *= np.float32(1e30)
    texts = []
    for switch in "01":
        monkeypatch.setenv("QUADNET_REPLAY", switch)
        with pytest.raises(ValueError, match="the loss of epoch 2 is nan") as caught:
            fit(
                *(X, LABELS), layers=[BatchNorm()], input_shape=(3,), batch_size=40, shuffle=False,
                solver="adamw", max_grad_norm=1.0,
            )  # fmt: skip
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_threads_fit_at_once_as_one_by_one(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    seeds = range(8)

    def parameters(seed):
        net = NeuralNetworkClassifier((6,), batch_size=4, max_iter=60, random_state=seed)
        return net.fit(ROWS, LABELS)._network.parameters.flat.tobytes()

    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(parameters, seeds))
    assert at_once == list(map(parameters, seeds))


FORKED = """
import os, warnings
import numpy as np
from quadnet import NeuralNetworkClassifier
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(400, 3))
def fit():
    net = NeuralNetworkClassifier((6,), batch_size=5, max_iter=20, random_state=0)
    net.fit(X, X[:, 0] > 0)
    assert net.replay_["replayed"] > 1000, net.replay_
    return net._network.parameters.flat.tobytes()
expected = fit()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os._exit(int(fit() != expected))
    children.append(child)
assert fit() == expected
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def run_python(code, **variables):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "QUADNET_REPLAY": "1"} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forked_processes_fit_as_their_parent():
    assert run_python(FORKED) == "[0, 0, 0]\n"


BOTH_WAYS = """
import os, warnings
import numpy as np
from quadnet import NeuralNetworkClassifier
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(400, 5))
for dtype in (np.float32, np.float64):
    for activation in ("relu", "tanh", "gelu", "softplus"):
        seen = []
        for switch in "01":
            os.environ["QUADNET_REPLAY"] = switch
            net = NeuralNetworkClassifier(
                (6,), activation=activation, batch_size=32, max_iter=40, random_state=0
            )
            net.fit(X.astype(dtype), X[:, 0] > 0)
            seen.append(net._network.parameters.flat.tobytes())
        assert net.replay_["replayed"] > 400, net.replay_
        assert seen[0] == seen[1]
print("equal")
"""


@pytest.mark.parametrize("features", ["AVX512F AVX512_SKX AVX512_ICL", "AVX2 FMA3"])
def test_numpy_with_other_vector_instructions(features):
    available = np._core._multiarray_umath.__cpu_features__
    dispatched = set(np._core._multiarray_umath.__cpu_dispatch__)
    names = [name for name in features.split() if available.get(name) and name in dispatched]
    if not names:
        pytest.skip("this processor, or this NumPy, has none of them")
    if features.startswith("AVX2"):  # the smaller ones cannot be left out alone
        names += [name for name in dispatched if name.startswith("AVX512") and available.get(name)]
    assert run_python(BOTH_WAYS, NPY_DISABLE_CPU_FEATURES=" ".join(names)) == "equal\n"


def score_itself(estimator, X, y):
    return estimator.score(X, y)


def score_a_copy(estimator, X, y):
    return pickle.loads(pickle.dumps(estimator)).score(X, y)


def test_an_estimator_pickled_between_epochs_goes_on(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "1")
    net = fit(early_stopping=True, scoring=score_a_copy, batch_size=4)
    plain = fit(early_stopping=True, scoring=score_itself, batch_size=4)
    assert net.validation_scores_ == plain.validation_scores_
    assert net.replay_["replayed"] > 100
    again = pickle.loads(pickle.dumps(net))
    assert again.replay_ == net.replay_
    for each in (net, again):
        each.set_params(early_stopping=False).partial_fit(ROWS, LABELS)
    assert again._network.parameters.flat.tobytes() == net._network.parameters.flat.tobytes()


INTERRUPTED = """
import signal, warnings
import numpy as np
from quadnet import NeuralNetworkClassifier
warnings.simplefilter("ignore")
signal.signal(signal.SIGINT, signal.default_int_handler)
X = np.random.default_rng(0).normal(size=(20_000, 2))
net = NeuralNetworkClassifier(
    (5,), batch_size=1, max_iter=10**9, tol=0, n_iter_no_change=10**9, verbose=True
)
net.fit(X, X[:, 0] > 0)
print(net.stop_reason_, net.replay_["replayed"] > 10_000, net.predict(X).shape)
"""


def test_an_interrupt_ends_a_fit_that_is_replayed():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "QUADNET_REPLAY": "1"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", INTERRUPTED],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(2):
            assert process.stdout.readline().startswith("Iteration")
        process.send_signal(signal.SIGINT)
        last = process.communicate(timeout=120)[0].splitlines()[-1]
        # The interrupt may have cut the line before short.
        assert last.endswith("interrupted True (20000,)")
    finally:
        process.kill()
        process.wait()


COUNTED = """
import signal, warnings
from dataclasses import dataclass
import numpy as np
from quadnet import NeuralNetworkClassifier
from quadnet.layers import ArraySpec, Layer, LayerStep
warnings.simplefilter("ignore")

@dataclass(frozen=True)
class Counter(Layer):
    kind = "counter"
    def output_shape(self, input_shape):
        return input_shape
    def array_specs(self, input_shape):
        return {"updates": ArraySpec((1,), is_trained=False)}
    def apply(self, arrays, A):
        return A
    def make_step(self, context):
        return CounterStep(context)

class CounterStep(LayerStep):
    def __init__(self, context):
        self.input, self.output = context.empty(context.input_shape), context.output
        self.updates = context.parameters
    def forward(self):
        self.updates += 1.0
        self.output[:] = self.input
    def backward(self, D):
        return D

signal.signal(signal.SIGALRM, signal.default_int_handler)
X = np.random.default_rng(0).normal(size=(20_000, 2))
for _ in range(3):
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    net = NeuralNetworkClassifier(
        layers=[Counter()], input_shape=(2,), batch_size=1, max_iter=10**9, tol=0,
        n_iter_no_change=10**9,
    )
    net.fit(X, X[:, 0] > 0)
    assert net.stop_reason_ == "interrupted"
    assert net.replay_["replayed"] > 1000, net.replay_
    made = int(net._network.parameters.arrays[0]["updates"][0])
    counted = net.replay_["computed"] + net.replay_["replayed"]
    print(made == counted == net._optimizer.__getstate__()["updates"])
"""


def test_updates_before_an_interrupt_are_counted():
    # A continued fit of Adam needs their number. An interrupt outside of C may miscount.
    assert run_python(COUNTED).split().count("True") >= 2


def test_a_wrong_value_of_the_switch_is_an_error(monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", "maybe")
    with pytest.raises(ValueError, match="QUADNET_REPLAY must be 0 or 1, got 'maybe'"):
        fit()
