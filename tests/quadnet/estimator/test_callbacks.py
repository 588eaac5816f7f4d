"""scikit-learn's callbacks on the estimator, alone and under a grid search."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from quadnet import NeuralNetworkClassifier
from quadnet.estimator.fitting.callbacks import SUPPORTED

X, Y = load_iris(return_X_y=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*experimental.*"),
]
needs_callbacks = pytest.mark.skipif(not SUPPORTED, reason="scikit-learn has them from 1.9 on")


class Recorder:
    """A callback by scikit-learn's protocol, told of everything."""

    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        score = fitted_estimator.score(X, y)
        self.events.append(("end", context.task_name, context.task_id, score, metadata))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_every_epoch_is_a_task_with_a_fitted_estimator(solver):
    recorder = Recorder()
    net = NeuralNetworkClassifier((5,), solver=solver, max_iter=4, random_state=0)
    assert net.set_callbacks(recorder) is net
    net.fit(X, Y)
    kinds = [event[:3] for event in recorder.events]
    epochs = [(kind, "epoch", i) for i in range(4) for kind in ("begin", "end")]
    assert kinds == [
        ("setup", "fit", 4), ("begin", "fit", 0), *epochs, ("end", "fit", 0), ("teardown", "fit")
    ]  # fmt: skip
    # What was shown after the last epoch is the network that was kept.
    assert recorder.events[-2][3] == recorder.events[-3][3] == net.score(X, Y)


@needs_callbacks
def test_every_network_of_an_ensemble_is_a_task():
    recorder = Recorder()
    net = NeuralNetworkClassifier(
        (5,), n_ensemble=3, scale=True, max_iter=4, random_state=0, learning_rate_init=0.05
    )
    net.set_callbacks(recorder).fit(100 * X, Y)
    networks = [(kind, "network", i) for i in range(3) for kind in ("begin", "end")]
    assert [event[:3] for event in recorder.events] == [
        ("setup", "fit", 3), ("begin", "fit", 0), *networks, ("end", "fit", 0), ("teardown", "fit")
    ]  # fmt: skip
    # The estimator that is shown takes raw rows, and has the networks so far.
    assert recorder.events[3][3] == net.estimators_[0].score(100 * X, Y)
    assert recorder.events[-2][3] == net.score(100 * X, Y) > 0.5


@needs_callbacks
def test_the_estimator_shown_scales_its_rows():
    recorder = Recorder()
    net = NeuralNetworkClassifier(
        (5,), scale=True, max_iter=4, random_state=0, learning_rate_init=0.05
    )
    net.set_callbacks(recorder).fit(100 * X, Y)
    assert recorder.events[-2][3] == recorder.events[-3][3] == net.score(100 * X, Y) > 0.5


@needs_callbacks
def test_the_estimator_shown_is_a_copy_that_training_does_not_touch():
    kept = []

    class Keeper(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            kept.append((fitted_estimator, fitted_estimator.predict_proba(X)))

    net = NeuralNetworkClassifier((5,), max_iter=3, random_state=0).set_callbacks(Keeper())
    net.fit(X, Y)
    assert len(kept) == 4
    for shown, answers in kept:
        np.testing.assert_array_equal(shown.predict_proba(X), answers)
    assert (kept[0][1] != kept[1][1]).any()


@needs_callbacks
def test_a_callback_can_end_training():
    net = NeuralNetworkClassifier((5,), max_iter=50, random_state=0)
    net.set_callbacks(Recorder(stop_after=3)).fit(X, Y)
    assert net.n_iter_ == 3
    assert net.stop_reason_ == "callback"


@needs_callbacks
def test_callbacks_are_torn_down_when_a_fit_fails():
    recorder = Recorder()
    net = NeuralNetworkClassifier((5,), max_iter=3).set_callbacks(recorder)
    with pytest.raises(ValueError, match="diverged"):
        net.set_params(solver="sgd", activation="identity", learning_rate_init=1e300).fit(X, Y)
    assert recorder.events[-1] == ("teardown", "fit")


@needs_callbacks
def test_weights_reach_the_callback():
    recorder = Recorder()
    weights = np.ones(len(X))
    NeuralNetworkClassifier((5,), max_iter=1).set_callbacks(recorder).fit(X, Y, weights)
    assert recorder.events[-2][4]["sample_weight"] is weights


@needs_callbacks
def test_the_scoring_monitor_records_a_score_an_epoch():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    net = NeuralNetworkClassifier((5,), max_iter=6, random_state=0).set_callbacks(monitor)
    net.fit(X, Y)
    log = monitor.get_logs()
    scores = [row["accuracy"] for row in log.data if row["task_name"] == "epoch"]
    assert len(scores) == 6
    assert scores[-1] == net.score(X, Y)


@needs_callbacks
def test_a_progress_bar_nests_under_a_grid_search(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    from sklearn.callback import ProgressBar

    search = GridSearchCV(
        NeuralNetworkClassifier((3,), max_iter=3, random_state=0), {"alpha": [1e-4, 1e-2]}, cv=2
    )
    search.set_callbacks(ProgressBar())
    search.fit(X, Y)
    shown = capsys.readouterr().out
    assert "GridSearchCV" in shown
    assert "NeuralNetworkClassifier" in shown
    assert "100%" in shown


def test_without_callbacks_the_estimator_fits_all_the_same(monkeypatch):
    # As on a scikit-learn that has none: floor 1.6 is tried by running all tests on it.
    monkeypatch.setattr("quadnet.estimator.fitting.callbacks.SUPPORTED", False)
    net = NeuralNetworkClassifier((5,), max_iter=3, random_state=0).fit(X, Y)
    assert net.n_iter_ == 3
