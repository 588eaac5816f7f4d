"""Searches: their candidates, their results, and resumption without repeated fits."""

import json
import os
import signal
import subprocess
import time
import tomllib
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, ParameterSampler, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.commands.search import search as command
from pipeline.commands.settings import SearchSettings
from pipeline.config.run_config import RunConfig
from pipeline.config.run_file import load_run_file
from pipeline.data.datasets import make_training_points
from pipeline.data.splits import make_splits
from pipeline.search.cross_validation import make_folds
from pipeline.search.halving import make_rungs
from pipeline.search.leaderboard import make_leaderboard
from pipeline.search.ledger import Ledger, LedgerHeader, LedgerLine
from pipeline.search.plan import make_plan
from pipeline.search.search_run import make_header, run_search
from pipeline.training.candidate_training import train_candidate
from quadnet import NeuralNetworkClassifier
from quadnet.errors import (
    ConfigurationError,
    GateFailed,
    NotFound,
    OutputExists,
    ResumeRefused,
    TrainingFailed,
    UnsuitableData,
)
from tests.support.serving import QUADNET

NETWORK = {
    "hidden_layer_sizes": [6],
    "learning_rate_init": 0.05,
    "max_iter": 8,
    "n_iter_no_change": 100,
    "random_state": 1,
}
SPACE = {"hidden_layer_sizes": [[3], [6]], "alpha": [0.0, 0.1]}
RANGES = {
    "hidden_layer_sizes": {"low": 2, "high": 9},
    "batch_size": {"low": 10, "high": 100, "log": True},
    "alpha": {"low": 1e-6, "high": 1e-1, "log": True},
    "momentum": {"low": 0, "high": 0.9},
}


def config(search=None, network=None, **changes):
    """Return a run of 300 points with this search."""
    tree = {
        "name": "mine",
        "data": {"kind": "quadrants", "points": 300, "seed": 3},
        "network": NETWORK | (network or {}),
        "gate": {"accuracy": 0.5},
        "search": {"space": SPACE} | (search or {}),
    }
    return RunConfig.model_validate(tree | changes)


def run_search_at(path, configuration, *, jobs=1, resume=False):
    """Search, and return the leaderboard and the ledger's lines."""
    planned = make_plan(configuration)
    data = make_folds(planned.config, planned.search.folds, planned.search.seed)
    ledger = Ledger(path)
    ledger.begin(make_header(planned, data), resume=resume)
    return run_search(planned, data, ledger, jobs=jobs), ledger.read_lines()


def timeless(lines):
    """Return the lines without their times, which differ in each search, sorted by key."""
    rows = [line.model_dump(exclude={"seconds", "at"}) for line in lines]
    return sorted(rows, key=lambda row: row["key"])


def places(result):
    return [(one.parameters, one.scores, one.weights, one.failed) for one in result.ranking]


