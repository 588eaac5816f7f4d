"""Datasets: rows and targets from a generator, from scikit-learn, or from a user's file."""

import hashlib
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.data_sections import DigitsData, FileData, QuadrantsData
from pipeline.data.row_hashes import hash_rows, hash_table
from pipeline.data.table import read_table
from pipeline.data.targets import ClassTarget, LabelsTarget, NumberTarget, Target
from pipeline.wording import Sentence
from quadnet import quadrants
from quadnet.tables.columns import (
    Column,
    Table,
    Texts,
    find_missing,
    is_numbers,
    take_rows,
    take_table_rows,
)
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray, IntArray, Task


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows X of shape (n_rows, n_features), and the target of each.

    Rows of a table have columns of texts, gaps and dates. They get their X, the inputs of a
    network, by `encode`, which needs an encoder that has been fitted to the training part.

    Parameters
    ----------
    features : tuple of str
        The columns of X; before `encode`, those of the table.
    X : ndarray of shape (n_rows, n_features)
        Of shape (n_rows, 0) for a table before `encode`.
    target : Target
        The class, the number or the labels of each row.
    weights : ndarray of shape (n_rows,), optional
        How much each row counts in training. Metrics count every row once.
    notices : tuple of sentences
        Warnings about the data.
    places : ndarray of int, shape (n_rows,), optional
        The line or row of each row in its file, starting at 1. Without a file, the row's index is
        used.
    unit : str
        The unit of `places`: "line" or "row".
    table : Table, optional
        The features as the user has them.
    groups : Column, optional
        The group of each row, such as its customer. All rows of a group belong into one part.
    times : ndarray of shape (n_rows,), optional
        When each row was made. Later rows are predicted from earlier ones.
    """

    features: tuple[str, ...]
    X: FloatArray
    target: Target
    _: KW_ONLY
    weights: FloatArray | None = None
    notices: tuple[Sentence, ...] = ()
    places: IntArray | None = None
    unit: str = "row"
    table: Table | None = None
    groups: Column | None = None
    times: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def y(self) -> NDArray[Any]:
        """The target of each row: its label as text, its number, or its row of 0 and 1."""
        return self.target.y

    @property
    def class_rows(self) -> dict[str, int]:
        """The number of rows of each class or label that has any; empty for numbers."""
        return self.target.class_rows

    @property
    def class_target(self) -> ClassTarget:
        """The target of a run that predicts classes."""
        assert isinstance(self.target, ClassTarget)
        return self.target

    @property
    def number_target(self) -> NumberTarget:
        """The target of a run that predicts numbers."""
        assert isinstance(self.target, NumberTarget)
        return self.target

    @property
    def labels_target(self) -> LabelsTarget:
        """The target of a run that predicts several labels."""
        assert isinstance(self.target, LabelsTarget)
        return self.target

    def sha256(self) -> str:
        """Return the digest of the content, independent of the machine's byte order."""
        if self.table is None:
            digest = hashlib.sha256(repr((self.features, self.X.shape)).encode())
            digest.update(np.ascontiguousarray(self.X, "<f8").data)
        else:
            digest = hashlib.sha256(repr((tuple(self.table), len(self))).encode())
            for column in self.table.values():
                digest.update(_column_bytes(column))
        for block in self.target.content():
            digest.update(block)
        if self.weights is not None:
            digest.update(self.weights.astype("<f8").tobytes())
        return digest.hexdigest()

    def rows(self, chosen: NDArray[np.bool_]) -> "Dataset":
        """Return the chosen rows, without the warnings about all of them."""
        return replace(
            self,
            X=self.X[chosen],
            target=self.target.take(chosen),
            weights=None if self.weights is None else self.weights[chosen],
            notices=(),
            places=None if self.places is None else self.places[chosen],
            table=None if self.table is None else take_table_rows(self.table, chosen),
            groups=None if self.groups is None else take_rows(self.groups, chosen),
            times=None if self.times is None else self.times[chosen],
        )

    def encode(self, encoder: TableEncoder) -> "Dataset":
        """Return the rows with the X that the encoder makes of their table."""
        assert self.table is not None
        return replace(self, features=encoder.output_names, X=encoder.transform(self.table))

    def row_hashes(self, seed: int) -> FloatArray:
        """Return a number in [0, 1) for each row, by its features alone."""
        return hash_rows(self.X, seed) if self.table is None else hash_table(self.table, seed)

    def split_places(self, seed: int) -> FloatArray:
        """Return a number in [0, 1) for each row: those below a share are that share's part.

        By the row's features, or by its group. By time, it is the share of the rows that are later.
        """
        if self.times is not None:
            later = len(self) - np.searchsorted(np.sort(self.times), self.times, side="right")
            return later / len(self)
        return self.row_hashes(seed) if self.groups is None else hash_table({"": self.groups}, seed)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the user has: those of the table, if there is one, or of X."""
        return self.features if self.table is None else tuple(self.table)

    def values_of(self, row: int) -> list[float | str | None]:
        """Return a row's values of `columns`; a gap is None."""
        if self.table is None:
            numbers: list[float | str | None] = self.X[row].tolist()
            return numbers
        return [_value_of(column, row) for column in self.table.values()]

    def place(self, row: int) -> int:
        """Return the row's line or row in its file, or its index if there is no file."""
        return row if self.places is None else int(self.places[row])


