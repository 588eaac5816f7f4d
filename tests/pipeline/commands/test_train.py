"""Runs from training to publication, and the presets."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import load_file
from sklearn.datasets import load_iris

from pipeline.config import run_file
from pipeline.config.presets import PRESET_NAMES, load_preset
from pipeline.config.run_file import load_run_file
from pipeline.data.splits import make_splits
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.training.candidate_training import resolve_config, train_candidate
from quadnet import quadrants
from quadnet.cli import main
from quadnet.cli.advice import explain_error
from quadnet.errors import (
    ConfigurationError,
    Conflict,
    CorruptVersion,
    GateFailed,
    NotComparable,
    TrainingFailed,
    UnsuitableData,
)
from quadnet.registry import Registry, alias_changes
from tests.support.serving import QUADNET, ROOT, quadnet

SMALL = [
    "data.points=400",
    "network.solver=adam",
    "network.max_iter=60",
    "network.learning_rate_init=0.05",
    "validation=0",
    "calibrate=false",
    "gate.accuracy=0.9",
]


def evaluate_run(config, champion=None):
    return evaluate_candidate(train_candidate(config), champion)


def accuracy(judged):
    return judged.evaluations["test"].metrics.accuracy


def small_config(*changes):
    return load_preset("quadrants", [*SMALL, *changes])


def test_a_run_publishes_what_it_judged(registry):
    judged = evaluate_run(small_config())
    model = publish_candidate(judged, registry)
    assert registry.target("quadrants").version == 1
    manifest = registry.load("quadrants", 1).manifest
    assert manifest.metrics["test"] == judged.evaluations["test"].metrics
    assert manifest.config == judged.candidate.config.model_dump(mode="json")
    assert manifest.training.epochs == 60
    assert manifest.training.updates == 120
    assert [f.name for f in manifest.signature.features] == ["x", "y"]
    assert (manifest.forced, manifest.baseline) == (None, None)
    X = np.random.default_rng(5).uniform(-1, 1, (20_000, 2))
    accuracy = (model.predictor.predict(X) == quadrants.label_quadrants(X)).mean()
    assert accuracy == pytest.approx(manifest.metrics["test"].accuracy, abs=0.01)


def test_a_version_holds_its_curves_its_evaluation_and_its_card(registry):
    model = publish_candidate(
        evaluate_run(small_config("validation=0.25", "network.early_stopping=true")), registry
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
    config = small_config("validation=0.1", "calibrate=true", "scale=true")
    digests = {
        publish_candidate(evaluate_run(config), registry).manifest.tensor_digest for _ in range(2)
    }
    assert len(digests) == 1
    # Other weights, which need not be as good as the champion's.
    changes = ("network.random_state=2", "gate.champion=false")
    other = small_config("validation=0.1", "calibrate=true", "scale=true", *changes)
    assert publish_candidate(evaluate_run(other), registry).manifest.tensor_digest not in digests


def test_two_processes_give_the_same_weights_bit_for_bit(registry):
    words = ["train", "digits", "--set", "network.max_iter=5", "--set", "gate.accuracy=0.5"]
    for threads in ("1", "2"):
        done = quadnet(*words, "--registry", registry.root, env={"OPENBLAS_NUM_THREADS": threads})
        assert done.returncode == 0, done.stderr
    digests = {registry.load("digits", n).manifest.tensor_digest for n in (1, 2)}
    assert len(digests) == 1


def test_a_run_without_a_seed_has_seed_0_and_every_parameter_is_in_the_manifest(registry):
    tree = small_config().model_dump()
    del tree["network"]["random_state"]
    config = run_file.RunConfig.model_validate(tree)
    assert resolve_config(config).network["random_state"] == 0
    resolved = resolve_config(small_config())
    assert resolved.network["beta_1"] == 0.9
    assert resolved == resolve_config(resolved)
    # The digest is of the resolved configuration, with or without its defaults written out.
    spelled_out = resolve_config(small_config("network.beta_1=0.9"))
    assert spelled_out.sha256() == resolved.sha256()


def test_a_failed_gate_publishes_nothing(registry):
    with pytest.raises(GateFailed, match="not published: it failed its gate on accuracy, "):
        publish_candidate(evaluate_run(small_config("network.max_iter=1")), registry)
    assert not registry.root.exists()


def test_a_worse_candidate_is_refused_and_a_forced_one_records_the_reason(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    worse = small_config("network.max_iter=15", "gate.accuracy=0.1")
    judged = evaluate_run(worse, champion)
    assert judged.baseline.version == 1
    assert judged.baseline.metrics == champion.manifest.metrics["test"]
    failed = {verdict.metric for verdict in judged.gate if not verdict.passed}
    assert "accuracy (champion: version 1)" in failed
    with pytest.raises(GateFailed, match=r"champion: version 1"):
        publish_candidate(judged, registry)
    assert registry.versions("quadrants") == [1]
    forced = publish_candidate(judged, registry, forced="the old one is too slow")
    assert forced.manifest.forced == "the old one is too slow"
    assert registry.aliases("quadrants").reason == "forced: the old one is too slow"


def test_just_as_good_as_the_champion_is_good_enough(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    again = evaluate_run(small_config(), champion)
    assert again.passed
    # Its own limit, the champion's five, the test part's two, and the most frequent class.
    assert len(again.gate) == 1 + 5 + 2 + 1
    assert publish_candidate(again, registry).manifest.baseline.version == 1


def test_a_new_champion_is_compared_with_before_it_is_replaced(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    judged = evaluate_run(small_config(), champion)
    worse = evaluate_run(small_config("network.max_iter=45", "gate.tolerance=0.1"), champion)
    assert worse.passed
    publish_candidate(evaluate_run(small_config(), champion), registry)
    # As good as the new champion, on the same rows: it is promoted.
    publish_candidate(judged, registry)
    assert registry.target("quadrants").version == 3
    assert registry.aliases("quadrants").reason == "passed its gate, against version 2"


def better_and_worse(first_champion=None):
    """Return two evaluations against the same champion; the second candidate is worse."""
    better = evaluate_run(small_config(), first_champion)
    worse = evaluate_run(small_config("network.max_iter=15", "gate.accuracy=0"), first_champion)
    assert accuracy(worse) < accuracy(better)
    return better, worse


def test_the_first_champion_is_not_replaced_by_a_worse_candidate_evaluated_before_it(registry):
    better, worse = better_and_worse()
    assert better.passed
    assert worse.passed
    publish_candidate(better, registry)
    with pytest.raises(Conflict) as caught:
        publish_candidate(worse, registry)
    assert re.fullmatch(
        r"quadrants version 2 is published, but the champion was changed after its evaluation "
        r"\(now version 1\)\. Against the current champion it failed its gate on accuracy "
        r"\(champion: version 1\), .*, so no alias was moved\. To make it champion anyway: "
        r"quadnet models alias quadrants champion=2",
        explain_error(caught.value),
    )
    assert registry.target("quadrants").version == 1
    assert registry.versions("quadrants") == [1, 2]
    # Forced, or without a comparison in the gate, the alias moves. The history has the reason.
    publish_candidate(worse, registry, forced="a test")
    assert registry.target("quadrants").version == 3
    assert registry.aliases("quadrants").reason == "forced: a test"
    publish_candidate(evaluate_run(small_config("gate.champion=false")), registry)
    assert registry.target("quadrants").version == 4


def test_a_champion_that_was_removed_does_not_block_promotion(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    judged = evaluate_run(small_config(), champion)
    alias_changes.set_aliases(registry, "quadrants", {"champion": None}, reason="withdrawn")
    publish_candidate(judged, registry)
    assert registry.target("quadrants").version == 2
    assert registry.aliases("quadrants").reason == "passed its gate"


def test_a_new_champion_that_cannot_be_compared_with_is_a_conflict(registry):
    judged = evaluate_run(small_config())
    trained = evaluate_run(load_preset("digits", ["name='quadrants'", "network.max_iter=20"]))
    publish_candidate(trained, registry, forced="another signature")
    with pytest.raises(Conflict, match=r"version 2 is published, but .* has other features than"):
        publish_candidate(judged, registry)
    assert registry.target("quadrants").version == 1


def test_a_damaged_champion_can_be_replaced_by_force(registry):
    publish_candidate(evaluate_run(small_config()), registry)
    weights = registry.path("quadrants", 1) / "weights.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"")
    with pytest.raises(CorruptVersion):
        publish_candidate(evaluate_run(small_config()), registry)
    publish_candidate(evaluate_run(small_config()), registry, forced="the old one is damaged")
    assert registry.target("quadrants").version == 3


RACE = """
import sys
from pathlib import Path

