"""The scikit-learn estimators: from a constructor's parameters and a table to a fitted network.

Imports `quadnet.nn` and scikit-learn; the pipeline imports it, the service never does. Start at
`base`, whose `_fit` names every step; `hyperparameters` makes the frozen configuration that the
other modules read.
"""

from quadnet.estimator.classifier import NeuralNetworkClassifier
from quadnet.estimator.regressor import NeuralNetworkRegressor

__all__ = ["NeuralNetworkClassifier", "NeuralNetworkRegressor"]
