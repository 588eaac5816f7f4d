"""The loop of one call of `fit` or `partial_fit`: epochs, their record, and when to stop."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.random import RandomState

from quadnet.estimator.fitting.callbacks import EpochTasks
from quadnet.estimator.fitting.early_stopping import Validation, compute_loss
from quadnet.estimator.fitting.history import MAX_CURVE_LENGTH, History
from quadnet.estimator.targets.numbers import Numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.estimator.user_warnings import warn_user
from quadnet.nn.lbfgs import Objective, minimize_objective
from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer
from quadnet.nn.parameters import Parameters
from quadnet.nn.replay.update_loop import UpdateCounts
from quadnet.nn.schedules import Schedule
from quadnet.nn.training import MiniBatches, Penalty, PenaltyBuffers, train
from quadnet.types import FloatArray

StopReason = Literal[
    "no_improvement",
    "max_iter",
    "converged",
    "max_fun",
    "line_search",
    "callback",
    "interrupted",
    "partial_fit",
]

FittedAttributes = Callable[[], dict[str, Any]]
"""Returns the attributes of an estimator whose training ends now."""


class TrainingRun:
    """Trains a network in place, and keeps the record, until it is time to stop.

    Parameters
    ----------
    config : TrainingConfig
    network : Network
        With its starting weights.
    rows : TargetRows
    history : History
        Continued.
    rng : RandomState
        Draws the shuffles.
    validation : Validation, optional
        Scored after each epoch. If `history.early_stopping`, the score decides when to stop, and
        the weights of the best epoch are restored at the end.
    optimizer : Optimizer, optional
        Continued, if it fits the configuration; by default a new one.
    penalty_buffers : PenaltyBuffers, optional
        Those of an earlier call, to be used again.
    epochs_done : int, default=0
        The epochs of the learning-rate schedule that earlier calls have made.
    on_epoch : callable, optional
        Called with the record after each epoch.

    Attributes
    ----------
    stop_reason : str
        Why training ended, as the estimator's `stop_reason_`.
    epochs_before : int
        Epochs in the record before this run.
    update_counts : UpdateCounts
        How its updates were made.
    """

    def __init__(
        self,
        config: TrainingConfig,
        network: Network,
        rows: TargetRows,
        *,
        history: History,
        rng: RandomState,
        validation: Validation | None = None,
        optimizer: Optimizer | None = None,
        penalty_buffers: PenaltyBuffers | None = None,
        epochs_done: int = 0,
        on_epoch: Callable[[History], object] | None = None,
    ) -> None:
        self.config, self.network, self.rows = config, network, rows
        self.history, self.rng, self.validation = history, rng, validation
        self.optimizer, self.penalty_buffers = optimizer, penalty_buffers
        self._epochs_done, self._on_epoch = epochs_done, on_epoch
        self.epochs_before = history.epochs
        self.stop_reason: StopReason = "max_iter"
        self.update_counts = UpdateCounts()

    @property
    def n_iter(self) -> int:
        """Epochs, or iterations of L-BFGS, of this run."""
        return self.history.epochs - self.epochs_before

    def train(
        self,
        max_epochs: int,
        *,
        tasks: EpochTasks | None = None,
        fitted: FittedAttributes = dict,
        by_part: bool = False,
    ) -> None:
        """Train for at most this many epochs, or iterations of L-BFGS.

        Parameters
        ----------
        max_epochs : int
        tasks : EpochTasks, optional
            Reports each epoch to scikit-learn's callbacks.
        fitted : callable
            Returns the attributes of the fitted estimator, for the callbacks.
        by_part : bool, default=False
            Whether other calls may continue this one. The best weights are then restored only when
            the score no longer improves.

        Raises
        ------
        ValueError
            If the loss or the weights are no longer finite.
        """
        solve = self._train_mini_batches if self.config.solver.makes_updates else self._train_lbfgs
        try:
            # Overflow is reported once, as divergence.
            with np.errstate(all="ignore"):
                solve(max_epochs, tasks, fitted)
        except KeyboardInterrupt:
            self.stop_reason = "interrupted"
        if self.history.early_stopping and self.n_iter and self.history.best_theta is None:
            raise ValueError(
                "scoring must distinguish epochs, but no epoch had a score above -inf. Got the "
                f"scores {self.history.scores[-self.n_iter :][:5]} in the first epochs."
            )
        ended = not by_part or self.stop_reason == "no_improvement"
        if ended and self.history.best_theta is not None:
            self.network.parameters.flat[:] = self.history.best_theta
            self.history.best_theta = None
        elif not _all_finite(self.network.parameters.flat):
            raise self._divergence(f"weights that are not finite after epoch {self.n_iter}")

    def train_part(self) -> None:
        """Train for one epoch of a training that is made part by part.

        Raises
        ------
        ValueError
            If the loss or the weights are no longer finite.
        """
        self.train(1, by_part=True)
        stopped = self.stop_reason == "no_improvement" and self.history.early_stopping
        if self.stop_reason != "interrupted" and not stopped:
            self.stop_reason = "partial_fit"
        self.history.shorten_curves(MAX_CURVE_LENGTH)

    def _train_mini_batches(
        self, max_epochs: int, tasks: EpochTasks | None, fitted: FittedAttributes
    ) -> None:
        config, history = self.config, self.history
        schedule = config.make_schedule()
        optimizer = self._prepare_optimizer(schedule)
        batches = self._make_mini_batches(optimizer, max_epochs)
        # These set the rate of each update; the others change it after an epoch.
        varies = schedule.kind in {"cosine", "step"} or schedule.warmup_epochs > 0
        epochs = train(
            batches,
            shuffle=config.shuffle,
            rng=self.rng,
            schedule=schedule if varies else None,
            epochs_done=self._epochs_done,
        )
        updates_before = history.updates
        for _ in range(max_epochs):
            if tasks:
                tasks.begin_epoch()
            epoch = next(epochs)
            history.updates = updates_before + epoch.updates
            history.rows_seen += self.rows.n_rows
            self._record_epoch(epoch.number, epoch.loss, optimizer.learning_rate)
            stopped_by_callback = tasks.end_epoch(fitted) if tasks else False
            schedule.end_epoch(history.rows_seen)
            if self._has_stopped_improving() and not self._lower_rate(schedule):
                self.stop_reason = "no_improvement"
            history.base_rate = schedule.rate
            if not varies:
                optimizer.learning_rate = schedule.rate
            if self.stop_reason == "no_improvement":
                return
            if stopped_by_callback:
                self.stop_reason = "callback"
                return

    def _prepare_optimizer(self, schedule: Schedule) -> Optimizer:
        """Return the optimizer to continue, or a new one, at the schedule's rate."""
        config, parameters, optimizer = self.config, self.network.parameters, self.optimizer
        if optimizer is None or not _can_continue(optimizer, config, parameters):
            optimizer = config.make_optimizer(parameters)
        else:
            if parameters.n_trained < len(parameters.flat):
                # Running means get no gradient: what a call that failed left there would stay.
                optimizer.gradient[:] = 0.0
            optimizer.decay = config.solver.weight_decay(parameters, config.alpha)
            rate_is_kept = schedule.kind in {"invscaling", "adaptive"}
            if rate_is_kept and self.history.base_rate is not None:
                schedule.rate = self.history.base_rate
        optimizer.learning_rate = schedule.rate
        self.optimizer = optimizer
        return optimizer

    def _make_mini_batches(self, optimizer: Optimizer, max_epochs: int) -> MiniBatches:
        config, rows = self.config, self.rows
        if config.batch_size is not None and config.batch_size > rows.n_rows:
            warn_user(
                f"Got batch_size={config.batch_size} for {rows.n_rows} training rows. "
                "It is going to be clipped."
            )
        rng = None
        if any(layer.is_random for layer in self.network.layers):
            rng = np.random.default_rng(self.rng.randint(2**32, dtype=np.uint64))
        batches = MiniBatches(
            self.network,
            rows.X,
            rows.training_targets,
            optimizer=optimizer,
            batch_size=config.clip_batch_size(rows.n_rows),
            weights=rows.weights,
            penalty=Penalty(
                config.solver.penalty_strength(config.alpha),
                per_sample=config.alpha_scaling == "samples",
            ),
            max_gradient_norm=config.max_grad_norm,
            rng=rng,
            penalty_buffers=self.penalty_buffers,
            max_passes=max_epochs,
        )
        self.penalty_buffers = batches.penalty_buffers
        self.update_counts = batches.counts
        return batches

    def _train_lbfgs(
        self, max_epochs: int, tasks: EpochTasks | None, fitted: FittedAttributes
    ) -> None:
        config, rows = self.config, self.rows
        # Line searches compare differences of losses, for which float32 is too coarse.
        double = self.network.to_float64()

        def after_iteration(loss: float) -> bool:
            self.network.parameters.flat[:] = double.parameters.flat
            self.history.updates += 1
            self.history.rows_seen += rows.n_rows
            self._record_epoch(self.n_iter + 1, loss, None)
            if tasks:
                tasks.begin_epoch()
                if tasks.end_epoch(fitted):
                    self.stop_reason = "callback"
                    return True
            # Without validation rows, SciPy's own criterion decides.
            if self.history.early_stopping and self._has_stopped_improving():
                self.stop_reason = "no_improvement"
                return True
            return False

        objective = Objective(
            double, rows.X, rows.training_targets, weights=rows.weights, alpha=config.alpha
        )
        result = minimize_objective(
            objective,
            max_iter=max_epochs,
            max_fun=config.max_fun,
            tol=config.tol,
            after_iteration=after_iteration,
        )
        self.network.parameters.flat[:] = double.parameters.flat
        if not self.n_iter:  # the gradient is 0 at the starting weights
            self._record_epoch(1, objective.shown(float(result.fun)), None)
        if self.stop_reason != "max_iter":
            return
        if result.status == 0:
            self.stop_reason = "converged"
        elif result.status == 2:
            self.stop_reason = "line_search"
        elif result.nit < max_epochs:
            self.stop_reason = "max_fun"

    def _record_epoch(self, number: int, loss: float, learning_rate: float | None) -> None:
        """Add an epoch to the record; raise ValueError if its loss is not finite."""
        if not np.isfinite(loss):
            raise self._divergence(f"the loss of epoch {number} is {loss}")
        if self.config.verbose:
            print(f"Iteration {number}, loss = {loss:.8f}")
        if not self.history.early_stopping:
            self.history.add_epoch(loss, learning_rate=learning_rate, tol=self.config.tol)
        if self.validation is not None:
            self._record_validation(self.validation, loss, learning_rate)
        if self._on_epoch is not None:
            self._on_epoch(self.history)

    def _record_validation(
        self, validation: Validation, loss: float, learning_rate: float | None
    ) -> None:
        validation_loss = compute_loss(self.network, validation.rows)
        score = validation.score(self.network)
        if self.config.verbose:
            print(f"Validation score: {score:f}, loss = {validation_loss:.8f}")
        if not self.history.early_stopping:
            self.history.add_validation(validation_loss, score)
            return
        self.history.add_scored_epoch(
            loss,
            learning_rate=learning_rate,
            tol=self.config.tol,
            validation_loss=validation_loss,
            score=score,
            theta=self.network.parameters.flat,
        )

    def _has_stopped_improving(self) -> bool:
        return self.history.epochs_without_improvement > self.config.n_iter_no_change

    def _lower_rate(self, schedule: Schedule) -> bool:
        """Lower the learning rate, if the schedule does so, and continue; return whether it did."""
        lowered = schedule.lower_rate()
        if lowered:
            self.history.epochs_without_improvement = 0
        if self.config.verbose:
            # scikit-learn's words.
            what = "Validation score" if self.history.early_stopping else "Training loss"
            then = f"Setting learning rate to {schedule.rate:f}" if lowered else "Stopping."
            print(
                f"{what} did not improve more than tol={self.config.tol:f} for "
                f"{self.config.n_iter_no_change} consecutive epochs. {then}"
            )
        return lowered

    def _divergence(self, what: str) -> ValueError:
        remedy = "Start from smaller weights (init), or "
        if self.config.uses("learning_rate_init"):
            rate = self.config.learning_rate_init
            remedy = f"Lower learning_rate_init (now {rate}), set max_grad_norm, or "
        numbers = isinstance(self.rows.encoding, Numbers)
        how = "" if self.config.scale else " (scale=True)"
        how += ", and set scale_target=True" if numbers else ""
        holders = "X, y or the row weights" if numbers else "X or the row weights"
        return ValueError(
            f"Training diverged: {what}. {remedy}scale X to zero mean and unit variance{how}; "
            f"{holders} may hold values that are far too large."
        )


def _can_continue(optimizer: Optimizer, config: TrainingConfig, parameters: Parameters) -> bool:
    """Whether an optimizer is of the solver's class, and its state fits the parameters."""
    theta = parameters.flat
    return (
        type(optimizer) is config.solver.optimizer
        and optimizer.gradient.shape == theta.shape
        and optimizer.gradient.dtype == theta.dtype
    )


def _all_finite(values: FloatArray) -> bool:
    # A finite sum shows it in a fifth of the time; the sum of large values may overflow.
    return bool(np.isfinite(values.sum()) or np.isfinite(values).all())
