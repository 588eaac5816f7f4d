"""The report of a version: one self-contained HTML page, which asks no other host for anything."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from string import Template
from types import ModuleType

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.gate import class_entropy
from pipeline.report import facts, gallery, judgement, limits, markup, plane
from pipeline.report.gallery import Gallery, Scan
from pipeline.report.markup import Html, element, join
from pipeline.report.plane import Plane
from pipeline.wording import Name, Sentence, Table, interval, number, percent
from quadnet.errors import Unsupported
from quadnet.registry.manifest import Record

_WIDEST_MATRIX = 20


def render(trial: CandidateEvaluation, record: Record, version: int) -> str | None:
    """Return the page; None without the extra `report`, which is matplotlib."""
    try:
        from pipeline.report import figures
    except Unsupported:
        return None
    sections = list(_sections(trial, record, version, figures))
    page = Template(files("pipeline.report").joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=join(f"{trial.candidate.config.name}, version {version}"),
        header=_header(trial, record, version, [(key, title) for key, title, _ in sections]),
        main="\n".join(
            element("section", element("h2", title), *content, id=key)
            for key, title, content in sections
        ),
    )


def _sections(
    trial: CandidateEvaluation, record: Record, version: int, figures: ModuleType
) -> Iterator[tuple[str, str, list[Html]]]:
    """Yield each section's anchor, title and content."""
    chosen, default = facts.settings(record)
    yield from _pictures(trial, record, figures)
    each = markup.table(judgement.classes(trial, record))
    yield "classes", "Each class", _side_by_side(_confusions(trial), each)
    yield "calibration", "As right as it is sure?", _calibration(trial, figures)
    yield "training", "Training", _training(trial, record, figures)
    yield "gate", "The gate", _tables(judgement.verdicts(record), judgement.metrics(record))
    yield "limits", "Limits", _limits(trial, record)
    yield "data", "Data", _tables(facts.features(record), facts.parts(trial, record))
    yield "settings", "Settings", [markup.table(chosen), _folded(default)]
    yield "use", "How to use it", _commands(facts.commands(record, version))
    yield "lineage", "What it was made with", [markup.table(facts.lineage(record))]


def _header(
    trial: CandidateEvaluation, record: Record, version: int, contents: list[tuple[str, str]]
) -> Html:
    met = f"{sum(v.passed for v in record.gate):,} of {len(record.gate):,} limits met"
    size = trial.candidate.parts.test.size
    if record.forced is None and size.is_small:
        few = f"Passed its gate: {met}, on a test part too small to judge by"
        verdict = element("p", few, class_="verdict failed")
    elif record.forced is None:
        verdict = element("p", f"✓ Passed its gate: {met}", class_="verdict passed")
    else:
        verdict = join(
            element("p", f"✗ Failed its gate: {met}", class_="verdict failed"),
            element("p", "It was published all the same, because: ", markup.name(record.forced)),
        )
    return element(
        "header",
        element("p", "Model report", class_="eyebrow"),
        element("h1", trial.candidate.config.name, " ", element("small", f"version {version}")),
        verdict,
        _paragraph(limits.purpose(trial, record)),
        _tiles(trial, record),
        element(
            "nav", *(element("a", t, href=f"#{key}") for key, t in contents), aria_label="Contents"
        ),
    )


def _tiles(trial: CandidateEvaluation, record: Record) -> Html:
    """Return the three measures that count most, and what they are beside."""
    test, rows = record.metrics["test"], record.data.test.rows
    distinct = trial.evaluations["test"].distinct_rows
    low, high = interval(test.accuracy, distinct)
    guessing = f"{number(class_entropy(test))} for always giving each class its share"
    made = []
    for name, said, value, more in (
        ("Accuracy", percent, "accuracy", f"{percent(low)} to {percent(high)} with 95% confidence"),
        ("Log loss", number, "log_loss", guessing),
        ("Calibration error", percent, "calibration_error", "by which certainties are off"),
    ):
        beside = ""
        if record.baseline is not None:
            champion = said(getattr(record.baseline.metrics, value))
            beside = f"{champion}: the champion, version {record.baseline.version}"
        made.append(
            element(
                "div",
                element("dt", f"{name} on {rows:,} test rows, {distinct:,} of them distinct"),
                element("dd", said(getattr(test, value)), class_="value"),
                *(element("dd", line) for line in (beside, more) if line),
            )
        )
    return element("dl", *made, class_="tiles")


def _pictures(
    trial: CandidateEvaluation, record: Record, figures: ModuleType
) -> Iterator[tuple[str, str, list[Html]]]:
    """Yield what can be seen of this kind of data, and the cases that went worst."""
    shown = plane.of(trial)
    if shown is not None:
        yield "map", "Which answer where", _map(shown, record, figures)
    scans = gallery.of(trial)
    if scans is None:
        yield "worst", "Where it fares worst", [markup.table(judgement.worst(trial))]
    else:
        yield "scans", "Where it fares worst", _gallery(scans, figures)


