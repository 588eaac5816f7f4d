"""The commands `quadnet models ...` on a registry with a history."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.evaluation.version_diff import compare_predictions
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.training.candidate_training import train_candidate
from pipeline.training.retraining import Outcome, retrain_version
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry
from quadnet.registry.manifest import Record
from tests.support.exact_models import SELF_TEST_INPUTS, exact_predictor, publish, record, signed
from tests.support.serving import quadnet

SMALL = [
    "data.points=400", "test.points=500", "network.max_iter=40", "gate.accuracy=0.5",
    "validation=0", "calibrate=false", "gate.champion=false",
]  # fmt: skip


def run(registry, *changes):
    config = load_preset("quadrants", [*SMALL, *changes])
    return publish_candidate(evaluate_candidate(train_candidate(config)), registry)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a registry with three versions that no test changes."""
    registry = Registry(tmp_path_factory.mktemp("models") / "registry")
    run(registry)
    run(registry, "network.max_iter=5")
    run(registry)
    return registry


@pytest.fixture
def registry(published, tmp_path):
    """Return a copy of the published registry, which a test may change."""
    shutil.copytree(published.root, tmp_path / "registry")
    return Registry(tmp_path / "registry")


def models(registry, *words):
    done = quadnet("models", *words, "--registry", registry.root)
    assert "Traceback" not in done.stderr
    return done


def test_list_shows_each_version_newest_first_with_its_aliases(published):
    done = models(published, "list")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["model", "version", "created", "measured", "weights", "aliases"]
    assert [row[1] for row in rows[1:]] == ["3", "2", "1"]
    assert rows[1][-1] == "champion"
    assert rows[1][-2] == rows[3][-1] != rows[2][-1]
    assert models(published, "list", "quadrants").stdout == done.stdout
    missing = models(published, "list", "digits")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "There is no model 'digits' in the registry. It holds: quadrants." in missing.stderr


def test_an_empty_registry_is_reported_as_empty(tmp_path):
    empty = Registry(tmp_path / "none")
    assert "There is no model in" in models(empty, "list").stdout
    done = models(empty, "verify")
    assert done.returncode == 1
    assert "There is no registry in this directory." in done.stdout
    assert not empty.root.exists()


def test_a_damaged_version_is_listed_as_damaged(registry):
    path = registry.path("quadrants", 2) / "weights.safetensors"
    path.unlink()
    rows = [line.split() for line in models(registry, "list").stdout.splitlines()]
    assert rows[2][1:3] == ["2", "DAMAGED"]


def test_show_prints_the_card_or_a_file(published):
    assert models(published, "show", "quadrants").stdout.startswith("# ")
    manifest = json.loads(
        models(published, "show", "quadrants:2", "--file", "manifest.json").stdout
    )
    assert manifest["version"] == 2
    path = published.path("quadrants", 2) / "manifest.json"
    done = models(published, "show", "quadrants:2", "--file", "manifest.json")
    assert done.stdout == path.read_text()
    done = models(published, "show", "quadrants:latest", "--file", "nonesuch")
    assert done.returncode == 1
    assert (
        "has no file 'nonesuch'. Its files: manifest.json, card.md, evaluation.json" in done.stderr
    )
    assert models(published, "show").returncode == 2


def test_diff_prints_what_changed(published):
    done = models(published, "diff", "quadrants:1", "quadrants:2")
    assert (done.returncode, done.stderr) == (0, "")
    a, b = (published.load("quadrants", n) for n in (1, 2))
    accuracies = [m.manifest.metrics["test"].accuracy for m in (a, b)]
    row = next(line for line in done.stdout.splitlines() if line.startswith("accuracy"))
    assert row.split()[1:3] == [f"{accuracy:.6f}" for accuracy in accuracies]
    assert "network.max_iter: 40 -> 5" in done.stdout
    assert "The weights differ." in done.stdout
    # The plane is predicted again, on other points.
    X = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))
    share = (a.predictor.predict(X) != b.predictor.predict(X)).mean()
    said = float(done.stdout.split("% of answers change")[0].split("\n")[-1])
    assert said == pytest.approx(100 * share, abs=0.3)
    picture = [line[2:] for line in done.stdout.splitlines() if set(line) <= set(" 1234#")][-24:]
    assert len(picture) == 24
    assert (picture[0][0], picture[0][-1], picture[-1][0], picture[-1][-1]) == ("2", "1", "3", "4")
    assert "#" in "".join(picture)