from pipeline.config.presets import load_preset
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.training.candidate_training import train_candidate
from quadnet.errors import Conflict
from quadnet.registry import Registry

# As `quadnet train`, but waiting for the other process between the verdict and the publication.
judged = evaluate_candidate(train_candidate(load_preset("quadrants", sys.argv[2:])))
print("judged", flush=True)
sys.stdin.readline()
try:
    publish_candidate(judged, Registry(Path(sys.argv[1])))
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


def test_a_concurrent_move_of_another_alias_does_not_matter(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    judged = evaluate_run(small_config(), champion)
    alias_changes.set_aliases(registry, "quadrants", {"candidate": 1}, reason="meanwhile")
    publish_candidate(judged, registry)
    assert registry.target("quadrants").version == 2


def test_a_champion_of_other_features_cannot_be_compared(registry):
    champion = publish_candidate(evaluate_run(small_config()), registry)
    digits = load_preset("digits", ["network.max_iter=1"])
    trained = train_candidate(digits)
    with pytest.raises(NotComparable, match="has other features than this run"):
        evaluate_candidate(trained, champion)


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
    assert "published anyway: a test." in forced.stdout
    assert registry.aliases("quadrants").aliases["candidate"].version == 2
    assert registry.target("quadrants").version == 1


def test_the_reader_of_the_output_may_leave_and_the_version_is_published(registry):
    words = ["train", "quadrants", "--registry", registry.root]
    words += [word for change in SMALL for word in ("--set", change)]
    with subprocess.Popen(
        [*QUADNET, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("Trained a ")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(120) == 0
    assert registry.target("quadrants").version == 1
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*QUADNET, *map(str, words)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        0,
        "quadnet: warning: standard output cannot be written: No space left on device.\n",
    )
    assert registry.versions("quadrants") == [1, 2]


def test_a_tilde_that_no_shell_has_replaced_is_the_home_directory(tmp_path):
    (tmp_path / "points.csv").write_text("x,y\n0.5,0.5\n")
    home = {"HOME": str(tmp_path)}
    words = ["train", "quadrants", "--registry=~/m", *(f"--set={change}" for change in SMALL)]
    assert quadnet(*words, cwd=tmp_path, env=home).returncode == 0
    done = quadnet(
        "score", "quadrants", "~/points.csv", "~/out.csv",
        cwd=tmp_path, env={**home, "QUADNET_REGISTRY": "~/m"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    # Libraries keep hidden files in a home.
    names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert names == ["m", "out.csv", "points.csv"]
    # The `~name` of an unknown user is an ordinary name.
    done = quadnet("models", "list", "--registry=~nonesuch/m", cwd=tmp_path, env=home)
    assert done.stdout == "There is no model in ~nonesuch/m yet. `quadnet train` publishes one.\n"


def test_the_evaluation_of_very_many_classes_is_small(tmp_path):
    n_classes, rng = 2000, np.random.default_rng(0)
    X = rng.normal(size=(24_000, 3)).round(4)
    rows = [f"{x},{y},{z},k{i % n_classes}" for i, (x, y, z) in enumerate(X.tolist())]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,z,k", *rows, ""]))
    (tmp_path / "t.toml").write_text(
        'name = "many"\n[data]\nkind = "csv"\npath = "t.csv"\nlabel = "k"\n'
        "[network]\nmax_iter = 1\nhidden_layer_sizes = [4]\n[test]\nallow_small = true\n"
        "[gate]\naccuracy = 0\nbetter_than_majority = false\n"
    )
    registry = Registry(tmp_path / "registry")
    done = quadnet("train", "t.toml", "--registry", registry.root, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = registry.load("many", 1)
    content = registry.attachment(model, "evaluation.json")
    assert len(content) < 4e6
    measured = json.loads(content)["test"]
    rows = sum(c["rows"] for c in measured["metrics"]["classes"].values())
    assert (
        sum(count for _, _, count in measured["confusion"]) == rows == model.manifest.data.test.rows
    )
    right = sum(count for truth, answer, count in measured["confusion"] if truth == answer)
    assert right / rows == pytest.approx(measured["metrics"]["accuracy"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_that_went_badly_is_named_by_its_place_in_the_file(tmp_path, kind):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 2)).round(5)
    labels = np.where(X[:, 0] > 0, "right", "left")
    labels[::17] = "left"
    # Blank lines and rows of two lines shift the numbers of the later lines.
    places, lines = [], ["x,y,note,side"]
    for i, (x, y) in enumerate(X.tolist()):
        if i % 23 == 5:
            lines.append("")
        places.append(len(lines) + 1)
        note = '"two' if i % 31 == 7 else "one"
        lines.append(f"{x},{y},{note}" + (f",{labels[i]}" if note == "one" else ""))
        if note != "one":
            lines.append(f'lines",{labels[i]}')
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("\n".join([*lines, ""]))
    else:
        places = list(range(1, 401))
        columns = {"x": X[:, 0], "y": X[:, 1], "note": ["one"] * 400, "side": labels.tolist()}
        parquet.write_table(pa.table(columns), path, row_group_size=90)
    (tmp_path / "t.toml").write_text(
        f'name = "sides"\n[data]\nkind = "{kind}"\npath = "t.{kind}"\nlabel = "side"\n'
        'features = ["x", "y"]\n[network]\nmax_iter = 50\n[gate]\naccuracy = 0\n'
    )
    registry = Registry(tmp_path / "registry")
    done = quadnet("train", "t.toml", "--registry", registry.root, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    model = registry.load("sides", 1)
    measured = json.loads(registry.attachment(model, "evaluation.json"))
    by_place = dict(zip(places, X.tolist(), strict=True))
    for part in ("train", "test"):
        worst = measured[part]["worst"]
        assert worst[0]["answer"] == "right"
        assert worst[0]["label"] == "left"
        assert [case["x"] for case in worst] == [by_place[case["row"]] for case in worst]
    report = re.sub(r"<[^>]+>", " ", registry.attachment(model, "report.html").decode())
    unit, first = "Line" if kind == "csv" else "Row", measured["test"]["worst"][0]["row"]
    assert re.search(rf"{unit}\s+Label\s+Answer", report)
    assert re.search(rf"{first}\s+left\s+right", report)


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
[test]
share = 0.4
[gate]
accuracy = 0.8
"""


def test_a_user_file_is_trained_on_and_csv_equals_parquet(tmp_path, monkeypatch):
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
    # The scaler is part of the network, which takes centimetres.
    answers = one.predictor.predict(frame[["petal length (cm)", "petal width (cm)"]].to_numpy())
    assert (answers == frame["species"]).mean() > 0.9
    # Rebuilt from the manifest alone, where the file is; and where it is not.
    words = ["models", "verify", "irises:1", "--retrain", "--registry", registry.root]
    done = quadnet(*words, cwd=tmp_path)
    assert "irises version 1, retrained: bit-identical" in done.stdout
    done = quadnet(*words, cwd="/")
    assert done.returncode == 0
    assert done.stdout == (
        "ok     irises version 1, retrained: not checked, irises.csv cannot be read: No such file "
        "or directory\n1 looked at, 0 wrong, 1 not checked.\n"
    )
    # The digest of the test part is compared too: the weights are equal, the test labels differ.
    path = tmp_path / "irises.csv"
    monkeypatch.chdir(tmp_path)
    read = make_splits(resolve_config(load_run_file(tmp_path / "csv.toml")))
    test = {tuple(row) for row in read.test.open().X.tolist()}
    moved = {"setosa": "virginica", "virginica": "versicolor", "versicolor": "setosa"}
    names = ["petal length (cm)", "petal width (cm)"]
    in_test = [tuple(row) in test for row in frame[names].to_numpy().tolist()]
    frame["species"] = frame["species"].astype(str)
    frame.assign(species=frame["species"].where(~np.array(in_test), frame["species"].map(moved)))[
        frame.columns
    ].to_csv(path, index=False)
    done = quadnet(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == (
        "WRONG  irises version 1, retrained: different; the first cause of difference: the data: "
        "the test part had other content: its manifest does not lead back to it"
    )
    # A file that is there and no longer holds the columns is other data; one that may not be read
    # is not checked.
    path.write_text("a,b\n1,2\n")
    done = quadnet(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "the first cause of difference: the data: irises.csv, column species" in done.stdout
    path.unlink()
    path.mkdir()
    done = quadnet(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert "not checked, irises.csv cannot be read: it is a directory" in done.stdout


# ---- what is judged, and by how much


OWN = """
name = "own"
{top}
[data]
kind = "csv"
path = "own.csv"
label = "k"
[network]
hidden_layer_sizes = [6]
max_iter = {epochs}
learning_rate_init = 0.02
[test]
share = 0.2
[gate]
accuracy = 0.0
"""


@pytest.fixture
def own(tmp_path, monkeypatch, capsys):
    """Return a function that writes a table, trains on it, and returns the command's output."""
    monkeypatch.chdir(tmp_path)

    def trained(columns, *changes, top="", epochs=20, words=()):
        names, values = list(columns), zip(*columns.values(), strict=True)
        rows = "".join(",".join(map(str, row)) + "\n" for row in values)
        (tmp_path / "own.csv").write_text(",".join(names) + "\n" + rows)
        (tmp_path / "own.toml").write_text(OWN.format(top=top, epochs=epochs))
        sets = [word for change in changes for word in ("--set", change)]
        return command("train", "own.toml", *sets, *words)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["quadnet", *words, "--registry", "registry"])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, ended.value.code, said.out, said.err)

    trained.command, trained.registry = command, Registry(tmp_path / "registry")
    return trained


def card(own, version):
    return own.registry.attachment(own.registry.load("own", version), "card.md").decode()


def few_distinct_rows(n=2000):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (n, 3))
    p = np.where(X[:, 0] == 1, 0.8, 0.3)
    p[(X == [1, 0, 1]).all(axis=1)] = 1.0
    labels = np.where(rng.random(n) < p, "yes", "no")
    return {**dict(zip("abc", X.T, strict=True)), "k": labels}


def test_a_test_part_of_few_distinct_rows_is_refused_before_the_training(own):
    done = own(few_distinct_rows())
    assert (done.returncode, done.stdout) == (1, "")
    refused = done.stderr.splitlines()[-1]
    assert "The test part is too small: expected at least 30 distinct rows" in refused
    assert "It has 1 distinct row (241 with copies) and no row of the class 'no'" in refused
    assert "test.stratify = true" in refused
    assert "test.allow_small = true" in refused
    assert own.registry.models() == []
    # Stratified, both parts have both classes, but still few distinct rows.
    done = own(few_distinct_rows(), "test.stratify=true")
    assert done.returncode == 1
    assert "no row of the class" not in done.stderr


def test_an_allowed_small_test_part_is_reported_as_small(own):
    done = own(few_distinct_rows(), "test.allow_small=true")
    assert done.returncode == 0, done.stderr
    # Wilson's interval for one right of one, by hand: 1 / (1 + 1.96**2) is 20.65%.
    assert "241 held-out rows, 1 of them distinct (95% confidence: 20.65% to 100%)" in done.stdout
    assert "Warning: The test part has no row of 'no'." in done.stderr.splitlines()
    text = card(own, 1)
    assert "The test part is too small to evaluate a model on: see the limits." in text
    assert "The test part has no row of no." in text
    assert "lies between 20.65% and 100%" in text
    report = own.registry.attachment(own.registry.load("own", 1), "report.html").decode()
    assert "on a test part too small to evaluate a model on" in report
    assert "241 test rows, 1 of them distinct" in report
    assert "✓ Passed" not in report


def test_a_version_forced_past_a_small_test_part_keeps_the_reason(own):
    done = own(few_distinct_rows(), words=["--force", "--reason", "a try"])
    assert done.returncode == 0, done.stderr
    verdicts = {v.metric: v.passed for v in own.registry.load("own", 1).manifest.gate}
    assert verdicts["distinct test rows"] is False
    assert verdicts["classes with test rows"] is False


def test_a_part_whose_share_is_far_off_is_reported(own):
    rng = np.random.default_rng(1)
    x = np.r_[np.zeros(1500), rng.normal(size=500)]
    labels = np.where(x + rng.normal(size=2000) > 0, "a", "b")
    columns, any_accuracy = {"x": x, "k": labels}, "gate.better_than_majority=false"
    done = own(columns, any_accuracy, top="validation = 0.1")
    assert done.returncode == 0
    share = own.registry.load("own", 1).manifest.data.test.rows / 2000
    assert (
        f"Warning: The test part has {share:.1%} of the rows, not 20.0%: equal rows" in done.stderr
    )
    assert "the test part has" in card(own, 1).lower()
    done = own(
        columns, any_accuracy, "test.stratify=true", "gate.champion=false", top="validation = 0.1"
    )
    assert done.returncode == 0
    data = own.registry.load("own", 2).manifest.data
    assert data.test.rows == pytest.approx(400, abs=5)
    assert data.validation.rows == pytest.approx(100, abs=65)


def test_noise_is_not_better_than_the_most_frequent_class(own):
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(2000) < 0.05, "rare", "usual")
    columns = {"x": rng.normal(size=2000), "y": rng.normal(size=2000), "k": labels}
    done = own(columns, top="validation = 0.1")
    assert done.returncode == 1
    assert "FAILED  accuracy (better_than_majority)" in done.stdout
    done = own(columns, "gate.better_than_majority=false")
    assert done.returncode == 0
    model = own.registry.load("own", 1)
    rows = model.manifest.metrics["test"].classes
    p = rows["rare"].rows / model.manifest.data.test.rows
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    report = own.registry.attachment(model, "report.html").decode()
    assert f"{entropy:.4g} for always giving each class its share" in report
    assert f"a log loss of {entropy:.4g}." in card(own, 1)
    assert "most frequent class" in card(own, 1)


def test_a_network_that_knows_a_rare_classs_probability_passes_without_answering_it(own):
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    labels = np.where(rng.random(3000) < 0.4 * (x > 1.0), "rare", "usual")
    done = own({"x": x, "k": labels}, "gate.champion=false", epochs=60)
    assert done.returncode == 0, done.stdout
    assert "passed  log loss (better_than_majority)" in done.stdout


def test_a_champion_is_compared_by_its_columns_names(own):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 800))
    labels = np.where(a > 3 * b, "up", "down")
    assert own({"a": a, "b": b, "k": labels}, epochs=60).returncode == 0
    done = own({"k": labels, "b": b, "a": a}, "gate.tolerance=0.1", epochs=60)
    assert done.returncode == 0, done.stderr
    assert "has the same columns in another order" in done.stderr
    first, second = (own.registry.load("own", n) for n in (1, 2))
    assert [f.name for f in second.manifest.signature.features] == ["b", "a"]
    measured = second.manifest.baseline.metrics.accuracy
    # The champion's answers to its own order of columns, by hand.
    answers = first.predictor.predict(np.column_stack([a, b]))
    assert measured == pytest.approx((answers == labels).mean(), abs=0.05)
    # Two versions are compared in the same way, each with its own order of columns.
    differ = own.command("models", "diff", "own:1", "own:2").stdout
    X = np.random.default_rng(1).uniform(-2, 2, (4000, 2))
    changed = first.predictor.predict(X) != second.predictor.predict(X[:, ::-1])
    share = float(re.search(r"([0-9.]+)% of answers change", differ)[1]) / 100
    assert share == pytest.approx(changed.mean(), abs=0.1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"c": np.arange(800) % 7}, "has other features than this run"),
        ({"k": np.tile(["up", "down", "left", "up"], 200)}, "has other classes than this run"),
    ],
)
def test_a_champion_that_is_not_comparable_is_reported_before_training(own, changed, said):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 800))
    columns = {"a": a, "b": b, "k": np.where(a > 3 * b, "up", "down")}
    assert own(columns, epochs=60).returncode == 0
    done = own({**columns, **changed})
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "only this run has the" in done.stderr


