"""The gate: the limits that a model must meet on the test part before it is published."""

import math
from collections.abc import Iterator, Sequence

from pipeline.config.gate import Gate
from pipeline.config.held_out_rows import TestPart
from pipeline.data.splits import FEWEST_DISTINCT_ROWS, PartSize
from quadnet.registry.manifest import Baseline, Verdict
from quadnet.registry.metric_records import (
    AnyMetrics,
    ClassMetrics,
    JudgedBy,
    LabelMetrics,
    LabelsMetrics,
    Metrics,
    NumberMetrics,
)

_ERROR_NAMES: dict[JudgedBy, str] = {
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "pinball": "pinball loss",
}


def judge_candidate(gate: Gate, metrics: AnyMetrics, champion: Baseline | None) -> list[Verdict]:
    """Return one verdict per limit: the absolute limits, then those set by the champion."""
    if isinstance(metrics, NumberMetrics):
        limits = _limit_numbers(gate, metrics)
    elif isinstance(metrics, LabelsMetrics):
        limits = _limit_labels(gate, metrics)
    else:
        limits = _limit_classes(gate, metrics)
    if champion is None or not gate.champion:
        return list(limits)
    return [*limits, *_compare(champion, metrics, gate.tolerance)]


def judge_test_part(test: TestPart, size: PartSize) -> list[Verdict]:
    """Return the verdicts on the test part itself: whether it is large enough."""
    if test.allow_small:
        return []
    enough = _judge_at_least("distinct test rows", FEWEST_DISTINCT_ROWS, size.distinct_rows)
    if not size.n_classes:  # numbers
        return [enough]
    n_present = size.n_classes - len(size.missing_classes)
    return [enough, _judge_at_least("classes with test rows", size.n_classes, n_present)]


def compare_with_constant(gate: Gate, metrics: AnyMetrics) -> list[Verdict]:
    """Return the verdict on whether the model beats the best prediction that ignores the features.

    That is the most frequent class, the most frequent row of labels, or the best constant. A model
    may never predict a rare class, and its probabilities still tell more than the class's share.
    Therefore a smaller log loss also passes.
    """
    if isinstance(metrics, NumberMetrics):
        return _beat_constant(metrics) if gate.better_than_constant else []
    if not gate.better_than_majority:
        return []
    if isinstance(metrics, LabelsMetrics):
        if metrics.majority == 1.0:
            return []
        limit, entropy = math.nextafter(metrics.majority, 2.0), metrics.constant_log_loss
    else:
        rows = [measured.rows for measured in metrics.classes.values() if measured.rows]
        if len(rows) < 2:
            return []
        # One more correct prediction than the most frequent class has rows.
        limit, entropy = (max(rows) + 1) / sum(rows), compute_class_entropy(metrics)
    accuracy = _judge_at_least("accuracy (better_than_majority)", limit, metrics.accuracy)
    if accuracy.passed or metrics.log_loss >= entropy:
        return [accuracy]
    return [_judge_at_most("log loss (better_than_majority)", entropy, metrics.log_loss)]


def _beat_constant(metrics: NumberMetrics) -> list[Verdict]:
    if not metrics.constant_error:  # all numbers are equal
        return []
    what = f"{_ERROR_NAMES[metrics.judged_by]} (better_than_constant)"
    # The largest number below the error of the constant.
    limit = math.nextafter(metrics.constant_error, 0.0)
    return [_judge_at_most(what, limit, metrics.error(metrics.judged_by))]


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


def _limit_classes(gate: Gate, metrics: Metrics) -> Iterator[Verdict]:
    yield from _limit_below("accuracy", gate.accuracy, metrics.accuracy)
    yield from _limit_above("log loss", gate.log_loss, metrics.log_loss)
    yield from _limit_above("calibration error", gate.calibration_error, metrics.calibration_error)
    for name, measured in metrics.classes.items():
        yield from _limit_class(gate, name, measured)


