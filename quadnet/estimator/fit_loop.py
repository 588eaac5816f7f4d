"""One call of `fit` or `partial_fit`: a network, its data, and the loop around its training."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from quadnet.estimator import fit_warnings
from quadnet.estimator.callbacks import EpochTasks
from quadnet.estimator.early_stopping import HeldOut, Scorer
from quadnet.estimator.history import History
from quadnet.nn import lbfgs
from quadnet.nn.network import Network
from quadnet.nn.optimizers import SGD, Adam, Optimizer
from quadnet.nn.schedules import Schedule
from quadnet.nn.training import MiniBatches, Penalty, PenaltyBuffers, train
from quadnet.types import BoolArray, FloatArray


def _all_finite(values: FloatArray) -> bool:
    # Their sum says so in a fifth of the time, unless they are so large that it overflows.
    return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


class Fit:
    """Trains a network in place, keeping its record, until it is time to stop.

    Parameters
    ----------
    parameters : dict
        The estimator's parameters.
    network : Network
        With its starting weights.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    Y : ndarray of bool, shape (n_rows, n_outputs)
    weights : ndarray of shape (n_rows,), optional
    held_out : HeldOut, optional
        Scored after each epoch by `scorer`; if the history says that this decides when to stop,
        the best epoch's weights are restored at the end.
    scorer : callable, optional
    history : History
        Continued.
    rng : RandomState
        Draws the shuffles.
    optimizer : Optimizer, optional
        Continued; by default a new one.
    decay : PenaltyBuffers, optional
        That of an earlier call, used again.
    epochs_done : int, default=0
        Where the learning-rate schedule goes on.
    on_epoch : callable, optional
        Called with the record after each epoch.

    Attributes
    ----------
    stop_reason : str
        Why it ended, as the estimator's `stop_reason_`.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        network: Network,
        X: Any,
        Y: BoolArray,
        *,
        weights: FloatArray | None,
        held_out: HeldOut | None = None,
        scorer: Scorer | None = None,
        history: History,
        rng: RandomState,
        optimizer: Optimizer | None = None,
        decay: PenaltyBuffers | None = None,
        epochs_done: int = 0,
        on_epoch: Callable[[History], object] | None = None,
    ) -> None:
        self._parameters, self.network = parameters, network
        self._X, self._Y, self._weights = X, Y, weights
        self._held_out, self._scorer = held_out, scorer
        self.history, self._rng = history, rng
        self.optimizer, self.decay, self._epochs_done = optimizer, decay, epochs_done
        self._on_epoch = on_epoch
        self._epochs_before = history.epochs
        self.stop_reason = "max_iter"

    @property
    def n_iter(self) -> int:
        """Epochs, or iterations of L-BFGS, done."""
        return self.history.epochs - self._epochs_before

    def run(
        self,
        max_epochs: int,
        *,
        tasks: EpochTasks | None = None,
        fitted: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Train for at most this many epochs, or iterations of L-BFGS.

        Raises
        ------
        ValueError
            If the loss or the weights are no longer finite.
        """
        solve = self._lbfgs if self._parameters["solver"] == "lbfgs" else self._epochs
        try:
            # Overflow is reported once and in words, as divergence.
            with np.errstate(all="ignore"):
                solve(max_epochs, tasks, fitted)
        except KeyboardInterrupt:
            self.stop_reason = "interrupted"
        if self.history.early_stopping and self.n_iter and self.history.best_theta is None:
            raise ValueError(
                "scoring must tell epochs apart, but no epoch had a score above -inf. Got the "
                f"scores {self.history.scores[-self.n_iter :][:5]} in the first epochs."
            )
        if self.history.best_theta is not None:
            self.network.parameters.flat[:] = self.history.best_theta
        elif not _all_finite(self.network.parameters.flat):
            raise self._diverged(f"weights that are not finite after epoch {self.n_iter}")

    def _epochs(
        self, max_epochs: int, tasks: EpochTasks | None, fitted: Callable[[], dict[str, Any]]
    ) -> None:
        p = self._parameters
        n_rows = self._X.shape[0]
        schedule, history = self._schedule(), self.history
        varies = schedule.kind in {"cosine", "step"} or schedule.warmup_epochs > 0
        if self.optimizer is None or not self._can_continue(self.optimizer):
            self.optimizer = self._new_optimizer()
        else:
            self.optimizer.decay = self._weight_decay()
            if schedule.kind in {"invscaling", "adaptive"} and history.base_rate is not None:
                schedule.rate = history.base_rate
        self.optimizer.learning_rate = schedule.rate
        dropout_rng = None
        if p["dropout"]:
            dropout_rng = np.random.default_rng(self._rng.randint(2**32, dtype=np.uint64))
        batches = MiniBatches(
            self.network,
            self._X,
            self._Y,
            optimizer=self.optimizer,
            batch_size=self._batch_size(n_rows),
            weights=self._weights,
            penalty=Penalty(
                0.0 if p["solver"] == "adamw" else p["alpha"],
                per_sample=p["alpha_scaling"] == "samples",
            ),
            max_gradient_norm=p["max_grad_norm"],
            dropout=p["dropout"],
            dropout_rng=dropout_rng,
            penalty_buffers=self.decay,
        )
        self.decay = batches.penalty_buffers
        epochs = train(
            batches,
            shuffle=p["shuffle"],
            rng=self._rng,
            schedule=schedule if varies else None,
            epochs_done=self._epochs_done,
        )
        updates_before = history.updates
        for _ in range(max_epochs):
            if tasks:
                tasks.begin_epoch()
            epoch = next(epochs)
            history.updates = updates_before + epoch.updates
            history.rows_seen += n_rows
            self._after_epoch(epoch.number, epoch.loss, self.optimizer.learning_rate)
            asked_to_stop = tasks.end_epoch(fitted) if tasks else False
            schedule.end_epoch(history.rows_seen)
            standing_still = history.standing_still > p["n_iter_no_change"]
            if standing_still and not self._may_go_on(schedule):
                self.stop_reason = "no_improvement"
            history.base_rate = schedule.rate
            if not varies:
                self.optimizer.learning_rate = schedule.rate
            if self.stop_reason == "no_improvement":
                return
            if asked_to_stop:
                self.stop_reason = "callback"
                return

    def _lbfgs(
        self, max_epochs: int, tasks: EpochTasks | None, fitted: Callable[[], dict[str, Any]]
    ) -> None:
        p = self._parameters
        # Line searches compare differences of losses, for which float32 is too coarse.
        double = self.network.to_float64()

        def after_iteration(loss: float) -> bool:
            self.network.parameters.flat[:] = double.parameters.flat
            self.history.updates += 1
            self.history.rows_seen += self._X.shape[0]
            self._after_epoch(self.n_iter + 1, loss, None)
            if tasks:
                tasks.begin_epoch()
                if tasks.end_epoch(fitted):
                    self.stop_reason = "callback"
                    return True
            # Without held-out rows, SciPy's own criterion decides.
            still = self.history.standing_still > p["n_iter_no_change"]
            if self.history.early_stopping and still:
                self.stop_reason = "no_improvement"
                return True
            return False

        objective = lbfgs.Objective(
            double, self._X, self._Y, weights=self._weights, alpha=p["alpha"]
        )
        result = lbfgs.minimize_objective(
            objective,
            max_iter=max_epochs,
            max_fun=p["max_fun"],
            tol=p["tol"],
            after_iteration=after_iteration,
        )
        self.network.parameters.flat[:] = double.parameters.flat
        if not self.n_iter:  # it began where the gradient is 0
            self._after_epoch(1, float(result.fun), None)
        if self.stop_reason != "max_iter":
            return
        if result.status == 0:
            self.stop_reason = "converged"
        elif result.status == 2:
            self.stop_reason = "line_search"
        elif result.nit < max_epochs:
            self.stop_reason = "max_fun"

    def _after_epoch(self, number: int, loss: float, learning_rate: float | None) -> None:
        """Keep the record of an epoch; stop at the first loss that is not finite."""
        p = self._parameters
        if not np.isfinite(loss):
            raise self._diverged(f"the loss of epoch {number} is {loss}")
        if p["verbose"]:
            print(f"Iteration {number}, loss = {loss:.8f}")
        if not self.history.early_stopping:
            self.history.record(loss, learning_rate=learning_rate, tol=p["tol"])
        if self._held_out is not None:
            self._validate(loss, learning_rate)
        if self._on_epoch is not None:
            self._on_epoch(self.history)

    def _validate(self, loss: float, learning_rate: float | None) -> None:
        """Score the held-out rows, and keep the record of that too."""
        p = self._parameters
        assert self._held_out is not None
        assert self._scorer is not None
        validation_loss = self._held_out.loss(self.network)
        score = self._scorer(self.network, self._held_out)
        if p["verbose"]:
            print(f"Validation score: {score:f}, loss = {validation_loss:.8f}")
        if not self.history.early_stopping:
            self.history.watch(validation_loss, score)
            return
        self.history.record_validated(
            loss,
            learning_rate=learning_rate,
            tol=p["tol"],
            validation_loss=validation_loss,
            score=score,
            theta=self.network.parameters.flat,
        )

    def _diverged(self, what: str) -> ValueError:
        p = self._parameters
        lower = f"Lower learning_rate_init (now {p['learning_rate_init']}), set max_grad_norm, or "
        if p["solver"] == "lbfgs":
            lower = "Start from smaller weights (init), or "
        return ValueError(
            f"Training diverged: {what}. {lower}scale X to zero mean and unit variance; X or the "
            "weights of the rows may hold values that are far too large."
        )

    def _may_go_on(self, schedule: Schedule) -> bool:
        """Training stands still: return True if the schedule's answer is a lower rate."""
        p = self._parameters
        lowered = schedule.lower_rate()
        if lowered:
            self.history.standing_still = 0
        if p["verbose"]:
            what = "Validation score" if self.history.early_stopping else "Training loss"
            then = f"Setting learning rate to {schedule.rate:f}" if lowered else "Stopping."
            print(
                f"{what} did not improve more than tol={p['tol']:f} for "
                f"{p['n_iter_no_change']} consecutive epochs. {then}"
            )
        return lowered

    def _batch_size(self, n_rows: int) -> int:
        size = self._parameters["batch_size"]
        if size == "auto":
            return min(200, n_rows)
        if size > n_rows:
            fit_warnings.warn(
                f"Got batch_size={size} for {n_rows} training rows. It is going to be clipped."
            )
        return int(min(size, n_rows))

    def _schedule(self) -> Schedule:
        p = self._parameters
        kind = p["learning_rate"]
        if p["solver"] != "sgd" and kind in {"invscaling", "adaptive"}:
            kind = "constant"  # scikit-learn's two policies are for its sgd only
        return Schedule(
            kind,
            p["learning_rate_init"],
            warmup_epochs=p["warmup_epochs"],
            max_epochs=p["max_iter"],
            step_epochs=p["step_epochs"],
            step_factor=p["step_factor"],
            power=p["power_t"],
        )

    def _new_optimizer(self) -> Optimizer:
        p = self._parameters
        theta = self.network.parameters.flat
        rate = float(p["learning_rate_init"])
        if p["solver"] == "sgd":
            return SGD(
                theta,
                learning_rate=rate,
                momentum=p["momentum"],
                nesterov=p["nesterovs_momentum"],
            )
        return Adam(
            theta,
            learning_rate=rate,
            beta_1=p["beta_1"],
            beta_2=p["beta_2"],
            epsilon=p["epsilon"],
            decay=self._weight_decay(),
        )

    def _weight_decay(self) -> FloatArray | None:
        p = self._parameters
        if p["solver"] != "adamw":
            return None
        return self.network.parameters.weights_only(p["alpha"])

    def _can_continue(self, optimizer: Optimizer) -> bool:
        """Whether it is of the right kind, for parameters of this number and type."""
        theta, kind = (
            self.network.parameters.flat,
            SGD if self._parameters["solver"] == "sgd" else Adam,
        )
        return (
            type(optimizer) is kind
            and optimizer.gradient.shape == theta.shape
            and optimizer.gradient.dtype == theta.dtype
        )

    def warn(self) -> None:
        """Warn if training ended before it had converged, or went wrong."""
        if self.stop_reason == "interrupted":
            fit_warnings.warn(
                f"Training interrupted by user after {self.n_iter} epochs; the network trained so "
                "far is kept."
            )
            return
        with np.errstate(all="ignore"):
            sentences = [*self._unfinished(), *self._signs()]
        for sentence in sentences:
            fit_warnings.warn(sentence, ConvergenceWarning)

    def warn_of_light_weights(self) -> None:
        """Warn if the penalty outweighs the rows, whose weights are small."""
        p = self._parameters
        if self._weights is None or p["solver"] == "adamw":
            return
        by_batch = p["solver"] != "lbfgs" and p["alpha_scaling"] == "batch"
        n_rows = self._X.shape[0]
        size = 200 if p["batch_size"] == "auto" else p["batch_size"]
        n_batches = math.ceil(n_rows / min(size, n_rows)) if by_batch else 1
        for sentence in fit_warnings.signs_of_light_weights(
            p["alpha"], n_rows, self._weights, n_batches
        ):
            fit_warnings.warn(sentence)

    def _unfinished(self) -> Iterator[str]:
        p = self._parameters
        if p["learning_rate"] == "cosine" and p["solver"] != "lbfgs":
            return  # its last epoch is where it is meant to end
        kind = "lbfgs" if p["solver"] == "lbfgs" else "Stochastic Optimizer"
        sentence = {
            "max_iter": f"Maximum iterations ({p['max_iter']}) reached and the optimization "
            "hasn't converged yet. Increase max_iter or scale X.",
            "max_fun": f"Maximum function evaluations ({p['max_fun']}) reached and the "
            "optimization hasn't converged yet. Increase max_fun or scale X.",
            "line_search": "No step along the search direction lowers the loss any further. "
            "Scale X, or increase tol if this is good enough.",
        }.get(self.stop_reason)
        if sentence:
            yield f"{kind}: {sentence}"

    def _signs(self) -> Iterator[str]:
        p, history = self._parameters, self.history
        if self.stop_reason == "callback":
            return
        yield from fit_warnings.signs_of_scale(
            history.loss_curve[-1],
            fit_warnings.loss_of_shares(self.network.loss, self._Y, self._weights),
            self._X,
            # With dropout the training loss is not the loss of the network that is kept.
            ended=self.stop_reason not in {"max_iter", "max_fun"} and not p["dropout"],
            remedy="Start from smaller weights (init)."
            if p["solver"] == "lbfgs"
            else f"Lower learning_rate_init (now {p['learning_rate_init']}).",
        )
        if history.early_stopping and self.stop_reason == "no_improvement":
            assert self._held_out is not None
            yield from fit_warnings.signs_of_few_rows(
                self._held_out.n_rows,
                history.validation_losses[-self.n_iter :],
                history.best_iteration - self._epochs_before - 1,
            )