# ---- what readers take, and which digits are kept


def wide(n_features, n_rows=60):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (n_rows, n_features))
    X[:, 0] = np.arange(n_rows) % 5
    labels = np.where(np.arange(n_rows) % 2, "a", "b")
    return {**{f"c{i}": column for i, column in enumerate(X.T)}, "k": labels}


SMALL_TEST = ["test.allow_small=true", "gate.better_than_majority=false"]


def test_a_table_of_many_scaled_columns_is_published(own):
    done = own(wide(13_200), *SMALL_TEST, "network.max_iter=2", top="scale = true")
    assert done.returncode == 0, done.stderr
    model = own.registry.load("own", 1)
    assert model.manifest.folded.mean is None
    kept = load_file(own.registry.path("own", 1) / "weights.safetensors")
    assert kept["scaler.mean"].shape == kept["scaler.scale"].shape == (13_200,)
    assert 1.5 < kept["scaler.mean"][0] < 2.5


@pytest.mark.parametrize(
    ("columns", "changes", "said"),
    [
        (wide(25_000), [], "manifest.json would have"),
        (wide(2), ["network.hidden_layer_sizes=[20_000, 20_000]"], "weights.safetensors would"),
        (wide(2), [f"network.hidden_layer_sizes={[1] * 1000}"], "would have 2,001 layers"),
    ],
    ids=["features", "weights", "layers"],
)
def test_a_version_too_large_for_readers_is_refused_before_training(own, columns, changes, said):
    done = own(columns, *SMALL_TEST, *changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "A version of this run could not be published: " in done.stderr
    assert said in done.stderr
    assert "Nothing was trained" in done.stderr


@pytest.mark.parametrize("value", [1e150, 5e38])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_largest_numbers_are_published(own, value, dtype):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 500)
    columns = {"x": x * value, "k": np.where(x > 0.1, "a", "b")}
    done = own(columns, f'dtype="{dtype}"', top="scale = true", epochs=60)
    assert done.returncode == 0, done.stderr
    model = own.registry.load("own", 1)
    assert (model.predictor.predict(columns["x"][:, np.newaxis]) == columns["k"]).mean() > 0.95