def test_diff_of_a_version_with_itself_prints_no_change(published):
    done = models(published, "diff", "quadrants:1", "quadrants:3")
    assert "The weights are the same, bit for bit." in done.stdout
    assert "0.000% of answers change" in done.stdout


def test_diff_names_the_moves_by_hand(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    # The other half plane: I and II change places, as do III and IV.
    mirrored = exact_predictor().network.parameters.weights[0] * [[-1], [1]]
    predictor = exact_predictor()
    network = predictor.network.to_float64()
    network.parameters.weights[0][:] = mirrored
    predictor = Predictor(network, predictor.classes)
    registry.publish("quadrants", predictor, record(predictor), SELF_TEST_INPUTS)
    found = compare_predictions(registry.load("quadrants", 1), registry.load("quadrants", 2))
    assert found.changed.mean() == 1
    assert {(a, b): share for a, b, share in found.moves()} == {
        ("I", "II"): 0.25, ("II", "I"): 0.25, ("III", "IV"): 0.25, ("IV", "III"): 0.25,
    }  # fmt: skip
    assert found.certainty == pytest.approx(0, abs=1e-12)


def test_diff_draws_a_picture(published, tmp_path):
    path = tmp_path / "changes.png"
    done = models(published, "diff", "quadrants:1", "quadrants:2", "--picture", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes().startswith(b"\x89PNG")
    done = models(published, "diff", "quadrants:1", "quadrants:2", "--picture", tmp_path / "x.gif")
    assert done.returncode == 2
    assert "expected a name that ends in .png or .svg" in done.stderr


def test_diff_of_models_of_other_features_is_refused(registry):
    predictor = exact_predictor()
    other = record(predictor)
    features = [f.model_copy(update={"name": f"{f.name}2"}) for f in other.signature.features]
    signature = other.signature.model_copy(update={"features": features})
    other = Record(**{**dict(other), "signature": signature})
    registry.publish("other", predictor, other, SELF_TEST_INPUTS)
    done = models(registry, "diff", "quadrants:1", "other:1")
    assert done.returncode == 1
    assert "quadrants version 1 has x, y, and other version 1 has x2, y2." in done.stderr


def test_alias_moves_several_at_once_and_shows_the_history(registry):
    done = models(
        registry, "alias", "quadrants", "champion=1", "candidate=latest", "--reason", "a b"
    )
    assert done.returncode == 0
    assert "candidate=3 champion=1 (a b)" in done.stdout
    done = models(registry, "alias", "quadrants", "champion=candidate", "candidate=champion")
    assert "candidate=1 champion=3" in done.stdout
    done = models(registry, "alias", "quadrants", "candidate=")
    assert ": champion=3 (by hand)" in done.stdout
    history = models(registry, "alias", "quadrants").stdout.splitlines()
    assert [line.split(",")[0] for line in history] == ["6", "5", "4", "3", "2", "1"]
    late = models(registry, "alias", "quadrants", "champion=1", "--expect", "5")
    assert late.returncode == 1
    assert "Expected the aliases at generation 5, found generation 6" in late.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["champion=9"], "has no version 9. Its versions, newest first: 3, 2, 1."),
        (["champion=nobody"], "has no alias 'nobody'"),
        (["Champion=1"], "'Champion' cannot be an alias"),
        (["latest=1"], "'latest' cannot be an alias"),
        (["candidate="], "has no alias 'candidate' to remove. Its aliases: champion."),
    ],
)
def test_a_wrong_alias_is_one_sentence_and_changes_nothing(registry, words, message):
    done = models(registry, "alias", "quadrants", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert registry.aliases("quadrants").generation == 3


def test_rollback_goes_back_further_each_time(registry):
    for version in (2, 1):
        assert f"champion={version}" in models(registry, "rollback", "quadrants").stdout
    done = models(registry, "rollback", "quadrants")
    assert done.returncode == 1
    assert "had no other target before version 1" in done.stderr
    assert "champion=3" in models(registry, "rollback", "quadrants", "--to", "3").stdout


def test_verify_exits_with_1_if_anything_is_wrong(registry):
    done = models(registry, "verify")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "4 looked at, 0 wrong.")
    path = registry.path("quadrants", 2) / "evaluation.json"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b"accuracy", b"accurady"))
    done = models(registry, "verify")
    assert done.returncode == 1
    assert "WRONG  quadrants version 2: Version 2 of model 'quadrants' must not" in done.stdout
    assert "evaluation.json: its sha256 is not the one in the manifest." in done.stdout
    assert models(registry, "verify", "quadrants:3").returncode == 0
    assert models(registry, "verify", "quadrants:2").returncode == 1
    assert models(registry, "verify", "digits").returncode == 1


