"""Load a user's table: columns of the kinds that were decided, the target, weights and groups."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config.held_out_rows import TestPart
from pipeline.config.table_data import (
    CategoryColumn,
    TableData,
)
from pipeline.data.columns.column_reader import ColumnReader, find_raw_column
from pipeline.data.columns.kinds import ColumnDecision, decide_kinds
from pipeline.data.columns.table_files import read_table_file
from pipeline.data.columns.times import read_times
from pipeline.data.datasets import Dataset
from pipeline.data.files.chunks import find_columns, make_file_error
from pipeline.data.files.raw_table import RawTable
from pipeline.data.row_counters import describe_counters
from pipeline.data.target_columns import make_classes, make_labels, make_numbers
from pipeline.data.targets import Target
from pipeline.wording import Sentence, UserText, format_count
from quadnet.errors import ConfigurationError, shorten
from quadnet.tables.columns import (
    Texts,
    find_missing,
    is_numbers,
)
from quadnet.types import BoolArray, Task

_LABEL_HINT = '. Correct it, add it to data.read.missing, or set task = "classification"'

_CATEGORY = CategoryColumn(kind="category")

_LEAVE_OUT = "Add it to data.drop, unless it is a measurement."


@dataclass(frozen=True)
class LoadedTable:
    """The rows of a table, and how its columns were understood.

    `data` is the section of the run with every column's kind, so that a repeated run reads the
    columns alike. `description` is the format that was found.
    """

    rows: Dataset
    data: TableData
    decisions: tuple[ColumnDecision, ...]
    description: str
    notices: tuple[Sentence, ...]


def load_table(
    data: TableData,
    task: Task,
    test: TestPart,
    *,
    raw: RawTable | None = None,
    allow_one_class: bool = False,
) -> LoadedTable:
    """Load the rows of a table, except those without a target.

    Parameters
    ----------
    data : TableData
    task : str
    test : TestPart
        Names the columns of groups and of time.
    raw : RawTable, optional
        The file, if it has already been read.
    allow_one_class : bool
        Whether all rows may have the same class.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is malformed; the message names the line or row, and the column.
    """
    raw = raw or read_table_file(data)
    path = Path(data.path)
    roles = _list_roles(data, test)
    known = [*raw.columns, *raw.unusable]
    find_columns(path, known, [*roles, *data.drop, *data.columns])
    decisions = decide_kinds(raw, data, roles)
    kept = [each for each in decisions if each.kind != "ignored"]
    if not kept:
        reasons = "; ".join(f"{shorten(each.name)}: {each.reason}" for each in decisions[:5])
        raise make_file_error(
            path,
            None,
            f"expected at least one column to predict from, got 0 ({reasons or 'only the label'})",
        )
    used = np.ones(len(raw.places), bool)
    for name in data.labels:
        used &= ~find_missing(find_raw_column(raw, path, name))
    if not used.any():
        raise make_file_error(path, data.labels[0], "expected rows with a value, got 0")
    reader = ColumnReader(raw, path, used)
    target, notices = _make_target(reader, data, task, allow_one_class=allow_one_class)
    columns = {each.name: reader.read(each.name, each.options) for each in kept}
    rows = Dataset(
        tuple(columns),
        np.empty((len(target), 0)),
        target,
        weights=None if data.weight is None else reader.read_weights(data.weight),
        places=reader.places,
        unit=reader.unit,
        table=columns,
        groups=None if test.by is None else reader.read(test.by, _CATEGORY),
        times=None if test.time is None and test.after is None else read_times(reader, test, kept),
    )
    found = [
        (name, column)
        for name, column in columns.items()
        if name not in data.columns and is_numbers(column)
    ]
    return LoadedTable(
        rows,
        data.model_copy(update={"columns": {each.name: each.options for each in decisions}}),
        tuple(decisions),
        raw.description,
        (
            *raw.notices,
            *_describe_unlabelled(used, data),
            *describe_counters(found, _LEAVE_OUT),
            *notices,
        ),
    )


def load_test_table(table: LoadedTable, path: str, task: Task) -> LoadedTable:
    """Load another file with the columns of a table, of the same kinds."""
    columns = {each.name: each.options for each in table.decisions if each.kind != "ignored"}
    data = table.data.model_copy(update={"path": path})
    raw = read_table_file(data)
    find_columns(Path(path), [*raw.columns, *raw.unusable], [*data.labels, *columns])
    wanted = {*data.labels, *columns, *([data.weight] if data.weight else [])}
    others = {name: column for name, column in raw.columns.items() if name in wanted}
    data = data.model_copy(update={"columns": columns, "drop": []})
    raw = replace(raw, columns=others, unusable={})
    return load_table(data, task, TestPart(), raw=raw, allow_one_class=True)


def _list_roles(data: TableData, test: TestPart) -> dict[str, str]:
    """Return the columns that the network must not get, and what they are."""
    roles = dict.fromkeys(data.labels, "label")
    if data.weight is not None:
        roles[data.weight] = "weight"
    if test.by is not None:
        if test.by in roles:
            raise ConfigurationError(f"test.by: column {test.by!r} is also the {roles[test.by]}.")
        roles[test.by] = "group"
    return roles


def _make_target(
    reader: ColumnReader, data: TableData, task: Task, *, allow_one_class: bool
) -> tuple[Target, tuple[Sentence, ...]]:
    label = data.labels[0]
    if task == "regression":
        return make_numbers(reader.path, label, reader.read_numbers(label, _LABEL_HINT)), ()
    if task == "multilabel":
        Y = np.column_stack([reader.read_truth_values(name) for name in data.labels])
        return make_labels(reader.path, reader.unit, data.labels, Y, reader.places), ()
    texts = reader.read(label, _CATEGORY)
    assert isinstance(texts, Texts)
    used = np.flatnonzero(texts.count())
    codes = np.searchsorted(used, texts.codes)
    names = [texts.values[i] for i in used]
    return make_classes(
        reader.path,
        label,
        names,
        codes,
        strip=True,
        n_gaps=reader.n_unlabelled,
        allow_one=allow_one_class,
    )


def _describe_unlabelled(used: BoolArray, data: TableData) -> Iterator[Sentence]:
    """Yield a warning about rows without a target."""
    n = int(np.count_nonzero(~used))
    if n:
        of = f"{format_count(n, 'row')} of {len(used):,}"
        words = " are left out. Words such as NA count as no value: data.read.missing sets them."
        yield (of, " without a value in ", UserText(data.labels[0]), words)
