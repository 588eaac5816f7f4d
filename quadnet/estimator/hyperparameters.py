"""The constructor's parameters: their constraints, and the frozen configuration made from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, prod
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from quadnet.estimator import constraints
from quadnet.estimator.constraints import Constraint
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import (
    INITIALIZERS,
    Initializer,
    find_initializer,
    make_checked_initializer,
)
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_shapes, make_hidden_layers, make_layers, with_channels
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES, is_increasing
from quadnet.nn.optimizers import Optimizer, OptimizerSettings
from quadnet.nn.parameters import Parameters
from quadnet.nn.schedules import SCHEDULES, Schedule
from quadnet.nn.solvers import SOLVERS, Solver

_AUTO_BATCH_SIZE = 200

CONSTRAINTS = {
    "hidden_layer_sizes": constraints.layer_sizes(),
    "activation": constraints.one_of(*ACTIVATIONS) | constraints.sequence_of(*ACTIVATIONS),
    "solver": constraints.one_of(*SOLVERS),
    "alpha": constraints.real(0.0),
    "batch_size": constraints.one_of("auto") | constraints.integer(1),
    "learning_rate": constraints.one_of(*SCHEDULES),
    "learning_rate_init": constraints.real(0.0, open_low=True),
    "power_t": constraints.real(0.0),
    "max_iter": constraints.integer(1),
    "shuffle": constraints.boolean(),
    "random_state": constraints.random_state(),
    "tol": constraints.real(0.0),
    "verbose": constraints.boolean() | constraints.integer(0),
    "warm_start": constraints.boolean(),
    "momentum": constraints.real(0.0, 1.0, closed_high=True),
    "nesterovs_momentum": constraints.boolean(),
    "early_stopping": constraints.boolean(),
    "validation_fraction": constraints.real(0.0, 1.0),
    "beta_1": constraints.real(0.0, 1.0),
    "beta_2": constraints.real(0.0, 1.0),
    "epsilon": constraints.real(0.0, open_low=True),
    "n_iter_no_change": constraints.integer(1) | constraints.infinity(),
    "max_fun": constraints.integer(1),
    "loss": constraints.one_of(*LOSS_PARAMETERS),
    "init": constraints.one_of("auto", *INITIALIZERS) | constraints.function(),
    "fit_intercept": constraints.boolean(),
    "class_weight": constraints.one_of("balanced") | constraints.mapping() | constraints.nothing(),
    "dropout": constraints.real(0.0, 1.0),
    "warmup_epochs": constraints.real(0.0),
    "step_epochs": constraints.integer(1),
    "step_factor": constraints.real(0.0, 1.0, open_low=True, closed_high=True),
    "max_grad_norm": constraints.real(0.0, open_low=True) | constraints.nothing(),
    "scoring": constraints.text() | constraints.function(),
    "alpha_scaling": constraints.one_of("batch", "samples"),
    "layers": constraints.sequence() | constraints.nothing(),
    "input_shape": constraints.layer_sizes() | constraints.nothing(),
    "scale": constraints.boolean(),
    "categorical_features": constraints.one_of("from_dtype")
    | constraints.column_selection()
    | constraints.nothing(),
    "missing": constraints.one_of("error", "indicator"),
    "label_smoothing": constraints.real(0.0, 1.0),
    "n_ensemble": constraints.integer(1),
}
"""The classifier's parameters."""

_OF_CLASSES = {"class_weight", "label_smoothing"}

REGRESSOR_CONSTRAINTS = {
    **{name: each for name, each in CONSTRAINTS.items() if name not in _OF_CLASSES},
    "loss": constraints.one_of(*REGRESSION_LOSSES),
    "huber_delta": constraints.real(0.0, open_low=True),
    "quantiles": constraints.numbers() | constraints.nothing(),
    "scale_target": constraints.boolean(),
    "calibration_fraction": constraints.real(0.0, 1.0),
}
"""The regressor's parameters."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The constructor's parameters, checked, as Python's own types.

    Names are those of the parameters, which the estimator describes, except where a field holds
    what its parameter stands for. `random_state` is not among them, because drawing changes it.
    """

    hidden_layers: tuple[Layer, ...]
    """All layers but the output layer, with their activations."""
    input_shape: tuple[int, ...] | None
    """The shape of a row; None for rows of any length."""
    loss: str
    initializer: Initializer
    fit_intercept: bool

    solver: Solver
    alpha: float
    alpha_scaling: str
    batch_size: int | None
    """None for 'auto'."""
    shuffle: bool
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    max_grad_norm: float | None
    max_fun: int

    learning_rate: str
    learning_rate_init: float
    power_t: float
    warmup_epochs: float
    step_epochs: int
    step_factor: float

    max_iter: int
    tol: float
    n_iter_no_change: float
    early_stopping: bool
    validation_fraction: float
    scoring: str | Callable[..., Any]
    class_weight: str | Mapping[Any, float] | None
    scale: bool
    label_smoothing: float
    n_ensemble: int
    warm_start: bool
    verbose: bool

    def uses(self, parameter: str) -> bool:
        """Whether the parameter has an effect with this solver."""
        return parameter not in self.solver.unused

    @property
    def splits_rows(self) -> bool:
        """Whether early stopping holds out some of the rows, if it is not given others."""
        return self.early_stopping and self.solver.makes_updates

    def clip_batch_size(self, n_rows: int) -> int:
        """Return the rows of a mini-batch."""
        return min(_AUTO_BATCH_SIZE if self.batch_size is None else self.batch_size, n_rows)

    def make_schedule(self) -> Schedule:
        """Return the learning-rate schedule at its beginning."""
        unused = self.learning_rate in self.solver.unused_schedules
        return Schedule(
            "constant" if unused else self.learning_rate,
            self.learning_rate_init,
            warmup_epochs=self.warmup_epochs,
            max_epochs=self.max_iter,
            step_epochs=self.step_epochs,
            step_factor=self.step_factor,
            power=self.power_t,
        )

    def make_optimizer(self, parameters: Parameters) -> Optimizer:
        """Return a new optimizer for a network's parameters."""
        settings = OptimizerSettings(
            learning_rate=self.learning_rate_init,
            momentum=self.momentum,
            nesterov=self.nesterovs_momentum,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )
        return self.solver.make_optimizer(parameters, settings, alpha=self.alpha)


