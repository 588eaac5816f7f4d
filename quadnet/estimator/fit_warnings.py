"""Signs that a finished fit went wrong, as sentences: bad scales, too few held-out rows.

All are symptoms that scikit-learn's MLP shows in silence. Each has a condition on the result and
one on the data, so that a fit that went well brings no warning, whatever its data look like.
"""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from quadnet.nn.losses import Loss
from quadnet.types import BoolArray, FloatArray

_FEW_ROWS = range(10, 100)
"""So few that a score that counts rows moves in steps of more than one percent, and enough for a
change of their mean loss to mean something."""

_UNSCALED = 50.0
"""A column's root mean square from which on starting weights make saturated units."""

_FLAT = 0.03
"""The largest column's root mean square below which the starting weights hardly see X."""


_INNER = {"quadnet", "sklearn", "numpy", "contextlib"}


def warn(sentence: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code that led here.

    How many frames lie between depends on the release of scikit-learn, whose callbacks wrap `fit`.
    """
    level, frame = 2, inspect.currentframe()
    frame = frame and frame.f_back
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, category, stacklevel=level)


def loss_of_shares(loss: Loss, Y: BoolArray, weights: FloatArray | None) -> float:
    """Return the mean loss of a network that answers every row with the shares of the classes.

    For the log loss this is the entropy of the labels.
    """
    shares = np.average(Y, axis=0, weights=weights)
    # Each class is an example of its own with one output, so that memory is one row of classes.
    P, ones = shares[np.newaxis].copy(), np.ones((1, len(shares)))
    mean = float(shares @ loss.values(P.copy(), ones))
    if loss.link_name == "logistic":
        mean += float((1.0 - shares) @ loss.values(P.copy(), 0.0 * ones))
    return mean


def scale_of(X: Any) -> float:
    """Return the largest root mean square of a column."""
    if isinstance(X, np.ndarray):
        squares = np.einsum("ij,ij->j", X, X, dtype=np.float64)
    else:
        squares = np.asarray(X.astype(np.float64).power(2).sum(axis=0)).ravel()
    return float(np.sqrt(squares.max() / X.shape[0]))


def signs_of_scale(
    final_loss: float, guessing: float, X: Any, *, ended: bool, remedy: str
) -> Iterator[str]:
    """Yield a sentence if the loss is high, and X or the learning rate may be why.

    Parameters
    ----------
    final_loss, guessing : float
        The last epoch's loss, and `loss_of_shares`.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    ended : bool
        Whether training ended because it no longer improved.
    remedy : str
        What to do if X is scaled.
    """
    # The last epoch's loss is a mean over its mini-batches and holds the penalty.
    worse, no_better = final_loss > 1.1 * guessing, final_loss > 0.95 * guessing
    if guessing < 1e-6 or final_loss < 0.1 * guessing:
        return
    scale = scale_of(X)
    compared = (
        f"The training loss, {final_loss:.3g}, is {final_loss / guessing:.0%} of that of always "
        f"answering with the shares of the classes, {guessing:.3g}"
    )
    if scale > _UNSCALED or (ended and no_better and scale < _FLAT):
        yield (
            f"{compared}, and X is not scaled: the largest root mean square of a column is "
            f"{scale:.3g}. Scale X to zero mean and unit variance, for example with "
            "sklearn.preprocessing.StandardScaler."
        )
    elif ended and worse:
        yield f"{compared}: the network is worse than guessing. {remedy}"


def signs_of_few_rows(n_held_out: int, losses: list[float], best: int) -> Iterator[str]:
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


def signs_of_light_weights(
    alpha: float, n_rows: float, weights: FloatArray, n_batches: int
) -> Iterator[str]:
    """Yield a sentence if the rows weigh so little that the penalty outweighs them.

    Parameters
    ----------
    alpha : float
        Strength of the penalty, which is divided by the weights.
    n_rows : int
    weights : ndarray of shape (n_rows,)
    n_batches : int
        Into how many parts the weights are divided.
    """
    total = float(weights.sum())
    strength = alpha * n_batches / total
    if strength > 0.01 and total < 0.1 * n_rows:
        yield (
            f"The rows weigh {total / n_rows:.3g} on average, which makes the penalty "
            f"{n_rows / total:.3g} times as strong as weights of 1 would, {strength:.3g} in all. "
            f"Multiply the weights by {n_rows / total:.3g}, or lower alpha."
        )
