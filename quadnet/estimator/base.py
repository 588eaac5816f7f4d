"""What the classifier and the regressor share: the steps of a fit, their state, their summary."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from quadnet.errors import Unsupported
from quadnet.estimator import prediction
from quadnet.estimator.array_serialization import (
    SerializedEstimator,
    deserialize_arrays,
    serialize_arrays,
)
from quadnet.estimator.columns.encoding import find_encoder, needs_encoder
from quadnet.estimator.columns.scaling import find_scaler
from quadnet.estimator.constraints import Constraint
from quadnet.estimator.fitted_state import (
    ARRAY_ATTRIBUTES,
    ENSEMBLE_ATTRIBUTES,
    RESUME_ATTRIBUTES,
    network_attributes,
    pack_state,
    record_attributes,
    resume_attributes,
    unpack_state,
)
from quadnet.estimator.fitting.callbacks import CallbackSupportMixin, EpochTasks
from quadnet.estimator.fitting.early_stopping import hold_out_rows
from quadnet.estimator.fitting.ensemble import join_networks
from quadnet.estimator.fitting.fit_loop import TrainingRun
from quadnet.estimator.fitting.fit_warnings import (
    warn_about_interrupt,
    warn_about_light_weights,
    warn_about_result,
)
from quadnet.estimator.fitting.history import History
from quadnet.estimator.fitting.scorers import make_validation
from quadnet.estimator.input_validation import (
    check_on_epoch,
    columns_restored_on_error,
    number_groups,
    validate_rows,
    validate_target_rows,
    validate_training_rows,
    validate_validation_rows,
)
from quadnet.estimator.network_builder import build_network, find_starting_weights
from quadnet.estimator.summary import (
    BlockSummary,
    format_summary,
    format_summary_html,
    summarize_layers,
)
from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig, make_training_config
from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.layer import Layer
from quadnet.nn.network import Network
from quadnet.nn.predictor import underflow_is_zero
from quadnet.nn.solvers import SOLVERS
from quadnet.types import FloatArray

_NO_SHAPE = (
    "The shape of the input is not known: call fit first, or set input_shape of this %(name)s."
)


class NeuralNetworkEstimator(CallbackSupportMixin, BaseEstimator, ABC):
    """A network whose parameters, fits and stored state do not depend on what y holds.

    A subclass has the constructor, the public methods whose arguments depend on y, and
    `_encode_fit`.
    """

    _constraints: ClassVar[Mapping[str, Constraint]]
    """The constructor's parameters, and the values that each may have."""

    hidden_layer_sizes: int | Sequence[int] | NDArray[np.integer]
    activation: str | Sequence[str]
    solver: str
    alpha: float
    loss: str
    init: str | Initializer
    random_state: int | RandomState | None
    early_stopping: bool
    layers: Sequence[Layer | str] | None
    input_shape: int | Sequence[int] | None
    scale: bool
    n_ensemble: int
    categorical_features: str | Sequence[Any] | NDArray[Any] | None
    missing: str

    n_features_in_: int
    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]
    parameters_: list[dict[str, FloatArray]]
    _network: Network

    @property
    @abstractmethod
    def _encoding(self) -> TargetEncoding:
        """How the outputs of the fitted network encode y."""

    @abstractmethod
    def _encode_fit(self, y: Any, *, continues: bool) -> TargetEncoding:
        """Return how the outputs encode y, an array that `fit` trains on.

        Raises
        ------
        ValueError
            If y is not of the kind that the estimator predicts, or, if the fit continues an
            earlier one, does not fit it.
        """

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        X_val: Any,
        y_val: Any,
        sample_weight_val: Any,
        groups: Any,
        on_epoch: Callable[[History], object] | None,
        set_aside: Callable[[TargetRows, RandomState], TargetRows] | None = None,
    ) -> Self:
        config = self._make_config()
        check_on_epoch(on_epoch)
        tasks = EpochTasks(self, config.max_iter, X=X, y=y, sample_weight=sample_weight)
        starting = find_starting_weights(self) if config.warm_start else None
        with columns_restored_on_error(self):
            continues = starting is not None
            rows = validate_training_rows(
                self,
                config,
                X,
                y,
                sample_weight,
                starting=starting,
                find_encoding=lambda y: self._encode_fit(y, continues=continues),
            )
            held_out = validate_validation_rows(
                self,
                config,
                rows.encoding,
                X=X_val,
                y=y_val,
                sample_weight=sample_weight_val,
                scaler=rows.scaler,
                encoder=rows.encoder,
            )
            numbers = number_groups(
                config, groups, rows.n_rows, has_validation_rows=held_out is not None
            )
            rows = replace(rows, groups=numbers)
            rng = check_random_state(self.random_state)
            network = build_network(config, rows, starting, rng)
            if set_aside is not None:
                rows = set_aside(rows, rng)
            if held_out is None and config.splits_rows:
                rows, held_out = hold_out_rows(config, rows, rng)
            rows = rows.measured()
            if held_out is not None:
                held_out = replace(held_out, encoding=rows.encoding)
            if starting is not None:
                rows.encoding.from_units(network)
            make_fitted = partial(self._copy_with, encoding=rows.encoding)
            validation = make_validation(config, held_out, self, make_fitted)
            history = None if starting is None else getattr(self, "_history", None)
            by_score = config.early_stopping and validation is not None
            run = TrainingRun(
                config,
                network,
                rows,
                validation=validation,
                history=(history or History()).copy_for_fit(early_stopping=by_score),
                rng=rng,
                on_epoch=on_epoch,
            )

            def fitted() -> dict[str, Any]:
                in_units = rows.encoding.to_units(copy.deepcopy(network))
                shown = network_attributes(in_units, rows.encoding, rows.encoder)
                return shown | record_attributes(run)

            run.train(config.max_iter, tasks=tasks, fitted=fitted)
        self._adopt(run)
        tasks.end_fit(fitted)
        warn_about_light_weights(run)
        warn_about_result(run)
        return self

    def _fit_ensemble(
        self, n: int, fit_member: Callable[[Self], Self], *, data: Mapping[str, Any]
    ) -> Self:
        """Fit n networks, each by `fit_member`, and join them; callbacks get the data."""
        tasks = EpochTasks(self, n, **data, task_name="network")
        members: list[Self] = []

        def fitted() -> dict[str, Any]:
            network = join_networks([member._network for member in members])  # noqa: SLF001
            # What describes the training is that of the first network.
            of_first = {
                name: value
                for name, value in vars(members[0]).items()
                if name[-1] == "_" and name not in ARRAY_ATTRIBUTES
            }
            encoding = members[0]._encoding  # noqa: SLF001
            joined = network_attributes(network, encoding, find_encoder(members[0]))
            del joined["n_layers_"], joined["n_parameters_"]
            return of_first | joined | {"estimators_": [*members]}

        rng = check_random_state(self.random_state)
        for seed in rng.randint(2**31, size=n).tolist():
            tasks.begin_epoch()
            member = self._copy_parameters()
            member.n_ensemble, member.random_state = 1, seed
            members.append(fit_member(member))
            if tasks.end_epoch(fitted) or member.stop_reason_ == "interrupted":
                break
        for name in [name for name in vars(self) if name[-1] == "_" or name in RESUME_ATTRIBUTES]:
            del self.__dict__[name]
        self.__dict__.update(fitted())
        tasks.end_fit(fitted)
        return self

    def _why_no_partial_fit(self) -> str | None:
        if self.n_ensemble != 1:
            return "partial_fit does not support n_ensemble above 1"
        # A wrong solver is reported by the method; it need not be hashable.
        solver = SOLVERS.get(self.solver) if isinstance(self.solver, str) else None
        if solver is not None and not solver.makes_updates:
            return (
                f"partial_fit does not support solver={self.solver!r}, which makes no mini-batch "
                "updates."
            )
        if self.early_stopping:
            return "partial_fit does not support early_stopping=True"
        return None

    def _partial_fit(
        self,
        config: TrainingConfig,
        X: Any,
        y: Any,
        sample_weight: Any,
        find_encoding: Callable[[Any], TargetEncoding],
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        starting = find_starting_weights(self)
        with columns_restored_on_error(self):
            rows = validate_training_rows(
                self, config, X, y, sample_weight, starting=starting, find_encoding=find_encoding
            )
            held_out = validate_validation_rows(
                self,
                config,
                rows.encoding,
                X=X_val,
                y=y_val,
                sample_weight=sample_weight_val,
                scaler=rows.scaler,
                encoder=rows.encoder,
            )
            rows = rows.measured()
            if held_out is not None:
                held_out = replace(held_out, encoding=rows.encoding)
            make_fitted = partial(self._copy_with, encoding=rows.encoding)
            validation = make_validation(config, held_out, self, make_fitted)
            rng = None if starting is None else getattr(self, "_random_state", None)
            rng = check_random_state(self.random_state) if rng is None else rng
            history = getattr(self, "_history", None) or History()
            optimizer = getattr(self, "_optimizer", None)
            network = build_network(config, rows, starting, rng)
            if starting is not None:
                rows.encoding.from_units(network)
            run = TrainingRun(
                config,
                network,
                rows,
                history=history.copy_for_fit(
                    early_stopping=validation is not None,
                    continues=validation is not None and history.best_theta is not None,
                ),
                validation=validation,
                rng=rng,
                optimizer=optimizer.successor() if optimizer else None,
                penalty_buffers=getattr(self, "_penalty_buffers", None),
                epochs_done=history.epochs,
            )
            run.train_part()
        self._adopt(run)
        warn_about_light_weights(run)
        if run.stop_reason == "interrupted":
            warn_about_interrupt(run)
        return self

    @underflow_is_zero
    def activations(self, X: ArrayLike) -> list[FloatArray]:
        """Return the values of every layer after the inputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        list of ndarray, each of shape (n_samples, n_units)
            The hidden layers' activations, and last the outputs. Unlike the rows of a classifier's
            `predict_proba`, the outputs of sigmoids need not sum to 1.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3, 2), solver="lbfgs", random_state=0)
        >>> [A.shape for A in net.fit([[-1.0], [1.0]], [0, 1]).activations([[0.5]])]
        [(1, 3), (1, 2), (1, 1)]
        """
        network = self._current_network()
        return prediction.layer_activations(network, validate_rows(self, X))

    @underflow_is_zero
    def check_gradients(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compare backpropagation with central differences, at the present weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like
            As in `fit`: for a classifier labels from `classes_`.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            The largest difference of a partial derivative of the penalised mean loss, divided by
            the largest derivative; normally below 1e-6. It is larger near a kink, such as that of
            relu at 0, and where a row's loss has reached its bound and is constant. The loss is
            computed twice for each weight and each bias.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), "tanh", solver="lbfgs", random_state=0)
        >>> X, y = [[-1.0], [1.0], [0.3]], [0, 1, 1]
        >>> net.fit(X, y).check_gradients(X, y) < 1e-6
        True
        """
        network = self._current_network()
        X, y = validate_target_rows(self, self._encoding, X, y)
        smoothing = self._make_config().label_smoothing
        rows = TargetRows(X, y, self._encoding.unscaled, None, smoothing=smoothing)
        return prediction.largest_gradient_error(
            network, rows, sample_weight=sample_weight, alpha=self.alpha
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that predicting needs as arrays, for any file format.

        No pickle is involved: ``np.savez`` can store the dictionary, and ``np.load`` read it.

        Returns
        -------
        dict of ndarray
            ``weights.<i>`` and ``biases.<i>`` of each layer, ``classes``, ``feature_names`` if
            there are any, and ``estimator``, a JSON text with the constructor's parameters, except
            those that JSON cannot hold: callables and `RandomState` instances. With `scale` the
            network is that of `freeze`, which takes the columns as they are. The encoder of
            `categorical_features` and `missing` is in the JSON text.

        Raises
        ------
        ValueError
            If the classes cannot be held by an array without pickle.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> net = NeuralNetworkClassifier((3,), solver="lbfgs", random_state=0)
        >>> sorted(net.fit([[-1.0], [1.0]], ["left", "right"]).to_arrays())
        ['biases.0', 'biases.1', 'classes', 'estimator', 'weights.0', 'weights.1']
        """
        network = self._network_of_raw_columns()
        names = getattr(self, "feature_names_in_", None)
        names = None if names is None else names.astype(str)
        parameters = self.get_params(deep=False)
        return serialize_arrays(
            SerializedEstimator(
                network,
                self._encoding,
                names,
                parameters,
                getattr(self, "_calibration", {}),
                find_encoder(self),
            )
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the fitted estimator that `to_arrays` was called on.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The dictionary, or the result of ``np.load`` for a file that ``np.savez`` wrote.

        Returns
        -------
        estimator
            It predicts as the original did. The optimizer's state and the loss curves are not
            kept: training starts with new ones.

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
        stored = deserialize_arrays(arrays, known_parameters=list(cls().get_params()))
        estimator = cls(**stored.parameters)
        estimator.__dict__.update(
            network_attributes(stored.network, stored.encoding, stored.encoder)
        )
        if stored.calibration:
            estimator.__dict__["_calibration"] = stored.calibration
        if stored.feature_names is not None:
            estimator.feature_names_in_ = stored.feature_names.astype(object)
        return estimator

    def _make_config(self) -> TrainingConfig:
        # Not get_params(), which a subclass with another constructor narrows.
        parameters = {name: getattr(self, name) for name in self._constraints}
        return make_training_config(type(self).__name__, self._constraints, parameters)

    def _adopt(self, run: TrainingRun) -> None:
        encoding, encoder = run.rows.encoding, run.rows.encoder
        attributes = network_attributes(encoding.to_units(run.network), encoding, encoder)
        for name in (*ARRAY_ATTRIBUTES, *ENSEMBLE_ATTRIBUTES):
            self.__dict__.pop(name, None)
        self.__dict__.update(attributes | record_attributes(run) | resume_attributes(run))

    def _copy_with(self, network: Network, encoding: TargetEncoding) -> Self:
        """Return an estimator with the same parameters that is fitted with this network."""
        # Without the constructor, because a subclass may have another; and without column names,
        # because held-out rows are arrays, and encoded.
        copied = self._copy_parameters()
        copied.__dict__.update(network_attributes(encoding.to_units(network), encoding, None))
        return copied

    def _copy_parameters(self) -> Self:
        """Return an estimator with the same parameters that is not fitted."""
        copied: Self = object.__new__(type(self))
        parameters = {k: v for k, v in vars(self).items() if k[0] != "_" and k[-1] != "_"}
        copied.__dict__.update(parameters)
        return copied

    def _current_network(self) -> Network:
        """Return the network, with arrays that the caller has set."""
        if not self.__sklearn_is_fitted__():  # the function alone takes 2 us
            check_is_fitted(self)
        network = prediction.select_network(self._network, self)
        self._network = network
        return network

    def _frozen_network(self) -> Network:
        """Return the network for rows of numbers as the caller has them.

        Raises
        ------
        Unsupported
            If the caller's columns are not the numbers that the network takes.
        """
        if find_encoder(self) is not None:
            raise Unsupported(
                "freeze() gives a network alone, without the encoder of categorical_features and "
                "missing, which this one needs. Encode the columns before the estimator, for "
                "instance with scikit-learn's ColumnTransformer, or store it with to_arrays() or "
                "to_onnx()."
            )
        return self._network_of_raw_columns()

    def _network_of_raw_columns(self) -> Network:
        """Return the network, with the scaler of the columns folded into its first layer."""
        network, scaler = self._current_network(), find_scaler(self)
        return network if scaler is None else scaler.fold(network)

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_network", None) is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not needs_encoder(self)
        tags.input_tags.allow_nan = self.missing != "error"
        tags.input_tags.three_d_array = self.input_shape is not None
        return tags

    def summary(self) -> None:
        """Print the layers: their output shapes, parameters, and multiply-adds for one row.

        Before the first fit, `input_shape` must be set, and the output layer is not known.

        Returns
        -------
        None

        Raises
        ------
        NotFittedError
            If there is neither a trained network nor an `input_shape`.
        ValueError
            If the layers do not fit.

        Examples
        --------
        >>> from quadnet import NeuralNetworkClassifier
        >>> from quadnet.layers import Conv2D, Flatten, MaxPool2D
        >>> layers = [Conv2D(16, 3), "relu", MaxPool2D(2), Flatten()]
        >>> NeuralNetworkClassifier(layers=layers, input_shape=(28, 28)).summary()
        layer                   output shape  parameters  multiply-adds
        input                   1 x 28 x 28
        0  Conv2D(16, 3), relu  16 x 26 x 26         160         97,344
        2  MaxPool2D(2)         16 x 13 x 13           0              0
        3  Flatten()            2704                   0              0
        total                                        160         97,344
        """
        print(format_summary(self._summarize()))

    def _summarize(self) -> list[BlockSummary]:
        if self.__sklearn_is_fitted__():
            network = self._current_network()
            return summarize_layers(network.layers, network.input_shape)
        config = self._make_config()
        if config.input_shape is None:
            check_is_fitted(self, msg=_NO_SHAPE)
        assert config.input_shape is not None
        return summarize_layers(config.hidden_layers, config.input_shape)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._stack_html()
        return bundle

    @property
    def _repr_html_(self) -> Callable[[], str]:
        # scikit-learn's raises AttributeError where the user wants text.
        show = super()._repr_html_
        return lambda: show() + self._stack_html()

    def _stack_html(self) -> str:
        try:
            return format_summary_html(self._summarize())
        except ValueError:  # no network and no shape, or a stack that does not fit
            return ""

    def __getstate__(self) -> dict[str, Any]:
        if self.__sklearn_is_fitted__():
            self._current_network()
        return pack_state(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(unpack_state(state))
