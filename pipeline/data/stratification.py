"""The choice of a share of each class's rows, while equal rows stay together."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data.datasets import Dataset
from quadnet.types import FloatArray, IntArray


def choose_stratified_rows(part: Dataset, places: FloatArray, share: float) -> NDArray[np.bool_]:
    """Choose the share of each class's rows, as nearly as possible while equal rows stay together.

    Groups of rows with equal places, such as equal rows, are visited in the order of their places.
    A group is chosen as a whole if the classes then come nearer to their shares, by the sum of
    squared distances over expected counts. So the labels decide how many rows of each class are
    chosen, but never between two equal rows. At least one group of each class is not chosen, and at
    least one is chosen if the class has two.

    Parameters
    ----------
    part : Dataset
    places : ndarray of shape (n_rows,)
        From `Dataset.split_places`.
    share : float

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    _, group_of = np.unique(places, return_inverse=True)
    groups = _Groups(part, group_of, share)
    for group in range(len(groups.chosen)):
        if groups.gain(group) > 0:
            groups.choose(group)
    groups.choose_of_absent_classes()
    return groups.chosen[group_of]


class _Groups:
    """Groups of equal rows, and which of them are chosen for a part."""

    def __init__(self, part: Dataset, group_of: IntArray, share: float) -> None:
        target = part.class_target
        n_classes = len(target.classes)
        pairs, counts = np.unique(group_of * n_classes + target.codes, return_counts=True)
        groups, classes = np.divmod(pairs, n_classes)
        self._rows_of: list[list[tuple[int, int]]] = [[] for _ in range(groups[-1] + 1)]
        for group, code, n in zip(groups.tolist(), classes.tolist(), counts.tolist(), strict=True):
            self._rows_of[group].append((code, n))
        self.chosen = np.zeros(len(self._rows_of), np.bool_)
        totals = np.bincount(target.codes, minlength=n_classes)
        self._totals: list[int] = totals.tolist()
        self._lacking: list[float] = (share * totals).tolist()
        # For each class, the number of groups with it that are not chosen.
        self._left: list[int] = np.bincount(classes, minlength=n_classes).tolist()
        self._absent = {code for code, total in enumerate(self._totals) if total}
        self._with_class = groups, classes

    def gain(self, group: int) -> float:
        """Return how much nearer the part would come to its shares with this group."""
        return sum(
            n * (2.0 * self._lacking[code] - n) / self._totals[code]
            for code, n in self._rows_of[group]
        )

    def choose(self, group: int) -> None:
        """Choose the group, unless it is the last with one of its classes."""
        if any(self._left[code] < 2 for code, _ in self._rows_of[group]):
            return
        self.chosen[group] = True
        for code, n in self._rows_of[group]:
            self._lacking[code] -= n
            self._left[code] -= 1
            self._absent.discard(code)

    def choose_of_absent_classes(self) -> None:
        """Choose one group of each class that has no group yet: the one with the largest gain."""
        groups, classes = self._with_class
        for code in sorted(self._absent):
            for group in sorted(groups[classes == code].tolist(), key=self.gain, reverse=True):
                if code in self._absent:
                    self.choose(group)
