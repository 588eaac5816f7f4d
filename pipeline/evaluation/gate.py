"""The gate: the limits that a model must meet on the test part before it is published."""

import math
from collections.abc import Iterator, Sequence

from pipeline.config.run_config import Gate, TestPart
from pipeline.data.splits import FEWEST_DISTINCT_ROWS, PartSize
from quadnet.registry.manifest import Baseline, Metrics, Verdict


def judge_candidate(gate: Gate, metrics: Metrics, champion: Baseline | None) -> list[Verdict]:
    """Return one verdict per limit: the absolute limits, then those set by the champion."""
    verdicts = list(_judge_limits(gate, metrics))
    if gate.champion and champion is not None:
        verdicts += _compare_with_champion(champion, metrics, gate.tolerance)
    return verdicts


def judge_test_part(test: TestPart, size: PartSize) -> list[Verdict]:
    """Return the verdicts on the test part itself: whether it is large enough."""
    if test.allow_small:
        return []
    n_present = size.n_classes - len(size.missing_classes)
    return [
        _judge_at_least("distinct test rows", FEWEST_DISTINCT_ROWS, size.distinct_rows),
        _judge_at_least("classes with test rows", size.n_classes, n_present),
    ]


def compare_with_majority(gate: Gate, metrics: Metrics) -> list[Verdict]:
    """Return the verdict on whether the model beats the prediction of the most frequent class.

    A model may never predict a rare class, and its probabilities still tell more than the class's
    share. Therefore a smaller log loss also passes.
    """
    rows = [measured.rows for measured in metrics.classes.values() if measured.rows]
    if not gate.better_than_majority or len(rows) < 2:
        return []
    # One more correct prediction than the most frequent class has rows.
    accuracy = _judge_at_least(
        "accuracy (better_than_majority)", (max(rows) + 1) / sum(rows), metrics.accuracy
    )
    entropy = compute_class_entropy(metrics)
    if accuracy.passed or metrics.log_loss >= entropy:
        return [accuracy]
    return [_judge_at_most("log loss (better_than_majority)", entropy, metrics.log_loss)]


def compute_class_entropy(metrics: Metrics) -> float:
    """Return the log loss of predicting, for every row, each class's share of the rows."""
    rows = [measured.rows for measured in metrics.classes.values() if measured.rows]
    total = sum(rows)
    return sum(n / total * math.log(total / n) for n in rows)


def format_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts for a terminal, one per line."""
    width = max(len(verdict.metric) for verdict in verdicts)
    return "\n".join(
        f"  {'passed' if v.passed else 'FAILED'}  {v.metric:{width}}  "
        f"{'nothing to measure' if v.value is None else f'{v.value:.6g}'}, "
        f"{v.comparison} {v.limit:.6g}"
        for v in verdicts
    )


def _judge_limits(gate: Gate, metrics: Metrics) -> Iterator[Verdict]:
    if gate.accuracy is not None:
        yield _judge_at_least("accuracy", gate.accuracy, metrics.accuracy)
    if gate.log_loss is not None:
        yield _judge_at_most("log loss", gate.log_loss, metrics.log_loss)
    if gate.calibration_error is not None:
        yield _judge_at_most("calibration error", gate.calibration_error, metrics.calibration_error)
    for name, measured in metrics.classes.items():
        if gate.recall is not None:
            yield _judge_at_least(f"recall of {name}", gate.recall, measured.recall)
        if gate.precision is not None:
            yield _judge_at_least(f"precision of {name}", gate.precision, measured.precision)


def _compare_with_champion(
    champion: Baseline, metrics: Metrics, tolerance: float
) -> Iterator[Verdict]:
    than = f"(champion: version {champion.version})"
    yield _judge_at_least(
        f"accuracy {than}", champion.metrics.accuracy - tolerance, metrics.accuracy
    )
    for name, theirs in champion.metrics.classes.items():
        if theirs.recall is not None:
            ours = metrics.classes[name].recall
            yield _judge_at_least(f"recall of {name} {than}", theirs.recall - tolerance, ours)


def _judge_at_least(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value >= limit
    return Verdict(metric=metric, comparison="at least", limit=limit, value=value, passed=passed)


def _judge_at_most(metric: str, limit: float, value: float) -> Verdict:
    return Verdict(
        metric=metric, comparison="at most", limit=limit, value=value, passed=value <= limit
    )
