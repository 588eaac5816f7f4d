"""A table to train on, read from a user's file, and what every such file must hold."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tables.chunks import Chunk, Fault, find_columns, refusal, wrong
from pipeline.tables.csvfile import CsvFile
from quadnet.errors import InvalidInput, shorten
from quadnet.types import FloatArray, IntArray

_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Table:
    """Rows X of shape (n_rows, n_features), in float64, and their labels y, (n_rows,).

    `places` are their lines or rows in the file, as `unit` says, from 1.
    """

    features: tuple[str, ...]
    X: FloatArray
    y: NDArray[np.str_]
    places: IntArray
    unit: str


def read(path: Path, *, label: str, features: Sequence[str] | None) -> Table:
    """Read a CSV file: UTF-8, with a header, cells separated by commas.

    Parameters
    ----------
    path : path
    label : str
        The column of labels.
    features : sequence of str, optional
        The columns of numbers; without them, every other one, in the file's order.

    Returns
    -------
    Table

    Raises
    ------
    InvalidSetting
        If the file cannot be read.
    InvalidInput
        If it is not as it must be. Says the line and the column.
    """
    with closing(CsvFile(path, chunk_bytes=_CHUNK_BYTES)) as file:
        names = choose(path, file.columns, label=label, features=features)
        return collect(path, file.unit, label, names, file.chunks(names, label=label))


def choose(
    path: Path, columns: Sequence[str], *, label: str, features: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the columns of numbers; raise InvalidInput if they cannot be those."""
    if features is None:
        features = [name for name in columns if name != label]
    find_columns(path, columns, [label, *features])
    if label in features:
        raise wrong(path, label, "expected a label or a feature, got both in one column")
    for name in features:
        if features.count(name) > 1:
            raise wrong(path, name, "expected each feature once, got this one twice")
    if not features:
        raise wrong(path, None, f"expected a column of numbers beside {label}, got none")
    return tuple(features)


def collect(
    path: Path, unit: str, label: str, features: Sequence[str], chunks: Iterable[Chunk[Any]]
) -> Table:
    """Put the chunks together.

    Raises
    ------
    InvalidInput
        If a row is bad, there is none, or all are of one class.
    """
    X: list[FloatArray] = []
    labels: list[str] = []
    places: list[IntArray] = []
    faults: list[Fault] = []
    n_faults = 0
    for chunk in chunks:
        X.append(chunk.X)
        labels += chunk.labels
        if chunk.places is not None:
            places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
    if faults:
        raise refusal(path, unit, faults, n_faults)
    if not labels:
        raise wrong(path, None, "expected rows, got none")
    classes = sorted(set(labels))
    if len(classes) == 1:
        raise wrong(path, label, f"expected several classes, got only {shorten(classes[0])}")
    return Table(tuple(features), np.concatenate(X), np.array(labels), np.concatenate(places), unit)
