"""The report of a version: one self-contained HTML page, without requests to any host.

This module decides what the page shows; the templates decide how.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.gate import compute_class_entropy
from pipeline.report import labels, numbers
from pipeline.report.facts import (
    make_commands_table,
    make_feature_table,
    make_lineage_table,
    make_settings_tables,
    make_splits_table,
    make_training_table,
)
from pipeline.report.gallery import Gallery, Scan, make_gallery
from pipeline.report.judgement import (
    make_calibration_table,
    make_class_table,
    make_confusion_table,
    make_verdict_table,
    make_worst_rows_table,
)
from pipeline.report.limits import describe_purpose, list_limits
from pipeline.report.metrics_table import choose_metrics_table
from pipeline.report.plane import Plane, choose_colours, make_plane
from pipeline.report.sections import Section, View
from pipeline.wording import UserText, confidence_interval, format_number, format_percent
from quadnet.errors import MissingExtra
from quadnet.name_display import escape_invisible
from quadnet.registry.manifest import Record
from quadnet.registry.metric_records import as_class_metrics

_WIDEST_MATRIX = 20
_LONG_WORD = 20


def render_page(evaluation: CandidateEvaluation, record: Record, version: int) -> str | None:
    """Return the page; None if the extra `report`, which is matplotlib, is not installed."""
    try:
        from pipeline.report import figures
    except MissingExtra:
        return None
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=evaluation.candidate.config.name,
            version=version,
            verdict=_verdict(evaluation, record),
            purpose=describe_purpose(evaluation, record),
            tiles=_choose_tiles(evaluation, record),
            sections=list(_sections(evaluation, record, version, figures)),
        )
    )


def _environment() -> Environment:
    """Return the templates' environment, which escapes invisible characters and HTML."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else escape_invisible(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = lambda text: text if text.strip() else repr(text)
    environment.tests["name"] = lambda part: isinstance(part, UserText)
    # Only long words may be broken, or columns of short words would be broken too.
    environment.tests["long"] = lambda text: max(map(len, text.split()), default=0) > _LONG_WORD
    return environment


def _sections(
    evaluation: CandidateEvaluation, record: Record, version: int, figures: ModuleType
) -> Iterator[Section]:
    chosen, default = make_settings_tables(record)
    yield from _judgement(evaluation, record, figures)
    picture = figures.draw_curves(evaluation.candidate.epochs, record.training.best_epoch)
    view: View = {"picture": picture, "facts": make_training_table(evaluation, record)}
    yield Section("training", "Training", "training.html", view)
    tables = make_verdict_table(record), choose_metrics_table(record)
    yield Section("gate", "The gate", "side_by_side.html", tables)
    yield Section("limits", "Limits", "limits.html", list(list_limits(evaluation, record)))
    tables = make_feature_table(record), make_splits_table(evaluation, record)
    yield Section("data", "Data", "side_by_side.html", tables)
    view = {"chosen": chosen, "default": default}
    yield Section("settings", "Settings", "settings.html", view)
    yield Section("use", "How to use it", "commands.html", make_commands_table(record, version))
    made = [make_lineage_table(record)]
    yield Section("lineage", "Lineage", "tables.html", made)


def _verdict(evaluation: CandidateEvaluation, record: Record) -> View:
    met = f"{sum(v.passed for v in record.gate):,} of {len(record.gate):,} limits met"
    few = evaluation.candidate.splits.test.size.is_small
    if record.forced is not None:
        text = f"✗ Failed its gate: {met}"
    elif few:
        text = f"Passed its gate: {met}, on a test part too small to evaluate a model on"
    else:
        text = f"✓ Passed its gate: {met}"
    return {"passed": record.forced is None and not few, "text": text, "forced": record.forced}


def _tiles(evaluation: CandidateEvaluation, record: Record) -> list[View]:
    """Return the three main metrics, each with values to compare it with."""
    test, rows = as_class_metrics(record.metrics["test"]), record.data.test.rows
    distinct = evaluation.evaluations["test"].distinct_rows
    low, high = confidence_interval(test.accuracy, distinct)
    guessing = (
        f"{format_number(compute_class_entropy(test))} for always giving each class its share"
    )
    made: list[View] = []
    for name, said, value, more in (
        (
            "Accuracy",
            format_percent,
            "accuracy",
            f"{format_percent(low)} to {format_percent(high)} with 95% confidence",
        ),
        ("Log loss", format_number, "log_loss", guessing),
        ("Calibration error", format_percent, "calibration_error", "by which certainties are off"),
    ):
        lines = [more]
        if record.baseline is not None:
            champion = said(getattr(record.baseline.metrics, value))
            lines.insert(0, f"{champion}: the champion, version {record.baseline.version}")
        term = f"{name} on {rows:,} test rows, {distinct:,} of them distinct"
        made.append({"term": term, "value": said(getattr(test, value)), "lines": lines})
    return made


