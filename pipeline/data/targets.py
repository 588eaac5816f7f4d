"""Targets: what is predicted for each row, which is a class, a number, or several labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quadnet.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ClassTarget:
    """The class of each row.

    Classes are stored as indices: an array of text takes the longest label's memory in every row.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Each row's class, as an index into `classes`.
    classes : ndarray of str
        Sorted and distinct; a class may have no row here.
    """

    codes: IntArray
    classes: NDArray[np.str_]

    @classmethod
    def from_labels(cls, labels: Any) -> Self:
        """Return the target of these labels, one for each row; they become text."""
        classes, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        return cls(codes, classes)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def y(self) -> NDArray[np.str_]:
        """The label of each row, as text."""
        return self.classes[self.codes]

    @property
    def class_rows(self) -> dict[str, int]:
        """The number of rows of each class that has any."""
        counts = np.bincount(self.codes, minlength=len(self.classes)).tolist()
        return {str(name): n for name, n in zip(self.classes, counts, strict=True) if n}

    @property
    def present_classes(self) -> NDArray[np.str_]:
        """The classes that any row has, sorted."""
        return self.classes[np.unique(self.codes)]

    def indices(self, names: NDArray[np.generic]) -> IntArray:
        """Return each row's class as an index into `names`, which are sorted and include all."""
        return np.searchsorted(names.astype(str), self.classes)[self.codes]

    def take(self, chosen: BoolArray | IntArray) -> "ClassTarget":
        """Return the target of the chosen rows, with the same classes."""
        return ClassTarget(self.codes[chosen], self.classes)

    def content(self) -> Iterator[bytes]:
        """Yield the bytes that a digest of the target covers, equal on every machine."""
        names = self.classes.tolist()
        yield "\n".join(names[code] for code in self.codes.tolist()).encode()


@dataclass(frozen=True)
class NumberTarget:
    """The number to predict for each row.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)
    """

    values: FloatArray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def y(self) -> FloatArray:
        """The number of each row."""
        return self.values

    @property
    def class_rows(self) -> dict[str, int]:
        """Empty: numbers have no classes."""
        return {}

    def take(self, chosen: BoolArray | IntArray) -> "NumberTarget":
        """Return the target of the chosen rows."""
        return NumberTarget(self.values[chosen])

    def content(self) -> Iterator[bytes]:
        """Yield the bytes that a digest of the target covers, equal on every machine."""
        # Adding 0 gives -0.0 the same bits as 0.0, because the two are equal.
        yield (self.values.astype("<f8") + 0.0).tobytes()


@dataclass(frozen=True)
class LabelsTarget:
    """Several labels, each of which a row has or has not.

    Parameters
    ----------
    Y : ndarray of int8, shape (n_rows, n_labels)
        1 where the row has the label, 0 elsewhere.
    names : tuple of str
        The labels, in the order of the columns of Y.
    """

    Y: NDArray[np.int8]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.Y)

    @property
    def y(self) -> NDArray[np.int8]:
        """The labels of each row, of shape (n_rows, n_labels)."""
        return self.Y

    @property
    def class_rows(self) -> dict[str, int]:
        """The number of rows of each label that any row has."""
        counts = self.Y.sum(axis=0, dtype=np.int64).tolist()
        return {name: n for name, n in zip(self.names, counts, strict=True) if n}

    def take(self, chosen: BoolArray | IntArray) -> "LabelsTarget":
        """Return the target of the chosen rows, with the same labels."""
        return LabelsTarget(self.Y[chosen], self.names)

    def reorder(self, names: Sequence[str]) -> "LabelsTarget":
        """Return the target with the same labels in another order."""
        return LabelsTarget(self.Y[:, [self.names.index(name) for name in names]], tuple(names))

    def content(self) -> Iterator[bytes]:
        """Yield the bytes that a digest of the target covers, equal on every machine."""
        yield repr(self.names).encode()
        yield np.ascontiguousarray(self.Y, "i1").tobytes()


Target = ClassTarget | NumberTarget | LabelsTarget


def replace_values(target: Target, values: NDArray[Any]) -> Target:
    """Return a target like this one for other rows.

    Parameters
    ----------
    target : Target
    values : ndarray of shape (n_rows,) or (n_rows, n_labels)
        As `encoded_values` returns them.
    """
    if isinstance(target, ClassTarget):
        return ClassTarget(values, target.classes)
    if isinstance(target, NumberTarget):
        return NumberTarget(values)
    return LabelsTarget(values, target.names)


def encoded_values(target: Target) -> NDArray[Any]:
    """Return the rows of a target as numbers: indices of classes, numbers, or rows of 0 and 1."""
    return target.codes if isinstance(target, ClassTarget) else target.y


def concatenate_targets(one: Target, other: Target) -> Target:
    """Return the target of the rows of both, which are parts of one dataset."""
    if isinstance(one, ClassTarget) and isinstance(other, ClassTarget):
        return ClassTarget(np.concatenate([one.codes, other.codes]), one.classes)
    if isinstance(one, NumberTarget) and isinstance(other, NumberTarget):
        return NumberTarget(np.concatenate([one.values, other.values]))
    assert isinstance(one, LabelsTarget)
    assert isinstance(other, LabelsTarget)
    return LabelsTarget(np.concatenate([one.Y, other.Y]), one.names)
