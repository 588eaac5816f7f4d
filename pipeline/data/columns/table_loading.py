"""Load a user's table: columns of the kinds that were decided, the target, weights and groups."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pipeline.config.run_config import Task, TestPart
from pipeline.config.table_data import (
    CategoryColumn,
    ColumnOptions,
    DateColumn,
    NumberColumn,
    TableData,
)
from pipeline.data.columns.column_conversion import convert_column
from pipeline.data.columns.kinds import ColumnDecision, decide_kinds
from pipeline.data.datasets import Dataset
from pipeline.data.files.chunks import find_columns, make_file_error
from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.raw_table import RawTable, read_raw_table
from pipeline.data.files.read_settings import MISSING_WORDS, ReadSettings
from pipeline.data.parsing.numbers import parse_truth_values
from pipeline.data.row_counters import is_counter
from pipeline.data.target_columns import make_classes, make_labels, make_numbers
from pipeline.data.targets import Target
from pipeline.wording import Sentence, UserText, format_count
from quadnet.errors import ConfigurationError, FileUnusable, InvalidInput, Violation, shorten
from quadnet.tables.columns import (
    Column,
    Texts,
    find_missing,
    is_dates,
    is_numbers,
    take_rows,
)
from quadnet.types import BoolArray, FloatArray, IntArray

_CHUNK_BYTES = 2**20

_LABEL_HINT = '. Correct it, add it to data.read.missing, or set task = "classification"'

_NUMBER, _CATEGORY = NumberColumn(kind="number"), CategoryColumn(kind="category")


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


def read_table_file(data: TableData) -> RawTable:
    """Read the file of a run's section `data`."""
    read, settings = data.read, make_read_settings(data)
    settings = replace(
        settings,
        format=read.format,
        delimiter=read.delimiter,
        decimal=read.decimal,
        encoding=read.encoding,
        compression=read.compression,
        header=read.header,
    )
    return read_raw_table(Path(data.location), settings)


def check_table(data: TableData, test: TestPart) -> None:
    """Raise FileUnusable or Unsupported if the files of a table cannot be opened here."""
    if data.path == "-":
        raise FileUnusable("the table came from the standard input, which cannot be read again.")
    tables = [data] if test.path is None else [data, data.model_copy(update={"path": test.path})]
    for table in tables:
        settings = make_read_settings(table)
        open_rows(Path(table.location), settings, chunk_bytes=_CHUNK_BYTES, same_rows=False).close()


