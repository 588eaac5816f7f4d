"""Points to classify, read from a CSV file with the columns x and y."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from quadnet.errors import InvalidInput, InvalidSetting, Violation


def read_points(path: Path) -> Iterator[tuple[float, float]]:
    """Yield the points of a CSV file that has columns x and y, and perhaps others.

    Raises
    ------
    InvalidSetting
        If the file cannot be read, or lacks a column.
    InvalidInput
        If a value is not a finite number; says the line and the column.
    """
    try:
        # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in ("x", "y") if name not in (rows.fieldnames or ())]
            if missing:
                raise InvalidSetting(
                    f"{path} has no column {missing[0]!r}. Its first line must name the columns "
                    f"x and y; it names: {', '.join(rows.fieldnames or ()) or 'nothing'}."
                )
            for row in rows:
                x, y = (_number(row[name], name, path, rows.line_num) for name in ("x", "y"))
                yield x, y
    except OSError as error:
        raise InvalidSetting(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidSetting(f"{path} is not a CSV file in UTF-8: {error}.") from error


def _number(text: str | None, column: str, path: Path, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInput(
            [Violation(f"{path}, line {line}, column {column}", f"expected a number, got {text!r}")]
        )
    return value
