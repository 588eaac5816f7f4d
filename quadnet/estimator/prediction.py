"""What a fitted estimator answers: labels, probabilities, logits, and a look inside."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import approx_fprime
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from quadnet.estimator.array_serialization import Plain
from quadnet.estimator.history import History
from quadnet.estimator.hyperparameters import Hyperparameters
from quadnet.estimator.sample_weights import row_weights
from quadnet.estimator.targets import Labels
from quadnet.nn import optimizers
from quadnet.nn.lbfgs import Objective
from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer
from quadnet.nn.predictor import Predictor, underflow_is_zero
from quadnet.types import FloatArray


class Answers(ClassifierMixin, Hyperparameters):
    """The methods of a classifier whose network has been trained."""

    classes_: NDArray[np.generic]
    n_features_in_: int
    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]
    _network: Network | None
    _history: History
    _optimizer: Optimizer | None
    _labels: Labels

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_network", None) is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # Arrays, numbers and names alone, so that a pickle, and a skops file, of an estimator
        # names one class: its own. Each weight once: the lists are the network's.
        state = dict(super().__getstate__())
        state.pop("_decay", None)
        if state.get("_network") is not None:
            state["_network"] = self._fitted_network().__getstate__()
            state["_labels"] = {"multilabel": self._labels.multilabel}
            del state["coefs_"], state["intercepts_"]
        if state.get("_history") is not None:
            state["_history"] = state["_history"].to_dict()
        if state.get("_optimizer") is not None:
            state["_optimizer"] = optimizers.optimizer_to_dict(state["_optimizer"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        network, labels = state.pop("_network", None), state.pop("_labels", None)
        history, optimizer = state.pop("_history", None), state.get("_optimizer")
        super().__setstate__(state)
        # Copies of the arrays: joblib may hand out read-only memory maps, and a shallow copy of an
        # estimator must not train the original's.
        if network is not None:
            self._network = Network.__new__(Network)
            self._network.__setstate__(dict(network))
            self._labels = Labels(self.classes_, **labels)
            self._show(self._network)
        if history is not None:
            self._history = History.from_dict(history)
        if optimizer is not None:
            self._optimizer = optimizers.optimizer_from_dict(optimizer)

    def _show(self, network: Network) -> None:
        """Let `coefs_` and `intercepts_` be the lists that the network predicts from."""
        self.coefs_ = network.parameters.weights
        self.intercepts_ = network.parameters.biases

    def _fitted_network(self) -> Network:
        """Return the network, predicting from the lists that the caller may have put in."""
        check_is_fitted(self)
        network = self._network
        assert network is not None
        parameters = network.parameters
        if self.coefs_ is not parameters.weights or self.intercepts_ is not parameters.biases:
            try:
                parameters.check_shapes(self.coefs_, self.intercepts_)
            except ValueError as error:
                raise ValueError(
                    f"coefs_ and intercepts_ do not fit the network: {error}."
                ) from None
            # Another network, so that calls that are under way finish with the one they have.
            network = network.with_lists(self.coefs_, self.intercepts_)
            self._network = network
        return network

    def _rows(self, X: Any) -> Any:
        """Validate X for predicting."""
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == getattr(self, "n_features_in_", -1)
            and len(X)
            and X.dtype.char in "fd"
            and not hasattr(self, "feature_names_in_")
            and np.isfinite(X).all()
        ):
            # Just what scikit-learn's validation would let through as it is, and that takes ten
            # times as long as a small network does for one row.
            return X
        return validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False
        )

    @underflow_is_zero
    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels from `classes_`, by the highest of `decision_function`; for multilabel problems,
            a row of 0 and 1 a sample, with 1 where the label's probability is above one half.

        Raises
        ------
        NotFittedError
            If there is no trained network.
        ValueError
            If X is not as it was in `fit`: columns, names, finite numbers.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).predict([[-3.0], [0.2]])
        array(['left', 'right'], dtype='<U5')
        """
        network = self._fitted_network()
        return self._labels.decide(network.logits(self._rows(X)))

    @underflow_is_zero
    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return each row's class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to 1, except for multilabel problems,
            where each column is the probability of one label.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).predict_proba([[0.0]]).round(2)
        array([[0.5, 0.5]])
        """
        network = self._fitted_network()
        probabilities = network.probabilities(self._rows(X))
        if len(self.classes_) == 1 and not self._labels.multilabel:
            # Trained on one class only, the network has a column for a second that does not exist.
            return np.ones_like(probabilities[:, :1])
        return probabilities

    @underflow_is_zero
    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Return the logarithm of each row's class probabilities.

        Computed from the logits, so that a probability too small for a float still has a finite
        logarithm.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            As `predict_proba`.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> -1e7 < net.fit([[-1.0], [1.0]], [0, 1]).predict_log_proba([[-1e6]])[0, 1] < -1e6
        np.True_
        """
        network = self._fitted_network()
        logarithms = network.log_probabilities(self._rows(X))
        if len(self.classes_) == 1 and not self._labels.multilabel:
            return np.zeros_like(logarithms[:, :1])
        return logarithms

    @underflow_is_zero
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the logits: the output layer's values before its softmax or sigmoids.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one number a row, above 0 for `classes_[1]`; otherwise a column a
            class, the highest of which `predict` chooses.

        Notes
        -----
        MLPClassifier has no such method. scikit-learn's meta-estimators prefer it to
        `predict_proba`, and where they predict across folds they need all classes in the training
        part of each: on sorted labels ``CalibratedClassifierCV(net, cv=KFold(3), ensemble=False)``
        is refused, as it is for `LogisticRegression`. Use `StratifiedKFold`, the default for
        classifiers.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).decision_function([[-2.0], [2.0]]) > 0
        array([False,  True])
        """
        Z = self._fitted_network().logits(self._rows(X))
        return Z[:, 0] if Z.shape[1] == 1 and not self._labels.multilabel else Z

    @underflow_is_zero
    def activations(self, X: ArrayLike) -> list[FloatArray]:
        """Return the values of every layer behind the inputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        list of ndarray, each of shape (n_samples, n_units)
            The hidden layers' activations; last the raw outputs, which for sigmoids need not sum
            to 1 as the rows of `predict_proba` do.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3, 2), solver="lbfgs", random_state=0)
        >>> [A.shape for A in net.fit([[-1.0], [1.0]], [0, 1]).activations([[0.5]])]
        [(1, 3), (1, 2), (1, 1)]
        """
        network = self._fitted_network()
        values = list(network.layers(self._rows(X)))
        network.loss.link(values[-1].T)
        return values

    @underflow_is_zero
    def check_gradients(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compare backpropagation with central differences, at the present weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels from `classes_`.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            The largest difference of any partial derivative of the penalised mean loss, divided by
            the largest derivative. Below 1e-6 in general. It is larger where a kink, such as
            relu's at 0, lies within a difference's reach, and where rows are so certainly wrong
            that their loss is at its bound and no longer moves. The loss is computed twice for
            each weight and each bias.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), "tanh", solver="lbfgs", random_state=0)
        >>> X, y = [[-1.0], [1.0], [0.3]], [0, 1, 1]
        >>> net.fit(X, y).check_gradients(X, y) < 1e-6
        True
        """
        trained = self._fitted_network()
        rows, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=False,
        )
        network = trained.to_float64()
        y = y if self._labels.multilabel else column_or_1d(y)
        self._labels.check_part(y)
        objective = Objective(
            network,
            rows,
            self._labels.targets(y),
            weights=row_weights(sample_weight, rows.astype(np.float64), "sample_weight"),
            alpha=self.alpha,
        )
        theta = network.parameters.flat.copy()
        _, gradient = objective(theta)
        # The mean of the differences to either side is the central one, whose error is of order
        # h**2 instead of h.
        numeric = np.mean(
            [approx_fprime(theta, lambda theta: objective(theta)[0], h) for h in (1e-5, -1e-5)],
            axis=0,
        )
        return float(abs(gradient - numeric).max() / max(abs(gradient).max(), 1e-12))

    def freeze(self) -> Predictor:
        """Return the network as an immutable, thread-safe, scikit-learn-free `Predictor`.

        Returns
        -------
        Predictor
            With `probabilities(X)` and `predict(X)`; it does not validate X.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).freeze()
        Predictor(1-3-1, classes=['left', 'right'])
        """
        return Predictor(self._fitted_network(), self.classes_)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that predicting needs as plain arrays, for any file format.

        No pickle is involved: the dictionary can go through ``np.savez`` and back.

        Returns
        -------
        dict of ndarray
            ``weights.<i>`` and ``biases.<i>`` of each layer, ``classes``, ``feature_names`` if
            there were any, and ``estimator``, a JSON text with the constructor's parameters (those
            that JSON can hold: callables and `RandomState` instances are left out).

        Raises
        ------
        ValueError
            If the classes are objects of a kind that no plain array holds.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
        >>> sorted(net.fit([[-1.0], [1.0]], ["left", "right"]).to_arrays())
        ['biases.0', 'biases.1', 'classes', 'estimator', 'weights.0', 'weights.1']
        """
        names = getattr(self, "feature_names_in_", None)
        return Plain(
            self._fitted_network(),
            self._labels,
            None if names is None else names.astype(str),
            self.get_params(deep=False),
        ).to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the fitted estimator that `to_arrays` was called on.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            A dictionary, or what ``np.load`` returns for a file that ``np.savez`` wrote.

        Returns
        -------
        estimator
            It predicts as the original did. Its training starts anew: the optimizer's state and
            the loss curves are not kept.

        Raises
        ------
        ValueError
            If an array is missing or does not fit the others.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> arrays = net.fit([[-1.0], [1.0]], ["left", "right"]).to_arrays()
        >>> NeuralNetworkClassifier.from_arrays(arrays).predict([[0.5]])
        array(['right'], dtype='<U5')
        """
        plain = Plain.from_arrays(arrays)
        unknown = sorted(plain.parameters.keys() - cls().get_params().keys())
        if unknown:
            raise ValueError(f"These are no arrays of to_arrays(): parameter {unknown[0]!r}.")
        estimator = cls(**plain.parameters)
        estimator.n_features_in_ = plain.network.layer_sizes[0]
        if plain.feature_names is not None:
            estimator.feature_names_in_ = plain.feature_names.astype(object)
        estimator._adopt(plain.network, plain.labels)
        return estimator

    def _adopt(self, network: Network, labels: Labels) -> None:
        """Become an estimator that has been fitted with this network."""
        softmax = network.loss_name == "softmax_cross_entropy"
        self._network, self._labels, self.classes_ = network, labels, labels.classes
        self._show(network)
        self.n_layers_ = len(network.layer_sizes)
        self.n_outputs_ = network.layer_sizes[-1]
        self.n_parameters_ = network.parameters.flat.size
        self.out_activation_ = "softmax" if softmax else "logistic"
