"""The scikit-learn estimator: labels and parameters in, a trained network out."""

import warnings
from collections.abc import Iterator
from itertools import islice
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from quadnet import constraints
from quadnet.activations import ACTIVATIONS
from quadnet.initializers import INITIALIZERS
from quadnet.network import Network
from quadnet.optimizers import SGD, Adam, Optimizer
from quadnet.predictor import Predictor
from quadnet.training import Epoch, MiniBatches, train
from quadnet.types import FloatArray

_CONSTRAINTS = {
    "hidden_layer_sizes": constraints.layer_sizes(),
    "activation": constraints.one_of(*ACTIVATIONS),
    "solver": constraints.one_of("sgd", "adam"),
    "alpha": constraints.real(0.0),
    "batch_size": constraints.one_of("auto") | constraints.integer(1),
    "learning_rate_init": constraints.real(0.0, open_low=True),
    "max_iter": constraints.integer(1),
    "shuffle": constraints.boolean(),
    "tol": constraints.real(0.0),
    "momentum": constraints.real(0.0, 1.0),
    "nesterovs_momentum": constraints.boolean(),
    "beta_1": constraints.real(0.0, 1.0),
    "beta_2": constraints.real(0.0, 1.0),
    "epsilon": constraints.real(0.0, open_low=True),
    "n_iter_no_change": constraints.integer(1)
    | constraints.Constraint(lambda value: value == float("inf"), "inf"),
    "loss": constraints.one_of("log_loss", "squared_error"),
    "init": constraints.one_of("auto", *INITIALIZERS),
    "fit_intercept": constraints.boolean(),
}