def make_read_settings(data: TableData | None) -> ReadSettings:
    """Return the settings for other files with the columns of a table: what is missing in them."""
    missing = None if data is None else data.read.missing
    # An empty cell has no value, whatever the words are.
    return ReadSettings(missing=MISSING_WORDS if missing is None else ("", *missing))


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
        used &= ~find_missing(_find_raw(raw, path, name))
    if not used.any():
        raise make_file_error(path, data.labels[0], "expected rows with a value, got 0")
    reader = _ColumnReader(raw, path, used)
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
        times=None if test.time is None and test.after is None else _read_times(reader, test, kept),
    )
    return LoadedTable(
        rows,
        data.model_copy(update={"columns": {each.name: each.options for each in decisions}}),
        tuple(decisions),
        raw.description,
        (
            *raw.notices,
            *_describe_unlabelled(used, data),
            *_describe_counters(rows, data),
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


def find_later_rows(rows: Dataset, after: str | float) -> BoolArray:
    """Return a mask of the rows from a point in time on, or from a number on."""
    assert rows.times is not None
    later: BoolArray = rows.times >= _to_time(after)
    return later


def _to_time(value: str | float) -> float:
    """Return a date as microseconds since 1970-01-01 UTC, or a number as it is."""
    if not isinstance(value, str):
        return float(value)
    point = datetime.fromisoformat(value)
    if point.tzinfo is None:
        point = point.replace(tzinfo=UTC)
    return (point - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)


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


def _find_raw(raw: RawTable, path: Path, name: str) -> Column:
    """Return a column as it was read; refuse one of a type that cannot be read."""
    if name not in raw.columns:
        raise make_file_error(
            path, name, f"expected numbers, text or dates, got values of type {raw.unusable[name]}"
        )
    return raw.columns[name]


class _ColumnReader:
    """Converts columns of the rows that have a target."""

    def __init__(self, raw: RawTable, path: Path, used: BoolArray) -> None:
        self._raw, self.path, self._used = raw, path, used
        self._rows = np.flatnonzero(used)
        self.n_unlabelled = len(used) - len(self._rows)
        self.places, self.unit = raw.places[used], raw.unit

    def read(
        self, name: str, options: ColumnOptions, *, required: bool = False, hint: str | None = None
    ) -> Column:
        """Return a column of this kind.

        Raises
        ------
        InvalidInput
            If a value cannot be converted, or `required` and missing. `hint` is the advice then.
        """
        found = convert_column(self._raw_column(name), options, self._raw.decimal)
        advice = _hint(name, options) if hint is None else hint
        self._check(name, found.bad, lambda row: found.describe(row) + advice)
        if required:
            self._check_present(name, found.column)
        return found.column

    def read_truth_values(self, name: str) -> FloatArray:
        """Return a column of 0 and 1 without gaps."""
        column = self._raw_column(name)
        if is_dates(column):
            raise make_file_error(self.path, name, "expected 0 and 1, got dates")
        found = parse_truth_values(column)  # type: ignore[arg-type]  # no dates any more
        self._check(name, found.bad, found.describe)
        self._check_present(name, found.values)
        return found.values

    def read_numbers(self, name: str, hint: str) -> FloatArray:
        """Return a column of numbers without gaps."""
        numbers = self.read(name, _NUMBER, required=True, hint=hint)
        assert is_numbers(numbers)
        return numbers

    def read_weights(self, name: str) -> FloatArray:
        """Return the row weights: numbers of at least 0, not all of them 0."""
        weights = self.read_numbers(name, ". Correct it")
        self._check(
            name,
            np.flatnonzero(weights < 0),
            lambda row: f"expected a weight of at least 0, got {weights[row]:g}",
        )
        if not weights.any():
            raise make_file_error(self.path, name, "expected a weight above 0, got only 0")
        return weights

    def _raw_column(self, name: str) -> Column:
        return take_rows(_find_raw(self._raw, self.path, name), self._used)

    def _check_present(self, name: str, column: Column) -> None:
        missing = np.flatnonzero(find_missing(column))
        self._check(name, missing, lambda row: "expected a value, got a gap")

    def _check(self, name: str, bad: IntArray, describe: Callable[[int], str]) -> None:
        """Raise InvalidInput if there are bad rows."""
        if len(bad):
            violations = [
                Violation(self._locate(row, name), describe(row))
                for row in bad[: InvalidInput.MAX_VIOLATIONS].tolist()
            ]
            raise InvalidInput(violations, len(bad))

    def _locate(self, row: int, name: str) -> str:
        """Return the file and the place of a row, and the column."""
        path, place = self._raw.locate(int(self._rows[row]))
        return f"{path}, {self._raw.unit_in_file} {place}, column {name}"


def _hint(name: str, options: ColumnOptions) -> str:
    """Return what to do about a value that cannot be converted."""
    if isinstance(options, NumberColumn):
        return (
            f'. Correct it, add it to data.read.missing, or set data.columns."{name}" = "category"'
        )
    return f'. Correct it, add it to data.read.missing, or set the format of data.columns."{name}"'


def _make_target(
    reader: _ColumnReader, data: TableData, task: Task, *, allow_one_class: bool
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


def _read_times(
    reader: _ColumnReader, test: TestPart, kept: Sequence[ColumnDecision]
) -> FloatArray:
    """Return when each row was made: the numbers, or microseconds since 1970."""
    name = test.time
    options = {each.name: each.options for each in kept}
    if name is None:
        dates = [each.name for each in kept if each.kind == "date"]
        if len(dates) != 1:
            found = f"{len(dates)}: {', '.join(map(shorten, dates[:5]))}" if dates else "0"
            raise ConfigurationError(
                f"test.after: expected a table with one column of dates, got {found}. Name the "
                "column in test.time."
            )
        (name,) = dates
    found_options = options.get(name)
    if not isinstance(found_options, DateColumn | NumberColumn):
        raise ConfigurationError(
            f"test.time: expected a column of dates or numbers, got {shorten(name)}, which is not."
        )
    column = reader.read(name, found_options, required=True)
    assert not isinstance(column, Texts)
    is_date = is_dates(column)
    if test.after is not None and is_date != isinstance(test.after, str):
        kind = "a date, such as 2026-01-31" if is_date else "a number"
        raise ConfigurationError(
            f"test.after: expected {kind}, as column {shorten(name)} has, got {test.after!r}."
        )
    return column.astype(np.int64).astype(np.float64) if is_date else column.astype(np.float64)


def _describe_unlabelled(used: BoolArray, data: TableData) -> Iterator[Sentence]:
    """Yield a warning about rows without a target."""
    n = int(np.count_nonzero(~used))
    if n:
        of = f"{format_count(n, 'row')} of {len(used):,}"
        words = " are left out. Words such as NA count as no value: data.read.missing sets them."
        yield (of, " without a value in ", UserText(data.labels[0]), words)


def _describe_counters(rows: Dataset, data: TableData) -> Iterator[Sentence]:
    """Yield a warning about each column of numbers that may only number the rows."""
    assert rows.table is not None
    for name, column in rows.table.items():
        if name in data.columns or not is_numbers(column) or np.isnan(column).any():
            continue
        if len(column) >= 20 and is_counter(column):
            yield (
                "Column ",
                UserText(name),
                " may only number the rows. If it is no measurement, add it to data.drop.",
            )
