"""The constraints of the constructor's parameters, each alone and together."""

from collections.abc import Mapping
from math import prod
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from quadnet.estimator import constraints
from quadnet.estimator.constraints import Constraint
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS
from quadnet.nn.layers.layer import Shape
from quadnet.nn.layers.stack import find_shapes, make_layers, with_channels
from quadnet.nn.losses.of_classes import LOSS_PARAMETERS
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES, is_increasing
from quadnet.nn.schedules import SCHEDULES
from quadnet.nn.solvers import SOLVERS, Solver

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
