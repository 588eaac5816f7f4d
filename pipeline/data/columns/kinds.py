"""Decide what each column of a table is: number, category, date or ignored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.table_data import (
    CategoryColumn,
    ColumnOptions,
    DateColumn,
    IgnoredColumn,
    NumberColumn,
    TableData,
)
from pipeline.data.files.raw_table import RawTable
from pipeline.data.parsing.dates import ISO_8601, find_date_formats
from pipeline.data.parsing.numbers import parse_numbers
from pipeline.wording import format_count
from quadnet.errors import shorten
from quadnet.tables.columns import Column, Texts, find_missing, is_numbers
from quadnet.types import FloatArray, IntArray

_MOST_NAMED = 10

MOSTLY = 0.9
"""A column of texts of which this share are numbers, or dates of one format, is a column of these:
its other cells are errors, which the user can correct or declare missing, and no categories."""

_FEWEST_ROWS = 20
"""With fewer rows, texts may all differ by chance."""

_MOST_DIFFERENT = 0.9
"""Texts that differ in more than this share of the rows are names, not categories."""

_LONG_TEXT, _MANY_TEXTS = 50, 20
"""More texts than this of more characters on average are free text."""

_AMOUNT = r"(?:\d{1,3}(?:[.,'\s]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
_UNIT = r"(?:[$\u20ac\u00a3\u00a5%]|[A-Z]{3}\b)"
_LIKE_NUMBER = re.compile(
    rf"[-+(]?\s*{_UNIT}?\s*[-+]?{_AMOUNT}[kKmM]?\s*{_UNIT}?\)?|0[xX][0-9a-fA-F]+"
)
"""Amounts of money, shares in percent, and numbers with separators of thousands."""

_ID_NAME = re.compile(
    r"(?i:(?:.*[_\W])?(?:id|uuid|guid|key|index|row|rownames?|row_?(?:num|number|id)|unnamed.*))"
    r"|.*[a-z](?:Id|ID)",
    re.ASCII,
)


@dataclass(frozen=True)
class ColumnDecision:
    """What a column is, with its treatment, and why."""

    name: str
    options: ColumnOptions
    reason: str
    is_set: bool = False
    """Whether the user has decided."""

    @property
    def kind(self) -> str:
        """One of "number", "category", "date" and "ignored"."""
        return self.options.kind


def decide_kinds(
    raw: RawTable, data: TableData, not_features: Mapping[str, str]
) -> list[ColumnDecision]:
    """Decide on each column, in the file's order.

    Parameters
    ----------
    raw : RawTable
    data : TableData
        The user's own decisions come first.
    not_features : mapping of str to str
        Columns that the network must not get, such as labels, and what they are.
    """
    decisions = []
    options: ColumnOptions
    for name in [*raw.columns, *raw.unusable]:
        if name in not_features:
            continue
        if name in data.drop:
            options, reason = _IGNORED, "dropped by data.drop"
        elif name in data.columns:
            options, reason = data.columns[name], "set in data.columns"
        elif name in raw.unusable:
            options, reason = _IGNORED, f"values of type {raw.unusable[name]} cannot be used"
        elif name in raw.index:
            options, reason = _IGNORED, "it only labels the rows"
        else:
            options, reason = _decide_kind(name, raw.columns[name], raw.decimal)
        is_set = name in data.drop or name in data.columns
        decisions.append(ColumnDecision(name, _fill_options(options, data), reason, is_set))
    return decisions


def describe_unused(decisions: Sequence[ColumnDecision]) -> str:
    """Return a sentence on the columns that were found to be of no use; empty without any."""
    found = [
        f"{shorten(each.name)} ({each.reason})"
        for each in decisions
        if each.kind == "ignored" and not each.is_set
    ]
    more = f"; and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
    return f"Columns not used: {'; '.join(found[:_MOST_NAMED])}{more}." if found else ""


def _fill_options(options: ColumnOptions, data: TableData) -> ColumnOptions:
    """Return the options with those that the run sets for all columns of the kind."""
    given = options.model_dump(exclude_unset=True)
    if isinstance(options, NumberColumn):
        return NumberColumn(**data.numbers.model_dump() | given)
    if isinstance(options, CategoryColumn):
        return CategoryColumn(**data.categories.model_dump() | given)
    return options


_IGNORED = IgnoredColumn(kind="ignored")


def _decide_kind(name: str, column: Column, decimal: str) -> tuple[ColumnOptions, str]:
    """Return what a column is, and why."""
    missing = find_missing(column)
    n_present = len(column) - int(missing.sum())
    gaps = f", {format_count(int(missing.sum()), 'gap')}" if missing.any() else ""
    if not n_present:
        return _IGNORED, "it is empty"
    if isinstance(column, Texts):
        return _decide_texts(name, column, n_present, gaps, decimal)
    first = column[~missing][0]
    if (column == first).all():
        return _IGNORED, f"it is {first} in every row"
    if is_numbers(column):
        return _decide_numbers(name, column[~missing], gaps)
    return DateColumn(kind="date"), f"dates{gaps}"


def _decide_numbers(name: str, present: FloatArray, gaps: str) -> tuple[ColumnOptions, str]:
    if not gaps and (present == present[0]).all():  # As texts, they may differ, as 1 and 1.0 do.
        return _IGNORED, f"it is {present[0]:g} in every row"
    if _ID_NAME.fullmatch(name) and not gaps and _are_keys(present):
        return _IGNORED, "it identifies the rows"
    return NumberColumn(kind="number"), f"{len(np.unique(present)):,} different numbers{gaps}"


def _are_keys(present: FloatArray) -> bool:
    """Return whether the numbers only tell rows apart."""
    is_whole = bool((present == np.rint(present)).all())
    return is_whole and len(np.unique(present)) == len(present)


def _decide_texts(
    name: str, column: Texts, n_present: int, gaps: str, decimal: str
) -> tuple[ColumnOptions, str]:
    counts = column.count()
    used = np.flatnonzero(counts)
    texts, rows = [column.values[i] for i in used], counts[used]
    if len(texts) == 1 and not gaps:
        return _IGNORED, f"it is {shorten(texts[0])} in every row"
    numbers = parse_numbers(column, decimal)
    if len(numbers.bad) <= (1.0 - MOSTLY) * n_present:
        return _decide_numbers(name, numbers.values[~np.isnan(numbers.values)], gaps)
    formats = find_date_formats(column, MOSTLY)
    if len(formats) > 1:
        return _IGNORED, (
            f"its dates may be {formats[0]} or {formats[1]}; set its format in data.columns"
        )
    if formats:
        (found,) = formats
        options = DateColumn(kind="date", format=None if found == ISO_8601 else found)
        return options, f"dates, {found}{gaps}"
    free_text = _describe_free_text(texts, rows, n_present)
    if free_text:
        return _IGNORED, free_text
    noun = "category" if len(texts) == 1 else "categories"
    return CategoryColumn(kind="category"), f"{len(texts):,} {noun}{gaps}"


def _describe_free_text(texts: Sequence[str], rows: IntArray, n_present: int) -> str:
    """Return why texts, which occur in so many rows each, are no categories; empty if they are."""
    dressed = [_LIKE_NUMBER.fullmatch(text) is not None for text in texts]
    if rows[dressed].sum() >= MOSTLY * n_present:
        return (
            f"its texts, such as {shorten(texts[0])}, look like numbers but cannot be read as "
            "such: remove signs and separators of thousands"
        )
    different = f"{len(texts):,} different texts in {format_count(n_present, 'row')}"
    if n_present >= _FEWEST_ROWS and len(texts) > _MOST_DIFFERENT * n_present:
        return f"{different}: names or free text"
    length = float(np.dot([len(text) for text in texts], rows)) / n_present
    if length > _LONG_TEXT and len(texts) > _MANY_TEXTS:
        return f"{different}, {length:.0f} characters on average: free text"
    return ""