def test_the_scores_are_those_of_a_plain_loop(tmp_path):
    configuration = config({"seed": 5})
    result, lines = run_search_at(tmp_path / "l", configuration)
    points = make_training_points(configuration.data)
    expected = {}
    for sizes in SPACE["hidden_layer_sizes"]:
        for alpha in SPACE["alpha"]:
            network = NeuralNetworkClassifier(
                **NETWORK | {"hidden_layer_sizes": sizes, "alpha": alpha}
            )
            splitter = StratifiedKFold(3, shuffle=True, random_state=5)
            for fold, (train, test) in enumerate(splitter.split(points.X, points.y)):
                with pytest.warns(match="Maximum iterations"):
                    network.fit(points.X[train], points.y[train])
                P = network.predict_proba(points.X[test])
                expected[str(sizes), alpha, fold] = (
                    accuracy_score(points.y[test], network.predict(points.X[test])),
                    pytest.approx(log_loss(points.y[test], P), rel=1e-12),
                    network.n_parameters_,
                )
    assert {
        (str(line.parameters["hidden_layer_sizes"]), line.parameters["alpha"], line.fold): (
            line.accuracy, line.log_loss, line.weights,
        )
        for line in lines
    } == expected  # fmt: skip
    means = [one.mean for one in result.ranking]
    assert means == sorted(means, reverse=True)
    assert [one.n_lines for one in result.ranking] == [3, 3, 3, 3]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_ranking_is_that_of_scikit_learns_search_run_plainly(tmp_path, metric):
    configuration = config({"metric": metric, "folds": 4}, dtype="float32", scale=True)
    result, _ = run_search_at(tmp_path / "l", configuration)
    points = make_training_points(configuration.data)
    plain = GridSearchCV(
        make_pipeline(StandardScaler(), NeuralNetworkClassifier(**NETWORK)),
        {f"neuralnetworkclassifier__{name}": values for name, values in SPACE.items()},
        scoring="neg_log_loss" if metric == "log_loss" else metric,
        cv=StratifiedKFold(4, shuffle=True, random_state=0),
    )
    with pytest.warns(match="Maximum iterations"):
        plain.fit(points.X.astype("float32"), points.y)
    sign = -1 if metric == "log_loss" else 1
    assert [one.mean for one in result.ranking] == pytest.approx(
        sorted(sign * plain.cv_results_["mean_test_score"], key=lambda mean: -sign * mean),
        abs=1e-5,
    )
    best = {f"neuralnetworkclassifier__{k}": v for k, v in result.ranking[0].parameters.items()}
    assert best == plain.best_params_


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations")
def test_a_fold_is_trained_as_a_run_is(tmp_path):
    """Early stopping and the temperature use the rows that the run holds out."""
    changes = {"validation": 0.25, "calibrate": True, "scale": True}
    configuration = config(
        {"space": {"alpha": [0.01]}}, {"early_stopping": True, "max_iter": 40}, **changes
    )
    _, lines = run_search_at(tmp_path / "l", configuration)
    own = make_splits(configuration)
    data = make_folds(configuration, 3, 0)
    assert data.held_out.sum() == len(own.validation.y)
    for line in lines:
        rest = data.fold_of != line.fold
        train, held = rest & ~data.held_out, rest & data.held_out
        scaler = StandardScaler().fit(data.rows.X[train])
        network = NeuralNetworkClassifier(**NETWORK | {"alpha": 0.01, "max_iter": 40})
        network.set_params(early_stopping=True)
        network.fit(
            scaler.transform(data.rows.X[train]),
            data.rows.y[train],
            X_val=scaler.transform(data.rows.X[held]),
            y_val=data.rows.y[held],
        )
        answers = network.predict(scaler.transform(data.rows.X[~rest]))
        assert line.accuracy == (answers == data.rows.y[~rest]).mean()
        # The calibrated certainties are others.
        P = network.predict_proba(scaler.transform(data.rows.X[~rest]))
        assert line.log_loss != pytest.approx(log_loss(data.rows.y[~rest], P), rel=1e-3)


def test_the_test_part_is_not_searched_on():
    configuration = config(validation=0.2)
    own, data = make_splits(configuration), make_folds(configuration, 3, 0)
    assert len(data.rows.y) == len(own.train.y) + len(own.validation.y)
    everything = {row.tobytes() for row in data.rows.X}
    assert not everything & {row.tobytes() for row in own.test.open().X}


def test_the_folds_hold_the_classes_in_equal_shares_and_equal_rows_together():
    drawn = config(data={"kind": "quadrants", "points": 60, "draws": 600})
    data = make_folds(drawn, 3, 0)
    fold_of_row = {}
    for row, fold in zip(data.rows.X, data.fold_of, strict=True):
        assert fold_of_row.setdefault(row.tobytes(), fold) == fold
    once = make_folds(config(), 3, 0)
    for name, n_rows in Counter(once.rows.y).items():
        shares = [((once.fold_of == fold) & (once.rows.y == name)).sum() for fold in range(3)]
        assert max(shares) - min(shares) <= 1, n_rows


@pytest.mark.parametrize("method", ["grid", "random", "halving"])
def test_several_processes_find_the_same(tmp_path, method):
    space = SPACE if method == "grid" else RANGES
    configuration = config({"method": method, "space": space, "candidates": 4, "min_epochs": 2})
    one, lines = run_search_at(tmp_path / "one", configuration)
    two, lines_of_two = run_search_at(tmp_path / "two", configuration, jobs=2)
    assert timeless(lines) == timeless(lines_of_two)
    assert places(one) == places(two)
    tried = {json.dumps(line.parameters, sort_keys=True) for line in lines}
    candidates = make_plan(configuration).candidates
    assert tried == {json.dumps(parameters, sort_keys=True) for parameters in candidates}


