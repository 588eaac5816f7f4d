"""Class labels: their checks, and how the outputs of a network encode them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from quadnet.estimator.user_warnings import warn_user
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.network import Network
from quadnet.nn.predictor import choose_labels
from quadnet.types import BoolArray, FloatArray, IntArray


class Labels:
    """The sorted classes of a problem, and whether a row may have several.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted and distinct.
    multilabel : bool
        Whether y is an indicator matrix with one column per class.
    """

    def __init__(self, classes: NDArray[np.generic], *, multilabel: bool) -> None:
        self.classes = classes
        self.multilabel = multilabel

    @classmethod
    def from_targets(cls, y: Any) -> "Labels":
        """Return the labels of a complete y.

        Raises
        ------
        ValueError
            If y does not hold classes, or has several columns that are not indicators.
        """
        multilabel = _is_multilabel(y)
        return cls(np.arange(y.shape[1]) if multilabel else np.unique(y), multilabel=multilabel)

    @classmethod
    def from_classes(cls, classes: NDArray[np.generic], y: Any) -> "Labels":
        """Return the labels of sorted, distinct classes, of which y may have only some.

        Raises
        ------
        ValueError
            If y has others.
        """
        labels = cls(classes, multilabel=_is_multilabel(y, classes_known=True))
        labels.check_targets(y)
        return labels

    def conform(self, y: Any) -> Any:
        """Return a later y as `encode` needs it.

        Raises
        ------
        ValueError
            If y has unknown labels, or is not multilabel as these labels are.
        """
        if not hasattr(y, "toarray"):
            y = np.asarray(y) if self.multilabel else column_or_1d(y)
        self.check_targets(y)
        return y

    def check_targets(self, y: Any) -> None:
        """Raise ValueError if y has unknown labels, or is not multilabel as these labels are."""
        if not self.multilabel and are_plain_labels(y) and y.dtype.kind == self.classes.dtype.kind:
            nearest = np.minimum(self.indices(y), len(self.classes) - 1)
            if (self.classes[nearest] == y).all():
                # The checks below take 200 microseconds, a third of an update of a small network.
                return
        if self.multilabel != _is_multilabel(y, classes_known=True):
            raise ValueError(f"y must have {self.target_shape}. Got an array of shape {y.shape}.")
        if self.multilabel and y.shape[1] != len(self.classes):
            raise ValueError(
                f"y must have one column for each of the {len(self.classes)} classes. "
                f"Got {y.shape[1]} columns."
            )
        present = self.classes if self.multilabel else np.unique(y)
        if not _is_subset(present, self.classes):
            # scikit-learn's own words, which its tests expect.
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. "
                f"'y' has {present}."
            )

    def choose_loss(self, loss: str) -> str:
        """Return the network's loss, by its name, for the estimator's parameter `loss`."""
        names = LOSS_PARAMETERS[loss]
        if self.multilabel:
            return names.several_labels
        return names.two_classes if self.n_outputs == 1 else names.several_classes

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The losses of classes have no settings."""
        return {}

    @property
    def unscaled(self) -> "Labels":
        """The same labels: classes have no units."""
        return self

    def measured(self, y: Any, weights: FloatArray | None) -> "Labels":
        """Return the same labels: classes have no units."""
        return self

    def to_units(self, network: Network) -> Network:
        """Return the same network: classes have no units."""
        return network

    def from_units(self, network: Network) -> None:
        """Leave the network as it is: classes have no units."""

    def fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes of a fitted estimator that describe y."""
        return {"_labels": self, "classes_": self.classes}

    @property
    def target_shape(self) -> str:
        """The form that y must have, in words."""
        return "one column for each label" if self.multilabel else "one label per row"

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network: one for two classes."""
        n = len(self.classes)
        return n if self.multilabel or n > 2 else 1

    def encode(self, y: Any) -> BoolArray:
        """Return the target of each of the network's outputs, of shape (n_rows, n_outputs)."""
        if self.multilabel:
            dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            return dense.astype(bool)
        indices = self.indices(y)
        if self.n_outputs == 1:
            return np.equal(indices, 1)[:, np.newaxis]
        targets = np.zeros((len(indices), len(self.classes)), bool)
        targets[np.arange(len(indices)), indices] = True
        return targets

    def smooth(self, Y: BoolArray | FloatArray, smoothing: float) -> FloatArray:
        """Return targets of which a share is spread over all outcomes (Szegedy et al., 2016).

        An example has as many outcomes as there are classes; each label of a multilabel problem
        has two.
        """
        n_outcomes = 2 if self.multilabel or self.n_outputs == 1 else self.n_outputs
        return Y * (1.0 - smoothing) + smoothing / n_outcomes

    def indices(self, y: Any) -> IntArray:
        """Return the index in `classes` of each row's class; y has one class per row."""
        indices: IntArray = np.searchsorted(self.classes, y)
        return indices

    def coverage(self, y: Any, weights: FloatArray | None) -> tuple[BoolArray, BoolArray]:
        """Return for each class whether any row has it, and whether any row lacks it.

        Rows of weight 0 do not count.
        """
        counted = slice(None) if weights is None else np.flatnonzero(weights)
        if self.multilabel:
            targets = self.encode(y)[counted]
            return np.any(targets, axis=0), np.any(~targets, axis=0)
        indices = self.indices(y)[counted]
        counts = np.bincount(indices, minlength=len(self.classes))
        return counts > 0, counts < len(indices)

    def decode(self, Z: FloatArray) -> NDArray[np.generic]:
        """Return each row's label, or its 0/1 row of labels, from the network's logits."""
        return choose_labels(Z, self.classes, multilabel=self.multilabel)


