"""The solvers: for each name its optimizer, and which of the estimator's parameters it reads.

The estimator and the sandbox derive their lists from `SOLVERS`. A new solver is one more row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from quadnet.nn.optimizers import SGD, Adam, Optimizer, OptimizerSettings
from quadnet.nn.parameters import Parameters
from quadnet.types import FloatArray


@dataclass(frozen=True, slots=True)
class Solver:
    """One way to train a network.

    Parameters
    ----------
    name : str
    optimizer : class, optional
        The optimizer of mini-batch updates. L-BFGS has no such updates: it minimises the loss of
        all rows.
    decoupled_decay : bool, default=False
        Whether each update shrinks the weights by `alpha`, in place of a penalty in the loss.
    unused : set of str
        Parameters of the estimator that have no effect with this solver.
    unused_schedules : set of str
        Learning-rate schedules that are constant with this solver.
    required : mapping of str to object
        The only value that a parameter of the estimator may have, where any other would promise
        something that this solver does not do.
    """

    name: str
    optimizer: type[Optimizer] | None = None
    decoupled_decay: bool = False
    unused: frozenset[str] = frozenset()
    unused_schedules: frozenset[str] = frozenset()
    required: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def makes_updates(self) -> bool:
        """Whether it trains by updates on mini-batches, which can be continued one by one."""
        return self.optimizer is not None

    @property
    def n_moments(self) -> int:
        """Numbers that the optimizer keeps for each parameter."""
        return 0 if self.optimizer is None else self.optimizer.n_moments

    def make_optimizer(
        self, parameters: Parameters, settings: OptimizerSettings, *, alpha: float
    ) -> Optimizer:
        """Return a new optimizer for these parameters, if `makes_updates`."""
        assert self.optimizer is not None
        optimizer = self.optimizer.from_settings(parameters.flat, settings)
        optimizer.decay = self.weight_decay(parameters, alpha)
        return optimizer

    def weight_decay(self, parameters: Parameters, alpha: float) -> FloatArray | None:
        """Return the optimizer's `decay` for this strength."""
        return parameters.weights_only(alpha) if self.decoupled_decay else None

    def penalty_strength(self, alpha: float) -> float:
        """Return the strength of the penalty in the loss."""
        return 0.0 if self.decoupled_decay else alpha


_MOMENTUM = {"momentum", "nesterovs_momentum"}
_BETAS = {"beta_1", "beta_2", "epsilon"}
_LEARNING_RATES = {"learning_rate", "learning_rate_init", "power_t", "step_epochs", "step_factor"}

# scikit-learn has the schedules 'invscaling' and 'adaptive' for 'sgd' only.
_SCHEDULES_OF_SGD = frozenset({"invscaling", "adaptive"})

_ROWS = (
    Solver("sgd", SGD, unused=frozenset(_BETAS | {"max_fun"})),
    Solver(
        "adam",
        Adam,
        unused=frozenset(_MOMENTUM | {"power_t", "max_fun"}),
        unused_schedules=_SCHEDULES_OF_SGD,
    ),
    Solver(
        "adamw",
        Adam,
        decoupled_decay=True,
        unused=frozenset(_MOMENTUM | {"power_t", "max_fun", "alpha_scaling"}),
        unused_schedules=_SCHEDULES_OF_SGD,
    ),
    Solver(
        "lbfgs",
        unused=frozenset(
            _MOMENTUM | _BETAS | _LEARNING_RATES | {"batch_size", "shuffle", "alpha_scaling"}
        ),
        required=MappingProxyType({"dropout": 0.0, "max_grad_norm": None, "warmup_epochs": 0.0}),
    ),
)

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in _ROWS}