def _choose_tiles(evaluation: CandidateEvaluation, record: Record) -> list[View]:
    if record.task == "regression":
        return numbers.make_tiles(evaluation, record)
    if record.task == "multilabel":
        return labels.make_tiles(evaluation, record)
    return _tiles(evaluation, record)


def _judgement(
    evaluation: CandidateEvaluation, record: Record, figures: ModuleType
) -> Iterator[Section]:
    """Yield the sections on how well the version predicts what it is for."""
    if record.task == "regression":
        yield from numbers.make_sections(evaluation)
        return
    if record.task == "multilabel":
        yield from labels.make_sections(evaluation, record)
        return
    yield from _pictures(evaluation, record, figures)
    yield Section("classes", "Each class", "classes.html", _classes(evaluation, record))
    picture = figures.draw_reliability(evaluation.test_classes.reliability)
    view: View = {"picture": picture, "bins": make_calibration_table(evaluation)}
    yield Section("calibration", "Calibration", "calibration.html", view)


def _pictures(
    evaluation: CandidateEvaluation, record: Record, figures: ModuleType
) -> Iterator[Section]:
    """Yield the pictures for this kind of data, and the worst rows."""
    shown = make_plane(evaluation)
    if shown is not None:
        yield Section("map", "Predictions on the plane", "map.html", _map(shown, record, figures))
    scans = make_gallery(evaluation)
    if scans is None:
        yield Section(
            "worst", "Where it fares worst", "tables.html", [make_worst_rows_table(evaluation)]
        )
    else:
        yield Section("scans", "Where it fares worst", "scans.html", _scans(scans, figures))


def _map(shown: Plane, record: Record, figures: ModuleType) -> View:
    classes = record.signature.classes
    palette, sample = choose_colours(classes), shown.sample
    left, bottom, width, height = figures.MAP_BOX
    x_axis, y_axis = record.signature.feature_names
    return {
        "x_axis": x_axis,
        "y_axis": y_axis,
        "picture": figures.draw_decision_map(shown, palette),
        "alternative": (
            f"Map of the plane: each of {len(classes)} classes has a region of its own colour. "
            f"{len(sample.hits)} test rows that are answered rightly are dots, and "
            f"{len(sample.misses)} that are not are crosses."
        ),
        "labels": [
            {
                "text": classes[i],
                "left": f"{100 * (left + width * x):.2f}",
                "top": f"{100 * (1 - bottom - height * y):.2f}",
            }
            for i, x, y in shown.places()
        ],
        "legend": list(zip(classes, palette, strict=True)),
        "note": (
            "The colour is the answer; the paler, the less certain. The dashed line bounds what "
            f"was seen in training. The dots are {len(sample.hits):,} of {sample.n_hits:,} test "
            "rows that are answered rightly; the crosses, in the colour of what they are, "
            f"{len(sample.misses):,} of {sample.n_misses:,} that are not."
        ),
    }


def _scans(scans: Gallery, figures: ModuleType) -> View:
    def drawn(scan: Scan) -> View:
        place = f"{scans.unit.capitalize()} {scan.row}"
        return {
            "picture": figures.draw_scan(scan.pixels, scans.low, scans.high),
            "alternative": f"{place}, a scan of {scan.label}, answered {scan.answer}",
            "label": scan.label,
            "answer": scan.answer,
            "certainty": format_percent(scan.certainty),
        }

    return {"worst": list(map(drawn, scans.worst)), "typical": list(map(drawn, scans.typical))}


def _classes(evaluation: CandidateEvaluation, record: Record) -> View:
    """Return the classes' metrics and the confusions; for few classes, as a matrix."""
    measured = evaluation.test_classes
    return {
        "confusions": make_confusion_table(evaluation),
        "each": make_class_table(evaluation, record),
        "names": list(measured.metrics.classes),
        "matrix": _matrix(measured.confusion)
        if len(measured.confusion) <= _WIDEST_MATRIX
        else None,
    }


def _matrix(confusion: Sequence[Sequence[int]]) -> list[list[View]]:
    return [
        [
            {
                "count": f"{count:,}",
                "kind": ("hit" if i == j else "miss") if count else "none",
                "share": f"{count / sum(row) if any(row) else 0:.3f}",
            }
            for j, count in enumerate(row)
        ]
        for i, row in enumerate(confusion)
    ]
