"""Labels: the classes of y, and the network's targets and answers in their terms."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from quadnet.predictor import decide
from quadnet.types import BoolArray, FloatArray, IntArray


class Labels:
    """The sorted classes of a problem, and whether a row may have several.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted and distinct.
    multilabel : bool
        Whether y is an indicator matrix with one column a class.
    """

    def __init__(self, classes: NDArray[np.generic], *, multilabel: bool) -> None:
        self.classes = classes
        self.multilabel = multilabel

    @classmethod
    def of(cls, y: Any) -> "Labels":
        """Return the labels of y, all of it.

        Raises
        ------
        ValueError
            If y holds anything but classes, or more than one output that is no indicator.
        """
        multilabel = cls._is_multilabel(y)
        return cls(np.arange(y.shape[1]) if multilabel else np.unique(y), multilabel=multilabel)

    @classmethod
    def with_part(cls, y: Any, classes: Any, *, multilabel: bool | None = None) -> "Labels":
        """Return the labels `classes`, of which y has some.

        Raises
        ------
        ValueError
            As `of`; or if y has others, or does not say one or several of them for each row as
            `multilabel` says it must.
        """
        labels = cls(np.unique(np.asarray(classes)), multilabel=cls._is_multilabel(y))
        if multilabel not in (None, labels.multilabel):
            expected = "a column for each label" if multilabel else "one label a row"
            raise ValueError(f"y must have {expected}, as before. Got the shape {y.shape}.")
        if labels.multilabel and y.shape[1] != len(labels.classes):
            raise ValueError(
                f"y must have a column for each of the {len(labels.classes)} classes. "
                f"Got {y.shape[1]} columns."
            )
        present = labels.classes if labels.multilabel else np.unique(y)
        if len(np.setdiff1d(present, labels.classes)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {labels.classes}. "
                f"'y' has {present}."
            )
        return labels

    @staticmethod
    def _is_multilabel(y: Any) -> bool:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with more than two values each. Several columns must be "
                "0/1 indicators, one a label; for several outputs of many classes wrap the "
                "estimator in sklearn.multioutput.MultiOutputClassifier."
            )
        return bool(kind.startswith("multilabel"))

    @property
    def n_outputs(self) -> int:
        """How many outputs the network needs: one is enough for two classes."""
        n = len(self.classes)
        return n if self.multilabel or n > 2 else 1

    def targets(self, y: Any) -> BoolArray:
        """Return what the network's outputs should be: booleans, (n_rows, n_outputs)."""
        if self.multilabel:
            dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            return dense.astype(bool)
        indices = self.indices(y)
        if self.n_outputs == 1:
            return np.equal(indices, 1)[:, np.newaxis]
        targets = np.zeros((len(indices), len(self.classes)), bool)
        targets[np.arange(len(indices)), indices] = True
        return targets

    def indices(self, y: Any) -> IntArray:
        """Return where in `classes` each row's class is; y has one class a row."""
        present, codes = np.unique(y, return_inverse=True)
        indices: IntArray = np.searchsorted(self.classes, present)[codes.reshape(-1)]
        return indices

    def coverage(self, y: Any, weights: FloatArray | None) -> tuple[BoolArray, BoolArray]:
        """Return for each class whether any row has it, and whether any row lacks it.

        Rows of weight 0 do not count.
        """
        counted = slice(None) if weights is None else np.flatnonzero(weights)
        if self.multilabel:
            targets = self.targets(y)[counted]
            return np.any(targets, axis=0), np.any(~targets, axis=0)
        indices = self.indices(y)[counted]
        counts = np.bincount(indices, minlength=len(self.classes))
        return counts > 0, counts < len(indices)

    def decide(self, Z: FloatArray) -> NDArray[np.generic]:
        """Return each row's label, or its 0/1 row of labels, from the network's logits."""
        return decide(Z, self.classes, multilabel=self.multilabel)
