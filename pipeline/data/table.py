"""Read a user's file into a table to train on, and check its columns and labels."""

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

from pipeline.data.files.chunks import Chunk, Fault, find_columns, make_file_error, make_rows_error
from pipeline.data.files.source import Kind, Source, open_source
from pipeline.wording import Sentence, UserText
from quadnet.errors import InvalidInput, listing, shorten
from quadnet.registry.manifest import MAX_VALUES
from quadnet.types import FloatArray, IntArray

_CHUNK_BYTES = 2**20

_FEWEST_COUNTED = 10
"""In a table of fewer rows, a column may look like row numbers by chance."""

_ONLY_NUMBERS = (
    " only numbers the rows, so what the network learns from it does not hold for other rows. "
    "Remove it from data.features, unless it is a measurement."
)


@dataclass(frozen=True)
class DataTable:
    """Rows X of shape (n_rows, n_features), in float64, and the class of each.

    `classes` are the sorted labels, and `codes`, of shape (n_rows,), are indices into them.
    `places` are the rows' positions in the file, starting at 1; `unit` is "line" or "row".
    `notices` are warnings about the data, for the user.
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
        A CSV file is UTF-8, has a header, and separates cells by commas.
    label : str
        The column of labels. In a Parquet file they are text, integers or booleans.
    features : sequence of str, optional
        The columns of numbers. By default every other column that has a name, in the file's order,
        except the row labels that pandas stores in Parquet.
    strip_labels : bool
        Whether spaces around a label are removed.

    Returns
    -------
    DataTable

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If the file is malformed; the message names the line or row, and the column.
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
    """Return a warning about columns without a name, which are not used as features."""
    places = [str(i) for i, name in enumerate(columns, 1) if not name and name != label]
    if not places:
        return []
    which = f"Column {places[0]} has" if len(places) == 1 else f"Columns {listing(places)} have"
    return [(f"{which} no name in the header and will not be used for training.",)]


def _choose_features(
    file: Source, *, label: str, features: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the feature columns; raise InvalidInput if they cannot be used."""
    path, columns = file.path, file.columns
    if features is None:
        # pandas writes a data frame's index without a name: it only numbers the rows.
        features = [name for name in columns if name and name not in {label, *file.index}]
    find_columns(path, columns, [label, *features])
    if label in features:
        raise make_file_error(
            path, label, "expected a label or a feature, got a column that is both"
        )
    for name, n in Counter(features).items():
        if n > 1:
            raise make_file_error(path, name, "expected each feature once, got this one twice")
    if not features:
        raise make_file_error(
            path, None, f"expected at least one feature column besides {label}, got 0"
        )
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
    """Join the chunks into a table, with the labels as indices.

    Raises
    ------
    InvalidInput
        If a row is bad, there are no rows, all rows are of one class, or there are too many
        classes.
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
                "numbers or of unique names?",
            )
        if chunk.places is not None:
            places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
    if faults:
        raise make_rows_error(path, unit, faults, n_faults)
    if not code_of:
        raise make_file_error(path, None, "expected rows, got 0")
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
    """Yield a warning about each column that only numbers the rows.

    If the rows are sorted by label, such a column alone predicts the label.
    """
    if len(X) < _FEWEST_COUNTED:
        return
    for name, column in zip(features, X.T, strict=True):
        if _is_counter(column):
            yield "Column ", UserText(name), _ONLY_NUMBERS


def _is_counter(column: FloatArray) -> bool:
    """Return whether a column numbers the rows: integers in order, or without a gap."""
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
