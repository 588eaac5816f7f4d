"""Make the run of a table from the table itself: its run file, and what was understood of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from pipeline.config.held_out_rows import test_size_key
from pipeline.config.run_config import RunConfig
from pipeline.config.run_file import parse_changes, parse_run_file
from pipeline.config.run_file_writer import Line, Sections, format_run_file, make_model_name
from pipeline.config.table_data import DateColumn, TableData
from pipeline.config.tabular import tabular_network, tabular_numbers
from pipeline.data.columns.kinds import ColumnDecision, decide_kinds
from pipeline.data.columns.table_files import read_table_file
from pipeline.data.columns.task import find_task
from pipeline.data.files.chunks import find_columns
from pipeline.data.files.raw_table import RawTable
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import ConfigurationError
from quadnet.name_display import escape_invisible
from quadnet.types import Task

VALIDATION_SHARE, TEST_SHARE = 0.15, 0.2

_SOURCE_KEYS = ("data.read", "data.path", "data.label")
"""The keys that decide on what is read."""


@dataclass(frozen=True)
class TableRun:
    """The run of a table: the sections of its run file, and the table as it was read."""

    path: Path
    sections: Sections
    data: TableData
    raw: RawTable

    def parse(self, changes: list[str]) -> RunConfig:
        """Return the configuration, with these changes."""
        return parse_run_file(format_run_file([], self.sections), self.path, changes)

    def format(self) -> str:
        """Return the text of the run file, with what was found out about each column."""
        decisions = decide_kinds(self.raw, self.data, dict.fromkeys(self.data.labels, "label"))
        introduction = [
            f"{escape_invisible(self.data.path)}: {self.raw.description}.",
            "A line that begins with # is what was found out, or an example in capital letters.",
        ]
        found = {"data.columns": [_describe_decision(each) for each in decisions]}
        return format_run_file(introduction, {**self.sections, **found})


def make_table_run(
    path: str,
    labels: list[str],
    *,
    task: Task | None = None,
    name: str | None = None,
    changes: Sequence[str] = (),
) -> TableRun:
    """Read a table, and make the run that trains on it.

    Parameters
    ----------
    path : str
        As in `TableData.path`.
    labels : list of str
        The column to predict, or several of 0 and 1.
    task : str, optional
        Unset: classes or numbers, by the label's values.
    name : str, optional
        The model's name. Unset: the file's name.
    changes : sequence of str
        Changes for `TableRun.parse`. Those of the file and of its reading have an effect here.

    Raises
    ------
    FileUnusable, InvalidInput
        If the file cannot be read.
    ConfigurationError
        If the label does not fit the task.
    """
    name = name or make_model_name(path)
    data = _parse_source(path, labels, name, changes)
    label: JsonValue = labels[0] if len(labels) == 1 else list(labels)
    labels = data.labels
    raw = read_table_file(data)
    find_columns(Path(data.path), [*raw.columns, *raw.unusable], labels)
    unreadable = [each for each in labels if each not in raw.columns]
    if unreadable:
        raise ConfigurationError(
            f"The label {unreadable[0]!r} has values of type {raw.unusable[unreadable[0]]}: "
            "expected text or numbers."
        )
    if task is None:
        found, reason = find_task([raw.columns[each] for each in labels], raw.decimal)
    else:
        found, reason = task, "set by the user"
    n_rows = len(raw.places)
    is_class = found == "classification"
    n_train = round(n_rows * (1 - TEST_SHARE) * (1 - VALIDATION_SHARE))
    network = tabular_network(found, n_train)
    # The run's own validation part is used instead.
    del network["validation_fraction"]
    if _is_changed(changes, "network", "loss", "quantile"):
        # A mean of several networks' quantiles is no quantile.
        del network["n_ensemble"]
    sections: Sections = {
        "": [
            Line("name", name),
            Line("task", found, reason),
            Line("validation", VALIDATION_SHARE, "share of the training rows to stop early by"),
            *([Line("calibrate", True, "certainties")] if is_class else []),
        ],
        "data": [
            Line("kind", "table"),
            Line("path", path),
            Line("label", label),
            Line("weight", "COLUMN", "row weights", is_default=True),
            Line("drop", ["COLUMN"], "columns that are not used", is_default=True),
        ],
        "data.read": list(_describe_reading(raw.settings)),
        "data.numbers": [Line(key, value) for key, value in tabular_numbers(n_train).items()],
        # `format` fills it in: to decide on the columns takes as long as to read them.
        "data.columns": [],
        "network": [Line(key, value) for key, value in network.items()],
        "test": [
            *_make_share(found, parse_changes(changes).get("test")),
            Line("by", "COLUMN", "all rows of a group in one part", is_default=True),
            Line("time", "COLUMN", "judge on the latest rows", is_default=True),
            Line("path", "test.csv", "a file of test rows, instead of share", is_default=True),
        ],
        "gate": _make_gate(found),
    }
    return TableRun(Path(path), sections, data, raw)


def _parse_source(path: str, labels: list[str], name: str, changes: Sequence[str]) -> TableData:
    """Return the section `data` as far as the file can be read by it."""
    label: JsonValue = labels[0] if len(labels) == 1 else list(labels)
    text = format_run_file(
        [],
        {
            "": [
                Line("name", name),
                Line("task", "classification" if len(labels) == 1 else "multilabel"),
            ],
            "data": [Line("kind", "table"), Line("path", path), Line("label", label)],
            "test": [Line("share", TEST_SHARE)],
            "gate": _make_gate("classification"),
        },
    )
    source = [each for each in changes if each.strip().startswith(_SOURCE_KEYS)]
    data = parse_run_file(text, Path(path), source).data
    assert isinstance(data, TableData)
    return data


def _make_share(task: Task, changed: object) -> list[Line]:
    """Return the lines of a test part that is a share, but for those that the changes replace."""
    test = changed if isinstance(changed, dict) else {}
    lines = []
    if test_size_key({"kind": "table"}, test) == "share":
        lines.append(Line("share", TEST_SHARE, "share of the rows that the model is judged on"))
    if task == "classification" and not test.keys() & {"time", "after", "path"}:
        lines.append(Line("stratify", True, "by class; not with time or path"))
    return lines


def _is_changed(changes: Sequence[str], section: str, key: str, value: object) -> bool:
    """Return whether the changes set this value."""
    values = parse_changes(changes).get(section)
    return isinstance(values, dict) and values.get(key) == value


def _describe_reading(found: ReadSettings) -> Iterator[Line]:
    """Yield the settings that the file was read with."""
    yield Line("format", found.format, is_default=True)
    if found.delimiter is not None:
        yield Line("delimiter", found.delimiter, is_default=True)
        yield Line("decimal", found.decimal, "decimal separator", is_default=True)
    words: list[JsonValue] = list(found.missing)
    yield Line("missing", words, is_default=True)


def _describe_decision(decision: ColumnDecision) -> Line:
    value: JsonValue = decision.kind
    if isinstance(decision.options, DateColumn) and decision.options.format is not None:
        value = {"kind": decision.kind, "format": decision.options.format}
    return Line(decision.name, value, decision.reason, is_default=True)


def _make_gate(task: Task) -> list[Line]:
    if task == "regression":
        return [Line("r2", 0.0, "better than the mean of the test rows")]
    return [Line("accuracy", 0.0, "it must also beat the most frequent class, and the champion")]
