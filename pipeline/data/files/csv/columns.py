"""The fast path for CSV: cut regular text into rows, and parse its numbers by pyarrow or NumPy.

This module decides which text is regular, and so where rows end, for every parser. A parser never
gets text that it could read differently from the csv module. A parser returns None if a cell is not
a finite number; the row-by-row reader then finds the row and the reason.

A number of 19 characters takes pyarrow 60 ns, NumPy 340 ns, and the csv module with `float` 500 to
900 ns. All three round to the nearest float.
"""

import csv
import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quadnet.tables.columns import Texts
from quadnet.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

Parser = Callable[[bytes, Sequence[int]], FloatArray | None]
"""Takes regular text and column indices; returns those columns, of shape (n_rows, n_wanted)."""


@dataclass(frozen=True)
class NumberFormat:
    """How to recognise numbers: their columns, decimal separator, and words for missing values."""

    columns: frozenset[int]
    decimal: str
    missing: Collection[str]


TextParser = Callable[[bytes, Sequence[int], str, NumberFormat], list[Texts | FloatArray]]
"""Takes regular text, column indices, the delimiter, and the format of numbers.

Returns the columns: texts, or numbers if the format has the column and all cells are numbers.
"""

_LINE_FEED, _QUOTE = b'\n"'


def choose_parser(n_bytes: int) -> Parser:
    """Return the fastest parser for a file of this size.

    To import pyarrow, which is an extra, takes as long as NumPy takes to parse a megabyte.
    """
    if n_bytes > 2**20:
        try:
            from pyarrow import csv  # noqa: F401 - only whether it can be imported
        except ImportError:
            pass
        else:
            return parse_with_pyarrow
    return parse_with_numpy


def choose_text_parser(n_bytes: int) -> TextParser:
    """Return the fastest parser of texts for a file of this size."""
    return split_with_csv if choose_parser(n_bytes) is parse_with_numpy else split_with_pyarrow


def cut_rows(text: bytes, n_columns: int, delimiter: bytes = b",") -> list[bytes] | None:
    """Return each row of the text, unchanged; None if the text is not regular.

    The text must end with a line feed. It is regular if each row has `n_columns` cells, and each
    quote opens or closes a cell or belongs to a doubled quote. A blank line is not a row.
    """
    characters = np.frombuffer(b"\n" + text, np.uint8)
    (separator,) = delimiter
    ends = np.flatnonzero((characters == separator) | (characters == _LINE_FEED))[1:]
    if is_quoted := b'"' in text:
        quotes = np.flatnonzero(characters == _QUOTE)
        if not _are_regular(characters, quotes, separator):
            return None
        # After an odd number of quotes one is open.
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    n_rows, rest = divmod(len(ends), n_columns)
    is_last = characters[ends] == _LINE_FEED
    if rest or np.count_nonzero(is_last) != n_rows or not is_last[n_columns - 1 :: n_columns].all():
        return None
    if is_quoted:
        # `characters` has one character more, before the text.
        row_ends = (ends[is_last] - 1).tolist()
        row_starts = [0, *(end + 1 for end in row_ends[:-1])]
        rows = [text[start:end] for start, end in zip(row_starts, row_ends, strict=True)]
    else:
        rows = text.split(b"\n")
        rows.pop()
    return None if n_columns == 1 and b"" in rows else rows


def parse_with_pyarrow(text: bytes, wanted: Sequence[int]) -> FloatArray | None:
    """Return the wanted columns; None if one of their cells is not a finite number."""
    import pyarrow as pa

    from pipeline.data.files.arrow.arrays import to_floats

    # pyarrow would drop a byte-order mark here, as if the text were a whole file.
    if text.startswith(b"\xef\xbb\xbf"):
        return None
    numbers = NumberFormat(frozenset(wanted), ".", ())
    try:
        table = _read_with_pyarrow(text, wanted, ",", numbers)
    except pa.ArrowInvalid:
        # NumPy accepts more notations, such as +1.
        return parse_with_numpy(text, wanted)
    X = np.empty((len(table), len(wanted)))
    for j, column in enumerate(table.columns):
        X[:, j] = to_floats(column)
    return X if np.isfinite(X).all() else None