def test_gc_is_a_dry_run_without_apply(registry):
    words = ["gc", "--keep", "1", "--days", "0", "--generations", "1"]
    dry = models(registry, *words)
    assert "would remove: quadrants version 1" in dry.stdout
    assert registry.versions("quadrants") == [1, 2, 3]
    done = models(registry, *words, "--apply")
    assert (done.returncode, "removed: quadrants version 1" in done.stdout) == (0, True)
    # The champion and the previous champion are kept.
    assert registry.versions("quadrants") == [2, 3]
    gone = models(registry, "show", "quadrants:1")
    assert "has no version 1: it was removed" in gone.stderr


def test_export_writes_a_file(registry, tmp_path):
    done = models(registry, "export", "quadrants:2", "--onnx", tmp_path / "q.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "q.onnx").stat().st_size > 500
    again = models(registry, "export", "quadrants:2", tmp_path / "q.onnx", "--onnx")
    assert again.returncode == 1
    assert "--overwrite" in again.stderr


def test_a_version_is_rebuilt_bit_for_bit_from_its_manifest(published):
    done = models(published, "verify", "quadrants:2", "--retrain")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "ok     quadrants version 2, retrained: bit-identical"


def with_changed_manifest(registry, change):
    """Return version 1 with another manifest, as if another machine had made it."""
    shutil.rmtree(registry.home("quadrants") / "aliases", ignore_errors=True)
    path = registry.path("quadrants", 1) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.unlink()
    path.write_bytes(signed(manifest))
    return registry.load("quadrants", 1)


def nudged(registry, by):
    """Publish version 1 with slightly different weights, as from another BLAS."""
    model = registry.load("quadrants", 1)
    network = model.predictor.network.to_float64()
    network.parameters.flat *= 1 + by
    predictor = Predictor(network, model.predictor.classes)
    kept = Record(**{name: getattr(model.manifest, name) for name in Record.model_fields})
    return registry.publish("quadrants", predictor, kept, model.selftest_inputs).manifest.version


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda m: m["lineage"]["libraries"].update(numpy="1.0"), "the library numpy: 1.0, now "),
        (lambda m: m["lineage"].update(threads=64), "BLAS threads: 64, now 1"),
        (lambda m: m["lineage"].update(cpu="Pentium"), "CPU: Pentium, now "),
        (lambda m: m["lineage"].update(blas=["mkl 1"]), "BLAS: mkl 1, now "),
        (lambda m: None, "nothing that the manifest records"),
    ],
)
def test_retraining_names_the_first_cause_of_difference(registry, change, cause):
    version = nudged(registry, 1e-13)
    shutil.rmtree(registry.path("quadrants", 1))
    registry.path("quadrants", version).rename(registry.path("quadrants", 1))

    def as_version_1(manifest):
        manifest["version"] = 1
        change(manifest)

    retrained = retrain_version(with_changed_manifest(registry, as_version_1))
    assert retrained.outcome is Outcome.SAME_PREDICTIONS
    assert retrained.cause.startswith(cause)


def test_retraining_on_other_data_is_reported(registry):
    model = with_changed_manifest(registry, lambda m: m["config"]["data"].update(seed=9))
    retrained = retrain_version(model)
    assert retrained.outcome is Outcome.DIFFERENT
    assert retrained.cause == "the data: the training part had other content"
    model = with_changed_manifest(registry, lambda m: m["config"]["data"].update(points=300))
    assert "had 400 rows, now 300 rows" in retrain_version(model).cause


def test_retraining_from_other_settings_is_different_for_no_recorded_reason(registry, tmp_path):
    model = with_changed_manifest(registry, lambda m: m["config"]["network"].update(max_iter=3))
    retrained = retrain_version(model)
    assert retrained.outcome is Outcome.DIFFERENT
    assert retrained.cause == "the configuration: its digest is not the recorded one"

    def with_its_digest(manifest):
        config = json.dumps(manifest["config"], sort_keys=True)
        manifest["config_sha256"] = hashlib.sha256(config.encode()).hexdigest()

    retrained = retrain_version(with_changed_manifest(registry, with_its_digest))
    assert retrained.outcome is Outcome.DIFFERENT
    assert retrained.cause == "nothing that the manifest records"
    done = models(registry, "verify", "quadrants:1", "--retrain")
    assert done.returncode == 1
    assert "its manifest does not lead back to it" in done.stdout