def test_ranges_are_drawn_from_in_the_way_they_say():
    candidates = make_plan(
        config({"method": "random", "space": RANGES, "candidates": 2000})
    ).candidates
    drawn = {name: [one[name] for one in candidates] for name in RANGES}
    assert set(drawn["hidden_layer_sizes"]) == set(range(2, 10))
    assert all(type(n) is int and 10 <= n <= 100 for n in drawn["batch_size"])
    assert {10, 100} <= set(drawn["batch_size"])
    # Each factor of ten is as likely as the next.
    exponents = np.log10(drawn["alpha"])
    assert -6 <= exponents.min() <= exponents.max() <= -1
    assert np.quantile(exponents, [0.2, 0.4, 0.6, 0.8]) == pytest.approx([-5, -4, -3, -2], abs=0.2)
    assert np.median(np.log10(drawn["batch_size"])) == pytest.approx(1.5, abs=0.1)
    assert np.median(drawn["momentum"]) == pytest.approx(0.45, abs=0.05)
    assert len({json.dumps(one) for one in candidates}) == len(candidates)


def test_random_lists_are_drawn_as_scikit_learn_draws_them():
    space = {"alpha": [0.1, 0.2, 0.3, 0.4], "activation": ["relu", "tanh"]}
    random = {"method": "random", "space": space, "seed": 7}
    candidates = make_plan(config(random | {"candidates": 5})).candidates
    assert candidates == list(ParameterSampler(space, 5, random_state=7))
    assert len(make_plan(config(random | {"candidates": 99})).candidates) == 8


@pytest.mark.parametrize(
    ("candidates", "factor", "min_epochs", "max_epochs", "climbed"),
    [
        (20, 3, 5, 200, [(20, 5), (7, 15), (3, 45)]),
        (20, 3, 5, 30, [(20, 5), (7, 15), (3, 30)]),
        (20, 3, 5, 15, [(20, 5), (7, 15)]),
        (8, 2, 1, 100, [(8, 1), (4, 2), (2, 4)]),
        (9, 3, 10, 1000, [(9, 10), (3, 30)]),
        (10, 3, 10, 1000, [(10, 10), (4, 30), (2, 90)]),
        (3, 3, 5, 200, [(3, 5)]),
        (1, 2, 5, 200, [(1, 5)]),
        (20, 3, 5, 5, [(20, 5)]),
    ],
)
def test_halving_climbs_these_rungs(candidates, factor, min_epochs, max_epochs, climbed):
    halved = {"method": "halving", "factor": factor, "min_epochs": min_epochs}
    rungs = make_rungs(config(halved).search, candidates, max_epochs)
    assert [(rung.candidates, rung.epochs) for rung in rungs] == climbed


def test_halving_trains_only_the_best_for_longer(tmp_path):
    space = {"learning_rate_init": [1e-6, 1e-5, 0.01, 0.02, 0.05, 0.1], "alpha": [0.0]}
    halved = {"method": "halving", "space": space, "min_epochs": 2, "metric": "log_loss"}
    result, lines = run_search_at(tmp_path / "l", config(halved, {"max_iter": 20}))
    # 6 candidates for 2 epochs, 2 for 6; and 1 would be left.
    assert Counter(line.epochs for line in lines) == {2: 6 * 3, 6: 2 * 3}
    assert (result.n_finished, result.plan.n_fits) == (24, 24)
    losses = {
        epochs: {
            rate: np.mean([
                line.log_loss
                for line in lines
                if (line.epochs, line.parameters["learning_rate_init"]) == (epochs, rate)
            ])
            for rate in {e.parameters["learning_rate_init"] for e in lines if e.epochs == epochs}
        }
        for epochs in (2, 6)
    }  # fmt: skip
    assert set(losses[6]) == set(sorted(losses[2], key=losses[2].get)[:2])
    ranked = [(one.parameters["learning_rate_init"], one.epochs) for one in result.ranking]
    last = sorted(losses[6], key=losses[6].get)
    first = [rate for rate in sorted(losses[2], key=losses[2].get) if rate not in last]
    assert ranked == [(rate, 6) for rate in last] + [(rate, 2) for rate in first]


