"""Runs whose run file has a stack of layers: from training to publication and retraining."""

import csv

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.config.run_file import load_run_file
from pipeline.data.splits import make_splits
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.training.candidate_training import train_candidate
from pipeline.training.retraining import Outcome, retrain_version
from quadnet import NeuralNetworkClassifier
from quadnet.errors import NotFound
from quadnet.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D
from quadnet.registry.version_files import compute_tensor_digest
from tests.support.serving import quadnet

RUN = """
name = "scans"
dtype = "float32"
validation = 0.1
calibrate = true
[data]
kind = "digits"
[network]
input_shape = [8, 8]
layers = [
    {kind = "batch_norm"}, {kind = "conv2d", filters = 6, kernel = 3, padding = "same"}, "silu",
    {kind = "max_pool2d", size = 2}, {kind = "flatten"}, {kind = "dropout", rate = 0.1},
    {kind = "dense", units = 24}, "relu",
]
learning_rate_init = 0.01
batch_size = 64
max_iter = 12
[gate]
accuracy = 0.9
"""

STACK = [
    BatchNorm(), Conv2D(6, 3, padding="same"), "silu", MaxPool2D(2), Flatten(), Dropout(0.1),
    Dense(24), "relu",
]  # fmt: skip


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "scans.toml"
    path.write_text(RUN)
    return path


def train(run_file, registry, *changes):
    sets = [word for change in changes for word in ("--set", change)]
    return quadnet("train", run_file, "--registry", registry.root, *sets)


def test_a_stack_is_published_shown_scored_and_retrained(tmp_path, run_file, registry):
    done = train(run_file, registry)
    assert (done.returncode, done.stderr) == (0, "")
    model = registry.load("scans", 1)
    kinds = [layer.kind for layer in model.predictor.network.layers]
    assert kinds == [
        "batch_norm", "conv2d", "activation", "max_pool2d", "flatten", "dense", "activation",
        "dense",
    ]  # fmt: skip
    stored = model.manifest.config["network"]
    assert stored["layers"][1] == {
        "kind": "conv2d", "filters": 6, "kernel": [3, 3], "stride": [1, 1], "padding": "same",
        "bias": True,
    }  # fmt: skip
    assert not {"hidden_layer_sizes", "activation", "dropout"} & stored.keys()

    card = quadnet("models", "show", "scans", "--file", "card.md", "--registry", registry.root)
    assert "max_pool2d(size=2)" in card.stdout
    assert "conv2d(filters=6, kernel=3, padding=same)" in card.stdout
    shown = quadnet("models", "show", "scans", "--registry", registry.root)
    assert (shown.returncode, shown.stderr) == (0, "")

    scans = load_digits()
    rows = tmp_path / "rows.csv"
    with rows.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(scans.feature_names)
        writer.writerows(scans.data[:200].tolist())
    answers = tmp_path / "answers.csv"
    scored = quadnet("score", "scans", rows, answers, "--registry", registry.root)
    assert scored.returncode == 0
    with answers.open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert labels == model.predictor.predict(scans.data[:200]).tolist()
    assert (np.array(labels) == scans.target[:200].astype(str)).mean() > 0.9

    assert retrain_version(model).outcome is Outcome.BIT_IDENTICAL


def test_a_run_trains_what_the_estimator_trains(run_file):
    config = load_run_file(run_file, ["calibrate=false"])
    candidate = train_candidate(config)
    own = make_splits(config)
    X, y = own.train.X.astype(np.float32), own.train.y
    estimator = NeuralNetworkClassifier(
        layers=STACK, input_shape=(8, 8), learning_rate_init=0.01, batch_size=64, max_iter=12,
        random_state=0,
    )  # fmt: skip
    with pytest.warns(match="hasn't converged"):
        estimator.fit(X, y, X_val=own.validation.X.astype(np.float32), y_val=own.validation.y)
    np.testing.assert_array_equal(
        candidate.predictor.probabilities(X), estimator.freeze().probabilities(X)
    )


def test_a_stack_of_dense_layers_is_the_network_of_its_sizes(run_file):
    text = RUN.replace("input_shape = [8, 8]\n", "")
    start, end = text.index("layers = ["), text.index("learning_rate_init")
    scaled = ["scale=true", "calibrate=true"]
    digests = set()
    for network in (
        'hidden_layer_sizes = [20, 10]\nactivation = "tanh"',
        'layers = [{kind = "dense", units = 20}, "tanh", {kind = "dense", units = 10}, "tanh"]',
    ):
        run_file.write_text(f"{text[:start]}{network}\n{text[end:]}")
        candidate = train_candidate(load_run_file(run_file, scaled))
        digests.add(compute_tensor_digest(candidate.predictor))
    assert len(digests) == 1


