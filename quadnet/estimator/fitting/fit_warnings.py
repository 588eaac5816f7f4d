"""Warnings after a fit: it ended too early, or its result shows that something is wrong.

scikit-learn's MLP gives no warning of bad scales, of too few held-out rows, or of light weights.
Each warning here has a condition on the result and one on the data, so that a fit that went well
does not warn, whatever its data are.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from quadnet.estimator.fitting.fit_loop import TrainingRun
from quadnet.estimator.targets.numbers import Numbers
from quadnet.estimator.user_warnings import warn_user
from quadnet.nn.losses.loss import Loss
from quadnet.nn.losses.of_classes import find_values
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray

_FEW_ROWS = range(10, 100)
"""Held-out rows for which accuracy moves in steps of more than one percent, and whose mean loss is
still reliable."""

_UNSCALED = 50.0
"""A column's root mean square above which the starting weights saturate units."""

_DIFFERENT = 1e3
"""How often the largest value of a column may be that of another one. Weights of one size then
hardly see the smaller column. Values of 0 do not count: a rare category is no small column."""

_FLAT = 0.03
"""The largest column's root mean square below which the starting weights hardly react to X."""


def warn_about_result(run: TrainingRun) -> None:
    """Warn if training ended before it had converged, or if the result is poor."""
    if run.stop_reason == "interrupted":
        warn_about_interrupt(run)
        return
    with np.errstate(all="ignore"):
        sentences = [*_signs_of_early_end(run), *_signs_of_poor_result(run)]
    for sentence in sentences:
        warn_user(sentence, ConvergenceWarning)


def warn_about_interrupt(run: TrainingRun) -> None:
    """Warn that the user has interrupted training."""
    warn_user(
        f"Training interrupted by user after {run.n_iter} epochs; the network trained so far is "
        "kept."
    )


def warn_about_light_weights(run: TrainingRun) -> None:
    """Warn if the row weights are so small that the penalty outweighs the rows."""
    config, rows = run.config, run.rows
    if rows.weights is None or config.solver.decoupled_decay:
        return
    by_batch = config.uses("alpha_scaling") and config.alpha_scaling == "batch"
    batch_size = config.clip_batch_size(rows.n_rows) if by_batch else rows.n_rows
    with np.errstate(over="ignore"):
        total = float(rows.weights.sum())
    n_batches = math.ceil(rows.n_rows / batch_size)
    strength = config.alpha * n_batches / total
    if strength > 0.01 and total < 0.1 * rows.n_rows:
        factor = rows.n_rows / total
        warn_user(
            f"The rows weigh {total / rows.n_rows:.3g} on average, which makes the penalty "
            f"{factor:.3g} times as strong as weights of 1 would, {strength:.3g} in all. "
            f"Multiply the weights by {factor:.3g}, or lower alpha."
        )


def _signs_of_early_end(run: TrainingRun) -> Iterator[str]:
    config = run.config
    if config.uses("learning_rate") and config.learning_rate == "cosine":
        return  # the schedule ends with the last epoch
    kind = "Stochastic Optimizer" if config.solver.makes_updates else config.solver.name
    sentence = {
        "max_iter": f"Maximum iterations ({config.max_iter}) reached and the optimization "
        "hasn't converged yet. Increase max_iter or scale X.",
        "max_fun": f"Maximum function evaluations ({config.max_fun}) reached and the "
        "optimization hasn't converged yet. Increase max_fun or scale X.",
        "line_search": "No step along the search direction lowers the loss any further. "
        "Scale X, or increase tol if this is good enough.",
    }.get(run.stop_reason)
    if sentence:
        yield f"{kind}: {sentence}"


