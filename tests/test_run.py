"""Runs: trained, judged, published; and the presets."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_iris

from pipeline import candidate, presets, publishing, runfile, trial
from quadnet import promotion, quadrants
from quadnet.errors import Conflict, CorruptVersion, GateFailed, InvalidSetting
from quadnet.registry import Registry
from tests.serving import QUADNET, ROOT, quadnet

SMALL = [
    "data.points=400",
    "network.solver=adam",
    "network.max_iter=60",
    "network.learning_rate_init=0.05",
    "validation=0",
    "calibrate=false",
    "gate.accuracy=0.9",
]


def attempt(config, champion=None):
    return trial.judge(candidate.train(config), champion)


def accuracy(judged):
    return judged.evaluations["test"].metrics.accuracy


def small(*changes):
    return presets.load("quadrants", [*SMALL, *changes])


def test_a_run_publishes_what_it_judged(registry):
    judged = attempt(small())
    model = publishing.publish(judged, registry)
    assert registry.target("quadrants").version == 1
    manifest = registry.load("quadrants", 1).manifest
    assert manifest.metrics["test"] == judged.evaluations["test"].metrics
    assert manifest.config == judged.candidate.config.model_dump(mode="json")
    assert manifest.training.epochs == 60
    assert manifest.training.updates == 120
    assert [f.name for f in manifest.signature.features] == ["x", "y"]
    assert (manifest.forced, manifest.baseline) == (None, None)
    X = np.random.default_rng(5).uniform(-1, 1, (20_000, 2))
    accuracy = (model.predictor.predict(X) == quadrants.label(X)).mean()
    assert accuracy == pytest.approx(manifest.metrics["test"].accuracy, abs=0.01)


def test_a_version_holds_its_curves_its_evaluation_and_its_card(registry):
    model = publishing.publish(
        attempt(small("validation=0.25", "network.early_stopping=true")), registry
    )
    lines = registry.attachment(model, "history.jsonl").decode().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [e["epoch"] for e in epochs] == list(range(1, model.manifest.training.epochs + 1))
    assert epochs[0].keys() == {
        "epoch", "loss", "learning_rate", "validation_loss", "validation_score",
    }  # fmt: skip
    best = max(e["validation_score"] for e in epochs)
    assert epochs[model.manifest.training.best_epoch - 1]["validation_score"] == best
    evaluated = json.loads(registry.attachment(model, "evaluation.json"))
    assert evaluated.keys() == {"train", "validation", "test"}
    assert np.sum(evaluated["test"]["confusion"]) == 10_000
    assert registry.attachment(model, "card.md").startswith(b"# ")
    assert registry.attachment(model, "nonesuch") is None


def test_the_same_configuration_gives_the_same_weights_bit_for_bit(registry):
    config = small("validation=0.1", "calibrate=true", "scale=true")
    digests = {
        publishing.publish(attempt(config), registry).manifest.tensor_digest for _ in range(2)
    }
    assert len(digests) == 1
    other = small("validation=0.1", "calibrate=true", "scale=true", "network.random_state=2")
    assert publishing.publish(attempt(other), registry).manifest.tensor_digest not in digests


def test_two_processes_give_the_same_weights_bit_for_bit(registry):
    words = ["train", "digits", "--set", "network.max_iter=5", "--set", "gate.accuracy=0.5"]
    for threads in ("1", "2"):
        done = quadnet(*words, "--registry", registry.root, env={"OPENBLAS_NUM_THREADS": threads})
        assert done.returncode == 0, done.stderr
    digests = {registry.load("digits", n).manifest.tensor_digest for n in (1, 2)}
    assert len(digests) == 1


def test_a_run_without_a_seed_has_seed_0_and_every_parameter_is_in_the_manifest(registry):
    tree = small().model_dump()
    del tree["network"]["random_state"]
    config = runfile.RunConfig.model_validate(tree)
    assert candidate.resolved(config).network["random_state"] == 0
    resolved = candidate.resolved(small())
    assert resolved.network["beta_1"] == 0.9
    assert resolved == candidate.resolved(resolved)
    # The digest is of what is done, not of how much of it was written down.
    spelled_out = candidate.resolved(small("network.beta_1=0.9"))
    assert spelled_out.sha256() == resolved.sha256()


def test_a_failed_gate_publishes_nothing(registry):
    with pytest.raises(GateFailed, match="not published: it failed its gate on accuracy, "):
        publishing.publish(attempt(small("network.max_iter=1")), registry)
    assert not registry.root.exists()


def test_what_is_worse_than_the_champion_is_refused_and_what_is_forced_says_why(registry):
    champion = publishing.publish(attempt(small()), registry)
    worse = small("network.max_iter=15", "gate.accuracy=0.1")
    judged = attempt(worse, champion)
    assert judged.baseline.version == 1
    assert judged.baseline.metrics == champion.manifest.metrics["test"]
    failed = {verdict.metric for verdict in judged.gate if not verdict.passed}
    assert "accuracy (champion: version 1)" in failed
    with pytest.raises(GateFailed, match=r"champion: version 1"):
        publishing.publish(judged, registry)
    assert registry.versions("quadrants") == [1]
    forced = publishing.publish(judged, registry, forced="the old one is too slow")
    assert forced.manifest.forced == "the old one is too slow"
    assert registry.aliases("quadrants").reason == "forced: the old one is too slow"


def test_just_as_good_as_the_champion_is_good_enough(registry):
    champion = publishing.publish(attempt(small()), registry)
    again = attempt(small(), champion)
    assert again.passed
    assert len(again.gate) == 1 + 1 + 4
    assert publishing.publish(again, registry).manifest.baseline.version == 1


def test_another_champion_meanwhile_is_judged_against_before_it_is_replaced(registry):
    champion = publishing.publish(attempt(small()), registry)
    judged = attempt(small(), champion)
    worse = attempt(small("network.max_iter=45", "gate.tolerance=0.1"), champion)
    assert worse.passed
    publishing.publish(attempt(small(), champion), registry)
    # As good as the new champion, by the same rows: it follows.
    publishing.publish(judged, registry)
    assert registry.target("quadrants").version == 3
    assert registry.aliases("quadrants").reason == "passed its gate, against version 2"


def better_and_worse(first_champion=None):
    """Return two trials that were judged against the same champion, the second one worse."""
    better = attempt(small(), first_champion)
    worse = attempt(small("network.max_iter=15", "gate.accuracy=0"), first_champion)
    assert accuracy(worse) < accuracy(better)
    return better, worse


def test_the_first_champion_is_not_replaced_by_a_worse_one_that_was_judged_before_it_came(registry):
    better, worse = better_and_worse()
    assert better.passed
    assert worse.passed
    publishing.publish(better, registry)
    with pytest.raises(Conflict) as caught:
        publishing.publish(worse, registry)
    assert re.fullmatch(
        r"quadrants version 2 is published, but the champion was changed after the version was "
        r"judged \(now version 1\)\. Judged again, it failed its gate on accuracy \(champion: "
        r"version 1\), .*, and no alias was moved\. To make it champion anyway: quadnet models "
        r"alias quadrants champion=2",
        str(caught.value),
    )
    assert registry.target("quadrants").version == 1
    assert registry.versions("quadrants") == [1, 2]
    # Forced, or without a comparison in its gate, it moves, and the history says why.
    publishing.publish(worse, registry, forced="a test")
    assert registry.target("quadrants").version == 3
    assert registry.aliases("quadrants").reason == "forced: a test"
    publishing.publish(attempt(small("gate.champion=false")), registry)
    assert registry.target("quadrants").version == 4


def test_a_champion_that_was_removed_meanwhile_is_no_obstacle(registry):
    champion = publishing.publish(attempt(small()), registry)
    judged = attempt(small(), champion)
    promotion.set_aliases(registry, "quadrants", {"champion": None}, reason="withdrawn")
    publishing.publish(judged, registry)
    assert registry.target("quadrants").version == 2
    assert registry.aliases("quadrants").reason == "passed its gate"


def test_a_new_champion_that_cannot_be_compared_with_is_a_conflict(registry):
    judged = attempt(small())
    trained = attempt(presets.load("digits", ["name='quadrants'", "network.max_iter=20"]))
    publishing.publish(trained, registry, forced="another signature")
    with pytest.raises(Conflict, match=r"version 2 is published, but .* has other features than"):
        publishing.publish(judged, registry)
    assert registry.target("quadrants").version == 1


def test_a_damaged_champion_can_be_replaced_by_force(registry):
    publishing.publish(attempt(small()), registry)
    weights = registry.path("quadrants", 1) / "weights.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"")
    with pytest.raises(CorruptVersion):
        publishing.publish(attempt(small()), registry)
    publishing.publish(attempt(small()), registry, forced="the old one is damaged")
    assert registry.target("quadrants").version == 3


RACE = """
import sys
from pathlib import Path

