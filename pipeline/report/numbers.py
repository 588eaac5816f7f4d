"""The card and the report of a version that predicts numbers: tables and sections."""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.number_metrics import predict_numbers
from pipeline.report.judgement import list_measured, make_case_table
from pipeline.report.ranges import describe_outside, ranges_of
from pipeline.report.sections import Section, View
from pipeline.wording import (
    DASH,
    Sentence,
    TextTable,
    format_count,
    format_number,
    format_percent,
    make_sentence,
)
from quadnet.nn.predictor import RegressionPredictor, find_middle
from quadnet.registry.manifest import Record
from quadnet.registry.metric_records import NumberMetrics
from quadnet.types import FloatArray

_GROUPS = 10
_MOST_POINTS = 1000
_OVERFITTED = 1.2
_FAR_OFF = 0.05

_ERRORS = {"rmse": "RMSE", "mae": "mean absolute error", "pinball": "mean pinball loss"}
_CONSTANTS = {"rmse": "the mean", "mae": "the median", "pinball": "the quantiles"}


def make_metrics_table(record: Record) -> TextTable:
    """Return the table of the metrics on each part, and of the champion's metrics."""
    measured = [(name, m) for name, m in list_measured(record) if isinstance(m, NumberMetrics)]
    columns: tuple[str, ...] = (
        "Measured on", "RMSE", "Mean absolute error", "Median absolute error", "R2",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [
        (
            name,
            format_number(m.rmse),
            format_number(m.mae),
            format_number(m.median_absolute_error),
            _or_dash(m.r2),
        )
        for name, m in measured
    ]
    if any(m.quantiles for _, m in measured):
        columns += ("Pinball loss", "In the interval", "Mean width")
        rows = [
            (*row, _or_dash(m.pinball), format_percent(m.coverage), _or_dash(m.width))
            for row, (_, m) in zip(rows, measured, strict=True)
        ]
    return TextTable("Metrics", columns, rows, numbers=tuple(range(1, len(columns))))


def make_tables(evaluation: CandidateEvaluation) -> Iterator[TextTable]:
    """Yield the tables of the errors, and of the quantiles if there are any."""
    yield _make_group_table(*_predict_test(evaluation))
    if evaluation.test_numbers.metrics.quantiles:
        yield _make_quantile_table(evaluation)


def make_tiles(evaluation: CandidateEvaluation, record: Record) -> list[View]:
    """Return the main metrics, each with values to compare it with."""
    test, rows = evaluation.test_numbers.metrics, record.data.test.rows
    baseline = None if record.baseline is None else record.baseline.metrics
    theirs = baseline if isinstance(baseline, NumberMetrics) else None
    on = f"on {rows:,} test rows, {evaluation.test_numbers.distinct_rows:,} of them distinct"
    constant = f"{format_number(test.constant_error)} for always predicting"
    shown: list[tuple[str, str, str, list[str]]] = [
        ("RMSE", format_number(test.rmse), "rmse", []),
        ("Mean absolute error", format_number(test.mae), "mae", []),
        ("R2", _or_dash(test.r2), "r2", ["1 is perfect, 0 is no better than the mean"]),
    ]
    if test.pinball is not None:
        shown[2] = ("Mean pinball loss", format_number(test.pinball), "pinball", [])
    if test.coverage is not None:
        promised = f"{format_percent(test.promised_coverage)} is what its quantiles promise"
        shown.append(("In the interval", format_percent(test.coverage), "coverage", [promised]))
    made: list[View] = []
    for name, value, key, lines in shown:
        said = list(lines)
        if key == test.judged_by:
            said.insert(0, f"{constant} {_CONSTANTS[key]}")
        if theirs is not None and record.baseline is not None:
            champion = _or_dash(getattr(theirs, key))
            said.insert(0, f"{champion}: the champion, version {record.baseline.version}")
        made.append({"term": f"{name} {on}", "value": value, "lines": said})
    return made


def make_sections(evaluation: CandidateEvaluation) -> Iterator[Section]:
    """Yield the sections on the worst rows, the errors, and the quantiles if there are any."""
    from pipeline.report import number_figures  # needs an extra, which the caller has checked

    measured = evaluation.test_numbers
    yield Section("worst", "Where it fares worst", "tables.html", [_make_worst_table(evaluation)])
    y, P = _predict_test(evaluation)
    # Evenly spaced: more points would hide each other.
    drawn = np.unique(np.linspace(0, len(y) - 1, _MOST_POINTS).astype(int))
    view: View = {
        "figures": [
            {
                "picture": number_figures.draw_predictions(y[drawn], P[drawn]),
                "alternative": "Predicted against true numbers of test rows; the table next to it "
                "has their means by the size of the prediction.",
                "caption": "Each point is a test row. On the dashed line the prediction is right.",
            },
            {
                "picture": number_figures.draw_residuals(y[drawn], P[drawn]),
                "alternative": "Errors of test rows by the size of the prediction; the table next "
                "to it has their means.",
                "caption": "The error is the prediction minus the number.",
            },
        ],
        "table": _make_group_table(y, P),
    }
    yield Section("predictions", "Predictions", "figures.html", view)
    view = {
        "figures": [
            {
                "picture": number_figures.draw_histogram(measured.residuals),
                "alternative": "Histogram of the errors; the table next to it has the counts.",
                "caption": "Without the tails of 1 % of the rows each, which are in the table.",
            }
        ],
        "table": _make_residual_table(evaluation),
    }
    yield Section("errors", "Errors", "figures.html", view)
    if measured.metrics.quantiles:
        view = {
            "figures": [
                {
                    "picture": number_figures.draw_quantiles(measured.metrics.quantiles),
                    "alternative": "Calibration of the quantiles: the share of test rows up to "
                    "each; the numbers are in the table next to it.",
                    "caption": "On the dashed line a quantile keeps its promise.",
                }
            ],
            "table": _make_quantile_table(evaluation),
        }
        yield Section("quantiles", "Quantiles", "figures.html", view)


def list_limits(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    """Yield a sentence for each limit of the model that its data shows."""
    test, target = evaluation.test_numbers.metrics, record.signature.target
    assert target is not None
    yield make_sentence(
        f"{describe_outside(record)}. In {ranges_of(record)} the number was between "
        f"{format_number(target.min)} and {format_number(target.max)}.",
    )
    name, error = _ERRORS[test.judged_by], test.error(test.judged_by)
    yield make_sentence(
        f"Measured on {format_count(record.data.test.rows, 'row')}, its {name} is "
        f"{format_number(error)}. Always predicting {_CONSTANTS[test.judged_by]} of them would "
        f"have {format_number(test.constant_error)}.",
    )
    if error >= test.constant_error:
        yield make_sentence(
            f"It is no better than always predicting {_CONSTANTS[test.judged_by]}.",
        )
    train = record.metrics.get("train")
    if isinstance(train, NumberMetrics) and train.error(train.judged_by) * _OVERFITTED < error:
        yield make_sentence(
            f"It is overfitted to some degree: its {name} is "
            f"{format_number(train.error(train.judged_by))} on the training rows, and "
            f"{format_number(error)} on the test rows.",
        )
    coverage, promised = test.coverage, test.promised_coverage
    if coverage is not None and promised is not None and abs(coverage - promised) > _FAR_OFF:
        yield make_sentence(
            f"Its interval for {format_percent(promised)} of the rows holds "
            f"{format_percent(coverage)} of the test rows.",
        )


def _predict_test(evaluation: CandidateEvaluation) -> tuple[FloatArray, FloatArray]:
    """Return the numbers of the test rows and their predictions."""
    predictor, y = evaluation.candidate.predictor, evaluation.test.number_target.values
    assert isinstance(predictor, RegressionPredictor)
    Q, _ = predict_numbers(predictor, evaluation.test.X, y)
    return y, Q[:, find_middle(predictor.quantiles)]


def _make_group_table(y: FloatArray, P: FloatArray) -> TextTable:
    """Return the table of the errors by the size of the prediction."""
    rows = [
        (
            f"{format_number(P[group].min())} {DASH} {format_number(P[group].max())}",
            f"{len(group):,}",
            format_number(P[group].mean()),
            format_number(y[group].mean()),
            format_number(np.abs(P[group] - y[group]).mean()),
        )
        for group in np.array_split(np.argsort(P, kind="stable"), _GROUPS)
        if len(group)
    ]
    columns = ("Prediction", "Rows", "Mean prediction", "Mean number", "Mean absolute error")
    return TextTable("Test rows by prediction, in tenths", columns, rows, tuple(range(5)))


def _make_residual_table(evaluation: CandidateEvaluation) -> TextTable:
    rows = [
        (f"{format_number(b.low)} {DASH} {format_number(b.high)}", f"{b.rows:,}")
        for b in evaluation.test_numbers.residuals
    ]
    caption = "Errors, the prediction minus the number"
    return TextTable(caption, ("Error", "Rows"), rows, (0, 1))


def _make_quantile_table(evaluation: CandidateEvaluation) -> TextTable:
    rows = [
        (format_percent(each.level), format_percent(each.share_up_to), format_number(each.pinball))
        for each in evaluation.test_numbers.metrics.quantiles
    ]
    columns = ("Quantile", "Test rows up to it", "Pinball loss")
    return TextTable("Quantiles, on the test part", columns, rows, (0, 1, 2))


def _make_worst_table(evaluation: CandidateEvaluation) -> TextTable:
    cases = [
        ((format_number(case.number), _or_dash(case.prediction)), case)
        for case in evaluation.test_numbers.worst
    ]
    caption = "The test rows with the largest errors"
    columns = ("Number", "Prediction")
    return make_case_table(caption, columns, cases, evaluation.test, numbers=(0, 1, 2))


def _or_dash(value: float | None) -> str:
    return DASH if value is None else format_number(value)
