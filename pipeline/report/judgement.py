"""Tables of a version's metrics and verdicts, for both its card and its report."""

import math
from collections.abc import Iterator, Sequence

from pipeline.data.datasets import Dataset
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.label_metrics import WorstLabels
from pipeline.evaluation.model_metrics import WorstRow
from pipeline.evaluation.number_metrics import WorstNumber
from pipeline.wording import (
    DASH,
    TextTable,
    confidence_interval,
    format_number,
    format_percent,
    format_value,
)
from quadnet.registry.manifest import Record
from quadnet.registry.metric_records import AnyMetrics, as_class_metrics

_MOST_CLASSES = 200
_MOST_CONFUSIONS = 20
_MOST_COLUMNS = 6


def list_measured(record: Record) -> Iterator[tuple[str, AnyMetrics]]:
    """Yield the metrics on each part, and the champion's, with a description of each."""
    for name, metrics in record.metrics.items():
        yield f"{name} part", metrics
    if record.baseline is not None:
        yield f"test part, champion (version {record.baseline.version})", record.baseline.metrics


def make_metrics_table(record: Record) -> TextTable:
    """Return the table of the metrics on each part, and of the champion's metrics."""
    rows = [
        (
            name,
            format_percent(m.accuracy),
            format_number(m.log_loss),
            format_percent(m.calibration_error),
        )
        for name, m in ((name, as_class_metrics(m)) for name, m in list_measured(record))
    ]
    columns = ("Measured on", "Accuracy", "Log loss", "Calibration error")
    return TextTable("Metrics", columns, rows, numbers=(1, 2, 3))


def make_class_table(evaluation: CandidateEvaluation, record: Record) -> TextTable:
    """Return the table of each class's metrics; of many classes, those with the least recall."""
    measured = as_class_metrics(record.metrics["test"]).classes
    names = list(measured)
    caption = "Classes, on the test part"
    if len(names) > _MOST_CLASSES:
        names = sorted(names, key=lambda name: _or_one(measured[name].recall))[:_MOST_CLASSES]
        caption = f"The {len(names)} of {len(measured):,} classes with the least recall"
    train = evaluation.candidate.splits.train
    columns: tuple[str, ...] = ("Class", "Rows in training", "Rows in test", "Precision", "Recall")
    if record.baseline is not None:
        columns += ("Champion's precision", "Champion's recall")
    rows = []
    for name in names:
        ours = measured[name]
        row: tuple[str, ...] = (name, count_in_training(train, name), f"{ours.rows:,}")
        row += (format_percent(ours.precision), format_percent(ours.recall))
        if record.baseline is not None:
            theirs = as_class_metrics(record.baseline.metrics).classes[name]
            row += (format_percent(theirs.precision), format_percent(theirs.recall))
        rows.append(row)
    return TextTable(caption, columns, rows, numbers=tuple(range(1, len(columns))))


def count_in_training(train: Dataset, name: str) -> str:
    """Return the number of training rows of a class or label, or a dash if they are unknown."""
    return f"{train.class_rows.get(name, 0):,}" if len(train) else DASH


def make_verdict_table(record: Record) -> TextTable:
    """Return the table of the gate's limits and verdicts."""
    rows = [
        (
            verdict.metric,
            f"{verdict.comparison} {verdict.limit:.6g}",
            "nothing to measure" if verdict.value is None else f"{verdict.value:.6g}",
            "passed" if verdict.passed else "FAILED",
        )
        for verdict in record.gate
    ]
    return TextTable(
        "The gate's verdicts", ("Metric", "Limit", "Measured", "Verdict"), rows, (1, 2)
    )


def make_confusion_table(evaluation: CandidateEvaluation) -> TextTable:
    """Return the table of confusions between classes, the most frequent first."""
    measured = evaluation.test_classes
    names = list(measured.metrics.classes)
    found = sorted(
        (-count, i, j)
        for i, row in enumerate(measured.confusion)
        for j, count in enumerate(row)
        if i != j and count
    )
    rows = [
        (names[i], names[j], f"{-count:,}", format_percent(-count / sum(measured.confusion[i])))
        for count, i, j in found[:_MOST_CONFUSIONS]
    ]
    caption = "Confusions, the most frequent first"
    if len(found) > len(rows):
        caption += f" ({len(rows)} of {len(found):,})"
    return TextTable(caption, ("Class", "Taken for", "Rows", "Share of the class"), rows, (2, 3))


def make_worst_rows_table(evaluation: CandidateEvaluation) -> TextTable:
    """Return the table of the rows whose label got the smallest probability."""
    cases = [
        (
            (
                case.label,
                case.answer,
                format_percent(case.certainty),
                format_percent(case.probability),
            ),
            case,
        )
        for case in evaluation.test_classes.worst
    ]
    columns = ("Label", "Answer", "Certainty of the answer", "Probability of the label")
    caption = "The test rows whose label was given the least probability"
    return make_case_table(caption, columns, cases, evaluation.test, numbers=(3, 4))


def make_case_table(
    caption: str,
    columns: tuple[str, ...],
    cases: Sequence[tuple[tuple[str, ...], WorstRow | WorstLabels | WorstNumber]],
    test: Dataset,
    *,
    numbers: tuple[int, ...],
) -> TextTable:
    """Return a table of test rows: the place of each, its cells, and its first features.

    Parameters
    ----------
    caption : str
    columns : tuple of str
        The names of the cells.
    cases : sequence of pairs
        The cells, and the row of the test part.
    test : Dataset
    numbers : tuple of int
        The indices of the cells with numbers, where the place of the row is 0.
    """
    names = test.columns[:_MOST_COLUMNS]
    rows = [
        (f"{case.row:,}", *cells, *map(format_value, case.x[: len(names)])) for cells, case in cases
    ]
    if rest := len(test.columns) - len(names):
        caption += f" (without {rest:,} further features)"
    shown = (test.unit.capitalize(), *columns, *names)
    return TextTable(caption, shown, rows, (*numbers, *range(1 + len(columns), len(shown))))


def make_calibration_table(evaluation: CandidateEvaluation) -> TextTable:
    """Return the table of the reliability diagram's bins."""
    rows = [
        (
            f"{100 * b.low:.3g}{DASH}{100 * b.high:.3g}%",
            f"{b.rows:,}",
            f"{b.distinct_rows:,}",
            format_percent(b.certainty),
            format_percent(b.accuracy),
            _format_interval(*confidence_interval(b.accuracy, b.distinct_rows)),
        )
        for b in evaluation.test_classes.reliability
    ]
    columns = ("Certainty", "Rows", "Distinct", "Mean certainty", "Right", "95% confidence")
    return TextTable("Calibration, by certainty of the answer", columns, rows, tuple(range(6)))


def _format_interval(low: float, high: float) -> str:
    """Return the interval in percent, rounded outwards."""
    return f"{math.floor(1000 * low) / 10:.1f}{DASH}{math.ceil(1000 * high) / 10:.1f}%"


def _or_one(share: float | None) -> float:
    return 1.0 if share is None else share
