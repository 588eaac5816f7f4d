"""The parts of a run's data: what is trained on, what is tuned on, and the sealed rest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import datasets
from pipeline.config import QuadrantsData, RunConfig
from pipeline.datasets import Dataset
from quadnet.errors import InvalidSetting
from quadnet.types import FloatArray


class Sealed:
    """The test part, to be read once, for the final judgement."""

    def __init__(self, part: Dataset) -> None:
        self._part: Dataset | None = part

    def open(self) -> Dataset:
        """Return the part. A second time is a fault of ours: nothing may be tuned on it."""
        assert self._part is not None, "the test part has been read"
        part, self._part = self._part, None
        return part


@dataclass(frozen=True)
class Parts:
    """What a run trains on, chooses the epoch and the temperature by, and is judged by."""

    train: Dataset
    validation: Dataset | None
    test: Sealed


def of(config: RunConfig) -> Parts:
    """Make or read the data, and part them.

    Raises
    ------
    InvalidSetting
        If a part has no rows, or rows in common with another.
    InvalidInput
        If a file is not as it must be.
    """
    data, seed = config.data, config.test.seed
    if isinstance(data, QuadrantsData):
        rest = datasets.training_points(data)
        assert config.test.points is not None
        test = datasets.test_points(data, config.test.points, seed)
        places = row_hashes(rest.X, seed)
    else:
        everything = datasets.stored(data)
        share = config.test.share
        assert share is not None
        places = row_hashes(everything.X, seed)
        test, rest = everything.rows(places < share), everything.rows(places >= share)
        # What is left of the unit interval is the whole of it for the next cut.
        places = (places[places >= share] - share) / (1.0 - share)
    train = rest.rows(places >= config.validation)
    validation = rest.rows(places < config.validation) if config.validation else None
    _check(train, validation, test)
    return Parts(train, validation, Sealed(test))


def row_hashes(X: FloatArray, seed: int) -> FloatArray:
    """Return a number in [0, 1) for each row of X (n_rows, n_features), by its values alone.

    So equal rows are never parted, and a row's part does not depend on the rows around it. Each
    value's bits go through the mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    state = _mixed(np.full(len(X), seed, np.uint64))
    # Adding 0 makes -0.0, which equals it, the same bits.
    for column in np.ascontiguousarray((X.astype("<f8") + 0.0).T):
        state = _mixed(state ^ column.view(np.uint64))
    return state / 2.0**64


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _check(train: Dataset, validation: Dataset | None, test: Dataset) -> None:
    named = {"train": train, "validation": validation, "test": test}
    parts = {name: part for name, part in named.items() if part is not None}
    for name, part in parts.items():
        if not len(part.y):
            sizes = ", ".join(f"{len(other.y):,} {what}" for what, other in parts.items())
            raise InvalidSetting(
                f"There are too few rows: the {name} part has none ({sizes}). Give more data, or "
                "other shares in `validation` and `test.share`."
            )
        unseen = sorted(set(part.y) - set(train.y))
        if unseen:
            raise InvalidSetting(
                f"The {name} part has rows of class {unseen[0]!r} and the part to train on "
                f"({len(train.y):,} rows) has none: give more data, or another test.seed."
            )
    for name in ("validation", "test"):
        common = _common_rows(train, parts[name]) if name in parts else 0
        if common:
            raise InvalidSetting(
                f"{common:,} rows of the {name} part are in the part to train on too: nothing "
                "could be judged by them."
            )


def _common_rows(one: Dataset, other: Dataset) -> int:
    """Return how many rows of `other` have features that `one` has too."""
    width = one.X.shape[1]
    as_rows = [
        np.ascontiguousarray(part.X + 0.0).view([("", np.float64)] * width).ravel()
        for part in (one, other)
    ]
    return int(np.isin(as_rows[1], as_rows[0]).sum())
