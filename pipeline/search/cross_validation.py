"""Split the training and validation rows of a run into folds, for the search."""

import hashlib
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, make_splits
from pipeline.data.targets import ClassTarget, Target, concatenate_targets
from quadnet.errors import UnsuitableData
from quadnet.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Folds:
    """The rows of a search, which of them a run holds out for validation, and each row's fold."""

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
    config: RunConfig, n_folds: int, seed: int, *, splits: DataSplits | None = None
) -> Folds:
    """Split the run's training and validation rows, `splits` if given, into folds.

    Equal rows are in the same fold, because a network must not be measured on its training rows. So
    are all rows of a group, if the run splits by groups.

    Raises
    ------
    UnsuitableData
        If a class has too few distinct rows for so many folds.
    InvalidInput
        If a file is malformed.
    """
    splits = splits or make_splits(config)
    rows, held_out = splits.train, np.zeros(len(splits.train), bool)
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    if splits.validation is not None:
        rows = Dataset(
            rows.features,
            np.concatenate([part.X for part in parts]),
            concatenate_targets(rows.target, splits.validation.target),
            weights=None
            if rows.weights is None
            else np.concatenate([part.weights for part in parts if part.weights is not None]),
        )
        held_out = np.arange(len(rows)) >= len(splits.train)
    together = rows.row_hashes(0)
    if splits.train.groups is not None:
        together = np.concatenate([part.split_places(0) for part in parts])
    fold_of, target = _assign_folds(rows.target, together, n_folds, seed), rows.target
    if not isinstance(target, ClassTarget):
        return Folds(rows, held_out, fold_of)
    for fold in range(n_folds):
        rest = fold_of != fold
        for others in (fold_of == fold, rest & held_out):
            unseen = np.setdiff1d(target.codes[others], target.codes[rest & ~held_out])
            if len(unseen):
                name = str(target.classes[unseen[0]])
                raise UnsuitableData(
                    f"Fold {fold + 1} has rows of class {name!r}, but the other folds have 0 "
                    "training rows of it. Use more data, or fewer folds in search.folds."
                )
    return Folds(rows, held_out, fold_of)


def _assign_folds(target: Target, together: FloatArray, n_folds: int, seed: int) -> IntArray:
    """Return each row's fold; each class, if there are any, is spread evenly over the folds.

    Parameters
    ----------
    target : Target
    together : ndarray of shape (n_rows,)
        Rows with the same number, such as equal rows or those of a group, stay in one fold.
    n_folds, seed : int
    """
    _, first, copy_of = np.unique(together, return_index=True, return_inverse=True)
    # The distinct rows, in the order of their first occurrence.
    order = np.argsort(first)
    if isinstance(target, ClassTarget):
        labels = target.codes[first[order]]
        smallest, of = int(min(np.unique(labels, return_counts=True)[1])), " of the rarest class"
        kind = StratifiedKFold
    else:
        labels, smallest, of, kind = order, len(order), "", KFold
    if smallest < n_folds:
        raise UnsuitableData(
            f"search.folds: expected at most {smallest}, the number of distinct training rows{of}, "
            f"got {n_folds}."
        )
    of_distinct = np.empty(len(first), np.int64)
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    for fold, (_, chosen) in enumerate(splitter.split(labels, labels)):
        of_distinct[order[chosen]] = fold
    return of_distinct[copy_of]