def _value_of(column: Column, row: int) -> float | str | None:
    if find_missing(take_rows(column, np.array([row])))[0]:
        return None
    if isinstance(column, Texts):
        return column.values[int(column.codes[row])]
    return float(column[row]) if is_numbers(column) else str(column[row])


def _column_bytes(column: Column) -> bytes:
    """Return the content of a column, equal on every machine."""
    if isinstance(column, Texts):
        return "\0".join("\1" if text is None else text for text in column.to_array()).encode()
    if column.dtype.kind == "M":
        return column.astype("<M8[us]").tobytes()
    return column.astype("<f8").tobytes()


def load_dataset(data: DigitsData | FileData, task: Task = "classification") -> Dataset:
    """Return all rows of a stored dataset, with the target that the task predicts.

    Raises
    ------
    InvalidInput
        If a file is malformed; the message names the line or row, and the column.
    """
    if isinstance(data, DigitsData):
        return _digits()
    table = read_table(
        data.file,
        data.kind,
        label=data.label,
        task=task,
        features=data.features,
        strip_labels=data.strip_labels,
    )
    return Dataset(
        table.features,
        table.X,
        table.target,
        notices=table.notices,
        places=table.places,
        unit=table.unit,
    )


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    scans = load_digits()
    return Dataset(tuple(scans.feature_names), scans.data, ClassTarget.from_labels(scans.target))


def make_training_points(data: QuadrantsData) -> Dataset:
    """Generate the training points."""
    rng = np.random.default_rng(data.seed)
    if data.placement == "centres":
        X = np.resize(quadrants.CENTRES, (data.points, 2))
    else:
        X = _uniform_points(rng, data.points)
        X = np.copysign(data.margin + (1.0 - data.margin) * np.abs(X), X)
    y = quadrants.label_quadrants(X)
    if data.label_noise:
        y = _mislabelled(y, data)
    if data.draws is not None:
        drawn = rng.integers(len(X), size=data.draws)
        X, y = X[drawn], y[drawn]
    return Dataset(quadrants.FEATURES, X, ClassTarget.from_labels(y))


def make_test_points(data: QuadrantsData, n: int, seed: int) -> Dataset:
    """Generate the test points: uniform, correctly labelled, from a random stream of their own.

    The stream depends on both seeds, so no choice of seeds makes the test and training parts equal.
    """
    X = _uniform_points(np.random.default_rng([seed, data.seed, 1]), n)
    return Dataset(quadrants.FEATURES, X, ClassTarget.from_labels(quadrants.label_quadrants(X)))


def _uniform_points(rng: np.random.Generator, n: int) -> FloatArray:
    X = rng.uniform(-1.0, 1.0, (n, 2))
    # A coordinate of exactly 0 has no quadrant; it occurs about once in 2**53 draws.
    X[X == 0] = 0.5
    return X


def _mislabelled(y: NDArray[np.str_], data: QuadrantsData) -> NDArray[np.str_]:
    """Return the labels, a share of them replaced by another quadrant's."""
    rng = np.random.default_rng([data.seed, 2])
    wrong = rng.random(len(y)) < data.label_noise
    names = np.array(quadrants.NAMES)
    numbers = np.searchsorted(names, y)  # the names are sorted
    numbers[wrong] += rng.integers(1, len(names), size=wrong.sum())
    return names[numbers % len(names)]