def test_pictures_are_scaled_by_one_mean_and_one_deviation(run_file):
    layers = 'network.layers=[{kind="flatten"}, {kind="dense", units=12, bias=false}, "tanh"]'
    changes = [layers, "scale=true", "calibrate=false", "dtype=float64", "validation=0"]
    candidate = train_candidate(load_run_file(run_file, changes))
    part = candidate.splits.train
    scaled = (part.X - part.X.mean()) / part.X.std()
    estimator = NeuralNetworkClassifier(
        layers=[Flatten(), Dense(12, bias=False), "tanh"], input_shape=(8, 8), random_state=0,
        learning_rate_init=0.01, batch_size=64, max_iter=12,
    )  # fmt: skip
    with pytest.warns(match="hasn't converged"):
        estimator.fit(scaled, part.y)
    np.testing.assert_allclose(
        candidate.predictor.probabilities(part.X), estimator.predict_proba(scaled), rtol=1e-6
    )


DEEP = """network.layers=[{kind="flatten"}, NESTED]"""
for _ in range(9):
    DEEP = DEEP.replace("NESTED", '{kind="residual", layers=[NESTED]}')
DEEP = DEEP.replace("NESTED", '"relu"')


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["network.input_shape=[4, 4]"],
            "The network does not fit the data: network.input_shape: expected a shape of 64 values",
        ),
        (
            ['network.layers=[{kind="conv2d", filters=2, kernel=9}]'],
            "scans.toml: network.layers[0], Conv2D(2, 9), needs a picture of at least 9 x 9",
        ),
        (
            ["network.solver=lbfgs", "validation=0", "calibrate=false"],
            (
                "The network cannot be trained: The 'layers' parameter of NeuralNetworkClassifier: "
                "layers[0], BatchNorm(), is trained on mini-batches"
            ),
        ),
        (
            [DEEP],
            "could not be published: the network would have 10 layers inside each other, and",
        ),
    ],
)
def test_a_stack_that_does_not_fit_is_refused_and_nothing_is_published(
    run_file, registry, changes, message
):
    done = train(run_file, registry, *changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    with pytest.raises(NotFound):
        registry.load("scans", 1)


def test_without_an_input_shape_a_picture_layer_is_refused(run_file, registry):
    run_file.write_text(RUN.replace("input_shape = [8, 8]\n", ""))
    changes = ['network.layers=[{kind="conv2d", filters=2, kernel=3}, {kind="flatten"}]']
    done = train(run_file, registry, *changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "network.layers[0], Conv2D(2, 3), needs an input of shape (channels" in done.stderr


def test_a_search_chooses_among_stacks(run_file, registry, tmp_path):
    text = RUN[: RUN.index("layers = [")] + RUN[RUN.index("learning_rate_init") :]
    run_file.write_text(
        text
        + """
[search]
folds = 2
[search.space]
layers = [
    [{kind = "flatten"}, {kind = "dropout", rate = 0.99}],
    [{kind = "conv2d", filters = 4, kernel = 3}, "relu", {kind = "flatten"}],
]
"""
    )
    ledger = tmp_path / "scans.jsonl"
    words = ["search", run_file, "--registry", registry.root, "--ledger", ledger]
    done = quadnet(*words, "--set", "network.max_iter=6", "--set", "gate.accuracy=0.5")
    assert (done.returncode, done.stderr) == (0, "")
    best = next(line for line in done.stdout.splitlines() if line.startswith("The best: "))
    assert best.startswith("The best: layers=[conv2d(filters=4, kernel=3), relu, flatten]. ")
    manifest = registry.load("scans", 1).manifest
    kinds = [layer["kind"] for layer in manifest.config["network"]["layers"]]
    assert kinds == ["conv2d", "activation", "flatten"]
    both = quadnet(*words, "--set", "network.dropout=0.2")
    assert "network.dropout: expected either search.space.layers or network.dro" in both.stderr
    report = quadnet(*words, "--report", "--set", "network.max_iter=6")
    assert report.stdout.startswith("4 of 4 fits, best accuracy 0.9")
    assert "layers=[flatten, dropout(rate=0.99)]" in report.stdout


def test_the_gate_judges_a_stack_against_the_same_rows(run_file):
    judged = evaluate_candidate(train_candidate(load_run_file(run_file)))
    predictor = judged.candidate.predictor
    accuracy = (predictor.predict(judged.test.X) == judged.test.y).mean()
    assert judged.evaluations["test"].metrics.accuracy == pytest.approx(accuracy)
    assert accuracy > 0.9