from pipeline import candidate, presets, publishing, trial
from quadnet.errors import Conflict
from quadnet.registry import Registry

# As `quadnet train`, but waiting for the other process between the verdict and the publication.
judged = trial.judge(candidate.train(presets.load("quadrants", sys.argv[2:])))
print("judged", flush=True)
sys.stdin.readline()
try:
    publishing.publish(judged, Registry(Path(sys.argv[1])))
except Conflict as error:
    sys.exit(f"conflict: {error}")
"""


def test_two_first_trainings_at_once_leave_the_better_one_as_champion(tmp_path):
    for round_ in range(4):
        registry = Registry(tmp_path / str(round_))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, registry.root, *SMALL, *changes],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for changes in ([], ["network.max_iter=15", "gate.accuracy=0"])
        ]
        for process in processes:
            assert process.stdout.readline() == "judged\n", process.communicate()
        # Which of the two comes first must not matter.
        for process in processes[:: 1 if round_ % 2 else -1]:
            process.stdin.write("\n")
            process.stdin.flush()
        better, worse = ((p.communicate(timeout=120)[1], p.returncode) for p in processes)
        assert better == ("", 0)
        assert worse[1] == 0 or worse[0].startswith("conflict: quadrants version"), worse
        manifest = registry.load("quadrants", registry.target("quadrants").version).manifest
        assert manifest.config["network"]["max_iter"] == 60
        assert registry.versions("quadrants") == [1, 2]


def test_two_first_trainings_by_command_at_once_leave_the_better_one_as_champion(tmp_path):
    for round_ in range(2):
        root = tmp_path / str(round_)
        words = [*QUADNET, "train", "quadrants", "--registry", str(root)]
        words += [word for change in SMALL for word in ("--set", change)]
        worse = ["--set", "network.max_iter=15", "--set", "gate.accuracy=0"]
        processes = [
            subprocess.Popen(
                [*words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for more in ([], worse)
        ]
        for process in processes:
            process.communicate(timeout=120)
        assert processes[0].returncode == 0
        registry = Registry(root)
        manifest = registry.load("quadrants", registry.target("quadrants").version).manifest
        assert manifest.config["network"]["max_iter"] == 60


def test_an_alias_moved_meanwhile_does_not_matter(registry):
    champion = publishing.publish(attempt(small()), registry)
    judged = attempt(small(), champion)
    promotion.set_aliases(registry, "quadrants", {"candidate": 1}, reason="meanwhile")
    publishing.publish(judged, registry)
    assert registry.target("quadrants").version == 2


def test_a_champion_of_other_features_cannot_be_compared(registry):
    champion = publishing.publish(attempt(small()), registry)
    digits = presets.load("digits", ["network.max_iter=1"])
    trained = candidate.train(digits)
    with pytest.raises(InvalidSetting, match="has other features than this run"):
        trial.judge(trained, champion)


def test_the_command_prints_the_verdicts_and_forces_with_a_reason(registry):
    words = ["train", "quadrants", "--registry", registry.root]
    words += [word for change in SMALL for word in ("--set", change)]
    assert quadnet(*words).returncode == 0
    worse = [*words, "--set", "network.max_iter=2"]
    done = quadnet(*worse)
    assert done.returncode == 1
    assert "  FAILED  accuracy                            " in done.stdout
    assert "accuracy (champion: version 1)" in done.stdout
    assert done.stderr.startswith("quadnet train: quadrants was not published: it failed its gate")
    assert quadnet(*worse, "--force").returncode == 2
    assert quadnet(*worse, "--reason", "x").returncode == 2
    forced = quadnet(*worse, "--force", "--reason", "a test", "--alias", "candidate")
    assert forced.returncode == 0
    assert "published all the same: a test." in forced.stdout
    assert registry.aliases("quadrants").aliases["candidate"].version == 2
    assert registry.target("quadrants").version == 1


RUN_FILE = """
name = "irises"
scale = true
validation = 0.2
calibrate = true
dtype = "float32"
[data]
kind = "{kind}"
path = "irises.{kind}"
label = "species"
features = ["petal length (cm)", "petal width (cm)"]
[network]
hidden_layer_sizes = [5]
max_iter = 60
learning_rate_init = 0.05
[gate]
accuracy = 0.8
"""


def test_a_file_of_ones_own_is_trained_on_and_both_kinds_are_the_same_data(tmp_path):
    irises = load_iris(as_frame=True)
    frame = irises.data.assign(species=irises.target_names[irises.target])
    frame.to_csv(tmp_path / "irises.csv", index=False)
    frame.to_parquet(tmp_path / "irises.parquet")
    registry = Registry(tmp_path / "registry")
    for kind in ("csv", "parquet"):
        (tmp_path / f"{kind}.toml").write_text(RUN_FILE.format(kind=kind))
        done = quadnet("train", f"{kind}.toml", "--registry", registry.root, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    one, other = (registry.load("irises", n) for n in (1, 2))
    assert one.manifest.data == other.manifest.data
    assert one.manifest.tensor_digest == other.manifest.tensor_digest
    assert [f.name for f in one.manifest.signature.features] == [
        "petal length (cm)",
        "petal width (cm)",
    ]
    assert one.predictor.dtype == np.float32
    # The scaler is part of the network: it takes centimetres.
    answers = one.predictor.predict(frame[["petal length (cm)", "petal width (cm)"]].to_numpy())
    assert (answers == frame["species"]).mean() > 0.9
    # Rebuilt from the manifest alone, where the file is; and where it is not.
    words = ["models", "verify", "irises:1", "--retrain", "--registry", registry.root]
    done = quadnet(*words, cwd=tmp_path)
    assert "irises version 1, retrained: bit-identical" in done.stdout
    done = quadnet(*words, cwd="/")
    assert done.returncode == 1
    assert "it cannot be trained here, irises.csv cannot be read: No such file" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,species\n1,x\n2,x\n", "class"),
        ("a,species\n1,x\ntwo,y\n", "line 3, column a: expected a number, got 'two'"),
        ("a,kind\n1,x\n", "species"),
    ],
)
def test_a_bad_file_of_ones_own_is_one_sentence(tmp_path, content, message):
    (tmp_path / "irises.csv").write_text(content)
    text = RUN_FILE.format(kind="csv").replace('"petal length (cm)", "petal width (cm)"', '"a"')
    (tmp_path / "run.toml").write_text(text)
    done = quadnet("train", "run.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_git_commit_is_recorded(tmp_path, registry):
    def git(*words):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a.txt").write_text("one")
    git("add", ".")
    git("commit", "-m", "first")
    words = ["train", "quadrants", "--registry", registry.root]
    words += [word for change in SMALL for word in ("--set", change)]
    for content in ("one", "two"):
        (tmp_path / "a.txt").write_text(content)
        assert quadnet(*words, cwd=tmp_path).returncode == 0
    clean, dirty = (registry.load("quadrants", n).manifest.lineage.git for n in (1, 2))
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert clean.commit == dirty.commit == head.stdout.strip()
    assert clean.changes_sha256 is None
    assert dirty.changes_sha256 is not None


@pytest.mark.parametrize("name", presets.NAMES)
def test_each_preset_passes_its_gate(name):
    judged = attempt(presets.load(name))
    assert judged.passed
    floor = {"article-1": 0.98, "article-2": 0.95, "quadrants": 0.999, "digits": 0.97}[name]
    assert judged.candidate.config.gate.accuracy == floor


@pytest.mark.parametrize("seed", range(5))
def test_network_1_reaches_its_gate_whatever_the_seed(seed):
    changes = [f"data.seed={seed}", f"network.random_state={seed}"]
    assert accuracy(attempt(presets.load("article-1", changes))) >= 0.98


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
    judged = attempt(
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
    assert judged.candidate.predictor.network.layer_sizes == (2, 8, 4)
    assert judged.candidate.training.updates == 3000
    assert len(np.unique(judged.candidate.parts.train.X, axis=0)) <= 500
    assert len(judged.test.y) == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network.foo=3", "There is no key network.foo. The keys there are: activation, alpha"),
        ("network.alpha=-3", "The 'alpha' parameter of NeuralNetworkClassifier must be a float"),
        ("network.hidden_layer_sizes=six", "The 'hidden_layer_sizes' parameter"),
        ("network.learning_rate_init=0", "The 'learning_rate_init' parameter"),
        ("data.draws=2", "and the part to train on (2 rows) has none"),
    ],
)
def test_a_wrong_network_setting_is_said(change, message):
    with pytest.raises(InvalidSetting) as caught:
        attempt(small(change))
    assert message in str(caught.value)
