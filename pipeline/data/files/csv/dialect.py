"""Detect the delimiter and the decimal separator of CSV text."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from pipeline.data.files.read_settings import DELIMITERS, Decimal, Delimiter

_MOST_RECORDS = 1000

_RAREST_FIRST: tuple[Delimiter, ...] = ("\t", "|", ";", ",")
"""The delimiters in the order in which they are the less frequent in texts."""

_DIGITS = r"[+-]?(?:\d+{0}?\d*|{0}\d+)(?:[eE][+-]?\d+)?"
_NUMBERS: dict[Decimal, re.Pattern[str]] = {
    ".": re.compile(_DIGITS.format(r"\.")),
    ",": re.compile(_DIGITS.format(",")),
}
_WHOLE = re.compile(r"[+-]?\d*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_LONGEST_NUMBER = 40

_MOSTLY = 0.9
"""The share of cells from which on a column has numbers; the other cells are errors."""


@dataclass(frozen=True)
class CsvDialect:
    """The characters that separate cells and decimals.

    `has_row_labels` means that the rows begin with a cell for which the header has no name, as R
    writes them. `is_uncertain` means that every number with a comma may also have it between its
    thousands.
    """

    delimiter: Delimiter
    decimal: Decimal
    has_row_labels: bool
    is_uncertain: bool = False


def detect_dialect(
    sample: str,
    *,
    final: bool,
    missing: Iterable[str],
    delimiter: Delimiter | None = None,
    decimal: Decimal | None = None,
) -> CsvDialect:
    """Return the dialect of the text.

    Parameters
    ----------
    sample : str
        The beginning of the file.
    final : bool
        Whether the sample is the whole file.
    missing : iterable of str
        Words that mean a missing value.
    delimiter, decimal : str, optional
        What is known already.
    """
    words = frozenset(missing)
    csv.field_size_limit(max(len(sample), csv.field_size_limit()))
    names = (delimiter,) if delimiter else DELIMITERS
    candidates = [_Candidate(name, sample, final=final) for name in names]
    chosen = _choose_candidate(candidates, words)
    if decimal is not None:
        return CsvDialect(chosen.delimiter, decimal, chosen.has_row_labels)
    return _detect_decimal(chosen, words)


class _Candidate:
    """The rows of a sample, cut by one delimiter; a row that is not CSV is an empty one."""

    def __init__(self, delimiter: Delimiter, sample: str, *, final: bool) -> None:
        self.delimiter: Delimiter = delimiter
        records = list(islice(_read_records(sample, delimiter), _MOST_RECORDS + 1))
        if not final and 2 < len(records) <= _MOST_RECORDS:
            # The sample may end inside the last row.
            records.pop()
        self.n_columns = len(records[0]) if records else 1
        self.body = records[1:]
        # Rows that end with a delimiter have one cell more than the header, too.
        self.has_row_labels = (
            self.n_columns > 1
            and {len(record) for record in self.body} == {self.n_columns + 1}
            and any(record[-1] for record in self.body)
        )
        self.n_columns += self.has_row_labels
        self.matching = [record for record in self.body if len(record) == self.n_columns]
        self.share = len(self.matching) / max(1, len(self.body))

    def cuts_every_row(self) -> bool:
        """Return whether at least two rows have the same number of cells, which is not 1."""
        lengths = {len(record) for record in self.body}
        return len(self.body) > 1 and len(lengths) == 1 and lengths != {1}

    def numeric_share(self, words: frozenset[str]) -> float:
        """Return the share of numbers among the cells that are not missing."""
        cells = [cell.strip() for record in self.matching for cell in record]
        cells = [cell for cell in cells if cell not in words]
        return sum(_is_number(cell) for cell in cells) / max(1, len(cells))


def _read_records(sample: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield []
        else:
            if record:
                yield record


def _choose_candidate(candidates: Sequence[_Candidate], words: frozenset[str]) -> _Candidate:
    several = [candidate for candidate in candidates if candidate.n_columns > 1]
    if several:
        return max(
            several,
            key=lambda one: (
                one.share,
                not one.has_row_labels,
                one.numeric_share(words),
                -_RAREST_FIRST.index(one.delimiter),
            ),
        )
    if len(candidates) == 1:
        return candidates[0]
    # The header is one cell. If it is a title, the delimiter that cuts the rows leads to an error
    # with the numbers of cells.
    has_title = any(candidate.cuts_every_row() for candidate in candidates[1:])
    if candidates[0].share == 1 and not has_title:
        return candidates[0]
    # In a file of one column, the cells may have a decimal comma.
    cells = (cell for record in candidates[1].body for cell in record)
    if all(_is_number(cell) or cell.strip() in words for cell in cells):
        return candidates[1]
    return max(candidates, key=lambda one: (sum(len(record) > 1 for record in one.body), one.share))


def has_numbers(names: Sequence[str]) -> bool:
    """Return whether names of columns look like a row of numbers.

    Whole numbers, such as years, are names if other columns have other names or they just count.
    """
    numbers = [float(name.replace(",", ".")) for name in names if _is_number(name)]
    if not all(map(float.is_integer, numbers)):
        return True
    counts = all(after == before + 1 for before, after in pairwise(numbers))
    return 0 < len(numbers) == len(names) and not counts


def _is_number(cell: str) -> bool:
    return len(cell) <= _LONGEST_NUMBER and any(p.fullmatch(cell) for p in _NUMBERS.values())


def _detect_decimal(chosen: _Candidate, words: frozenset[str]) -> CsvDialect:
    """Return the separator that makes numbers of more columns."""
    with_comma = with_point = with_thousands = 0
    for column in zip(*chosen.matching, strict=True):
        cells = [cell.strip()[:_LONGEST_NUMBER] for cell in column]
        cells = [cell for cell in cells if cell not in words and not _WHOLE.fullmatch(cell)]
        of_point, of_comma = (
            [cell for cell in cells if _NUMBERS[decimal].fullmatch(cell)] for decimal in _NUMBERS
        )
        if cells and len(of_point) >= _MOSTLY * len(cells):
            with_point += 1
        elif cells and len(of_comma) >= _MOSTLY * len(cells):
            with_comma += 1
            with_thousands += all(map(_THOUSANDS.fullmatch, of_comma))
    is_uncertain = 0 < with_comma == with_thousands
    if with_comma <= with_point or (is_uncertain and chosen.delimiter == ","):
        # A comma in a quoted cell of a file with commas usually separates thousands.
        return CsvDialect(chosen.delimiter, ".", chosen.has_row_labels)
    return CsvDialect(chosen.delimiter, ",", chosen.has_row_labels, is_uncertain)
