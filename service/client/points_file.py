"""Reads points from a CSV file with the columns x and y."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from quadnet.errors import FileUnusable, InvalidInput, Violation, listing


def read_points(path: Path) -> Iterator[tuple[float, float]]:
    """Yield the points of a CSV file with the columns x and y, and possibly others.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not a CSV file in UTF-8, lacks a column, or a value is not a finite number. The
        error names the line and the column.
    """
    try:
        # utf-8-sig: spreadsheets write a byte-order mark before the name of the first column.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"x", "y"} <= set(rows.fieldnames or ()):
                found = listing(rows.fieldnames or ())
                raise _invalid_file(
                    str(path), f"expected the columns x and y in its first line, got {found}"
                )
            for row in rows:
                x, y = (_parse_number(row[name], name, path, rows.line_num) for name in ("x", "y"))
                yield x, y
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _invalid_file(
            str(path), f"expected a CSV file in UTF-8, got another ({error})"
        ) from error


def _parse_number(text: str | None, column: str, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _invalid_file(
            f"{path}, line {line}, column {column}", f"expected a number, got {text!r}"
        )
    return value


def _invalid_file(where: str, description: str) -> InvalidInput:
    return InvalidInput([Violation(where, description)])
