"""scikit-learn's MLP, which the estimator is held against."""

import inspect
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

MLP_TAKES_WEIGHTS = "sample_weight" in inspect.signature(MLPClassifier.fit).parameters
"""From scikit-learn 1.7 on."""


def fit(estimator, *data, **options):
    """Fit an estimator for as many epochs as it has, be they too few or not; return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data, **options)
