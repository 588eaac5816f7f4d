"""Cut CSV text into rows by the csv module, and find faults that do not depend on the columns."""

import csv
import io
from collections.abc import Iterator

from pipeline.data.files.read_settings import DELIMITERS

UNCLOSED = "expected every quote to be closed, got one that is not"

_COMPLAINTS = {
    f"'{delimiter}' expected": f"expected a {name} after a closing quote, got something else"
    for delimiter, name in DELIMITERS.items()
} | {"new-line": "expected a line feed at the end of a row, got a carriage return alone"}
"""The beginnings of the csv module's errors, and their meanings."""


def read_records(
    data: bytes, *, final: bool, delimiter: str = ","
) -> Iterator[tuple[bytes, list[str] | str]]:
    """Yield each row, unchanged, with its cells or with its fault.

    A last row that is not complete is left out, unless the data is the file's end.
    """
    # The size of the data bounds every row. The csv module's own limit is global to the process.
    csv.field_size_limit(max(len(data), csv.field_size_limit()))
    begin = 0
    while begin < len(data):
        lines = io.BytesIO(data)
        lines.seek(begin)
        at_end = False

        def text(lines: io.BytesIO = lines) -> Iterator[str]:
            nonlocal at_end
            for line in lines:
                yield line.decode("utf-8", "surrogateescape")
            at_end = True

        reader = csv.reader(text(), delimiter=delimiter, strict=True)
        while begin < len(data):
            record: list[str] | str
            try:
                record = next(reader)
            except csv.Error as error:
                if at_end:
                    break
                record = _complaint(error)
            yield data[begin : lines.tell()], record
            begin = lines.tell()
        else:
            return
        if not final:
            return
        # A quote may have been opened by mistake: only its line is bad, whatever follows.
        end = data.find(b"\n", begin + find_open_quote(data[begin:])) + 1 or len(data)
        yield data[begin:end], UNCLOSED
        begin = end


def find_open_quote(row: bytes) -> int:
    """Return the index of the quote that is not closed, in a row that does not end."""
    opening, at = -1, row.find(b'"')
    while at >= 0:
        opening = at
        # A doubled quote does not close the cell.
        closing = row.find(b'"', at + 1)
        while closing >= 0 and row[closing + 1 : closing + 2] == b'"':
            closing = row.find(b'"', closing + 2)
        if closing < 0:
            break
        at = row.find(b'"', closing + 1)
    return max(opening, 0)


def _complaint(error: csv.Error) -> str:
    for beginning, meaning in _COMPLAINTS.items():
        if str(error).startswith(beginning):
            return meaning
    return f"expected a row of CSV, got something else ({error})"


def find_problem(raw: bytes, record: list[str] | str) -> str | None:
    """Return the fault of a row that does not depend on its columns; None without a fault."""
    if isinstance(record, str):
        return record
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return f"expected UTF-8, got the byte 0x{byte:02x} at byte {error.start + 1} of the row"
    if b"\0" in raw:
        return f"expected text, got a NUL byte at byte {raw.index(0) + 1} of the row"
    return None
