"""Read a user's file into a table to train on, and check its columns and labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.files.chunks import Chunk, Fault, find_columns, make_file_error, make_rows_error
from pipeline.data.files.source import Kind, Source, open_source
from pipeline.data.row_counters import describe_counters
from pipeline.data.target_columns import make_classes, make_labels, make_numbers
from pipeline.data.targets import Target
from pipeline.wording import Sentence
from quadnet.errors import InvalidInput, listing
from quadnet.registry.manifest import MAX_VALUES
from quadnet.types import FloatArray, IntArray, Task

_CHUNK_BYTES = 2**20

_LEAVE_OUT = "Remove it from data.features, unless it is a measurement."


@dataclass(frozen=True)
class DataTable:
    """Rows X of shape (n_rows, n_features), in float64, and the target of each.

    `places` are the rows' positions in the file, starting at 1; `unit` is "line" or "row".
    `notices` are warnings about the data, for the user.
    """

    features: tuple[str, ...]
    X: FloatArray
    target: Target
    places: IntArray
    unit: str
    notices: tuple[Sentence, ...] = ()

    @property
    def y(self) -> NDArray[Any]:
        """The target of each row: its label as text, its number, or its row of 0 and 1."""
        return self.target.y


def read_table(
    path: Path,
    kind: Kind,
    *,
    label: str | Sequence[str],
    features: Sequence[str] | None,
    task: Task = "classification",
    strip_labels: bool = True,
) -> DataTable:
    """Read a file of rows.

    Parameters
    ----------
    path : path
    kind : "csv" or "parquet"
        A CSV file is UTF-8, has a header, and separates cells by commas.
    label : str or sequence of str
        The column of labels, which in a Parquet file are text, integers or booleans. With the task
        "regression" the column of numbers to predict, with "multilabel" several columns of 0 and 1.
    features : sequence of str, optional
        The columns of numbers. By default every other column that has a name, in the file's order,
        except the row labels that pandas stores in Parquet.
    task : "classification", "regression" or "multilabel"
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
    labels = (label,) if isinstance(label, str) else tuple(label)
    with closing(open_source(path, kind, chunk_bytes=_CHUNK_BYTES)) as file:
        unnamed = [] if features else _describe_unnamed_columns(file.columns, labels)
        names = _choose_features(file, labels=labels, features=features)
        target: Target
        notices: tuple[Sentence, ...] = ()
        if task == "classification":
            chunks = file.chunks(names, label=labels[0])
            rows = _collect_chunks(path, file.unit, chunks, label=labels[0])
            X, target, notices = (
                rows.X,
                *make_classes(path, labels[0], rows.texts, rows.codes, strip=strip_labels),
            )
        else:
            rows = _collect_chunks(
                path, file.unit, file.chunks((*names, *labels), with_places=True)
            )
            X, Y = (np.ascontiguousarray(part) for part in np.hsplit(rows.X, [len(names)]))
            if task == "regression":
                target = make_numbers(path, labels[0], Y[:, 0])
            else:
                target = make_labels(path, file.unit, labels, Y, rows.places)
        notices = (*unnamed, *describe_counters(zip(names, X.T, strict=True), _LEAVE_OUT), *notices)
        return DataTable(names, X, target, rows.places, file.unit, notices)


def _describe_unnamed_columns(columns: Sequence[str], labels: Sequence[str]) -> list[Sentence]:
    """Return a warning about columns without a name, which are not used as features."""
    places = [str(i) for i, name in enumerate(columns, 1) if not name and name not in labels]
    if not places:
        return []
    which = f"Column {places[0]} has" if len(places) == 1 else f"Columns {listing(places)} have"
    return [(f"{which} no name in the header and will not be used for training.",)]


def _choose_features(
    file: Source, *, labels: Sequence[str], features: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the feature columns; raise InvalidInput if they cannot be used."""
    path, columns = file.path, file.columns
    if features is None:
        # pandas writes a data frame's index without a name: it only numbers the rows.
        features = [name for name in columns if name and name not in {*labels, *file.index}]
    find_columns(path, columns, [*labels, *features])
    for label in labels:
        if label in features:
            raise make_file_error(
                path, label, "expected a label or a feature, got a column that is both"
            )
    for name, n in Counter(features).items():
        if n > 1:
            raise make_file_error(path, name, "expected each feature once, got this one twice")
    if not features:
        raise make_file_error(
            path, None, f"expected at least one feature column besides {listing(labels)}, got 0"
        )
    return tuple(features)


@dataclass(frozen=True)
class _Rows:
    """The rows of a file: their numbers X, each one's label as an index into `texts`, and places.

    Without a column of labels, `codes` and `texts` are empty.
    """

    X: FloatArray
    codes: IntArray
    texts: list[str]
    places: IntArray


def _collect_chunks(
    path: Path, unit: str, chunks: Iterable[Chunk[Any]], *, label: str | None = None
) -> _Rows:
    """Join the chunks, with the labels as indices.

    Raises
    ------
    InvalidInput
        If a row is bad, there are no rows, or there are too many classes.
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
                'numbers or of unique names? To predict numbers, set task = "regression"',
            )
        if chunk.places is not None:
            places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
    if faults:
        raise make_rows_error(path, unit, faults, n_faults)
    if not any(map(len, X)):
        raise make_file_error(path, None, "expected rows, got 0")
    return _Rows(np.concatenate(X), np.concatenate(parts), list(code_of), np.concatenate(places))
