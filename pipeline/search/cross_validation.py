"""The folds of a search: the rows to train and validate on, parted for cross-validation."""

import hashlib
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, make_splits
from quadnet.errors import UnsuitableData
from quadnet.types import BoolArray, IntArray


@dataclass(frozen=True)
class Folds:
    """The rows to search on, which of them a run holds out for validation, and each one's fold."""

    rows: Dataset
    held_out: BoolArray
    fold_of: IntArray

    def sha256(self) -> str:
        """Return the digest of the rows and of how they are split."""
        digest = hashlib.sha256(self.rows.sha256().encode())
        digest.update(self.held_out.astype("u1").tobytes())
        digest.update(self.fold_of.astype("<i8").tobytes())
        return digest.hexdigest()


def make_folds(
    config: RunConfig, n_folds: int, seed: int, *, own: DataSplits | None = None
) -> Folds:
    """Part the run's rows to train and validate on, read here unless given, into folds.

    Equal rows are in one fold, or a network would be measured on what it has been shown.

    Raises
    ------
    UnsuitableData
        If a fold would be measured on a class that the others have too few rows of.
    InvalidInput
        If a file is not as it must be.
    """
    own = own or make_splits(config)
    rows, held_out = own.train, np.zeros(len(own.train), bool)
    if own.validation is not None:
        rows = Dataset(
            rows.features,
            np.concatenate([rows.X, own.validation.X]),
            np.concatenate([rows.codes, own.validation.codes]),
            rows.classes,
        )
        held_out = np.arange(len(rows)) >= len(own.train)
    fold_of = _assign_folds(rows, n_folds, seed)
    for fold in range(n_folds):
        rest = fold_of != fold
        for others in (fold_of == fold, rest & held_out):
            unseen = np.setdiff1d(rows.codes[others], rows.codes[rest & ~held_out])
            if len(unseen):
                name = str(rows.classes[unseen[0]])
                raise UnsuitableData(
                    f"Fold {fold + 1} has rows of class {name!r} and those to train on have none:"
                    " give more data, or fewer folds in search.folds."
                )
    return Folds(rows, held_out, fold_of)


def _assign_folds(rows: Dataset, n_folds: int, seed: int) -> IntArray:
    """Return each row's fold, the classes in equal shares."""
    _, first, copy_of = np.unique(rows.X + 0.0, axis=0, return_index=True, return_inverse=True)
    # The distinct rows, in the order in which they first come up.
    order = np.argsort(first)
    labels = rows.codes[first[order]]
    smallest = min(np.unique(labels, return_counts=True)[1])
    if smallest < n_folds:
        raise UnsuitableData(
            f"search.folds: expected at most {smallest}, because the rarest class has no more "
            f"distinct rows to train on, got {n_folds}."
        )
    of_distinct = np.empty(len(first), np.int64)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, chosen) in enumerate(splitter.split(labels, labels)):
        of_distinct[order[chosen]] = fold
    return of_distinct[copy_of]