class NeuralNetworkClassifier(ClassifierMixin, BaseEstimator):
    """A multi-layer perceptron classifier, written in NumPy.

    The parameters it shares with `sklearn.neural_network.MLPClassifier` have the same names,
    defaults and meaning, and the same `random_state` draws the same weights and shuffles.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units in each hidden layer; ``()`` makes a linear classifier.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='relu'
        The hidden layers' activation.
    solver : {'sgd', 'adam'}, default='adam'
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (never the biases). It is divided by the number
        of rows in the mini-batch, as in scikit-learn.
    batch_size : int or 'auto', default='auto'
        Rows an update; 'auto' is ``min(200, n_samples)``.
    learning_rate_init : float, default=0.001
        The step size.
    max_iter : int, default=200
        The most passes over the data (epochs).
    shuffle : bool, default=True
        Whether to visit the rows in a new order each epoch.
    random_state : int, RandomState instance or None, default=None
        Draws the starting weights, then the shuffles.
    tol : float, default=1e-4
        Training stops after `n_iter_no_change` epochs that did not lower the loss by this much.
    momentum : float, default=0.9
        For 'sgd'; in [0, 1).
    nesterovs_momentum : bool, default=True
        For 'sgd' with momentum above 0.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        For 'adam'.
    n_iter_no_change : int or inf, default=10
    loss : {'log_loss', 'squared_error'}, default='log_loss'
        'log_loss' ends in softmax (a sigmoid for two classes); 'squared_error' ends in one sigmoid
        a class, whose values `predict_proba` divides by their sum.
    init : str, default='auto'
        'auto' draws as scikit-learn does: 'glorot_uniform', or 'glorot_uniform_logistic' for
        logistic units. 'uniform' draws weights from [-1, 1) and 'uniform01' from [0, 1), with
        biases of 0.
    fit_intercept : bool, default=True
        Whether units have biases.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels seen, sorted.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only when X had string column names.
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Each layer's weights.
    intercepts_ : list of ndarray of shape (fan_out,)
        Each layer's biases.
    loss_ : float
        The last epoch's loss, averaged over its rows.
    best_loss_ : float
        The lowest epoch's loss.
    loss_curve_ : list of float
        Each epoch's loss.
    n_iter_ : int
        Epochs done.
    n_layers_ : int
        Layers, the input and output layers included.
    n_outputs_ : int
    out_activation_ : {'softmax', 'logistic'}
    n_updates_ : int
        Updates of the weights done.
    t_ : int
        Rows seen in training.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : The estimator whose parameters these are.

    Examples
    --------
    >>> from quadnet import NeuralNetworkClassifier
    >>> X = [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    >>> y = ["I", "II", "III", "IV"]
    >>> net = NeuralNetworkClassifier((6,), learning_rate_init=0.1, random_state=0)
    >>> net.fit(X, y).predict([[0.9, 0.2], [-0.1, -0.7]])
    array(['I', 'III'], dtype='<U3')
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        tol: float = 1e-4,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        loss: str = "log_loss",
        init: str = "auto",
        fit_intercept: bool = True,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.loss = loss
        self.init = init
        self.fit_intercept = fit_intercept

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a new network on X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers; float32 is trained in float32, anything else in float64.
        y : array-like of shape (n_samples,)
            Labels of any one kind: strings, integers, booleans.

        Returns
        -------
        self : NeuralNetworkClassifier

        Raises
        ------
        ValueError
            If a parameter, X or y is not as described above.
        """
        constraints.check(type(self).__name__, _CONSTRAINTS, self.get_params(deep=False))
        # A fit that fails leaves the estimator unfitted, not half fitted.
        self._network: Network | None = None
        validated: tuple[FloatArray, NDArray[np.generic]] = validate_data(
            self, X, y, dtype=(np.float64, np.float32)
        )
        rows, labels = validated
        check_classification_targets(labels)
        self.classes_, indices = np.unique(labels, return_inverse=True)
        Y = self._targets(indices, rows.dtype)
        rng = check_random_state(self.random_state)

        network = self._new_network(rows.shape[1], Y.shape[1], rows.dtype)
        init = self.init
        if init == "auto":
            init = "glorot_uniform_logistic" if self.activation == "logistic" else "glorot_uniform"
        network.initialize(INITIALIZERS[init], rng)
        batches = MiniBatches(
            network,
            rows,
            Y,
            optimizer=self._new_optimizer(network.parameters.flat),
            batch_size=min(200 if self.batch_size == "auto" else self.batch_size, len(rows)),
            alpha=self.alpha,
        )
        epochs = train(batches, shuffle=self.shuffle, rng=rng)
        self._follow(islice(epochs, self.max_iter), n_samples=len(rows))

        self._network = network
        self.coefs_ = network.parameters.weights
        self.intercepts_ = network.parameters.biases
        self.n_layers_ = len(network.layer_sizes)
        self.n_outputs_ = Y.shape[1]
        softmax = network.loss_name == "softmax_cross_entropy"
        self.out_activation_ = "softmax" if softmax else "logistic"
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_network", None) is not None

    def _fitted_network(self) -> Network:
        """Return the trained network; raise NotFittedError if there is none."""
        check_is_fitted(self)
        assert self._network is not None
        return self._network

    def _targets(self, indices: NDArray[np.intp], dtype: np.dtype[np.floating]) -> FloatArray:
        """Return one-hot rows, or for two classes the one column that says "the second"."""
        if len(self.classes_) <= 2:
            return np.asarray(indices[:, np.newaxis], dtype)
        one_hot: FloatArray = np.eye(len(self.classes_), dtype=dtype)[indices]
        return one_hot

    def _new_network(self, n_inputs: int, n_outputs: int, dtype: np.dtype[np.floating]) -> Network:
        sizes = self.hidden_layer_sizes
        hidden = [sizes] if isinstance(sizes, Integral) else [int(n) for n in sizes]
        if self.loss == "squared_error":
            loss = "sigmoid_squared_error"
        else:
            loss = "sigmoid_cross_entropy" if n_outputs == 1 else "softmax_cross_entropy"
        return Network(
            [n_inputs, *hidden, n_outputs],
            activations=[self.activation] * len(hidden),
            loss=loss,
            bias=self.fit_intercept,
            dtype=dtype,
        )

    def _new_optimizer(self, theta: FloatArray) -> Optimizer:
        if self.solver == "sgd":
            return SGD(
                theta,
                learning_rate=self.learning_rate_init,
                momentum=self.momentum,
                nesterov=self.nesterovs_momentum,
            )
        return Adam(
            theta,
            learning_rate=self.learning_rate_init,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )

    def _follow(self, epochs: Iterator[Epoch], *, n_samples: int) -> None:
        """Consume epochs until the loss stands still, keeping the record."""
        self.loss_curve_: list[float] = []
        self.best_loss_ = np.inf
        standing_still = 0
        for epoch in epochs:
            self.loss_curve_.append(epoch.loss)
            self.n_updates_ = epoch.updates
            if not np.isfinite(epoch.loss):
                raise ValueError(
                    f"Training diverged: the loss of epoch {epoch.number} is {epoch.loss}. "
                    f"Lower learning_rate_init (now {self.learning_rate_init}) or scale X."
                )
            improved = epoch.loss <= self.best_loss_ - self.tol
            standing_still = 0 if improved else standing_still + 1
            self.best_loss_ = min(self.best_loss_, epoch.loss)
            if standing_still > self.n_iter_no_change:
                break
        else:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and "
                "the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        self.t_ = self.n_iter_ * n_samples

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return each row's class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to 1.
        """
        network = self._fitted_network()
        rows: FloatArray = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        probabilities = network.probabilities(rows)
        # Trained on one class only, the network has a column for a second that does not exist.
        return probabilities if len(self.classes_) > 1 else np.ones_like(probabilities[:, :1])

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the most probable class of each row, as an array of shape (n_samples,)."""
        probabilities = self.predict_proba(X)
        labels: NDArray[np.generic] = self.classes_.take(probabilities.argmax(axis=1))
        return labels

    def freeze(self) -> Predictor:
        """Return the trained network as an immutable, scikit-learn-free `Predictor`."""
        return Predictor(self._fitted_network(), self.classes_)