def make_training_config(
    owner: str, allowed: Mapping[str, Constraint], parameters: Mapping[str, Any]
) -> TrainingConfig:
    """Return the configuration for these parameters.

    Parameters
    ----------
    owner : str
        The estimator's class, for error messages.
    allowed : mapping of str to Constraint
        The constructor's parameters.
    parameters : mapping of str to object
        A value for each of them.

    Raises
    ------
    InvalidParameterError
        For the first parameter that is wrong.
    """
    check_hyperparameters(owner, allowed, parameters)
    p = parameters
    init = p["init"]
    hidden_layers, first_activation = _make_hidden_layers(parameters)
    return TrainingConfig(
        hidden_layers=hidden_layers,
        input_shape=find_input_shape(parameters),
        loss=p["loss"],
        initializer=make_checked_initializer(init)
        if callable(init)
        else find_initializer(init, first_activation),
        fit_intercept=bool(p["fit_intercept"]),
        solver=SOLVERS[p["solver"]],
        alpha=float(p["alpha"]),
        alpha_scaling=p["alpha_scaling"],
        batch_size=None if p["batch_size"] == "auto" else int(p["batch_size"]),
        shuffle=bool(p["shuffle"]),
        momentum=float(p["momentum"]),
        nesterovs_momentum=bool(p["nesterovs_momentum"]),
        beta_1=float(p["beta_1"]),
        beta_2=float(p["beta_2"]),
        epsilon=float(p["epsilon"]),
        max_grad_norm=None if p["max_grad_norm"] is None else float(p["max_grad_norm"]),
        max_fun=int(p["max_fun"]),
        learning_rate=p["learning_rate"],
        learning_rate_init=float(p["learning_rate_init"]),
        power_t=float(p["power_t"]),
        warmup_epochs=float(p["warmup_epochs"]),
        step_epochs=int(p["step_epochs"]),
        step_factor=float(p["step_factor"]),
        max_iter=int(p["max_iter"]),
        tol=float(p["tol"]),
        n_iter_no_change=inf if p["n_iter_no_change"] == inf else int(p["n_iter_no_change"]),
        early_stopping=bool(p["early_stopping"]),
        validation_fraction=float(p["validation_fraction"]),
        scoring=p["scoring"],
        class_weight=p.get("class_weight"),
        scale=bool(p["scale"]),
        label_smoothing=float(p.get("label_smoothing", 0.0)),
        n_ensemble=int(p["n_ensemble"]),
        warm_start=bool(p["warm_start"]),
        verbose=bool(p["verbose"]),
    )


def _make_hidden_layers(
    parameters: Mapping[str, Any],
) -> tuple[tuple[Layer, ...], str | None]:
    """Return the hidden layers, and the name of the first activation."""
    if parameters["layers"] is not None:
        layers = make_layers(parameters["layers"])
        names = (layer.function for layer in layers if isinstance(layer, Activation))
        return layers, next(names, None)
    sizes, activation = parameters["hidden_layer_sizes"], parameters["activation"]
    hidden = (int(sizes),) if isinstance(sizes, Integral) else tuple(int(n) for n in sizes)
    by_name = isinstance(activation, str)
    activations = (activation,) * len(hidden) if by_name else tuple(activation)
    made = make_hidden_layers(
        hidden,
        activations,
        bias=bool(parameters["fit_intercept"]),
        dropout=float(parameters["dropout"]),
    )
    # As scikit-learn does, 'auto' reads the activation even if there is no hidden layer.
    return tuple(made), activation if by_name else next(iter(activations), None)