def _map(shown: Plane, record: Record, figures: ModuleType) -> list[Html]:
    classes = record.signature.classes
    palette, sample = plane.colours(classes), shown.sample
    left, bottom, width, height = figures.MAP_BOX
    labels = []
    for i, x, y in shown.places():
        across, down = 100 * (left + width * x), 100 * (1 - bottom - height * y)
        place = {"style": f"left:{across:.2f}%;top:{down:.2f}%", "title": classes[i]}
        labels.append(element("span", markup.name(classes[i]), aria_hidden="true", **place))
    x_name, y_name = (markup.name(feature.name) for feature in record.signature.features)
    alternative = (
        f"Map of the plane: each of {len(classes)} classes has a region of its own colour. "
        f"{len(sample.hits)} test rows that are answered rightly are dots, and "
        f"{len(sample.misses)} that are not are crosses."
    )
    legend = [
        element(
            "li", element("span", class_="swatch", style=f"background:{colour}"), markup.name(c)
        )
        for c, colour in zip(classes, palette, strict=True)
    ]
    picture = element("img", src=figures.decision_map(shown, palette), alt=alternative)
    drawn = element(
        "figure",
        element("p", "↑ ", y_name, class_="axis"),
        element("div", picture, *labels, class_="plane"),
        element("p", x_name, " →", class_="axis x"),
    )
    beside = element(
        "div",
        element("ul", *legend, class_="legend"),
        element(
            "p",
            "The colour is the answer; the paler, the less certain. The dashed line bounds what "
            f"was seen in training. The dots are {len(sample.hits):,} of {sample.n_hits:,} test "
            "rows that are answered rightly; the crosses, in the colour of what they are, "
            f"{len(sample.misses):,} of {sample.n_misses:,} that are not.",
            class_="note",
        ),
    )
    return _side_by_side(drawn, beside)


def _gallery(scans: Gallery, figures: ModuleType) -> list[Html]:
    def drawn(scan: Scan) -> Html:
        wrong = scan.answer != scan.label
        place = f"{scans.unit.capitalize()} {scan.row}"
        alternative = f"{place}, a scan of {scan.label}, answered {scan.answer}"
        return element(
            "figure",
            element(
                "img",
                src=figures.scan(scan.pixels, scans.low, scans.high),
                alt=alternative,
                class_="wrong" if wrong else "right",
            ),
            element(
                "figcaption",
                element("b", markup.name(scan.label)),
                *(
                    (" taken for ", element("b", markup.name(scan.answer)))
                    if wrong
                    else ", rightly"
                ),
                element("br"),
                f"{percent(scan.certainty)} certain",
            ),
        )

    return [
        element("p", "The test rows whose label was given the least probability:"),
        element("div", *map(drawn, scans.worst), class_="scans"),
        element("p", "Typical ones: of each class, the row that fares as its class does halfway:"),
        element("div", *map(drawn, scans.typical), class_="scans"),
    ]


def _confusions(trial: CandidateEvaluation) -> Html:
    """Return the matrix or, of many classes, only the confusions."""
    measured = trial.evaluations["test"]
    found = judgement.confusions(trial)
    if not found.rows:
        return element("p", "No test row was taken for another class than its own.")
    if len(measured.confusion) > _WIDEST_MATRIX:
        return markup.table(found)
    names = list(measured.metrics.classes)
    caption = "Test rows by what they are (a row each) and what they were taken for (a column each)"
    head = [
        element("th", markup.name(name), scope="col", class_="cut", title=name) for name in names
    ]
    body = [
        element(
            "tr",
            element("th", markup.name(names[i]), scope="row", class_="cut", title=names[i]),
            *(_cell(count, sum(row), hit=i == j) for j, count in enumerate(row)),
        )
        for i, row in enumerate(measured.confusion)
    ]
    matrix = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", element("th", "is ↓ taken for →", scope="col"), *head)),
        element("tbody", *body),
        class_="confusion",
    )
    return markup.scrolling(matrix, caption)


def _cell(count: int, total: int, *, hit: bool) -> Html:
    kind = ("hit" if hit else "miss") if count else "none"
    share = f"--share:{count / total if total else 0:.3f}"
    return element("td", f"{count:,}", class_=kind, style=share)


def _calibration(trial: CandidateEvaluation, figures: ModuleType) -> list[Html]:
    bins = trial.evaluations["test"].reliability
    picture = element(
        "figure",
        element(
            "img",
            src=figures.reliability(bins),
            alt="Reliability diagram: the share of right answers by certainty; the numbers are in "
            "the table beside it.",
        ),
        element(
            "figcaption",
            "Each point is the answers of about one certainty, and its bar where their share of "
            "right ones lies with 95% confidence. Below the diagonal it is surer than it is right.",
        ),
    )
    return _side_by_side(picture, markup.table(judgement.bins(trial)))


def _training(trial: CandidateEvaluation, record: Record, figures: ModuleType) -> list[Html]:
    picture = figures.curves(trial.candidate.epochs, record.training.best_epoch)
    table = markup.table(facts.training(trial, record))
    if picture is None:
        return [table]
    figure = element("figure", element("img", src=picture, alt="The loss by epoch."))
    return _side_by_side(figure, table)


def _limits(trial: CandidateEvaluation, record: Record) -> list[Html]:
    items = (element("li", _words(sentence)) for sentence in limits.known(trial, record))
    return [element("ul", *items, class_="limits")]


def _commands(commands: Table) -> list[Html]:
    return [
        join(element("div", what), element("pre", element("code", typed)))
        for what, typed in commands.rows
    ]


def _side_by_side(*content: Html) -> list[Html]:
    """Return what stands side by side where the page is wide enough."""
    return [element("div", *content, class_="side-by-side")]


def _tables(*tables: Table) -> list[Html]:
    return _side_by_side(*map(markup.table, tables))


def _folded(table: Table) -> Html:
    return element("details", element("summary", table.caption), markup.table(table))


def _paragraph(sentences: Iterable[Sentence]) -> Html:
    return element("p", *(join(_words(sentence), " ") for sentence in sentences))


def _words(sentence: Sentence) -> Html:
    return join(*(markup.name(p) if isinstance(p, Name) else p for p in sentence))
