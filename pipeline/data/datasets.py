"""Datasets: rows and labels from a generator, from scikit-learn, or from a user's file."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from pipeline.config.run_config import DigitsData, FileData, QuadrantsData
from pipeline.data.table import read_table
from pipeline.wording import Sentence
from quadnet import quadrants
from quadnet.types import FloatArray, IntArray


class Dataset:
    """Rows X of shape (n_rows, n_features), and the class of each.

    Labels are stored as indices: an array of text takes the longest label's memory in every row.

    Parameters
    ----------
    features : tuple of str
    X : ndarray of shape (n_rows, n_features)
    labels : ndarray of str, shape (n_rows,)
        With `classes`, indices into `classes` instead.
    classes : ndarray of str, optional
        Sorted and distinct; a class may have no row here.
    notices : tuple of sentences
        Warnings about the data.
    places : ndarray of int, shape (n_rows,), optional
        The line or row of each row in its file, starting at 1. Without a file, the row's index is
        used.
    unit : str
        The unit of `places`: "line" or "row".

    Attributes
    ----------
    codes : ndarray of int, shape (n_rows,)
        Each row's class, as an index into `classes`.
    """

    def __init__(
        self,
        features: tuple[str, ...],
        X: FloatArray,
        labels: NDArray[np.str_] | IntArray,
        classes: NDArray[np.str_] | None = None,
        *,
        notices: tuple[Sentence, ...] = (),
        places: IntArray | None = None,
        unit: str = "row",
    ) -> None:
        self.features, self.X, self.notices = features, X, notices
        self.places, self.unit = places, unit
        if classes is None:
            classes, labels = np.unique(labels.astype(str), return_inverse=True)
        self.classes: NDArray[np.str_] = classes
        self.codes: IntArray = labels.astype(np.intp, copy=False)

    def __len__(self) -> int:
        return len(self.X)

    @property
    def y(self) -> NDArray[np.str_]:
        """The label of each row, as text."""
        return self.classes[self.codes]

    @property
    def class_rows(self) -> dict[str, int]:
        """The number of rows of each class that has any."""
        counts = np.bincount(self.codes, minlength=len(self.classes)).tolist()
        return {str(name): n for name, n in zip(self.classes, counts, strict=True) if n}

    def indices(self, names: NDArray[np.generic]) -> IntArray:
        """Return each row's class as an index into `names`, which are sorted and include all."""
        return np.searchsorted(names.astype(str), self.classes)[self.codes]

    def sha256(self) -> str:
        """Return the digest of the content, independent of the machine's byte order."""
        digest = hashlib.sha256(repr((self.features, self.X.shape)).encode())
        digest.update(np.ascontiguousarray(self.X, "<f8").data)
        names = self.classes.tolist()
        digest.update("\n".join(names[code] for code in self.codes.tolist()).encode())
        return digest.hexdigest()

    def rows(self, chosen: NDArray[np.bool_]) -> "Dataset":
        """Return the chosen rows."""
        return Dataset(
            self.features,
            self.X[chosen],
            self.codes[chosen],
            self.classes,
            places=None if self.places is None else self.places[chosen],
            unit=self.unit,
        )

    def place(self, row: int) -> int:
        """Return the row's line or row in its file, or its index if there is no file."""
        return row if self.places is None else int(self.places[row])


def load_dataset(data: DigitsData | FileData) -> Dataset:
    """Return all rows of a stored dataset.

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
        features=data.features,
        strip_labels=data.strip_labels,
    )
    return Dataset(
        table.features,
        table.X,
        table.codes,
        table.classes,
        notices=table.notices,
        places=table.places,
        unit=table.unit,
    )


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    scans = load_digits()
    return Dataset(tuple(scans.feature_names), scans.data, scans.target.astype(str))


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
    return Dataset(quadrants.FEATURES, X, y)


def make_test_points(data: QuadrantsData, n: int, seed: int) -> Dataset:
    """Generate the test points: uniform, correctly labelled, from a random stream of their own.

    The stream depends on both seeds, so no choice of seeds makes the test and training parts equal.
    """
    X = _uniform_points(np.random.default_rng([seed, data.seed, 1]), n)
    return Dataset(quadrants.FEATURES, X, quadrants.label_quadrants(X))


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
