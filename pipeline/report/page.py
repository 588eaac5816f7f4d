"""The report of a version: one self-contained HTML page, which asks no other host for anything.

Here is decided what it shows; how, in the templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.gate import class_entropy
from pipeline.report import facts, gallery, judgement, limits, plane
from pipeline.report.gallery import Gallery, Scan
from pipeline.report.plane import Plane
from pipeline.wording import Name, interval, number, percent, visible
from quadnet.errors import MissingExtra
from quadnet.registry.manifest import Record

_WIDEST_MATRIX = 20
_LONG_WORD = 20

View = Mapping[str, Any]
"""What a template shows, by the names that it knows."""


@dataclass(frozen=True)
class _Section:
    key: str
    title: str
    template: str
    view: Any


def render(trial: CandidateEvaluation, record: Record, version: int) -> str | None:
    """Return the page; None without the extra `report`, which is matplotlib."""
    try:
        from pipeline.report import figures
    except MissingExtra:
        return None
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=trial.candidate.config.name,
            version=version,
            verdict=_verdict(trial, record),
            purpose=limits.purpose(trial, record),
            tiles=_tiles(trial, record),
            sections=list(_sections(trial, record, version, figures)),
        )
    )


def _environment() -> Environment:
    """Return the templates; whatever they show is made visible, and escaped unless it is HTML."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = lambda text: text if text.strip() else repr(text)
    environment.tests["name"] = lambda part: isinstance(part, Name)
    # Only these may be broken within a word, or columns of short words would be.
    environment.tests["long"] = lambda text: max(map(len, text.split()), default=0) > _LONG_WORD
    return environment


def _sections(
    trial: CandidateEvaluation, record: Record, version: int, figures: ModuleType
) -> Iterator[_Section]:
    chosen, default = facts.settings(record)
    yield from _pictures(trial, record, figures)
    yield _Section("classes", "Each class", "classes.html", _classes(trial, record))
    picture = figures.reliability(trial.evaluations["test"].reliability)
    view: View = {"picture": picture, "bins": judgement.bins(trial)}
    yield _Section("calibration", "As right as it is sure?", "calibration.html", view)
    picture = figures.curves(trial.candidate.epochs, record.training.best_epoch)
    view = {"picture": picture, "facts": facts.training(trial, record)}
    yield _Section("training", "Training", "training.html", view)
    tables = judgement.verdicts(record), judgement.metrics(record)
    yield _Section("gate", "The gate", "side_by_side.html", tables)
    yield _Section("limits", "Limits", "limits.html", list(limits.known(trial, record)))
    tables = facts.features(record), facts.parts(trial, record)
    yield _Section("data", "Data", "side_by_side.html", tables)
    view = {"chosen": chosen, "default": default}
    yield _Section("settings", "Settings", "settings.html", view)
    yield _Section("use", "How to use it", "commands.html", facts.commands(record, version))
    made = [facts.lineage(record)]
    yield _Section("lineage", "What it was made with", "tables.html", made)


def _verdict(trial: CandidateEvaluation, record: Record) -> View:
    met = f"{sum(v.passed for v in record.gate):,} of {len(record.gate):,} limits met"
    few = trial.candidate.parts.test.size.is_small
    if record.forced is not None:
        text = f"✗ Failed its gate: {met}"
    elif few:
        text = f"Passed its gate: {met}, on a test part too small to judge by"
    else:
        text = f"✓ Passed its gate: {met}"
    return {"passed": record.forced is None and not few, "text": text, "forced": record.forced}


def _tiles(trial: CandidateEvaluation, record: Record) -> list[View]:
    """Return the three measures that count most, and what they are beside."""
    test, rows = record.metrics["test"], record.data.test.rows
    distinct = trial.evaluations["test"].distinct_rows
    low, high = interval(test.accuracy, distinct)
    guessing = f"{number(class_entropy(test))} for always giving each class its share"
    made: list[View] = []
    for name, said, value, more in (
        ("Accuracy", percent, "accuracy", f"{percent(low)} to {percent(high)} with 95% confidence"),
        ("Log loss", number, "log_loss", guessing),
        ("Calibration error", percent, "calibration_error", "by which certainties are off"),
    ):
        lines = [more]
        if record.baseline is not None:
            champion = said(getattr(record.baseline.metrics, value))
            lines.insert(0, f"{champion}: the champion, version {record.baseline.version}")
        term = f"{name} on {rows:,} test rows, {distinct:,} of them distinct"
        made.append({"term": term, "value": said(getattr(test, value)), "lines": lines})
    return made


def _pictures(
    trial: CandidateEvaluation, record: Record, figures: ModuleType
) -> Iterator[_Section]:
    """Yield what can be seen of this kind of data, and the cases that went worst."""
    shown = plane.of(trial)
    if shown is not None:
        yield _Section("map", "Which answer where", "map.html", _map(shown, record, figures))
    scans = gallery.of(trial)
    if scans is None:
        yield _Section("worst", "Where it fares worst", "tables.html", [judgement.worst(trial)])
    else:
        yield _Section("scans", "Where it fares worst", "scans.html", _scans(scans, figures))


def _map(shown: Plane, record: Record, figures: ModuleType) -> View:
    classes = record.signature.classes
    palette, sample = plane.colours(classes), shown.sample
    left, bottom, width, height = figures.MAP_BOX
    x_axis, y_axis = (feature.name for feature in record.signature.features)
    return {
        "x_axis": x_axis,
        "y_axis": y_axis,
        "picture": figures.decision_map(shown, palette),
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
            "picture": figures.scan(scan.pixels, scans.low, scans.high),
            "alternative": f"{place}, a scan of {scan.label}, answered {scan.answer}",
            "label": scan.label,
            "answer": scan.answer,
            "certainty": percent(scan.certainty),
        }

    return {"worst": list(map(drawn, scans.worst)), "typical": list(map(drawn, scans.typical))}


def _classes(trial: CandidateEvaluation, record: Record) -> View:
    """Return how each class fared and the confusions; of few classes, their whole matrix."""
    measured = trial.evaluations["test"]
    return {
        "confusions": judgement.confusions(trial),
        "each": judgement.classes(trial, record),
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
