"""The score that early stopping maximises, by any scikit-learn scorer.

Held-out rows may lack some of the classes, for which many of scikit-learn's scorers fail.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from numbers import Real
from typing import Any, cast

import numpy as np
from sklearn import metrics
from sklearn.metrics import check_scoring

from quadnet.estimator.constraints import invalid_parameter
from quadnet.estimator.fitting.early_stopping import (
    Validation,
    compute_accuracy,
    compute_loss,
    compute_r2,
)
from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.labels import Labels
from quadnet.estimator.targets.numbers import Numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray

RowScorer = Callable[[Any, Any, Any], Any]
"""A function of a fitted estimator, rows and their labels, which returns a number."""

_COMPARISONS_OF_CLASSES = {
    "average_precision_score",
    "d2_brier_score",
    "d2_log_loss_score",
    "roc_auc_score",
}
"""Metrics of `sklearn.metrics` that are not defined for rows of one class only."""


def make_validation(
    config: TrainingConfig,
    rows: TargetRows | None,
    estimator: Any,
    make_fitted: Callable[[Network], Any],
) -> Validation | None:
    """Return the rows with the score that the parameter `scoring` stands for; None for no rows.

    Parameters
    ----------
    config : TrainingConfig
        With `scoring`: 'accuracy', 'r2', 'loss', the name of a scikit-learn scorer, or a scorer.
    rows : TargetRows or None
    estimator : estimator
        Whose parameter it is.
    make_fitted : callable
        Returns an estimator that is fitted with the given network.

    Raises
    ------
    InvalidParameterError
        If `scoring` is the name of no scorer.
    ValueError
        If the metric is not defined for these rows.
    """
    if rows is None:
        return None
    scoring = config.scoring
    if scoring == "accuracy" and isinstance(rows.encoding, Labels):
        return Validation(rows, lambda network: compute_accuracy(network, rows))
    if scoring == "r2" and isinstance(rows.encoding, Numbers):
        return Validation(rows, lambda network: compute_r2(network, rows))
    if scoring == "loss":
        return Validation(rows, lambda network: -compute_loss(network, rows))
    try:
        scorer = check_scoring(estimator, scoring)
    except ValueError:
        default = "accuracy" if isinstance(rows.encoding, Labels) else "r2"
        raise invalid_parameter(
            type(estimator).__name__,
            "scoring",
            scoring,
            f"{default!r}, 'loss', a name from sklearn.metrics.get_scorer_names() or a callable",
        ) from None
    score_rows = make_row_scorer(scorer, rows.y, rows.encoding, rows.weights)

    def score(network: Network) -> float:
        fitted = make_fitted(copy.deepcopy(network))
        try:
            value = score_rows(fitted, rows.X, rows.y)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"scoring={scoring!r} failed on the held-out rows. Choose a scorer for labels of "
                f"this kind, or scoring='loss'. The scorer's error: {error}"
            ) from error
        number = np.asarray(float(value) if isinstance(value, Real) else value)
        if number.ndim or number.dtype.kind not in "biuf" or np.isnan(number):
            raise ValueError(f"scoring must return a number. Got {value!r} from {scoring!r}.")
        return float(number)

    return Validation(rows, score)


def make_row_scorer(
    scorer: Any, y: Any, encoding: TargetEncoding, weights: FloatArray | None
) -> RowScorer:
    """Return a function that scores rows labelled y as `scorer` does.

    Where y lacks classes, a scorer that `sklearn.metrics.make_scorer` made from a metric of
    probabilities or logits is called with the list of all classes, if the metric has a parameter
    for it. Average precision and the area under the ROC curve (of each class against the rest)
    become the mean over the classes that y has.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)``, as `sklearn.metrics.check_scoring` returns it.
    y : array-like of shape (n_rows,) or (n_rows, n_labels)
    encoding : TargetEncoding
        For a classifier the labels of the whole problem.
    weights : ndarray of shape (n_rows,) or None
        Passed as `sample_weight` if the scorer has that parameter.

    Raises
    ------
    ValueError
        If the metric compares classes and y has only one.
    """
    # scikit-learn has no public way to read a scorer's metric. Without these attributes the scorer
    # is called unchanged.
    metric: Any = getattr(scorer, "_score_func", None)
    options: Any = getattr(scorer, "_kwargs", None)
    if isinstance(metric, partial) and isinstance(options, Mapping):
        metric, options = metric.func, {**metric.keywords, **options}
    if metric is None or not isinstance(options, Mapping) or not isinstance(encoding, Labels):
        given = _weights_for(scorer, weights)
        return lambda estimator, X, y: scorer(estimator, X, y, **given)

    labels = encoding
    name = getattr(metric, "__name__", "")
    single_label = not labels.multilabel and labels.n_outputs > 1
    multi_class = options.get("multi_class") if single_label else None
    # scikit-learn accepts no weights for the area under the curves of pairs of classes.
    given = {} if multi_class == "ovo" else _weights_for(metric, weights)
    has, lacks = labels.coverage(y, given.get("sample_weight"))
    if has.sum() == 1 and not lacks[has].any() and name in _COMPARISONS_OF_CLASSES:
        raise ValueError(
            f"scoring with {name} compares classes, but all held-out rows have the "
            f"class {labels.classes[has].tolist()[0]!r}. Hold out rows of several classes, or use "
            "scoring='loss'."
        )
    defined = has & lacks if metric is metrics.roc_auc_score else has
    mean_of_columns = options.get("average", "macro") in {"macro", "weighted"} and (
        metric is metrics.average_precision_score
        or (metric is metrics.roc_auc_score and (labels.multilabel or multi_class == "ovr"))
    )
    if labels.n_outputs > 1 and mean_of_columns and not defined.all():
        return _mean_over(defined, scorer, labels, given)
    from_labels = getattr(scorer, "_response_method", "predict") == "predict"
    if labels.multilabel and not from_labels:
        # scikit-learn treats two labels as two classes, and would score one column of the two.
        return _mean_over(np.full(labels.n_outputs, True), scorer, labels, given)
    accepted = {} if labels.multilabel else _parameters_of(metric)
    if "labels" in accepted and not from_labels and not has.all():
        given |= {"labels": labels.classes}
    is_binary = labels.n_outputs == 1 and options.get("average", "binary") == "binary"
    has_positive = "pos_label" in accepted and (is_binary or not from_labels)
    if has_positive and accepted["pos_label"].default not in labels.classes.tolist():
        given |= {"pos_label": labels.classes[-1]}  # the class whose column the scorer reads
    made = copy.copy(scorer)
    made._kwargs = {**given, **options}  # noqa: SLF001
    return _without_regression_warning(made, y)


def _parameters_of(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    return signature(function).parameters


def _weights_for(function: Callable[..., Any], weights: FloatArray | None) -> dict[str, Any]:
    accepted = _parameters_of(function)
    has_parameter = "sample_weight" in accepted or any(
        p.kind == p.VAR_KEYWORD for p in accepted.values()
    )
    return {} if weights is None or not has_parameter else {"sample_weight": weights}


def _mean_over(columns: BoolArray, scorer: Any, labels: Labels, given: dict[str, Any]) -> RowScorer:
    """Return a scorer of the mean of its metric over the columns of these classes only."""
    if not columns.any():
        raise ValueError(
            f"scoring with {scorer._score_func.__name__} needs a label that some of the held-out "  # noqa: SLF001
            "rows have and others lack. There is no such label; use scoring='loss'."
        )
    options = {k: v for k, v in scorer._kwargs.items() if k not in {"multi_class", "labels"}}  # noqa: SLF001
    methods = scorer._response_method  # noqa: SLF001
    methods = [methods] if isinstance(methods, str) else methods

    def score(estimator: Any, X: Any, y: Any) -> Any:
        method = next(name for name in methods if hasattr(estimator, name))
        predicted = getattr(estimator, method)(X)[:, columns]
        targets = labels.encode(y)[:, columns]
        if targets.shape[1] == 1:
            predicted, targets = predicted[:, 0], targets[:, 0]
        value = scorer._score_func(targets, predicted, **options, **given)  # noqa: SLF001
        return scorer._sign * value  # noqa: SLF001

    return score


def _without_regression_warning(scorer: Any, y: Any) -> RowScorer:
    """Return the scorer without scikit-learn's warning that y may be a regression's target."""
    many = np.ndim(y) == 1 and len(np.unique(y)) > round(0.5 * np.shape(y)[0])
    if not many:
        return cast("RowScorer", scorer)

    def score(estimator: Any, X: Any, y: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
            return scorer(estimator, X, y)

    return score
