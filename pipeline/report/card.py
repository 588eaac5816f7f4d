"""The model card of a version, in Markdown: its purpose, training, evaluation and limits.

All text that is not from this file is escaped: a name can neither break a table nor become a link,
a picture, a formula or an element.
"""

import re
from collections.abc import Iterable, Iterator

from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
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
    make_metrics_table,
    make_verdict_table,
)
from pipeline.report.limits import describe_purpose, list_limits
from pipeline.wording import Sentence, TextTable, UserText, escape_invisible
from quadnet.registry.manifest import Record

# Text that every Markdown reader shows unchanged: without mark-up, and without a dot or a slash
# within a word, because some readers turn addresses into links.
_PLAIN = re.compile(r"(?:[A-Za-z0-9 ,():%+\u2013-]|(?<=\d)\.(?=\d)){1,200}")


def render_card(evaluation: CandidateEvaluation, record: Record, version: int) -> str:
    """Return the model card."""
    chosen, _ = make_settings_tables(record)
    commands = make_commands_table(record, version)
    sections = [
        f"# {escape_markdown(evaluation.candidate.config.name)}, version {version}",
        _paragraph(describe_purpose(evaluation, record)),
        _paragraph(_verdict(evaluation, record)),
        "## Features and classes",
        _table(make_feature_table(record)),
        f"Classes: {', '.join(escape_markdown(name) for name in record.signature.classes)}.",
        "## How it was judged",
        _table(make_metrics_table(record)),
        _table(make_verdict_table(record)),
        _table(make_class_table(evaluation, record)),
        _table(make_calibration_table(evaluation)),
        "## Limits",
        "\n".join(f"- {_words(sentence)}" for sentence in list_limits(evaluation, record)),
        "## How it was trained",
        _table(make_splits_table(evaluation, record)),
        _table(make_training_table(evaluation, record)),
        _table(chosen),
        "The network's other parameters have their defaults; `manifest.json` lists all of them.",
        "## How to use it",
        "\n\n".join(f"{what}:\n\n    {typed}" for what, typed in commands.rows),
        "For another registry than `models`, add `--registry DIRECTORY` to each command.",
        "## Lineage",
        _table(make_lineage_table(record)),
    ]
    return "\n\n".join(sections) + "\n"


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