def test_values_too_large_to_be_scaled_are_refused_before_the_training(own):
    x = np.random.default_rng(0).uniform(-1, 1, 500) * 1e307
    done = own({"x": x, "k": np.where(x > 0, "a", "b")}, top="scale = true")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The values of column 'x' are too large to be scaled" in done.stderr


def test_time_stamps_in_float32_are_distinguished(own, tmp_path):
    rng = np.random.default_rng(0)
    seconds = rng.uniform(0, 4000, 2000)
    # A column that never varies is as far from 0.
    columns = {
        "t": [f"{1.7e9 + s:.3f}" for s in seconds],
        "constant": np.full(2000, 1_700_000_000),
        "k": np.where(np.sin(seconds / 300) > 0, "up", "down"),
    }
    done = own(
        columns,
        "network.hidden_layer_sizes=[40]",
        "network.activation=tanh",
        "network.solver=lbfgs",
        "gate.accuracy=0.97",
        top='scale = true\ndtype = "float32"',
        epochs=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the network is trained in float32 and published in float64" in done.stderr
    model = own.registry.load("own", 1)
    assert model.predictor.dtype == np.float64
    scored = own.command("score", "own:1", "own.csv", "out.csv")
    assert scored.returncode == 0, scored.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert np.mean([row["k"] == row["label"] for row in rows]) > 0.97
    verified = own.command("models", "verify", "own:1", "--retrain")
    assert "bit-identical" in verified.stdout


def test_float32_without_a_scaler_warns_of_too_few_digits(own):
    seconds = np.random.default_rng(0).uniform(0, 4000, 400)
    columns = {"t": 1.7e9 + seconds, "k": np.where(seconds > 1000, "a", "b")}
    done = own(columns, 'dtype="float32"')
    assert "float32 has too few digits for the values of 't': set scale = true" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,species\n1,x\n2,x\n", "class"),
        ("a,species\n1,x\ntwo,y\n", "line 3, column a: expected a number, got 'two'"),
        ("a,kind\n1,x\n", "species"),
    ],
)
def test_a_bad_user_file_is_reported_in_one_sentence(tmp_path, content, message):
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


