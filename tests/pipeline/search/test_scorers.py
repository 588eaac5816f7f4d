"""Searches that are ranked by a scorer of scikit-learn: of classes, of numbers, of labels."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.preprocessing import scale

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.targets import LabelsTarget
from pipeline.search.cross_validation import make_folds
from pipeline.search.ledger import Ledger
from pipeline.search.plan import make_plan
from pipeline.search.scores import check_metric, score_predictor
from pipeline.search.search_run import make_header, run_search
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import ConfigurationError, ResumeRefused
from quadnet.nn.predictor import Predictor

TASKS = ("classification", "regression", "multilabel")
NETWORK = {"hidden_layer_sizes": [5], "max_iter": 15, "learning_rate_init": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for task, frame in zip(TASKS, (load_wine, load_diabetes, None), strict=True):
        if frame is None:
            X, Y = make_multilabel_classification(150, n_features=5, n_classes=3, random_state=0)
            header = ",".join([*"abcde", "x", "y", "z"])
            rows = np.hstack([scale(X), Y])
        else:
            loaded = frame(as_frame=True).frame
            header, rows = ",".join(loaded.columns), loaded.to_numpy()
        if task == "classification":
            rows[:, :-1] = scale(rows[:, :-1])
        np.savetxt(
            folder / f"{task}.csv", rows, delimiter=",", header=header, comments="", fmt="%.17g"
        )
    return folder


def configure(files, task, metric=None, **search):
    label = {"classification": "target", "regression": "target", "multilabel": ["x", "y", "z"]}[
        task
    ]
    return RunConfig.model_validate(
        {
            "name": task, "task": task, "network": NETWORK,
            "data": {"kind": "csv", "path": str(files / f"{task}.csv"), "label": label},
            "gate": {"accuracy": 0.1} if task == "classification" else {},
            "search": {
                "space": {"alpha": [0.001, 10.0]}, "folds": 2, **search,
                **({} if metric is None else {"metric": metric}),
            },
        }
    )  # fmt: skip


def search(config, path):
    plan = make_plan(config)
    folds = make_folds(plan.config, plan.search.folds, plan.search.seed)
    ledger = Ledger(path)
    ledger.begin(make_header(plan, folds), resume=True)
    return run_search(plan, folds, ledger), folds


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("classification", "roc_auc_ovr"),
        ("classification", "f1_macro"),
        ("regression", "r2"),
        ("regression", "neg_root_mean_squared_error"),
        ("multilabel", "f1_micro"),
        ("multilabel", "accuracy"),
    ],
)
def test_the_scores_are_scikit_learns(files, tmp_path, task, metric):
    config = configure(files, task, metric)
    result, folds = search(config, tmp_path / "ledger")
    kind = NeuralNetworkRegressor if task == "regression" else NeuralNetworkClassifier
    means = {}
    for alpha in (0.001, 10.0):
        scores = []
        for fold in range(2):
            test = folds.fold_of == fold
            net = kind(
                **{
                    **NETWORK,
                    "hidden_layer_sizes": (5,),
                    "alpha": alpha,
                    "batch_size": min(200, (~test).sum()),
                }
            )
            with pytest.warns(ConvergenceWarning):
                net.fit(folds.rows.X[~test], folds.rows.y[~test])
            scores.append(get_scorer(metric)(net, folds.rows.X[test], folds.rows.y[test]))
        means[alpha] = np.mean(scores)
    found = {one.parameters["alpha"]: one.mean for one in result.ranking}
    assert found == pytest.approx(means, rel=1e-9)
    assert [one.parameters["alpha"] for one in result.ranking] == sorted(
        means, key=lambda a: -means[a]
    )


def test_numbers_are_ranked_by_their_squared_error_by_default(files, tmp_path):
    config = configure(files, "regression")
    assert config.search.metric == "neg_root_mean_squared_error"
    result, _ = search(config, tmp_path / "ledger")
    assert result.ranking[0].mean > result.ranking[1].mean
    lines = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()[1:]]
    assert all(line["accuracy"] is None and line["score"] < 0 for line in lines)


def test_a_ledger_of_classes_has_no_newer_key_and_resumes_with_the_other_of_its_metrics(
    files, tmp_path
):
    first, _ = search(configure(files, "classification", "accuracy"), tmp_path / "ledger")
    content = (tmp_path / "ledger").read_text()
    assert '"score"' not in content
    second, _ = search(configure(files, "classification", "log_loss"), tmp_path / "ledger")
    assert (tmp_path / "ledger").read_text() == content
    assert first.n_finished == second.n_finished == 4
    with pytest.raises(ResumeRefused, match="its settings differ"):
        search(configure(files, "classification", "f1_macro"), tmp_path / "ledger")


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        ("classification", "auc", "or the name of a scikit-learn scorer, such as r2"),
        ("classification", "roc_auc", "search.metric: roc_auc does not fit what the run predicts"),
        ("classification", "f1", "search.metric: f1 does not fit what the run predicts"),
        ("regression", "f1_macro", "does not fit what the run predicts"),
        ("regression", "accuracy", "expected the name of a scorer of numbers"),
        ("multilabel", "balanced_accuracy", "does not fit what the run predicts"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_training(
    files, tmp_path, task, metric, message
):
    with pytest.raises(ConfigurationError, match=message):
        search(configure(files, task, metric), tmp_path / "ledger")
    assert (
        not (tmp_path / "ledger").exists()
        or len((tmp_path / "ledger").read_text().splitlines()) == 1
    )


def test_scorers_of_probabilities_and_of_numbers_fit(files):
    targets = {task: make_folds(configure(files, task), 2, 0).rows.target for task in TASKS}
    for task, fitting in (
        ("classification", ["neg_log_loss", "balanced_accuracy", "roc_auc_ovo_weighted"]),
        (
            "regression",
            ["explained_variance", "neg_median_absolute_error", "d2_absolute_error_score"],
        ),
        ("multilabel", ["roc_auc", "average_precision", "jaccard_samples"]),
    ):
        for metric in fitting:
            check_metric(metric, targets[task])


def test_the_folds_of_numbers_and_labels_keep_equal_rows_together(tmp_path):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(40, 2)), 3, axis=0)
    rows = np.column_stack([X, rng.normal(size=120)])
    np.savetxt(tmp_path / "regression.csv", rows, delimiter=",", header="a,b,target", comments="")
    folds = make_folds(configure(tmp_path, "regression"), 4, 0)
    for row in np.unique(folds.rows.X, axis=0):
        assert len(set(folds.fold_of[(row == folds.rows.X).all(axis=1)])) == 1
    assert np.ptp(np.bincount(folds.fold_of)) <= 3


@pytest.mark.parametrize("n_labels", [2, 3])
def test_scores_of_probabilities_of_labels_are_those_of_all_columns(n_labels):
    X, Y = make_multilabel_classification(100, n_classes=n_labels, random_state=2)
    X = scale(X)
    with pytest.warns(ConvergenceWarning):
        net = NeuralNetworkClassifier((5,), max_iter=5, random_state=0).fit(X, Y)
    names = tuple("xyz"[:n_labels])
    predictor = Predictor(net.freeze().network, names)
    rows = Dataset(tuple("f" * X.shape[1]), X, LabelsTarget(Y.astype(np.int8), names))
    found = score_predictor(predictor, rows, "roc_auc")["score"]
    assert found == pytest.approx(roc_auc_score(Y, net.predict_proba(X)), rel=1e-12)
