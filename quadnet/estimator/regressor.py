"""The regressor: its parameters, its attributes, and the methods that concern numbers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from quadnet.estimator.availability import unless
from quadnet.estimator.base import NeuralNetworkEstimator
from quadnet.estimator.columns.encoding import find_encoder
from quadnet.estimator.columns.scaling import find_scaler
from quadnet.estimator.fitting.calibration import (
    check_coverage,
    hold_out_calibration_rows,
    make_intervals,
    measure_residuals,
)
from quadnet.estimator.fitting.callbacks import with_callbacks
from quadnet.estimator.fitting.history import History
from quadnet.estimator.hyperparameters import REGRESSOR_CONSTRAINTS, check_regressor_parameters
from quadnet.estimator.input_validation import validate_rows, validate_validation_rows
from quadnet.estimator.targets.numbers import Numbers, as_numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.layer import Layer
from quadnet.nn.predictor import RegressionPredictor, underflow_is_zero
from quadnet.types import FloatArray

DEFAULT_QUANTILES = (0.1, 0.5, 0.9)
"""The quantiles of a regressor whose parameter `quantiles` is None."""


class NeuralNetworkRegressor(RegressorMixin, NeuralNetworkEstimator):
    """A multi-layer perceptron that predicts numbers, written in NumPy.

    It replaces `sklearn.neural_network.MLPRegressor`: the parameters up to `max_fun` have its
    names, defaults and meaning, and the same `random_state` draws the same weights, splits and
    shuffles, so that both train the same network. The parameters after `max_fun` go beyond it; with
    their defaults they change nothing.

    Parameters
    ----------
    loss : {'squared_error', 'absolute_error', 'huber', 'poisson', 'quantile'}, \
