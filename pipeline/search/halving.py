"""Successive halving over epochs: all candidates are trained briefly, the best of them longer.

On the first rung every candidate is trained for `min_epochs`. On each further rung the best
candidates, one in `factor`, rounded up, are trained for `factor` times as many epochs. The last
rung is reached when a single candidate would be left, or the epochs reach the network's `max_iter`.

On each rung a candidate is trained from the beginning. With `factor` 3 this takes half as long
again as to continue its training. But a schedule that depends on `max_iter` runs to its end, a fit
depends only on its parameters and epochs, and a search can be resumed after any fit.

The method is that of Jamieson and Talwalkar, 2016. scikit-learn's own halving was rejected: it is
experimental, and its resource is mainly the number of rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import GridSearchCV, ParameterGrid

from pipeline.config.search import Search
from quadnet.errors import ConfigurationError

Evaluate = Callable[[Sequence[dict[str, Any]]], object]


@dataclass(frozen=True)
class Rung:
    """The number of candidates and their epochs; None means each candidate's own `max_iter`."""

    candidates: int
    epochs: int | None


def make_rungs(search: Search, candidates: int, max_epochs: int) -> list[Rung]:
    """Return the rungs for this number of candidates; one rung if the method is not halving.

    Raises
    ------
    ConfigurationError
        If the first rung has more epochs than the network's `max_iter`.
    """
    if search.method != "halving":
        return [Rung(candidates, None)]
    if search.min_epochs > max_epochs:
        raise ConfigurationError(
            f"search.min_epochs: expected at most network.max_iter, which is {max_epochs}, got "
            f"{search.min_epochs}."
        )
    climbed = [Rung(candidates, search.min_epochs)]
    epochs = search.min_epochs
    while epochs < max_epochs:
        epochs = min(epochs * search.factor, max_epochs)
        left = math.ceil(candidates / search.factor ** len(climbed))
        if left == 1:
            break
        climbed.append(Rung(left, epochs))
    return climbed


class HalvingSearch(GridSearchCV):  # type: ignore[misc]  # scikit-learn has no types
    """A grid search that trains fewer candidates for more epochs on each rung.

    Parameters
    ----------
    estimator : estimator
        With the parameter `network__max_iter`.
    param_grid : list of dict
        The candidates, each as a grid of one combination.
    rungs : list of Rung
    survivors : callable
        Takes the candidates of a rung and the rung; returns those for the next rung, best first.
    scoring, refit, cv, error_score
        As in `GridSearchCV`.
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: list[dict[str, Any]],
        *,
        rungs: list[Rung],
        survivors: Callable[[list[dict[str, Any]], Rung], list[dict[str, Any]]],
        scoring: Any = None,
        refit: bool = False,
        cv: Any = None,
        error_score: Any = "raise",
    ) -> None:
        super().__init__(
            estimator, param_grid, scoring=scoring, refit=refit, cv=cv, error_score=error_score
        )
        self.rungs, self.survivors = rungs, survivors

    def _run_search(self, evaluate_candidates: Evaluate) -> None:
        """Train the candidates of each rung; scikit-learn's hook for searches in several steps."""
        alive = list(ParameterGrid(self.param_grid))
        for rung in self.rungs:
            alive = alive[: rung.candidates]
            if not alive:
                return
            evaluate_candidates([{**one, "network__max_iter": rung.epochs} for one in alive])
            alive = self.survivors(alive, rung)