def parse_with_numpy(text: bytes, wanted: Sequence[int]) -> FloatArray | None:
    """Return the wanted columns; None if one of their cells is not a finite number."""
    # NumPy strips all Unicode white space around a number, `float` on text in ASCII only ASCII's.
    # Decoded as Latin-1, other white space begins with a letter, which is in no number. Four
    # control characters remain.
    if any(control in text for control in (b"\x1c", b"\x1d", b"\x1e", b"\x1f")):
        return None
    lines = io.StringIO(text.decode("latin-1"), newline="")
    try:
        X = np.loadtxt(lines, delimiter=",", comments=None, quotechar='"', usecols=wanted, ndmin=2)
    except ValueError:
        return None
    return X if np.isfinite(X).all() else None


def split_with_pyarrow(
    text: bytes, wanted: Sequence[int], delimiter: str, numbers: NumberFormat
) -> list[Texts | FloatArray]:
    """Return the wanted columns."""
    import pyarrow as pa

    # pyarrow would drop a byte-order mark here, as if the text were a whole file.
    if text.startswith(b"\xef\xbb\xbf"):
        return split_with_csv(text, wanted, delimiter, numbers)
    try:
        return _to_columns(_read_with_pyarrow(text, wanted, delimiter, numbers))
    except (pa.ArrowInvalid, _NotFinite):
        # pyarrow accepts fewer notations of numbers, and no spaces around words.
        no_numbers = replace(numbers, columns=frozenset())
        return _to_columns(_read_with_pyarrow(text, wanted, delimiter, no_numbers))


class _NotFinite(Exception):
    """A cell is a number for pyarrow, but not a finite one."""


def _to_columns(table: "pa.Table") -> list[Texts | FloatArray]:
    import pyarrow as pa

    from pipeline.data.files.arrow.arrays import to_floats
    from pipeline.data.files.arrow.columns import to_texts

    columns: list[Texts | FloatArray] = []
    for column in table.columns:
        if column.type != pa.float64():
            columns.append(to_texts(column)[0])
            continue
        values = to_floats(column)
        if np.count_nonzero(np.isfinite(values)) + column.null_count < len(values):
            raise _NotFinite
        columns.append(values)
    return columns


def _read_with_pyarrow(
    text: bytes, wanted: Sequence[int], delimiter: str, numbers: NumberFormat
) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {
        f"f{i}": pa.float64() if i in numbers.columns else pa.dictionary(pa.int32(), pa.string())
        for i in wanted
    }
    return arrow_csv.read_csv(
        pa.BufferReader(text),
        read_options=arrow_csv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, autogenerate_column_names=True
        ),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(types),
            column_types=types,
            null_values=list(numbers.missing),
            decimal_point=numbers.decimal,
        ),
    )


def split_with_csv(
    text: bytes, wanted: Sequence[int], delimiter: str, numbers: NumberFormat
) -> list[Texts | FloatArray]:
    """Return the wanted columns, all as texts."""
    # The csv module's own limit is global to the process.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    lines = io.StringIO(text.decode(), newline="")
    columns = list(zip(*csv.reader(lines, delimiter=delimiter, strict=True), strict=True))
    return [Texts.from_values(columns[i]) for i in wanted]


def _are_regular(characters: NDArray[np.uint8], quotes: IntArray, separator: int) -> bool:
    """Return whether every quote opens or closes a cell or belongs to a doubled quote."""
    if len(quotes) % 2:
        return False
    before, after = characters[quotes[::2] - 1], characters[quotes[1::2] + 1]
    # A doubled quote closes the cell and opens it again at once.
    return all(
        ((found == separator) | (found == _LINE_FEED) | (found == _QUOTE)).all()
        for found in (before, after)
    )
