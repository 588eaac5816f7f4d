"""The card and the report of a version that predicts several labels: tables and sections."""

from collections.abc import Iterator

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.report.judgement import count_in_training, list_measured, make_case_table
from pipeline.report.ranges import describe_outside
from pipeline.report.sections import Section, View
from pipeline.wording import (
    Sentence,
    TextTable,
    UserText,
    confidence_interval,
    format_count,
    format_number,
    format_percent,
    join_names,
    make_sentence,
)
from quadnet.registry.manifest import Record
from quadnet.registry.metric_records import LabelsMetrics

_FEW_ROWS = 30


def make_metrics_table(record: Record) -> TextTable:
    """Return the table of the metrics on each part, and of the champion's metrics."""
    rows = [
        (
            name,
            format_percent(m.accuracy),
            format_percent(m.f1_micro),
            format_percent(m.f1_macro),
            format_number(m.log_loss),
        )
        for name, m in list_measured(record)
        if isinstance(m, LabelsMetrics)
    ]
    columns = ("Measured on", "All labels right", "F1 micro", "F1 macro", "Log loss")
    return TextTable("Metrics", columns, rows, numbers=(1, 2, 3, 4))


def make_label_table(evaluation: CandidateEvaluation, record: Record) -> TextTable:
    """Return the table of each label's metrics."""
    train = evaluation.candidate.splits.train
    baseline = None if record.baseline is None else record.baseline.metrics
    theirs = baseline.labels if isinstance(baseline, LabelsMetrics) else {}
    columns: tuple[str, ...] = (
        "Label", "Rows in training", "Rows in test", "Precision", "Recall", "F1", "Log loss",
    )  # fmt: skip
    if theirs:
        columns += ("Champion's F1",)
    rows = []
    for name, m in evaluation.test_labels.metrics.labels.items():
        row: tuple[str, ...] = (name, count_in_training(train, name), f"{m.rows:,}")
        row += (format_percent(m.precision), format_percent(m.recall), format_percent(m.f1))
        row += (format_number(m.log_loss),)
        if theirs:
            row += (format_percent(theirs[name].f1),)
        rows.append(row)
    return TextTable("Labels, on the test part", columns, rows, tuple(range(1, len(columns))))


def make_tiles(evaluation: CandidateEvaluation, record: Record) -> list[View]:
    """Return the main metrics, each with values to compare it with."""
    test, distinct = evaluation.test_labels.metrics, evaluation.test_labels.distinct_rows
    low, high = confidence_interval(test.accuracy, distinct)
    on = f"on {record.data.test.rows:,} test rows, {distinct:,} of them distinct"
    interval = f"{format_percent(low)} to {format_percent(high)} with 95% confidence"
    majority = f"{format_percent(test.majority)} for always the most frequent labels"
    guess = f"{format_number(test.constant_log_loss)} for always giving each label its share"
    baseline = None if record.baseline is None else record.baseline.metrics
    made: list[View] = []
    for name, write, key, lines in (
        ("All labels right", format_percent, "accuracy", [interval, majority]),
        ("F1 micro", format_percent, "f1_micro", ["over all labels together"]),
        ("Log loss", format_number, "log_loss", [guess]),
    ):
        said = list(lines)
        if record.baseline is not None and isinstance(baseline, LabelsMetrics):
            champion = write(getattr(baseline, key))
            said.insert(0, f"{champion}: the champion, version {record.baseline.version}")
        made.append({"term": f"{name} {on}", "value": write(getattr(test, key)), "lines": said})
    return made


def make_sections(evaluation: CandidateEvaluation, record: Record) -> Iterator[Section]:
    """Yield the sections on the worst rows and on each label."""
    yield Section("worst", "Where it fares worst", "tables.html", [_make_worst_table(evaluation)])
    yield Section("labels", "Each label", "tables.html", [make_label_table(evaluation, record)])


def list_limits(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    """Yield a sentence for each limit of the model that its data shows."""
    test, distinct = evaluation.test_labels.metrics, evaluation.test_labels.distinct_rows
    yield make_sentence(
        f"{describe_outside(record)}.",
    )
    few = [UserText(name) for name, m in test.labels.items() if m.rows < _FEW_ROWS]
    if few:
        yield make_sentence(
            f"Fewer than {_FEW_ROWS} test rows have the label ",
            *join_names(few),
            ": its precision and recall are uncertain.",
        )
    low, high = confidence_interval(test.accuracy, distinct)
    yield make_sentence(
        f"Measured on {format_count(record.data.test.rows, 'row')}, {distinct:,} of them distinct, "
        f"the share of new rows with all labels right lies between {format_percent(low)} and "
        f"{format_percent(high)} with a confidence of 95%. Always predicting the most frequent "
        f"labels would be right on {format_percent(test.majority)} of them.",
    )


def _make_worst_table(evaluation: CandidateEvaluation) -> TextTable:
    cases = [
        (
            (
                ", ".join(case.labels) or "none",
                ", ".join(case.answer) or "none",
                format_percent(case.probability),
            ),
            case,
        )
        for case in evaluation.test_labels.worst
    ]
    columns = ("Labels", "Answer", "Probability of the labels")
    caption = "The test rows whose labels were given the least probability"
    return make_case_table(caption, columns, cases, evaluation.test, numbers=(3,))