def _limit_class(gate: Gate, name: str, measured: ClassMetrics | LabelMetrics) -> Iterator[Verdict]:
    yield from _limit_below(f"recall of {name}", gate.recall, measured.recall)
    yield from _limit_below(f"precision of {name}", gate.precision, measured.precision)


def _limit_labels(gate: Gate, metrics: LabelsMetrics) -> Iterator[Verdict]:
    yield from _limit_below("accuracy", gate.accuracy, metrics.accuracy)
    yield from _limit_below("F1 micro", gate.f1_micro, metrics.f1_micro)
    yield from _limit_below("F1 macro", gate.f1_macro, metrics.f1_macro)
    yield from _limit_above("log loss", gate.log_loss, metrics.log_loss)
    for name, measured in metrics.labels.items():
        yield from _limit_class(gate, name, measured)


def _limit_numbers(gate: Gate, metrics: NumberMetrics) -> Iterator[Verdict]:
    yield from _limit_above("RMSE", gate.rmse, metrics.rmse)
    yield from _limit_above("mean absolute error", gate.mae, metrics.mae)
    yield from _limit_above("pinball loss", gate.pinball, metrics.pinball)
    yield from _limit_below("R2", gate.r2, metrics.r2)
    off = None
    if metrics.coverage is not None and metrics.promised_coverage is not None:
        # Rounded, because 0.8 - 0.5 is not 0.3.
        off = round(abs(metrics.coverage - metrics.promised_coverage), 12)
    yield from _limit_above("coverage error", gate.coverage, off)


def _limit_below(metric: str, least: float | None, value: float | None) -> Iterator[Verdict]:
    """Yield the verdict on a limit of the run file, if it has this one."""
    if least is not None:
        yield _judge_at_least(metric, least, value)


def _limit_above(metric: str, most: float | None, value: float | None) -> Iterator[Verdict]:
    if most is not None:
        yield _judge_at_most(metric, most, value)


def _compare(champion: Baseline, ours: AnyMetrics, tolerance: float) -> Iterator[Verdict]:
    """Yield the verdicts on the limits that the champion sets; it is for the same task."""
    theirs, than = champion.metrics, f"(champion: version {champion.version})"
    if isinstance(ours, NumberMetrics):
        assert isinstance(theirs, NumberMetrics)
        error = _choose_error(ours, theirs)
        limit = theirs.error(error) * (1.0 + tolerance)
        yield _judge_at_most(f"{_ERROR_NAMES[error]} {than}", limit, ours.error(error))
        return
    assert not isinstance(theirs, NumberMetrics)
    yield _judge_at_least(f"accuracy {than}", theirs.accuracy - tolerance, ours.accuracy)
    ours_of = _list_recalls(ours)
    for name, recall in _list_recalls(theirs).items():
        if recall is not None:
            yield _judge_at_least(f"recall of {name} {than}", recall - tolerance, ours_of[name])


def _list_recalls(metrics: Metrics | LabelsMetrics) -> dict[str, float | None]:
    """Return the recall of each class or label."""
    each = metrics.labels if isinstance(metrics, LabelsMetrics) else metrics.classes
    return {name: measured.recall for name, measured in each.items()}


def _choose_error(ours: NumberMetrics, theirs: NumberMetrics) -> JudgedBy:
    """Return the error that two models of numbers are compared by."""
    levels = [[each.level for each in measured.quantiles] for measured in (ours, theirs)]
    if ours.judged_by == "pinball" and levels[0] != levels[1]:
        # Pinball losses of other quantiles cannot be compared.
        return "mae"
    return ours.judged_by


def _judge_at_least(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value >= limit
    return Verdict(metric=metric, comparison="at least", limit=limit, value=value, passed=passed)


def _judge_at_most(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value <= limit
    return Verdict(metric=metric, comparison="at most", limit=limit, value=value, passed=passed)
