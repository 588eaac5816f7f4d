"""The frozen configuration of a fit, made of an estimator's parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import Any

from quadnet.estimator.constraints import Constraint
from quadnet.estimator.hyperparameters import check_hyperparameters, find_input_shape
from quadnet.nn.initializers import Initializer, find_initializer, make_checked_initializer
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.layer import Layer
from quadnet.nn.layers.stack import make_hidden_layers, make_layers
from quadnet.nn.optimizers import Optimizer, OptimizerSettings
from quadnet.nn.parameters import Parameters
from quadnet.nn.schedules import Schedule
from quadnet.nn.solvers import SOLVERS, Solver

_AUTO_BATCH_SIZE = 200


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
    """Return the configuration for these parameters, once `check_hyperparameters` accepts them."""
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
