"""Targets from the columns of a user's file, with checks of their values."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.files.chunks import Fault, make_file_error, make_rows_error
from pipeline.data.targets import ClassTarget, LabelsTarget, NumberTarget
from pipeline.wording import Sentence, UserText, format_count
from quadnet.errors import InvalidInput, shorten
from quadnet.types import FloatArray, IntArray


def make_classes(
    path: Path,
    label: str,
    texts: Sequence[str],
    codes: IntArray,
    *,
    strip: bool,
    n_gaps: int = 0,
    allow_one: bool = False,
) -> tuple[ClassTarget, tuple[Sentence, ...]]:
    """Return the classes of the rows, and warnings.

    Parameters
    ----------
    path : path
    label : str
        The name of the column.
    texts : sequence of str
    codes : ndarray of int, shape (n_rows,)
        Each row's label, as an index into `texts`.
    strip : bool
        Whether spaces around a label are removed.
    n_gaps : int
        The number of other rows, which have no label.
    allow_one : bool
        Whether all rows may have the same class.

    Raises
    ------
    InvalidInput
        If all rows have the same class, unless `allow_one`.
    """
    names = [text.strip() for text in texts] if strip else list(texts)
    classes, new_codes = np.unique(np.array(names), return_inverse=True)
    if len(classes) == 1 and not allow_one:
        problem = f"expected several classes, got only {shorten(str(classes[0]))}"
        if n_gaps:
            gaps = f", and {format_count(n_gaps, 'row')} without a value"
            problem += f"{gaps}. If a word such as None is a class, set data.read.missing"
        raise make_file_error(path, label, problem)
    notices = tuple(_describe_spellings(label, classes.tolist()))
    return ClassTarget(new_codes[codes], classes), notices


def make_numbers(path: Path, label: str, values: FloatArray) -> NumberTarget:
    """Return the numbers to predict; raise InvalidInput if all are equal."""
    if (values == values[0]).all():
        raise make_file_error(path, label, f"expected several numbers, got only {values[0]:g}")
    return NumberTarget(values)


def make_labels(
    path: Path, unit: str, labels: Sequence[str], Y: FloatArray, places: IntArray
) -> LabelsTarget:
    """Return the labels of the rows.

    Raises
    ------
    InvalidInput
        If a value is neither 0 nor 1, or all values of a label are equal.
    """
    wrong = (Y != 0) & (Y != 1)
    rows = np.flatnonzero(wrong.any(axis=1))
    if len(rows):
        first = rows[: InvalidInput.MAX_VIOLATIONS].tolist()
        columns = wrong[first].argmax(axis=1).tolist()
        faults = [
            Fault(int(places[row]), labels[j], f"expected 0 or 1, got {Y[row, j]:g}")
            for row, j in zip(first, columns, strict=True)
        ]
        raise make_rows_error(path, unit, faults, len(rows))
    for name, column in zip(labels, Y.T, strict=True):
        if (column == column[0]).all():
            raise make_file_error(
                path, name, f"expected rows of 0 and of 1, got only {column[0]:g}"
            )
    return LabelsTarget(Y.astype(np.int8), tuple(labels))


def _describe_spellings(label: str, classes: Sequence[str]) -> Iterator[Sentence]:
    """Yield a warning about labels that differ only in spelling."""
    alike: dict[object, list[str]] = {}
    for name in classes:
        alike.setdefault(_fold_label(name), []).append(name)
    for first, second, *_ in (names for names in alike.values() if len(names) > 1):
        yield (
            "In column ",
            UserText(label),
            ", the labels ",
            UserText(first),
            " and ",
            UserText(second),
            " are two classes, although they differ only in spelling.",
        )


def _fold_label(text: str) -> object:
    """Return an equal key for two labels that a reader would read as the same."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    try:
        number = float(folded)
    except ValueError:
        return folded
    return folded if math.isnan(number) else number
