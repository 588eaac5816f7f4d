"""A table to train on, read from a user's file, and what every such file must hold."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.chunks import Chunk, Fault, find_columns, make_file_error, make_rows_error
from pipeline.data.source import Kind, Source, open_source
from pipeline.wording import Sentence, UserText
from quadnet.errors import InvalidInput, listing, shorten
from quadnet.registry.manifest import MAX_VALUES
from quadnet.types import FloatArray, IntArray

_CHUNK_BYTES = 2**20

_FEWEST_COUNTED = 10
"""Fewer rows than these may be numbered by chance."""

_ONLY_NUMBERS = (
    " only numbers the rows: what is learnt by it means nothing for further rows. Leave it out of "
    "data.features, unless it is a measurement."
)


@dataclass(frozen=True)
class DataTable:
    """Rows X of shape (n_rows, n_features), in float64, and the class of each.

    `classes` are the labels, sorted; `codes`, of shape (n_rows,), are indices into them; `places`
    are the rows' lines or rows in the file, as `unit` says, from 1; `notices` are sentences on
    what may not be as the user thinks.
    """

    features: tuple[str, ...]
    X: FloatArray
    codes: IntArray
    classes: NDArray[np.str_]
    places: IntArray
    unit: str
    notices: tuple[Sentence, ...] = ()

    @property
    def y(self) -> NDArray[np.str_]:
        """The label of each row, as text."""
        return self.classes[self.codes]


def read_table(
    path: Path,
    kind: Kind,
    *,
    label: str,
    features: Sequence[str] | None,
    strip_labels: bool = True,
) -> DataTable:
    """Read a file of rows.

    Parameters
    ----------
    path : path
    kind : "csv" or "parquet"
        A CSV file is UTF-8, has a header, and commas between its cells.
    label : str
        The column of labels; in a Parquet file text, integers or truth values.
    features : sequence of str, optional
        The columns of numbers; without them, every other one that has a name, in the file's order,
        but not the row labels that pandas stores in Parquet.
    strip_labels : bool
        Whether spaces around a label are dropped.

    Returns
    -------
    Table

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not as it must be. Says the line or row, and the column.
    Unsupported
        If it is a Parquet file and pyarrow is not installed.
    """
    with closing(open_source(path, kind, chunk_bytes=_CHUNK_BYTES)) as file:
        unnamed = [] if features else _describe_unnamed_columns(file.columns, label)
        names = _choose_features(file, label=label, features=features)
        chunks = file.chunks(names, label=label)
        table = _collect_chunks(path, file.unit, label, names, chunks, strip_labels=strip_labels)
        return replace(table, notices=(*unnamed, *table.notices))


def _describe_unnamed_columns(columns: Sequence[str], label: str) -> list[Sentence]:
    """Return what is to be said of columns without a name, which are not taken for features."""
    places = [str(i) for i, name in enumerate(columns, 1) if not name and name != label]
    if not places:
        return []
    which = f"Column {places[0]} has" if len(places) == 1 else f"Columns {listing(places)} have"
    return [(f"{which} no name in the header, and so no part in the training.",)]


def _choose_features(
    file: Source, *, label: str, features: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the columns of numbers; raise InvalidInput if they cannot be those."""
    path, columns = file.path, file.columns
    if features is None:
        # A data frame's index is written without a name: it numbers the rows.
        features = [name for name in columns if name and name not in {label, *file.index}]
    find_columns(path, columns, [label, *features])
    if label in features:
        raise make_file_error(path, label, "expected a label or a feature, got both in one column")
    for name, n in Counter(features).items():
        if n > 1:
            raise make_file_error(path, name, "expected each feature once, got this one twice")
    if not features:
        raise make_file_error(path, None, f"expected a column of numbers beside {label}, got none")
    return tuple(features)


def _collect_chunks(
    path: Path,
    unit: str,
    label: str,
    features: Sequence[str],
    chunks: Iterable[Chunk[Any]],
    *,
    strip_labels: bool,
) -> DataTable:
    """Put the chunks together, their labels as indices.

    Raises
    ------
    InvalidInput
        If a row is bad, there is none, all are of one class, or there are too many classes.
    """
    X: list[FloatArray] = []
    parts: list[IntArray] = []
    code_of: dict[str, int] = {}
    places: list[IntArray] = []
    faults: list[Fault] = []
    n_faults = 0
    for chunk in chunks:
        X.append(chunk.X)
        parts.append(
            np.fromiter((code_of.setdefault(t, len(code_of)) for t in chunk.labels), np.intp)
        )
        if len(code_of) > MAX_VALUES:
            raise make_file_error(
                path,
                label,
                f"expected at most {MAX_VALUES:,} different labels, got more: is it a column of "
                "numbers, or of names that occur once?",
            )
        if chunk.places is not None:
            places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
    if faults:
        raise make_rows_error(path, unit, faults, n_faults)
    if not code_of:
        raise make_file_error(path, None, "expected rows, got none")
    texts = [text.strip() for text in code_of] if strip_labels else list(code_of)
    classes, new_codes = np.unique(np.array(texts), return_inverse=True)
    if len(classes) == 1:
        raise make_file_error(
            path, label, f"expected several classes, got only {shorten(str(classes[0]))}"
        )
    together = np.concatenate(X)
    notices = (
        *_describe_counters(features, together),
        *_describe_spellings(label, classes.tolist()),
    )
    return DataTable(
        tuple(features),
        together,
        new_codes[np.concatenate(parts)],
        classes,
        np.concatenate(places),
        unit,
        notices,
    )


def _describe_counters(features: Sequence[str], X: FloatArray) -> Iterator[Sentence]:
    """Yield what is to be said of columns that only number the rows.

    Where rows are in the order of their labels, such a column alone tells them apart.
    """
    if len(X) < _FEWEST_COUNTED:
        return
    for name, column in zip(features, X.T, strict=True):
        if _is_counter(column):
            yield "Column ", UserText(name), _ONLY_NUMBERS


def _is_counter(column: FloatArray) -> bool:
    """Whether a column numbers the rows: whole numbers, in order or without a gap."""
    with np.errstate(over="ignore"):  # differences of values near the largest float
        # The first values exclude most columns.
        if not (column[:100] == np.rint(column[:100])).all() or len(column) - 1 > np.ptp(column):
            return False
        if not (column == np.rint(column)).all():
            return False
        steps = np.diff(column)
        in_order = bool((steps > 0).all() or (steps < 0).all())
        return in_order or np.ptp(column) == len(column) - 1 == len(np.unique(column)) - 1


def _describe_spellings(label: str, classes: Sequence[str]) -> Iterator[Sentence]:
    """Yield what is to be said of labels that differ only in how they are written."""
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
            " are two classes, though they differ only in how they are written.",
        )


def _fold_label(text: str) -> object:
    """Return the same for two labels that a reader would take for one."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    try:
        number = float(folded)
    except ValueError:
        return folded
    return folded if math.isnan(number) else number
