"""The scikit-learn estimator: parameters, data and labels in, a trained network out."""

import copy
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.utils import check_random_state

from quadnet.estimator import early_stopping
from quadnet.estimator.availability import unless
from quadnet.estimator.callbacks import CallbackSupportMixin, EpochTasks, with_callbacks
from quadnet.estimator.early_stopping import HeldOut
from quadnet.estimator.fit_loop import Fit
from quadnet.estimator.history import History
from quadnet.estimator.input_validation import Preparation
from quadnet.estimator.sample_weights import refuse_nothing
from quadnet.estimator.targets import Labels, distinct, warn_if_one_hot
from quadnet.nn.predictor import underflow_is_zero

_LONGEST_CURVE = 10_000
"""Epochs that the curves of a model trained by `partial_fit` remember."""


class NeuralNetworkClassifier(CallbackSupportMixin, Preparation):
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
        - 'cosine': falls along half a cosine to 0 after `max_iter` epochs, which is then where
          training is meant to end: no ConvergenceWarning.
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
        'lbfgs', the largest partial derivative at which it has converged; it also ends when the
        loss all but stands still.
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
        `X_val`; without, it ignores this parameter. Rows are drawn one by one, as MLPClassifier
        draws them, whatever their weights: with early stopping a row of weight 2 is not the same
        as the row given twice, because one copy may be held out and the other trained on. Give
        `X_val` to keep copies of a row together. Below some 100 held-out rows 'accuracy' moves in
        steps so coarse that training often ends too early: a ConvergenceWarning says so where it
        happened, and ``scoring='loss'`` is the better choice.
    validation_fraction : float, default=0.1
        The share of rows to hold out, if `fit` is not given `X_val`. Stratified for two classes,
        as MLPClassifier does; for more classes with any other `scoring` than 'accuracy', if each
        has at least two rows.
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
        'auto' draws as scikit-learn does, in a narrower range if the first hidden layer is
        logistic. 'glorot_uniform', 'glorot_normal', 'he_uniform' and
        'he_normal' have biases of 0, as have 'uniform', weights in [-1, 1), and 'uniform01',
        weights in [0, 1). A callable gets the RandomState, fan-in and fan-out of each layer and
        returns weights of shape (fan_in, fan_out), or those and biases of shape (fan_out,).
    fit_intercept : bool, default=True
        Whether units have biases.
    class_weight : dict, 'balanced' or None, default=None
        Weights that multiply the `sample_weight` of each class's rows, 1 for a class that the
        dict does not name. Names of classes that no row has are ignored, unless all are. 'balanced'
        gives every class the same sum of weights. They count in the validation score too; with
        `X_val`, 'balanced' there balances the rows of `X_val`.
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
        ``scorer(estimator, X, y)``, which also gets `sample_weight` if it takes that and there
        are weights. Where the held-out rows lack a class, scorers of probabilities get the list of
        all classes; average precision, and the area under the ROC curve of each class against the
        rest, are averaged over the classes that these rows have.
    alpha_scaling : {'batch', 'samples'}, default='batch'
        Whether the penalty is divided by the rows of the mini-batch, as scikit-learn does, which
        makes it grow with the number of mini-batches, or by all training rows, which makes every
        batch size, and 'lbfgs', pursue the same objective. Rows count by their weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels seen, sorted; for multilabel problems the columns' numbers, or what
        `partial_fit` was told.
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
        With early stopping or `X_val` each epoch's loss on the held-out rows, without penalty.
    validation_scores_ : list of float or None
        Likewise each epoch's score, by `scoring`.
    best_validation_score_ : float or None
        With early stopping the highest of them.
    learning_rate_curve_ : list of float
        The learning rate of each epoch's last update; empty for 'lbfgs'.
    best_iteration_ : int
        Which epoch had the best validation score or, without early stopping, the lowest loss;
        counted from 1, over all fits that went on from one another.
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

    # What pickles and skops files name: the public path, which no move of a module changes.
    __module__ = "quadnet"

    @with_callbacks
    @underflow_is_zero
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        on_epoch: Callable[[History], object] | None = None,
    ) -> Self:
        """Train a network on X and y; with `warm_start`, go on training it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite numbers; float32 is trained in float32 (by 'lbfgs' in float64, and rounded at
            the end), anything else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels of any one kind: strings, integers, booleans; or a matrix of 0 and 1 that says
            which labels each row has. A one-hot matrix brings a warning: each of its columns is
            learned as a label of its own.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts. A weight of 2 is the row twice, a weight of 0 is no row.
            Negative weights, which MLPClassifier takes, are refused: a row of negative weight has
            a loss without lower bound. The penalty `alpha` is divided by the weights; where they
            are so small that it outweighs the rows, a warning says so.
        X_val, y_val : as X and y, default=None
            Rows to score after each epoch: those by which early stopping decides, instead of a
            part of X; without it they only make the validation curves.
        sample_weight_val : array-like of shape (n_val,), default=None
            How much each of those counts.
        on_epoch : callable, default=None
            Called after each epoch, or iteration of 'lbfgs', with the record so far, in whose
            lists `loss_curve`, `learning_rates`, `validation_losses` and `scores` the epoch's
            values are the last.

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
        if not (on_epoch is None or callable(on_epoch)):
            raise TypeError(f"on_epoch must be a callable or None. Got {on_epoch!r}.")
        tasks = EpochTasks(self, self.max_iter, X=X, y=y, sample_weight=sample_weight)
        going_on = self.warm_start and self._has_weights()
        columns = self._columns()
        try:
            rows, y = self._validated(X, y, going_on=going_on)
            labels = Labels.of(y)
            if going_on:
                self._check_same_classes(labels)
            else:
                warn_if_one_hot(y, labels)
            weights = self._weights(sample_weight, rows, y, labels, "sample_weight")
            held_out = self._given_rows(X_val, y_val, sample_weight_val, labels)
            rng = check_random_state(self.random_state)
            network = self._starting_network(parameters, rows, labels, rng, going_on=going_on)
            if self.early_stopping and held_out is None and self.solver != "lbfgs":
                train, held = early_stopping.split(
                    y,
                    labels,
                    fraction=self.validation_fraction,
                    # MLPClassifier, which has no `scoring`, stratifies two classes only.
                    every_class=self.scoring != "accuracy",
                    rng=rng,
                )
                held_weights = None
                if weights is not None:
                    weights, held_weights = weights[train], weights[held]
                    refuse_nothing(weights, "sample_weight of the rows left to train on")
                    refuse_nothing(held_weights, "sample_weight of the rows held out")
                held_out = HeldOut(rows[held], y[held], labels, weights=held_weights)
                rows, y = rows[train], y[train]
            history = (getattr(self, "_history", None) if going_on else None) or History()
            fit = Fit(
                parameters,
                network,
                rows,
                labels.targets(y),
                weights=weights,
                held_out=held_out,
                scorer=self._scorer(held_out) if held_out else None,
                history=history.continued(
                    early_stopping=self.early_stopping and held_out is not None
                ),
                rng=rng,
                on_epoch=on_epoch,
            )

            def fitted() -> dict[str, Any]:
                shown = self._copy_with(copy.deepcopy(network), labels)
                shown._keep_record(fit)  # noqa: SLF001
                return {k: v for k, v in vars(shown).items() if k[0] == "_" or k[-1] == "_"}

            fit.run(self.max_iter, tasks=tasks, fitted=fitted)
        except BaseException:
            # Refused, or diverged: the estimator stays as it was.
            self._restore_columns(columns)
            raise
        self._take_over(fit, labels, rng)
        tasks.end_fit(fitted)
        fit.warn_of_light_weights()
        fit.warn()
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
    @underflow_is_zero
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
    ) -> Self:
        """Make one more pass over X and y, starting with a new network if there is none.

        The optimizer's moments, the learning-rate schedule and the random state go on from call to
        call; so a 'cosine' is at 0 after `max_iter` of them. A call that fails leaves the network
        as it was.

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
        if not (known is None or classes is None or np.array_equal(distinct(classes), known)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{known!r}"
            )
        going_on = self._has_weights()
        columns = self._columns()
        try:
            rows, y = self._validated(X, y, going_on=going_on)
            labels = getattr(self, "_labels", None)
            if labels is None:
                labels = Labels.among(classes if known is None else known, y)
                warn_if_one_hot(y, labels)
            else:
                labels.check_part(y)
            weights = self._weights(sample_weight, rows, y, labels, "sample_weight")
            rng = getattr(self, "_random_state", None) if going_on else None
            rng = check_random_state(self.random_state) if rng is None else rng
            network = self._starting_network(parameters, rows, labels, rng, going_on=going_on)
            history = getattr(self, "_history", None) or History()
            optimizer = getattr(self, "_optimizer", None)
            fit = Fit(
                parameters,
                network,
                rows,
                labels.targets(y),
                weights=weights,
                history=history.continued(early_stopping=False),
                rng=rng,
                optimizer=optimizer.successor() if optimizer else None,
                decay=getattr(self, "_decay", None),
                epochs_done=history.epochs,
            )
            fit.run(1)
        except BaseException:
            self._restore_columns(columns)
            raise
        interrupted = fit.stop_reason == "interrupted"
        if not interrupted:
            fit.stop_reason = "partial_fit"
        fit.history.shorten(_LONGEST_CURVE)
        self._take_over(fit, labels, rng)
        fit.warn_of_light_weights()
        if interrupted:
            fit.warn()
        return self

    def _take_over(self, fit: Fit, labels: Labels, rng: RandomState) -> None:
        """Become what the fit has made."""
        self._adopt(fit.network, labels)
        self._history, self._optimizer, self._random_state = fit.history, fit.optimizer, rng
        # As long as the parameters: kept only for the next mini-batch.
        self._decay = fit.decay if fit.stop_reason == "partial_fit" else None
        self._keep_record(fit)

    def _keep_record(self, fit: Fit) -> None:
        history = fit.history
        self.n_iter_, self.stop_reason_ = fit.n_iter, fit.stop_reason
        self.loss_curve_ = history.loss_curve
        self.loss_ = history.loss_curve[-1] if history.loss_curve else float("nan")
        self.learning_rate_curve_ = history.learning_rates
        self.best_iteration_ = history.best_iteration
        self.n_updates_, self.t_ = history.updates, history.rows_seen
        self._no_improvement_count = history.standing_still
        decided = history.early_stopping
        self.best_loss_ = None if decided else history.best_loss
        self.best_validation_score_ = history.best_score if decided else None
        validated = decided or bool(history.scores)
        self.validation_loss_curve_ = history.validation_losses if validated else None
        self.validation_scores_ = history.scores if validated else None