def _signs_of_poor_result(run: TrainingRun) -> Iterator[str]:
    config, history, rows = run.config, run.history, run.rows
    if run.stop_reason == "callback":
        return
    if isinstance(rows.encoding, Numbers):
        yield from _signs_of_unscaled_target(run, rows.encoding)
        return
    yield from _signs_of_scale(
        history.loss_curve[-1],
        loss_of_class_frequencies(run.network.loss, rows.training_targets, rows.weights),
        rows.X,
        lowest=_lowest_loss(run),
        first_loss=history.loss_curve[-run.n_iter],
        # With dropout the training loss is not the loss of the network that is kept.
        ended=run.stop_reason not in {"max_iter", "max_fun"}
        and not any(layer.is_random for layer in run.network.layers),
        remedy=f"Lower learning_rate_init (now {config.learning_rate_init})."
        if config.uses("learning_rate_init")
        else "Start from smaller weights (init).",
        is_scaled=config.scale,
    )
    if history.early_stopping and run.stop_reason == "no_improvement":
        assert run.validation is not None
        yield from _signs_of_few_rows(
            run.validation.rows.n_rows,
            history.validation_losses[-run.n_iter :],
            history.best_iteration - run.epochs_before - 1,
        )


def _signs_of_unscaled_target(run: TrainingRun, numbers: Numbers) -> Iterator[str]:
    """Yield a sentence if a constant would be better, and the scale of y may be the cause."""
    final_loss, Y = run.history.loss_curve[-1], run.rows.targets
    baseline = loss_of_constants(run.network, numbers, Y, run.rows.weights)
    scale = float(np.sqrt(np.square(Y, dtype=np.float64).mean(axis=0).max()))
    if numbers.scale or numbers.loss == "poisson" or _FLAT <= scale <= _UNSCALED:
        return
    if final_loss > 1.1 * baseline and final_loss > 0:
        yield (
            f"The training loss, {final_loss:.3g}, is above the loss of always predicting the same "
            f"number, {baseline:.3g}, and y is not scaled: the largest root mean square of a "
            f"column is {scale:.3g}. Set scale_target=True."
        )


def loss_of_constants(
    network: Network, numbers: Numbers, Y: FloatArray | BoolArray, weights: FloatArray | None
) -> float:
    """Return about the lowest loss of a network whose every output is the same for all rows."""
    if numbers.loss in {"squared_error", "poisson"}:
        constants = np.average(Y, axis=0, weights=weights)
    else:
        levels = np.repeat(numbers.quantiles or (0.5,), numbers.n_targets)
        constants = np.array([np.quantile(y, q) for y, q in zip(Y.T, levels, strict=True)])
    P = np.repeat(constants[:, np.newaxis], len(Y), axis=1)
    values = network.loss.values(P, np.ascontiguousarray(Y.T))
    return float(np.average(values, weights=weights)) / network.loss_divisor


def loss_of_class_frequencies(
    loss: Loss, Y: BoolArray | FloatArray, weights: FloatArray | None
) -> float:
    """Return the mean loss of a network whose every output is the frequency of its class in Y.

    For the log loss this is the entropy of the labels.
    """
    shares = np.average(Y, axis=0, weights=weights)
    # Each class is one example with one output, so that memory is one row of classes.
    P, ones = shares[np.newaxis].copy(), np.ones((1, len(shares)))
    mean = float(shares @ loss.values(P.copy(), ones))
    if loss.link_name == "logistic":
        mean += float((1.0 - shares) @ loss.values(P.copy(), 0.0 * ones))
    return mean


def _lowest_loss(run: TrainingRun) -> float:
    """Return the loss of a network whose outputs are the targets: above 0 for smoothed labels."""
    if not run.rows.smoothing:
        return 0.0
    # It is the same for every row.
    Y = np.ascontiguousarray(run.rows.training_targets[:1].T, np.float64)
    return float(find_values(run.network.loss, Y.dtype)(Y, Y)[0])


