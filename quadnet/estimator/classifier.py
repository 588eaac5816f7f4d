"""The classifier: its parameters, its attributes, and the methods that concern classes."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from quadnet.estimator import prediction
from quadnet.estimator.availability import unless
from quadnet.estimator.base import NeuralNetworkEstimator
from quadnet.estimator.columns.encoding import find_encoder
from quadnet.estimator.fitting.callbacks import with_callbacks
from quadnet.estimator.fitting.class_extension import extend_classes
from quadnet.estimator.fitting.history import History
from quadnet.estimator.hyperparameters import CONSTRAINTS
from quadnet.estimator.input_validation import (
    check_classes,
    find_labels_of_fit,
    find_labels_of_partial_fit,
    validate_rows,
)
from quadnet.estimator.targets.labels import Labels
from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.layer import Layer
from quadnet.nn.predictor import Predictor, underflow_is_zero
from quadnet.types import FloatArray


class NeuralNetworkClassifier(ClassifierMixin, NeuralNetworkEstimator):
    """A multi-layer perceptron classifier, written in NumPy.

    It replaces `sklearn.neural_network.MLPClassifier`: the parameters up to `max_fun` have its
    names, defaults and meaning, and the same `random_state` draws the same weights, splits and
    shuffles, so that both train the same network. The parameters after `max_fun` go beyond it; with
    their defaults they change nothing.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units in each hidden layer; ``()`` makes a linear classifier.
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
        Draws the starting weights, then the validation rows, then the shuffles and the dropout.
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

        Rows are drawn one by one, as by MLPClassifier, whatever their weights: a row of weight 2
        then differs from two copies of the row, of which one may be held out. Pass `X_val` to keep
        copies of a row together. With fewer than about 100 held-out rows 'accuracy' changes in
        steps so coarse that training often ends too early. A ConvergenceWarning reports it;
        ``scoring='loss'`` is then the better choice.
    validation_fraction : float, default=0.1
        The share of rows, or of `groups`, to hold out, if `fit` gets no `X_val`. Rows are
        stratified for two classes, as by MLPClassifier; for more classes with any other `scoring`
        than 'accuracy', if each has at least two rows.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999 and 1e-8
        For 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training stops when more than this many epochs in a row improve nothing.
    max_fun : int, default=15000
        The most evaluations of the loss by 'lbfgs'.
    loss : {'log_loss', 'binary_cross_entropy', 'squared_error'}, default='log_loss'
        The loss, and with it the output layer. 'log_loss' has a softmax, or a sigmoid for two
        classes and for each label of a multilabel problem. 'binary_cross_entropy' and
        'squared_error' have one sigmoid per class (a single one for two classes); `predict_proba`
        divides their values by their sum, `activations` returns the values themselves.
    init : str or callable, default='auto'
        'auto' draws as scikit-learn does, in a narrower range if the first hidden layer is
        logistic. 'glorot_uniform', 'glorot_normal', 'he_uniform' and 'he_normal' have biases of 0,
        as have 'uniform', with weights in [-1, 1), and 'uniform01', with weights in [0, 1). A
        callable is called with the RandomState, fan-in and fan-out of each layer. It returns
        weights of shape (fan_in, fan_out), or a tuple of weights and biases of shape (fan_out,).
    fit_intercept : bool, default=True
        Whether units have biases.
    class_weight : dict, 'balanced' or None, default=None
        Weights that multiply the `sample_weight` of each class's rows, 1 for a class that the dict
        lacks. Keys that no row has as its class are ignored, unless all are. 'balanced' gives every
        class the same sum of weights. The weights count in the validation score too; 'balanced' is
        computed for the rows of `X_val` separately.
    dropout : float, default=0.0
        The share of each hidden layer's units that each update sets to 0, at random.
    warmup_epochs : float, default=0
        The number of epochs in which the learning rate rises from 0 to its value.
    step_epochs : int, default=50
    step_factor : float, default=0.5
        For ``learning_rate='step'``.
    max_grad_norm : float or None, default=None
        Gradients with a longer Euclidean norm are scaled down to it.
    scoring : str or callable, default='accuracy'
        The score that early stopping maximises on the held-out rows: 'accuracy', 'loss' (minus the
        loss without penalty), the name of a scikit-learn scorer, or a callable
        ``scorer(estimator, X, y)``, which also gets `sample_weight` if it has that parameter and
        there are weights. Where the held-out rows lack a class, scorers of probabilities get the
        list of all classes; average precision, and the area under the ROC curve of each class
        against the rest, are averaged over the classes that these rows have.
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
        Whether to train on columns of mean 0 and variance 1, which equals a `StandardScaler` before
        the estimator. Means and deviations are those of all rows of X in `fit`, or in the first
        `partial_fit`, by their sample weights; a fit that continues another one keeps them. All
        values of a picture's channel have one mean and one deviation. A constant column is only
        centred. Sparse columns are only divided by their deviation. Every method still takes raw
        columns, but `coefs_` are for scaled ones, and a callable `scoring` gets scaled ones;
        `freeze` and `to_arrays` give a network for raw columns.
    label_smoothing : float, default=0.0
        The share s, below 1, of each target that is spread over all k classes: the target of a
        row's class is ``1 - s + s / k``, that of every other class ``s / k`` (Szegedy et al.,
        2016). Each label of a multilabel problem is a problem of two classes, with targets
        ``1 - s / 2`` and ``s / 2``. Probabilities become less extreme. `loss_` and `loss_curve_`
        are of the smoothed targets, and never 0; validation losses, and ``scoring='loss'``, are of
        the labels themselves.
    n_ensemble : int, default=1
        Networks to train, each from its own seed, and so from other starting weights and, with
        early stopping, on another split. Predictions are of the mean of their probabilities.
        `estimators_` has a fitted classifier for each network; the attributes that describe the
        training are those of the first. `freeze` gives one predictor, which can be published as one
        version. `partial_fit`, `warm_start` and `check_gradients` need a single network.
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
    classes_ : ndarray of shape (n_classes,)
        The sorted labels. For multilabel problems the numbers of the columns, or the `classes` of
        `partial_fit`.
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
    column_means_ : ndarray of shape (n_features_in_,) or None
        With `scale`, what is subtracted from each column, or from each output of `encoder_`.
    column_deviations_ : ndarray of shape (n_features_in_,) or None
        With `scale`, what each column is then divided by.
    estimators_ : list of NeuralNetworkClassifier
        Only with `n_ensemble` above 1: the classifier of each network. `parameters_` then has the
        arrays of all of them.
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
        ``refused``; and as a sentence the ``reason`` why updates could not be replayed. A call
        of fewer than about 130 updates has no reason: recording would take longer.
    n_parameters_ : int
        Weights and biases.
    n_layers_ : int
        Layers, the input and output layers included.
    n_outputs_ : int
    out_activation_ : {'softmax', 'logistic'}
    t_ : int
        Rows seen in training, over all fits that continued one another.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : The estimator whose parameters these are.

    Notes
    -----
    The gradient is that of Rumelhart, Hinton and Williams, 1986; each optimizer, activation and
    initializer names its source where it is defined. scikit-learn's callbacks (`set_callbacks`,
    from scikit-learn 1.9 on) are called for each epoch, or with `n_ensemble` for each network.

    Examples
    --------
    >>> from quadnet import NeuralNetworkClassifier
    >>> X = [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    >>> y = ["I", "II", "III", "IV"]
    >>> net = NeuralNetworkClassifier((6,), learning_rate_init=0.1, random_state=0)
    >>> net.fit(X, y).predict([[0.9, 0.2], [-0.1, -0.7]])
    array(['I', 'III'], dtype='<U3')
    """

    # The public path, which pickles and skops files name, so that they load after this module has
    # moved.
    __module__ = "quadnet"

    _constraints = CONSTRAINTS

    classes_: NDArray[np.generic]
    _labels: Labels

    def __init__(
        self,
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
        loss: str = "log_loss",
        init: str | Initializer = "auto",
        fit_intercept: bool = True,
        class_weight: str | Mapping[Any, float] | None = None,
        dropout: float = 0.0,
        warmup_epochs: float = 0,
        step_epochs: int = 50,
        step_factor: float = 0.5,
        max_grad_norm: float | None = None,
        scoring: str | Callable[..., float] = "accuracy",
        alpha_scaling: str = "batch",
        layers: Sequence[Layer | str] | None = None,
        input_shape: int | Sequence[int] | None = None,
        scale: bool = False,
        label_smoothing: float = 0.0,
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
        self.scoring, self.class_weight = scoring, class_weight
        self.warm_start, self.verbose = warm_start, verbose
        self.layers, self.input_shape, self.scale = layers, input_shape, scale
        self.label_smoothing, self.n_ensemble = label_smoothing, n_ensemble
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
        groups: Any = None,
        on_epoch: Callable[[History], object] | None = None,
    ) -> Self:
        """Train a network on X and y; with `warm_start`, continue training it.

        If the call fails, the estimator remains as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite numbers. float32 is trained in float32 (by 'lbfgs' in float64, and rounded at
            the end), any other type in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels of one kind: strings, integers or booleans; or, for multilabel problems, a matrix
            of 0 and 1 with one column per label. A one-hot matrix causes a warning, because each of
            its columns is learned as a label of its own.
        sample_weight : array-like of shape (n_samples,), default=None
            Row weights. A weight of 2 counts as two copies of the row, a weight of 0 as no row.
            Negative weights, which MLPClassifier accepts, are an error: the loss of such a row has
            no lower bound. The penalty `alpha` is divided by the weights; a warning reports weights
            so small that the penalty outweighs the rows.
        X_val, y_val : as X and y, default=None
            Rows to score after each epoch. Early stopping uses them in place of a part of X.
            Without early stopping they only make the validation curves.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of those rows.
        groups : array-like of shape (n_samples,), default=None
            The group of each row, such as a patient or a day. Early stopping then holds out whole
            groups, drawn as by `GroupShuffleSplit`: about `validation_fraction` of the groups,
            whatever their sizes, and without stratifying classes. An error without early
            stopping, with `X_val`, and with 'lbfgs', which hold out no rows of X. With
            ``set_fit_request(groups=True)`` a search passes each fold's groups.
        on_epoch : callable, default=None
            Called after each epoch, or iteration of 'lbfgs', with the record so far. The epoch's
            values are the last in its lists `loss_curve`, `learning_rates`, `validation_losses` and
            `scores`.

        Returns
        -------
        self : NeuralNetworkClassifier

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described, or training diverges.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from quadnet import NeuralNetworkClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> net = NeuralNetworkClassifier(solver="lbfgs", alpha=1.0, max_iter=2000)
        >>> net.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.95
        True
        """
        arguments: dict[str, Any] = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "groups": groups,
            "on_epoch": on_epoch,
        }
        config = self._make_config()
        if config.n_ensemble > 1:
            return self._fit_ensemble(
                config.n_ensemble,
                lambda member: member.fit(X, y, sample_weight, **arguments),
                data={"X": X, "y": y, "sample_weight": sample_weight},
            )
        return self._fit(X, y, sample_weight, **arguments)

    def _why_no_partial_fit(self) -> str | None:
        reason = super()._why_no_partial_fit()
        if reason is None and self.class_weight == "balanced":
            return (
                "partial_fit does not support class_weight='balanced', because it never sees all "
                "rows. Pass the weights as a dict, for instance from "
                "sklearn.utils.class_weight.compute_class_weight('balanced', ...)."
            )
        return reason

    @unless(_why_no_partial_fit)
    @underflow_is_zero
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Make one pass over X and y; the first call makes a new network.

        Each call continues the optimizer's moments, the learning-rate schedule and the random state
        of the call before: a 'cosine' is at 0 after `max_iter` calls. If the call fails, the
        estimator remains as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels of the problem, required in the first call; y may lack some. A later call may
            have more: outputs for them are added, with drawn weights. Known classes keep their
            weights and the optimizer's moments.
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
        self : NeuralNetworkClassifier

        Raises
        ------
        ValueError
            If a parameter or an argument is not as described, y has labels that are not in
            `classes_`, `classes` lacks known ones, or training diverges.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((4,), random_state=0)
        >>> for x, label in [(-1.0, "left"), (1.0, "right")] * 3:
        ...     net = net.partial_fit([[x]], [label], classes=["left", "right"])
        >>> net.n_updates_
        6
        """
        config = self._make_config()
        classes = check_classes(self, classes)
        known = getattr(self, "classes_", None)
        target = self
        if classes is not None and known is not None and len(classes) > len(known):
            target = copy.copy(self)
            network = self._current_network()
            added = extend_classes(self, network, classes, config.initializer, config.loss)
            target.__dict__.update(added)
        find_encoding = partial(find_labels_of_partial_fit, target, classes=classes)
        target._partial_fit(  # noqa: SLF001
            config,
            X,
            y,
            sample_weight,
            find_encoding,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
        )
        self.__dict__ = target.__dict__
        return self

    @underflow_is_zero
    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels from `classes_`, by the highest of `decision_function`; for multilabel problems
            rows of 0 and 1, with 1 where the label's probability is above one half.

        Raises
        ------
        NotFittedError
            If there is no trained network.
        ValueError
            If X does not have the columns and names of the fit, or is not finite.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).predict([[-3.0], [0.2]])
        array(['left', 'right'], dtype='<U5')
        """
        network = self._current_network()
        return self._labels.decode(network.logits(validate_rows(self, X)))

    @underflow_is_zero
    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return each row's class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`. Rows sum to 1, except for multilabel problems,
            where each column is the probability of one label.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).predict_proba([[0.0]]).round(2)
        array([[0.5, 0.5]])
        """
        network = self._current_network()
        return prediction.predict_probabilities(network, self._labels, validate_rows(self, X))

    @underflow_is_zero
    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Return the logarithm of each row's class probabilities.

        It is finite even where a probability underflows to 0, because it is computed from the
        logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> -1e7 < net.fit([[-1.0], [1.0]], [0, 1]).predict_log_proba([[-1e6]])[0, 1] < -1e6
        np.True_
        """
        network = self._current_network()
        return prediction.predict_log_probabilities(network, self._labels, validate_rows(self, X))

    @underflow_is_zero
    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return the logits: the output layer's values before its softmax or sigmoids.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one number per row, above 0 for `classes_[1]`; otherwise one column per
            class, of which `predict` chooses the highest.

        Notes
        -----
        MLPClassifier has no such method. scikit-learn's meta-estimators prefer it to
        `predict_proba`, and those that predict across folds then need all classes in the training
        part of each fold. On sorted labels ``CalibratedClassifierCV(net, cv=KFold(3),
        ensemble=False)`` therefore fails, as for `LogisticRegression`. Use `StratifiedKFold`, the
        default for classifiers.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((), solver="lbfgs", alpha=0.1)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).decision_function([[-2.0], [2.0]]) > 0
        array([False,  True])
        """
        network = self._current_network()
        return prediction.decision_values(network, self._labels, validate_rows(self, X))

    def freeze(self) -> Predictor:
        """Return the network as an immutable, thread-safe `Predictor` without scikit-learn.

        With `scale`, means and deviations become part of the first layer, or a batch normalization
        before it where it cannot absorb them. The predictor computes in float64 where float32 has
        too few digits for a column, such as a time stamp.

        Returns
        -------
        Predictor
            With `probabilities(X)` and `predict(X)`; it does not validate X.

        Raises
        ------
        Unsupported
            With `categorical_features` or `missing`: the predictor takes numbers alone.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
        >>> net.fit([[-1.0], [1.0]], ["left", "right"]).freeze()
        Predictor(1-3-1, classes=['left', 'right'])
        """
        return Predictor(self._frozen_network(), self.classes_)

    def to_onnx(self) -> bytes:
        """Return the network as an ONNX model, for other runtimes.

        Needs the extra ``onnx``. For a pipeline, see `quadnet.register_onnx_converter`.

        Returns
        -------
        bytes
            The contents of a file. The input ``x`` has shape (n_samples, n_features) and the
            network's dtype. The outputs are ``probabilities``, as of `predict_proba`, and
            ``label``, as of `predict`: whole numbers and truth values as int64, texts as text.

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
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
        >>> content = net.fit([[-1.0], [1.0]], ["left", "right"]).to_onnx()
        """
        # An extra, and large.
        from quadnet.onnx_export.document import as_labels, make_document  # noqa: PLC0415

        predictor = Predictor(self._network_of_raw_columns(), self.classes_)
        document = make_document(
            predictor.network,
            as_labels(predictor.classes),
            name=type(self).__name__,
            description="From one row for each sample to the class and each class's probability.",
            metadata={
                "classes": json.dumps(predictor.classes.tolist(), ensure_ascii=False, default=str)
            },
            encoder=find_encoder(self),
        )
        content: bytes = document.SerializeToString(deterministic=True)
        return content

    @property
    def _encoding(self) -> Labels:
        return self._labels

    def _encode_fit(self, y: Any, *, continues: bool) -> Labels:
        return find_labels_of_fit(self, y, continues=continues)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
