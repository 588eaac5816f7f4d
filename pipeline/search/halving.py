"""Successive halving over epochs: all candidates are trained briefly, the best of them longer.

Every candidate is trained for `min_epochs`; the best, one in `factor`, rounded up, for `factor`
times as many; and so on, until a single one would be left or the epochs have reached the network's
`max_iter`. Each time a candidate is trained from the beginning (with `factor` 3, half as long again
as going on would take): so a schedule that depends on `max_iter` is run to its end, a fit is what
its parameters and epochs say and nothing else, and a search can be resumed at any of them.

The rule is that of Jamieson and Talwalkar, 2016; scikit-learn's own halving is experimental, and
its resource is above all the number of rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import GridSearchCV, ParameterGrid

from pipeline.config.run_config import Search
from quadnet.errors import ConfigurationError

Evaluate = Callable[[Sequence[dict[str, Any]]], object]


@dataclass(frozen=True)
class Rung:
    """How many candidates are trained, and for how many epochs; None: for as many as they say."""

    candidates: int
    epochs: int | None


def make_rungs(search: Search, candidates: int, max_epochs: int) -> list[Rung]:
    """Return the rungs that so many candidates climb; one if the search is no halving.

    Raises
    ------
    ConfigurationError
        If the first rung already has more epochs than a network may be trained for.
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
    """A grid search that trains ever fewer of its candidates for ever more epochs.

    Parameters
    ----------
    estimator : estimator
        With the parameter `network__max_iter`.
    param_grid : list of dict
        The candidates, each a grid of one.
    rungs : list of Rung
    survivors : callable
        Takes the candidates of a rung and the rung; returns those that may go on, best first.
    scoring, refit, cv, error_score
        `GridSearchCV`'s.
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
        """Climb the rungs; what scikit-learn documents for searches in several steps."""
        alive = list(ParameterGrid(self.param_grid))
        for rung in self.rungs:
            alive = alive[: rung.candidates]
            if not alive:
                return
            evaluate_candidates([{**one, "network__max_iter": rung.epochs} for one in alive])
            alive = self.survivors(alive, rung)