def find_input_shape(parameters: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of a row, in which a picture has channels; None for rows of any length."""
    shape = parameters["input_shape"]
    if shape is None:
        return None
    sizes = (int(shape),) if isinstance(shape, Integral) else tuple(int(n) for n in shape)
    if parameters["layers"] is None:
        return (prod(sizes),)
    return with_channels(sizes)


def check_output_shape(shape: Shape) -> None:
    """Raise ValueError unless the output layer can read the output of the hidden layers."""
    if len(shape) != 1:
        raise ValueError(
            "layers must end with one row of values, which the output layer reads. Got values of "
            f"shape {shape}. Put Flatten() at the end."
        )


def check_hyperparameters(
    owner: str, allowed: Mapping[str, Constraint], parameters: Mapping[str, Any]
) -> None:
    """Check every parameter, alone and with the others.

    Parameters
    ----------
    owner : str
        The estimator's class, for the message.
    allowed : mapping of str to Constraint
        The constructor's parameters.
    parameters : mapping of str to object
        A value for each of them.

    Raises
    ------
    InvalidParameterError
        For the first parameter that is wrong.
    """
    constraints.check_parameters(owner, allowed, parameters)
    activation, sizes = parameters["activation"], parameters["hidden_layer_sizes"]
    n_hidden = 1 if isinstance(sizes, Integral) else len(list(sizes))
    if np.size(parameters["input_shape"]) == 0:
        raise constraints.invalid_parameter(
            owner, "input_shape", parameters["input_shape"], "of at least one number"
        )
    encodes = parameters["categorical_features"] is not None or parameters["missing"] != "error"
    if encodes and parameters["input_shape"] is not None:
        raise constraints.invalid_parameter(
            owner,
            "input_shape",
            parameters["input_shape"],
            "None with categorical_features or missing='indicator', which choose the inputs",
        )
    by_layer = parameters["layers"] is None and not isinstance(activation, str)
    if by_layer and len(activation) != n_hidden:
        raise constraints.invalid_parameter(
            owner,
            "activation",
            activation,
            f"one name, or one name for each of the {n_hidden} hidden layers",
        )
    solver = SOLVERS[parameters["solver"]]
    _check_layers(owner, parameters, solver)
    if parameters["warm_start"] and parameters["n_ensemble"] > 1:
        raise constraints.invalid_parameter(
            owner, "warm_start", True, "False with n_ensemble above 1, which trains new networks"
        )
    for name, value in solver.required.items():
        if parameters[name] != value:
            raise constraints.invalid_parameter(
                owner,
                name,
                parameters[name],
                f"{value!r} with solver={solver.name!r}, which makes no mini-batch updates",
            )


def check_regressor_parameters(owner: str, parameters: Mapping[str, Any]) -> None:
    """Check the regressor's own parameters with each other.

    Parameters
    ----------
    owner : str
        The estimator's class, for the message.
    parameters : mapping of str to object
        A value for each key of `REGRESSOR_CONSTRAINTS`, of which a run file's network has no
        `calibration_fraction`.

    Raises
    ------
    InvalidParameterError
        For the first parameter that does not fit the others.
    """
    loss, quantiles = parameters["loss"], parameters["quantiles"]

    def invalid(name: str, expected: str) -> InvalidParameterError:
        return constraints.invalid_parameter(owner, name, parameters[name], expected)

    if quantiles is not None:
        if loss != "quantile":
            raise invalid("quantiles", f"None with loss={loss!r}; set loss='quantile'")
        if not len(quantiles) or not is_increasing(np.array(quantiles, np.float64)):
            raise invalid("quantiles", "numbers between 0 and 1, each above the one before")
    if parameters["n_ensemble"] > 1 and parameters.get("calibration_fraction"):
        expected = "0 with n_ensemble above 1, whose networks are calibrated by X_cal and y_cal"
        raise invalid("calibration_fraction", expected)
    if parameters["n_ensemble"] > 1 and loss == "quantile":
        raise invalid("n_ensemble", "1 with loss='quantile': a mean of quantiles is no quantile")
    if parameters["scale_target"]:
        if loss == "poisson":
            raise invalid("scale_target", "False with loss='poisson', whose outputs are exp(z)")
        if not parameters["fit_intercept"]:
            raise invalid("scale_target", "False without intercepts, which hold the mean of y")


def _check_layers(owner: str, parameters: Mapping[str, Any], solver: Solver) -> None:
    """Check the stack of `layers`, and the parameters that it excludes."""
    if parameters["layers"] is None:
        return
    if parameters["dropout"]:
        expected = "0.0 with layers, in which Dropout(rate) is a layer"
        raise constraints.invalid_parameter(owner, "dropout", parameters["dropout"], expected)
    try:
        layers = make_layers(parameters["layers"])
        shape = find_input_shape(parameters)
        if shape is not None:
            check_output_shape(find_shapes(layers, shape)[-1])
    except ValueError as error:
        raise InvalidParameterError(f"The 'layers' parameter of {owner}: {error}") from None
    for i, layer in enumerate(layers):
        if layer.only_mini_batches and not solver.makes_updates:
            raise InvalidParameterError(
                f"The 'layers' parameter of {owner}: layers[{i}], {layer!r}, is trained on "
                f"mini-batches, which solver={solver.name!r} does not make. Set solver='adam', "
                "'adamw' or 'sgd'."
            )