default='squared_error'
        - 'squared_error': half the squared error, for the mean.
        - 'absolute_error', for the median.
        - 'huber': half the squared error up to `huber_delta`, a line beyond it, so that outliers
          count less.
        - 'poisson': half the Poisson deviance, for counts and other y of at least 0. Predictions
          are exp of the last layer, and above 0.
        - 'quantile': the pinball loss of each of `quantiles`.

        The loss of several columns of y is their mean, that of 'poisson' their sum, as with
        MLPRegressor. The gradient is always that of the sum.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units in each hidden layer; ``()`` makes a linear model.
    activation : {'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', 'silu', \
'softplus'} or a sequence of these, default='relu'
        The hidden layers' activation, or one for each layer. 'leaky_relu' has slope 0.01 below 0;
        'gelu' is the tanh form.
    solver : {'sgd', 'adam', 'lbfgs', 'adamw'}, default='adam'
        'lbfgs' is SciPy's quasi-Newton minimiser on the whole training set, which is often the best
        choice for up to a few thousand rows. With 'adamw' `alpha` is decoupled weight decay: each
        update shrinks the weights by the learning rate times `alpha`, and the loss has no penalty.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights (never the biases): alpha / 2 times their squares,
        divided as described for `alpha_scaling`.
    batch_size : int or 'auto', default='auto'
        Rows per update; 'auto' is ``min(200, n_samples)``. Not used by 'lbfgs'.
    learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'step'}, default='constant'
        - 'constant' is `learning_rate_init`.
        - 'invscaling', for 'sgd' only: ``learning_rate_init / (t_ + 1) ** power_t``, set after
          each epoch.
        - 'adaptive', for 'sgd' only: divided by 5 instead of ending training, each time that more
          than `n_iter_no_change` epochs in a row improve nothing, until it is at most 1e-6.
        - 'cosine': falls along half a cosine to 0 after `max_iter` epochs. Training that ends
          there gives no ConvergenceWarning.
        - 'step': multiplied by `step_factor` every `step_epochs` epochs.
    learning_rate_init : float, default=0.001
        The initial learning rate. Not used by 'lbfgs'.
    power_t : float, default=0.5
        The exponent of 'invscaling'.
    max_iter : int, default=200
        The most passes over the data (epochs), or iterations of 'lbfgs'.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Draws the starting weights, then the calibration and the validation rows, then the shuffles
        and the dropout.
    tol : float, default=1e-4
        An epoch is an improvement if it lowers the best training loss so far by at least `tol`
        or, with early stopping, raises the best validation score so far by at least `tol`. For
        'lbfgs', the largest partial derivative at which it has converged; it also ends when the
        loss hardly changes.
    verbose : bool or int, default=False
        Whether to print each epoch's loss.
    warm_start : bool, default=False
        Whether `fit` continues from the weights in `coefs_` and `intercepts_`: those of the last
        fit, or arrays that the caller has set.
    momentum : float, default=0.9
        For 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        For 'sgd' with momentum above 0.
    early_stopping : bool, default=False
        Whether to hold out rows, score them after each epoch, stop when the score no longer
        improves, and restore the weights of the best epoch. 'lbfgs' does so only if `fit` gets
        `X_val`, and otherwise ignores this parameter.

        Rows are drawn one by one, as by MLPRegressor, whatever their weights: a row of weight 2
        then differs from two copies of the row, of which one may be held out. Pass `X_val` to keep
        copies of a row together.
    validation_fraction : float, default=0.1
        The share of rows to hold out, if `fit` gets no `X_val`.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        For 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training stops when more than this many epochs in a row improve nothing.
    max_fun : int, default=15000
        The most evaluations of the loss by 'lbfgs'.
    init : str or callable, default='auto'
        'auto' draws as scikit-learn does, in a narrower range if the first hidden layer is
        logistic. 'glorot_uniform', 'glorot_normal', 'he_uniform' and 'he_normal' have biases of 0,
        as have 'uniform', with weights in [-1, 1), and 'uniform01', with weights in [0, 1). A
        callable is called with the RandomState, fan-in and fan-out of each layer. It returns
        weights of shape (fan_in, fan_out), or a tuple of weights and biases of shape (fan_out,).
    fit_intercept : bool, default=True
        Whether units have biases.
    dropout : float, default=0.0
        The share of each hidden layer's units that each update sets to 0, at random.
    warmup_epochs : float, default=0
        The number of epochs in which the learning rate rises from 0 to its value.
    step_epochs : int, default=50
    step_factor : float, default=0.5
        For ``learning_rate='step'``.
    max_grad_norm : float or None, default=None
        Gradients with a longer Euclidean norm are scaled down to it.
    scoring : str or callable, default='r2'
        The score that early stopping maximises on the held-out rows: 'r2', 'loss' (minus the loss
        without penalty), the name of a scikit-learn scorer, or a callable
        ``scorer(estimator, X, y)``, which also gets `sample_weight` if it has that parameter and
        there are weights.
    alpha_scaling : {'batch', 'samples'}, default='batch'
        Whether the penalty is divided by the rows of the mini-batch, as in scikit-learn, where it
        grows with the number of mini-batches; or by all training rows, so that every batch size,
        and 'lbfgs', minimise the same objective. Rows count by their weights.
    layers : list of layers, default=None
        All layers but the output layer, in place of `hidden_layer_sizes`, `activation` and
        `dropout`: objects of `quadnet.layers`, and names of activations. The output layer, a dense
        layer, is added. Such a network has `parameters_`; one that has dense layers alone has
        `coefs_` and `intercepts_`.
    input_shape : int or sequence of int, default=None
        The shape of a row, such as ``(28, 28)``, or ``(channels, height, width)``; by default
        ``(n_features,)``. A picture without channels has one. X may then have the shape
        ``(n_samples, *input_shape)``, too.
    scale : bool, default=False
        Whether to train on columns of mean 0 and variance 1, as `NeuralNetworkClassifier` does.
    huber_delta : float, default=1.35
        For ``loss='huber'``, in the units of y; with `scale_target`, in deviations of y.
    quantiles : sequence of float, default=None
        For ``loss='quantile'``: numbers between 0 and 1, each above the one before, such as
        ``[0.05, 0.5, 0.95]``. None is ``[0.1, 0.5, 0.9]``. The predicted quantiles of a row never
        cross.
    scale_target : bool, default=False
        Whether to train on y of mean 0 and deviation 1, by the weights of the rows that are trained
        on. Both are folded into the last layer at the end: `coefs_` and predictions have the units
        of y, while losses and `tol` are in deviations. A fit that continues another one, such as a
        second `partial_fit`, keeps the mean and deviation of the first. Set it whenever y is not of
        the order of 1.
    calibration_fraction : float, default=0.0
        The share of rows that `fit` sets aside for `predict_interval`, if it gets no `X_cal`. They
        are neither trained on nor used for early stopping, which would make intervals too narrow.
    n_ensemble : int, default=1
        Networks to train, each from its own seed, and so from other starting weights and, with
        early stopping, on another split. Predictions are the mean of theirs. `estimators_` has a
        fitted regressor for each network; the attributes that describe the training are those of
        the first. `freeze` gives one predictor. `partial_fit`, `warm_start`, `calibration_fraction`
        and ``loss='quantile'`` need a single network; intervals of several ones need `X_cal`.
    categorical_features : 'from_dtype', sequence of str, int or bool, or None, default=None
        The columns of X that hold categories: their names, their indices or a mask of all columns.
        'from_dtype' chooses the columns of a data frame (pandas, polars, pyarrow) that are
        categorical, enumerations or texts. Each category becomes an input that is 1 or 0, and those
        with one row share an input, as do all beyond the 100 most frequent ones. A category that
        the fit did not have is treated as missing. Dates of a data frame become year, month,
        weekday, hour and elapsed days, standardised. With None, X holds numbers.
    missing : {'error', 'indicator'}, default='error'
        Whether X may have gaps. With 'indicator' a missing number becomes the mean of its column,
        and one more input is 1 where it was missing, for each column with gaps in `fit`. Missing
        categories have an input of their own. The means, like the categories, are those of all rows
        of X in `fit`, or in the first `partial_fit`; `scale` applies to columns of numbers alone.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X had string column names.
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Each layer's weights. Predictions use arrays that the caller sets here. So do `partial_fit`,
        and `fit` with `warm_start`, also before the first fit.
    intercepts_ : list of ndarray of shape (fan_out,)
        Each layer's biases.
    parameters_ : list of dict of str to ndarray
        With `layers` that are not all dense, in place of `coefs_` and `intercepts_`: each layer's
        arrays by name.
    encoder_ : TableEncoder or None
        With `categorical_features` or `missing`, what makes the network's inputs of X. Its
        `output_names` are the names of the inputs, and of the rows of ``coefs_[0]``.
    estimators_ : list of NeuralNetworkRegressor
        Only with `n_ensemble` above 1: the regressor of each network. `parameters_` then has the
        arrays of all of them.
    column_means_ : ndarray of shape (n_features_in_,) or None
        With `scale`, what is subtracted from each column, or from each output of `encoder_`.
    column_deviations_ : ndarray of shape (n_features_in_,) or None
        With `scale`, what each column is then divided by.
    loss_ : float
        The last epoch's loss, penalty included, averaged over its rows by their weights.
    best_loss_ : float or None
        The lowest epoch's loss; None with early stopping.
    loss_curve_ : list of float
        Each epoch's loss.
    validation_loss_curve_ : list of float or None
        With early stopping or `X_val`, each epoch's loss on those rows, without penalty.
    validation_scores_ : list of float or None
        With early stopping or `X_val`, each epoch's score on those rows, by `scoring`.
    best_validation_score_ : float or None
        With early stopping, the highest score.
    learning_rate_curve_ : list of float
        The learning rate of each epoch's last update; empty for 'lbfgs'.
    best_iteration_ : int
        The epoch with the best validation score or, without early stopping, the lowest loss;
        counted from 1, over all fits that continued one another.
    stop_reason_ : {'no_improvement', 'max_iter', 'converged', 'max_fun', 'line_search', \
'callback', 'interrupted', 'partial_fit'}
        Why training ended.
    n_iter_ : int
        Epochs of the last call of `fit`.
    n_updates_ : int
        Updates of the weights, over all fits that continued one another.
    replay_ : dict
        How the updates of the last call were made: the numbers ``computed`` by NumPy and
        ``replayed`` from C, which give the same bits; the number of recordings that were
        ``refused``; and the ``reason`` for that, or for computing all, as a sentence.
    n_parameters_ : int
        Weights and biases.
    n_layers_ : int
        Layers, the input and output layers included.
    n_outputs_ : int
        Columns of y, times the number of quantiles.
    out_activation_ : {'identity', 'exp', 'quantiles'}
    t_ : int
        Rows seen in training, over all fits that continued one another.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The estimator whose parameters these are.

    Notes
    -----
    With 'lbfgs' and several columns of y it minimises another objective than MLPRegressor, whose
    value is the mean over the columns, but whose gradient is that of the sum: the two disagree, and
    its line search often ends early. Here both are of the sum.

    Examples
    --------
    >>> from quadnet import NeuralNetworkRegressor
    >>> X = [[0.0], [1.0], [2.0], [3.0]]
    >>> net = NeuralNetworkRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0)
    >>> net.fit(X, [100.0, 130.0, 160.0, 190.0]).predict([[4.0]]).round()
    array([220.])
    """

    # The public path, which pickles and skops files name, so that they load after this module has
    # moved.
    __module__ = "quadnet"

    _constraints = REGRESSOR_CONSTRAINTS

    quantiles: Sequence[float] | None
    huber_delta: float
    scale_target: bool
    calibration_fraction: float
    _numbers: Numbers
    _calibration: dict[str, NDArray[Any]]

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | NDArray[np.integer] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        init: str | Initializer = "auto",
        fit_intercept: bool = True,
        dropout: float = 0.0,
        warmup_epochs: float = 0,
        step_epochs: int = 50,
        step_factor: float = 0.5,
        max_grad_norm: float | None = None,
        scoring: str | Callable[..., float] = "r2",
        alpha_scaling: str = "batch",
        layers: Sequence[Layer | str] | None = None,
        input_shape: int | Sequence[int] | None = None,
        scale: bool = False,
        huber_delta: float = 1.35,
        quantiles: Sequence[float] | None = None,
        scale_target: bool = False,
        calibration_fraction: float = 0.0,
        n_ensemble: int = 1,
        categorical_features: str | Sequence[Any] | NDArray[Any] | None = None,
        missing: str = "error",
    ) -> None:
        self.hidden_layer_sizes, self.activation, self.loss = hidden_layer_sizes, activation, loss
        self.init, self.fit_intercept, self.random_state = init, fit_intercept, random_state
        self.solver, self.alpha, self.alpha_scaling = solver, alpha, alpha_scaling
        self.batch_size, self.shuffle, self.dropout = batch_size, shuffle, dropout
        self.momentum, self.nesterovs_momentum = momentum, nesterovs_momentum
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.max_grad_norm, self.max_fun = max_grad_norm, max_fun
        self.learning_rate, self.learning_rate_init = learning_rate, learning_rate_init
        self.power_t, self.warmup_epochs = power_t, warmup_epochs
        self.step_epochs, self.step_factor = step_epochs, step_factor
        self.max_iter, self.tol, self.n_iter_no_change = max_iter, tol, n_iter_no_change
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.scoring = scoring
        self.warm_start, self.verbose = warm_start, verbose
        self.layers, self.input_shape, self.scale = layers, input_shape, scale
        self.huber_delta, self.quantiles = huber_delta, quantiles
        self.scale_target, self.calibration_fraction = scale_target, calibration_fraction
        self.n_ensemble = n_ensemble
        self.categorical_features, self.missing = categorical_features, missing

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
        X_cal: Any = None,
        y_cal: Any = None,
        sample_weight_cal: Any = None,
        on_epoch: Callable[[History], object] | None = None,
    ) -> Self:
        """Train a network on X and y; with `warm_start`, continue training it.

        If the call fails, the estimator remains as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite numbers. float32 is trained in float32 (by 'lbfgs' in float64, and rounded at
            the end), any other type in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            Finite numbers, with ``loss='poisson'`` of at least 0 and not all 0.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights. A weight of 2 counts as two copies of the row, a weight of 0 as no row.
            Negative weights, which MLPRegressor accepts, are an error. The penalty `alpha` is
            divided by the weights; a warning reports weights so small that the penalty outweighs
            the rows.
        X_val, y_val : as X and y, default=None
            Rows to score after each epoch. Early stopping uses them in place of a part of X.
            Without early stopping they only make the validation curves.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of those rows.
        X_cal, y_cal : as X and y, default=None
            Rows for `predict_interval`, in place of a part of X. They must be neither in X nor in
            `X_val`.
        sample_weight_cal : array-like of shape (n_cal,), default=None
            Weights of those rows.
        on_epoch : callable, default=None
            Called after each epoch, or iteration of 'lbfgs', with the record so far. The epoch's
            values are the last in its lists `loss_curve`, `learning_rates`, `validation_losses` and
            `scores`.

        Returns
        -------
        self : NeuralNetworkRegressor

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described, or training diverges.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from quadnet import NeuralNetworkRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> net = NeuralNetworkRegressor(
        ...     solver="lbfgs", scale_target=True, alpha=10.0, max_iter=1000, random_state=0
        ... )
        >>> net.fit(X[::2] * 20, y[::2]).score(X[1::2] * 20, y[1::2]) > 0.4
        True
        """
        config = self._make_config()
        calibration: TargetRows | None = None

        read_calibration_rows = partial(
            validate_validation_rows,
            self,
            config,
            X=X_cal,
            y=y_cal,
            sample_weight=sample_weight_cal,
            suffix="cal",
        )

        def set_aside(rows: TargetRows, rng: RandomState) -> TargetRows:
            nonlocal calibration
            calibration = read_calibration_rows(
                encoding=rows.encoding, scaler=rows.scaler, encoder=rows.encoder
            )
            if calibration is None and self.calibration_fraction:
                fraction = float(self.calibration_fraction)
                rows, calibration = hold_out_calibration_rows(rows, fraction, rng)
            return rows

        arguments: dict[str, Any] = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "on_epoch": on_epoch,
        }
        if config.n_ensemble > 1:
            # Each network checks the calibration rows, before it is trained.
            checked = {"X_cal": X_cal, "y_cal": y_cal, "sample_weight_cal": sample_weight_cal}
            self._fit_ensemble(
                config.n_ensemble,
                lambda member: member.fit(X, y, sample_weight, **arguments, **checked),
                data={"X": X, "y": y, "sample_weight": sample_weight},
            )
            calibration = read_calibration_rows(
                encoding=self._numbers, scaler=find_scaler(self), encoder=find_encoder(self)
            )
        else:
            self._fit(X, y, sample_weight, **arguments, groups=None, set_aside=set_aside)
        self.__dict__.pop("_calibration", None)
        if calibration is not None:
            outputs = self._network.outputs(calibration.X)
            self._calibration = measure_residuals(self._numbers, outputs, calibration)
        return self

    def _why_no_partial_fit(self) -> str | None:
        return super()._why_no_partial_fit()

    @unless(_why_no_partial_fit)
    @underflow_is_zero
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Make one pass over X and y; the first call makes a new network.

        Each call continues the optimizer's moments, the learning-rate schedule and the random state
        of the call before: a 'cosine' is at 0 after `max_iter` calls. With `scale_target` the mean
        and deviation are those of the first call's y. Intervals must be calibrated by `fit`. If the
        call fails, the estimator remains as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
        sample_weight : array-like of shape (n_samples,), default=None
        X_val, y_val : as X and y, default=None
            Rows to score after the pass, by `scoring`, which stops training early: the weights of
            the best call are kept. When more than `n_iter_no_change` calls in a row have not
            improved the score by `tol`, they are restored, and `stop_reason_` is 'no_improvement'
            and no longer 'partial_fit'. Pass the same rows in every call; a call without them
            forgets the best weights. `early_stopping` stays False, as it is for `fit`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of those rows.

        Returns
        -------
        self : NeuralNetworkRegressor

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described, y has other columns than before, or
            training diverges.

        Examples
        --------
        >>> from quadnet import NeuralNetworkRegressor
        >>> net = NeuralNetworkRegressor(hidden_layer_sizes=(4,), random_state=0)
        >>> for x in [0.0, 1.0, 2.0]:
        ...     net = net.partial_fit([[x]], [2.0 * x])
        >>> net.n_updates_
        3
        """
        find_numbers = partial(self._find_numbers, before=getattr(self, "_numbers", None))
        self._partial_fit(
            self._make_config(),
            X,
            y,
            sample_weight,
            find_numbers,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
        )
        self.__dict__.pop("_calibration", None)
        return self

    @underflow_is_zero
    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the predicted numbers of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_columns)
            In the shape of y. With ``loss='quantile'`` the quantile nearest to the median.

        Raises
        ------
        NotFittedError
            If there is no trained network.
        ValueError
            If X does not have the columns and names of the fit, or is not finite.

        Examples
        --------
        >>> from quadnet import NeuralNetworkRegressor
        >>> net = NeuralNetworkRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0)
        >>> net.fit([[-1.0], [1.0]], [[3.0, 0.0], [5.0, 1.0]]).predict([[0.0]]).round(2)
        array([[4. , 0.5]])
        """
        network = self._current_network()
        return self._numbers.decode(network.outputs(validate_rows(self, X)))

    def freeze(self) -> RegressionPredictor:
        """Return the network as an immutable, thread-safe predictor without scikit-learn.

        Returns
        -------
        RegressionPredictor
            With `predict(X)` and `predict_quantiles(X)`; it does not validate X.

        Raises
        ------
        Unsupported
            With `categorical_features` or `missing`: the predictor takes numbers alone.

        Examples
        --------
        >>> from quadnet import NeuralNetworkRegressor
        >>> net = NeuralNetworkRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0)
        >>> net.fit([[-1.0], [1.0]], [3.0, 5.0]).freeze()
        RegressionPredictor(1-1, n_columns=None)
        """
        return RegressionPredictor(self._frozen_network(), self._numbers.n_columns)

    def to_onnx(self) -> bytes:
        """Return the network as an ONNX model, for other runtimes.

        Needs the extra ``onnx``. For a pipeline, see `quadnet.register_onnx_converter`.

        Returns
        -------
        bytes
            The contents of a file. The input ``x`` has shape (n_samples, n_features) and the
            network's dtype. The outputs are ``value``, as of `predict`, and with several quantiles
            ``quantiles``, as of `predict_quantiles`.

        Raises
        ------
        MissingExtra
            If the package onnx is not installed.
        Unsupported
            If a layer or a kind of column has no ONNX operators.

        Notes
        -----
        With `categorical_features` or `missing` there is an input for each column in place of
        ``x``, with the column's name and the shape (n_samples, 1): numbers as float64, of which NaN
        is missing; categories as texts, of which any that is no category, such as "", is missing;
        dates as int64 microseconds since 1970-01-01 UTC, of which the smallest integer is missing.

        Examples
        --------
        >>> from quadnet import NeuralNetworkRegressor
        >>> net = NeuralNetworkRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0)
        >>> content = net.fit([[-1.0], [1.0]], [3.0, 5.0]).to_onnx()
        """
        # An extra, and large.
        from quadnet.onnx_export.document import make_number_document  # noqa: PLC0415

        predictor = RegressionPredictor(self._network_of_raw_columns(), self._numbers.n_columns)
        document = make_number_document(
            predictor.network,
            predictor.n_columns,
            name=type(self).__name__,
            description="From one row for each sample to the predicted numbers.",
            metadata={},
            encoder=find_encoder(self),
        )
        content: bytes = document.SerializeToString(deterministic=True)
        return content

    @underflow_is_zero
    def predict_quantiles(self, X: ArrayLike) -> FloatArray:
        """Return the predicted quantiles of each row, each at least the one before.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_quantiles) or (n_samples, n_columns, n_quantiles)

        Raises
        ------
        NotFittedError
            If there is no trained network.
        ValueError
            If the network was not trained with ``loss='quantile'``, or X is not as described.

        Examples
        --------
        >>> import numpy as np
        >>> from quadnet import NeuralNetworkRegressor
        >>> rng = np.random.default_rng(0)
        >>> X, y = np.zeros((2000, 1)), rng.normal(10.0, 1.0, 2000)
        >>> net = NeuralNetworkRegressor(
        ...     "quantile", (), solver="lbfgs", quantiles=[0.1, 0.5, 0.9], scale_target=True
        ... )
        >>> net.fit(X, y).predict_quantiles([[0.0]]).round(0)
        array([[ 9., 10., 11.]])
        """
        network = self._current_network()
        if not self._numbers.quantiles:
            raise ValueError(
                "predict_quantiles needs a network that was trained with loss='quantile'. Got "
                f"loss={self._numbers.loss!r}."
            )
        return self._numbers.by_quantile(network.outputs(validate_rows(self, X)))

    @underflow_is_zero
    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Return an interval for each row that covers its y with the given probability.

        The probability holds on average over rows like those that the intervals were calibrated
        with, whatever the network: the `calibration_fraction`, or `X_cal` and `y_cal`, of `fit`.
        For several columns of y it holds for each column.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        coverage : float, default=0.9
            Between 0 and 1.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples,) or (n_samples, n_columns)
            The prediction minus and plus one margin for all rows. With ``loss='quantile'`` the
            interval between the two quantiles nearest to ``(1 - coverage) / 2`` and
            ``(1 + coverage) / 2``, widened or narrowed by one margin, so that its width varies with
            the row.

        Raises
        ------
        NotFittedError
            If there is no trained network.
        ValueError
            If there are no calibration rows, or too few for the coverage: at least
            ``coverage / (1 - coverage)``.

        Notes
        -----
        Split conformal prediction (Lei et al., 2018), and conformalized quantile regression (Romano
        et al., 2019). The margin is the score of rank ``ceil((n + 1) * coverage)`` of n rows; a row
        of weight 2 counts as two rows.

        Examples
        --------
        >>> import numpy as np
        >>> from quadnet import NeuralNetworkRegressor
        >>> rng = np.random.default_rng(0)
        >>> X = rng.uniform(-1, 1, (2000, 1))
        >>> y = 3 * X[:, 0] + rng.normal(0, 0.1, 2000)
        >>> net = NeuralNetworkRegressor(
        ...     hidden_layer_sizes=(), solver="lbfgs", calibration_fraction=0.5, random_state=0
        ... )
        >>> lower, upper = net.fit(X, y).predict_interval([[0.5]], coverage=0.95)
        >>> np.stack([lower, upper], axis=1).round(1)
        array([[1.3, 1.7]])
        """
        coverage = check_coverage(coverage)
        network = self._current_network()
        if "_calibration" not in vars(self):
            raise ValueError(
                "predict_interval needs rows that were not trained on: set calibration_fraction, "
                "such as 0.2, or pass X_cal and y_cal to fit. Got a network without such rows."
            )
        outputs = network.outputs(validate_rows(self, X))
        return make_intervals(self._numbers, outputs, self._calibration, coverage)

    @property
    def _encoding(self) -> Numbers:
        return self._numbers

    def _make_config(self) -> TrainingConfig:
        config = super()._make_config()
        parameters = {name: getattr(self, name) for name in REGRESSOR_CONSTRAINTS}
        check_regressor_parameters(type(self).__name__, parameters)
        return config

    def _encode_fit(self, y: Any, *, continues: bool) -> Numbers:
        numbers = self._find_numbers(y, getattr(self, "_numbers", None) if continues else None)
        if self.loss == "poisson" and not np.all(np.sum(as_numbers(y), axis=0) > 0):
            raise ValueError("y must not be all 0 with loss='poisson'. Got only zeros in a column.")
        return numbers

    def _find_numbers(self, y: Any, before: Numbers | None) -> Numbers:
        """Return how the outputs encode y, with the means and deviations of an earlier fit."""
        given = as_numbers(y)
        is_quantile = self.loss == "quantile"
        quantiles = DEFAULT_QUANTILES if self.quantiles is None else self.quantiles
        numbers = Numbers(
            self.loss,
            None if given.ndim == 1 else given.shape[1],
            quantiles=tuple(float(each) for each in quantiles) if is_quantile else (),
            delta=float(self.huber_delta) if self.loss == "huber" else None,
            scale=bool(self.scale_target),
        )
        numbers.check_targets(given)
        if before is None:
            return numbers
        if not numbers.matches(before):
            raise ValueError(
                f"y must have {before.target_shape}, as in the previous call to fit. Got an array "
                f"of shape {given.shape}."
            )
        if not numbers.scale:
            return numbers
        return replace(numbers, means=before.means, deviations=before.deviations)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        positive = self.loss == "poisson"
        tags.target_tags.positive_only = positive
        # scikit-learn's check of several columns has negative y, whatever the tag above.
        tags.target_tags.multi_output = not positive
        return tags
