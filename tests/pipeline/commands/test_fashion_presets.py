"""The presets on Fashion-MNIST: short on small files, and in full where the data set is there."""

import csv

import numpy as np
import pytest

from pipeline.config.presets import load_preset
from pipeline.data.splits import make_splits
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.training.candidate_training import train_candidate
from pipeline.training.retraining import Outcome, retrain_version
from tests.support.fashion_files import (
    NAMES,
    needs_fashion_mnist,
    write_fashion_files,
)
from tests.support.serving import quadnet

PRESETS = {"fashion": 0.915, "fashion-dense": 0.895}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_published_shown_scored_and_retrained(tmp_path, registry, preset):
    folder = tmp_path / "fashion"
    arrays = write_fashion_files(folder, 600, 200)
    changes = [f"data.folder='{folder}'", "network.max_iter=6", "gate.accuracy=0.8"]
    sets = [word for change in changes for word in ("--set", change)]
    where = ["--registry", registry.root]
    done = quadnet("train", preset, *sets, *where)
    assert (done.returncode, done.stderr) == (0, "")
    model = registry.load(preset, 1)
    manifest = model.manifest
    assert (manifest.data.test.rows, len(manifest.signature.features)) == (200, 784)
    assert manifest.data.train.rows + manifest.data.validation.rows == 600
    assert manifest.architecture.dtype == "float32"

    card = quadnet("models", "show", preset, *where)
    assert "It was trained on Fashion-MNIST" in card.stdout
    assert "The test part is the official one." in card.stdout
    # The page draws the pictures, because the features are named as pixels.
    page = quadnet("models", "show", preset, "--file", "report.html", *where)
    assert "Ankle boot" in page.stdout
    assert page.stdout.count("<figcaption>") > 10

    X = arrays["test", "images"].reshape(-1, 784) / 255
    rows, answers = tmp_path / "rows.csv", tmp_path / "answers.csv"
    with rows.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([feature.name for feature in manifest.signature.features])
        writer.writerows(X.tolist())
    assert quadnet("score", preset, rows, answers, *where).returncode == 0
    with answers.open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    truth = [NAMES[label] for label in arrays["test", "labels"]]
    right = np.mean(np.array(labels) == np.array(truth))
    assert right == pytest.approx(manifest.metrics["test"].accuracy)
    assert right > 0.8

    assert retrain_version(model).outcome is Outcome.BIT_IDENTICAL
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    result = retrain_version(model)
    assert result.outcome is Outcome.NOT_CHECKED
    assert "Install the Debian package dataset-fashion-mnist" in result.cause


def test_without_the_data_set_the_command_tells_what_to_install(tmp_path, registry):
    done = quadnet(
        "train", "fashion", "--set", f"data.folder='{tmp_path}'", "--registry", registry.root
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Install the Debian package dataset-fashion-mnist, or set data.folder" in done.stderr


@needs_fashion_mnist
def test_an_epoch_of_the_dense_preset_learns_most_of_the_installed_pictures(registry):
    changes = ["network.max_iter=1", "gate.accuracy=0.8"]
    sets = [word for change in changes for word in ("--set", change)]
    done = quadnet("train", "fashion-dense", *sets, "--registry", registry.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "right on 10,000 held-out rows, 10,000 of them distinct" in done.stdout


@needs_fashion_mnist
@pytest.mark.long
@pytest.mark.parametrize(("preset", "floor"), PRESETS.items())
def test_a_preset_reaches_its_accuracy_on_the_official_test_part(preset, floor):
    config = load_preset(preset)
    assert config.gate.accuracy == floor
    own = make_splits(config)
    judged = evaluate_candidate(train_candidate(config, data=own))
    measured = judged.evaluations["test"].metrics
    print(
        f"{preset}: {measured.accuracy:.2%} of {len(judged.test):,} test pictures, "
        f"{judged.candidate.training.seconds:.0f} s"
    )
    assert len(judged.test) == 10_000
    assert judged.passed
    assert measured.accuracy >= floor
