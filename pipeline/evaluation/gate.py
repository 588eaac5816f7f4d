"""The gate: the limits that a model must meet on the test part before it is published."""

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.config.run_config import Gate, TestPart
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
    as_class_metrics,
)

_ERROR_NAMES: dict[JudgedBy, str] = {
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "pinball": "pinball loss",
}


def judge_candidate(gate: Gate, metrics: AnyMetrics, champion: Baseline | None) -> list[Verdict]:
    """Return one verdict per limit: the absolute limits, then those set by the champion."""
    theirs = champion if gate.champion else None
    if isinstance(metrics, NumberMetrics):
        return [*_limit_numbers(gate, metrics), *_compare_numbers(theirs, metrics, gate.tolerance)]
    if isinstance(metrics, LabelsMetrics):
        return [*_limit_labels(gate, metrics), *_compare_labels(theirs, metrics, gate.tolerance)]
    return [*_limit_classes(gate, metrics), *_compare_classes(theirs, metrics, gate.tolerance)]


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
    if gate.accuracy is not None:
        yield _judge_at_least("accuracy", gate.accuracy, metrics.accuracy)
    if gate.log_loss is not None:
        yield _judge_at_most("log loss", gate.log_loss, metrics.log_loss)
    if gate.calibration_error is not None:
        yield _judge_at_most("calibration error", gate.calibration_error, metrics.calibration_error)
    for name, measured in metrics.classes.items():
        yield from _limit_class(gate, name, measured)


def _limit_class(gate: Gate, name: str, measured: ClassMetrics | LabelMetrics) -> Iterator[Verdict]:
    if gate.recall is not None:
        yield _judge_at_least(f"recall of {name}", gate.recall, measured.recall)
    if gate.precision is not None:
        yield _judge_at_least(f"precision of {name}", gate.precision, measured.precision)


def _limit_labels(gate: Gate, metrics: LabelsMetrics) -> Iterator[Verdict]:
    for what, least, value in (
        ("accuracy", gate.accuracy, metrics.accuracy),
        ("F1 micro", gate.f1_micro, metrics.f1_micro),
        ("F1 macro", gate.f1_macro, metrics.f1_macro),
    ):
        if least is not None:
            yield _judge_at_least(what, least, value)
    if gate.log_loss is not None:
        yield _judge_at_most("log loss", gate.log_loss, metrics.log_loss)
    for name, measured in metrics.labels.items():
        yield from _limit_class(gate, name, measured)


def _limit_numbers(gate: Gate, metrics: NumberMetrics) -> Iterator[Verdict]:
    for what, most, value in (
        ("RMSE", gate.rmse, metrics.rmse),
        ("mean absolute error", gate.mae, metrics.mae),
        ("pinball loss", gate.pinball, metrics.pinball),
    ):
        if most is not None:
            yield _judge_at_most(what, most, value)
    if gate.r2 is not None:
        yield _judge_at_least("R2", gate.r2, metrics.r2)
    if gate.coverage is not None:
        off = None
        if metrics.coverage is not None and metrics.promised_coverage is not None:
            # Rounded, because 0.8 - 0.5 is not 0.3.
            off = round(abs(metrics.coverage - metrics.promised_coverage), 12)
        yield _judge_at_most("coverage error", gate.coverage, off)


def _compare_classes(
    champion: Baseline | None, metrics: Metrics, tolerance: float
) -> Iterator[Verdict]:
    if champion is None:
        return
    theirs = as_class_metrics(champion.metrics)
    yield from _compare_accuracies(champion, theirs, metrics, tolerance)
    yield from _compare_recalls(champion, theirs.classes, metrics.classes, tolerance)


def _compare_labels(
    champion: Baseline | None, metrics: LabelsMetrics, tolerance: float
) -> Iterator[Verdict]:
    if champion is None:
        return
    theirs = champion.metrics
    assert isinstance(theirs, LabelsMetrics)
    yield from _compare_accuracies(champion, theirs, metrics, tolerance)
    yield from _compare_recalls(champion, theirs.labels, metrics.labels, tolerance)


def _compare_accuracies(
    champion: Baseline,
    theirs: Metrics | LabelsMetrics,
    ours: Metrics | LabelsMetrics,
    tolerance: float,
) -> Iterator[Verdict]:
    than = _name_champion(champion)
    yield _judge_at_least(f"accuracy {than}", theirs.accuracy - tolerance, ours.accuracy)


def _compare_recalls(
    champion: Baseline,
    theirs: Mapping[str, ClassMetrics | LabelMetrics],
    ours: Mapping[str, ClassMetrics | LabelMetrics],
    tolerance: float,
) -> Iterator[Verdict]:
    for name, measured in theirs.items():
        if measured.recall is not None:
            what = f"recall of {name} {_name_champion(champion)}"
            yield _judge_at_least(what, measured.recall - tolerance, ours[name].recall)


def _compare_numbers(
    champion: Baseline | None, metrics: NumberMetrics, tolerance: float
) -> Iterator[Verdict]:
    if champion is None:
        return
    theirs, name = champion.metrics, metrics.judged_by
    assert isinstance(theirs, NumberMetrics)
    levels = [[each.level for each in measured.quantiles] for measured in (metrics, theirs)]
    if name == "pinball" and levels[0] != levels[1]:
        # Pinball losses of other quantiles cannot be compared.
        name = "mae"
    yield _judge_at_most(
        f"{_ERROR_NAMES[name]} {_name_champion(champion)}",
        theirs.error(name) * (1.0 + tolerance),
        metrics.error(name),
    )


def _name_champion(champion: Baseline) -> str:
    return f"(champion: version {champion.version})"


def _judge_at_least(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value >= limit
    return Verdict(metric=metric, comparison="at least", limit=limit, value=value, passed=passed)


def _judge_at_most(metric: str, limit: float, value: float | None) -> Verdict:
    passed = value is not None and value <= limit
    return Verdict(metric=metric, comparison="at most", limit=limit, value=value, passed=passed)
