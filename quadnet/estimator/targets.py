"""Labels: the classes of y, and the network's targets and answers in their terms."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from quadnet.estimator.fit_warnings import warn
from quadnet.nn.predictor import choose_labels
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
        multilabel = _is_multilabel(y)
        return cls(np.arange(y.shape[1]) if multilabel else np.unique(y), multilabel=multilabel)

    @classmethod
    def among(cls, classes: Any, y: Any) -> "Labels":
        """Return the labels that a caller lists in `classes`, of which y has some.

        Raises
        ------
        ValueError
            If `classes` is not a list of classes, or as `check_part`.
        """
        multilabel = _is_multilabel(y, classes_known=True)
        labels = cls(distinct(classes), multilabel=multilabel)
        labels.check_part(y)
        return labels

    def check_part(self, y: Any) -> None:
        """Raise ValueError if y has other labels, or of another kind: one or several a row."""
        if self.multilabel != _is_multilabel(y, classes_known=True):
            expected = "a column for each label" if self.multilabel else "one label a row"
            raise ValueError(f"y must have {expected}, as before. Got the shape {np.shape(y)}.")
        if self.multilabel and y.shape[1] != len(self.classes):
            raise ValueError(
                f"y must have a column for each of the {len(self.classes)} classes. "
                f"Got {y.shape[1]} columns."
            )
        present = self.classes if self.multilabel else np.unique(y)
        if len(np.setdiff1d(present, self.classes)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. "
                f"'y' has {present}."
            )

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
        return choose_labels(Z, self.classes, multilabel=self.multilabel)


def _is_multilabel(y: Any, *, classes_known: bool = False) -> bool:
    """Whether y has a column for each label.

    Raises
    ------
    ValueError
        If y holds anything but classes, or several columns of anything but 0 and 1.
    """
    # scikit-learn warns that y could be a regression's if it has more classes than half the rows,
    # which says nothing when y is a mini-batch of known classes. Two rows a class never warn.
    twice_each = np.tile(np.unique(y), 2) if np.ndim(y) == 1 else y
    check_classification_targets(twice_each if classes_known else y)
    kind = type_of_target(twice_each, input_name="y")
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns with more than two values each. Several columns must be "
            "0/1 indicators, one a label; for several outputs of many classes wrap the "
            "estimator in sklearn.multioutput.MultiOutputClassifier."
        )
    if not kind.startswith("multilabel"):
        return False
    values = y.tocsr().data if hasattr(y, "toarray") else np.asarray(y)
    if ((values != 0) & (values != 1)).any():
        values = np.unique(values)
        raise ValueError(
            "y with several columns must say with 0 and 1 which labels a row has. Got the values "
            f"{values.tolist()}; pass y == {values.max().item()!r} if that value stands for 1."
        )
    return True


def warn_if_one_hot(y: Any, labels: Labels) -> None:
    """Warn if several labels a row may be learned from rows that all have exactly one."""
    if not labels.multilabel or y.shape[0] < 2 or y.shape[1] < 2:
        return
    if (np.asarray(y.sum(axis=1)) == 1).all():
        warn(
            "y looks one-hot: it has a column for each label, and every row has exactly one. The "
            "network learns each label by itself and may answer with none or several. For one "
            "class a row pass y.argmax(axis=1)."
        )


def distinct(classes: Any) -> NDArray[np.generic]:
    """Return the sorted, distinct classes of a caller's list.

    Raises
    ------
    ValueError
        If it is not a list of labels of one kind.
    """
    given = np.asarray(classes)
    if given.ndim != 1 or not len(given):
        raise ValueError(
            "`classes` must be a list or one-dimensional array of all labels, such as "
            f"np.unique(y). Got {classes!r}."
        )
    # NumPy turns the numbers of a list that holds strings too into strings.
    mixed = given.dtype.kind == "U" and not all(isinstance(label, str) for label in classes)
    if mixed:
        given = np.asarray(classes, dtype=object)
    try:
        found = np.unique(given)
        with np.errstate(invalid="ignore"):  # NaN is refused below in words
            check_classification_targets(np.tile(found, 2))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`classes` must hold labels of one kind: strings, integers or booleans. {error}"
        ) from None
    return found
