"""The table of the metrics on each part, for any task."""

from pipeline.report import labels, numbers
from pipeline.report.judgement import make_metrics_table
from pipeline.wording import TextTable
from quadnet.registry.manifest import Record


def choose_metrics_table(record: Record) -> TextTable:
    """Return the table of the metrics of the version's task."""
    if record.task == "regression":
        return numbers.make_metrics_table(record)
    if record.task == "multilabel":
        return labels.make_metrics_table(record)
    return make_metrics_table(record)