_KINDS_OF_CLASSES = {"binary", "multiclass", "multiclass-multioutput", "multilabel-indicator"}
"""The results of `type_of_target` for which `check_classification_targets` raises no error."""


def are_plain_labels(y: Any) -> bool:
    """Whether y is a one-dimensional array of integers, booleans or strings."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iubU"


def _is_multilabel(y: Any, *, classes_known: bool = False) -> bool:
    """Whether y has a column for each label.

    Raises
    ------
    ValueError
        If y does not hold classes, or has several columns of other values than 0 and 1.
    """
    # scikit-learn warns that y could be a regression's if it has more classes than half the rows,
    # which is normal in a mini-batch of known classes. Two rows per class never cause the warning.
    inspected = np.tile(np.unique(y), 2) if classes_known and np.ndim(y) == 1 else y
    kind = type_of_target(inspected, input_name="y")
    if kind not in _KINDS_OF_CLASSES or not classes_known:
        check_classification_targets(inspected)
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns with more than two values each. Several columns must be "
            "0/1 indicators, one per label; for several outputs of many classes wrap the "
            "estimator in sklearn.multioutput.MultiOutputClassifier."
        )
    if not kind.startswith("multilabel"):
        return False
    values = y.tocsr().data if hasattr(y, "toarray") else np.asarray(y)
    if ((values != 0) & (values != 1)).any():
        values = np.unique(values)
        raise ValueError(
            "y with several columns must hold 0 and 1 only, 1 where the row has the label. Got the "
            f"values {values.tolist()}; pass y == {values.max().item()!r} if that stands for 1."
        )
    return True


def warn_if_one_hot(y: Any, labels: Labels) -> None:
    """Warn if y is multilabel, but every row has exactly one label."""
    if not labels.multilabel or y.shape[0] < 2 or y.shape[1] < 2:
        return
    if (np.asarray(y.sum(axis=1)) == 1).all():
        warn_user(
            "y looks one-hot: it has one column per label, and every row has exactly one label. "
            "The network learns each label independently and may predict no label, or several, "
            "for a row. For one class per row pass y.argmax(axis=1)."
        )


def _is_subset(present: NDArray[Any], classes: NDArray[Any]) -> bool:
    try:
        return not len(np.setdiff1d(present, classes))
    except TypeError:  # of types that NumPy cannot compare
        return False


def are_same_classes(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays of sorted classes are equal."""
    try:
        return np.array_equal(a, b)
    except TypeError:  # of types that NumPy cannot compare
        return False


def are_more_classes(found: NDArray[Any], known: NDArray[Any]) -> bool:
    """Whether sorted classes of the same kind have all that are known, and others."""
    same_kind = found.dtype.kind == known.dtype.kind
    return same_kind and len(found) > len(known) and _is_subset(known, found)


def sort_classes(classes: Any) -> NDArray[np.generic]:
    """Return the sorted, distinct classes of a caller's list.

    Raises
    ------
    ValueError
        If it is not a list of labels of one kind.
    """
    try:
        given = np.asarray(classes)
    except (TypeError, ValueError):  # lists of different lengths, or what NumPy cannot convert
        given = np.empty((0, 0))
    if given.ndim != 1 or not len(given):
        raise ValueError(
            "`classes` must be a list or one-dimensional array of all labels, such as "
            f"np.unique(y). Got {classes!r}."
        )
    # NumPy converts the numbers of a list that also holds strings to strings.
    mixed = given.dtype.kind == "U" and not all(isinstance(label, str) for label in classes)
    if mixed:
        given = np.asarray(classes, dtype=object)
    try:
        found = np.unique(given)
        with np.errstate(invalid="ignore"):  # NaN is an error below
            check_classification_targets(np.tile(found, 2))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`classes` must hold labels of one kind: strings, integers or booleans. {error}"
        ) from None
    return found
