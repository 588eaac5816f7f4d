"""Datasets: rows, labels, and a digest of both."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pipeline.config import DigitsData, QuadrantsData, RunConfig, TestPart
from quadnet import quadrants
from quadnet.errors import InvalidSetting
from quadnet.types import FloatArray


@dataclass(frozen=True)
class Dataset:
    """Rows X of shape (n_rows, n_features) and their labels y."""

    features: tuple[str, ...]
    X: FloatArray
    y: NDArray[np.str_]

    def sha256(self) -> str:
        """Return a digest over the content, independent of the machine's byte order."""
        digest = hashlib.sha256(repr((self.features, self.X.shape)).encode())
        digest.update(self.X.astype("<f8").tobytes())
        digest.update("\n".join(self.y.tolist()).encode())
        return digest.hexdigest()


def parts(config: RunConfig) -> tuple[Dataset, Dataset]:
    """Return the rows to train on and the rows to be judged by.

    Raises
    ------
    InvalidSetting
        If more rows are to be put aside than there are.
    """
    if isinstance(config.data, DigitsData):
        return _digits(config.test)
    return _training_points(config.data), _test_points(config.data, config.test)


def _digits(test: TestPart) -> tuple[Dataset, Dataset]:
    scans = load_digits()
    names, labels = tuple(scans.feature_names), scans.target.astype(str)
    most = len(labels) - 100
    if not 10 <= test.points <= most:
        raise InvalidSetting(
            f"test.points must be from 10 to {most} of the {len(labels)} scans. Got {test.points}."
        )
    train, held = train_test_split(
        np.arange(len(labels)), test_size=test.points, stratify=labels, random_state=test.seed
    )
    return (
        Dataset(names, scans.data[train], labels[train]),
        Dataset(names, scans.data[held], labels[held]),
    )


def _training_points(data: QuadrantsData) -> Dataset:
    """Generate the points to train on."""
    rng = np.random.default_rng(data.seed)
    if data.placement == "centres":
        X = np.resize(quadrants.CENTRES, (data.points, 2))
    else:
        X = _uniform_points(rng, data.points)
    if data.draws is not None:
        X = X[rng.integers(len(X), size=data.draws)]
    return Dataset(quadrants.FEATURES, X, quadrants.label(X))


def _test_points(data: QuadrantsData, test: TestPart) -> Dataset:
    """Generate the held-out points: uniform, from a stream of their own.

    The stream is keyed by both seeds, so that no choice of them can make the two parts equal.
    """
    X = _uniform_points(np.random.default_rng([test.seed, data.seed, 1]), test.points)
    return Dataset(quadrants.FEATURES, X, quadrants.label(X))


def _uniform_points(rng: np.random.Generator, n: int) -> FloatArray:
    X = rng.uniform(-1.0, 1.0, (n, 2))
    # A coordinate of exactly 0 has no quadrant; it comes up about once in 2**53 draws.
    X[X == 0] = 0.5
    return X