def _largest_column_scale(X: Any) -> float:
    """Return the largest root mean square of a column."""
    if isinstance(X, np.ndarray):
        # Converting float32 first would take five times as long: 3 % of a short fit.
        blocks = (X[start : start + 1024] for start in range(0, X.shape[0], 1024))
        squares = np.zeros(X.shape[1])
        for block in blocks:
            squares += np.einsum("ij,ij->j", block, block)
        if not 1e-30 < squares.max() < np.inf:  # the squares are beyond the range of float32
            squares = np.einsum("ij,ij->j", X, X, dtype=np.float64)
    else:
        squares = np.asarray(X.astype(np.float64).power(2).sum(axis=0)).ravel()
    return float(np.sqrt(squares.max() / X.shape[0]))


def _extreme_columns(X: Any) -> tuple[float, float]:
    """Return the smallest and the largest of the columns' largest values.

    Columns of 0 are left out. Both are 1 if there is no other column.
    """
    if isinstance(X, np.ndarray):
        largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    else:
        largest = abs(X).max(axis=0).toarray().ravel()
    largest = largest[largest > 0]
    return (float(largest.min()), float(largest.max())) if len(largest) else (1.0, 1.0)


def _signs_of_scale(
    final_loss: float,
    baseline: float,
    X: Any,
    *,
    lowest: float,
    first_loss: float,
    ended: bool,
    remedy: str,
    is_scaled: bool,
) -> Iterator[str]:
    """Yield a sentence if the loss is high, and X or the learning rate may be the cause.

    Parameters
    ----------
    final_loss, baseline : float
        The last epoch's loss, and `loss_of_class_frequencies`.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    lowest : float
        The lowest loss that there can be.
    first_loss : float
        The loss of the first epoch.
    ended : bool
        Whether training ended because it no longer improved.
    remedy : str
        What to do if X is scaled.
    is_scaled : bool
        Whether the estimator itself has scaled X.
    """
    # The last epoch's loss is a mean over its mini-batches and includes the penalty.
    worse, no_better = final_loss > 1.1 * baseline, final_loss > 0.95 * baseline
    if baseline < 1e-6 or final_loss - lowest < 0.1 * (baseline - lowest):
        return
    scale = _largest_column_scale(X)
    compared = (
        f"The training loss, {final_loss:.3g}, is {final_loss / baseline:.0%} of the loss of "
        f"always predicting the class frequencies, {baseline:.3g}"
    )
    advice = (
        "Scale X to zero mean and unit variance: make it dense, or subtract the means."
        if is_scaled
        else "Scale X to zero mean and unit variance: set scale=True, or use "
        "sklearn.preprocessing.StandardScaler."
    )
    if scale > _UNSCALED or (ended and no_better and scale < _FLAT):
        yield (
            f"{compared}, and X is not scaled: the largest root mean square of a column is "
            f"{scale:.3g}. {advice}"
        )
        return
    smallest, largest = _extreme_columns(X)
    if largest > _DIFFERENT * smallest and not is_scaled:
        yield (
            f"{compared}, and the columns of X differ by orders of magnitude: the largest value of "
            f"a column is between {smallest:.3g} and {largest:.3g}. {advice}"
        )
    elif worse and (ended or final_loss > max(2.0 * baseline, first_loss)):
        yield f"{compared}: the network is worse than guessing. {remedy}"


def _signs_of_few_rows(n_held_out: int, losses: list[float], best: int) -> Iterator[str]:
    """Yield a sentence if a coarse score ended training while the held-out loss still fell.

    Parameters
    ----------
    n_held_out : int
    losses : list of float
        The held-out rows' loss after each epoch.
    best : int
        The index of the epoch with the best score.
    """
    if n_held_out in _FEW_ROWS and losses[-1] < 0.9 * losses[best]:
        yield (
            f"Early stopping ended training while the loss on the held-out rows still fell, from "
            f"{losses[best]:.3g} in the best epoch to {losses[-1]:.3g}: the score of only "
            f"{n_held_out} rows is too coarse to show it. Use scoring='loss', hold out more rows, "
            "or raise n_iter_no_change."
        )
