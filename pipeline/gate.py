"""The gate: what a model must show on the test part before anybody is served by it."""

from collections.abc import Iterator, Sequence

from pipeline.config import Gate
from quadnet.manifest import Baseline, Metrics, Verdict


def judge(gate: Gate, metrics: Metrics, champion: Baseline | None) -> list[Verdict]:
    """Return one verdict a limit: the absolute ones, then those that the champion sets."""
    verdicts = list(_absolute(gate, metrics))
    if gate.champion and champion is not None:
        verdicts += _against(champion, metrics, gate.tolerance)
    return verdicts


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts for a terminal, one a line."""
    width = max(len(verdict.metric) for verdict in verdicts)
    return "\n".join(
        f"  {'passed' if v.passed else 'FAILED'}  {v.metric:{width}}  "
        f"{'nothing to measure' if v.value is None else f'{v.value:.6g}'}, "
        f"{v.comparison} {v.limit:.6g}"
        for v in verdicts
    )


def _absolute(gate: Gate, metrics: Metrics) -> Iterator[Verdict]:
    yield _at_least("accuracy", gate.accuracy, metrics.accuracy)
    if gate.log_loss is not None:
        yield _at_most("log loss", gate.log_loss, metrics.log_loss)
    if gate.calibration_error is not None:
        yield _at_most("calibration error", gate.calibration_error, metrics.calibration_error)
    for name, measured in metrics.classes.items():
        if gate.recall is not None:
            yield _at_least(f"recall of {name}", gate.recall, measured.recall)
        if gate.precision is not None:
            yield _at_least(f"precision of {name}", gate.precision, measured.precision)


def _against(champion: Baseline, metrics: Metrics, tolerance: float) -> Iterator[Verdict]:
    than = f"(champion: version {champion.version})"
    yield _at_least(f"accuracy {than}", champion.metrics.accuracy - tolerance, metrics.accuracy)
    for name, theirs in champion.metrics.classes.items():
        if theirs.recall is not None:
            ours = metrics.classes[name].recall
            yield _at_least(f"recall of {name} {than}", theirs.recall - tolerance, ours)


def _at_least(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value >= limit
    return Verdict(metric=metric, comparison="at least", limit=limit, value=value, passed=passed)


def _at_most(metric: str, limit: float, value: float) -> Verdict:
    return Verdict(
        metric=metric, comparison="at most", limit=limit, value=value, passed=value <= limit
    )
