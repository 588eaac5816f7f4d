"""What was measured on a part of the data, in a sentence."""

from pipeline.evaluation.label_metrics import LabelsEvaluation
from pipeline.evaluation.number_metrics import NumberEvaluation
from pipeline.evaluation.part_evaluation import AnyEvaluation
from pipeline.wording import confidence_interval, format_number, format_percent
from quadnet.registry.metric_records import NumberMetrics


def summarize_part(measured: AnyEvaluation, n_rows: int) -> str:
    """Return the metrics on a held-out part of so many rows, in a sentence."""
    distinct = measured.distinct_rows
    on = f"on {n_rows:,} held-out rows, {distinct:,} of them distinct"
    if isinstance(measured, NumberEvaluation):
        return _summarize_numbers(measured.metrics, on)
    accuracy = measured.metrics.accuracy
    low, high = confidence_interval(accuracy, distinct)
    interval = f"(95% confidence: {format_percent(low)} to {format_percent(high)})"
    if isinstance(measured, LabelsEvaluation):
        labels = measured.metrics
        return (
            f"All labels right for {accuracy:.2%} {on} {interval}, F1 micro "
            f"{labels.f1_micro:.4g}, F1 macro {labels.f1_macro:.4g}, log loss "
            f"{labels.log_loss:.4g}."
        )
    classes = measured.metrics
    return (
        f"{accuracy:.2%} right {on} {interval}, log loss {classes.log_loss:.4g}, calibration error "
        f"{classes.calibration_error:.2%}."
    )


def _summarize_numbers(metrics: NumberMetrics, on: str) -> str:
    errors = f"RMSE {format_number(metrics.rmse)}, mean absolute error {format_number(metrics.mae)}"
    r2 = "" if metrics.r2 is None else f", R2 {metrics.r2:.4f}"
    sentences = [f"{errors}{r2} {on}."]
    if metrics.pinball is not None:
        sentences.append(f"Mean pinball loss {format_number(metrics.pinball)}.")
    if metrics.coverage is not None and metrics.width is not None:
        sentences.append(
            f"{metrics.coverage:.2%} of the rows are in the interval for "
            f"{format_percent(metrics.promised_coverage)}, whose mean width is "
            f"{format_number(metrics.width)}."
        )
    return " ".join(sentences)
