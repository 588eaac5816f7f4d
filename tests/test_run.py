"""Runs: data, judgement, gate, and what is published of them."""

import numpy as np
import pytest

from pipeline import datasets, presets, run
from quadnet import quadrants
from quadnet.errors import GateFailed, InvalidSetting

SMALL = [
    "data.points=400",
    "network.solver=adam",
    "network.max_iter=60",
    "network.learning_rate_init=0.05",
]


def test_a_run_publishes_what_it_judged(registry):
    config = presets.load("quadrants", [*SMALL, "gate.accuracy=0.9"])
    trial = run.attempt(config)
    model = run.publish(trial, registry)
    assert registry.target("quadrants").version == 1
    manifest = registry.load("quadrants", 1).manifest
    assert manifest.metrics == trial.metrics
    assert manifest.config == config.model_dump(mode="json")
    assert manifest.training.epochs == 60
    assert manifest.training.updates == 120
    assert [f.name for f in manifest.signature.features] == ["x", "y"]
    X = np.random.default_rng(5).uniform(-1, 1, (20_000, 2))
    accuracy = (model.predictor.predict(X) == quadrants.label(X)).mean()
    assert accuracy == pytest.approx(manifest.metrics["accuracy"], abs=0.01)


def test_the_same_configuration_gives_the_same_weights_bit_for_bit(registry):
    config = presets.load("quadrants", [*SMALL, "gate.accuracy=0.9"])
    digests = {run.publish(run.attempt(config), registry).manifest.tensor_digest for _ in range(2)}
    assert len(digests) == 1
    other = presets.load("quadrants", [*SMALL, "gate.accuracy=0.9", "network.random_state=2"])
    assert run.publish(run.attempt(other), registry).manifest.tensor_digest not in digests


def test_a_failed_gate_publishes_nothing(registry):
    config = presets.load("quadrants", [*SMALL, "network.max_iter=1", "gate.accuracy=0.9"])
    with pytest.raises(GateFailed, match=r"not published: accuracy 0\.\d+ misses the gate's 0\.9"):
        run.publish(run.attempt(config), registry)
    assert not registry.root.exists()


@pytest.mark.parametrize("name", presets.NAMES)
def test_each_preset_passes_its_gate(name):
    trial = run.attempt(presets.load(name))
    assert trial.passed
    floor = {"article-1": 0.98, "article-2": 0.95, "quadrants": 0.999, "digits": 0.97}[name]
    assert trial.config.gate.accuracy == floor


@pytest.mark.parametrize("seed", range(5))
def test_network_1_reaches_its_gate_whatever_the_seed(seed):
    changes = [f"data.seed={seed}", f"network.random_state={seed}"]
    assert run.attempt(presets.load("article-1", changes)).metrics["accuracy"] >= 0.98


def test_the_articles_presets_are_its_settings():
    first, second = presets.load("article-1"), presets.load("article-2")
    for config in (first, second):
        settings = config.network
        assert (settings["loss"], settings["solver"]) == ("squared_error", "sgd")
        assert (settings["batch_size"], settings["momentum"], settings["alpha"]) == (1, 0, 0)
        assert (settings["max_iter"], settings["shuffle"]) == (1, False)
        assert settings["learning_rate_init"] == 0.1
    assert (first.data.placement, first.data.points, first.data.draws) == ("centres", 4, 10_000)
    assert (first.network["hidden_layer_sizes"], first.network["init"]) == ([], "uniform01")
    assert (second.data.placement, second.data.points) == ("uniform", 1000)
    assert (second.network["hidden_layer_sizes"], second.network["init"]) == ([6], "uniform")
    assert second.network["activation"] == "logistic"


def test_the_pages_five_settings_are_adjustable():
    trial = run.attempt(
        presets.load(
            "article-2",
            [
                "data.points=500",
                "data.draws=3000",
                "network.learning_rate_init=0.2",
                "network.hidden_layer_sizes=[8]",
                "test.points=200",
            ],
        )
    )
    assert trial.predictor.network.layer_sizes == (2, 8, 4)
    assert trial.training.updates == 3000
    assert len(np.unique(trial.training_part.X, axis=0)) <= 500
    assert len(trial.test_part.y) == 200


def test_centres_are_the_four_points_and_draws_pick_among_them():
    part, _ = datasets.parts(presets.load("article-1"))
    points, counts = np.unique(part.X, axis=0, return_counts=True)
    assert points.tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    assert counts.sum() == 10_000
    assert counts.min() > 2300


@pytest.mark.parametrize(("train_seed", "test_seed"), [(0, 0), (1, 1), (0, 1), (1, 0)])
def test_held_out_points_are_never_training_points(train_seed, test_seed):
    config = presets.load("quadrants", [f"data.seed={train_seed}", f"test.seed={test_seed}"])
    train, test = datasets.parts(config)
    assert {tuple(x) for x in train.X}.isdisjoint(tuple(x) for x in test.X)


def test_scans_put_aside_are_a_fifth_of_every_digit_and_not_trained_on():
    train, test = datasets.parts(presets.load("digits"))
    assert (len(train.y), len(test.y)) == (1437, 360)
    _, counts = np.unique(test.y, return_counts=True)
    assert counts.min() >= 35
    assert {x.tobytes() for x in train.X}.isdisjoint(x.tobytes() for x in test.X)
    assert train.features[:2] == ("pixel_0_0", "pixel_0_1")
    with pytest.raises(InvalidSetting, match=r"from 10 to 1697 of the 1797 scans\. Got 1700"):
        datasets.parts(presets.load("digits", ["test.points=1700"]))


def test_the_digest_of_a_dataset_follows_its_content():
    config = presets.load("quadrants", ["data.points=100"])
    part, _ = datasets.parts(config)
    assert part.sha256() == datasets.parts(config)[0].sha256()
    moved = part.X.copy()
    moved[3, 1] = np.nextafter(moved[3, 1], 2)
    assert datasets.Dataset(part.features, moved, part.y).sha256() != part.sha256()
    swapped = part.y.copy()
    swapped[0] = "I" if swapped[0] != "I" else "II"
    assert datasets.Dataset(part.features, part.X, swapped).sha256() != part.sha256()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network.foo=3", "There is no key network.foo. The keys there are: activation, alpha"),
        ("network.alpha=-3", "The 'alpha' parameter of NeuralNetworkClassifier must be a float"),
        ("network.hidden_layer_sizes=six", "The 'hidden_layer_sizes' parameter"),
        ("network.learning_rate_init=0", "The 'learning_rate_init' parameter"),
        ("data.draws=2", "No training row is of class I"),
    ],
)
def test_a_wrong_network_setting_is_said(change, message):
    with pytest.raises(InvalidSetting) as caught:
        run.attempt(presets.load("quadrants", [*SMALL, change]))
    assert message in str(caught.value)
