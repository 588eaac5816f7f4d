"""Fit, search, pickle and freeze the estimators; a program for environments without pytest."""

import pickle

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quadnet import NeuralNetworkClassifier

PARAMETERS = {"neuralnetworkclassifier__alpha": [1e-4, 1e-2]}


def check_estimators():
    X, y = load_iris(return_X_y=True)
    for solver in ("adam", "sgd", "lbfgs"):
        net = NeuralNetworkClassifier(
            (8,), solver=solver, learning_rate_init=0.1, max_iter=2000, random_state=0
        )
        search = GridSearchCV(make_pipeline(StandardScaler(), net), PARAMETERS, cv=3, n_jobs=2)
        best = search.fit(X, y).best_estimator_
        assert best.score(X, y) > 0.9
        again = pickle.loads(pickle.dumps(best))
        np.testing.assert_array_equal(again.predict_proba(X), best.predict_proba(X))
        clone(best).fit(X, y)
        network = best[-1]
        frozen = network.freeze()
        scaled = best[:-1].transform(X)
        assert (frozen.predict(scaled) == network.predict(scaled)).all()
        restored = NeuralNetworkClassifier.from_arrays(network.to_arrays())
        assert (restored.predict(scaled) == network.predict(scaled)).all()
    print("The estimators work.")


if __name__ == "__main__":
    check_estimators()
