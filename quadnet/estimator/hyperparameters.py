"""The estimator's constructor, and what each parameter may be, alone and together with others."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from quadnet.estimator import constraints
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import INITIALIZERS, Initializer
from quadnet.nn.losses import LOSS_PARAMETERS

CONSTRAINTS = {
    "hidden_layer_sizes": constraints.layer_sizes(),
    "activation": constraints.one_of(*ACTIVATIONS) | constraints.sequence_of(*ACTIVATIONS),
    "solver": constraints.one_of("adam", "adamw", "lbfgs", "sgd"),
    "alpha": constraints.real(0.0),
    "batch_size": constraints.one_of("auto") | constraints.integer(1),
    "learning_rate": constraints.one_of("constant", "invscaling", "adaptive", "cosine", "step"),
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
}


class Hyperparameters(BaseEstimator):
    """The constructor; its parameters are described where users meet them, in the estimator."""

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
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.init = init
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.dropout = dropout
        self.warmup_epochs = warmup_epochs
        self.step_epochs = step_epochs
        self.step_factor = step_factor
        self.max_grad_norm = max_grad_norm
        self.scoring = scoring
        self.alpha_scaling = alpha_scaling

    def _checked_parameters(self) -> dict[str, Any]:
        """Return the parameters by name.

        Raises
        ------
        InvalidParameterError
            For the first that is wrong, alone or with others.
        """
        owner = type(self).__name__
        # Not get_params(), which a subclass with another constructor narrows.
        parameters = {name: getattr(self, name) for name in CONSTRAINTS}
        constraints.check(owner, CONSTRAINTS, parameters)
        activation, sizes = self.activation, self.hidden_layer_sizes
        n_hidden = 1 if isinstance(sizes, (int, Integral)) else len(list(sizes))
        if not isinstance(activation, str) and len(activation) != n_hidden:
            raise constraints.invalid(
                owner,
                "activation",
                activation,
                f"one name, or one for each of the {n_hidden} hidden layers",
            )
        if self.solver == "lbfgs":
            for name, off in {"dropout": 0.0, "max_grad_norm": None, "warmup_epochs": 0.0}.items():
                if parameters[name] != off:
                    raise constraints.invalid(
                        owner,
                        name,
                        parameters[name],
                        f"{off!r} with solver='lbfgs', which makes no stochastic updates",
                    )
        return parameters
