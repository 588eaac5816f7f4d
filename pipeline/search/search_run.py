"""Run a search: cross-validate every candidate, and record each fit once in the ledger.

scikit-learn's search classes choose the fits, joblib distributes them, and the ledger holds their
results. The test part stays sealed, so that the gate judges by rows that the search has not used.
"""

import hashlib
import json
import signal
import time
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import numpy as np
from joblib import parallel_config
from pydantic import JsonValue
from sklearn.model_selection import (
    GridSearchCV,
    PredefinedSplit,
    RandomizedSearchCV,
)

from pipeline.config.data_sections import FileData
from pipeline.config.layer_stacks import DENSE_KEYS
from pipeline.config.run_config import RunConfig
from pipeline.data.targets import encoded_values
from pipeline.search.cross_validation import Folds
from pipeline.search.halving import HalvingSearch, Rung
from pipeline.search.leaderboard import (
    Leaderboard,
    list_survivors,
    make_leaderboard,
    rank_candidates,
)
from pipeline.search.ledger import Ledger, LedgerHeader, LedgerLine
from pipeline.search.plan import SearchPlan
from pipeline.search.recorded_fit import RecordedFit, score_fit
from pipeline.search.scores import MEASURED, check_metric
from pipeline.search.space import (
    count_draws,
    format_parameters,
    make_choices,
    to_nested_name,
    to_plain_name,
)
from pipeline.training.candidate_training import make_estimator
from pipeline.training.progress import Show
from quadnet.errors import ErrorKind, QuadnetError, TrainingFailed

_SECONDS_A_LOOK = 0.5


def hash_settings(config: RunConfig) -> str:
    """Return the digest of a resolved configuration, without the settings that no fit depends on.

    After a change of the gate or of the search space, finished fits are therefore not repeated.
    """
    exclude: dict[str, Any] = dict.fromkeys(("name", "gate", "search"), True)
    # Newer keys are left out at their default, so that older ledgers can be resumed. The rows have
    # their own digest.
    exclude["test"] = {"allow_small"} | (set() if config.test.stratify else {"stratify"})
    if isinstance(config.data, FileData) and config.data.strip_labels:
        exclude["data"] = {"strip_labels"}
    tree = config.model_dump(mode="json", exclude=exclude)
    if config.search is not None and config.search.metric not in MEASURED:
        # Only this score is in the ledger, so no other ranking can be made of it.
        tree["metric"] = config.search.metric
    return hashlib.sha256(json.dumps(tree, sort_keys=True, allow_nan=False).encode()).hexdigest()


def make_header(plan: SearchPlan, folds: Folds) -> LedgerHeader:
    """Return the header that identifies this search in its ledger."""
    return LedgerHeader(
        name=plan.config.name, config=hash_settings(plan.config), split=folds.sha256()
    )


def run_search(
    plan: SearchPlan, folds: Folds, ledger: Ledger, *, jobs: int = 1, show: Show | None = None
) -> Leaderboard:
    """Make every fit that is missing in the ledger, and return the leaderboard.

    Parameters
    ----------
    plan : Plan
    folds : Folds
    ledger : Ledger
        After a call of `begin`.
    jobs : int
        Number of processes that fit. It does not change the result.
    show : callable, optional
        Called with the number of finished fits and a note.

    Raises
    ------
    TrainingFailed
        If every candidate failed, or a process was killed.
    FileUnusable
        If the ledger can no longer be written.
    """
    check_metric(plan.search.metric, folds.rows.target)
    made_for = make_header(plan, folds)
    ledger.read_lines()  # report an unreadable ledger before the first fit
    search = _make_search(plan, folds, ledger, made_for)
    with (
        _watch_ledger(plan, made_for, ledger, show),
        parallel_config(
            "loky", n_jobs=jobs, inner_max_num_threads=1, initializer=_leave_ctrl_c_to_the_parent
        ),
        warnings.catch_warnings(),
    ):
        # scikit-learn warns about failed candidates, which the leaderboard shows.
        warnings.simplefilter("ignore")
        try:
            y = encoded_values(folds.rows.target)
            weights = {} if folds.rows.weights is None else {"weights": folds.rows.weights}
            search.fit(folds.rows.X, y, held_out=folds.held_out, fold_of=folds.fold_of, **weights)
        except BrokenProcessPool as error:
            raise TrainingFailed(
                "A process of the search was killed, perhaps because memory ran out. The finished "
                f"fits are in {ledger.path}.",
                kind=ErrorKind.FIT_PROCESS_KILLED,
            ) from error
    result = make_leaderboard(plan, made_for, ledger.read_lines())
    best = result.ranking[0]
    if best.failed is not None:
        raise TrainingFailed(
            "Every candidate failed. The first, "
            f"{format_parameters(best.parameters)}: {best.failed}"
        )
    return result


def _make_search(
    plan: SearchPlan, folds: Folds, ledger: Ledger, made_for: LedgerHeader
) -> GridSearchCV | RandomizedSearchCV:
    config, search = plan.config, plan.search
    replaced = DENSE_KEYS if "layers" in search.space else ()
    network = {key: value for key, value in config.network.items() if key not in replaced}
    fit = RecordedFit(
        make_estimator(config.task, network),
        scale=config.scale,
        config=config,
        searched=tuple(sorted(search.space)),
        header=made_for,
        ledger=ledger.path,
        target=folds.rows.target.take(np.zeros(0, np.intp)),
        metric=search.metric,
    )
    options: dict[str, Any] = {
        "scoring": score_fit,
        "refit": False,
        "cv": PredefinedSplit(folds.fold_of),
        "error_score": "raise",
    }
    choices = make_choices(search)
    if search.method == "grid":
        return GridSearchCV(fit, choices, **options)
    if search.method == "random":
        return RandomizedSearchCV(
            fit, choices, n_iter=count_draws(search), random_state=search.seed, **options
        )

    def survivors(alive: list[dict[str, Any]], rung: Rung) -> list[dict[str, Any]]:
        own = [{to_plain_name(name): value for name, value in one.items()} for one in alive]
        here = rank_candidates(plan, made_for, ledger.read_lines(), own, rung)
        return [_nest_names(one) for one in list_survivors(here)]

    grid = [{name: [value] for name, value in _nest_names(one).items()} for one in plan.candidates]
    return HalvingSearch(fit, grid, rungs=plan.rungs, survivors=survivors, **options)


def _nest_names(parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {to_nested_name(name): value for name, value in parameters.items()}


def _leave_ctrl_c_to_the_parent() -> None:
    """Ignore SIGINT in each worker: a terminal sends Ctrl-C to all processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _watch_ledger(
    plan: SearchPlan, made_for: LedgerHeader, ledger: Ledger, show: Show | None
) -> Iterator[None]:
    """Show the search's progress until the fits end, by the ledger that all processes share."""
    if show is None:
        yield
        return
    ended = Event()

    def look() -> None:
        lines: list[LedgerLine] = []
        pause = _SECONDS_A_LOOK
        while not ended.wait(pause):
            start = time.perf_counter()
            try:
                lines += ledger.read_lines(len(lines))
            except QuadnetError:
                return  # the main thread reads the lines too and reports the error
            now = make_leaderboard(plan, made_for, lines)
            show(now.n_finished, now.format_progress())
            # With one process, reading the ledger takes time from the fits.
            pause = max(_SECONDS_A_LOOK, 20.0 * (time.perf_counter() - start))

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