def test_what_fails_is_recorded_ranked_last_and_stops_nothing(tmp_path):
    space = {"solver": ["lbfgs", "adam"], "dropout": [0.5, 0.0]}
    configuration = config({"space": space})
    result, lines = run_search_at(tmp_path / "l", configuration)
    assert [one.failed is None for one in result.ranking] == [True, True, True, False]
    failed = result.ranking[-1]
    assert failed.parameters == {"solver": "lbfgs", "dropout": 0.5}
    assert "The 'dropout' parameter of NeuralNetworkClassifier must be 0.0" in failed.failed
    assert result.format_table().splitlines()[-1].split()[:4] == ["4", "failed", "3/3", "8"]
    # A failed fit is finished, too.
    again, lines_again = run_search_at(tmp_path / "l", configuration, resume=True)
    assert lines_again == lines
    assert again.ranking == result.ranking


def test_a_search_whose_candidates_all_fail_reports_the_first_reason(tmp_path):
    diverging = {"learning_rate_init": [1e300], "momentum": [0.0]}
    with pytest.raises(TrainingFailed) as caught:
        run_search_at(tmp_path / "l", config({"space": diverging}, {"solver": "sgd"}))
    assert str(caught.value).startswith(
        "Every candidate failed. The first, learning_rate_init=1e+300, momentum=0: Training "
        "diverged: "
    )


def test_of_equals_the_smaller_network_is_better_and_then_the_one_that_was_drawn_first():
    planned = make_plan(config({"space": {"alpha": [0.0, 0.1, 0.2, 0.3]}}))
    header = LedgerHeader(name="mine", config="1" * 64, split="2" * 64)
    # The first three differ in the order of the folds, in which plain sums would differ too.
    scores = [(0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.3, 0.1), (0.9, 0.9)]
    lines = [
        LedgerLine(
            key=header.key(parameters, epochs=8, fold=fold),
            parameters=parameters,
            epochs=8,
            fold=fold,
            accuracy=score,
            log_loss=1.0,
            weights=weights,
            seconds=1.0,
            at=datetime.now(UTC),
        )
        for parameters, own, weights in zip(
            planned.candidates, scores, (60, 46, 46, 10), strict=True
        )
        for fold, score in enumerate(own)
    ]
    result = make_leaderboard(planned, header, lines)
    # Candidates that are not measured on every fold come last.
    assert [one.parameters["alpha"] for one in result.ranking] == [0.1, 0.2, 0.0, 0.3]
    assert result.format_progress() == "11 of 12 fits, best accuracy 0.2000"
    assert result.format_table(limit=2).splitlines() == [
        "rank  accuracy     std  folds  epochs  seconds  parameters",
        "   1    0.2000  0.0816    3/3       8     3.00  alpha=0.1",
        "   2    0.2000  0.0816    3/3       8     3.00  alpha=0.2",
        "... and 2 more",
    ]


def test_more_candidates_or_another_gate_repeat_no_fit(tmp_path):
    _, lines = run_search_at(tmp_path / "l", config())
    wider = config({"space": SPACE | {"alpha": [0.0, 0.1, 0.5]}}, gate={"accuracy": 0.1})
    result, more = run_search_at(tmp_path / "l", wider, resume=True)
    assert more[: len(lines)] == lines
    assert len(more) == 18 == result.n_finished
    # Candidates that are no longer in the space are not shown.
    narrower, same = run_search_at(tmp_path / "l", config({"space": {"alpha": [0.5]}}), resume=True)
    assert len(same) == 21
    assert [one.parameters for one in narrower.ranking] == [{"alpha": 0.5}]


@pytest.mark.parametrize(
    "changes", [{"network": {"learning_rate_init": 0.1}}, {"dtype": "float32"}, {"scale": True}]
)
def test_other_settings_are_another_search(tmp_path, changes):
    run_search_at(tmp_path / "l", config({"space": {"alpha": [0.0]}}))
    with pytest.raises(ResumeRefused, match="is the ledger of another search: its settings"):
        run_search_at(tmp_path / "l", config({"space": {"alpha": [0.0]}}, **changes), resume=True)


