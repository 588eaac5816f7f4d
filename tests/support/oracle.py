"""scikit-learn's MLP, the reference for the estimator."""

import inspect
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

MLP_TAKES_WEIGHTS = "sample_weight" in inspect.signature(MLPClassifier.fit).parameters
"""Whether scikit-learn has version 1.7 or later."""


def fit(estimator, *data, **options):
    """Fit an estimator without its ConvergenceWarning, and return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data, **options)
