"""The leaderboard of a search: its candidates, best first, by the fits in the ledger."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from pipeline.search.halving import Rung
from pipeline.search.ledger import LedgerHeader, LedgerLine
from pipeline.search.plan import SearchPlan
from pipeline.search.scores import read_score
from pipeline.search.space import format_parameters


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate's finished fits on the last rung that it has reached."""

    parameters: dict[str, JsonValue]
    epochs: int
    scores: list[float]
    """One per finished fold, by the search's metric."""
    n_lines: int
    weights: int
    seconds: float
    failed: str | None

    @property
    def mean(self) -> float:
        """The mean over the folds; summed exactly, so that equal scores have equal means."""
        return math.fsum(self.scores) / len(self.scores)

    @property
    def deviation(self) -> float:
        """The standard deviation over the folds."""
        mean = self.mean
        return math.sqrt(math.fsum((score - mean) ** 2 for score in self.scores) / len(self.scores))


@dataclass(frozen=True)
class Leaderboard:
    """The candidates with a finished fit, best first, and the number of finished fits."""

    plan: SearchPlan
    ranking: list[RankedCandidate]
    n_finished: int

    def format_progress(self) -> str:
        """Return the number of finished fits and the best score, as a short note."""
        note = f"{self.n_finished:,} of {self.plan.n_fits:,} fits"
        if self.ranking and self.ranking[0].failed is None:
            note += f", best {self.plan.search.metric} {self.ranking[0].mean:.4f}"
        return note

    def format_table(self, *, limit: int | None = None) -> str:
        """Return the candidates for a terminal, one per line, at most `limit` of them."""
        if not self.ranking:
            return f"0 of the {self.plan.n_fits:,} fits are finished yet."
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
            shown.append(f"... and {hidden:,} more")
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
    """Return the candidates with a fit on this rung, best first.

    Candidates that are measured on all folds come first, by their mean. Ties go to the candidate
    with fewer weights, then to the one drawn first. Candidates with a failed fit come last.
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
    """Return the leaderboard: candidates of later rungs first, failed candidates last."""
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
            break  # the candidates of the next rung are not known yet
        alive = list_survivors(here)
    ranking.sort(key=lambda one: one.failed is not None)
    return Leaderboard(plan, ranking, n_finished)


def list_survivors(ranking: Sequence[RankedCandidate]) -> list[dict[str, JsonValue]]:
    """Return the candidates that did not fail, in their order."""
    return [one.parameters for one in ranking if one.failed is None]


def _make_ranked_candidate(
    parameters: dict[str, JsonValue], epochs: int, lines: Sequence[LedgerLine], metric: str
) -> RankedCandidate:
    measured = [read_score(line, metric) for line in lines]
    return RankedCandidate(
        parameters=parameters,
        epochs=epochs,
        scores=[score for score in measured if score is not None],
        n_lines=len(lines),
        weights=max(line.weights or 0 for line in lines),
        seconds=sum(line.seconds for line in lines),
        failed=next((line.failed for line in lines if line.failed), None),
    )