def test_other_folds_are_another_search(tmp_path):
    run_search_at(tmp_path / "l", config({"space": {"alpha": [0.0]}}))
    for changes in ({"folds": 4}, {"seed": 1}):
        other = config({"space": {"alpha": [0.0]}} | changes)
        with pytest.raises(ResumeRefused, match="its rows or folds differ"):
            run_search_at(tmp_path / "l", other, resume=True)


LIST = {"alpha": [0.1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space": {"alfa": [1]}},
            "no key search.space.alfa. Did you mean alpha? The keys there are: scale,",
        ),
        ({"space": {"alpha": [0.1, -1.0]}}, "search.space.alpha: The 'alpha' parameter of Neural"),
        ({"space": {"solver": ["adam", "newton"]}}, "search.space.solver: The 'solver' parameter"),
        ({"space": {"scale": [1]}}, "search.space.scale: The 'scale' parameter"),
        ({"space": {"alpha": {"low": 0, "high": 1}}}, "search.space.alpha: expected a list"),
        (
            {"method": "random", "space": {"alpha": {"low": 1.0, "high": 1.0}}},
            "search.space.alpha: expected low below high, got low = 1.0, high = 1.0.",
        ),
        (
            {"method": "random", "space": {"alpha": {"low": 0, "high": 1, "log": True}}},
            "search.space.alpha: expected low above 0, because log is true, got 0.",
        ),
        (
            {"method": "random", "space": {"max_iter": {"low": 1.0, "high": 9.5}}},
            "search.space.max_iter: The 'max_iter' parameter",
        ),
        (
            {"method": "halving", "space": {"max_iter": [3]}},
            "search.space.max_iter: halving itself sets the epochs",
        ),
        (
            {"method": "halving", "space": LIST, "min_epochs": 9},
            "search.min_epochs: expected at most network.max_iter, which is 8, got 9.",
        ),
        (
            {"space": {name: list(range(1, 50)) for name in ("max_iter", "batch_size", "max_fun")}},
            "search.space: expected a grid of at most 100,000 combinations, got 117,649.",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_fitted(changes, message):
    with pytest.raises(ConfigurationError) as caught:
        make_plan(config(changes))
    assert message in str(caught.value)


def test_a_wrong_network_is_refused_before_anything_is_fitted():
    with pytest.raises(ConfigurationError, match="'tol' parameter"):
        make_plan(config(network={"tol": -1.0}))


def test_a_run_without_a_search_section_gets_an_example():
    with pytest.raises(ConfigurationError) as caught:
        make_plan(config(search=None).model_copy(update={"search": None}))
    message = str(caught.value)
    assert message.startswith("The run 'mine' has no section [search]. Add one, such as:")
    # The example in the message is valid.
    tree = tomllib.loads(message.partition("such as:")[2])
    assert len(make_plan(config(tree["search"])).candidates) == 30


def test_too_few_rows_of_a_class_are_refused():
    few = {"kind": "quadrants", "points": 40, "seed": 3}
    with pytest.raises(UnsuitableData, match=r"search.folds: expected at most \d, the num"):
        make_folds(config(data=few), 20, 0)


TOML = """
name = "mine"
[data]
kind = "quadrants"
points = 2000
seed = 3
[network]
hidden_layer_sizes = [6]
learning_rate_init = 0.05
max_iter = 15
batch_size = 20
tol = 0.0
[gate]
accuracy = 0.5
[search]
metric = "log_loss"
[search.space]
hidden_layer_sizes = [[4], [8]]
alpha = [0.0, 0.01, 0.1]
scale = [true, false]
"""
N_FITS = 36


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    """Return a run file in an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TOML)
    return tmp_path / "mine.toml"


def start_search(*words):
    """Return a search in a new process group, after it has finished five fits."""
    process = subprocess.Popen(
        [*QUADNET, "search", "mine.toml", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a kill leaves of joblib's shared memory goes with the test's directory.
        env={**os.environ, "JOBLIB_TEMP_FOLDER": str(Path.cwd())},
    )
    path, deadline = Path("mine.search.jsonl"), time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") > 5):
        assert time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"It ended too soon: {process.wait(0.02)} {process.communicate()}")
    return process


def test_after_kill_9_no_finished_fit_is_repeated_and_the_same_is_found(run_file, registry, capsys):
    process = start_search("--jobs", "2", "--registry", str(registry.root))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    ledger = Ledger(Path("mine.search.jsonl"))
    finished = ledger.read_lines()
    assert 5 <= len(finished) < N_FITS
    with ledger.path.open("ab") as file:
        file.write(b'{"key":"0123456789')  # what a kill in the middle of a write leaves
    with pytest.raises(OutputExists, match=r"exists, with \d+ finished fits of this search"):
        command(SearchSettings(run="mine.toml", registry=registry.root))
    assert command(SearchSettings(run="mine.toml", registry=registry.root, resume=True)) == 0
    assert f"{len(finished)} of them are in mine.search.jsonl and are not repeated." in (
        capsys.readouterr().out
    )
    lines = ledger.read_lines()
    assert lines[: len(finished)] == finished
    assert set(Counter(line.key for line in lines).values()) == {1}
    assert len(lines) == N_FITS
    # The result is the same as without the interruption.
    configuration = load_run_file(run_file)
    result, uninterrupted = run_search_at(run_file.parent / "another", configuration)
    assert timeless(lines) == timeless(uninterrupted)
    # The best was fitted, judged and published as `train` does it.
    best = result.ranking[0].parameters
    manifest = registry.load("mine", registry.target("mine").version).manifest
    network = {name: value for name, value in best.items() if name != "scale"}
    assert {name: manifest.config["network"][name] for name in network} == network
    assert manifest.config["scale"] == best["scale"]
    assert manifest.config["search"]["space"]["alpha"] == [0.0, 0.01, 0.1]
    trained = train_candidate(RunConfig.model_validate(manifest.config))
    assert trained.training.loss == manifest.training.loss


def test_ctrl_c_prints_the_leaderboard_and_the_command_to_resume(run_file):
    # Long enough that it cannot be over before the signal comes.
    longer = ["--jobs", "2", "--set", "search.folds=3", "--set", "network.max_iter=10000"]
    process = start_search(*longer)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    n_lines = len(Ledger(Path("mine.search.jsonl")).read_lines())
    assert f"\nInterrupted after {n_lines} of {N_FITS} fits, best log_loss 0." in out
    assert "\nrank  log_loss     std  folds  epochs  seconds  parameters\n   1    0." in out
    words = ["search", "mine.toml", *longer, "--resume"]
    assert out.endswith(f"\nTo resume: quadnet {' '.join(words)}\n")


def test_the_report_needs_nothing_but_the_ledger(run_file, registry, capsys):
    wanted = SearchSettings(run="mine.toml", registry=registry.root, report=True)
    with pytest.raises(NotFound, match=r"no ledger mine\.search\.jsonl\. Start the search"):
        command(wanted)
    path = Path("mine.search.jsonl")
    run_search_at(path, load_run_file(run_file))
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[:8]) + rows[8][:20])  # another process is writing it
    assert command(wanted) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"7 of {N_FITS} fits, best log_loss 0.")
    assert [row.split()[3] for row in out[2:]] == ["3/3", "3/3", "1/3"]
    assert out[2].endswith(("scale=True", "scale=False"))
    path.write_bytes(rows[0])
    assert command(wanted) == 0
    assert "0 of the 36 fits are finished yet." in capsys.readouterr().out
    with pytest.raises(ResumeRefused, match="another search: its settings differ"):
        command(SearchSettings(run="mine.toml", report=True, set=["network.max_iter=3"]))
    assert not registry.root.exists()


def test_a_best_that_fails_its_gate_is_not_published_and_not_searched_for_again(run_file, registry):
    changes = ["gate.log_loss=0.0", "search.folds=2", "network.max_iter=1"]
    wanted = SearchSettings(run="mine.toml", registry=registry.root, set=changes)
    with pytest.raises(GateFailed, match="failed its gate on log loss"):
        command(wanted)
    content = Path("mine.search.jsonl").read_bytes()
    forced = {"resume": True, "force": True, "reason": "a test"}
    assert command(wanted.model_copy(update=forced)) == 0
    assert Path("mine.search.jsonl").read_bytes() == content
    assert registry.load("mine", 1).manifest.forced == "a test"
