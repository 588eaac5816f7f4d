"""The standings of a search: its candidates, best first, by what the ledger says so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from pipeline.search.halving import Rung
from pipeline.search.ledger import LedgerHeader, LedgerLine
from pipeline.search.plan import SearchPlan
from pipeline.search.space import format_parameters


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate, on the last rung that it was trained for: its finished fits, by fold."""

    parameters: dict[str, JsonValue]
    epochs: int
    scores: list[float]
    """By the search's metric."""
    n_lines: int
    weights: int
    seconds: float
    failed: str | None

    @property
    def mean(self) -> float:
        """The mean over the folds; rounded once, so that equal scores have equal means."""
        return math.fsum(self.scores) / len(self.scores)

    @property
    def deviation(self) -> float:
        """The standard deviation over the folds."""
        mean = self.mean
        return math.sqrt(math.fsum((score - mean) ** 2 for score in self.scores) / len(self.scores))


@dataclass(frozen=True)
class Leaderboard:
    """The candidates that have a finished fit, best first, and how many fits are finished."""

    plan: SearchPlan
    ranking: list[RankedCandidate]
    n_finished: int

    def format_progress(self) -> str:
        """Return how far the search has come, in a few words."""
        note = f"{self.n_finished:,} of {self.plan.n_fits:,} fits"
        if self.ranking and self.ranking[0].failed is None:
            note += f", best {self.plan.search.metric} {self.ranking[0].mean:.4f}"
        return note

    def format_table(self, *, limit: int | None = None) -> str:
        """Return the candidates for a terminal, one a line, and no more lines than the limit."""
        if not self.ranking:
            return f"None of the {self.plan.n_fits:,} fits is finished yet."
        head = ("rank", self.plan.search.metric, "std", "folds", "epochs", "seconds", "parameters")
        top = enumerate(self.ranking[:limit], start=1)
        rows: list[tuple[str, ...]] = [head, *(self._format_row(rank, one) for rank, one in top)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        shown = []
        for *numbers, parameters in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths, strict=False)]
            shown.append("  ".join([*cells, parameters]))
        hidden = len(self.ranking) - len(self.ranking[:limit])
        if hidden:
            shown.append(f"... and {hidden:,} more, which --report shows.")
        return "\n".join(shown)

    def _format_row(self, rank: int, one: RankedCandidate) -> tuple[str, ...]:
        failed = one.failed is not None
        return (
            str(rank),
            "failed" if failed else f"{one.mean:.4f}",
            "" if failed else f"{one.deviation:.4f}",
            f"{one.n_lines}/{self.plan.search.folds}",
            str(one.epochs),
            f"{one.seconds:.2f}",
            format_parameters(one.parameters) + (f": {one.failed}" if failed else ""),
        )


def rank_candidates(
    plan: SearchPlan,
    header: LedgerHeader,
    lines: Sequence[LedgerLine],
    candidates: Sequence[dict[str, JsonValue]],
    rung: Rung,
) -> list[RankedCandidate]:
    """Return those of the candidates that have a fit on this rung, best first.

    First those that all folds have measured, by their mean; of equals the one of fewer weights,
    then the one that was drawn first. Last those of which a fit failed.
    """
    by_key = {line.key: line for line in lines}
    folds, sign = plan.search.folds, 1 if plan.search.metric == "log_loss" else -1
    begun = []
    for parameters in candidates:
        epochs = plan.epochs(parameters, rung)
        keys = [header.key(parameters, epochs=epochs, fold=fold) for fold in range(folds)]
        own = [by_key[key] for key in keys if key in by_key]
        if own:
            begun.append(_make_ranked_candidate(parameters, epochs, own, plan.search.metric))

    def place(one: RankedCandidate) -> tuple[bool, bool, float, int]:
        if one.failed is not None:
            return True, True, 0.0, 0
        return False, one.n_lines < folds, sign * one.mean, one.weights

    return sorted(begun, key=place)


def make_leaderboard(
    plan: SearchPlan, header: LedgerHeader, lines: Sequence[LedgerLine]
) -> Leaderboard:
    """Return the standings: those of the last rung before others, those that failed at the end."""
    ranking: list[RankedCandidate] = []
    n_finished = 0
    alive = plan.candidates
    for rung in plan.rungs:
        alive = alive[: rung.candidates]
        here = rank_candidates(plan, header, lines, alive, rung)
        n_finished += sum(one.n_lines for one in here)
        climbed = [one.parameters for one in here]
        ranking = here + [one for one in ranking if one.parameters not in climbed]
        if sum(one.n_lines for one in here) < len(alive) * plan.search.folds:
            break  # who climbs on is not yet known
        alive = list_survivors(here)
    ranking.sort(key=lambda one: one.failed is not None)
    return Leaderboard(plan, ranking, n_finished)


def list_survivors(ranking: Sequence[RankedCandidate]) -> list[dict[str, JsonValue]]:
    """Return the candidates that did not fail, in their order."""
    return [one.parameters for one in ranking if one.failed is None]


def _make_ranked_candidate(
    parameters: dict[str, JsonValue], epochs: int, lines: Sequence[LedgerLine], metric: str
) -> RankedCandidate:
    measured = [line.log_loss if metric == "log_loss" else line.accuracy for line in lines]
    return RankedCandidate(
        parameters=parameters,
        epochs=epochs,
        scores=[score for score in measured if score is not None],
        n_lines=len(lines),
        weights=max(line.weights or 0 for line in lines),
        seconds=sum(line.seconds for line in lines),
        failed=next((line.failed for line in lines if line.failed), None),
    )
