"""The scikit-learn estimator: parameters, data and labels in, a trained network out."""

import copy
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from quadnet import holdout
from quadnet.answers import Answers
from quadnet.availability import unless
from quadnet.callbacks import CallbackSupportMixin, EpochTasks, with_callbacks
from quadnet.construction import initializer_for, network_for
from quadnet.fitting import Fit
from quadnet.history import History
from quadnet.holdout import HeldOut, Scorer
from quadnet.labels import Labels
from quadnet.network import Network
from quadnet.optimizers import Optimizer
from quadnet.types import FloatArray
from quadnet.weights import row_weights, with_class_weights

_LONGEST_CURVE = 10_000
"""Epochs that the curves of a model trained by `partial_fit` remember."""


class NeuralNetworkClassifier(CallbackSupportMixin, Answers):
    """A multi-layer perceptron classifier, written in NumPy.

    It drops in for `sklearn.neural_network.MLPClassifier`: the parameters up to `max_fun` have
    its names, defaults and meaning, and the same `random_state` draws the same weights, splits and
    shuffles, so that both train the same network. The parameters after `max_fun` go beyond it;
    their defaults change nothing.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units in each hidden layer; ``()`` makes a linear classifier.
    activation : {'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', 'silu', \
'softplus'} or a sequence of these, default='relu'
        The hidden layers' activation, or one for each layer. 'leaky_relu' has slope 0.01 below 0,
        'gelu' is the tanh form.
    solver : {'sgd', 'adam', 'lbfgs', 'adamw'}, default='adam'
        'lbfgs' is SciPy's quasi-Newton minimiser on the whole training set, which often does best
        on up to a few thousand rows. 'adamw' takes `alpha` as decoupled weight decay: each update
        shrinks the weights by the learning rate times `alpha`, and the loss has no penalty.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (never the biases), alpha / 2 times their
        squares, divided as `alpha_scaling` says.
    batch_size : int or 'auto', default='auto'
        Rows an update; 'auto' is ``min(200, n_samples)``. Not used by 'lbfgs'.
    learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'step'}, default='constant'
        - 'constant' is `learning_rate_init`.
        - 'invscaling', for 'sgd' only: ``learning_rate_init / (t_ + 1) ** power_t``, set after
          each epoch.
        - 'adaptive', for 'sgd' only: divided by 5 each time that training would stop because more
          than `n_iter_no_change` epochs in a row brought no improvement, until it is at most 1e-6.
        - 'cosine': falls along half a cosine to 0 after `max_iter` epochs.
        - 'step': multiplied by `step_factor` every `step_epochs` epochs.
    learning_rate_init : float, default=0.001
        The step size to begin with. Not used by 'lbfgs'.
    power_t : float, default=0.5
        The exponent of 'invscaling'.
    max_iter : int, default=200
        The most passes over the data (epochs), or iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether to visit the rows in a new order each epoch.
    random_state : int, RandomState instance or None, default=None
        Draws the starting weights, then the validation rows, then the shuffles (and dropout).
    tol : float, default=1e-4
        An epoch is an improvement if it lowers the best training loss so far by at least `tol`
        or, with early stopping, raises the best validation score so far by at least `tol`. For
        'lbfgs', the largest partial derivative at which it has converged.
    verbose : bool or int, default=False
        Whether to print each epoch's loss.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit, or from those that were put into
        `coefs_` and `intercepts_`.
    momentum : float, default=0.9
        For 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        For 'sgd' with momentum above 0.
    early_stopping : bool, default=False
        Whether to hold out rows, score them after each epoch, stop when the score no longer
        improves, and restore the weights of the best epoch. 'lbfgs' does so only if `fit` is given
        `X_val`; without, it ignores this parameter.
    validation_fraction : float, default=0.1
        The share of rows to hold out, if `fit` is not given `X_val`. Stratified for two classes.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        For 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training stops when more than this many epochs in a row were no improvement.
    max_fun : int, default=15000
        The most evaluations of the loss by 'lbfgs'.
    loss : {'log_loss', 'binary_cross_entropy', 'squared_error'}, default='log_loss'
        The loss, and with it the output layer. 'log_loss' ends in softmax, or in a sigmoid for two
        classes and for each of several labels. 'binary_cross_entropy' and 'squared_error' always
        end in one sigmoid a class (one in all for two classes), whose values `predict_proba`
        divides by their sum; `activations` returns them as they are.
    init : str or callable, default='auto'
        'auto' draws as scikit-learn does. 'glorot_uniform', 'glorot_normal', 'he_uniform' and
        'he_normal' have biases of 0, as have 'uniform', weights in [-1, 1), and 'uniform01',
        weights in [0, 1). A callable gets the RandomState, fan-in and fan-out of each layer and
        returns weights of shape (fan_in, fan_out), or those and biases of shape (fan_out,).
    fit_intercept : bool, default=True
        Whether units have biases.
    class_weight : dict, 'balanced' or None, default=None
        Weights that multiply the `sample_weight` of each class's rows; 'balanced' gives every
        class the same sum of weights.
    dropout : float, default=0.0
        The share of each hidden layer's units that is silenced, at random, in each update.
    warmup_epochs : float, default=0
        Over this many epochs the learning rate climbs from 0 to its value.
    step_epochs : int, default=50
    step_factor : float, default=0.5
        For ``learning_rate='step'``.
    max_grad_norm : float or None, default=None
        Gradients with a longer Euclidean norm are scaled down to it.
    scoring : str or callable, default='accuracy'
        What early stopping maximises on the held-out rows: 'accuracy', 'loss' (minus the loss
        without penalty), the name of any scikit-learn scorer, or a callable
        ``scorer(estimator, X, y)``.
    alpha_scaling : {'batch', 'samples'}, default='batch'
        Whether the penalty is divided by the rows of the mini-batch, as scikit-learn does, which
        makes it grow with the number of mini-batches, or by all training rows, which makes every
        batch size, and 'lbfgs', pursue the same objective. Rows count by their weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels seen, sorted; for multilabel problems the columns' numbers.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only when X had string column names.
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Each layer's weights. Arrays put into it are used from then on, also before the first fit:
        by `partial_fit`, and by `fit` with `warm_start`.
    intercepts_ : list of ndarray of shape (fan_out,)
        Each layer's biases.
    loss_ : float
        The last epoch's loss, penalty included, averaged over its rows by their weights.
    best_loss_ : float or None
        The lowest epoch's loss; None with early stopping.
    loss_curve_ : list of float
        Each epoch's loss.
    validation_loss_curve_ : list of float or None
        With early stopping each epoch's loss on the held-out rows, without penalty.
    validation_scores_ : list of float or None
        With early stopping each epoch's score on the held-out rows.
    best_validation_score_ : float or None
        The highest of them.
    learning_rate_curve_ : list of float
        The learning rate of each epoch's last update; empty for 'lbfgs'.
    best_iteration_ : int
        Which epoch, counted from 1 in the curves, had the best validation score or, without early
        stopping, the lowest loss.
    stop_reason_ : {'no_improvement', 'max_iter', 'converged', 'max_fun', 'line_search', \
'callback', 'interrupted', 'partial_fit'}
        Why training ended.
    n_iter_ : int
        Epochs of the last call of `fit`.
    n_updates_ : int
        Updates of the weights done.
    n_parameters_ : int
        Weights and biases.
    n_layers_ : int
        Layers, the input and output layers included.
    n_outputs_ : int
    out_activation_ : {'softmax', 'logistic'}
    t_ : int
        Rows seen in training.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : The estimator whose parameters these are.

    Notes
    -----
    The gradient is that of Rumelhart, Hinton and Williams, 1986; each optimizer, activation and
    initializer names its source where it is defined. scikit-learn's callbacks
    (`set_callbacks`, from scikit-learn 1.9 on) are told of each epoch.

    Examples
    --------
    >>> from quadnet import NeuralNetworkClassifier
    >>> X = [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    >>> y = ["I", "II", "III", "IV"]
    >>> net = NeuralNetworkClassifier((6,), learning_rate_init=0.1, random_state=0)
    >>> net.fit(X, y).predict([[0.9, 0.2], [-0.1, -0.7]])
    array(['I', 'III'], dtype='<U3')
    """

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train a network on X and y; with `warm_start`, go on training it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite numbers; float32 is trained in float32, anything else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels of any one kind: strings, integers, booleans; or a matrix of 0 and 1 that says
            which labels each row has.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts. A weight of 2 is the row twice, a weight of 0 is no row.
        X_val, y_val : as X and y, default=None
            The rows that early stopping scores, instead of a part of X.
        sample_weight_val : array-like of shape (n_val,), default=None
            How much each of those counts.

        Returns
        -------
        self : NeuralNetworkClassifier

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described here, or training diverges.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from quadnet import NeuralNetworkClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> net = NeuralNetworkClassifier(solver="lbfgs", alpha=1.0, max_iter=2000)
        >>> net.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.95
        True
        """
        parameters = self._checked_parameters()
        tasks = EpochTasks(self, self.max_iter, X=X, y=y, sample_weight=sample_weight)
        going_on = self.warm_start and hasattr(self, "coefs_")
        if not going_on:
            self._forget()
        rows, y = self._validated(X, y, reset=not going_on)
        labels = Labels.of(y)
        known = getattr(self, "classes_", None) if going_on else None
        if known is not None and not np.array_equal(labels.classes, known):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {known}, `y` has {labels.classes}"
            )
        weights = self._weights(sample_weight, rows, y, labels, "sample_weight")
        held_out = self._given_rows(X_val, y_val, sample_weight_val, labels)
        rng = check_random_state(self.random_state)
        network = self._starting_network(rows, labels, rng, going_on=going_on)
        if self.early_stopping and held_out is None and self.solver != "lbfgs":
            train, held = holdout.split(
                rows, y, labels, weights=weights, fraction=self.validation_fraction, rng=rng
            )
            held_out = HeldOut(
                rows[held], y[held], labels, weights=None if weights is None else weights[held]
            )
            rows, y = rows[train], y[train]
            weights = None if weights is None else weights[train]

        history = getattr(self, "_history", None) if going_on else None
        if history is None or history.early_stopping != (held_out is not None):
            history = History(early_stopping=held_out is not None)
        fit = Fit(
            parameters,
            network,
            rows,
            labels.targets(y),
            weights=weights,
            held_out=held_out,
            scorer=self._scorer(labels) if held_out else None,
            history=history,
            rng=rng,
        )

        def fitted() -> dict[str, Any]:
            return dict(vars(self._copy_with(copy.deepcopy(network), labels)))

        fit.run(self.max_iter, tasks=tasks, fitted=fitted)
        fit.warn_if_unfinished()
        self._random_state = rng
        self._take_over(fit, labels)
        tasks.end_fit(fitted)
        return self

    def _why_no_partial_fit(self) -> str | None:
        if self.solver == "lbfgs":
            return "partial_fit does not support solver='lbfgs', which makes no single updates."
        if self.early_stopping:
            return "partial_fit does not support early_stopping=True"
        if self.class_weight == "balanced":
            return (
                "partial_fit does not support class_weight='balanced', because it never sees all "
                "rows. Give the weights as a dict, for instance those that "
                "sklearn.utils.class_weight.compute_class_weight('balanced', ...) returns."
            )
        return None

    @unless(_why_no_partial_fit)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
    ) -> Self:
        """Make one more pass over X and y, starting with a new network if there is none.

        The optimizer's moments, the learning-rate schedule and the random state go on from call to
        call. A call that fails leaves the network as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come, needed in the first call; y may lack some.

        Returns
        -------
        self : NeuralNetworkClassifier

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described here, y has labels that are not in
            `classes_`, or training diverges.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((4,), random_state=0)
        >>> for x, label in [(-1.0, "left"), (1.0, "right")] * 3:
        ...     net = net.partial_fit([[x]], [label], classes=["left", "right"])
        >>> net.n_updates_
        6
        """
        parameters = self._checked_parameters()
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if not (known is None or classes is None or np.array_equal(np.unique(classes), known)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{known!r}"
            )
        going_on = hasattr(self, "coefs_")
        rows, y = self._validated(X, y, reset=not going_on)
        before = getattr(self, "_labels", None)
        labels = Labels.with_part(
            y,
            classes if known is None else known,
            multilabel=None if before is None else before.multilabel,
        )
        weights = self._weights(sample_weight, rows, y, labels, "sample_weight")
        rng = getattr(self, "_random_state", None) if going_on else None
        rng = check_random_state(self.random_state) if rng is None else rng
        network = self._starting_network(rows, labels, rng, going_on=going_on)
        history = getattr(self, "_history", None)
        if history is None or history.early_stopping:
            history = History(early_stopping=False)
        # Taken away for the time being: a step that fails leaves its moments unusable.
        optimizer = getattr(self, "_optimizer", None)
        self._optimizer: Optimizer | None = None
        fit = Fit(
            parameters,
            network,
            rows,
            labels.targets(y),
            weights=weights,
            history=history,
            rng=rng,
            optimizer=optimizer,
        )
        fit.run(1)
        fit.stop_reason = "partial_fit"
        history.shorten(_LONGEST_CURVE)
        self._random_state = rng
        self._take_over(fit, labels)
        return self

    def _forget(self) -> None:
        """Become unfitted, so that a fit that fails does not leave one that is half fitted."""
        for name in ("_network", "_history", "_optimizer", "_random_state", "_labels"):
            setattr(self, name, None)
        for name in ("coefs_", "intercepts_", "classes_"):
            self.__dict__.pop(name, None)

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        rows, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=(np.float64, np.float32),
            order="C",
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return rows, y

    def _given_rows(self, X: Any, y: Any, sample_weight: Any, labels: Labels) -> HeldOut | None:
        """Return the caller's own validation rows."""
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is provided, but X_val and y_val were not.")
            return None
        if X is None or y is None:
            given, missing = ("y_val", "X_val") if X is None else ("X_val", "y_val")
            raise ValueError(f"{given} is provided, but {missing} was not provided.")
        if not self.early_stopping:
            raise ValueError(
                "X_val and y_val are passed to fit while early_stopping is False, so that nothing "
                "would look at them. Set early_stopping=True; with n_iter_no_change=inf it only "
                "keeps the record and the best epoch's weights."
            )
        check_consistent_length(X, y)
        rows = validate_data(
            self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False
        )
        y = y if labels.multilabel else column_or_1d(y)
        try:
            Labels.with_part(y, labels.classes, multilabel=labels.multilabel)
        except ValueError as error:
            raise ValueError(f"y_val: {error}") from None
        weights = self._weights(sample_weight, rows, y, labels, "sample_weight_val")
        return HeldOut(rows, y, labels, weights=weights)

    def _weights(
        self, sample_weight: Any, rows: Any, y: Any, labels: Labels, name: str
    ) -> FloatArray | None:
        weights = row_weights(sample_weight, rows, name)
        return with_class_weights(weights, self.class_weight, y, labels, rows.dtype)

    def _starting_network(
        self, rows: Any, labels: Labels, rng: RandomState, *, going_on: bool
    ) -> Network:
        """Return a new network, with the weights there are if it is to go on from them."""
        network = network_for(self.get_params(deep=False), rows, labels)
        if not going_on:
            network.initialize(initializer_for(self.init, self.activation), rng)
            return network
        try:
            network.parameters.adopt(self.coefs_, self.intercepts_)
        except ValueError as error:
            raise ValueError(
                "The network to go on with has another architecture than the parameters say: "
                f"{error}. Set hidden_layer_sizes to what it was, or warm_start=False."
            ) from None
        return network

    def _scorer(self, labels: Labels) -> Scorer:
        """Return what early stopping maximises."""
        if self.scoring == "accuracy":
            return lambda network, held: held.accuracy(network)
        if self.scoring == "loss":
            return lambda network, held: -held.loss(network)
        scorer = check_scoring(self, self.scoring)

        def score(network: Network, held: HeldOut) -> float:
            weights = {} if held.weights is None else {"sample_weight": held.weights}
            return float(scorer(self._copy_with(network, labels), held.X, held.y, **weights))

        return score

    def _copy_with(self, network: Network, labels: Labels) -> "NeuralNetworkClassifier":
        """Return a copy that is fitted with this network."""
        # Made by hand: copy.copy would first look whether this estimator is fitted.
        copied = type(self)(**self.get_params(deep=False))
        copied.n_features_in_ = self.n_features_in_
        copied._adopt(network, labels)  # noqa: SLF001
        return copied

    def _take_over(self, fit: Fit, labels: Labels) -> None:
        """Become what the fit has made."""
        history = fit.history
        self._adopt(fit.network, labels)
        self._history, self._optimizer = history, fit.optimizer
        self.n_iter_, self.stop_reason_ = fit.n_iter, fit.stop_reason
        self.loss_curve_ = history.loss_curve
        self.loss_ = history.loss_curve[-1] if history.loss_curve else float("nan")
        self.learning_rate_curve_ = history.learning_rates
        self.best_iteration_ = history.best_iteration
        self.n_updates_, self.t_ = history.updates, history.rows_seen
        self._no_improvement_count = history.standing_still
        validated = history.early_stopping
        self.best_loss_ = None if validated else history.best_loss
        self.validation_loss_curve_ = history.validation_losses if validated else None
        self.validation_scores_ = history.scores if validated else None
        self.best_validation_score_ = max(history.scores, default=None) if validated else None