FLOORS = {"article-1": 0.98, "article-2": 0.95, "quadrants": 0.999, "digits": 0.97}


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_each_preset_passes_its_gate(name, floor):
    # Those of Fashion-MNIST are in test_fashion_presets.
    assert FLOORS.keys() == {name for name in PRESET_NAMES if not name.startswith("fashion")}
    judged = evaluate_run(load_preset(name))
    assert judged.passed
    assert judged.candidate.config.gate.accuracy == floor


@pytest.mark.parametrize("seed", range(5))
def test_network_1_reaches_its_gate_whatever_the_seed(seed):
    changes = [f"data.seed={seed}", f"network.random_state={seed}"]
    assert accuracy(evaluate_run(load_preset("article-1", changes))) >= 0.98


def test_the_articles_presets_are_its_settings():
    first, second = load_preset("article-1"), load_preset("article-2")
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
    judged = evaluate_run(
        load_preset(
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
    assert str(judged.candidate.predictor.network) == "2-8-4"
    assert judged.candidate.training.updates == 3000
    assert len(np.unique(judged.candidate.splits.train.X, axis=0)) <= 500
    assert len(judged.test.y) == 200


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("network.foo=3", ConfigurationError, "There is no key network.foo. The keys there are: "),
        ("network.max_itr=3", ConfigurationError, "network.max_itr. Did you mean max_iter? The"),
        (
            "network.scale=true",
            ConfigurationError,
            "no key network.scale. Set the key scale, which",
        ),
        ("network.alpha=-3", ConfigurationError, "The 'alpha' parameter of NeuralNetworkClass"),
        ("network.hidden_layer_sizes=six", ConfigurationError, "The 'hidden_layer_sizes' param"),
        ("network.learning_rate_init=0", ConfigurationError, "The 'learning_rate_init' param"),
        ("data.draws=2", UnsuitableData, "but the training part (2 rows) has 0"),
    ],
)
def test_an_invalid_network_setting_is_reported(change, kind, message):
    with pytest.raises(kind) as caught:
        evaluate_run(small_config(change))
    assert message in str(caught.value)


def test_a_run_that_diverges_fails():
    with pytest.raises(TrainingFailed, match=r"cannot be trained: Training diverged"):
        evaluate_run(small_config("network.solver=sgd", "network.alpha=1e300"))
