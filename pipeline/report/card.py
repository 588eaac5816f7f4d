"""The model card of a version, in Markdown: its purpose, training, evaluation and limits.

All text that is not from this file is escaped: a name can neither break a table nor become a link,
a picture, a formula or an element.
"""

import re
from collections.abc import Iterable, Iterator

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.report import labels, numbers
from pipeline.report.facts import (
    make_commands_table,
    make_feature_table,
    make_lineage_table,
    make_settings_tables,
    make_splits_table,
    make_training_table,
)
from pipeline.report.judgement import (
    make_calibration_table,
    make_class_table,
    make_verdict_table,
)
from pipeline.report.limits import describe_purpose, list_limits
from pipeline.report.metrics_table import choose_metrics_table
from pipeline.wording import Sentence, TextTable, UserText, format_number
from quadnet.name_display import escape_invisible
from quadnet.registry.manifest import Record

# Text that every Markdown reader shows unchanged: without mark-up, and without a dot or a slash
# within a word, because some readers turn addresses into links.
_PLAIN = re.compile(r"(?:[A-Za-z0-9 ,():%+\u2013-]|(?<=\d)\.(?=\d)){1,200}")


_NOUNS = {"classification": "classes", "multilabel": "labels", "regression": "number"}


def _describe_defaults(default: TextTable) -> list[str]:
    if not default.rows:
        return []
    return [
        "The network's other parameters have their defaults; `manifest.json` lists all of them."
    ]


def render_card(evaluation: CandidateEvaluation, record: Record, version: int) -> str:
    """Return the model card."""
    chosen, default = make_settings_tables(record)
    commands = make_commands_table(record, version)
    sections = [
        f"# {escape_markdown(evaluation.candidate.config.name)}, version {version}",
        _paragraph(describe_purpose(evaluation, record)),
        _paragraph(_verdict(evaluation, record)),
        f"## Features and {_NOUNS[record.task]}",
        _table(make_feature_table(record)),
        _describe_answers(record),
        "## How it was judged",
        _table(choose_metrics_table(record)),
        _table(make_verdict_table(record)),
        *map(_table, _choose_tables(evaluation, record)),
        "## Limits",
        "\n".join(f"- {_words(sentence)}" for sentence in list_limits(evaluation, record)),
        "## How it was trained",
        _table(make_splits_table(evaluation, record)),
        _table(make_training_table(evaluation, record)),
        _table(chosen),
        *_describe_defaults(default),
        "## How to use it",
        "\n\n".join(f"{what}:\n\n    {typed}" for what, typed in commands.rows),
        "For another registry than `models`, add `--registry DIRECTORY` to each command.",
        "## Lineage",
        _table(make_lineage_table(record)),
    ]
    return "\n\n".join(sections) + "\n"


def _describe_answers(record: Record) -> str:
    target = record.signature.target
    if target is not None:
        low, high = format_number(target.min), format_number(target.max)
        return f"The number: {escape_markdown(target.name)}, in training from {low} to {high}."
    names = ", ".join(escape_markdown(name) for name in record.signature.classes)
    return f"{_NOUNS[record.task].capitalize()}: {names}."


def _choose_tables(evaluation: CandidateEvaluation, record: Record) -> Iterator[TextTable]:
    """Yield the tables on how well the version predicts what it is for."""
    if record.task == "regression":
        yield from numbers.make_tables(evaluation)
    elif record.task == "multilabel":
        yield labels.make_label_table(evaluation, record)
    else:
        yield make_class_table(evaluation, record)
        yield make_calibration_table(evaluation)


def escape_markdown(text: str) -> str:
    """Return Markdown that shows this text on one line, in a table's cell or outside.

    Text with special characters becomes code, in which nothing is mark-up. But a vertical bar ends
    a cell even in code, and readers disagree on a backslash before it: a bar is put outside, as an
    entity.
    """
    text = escape_invisible(text if text.strip() else repr(text))
    if _PLAIN.fullmatch(text) and text.strip() == text:
        return text
    return "&#124;".join(_code(piece) if piece else "" for piece in text.split("|"))


def _code(text: str) -> str:
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    # A reader strips one space at each end, unless the text is only spaces.
    padded = text.strip() and (text[0] in "` " or text[-1] in "` ")
    return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"


def _verdict(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    limits_met = f"{sum(v.passed for v in record.gate)} of {len(record.gate)} limits met"
    if record.forced is None:
        yield (f"It passed its gate, {limits_met}.",)
    else:
        failed = f"It FAILED its gate, {limits_met}, and was published anyway, because: "
        yield (failed, UserText(record.forced), ".")
    if evaluation.candidate.splits.test.size.is_small:
        yield ("The test part is too small to evaluate a model on: see the limits.",)
    if record.baseline is None:
        yield ("It was not compared with a champion.",)
    else:
        champion = f"the champion at that time, version {record.baseline.version}"
        yield (f"It was compared with {champion}, on the same rows.",)


def _table(table: TextTable) -> str:
    marks = ["---:" if i in table.numbers else "---" for i in range(len(table.columns))]
    rows = [
        map(escape_markdown, table.columns),
        marks,
        *(map(escape_markdown, row) for row in table.rows),
    ]
    return f"**{table.caption}**\n\n" + "\n".join(f"| {' | '.join(r)} |" for r in rows)


def _paragraph(sentences: Iterable[Sentence]) -> str:
    return " ".join(map(_words, sentences))


def _words(sentence: Sentence) -> str:
    return "".join(
        escape_markdown(part) if isinstance(part, UserText) else part for part in sentence
    )
