"""The record of training, and the rule by which it has gone on for long enough."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from quadnet.types import FloatArray


@dataclass
class History:
    """What each epoch did, and since when nothing has become better.

    With early stopping the score on held-out rows decides what is better, and the best epoch's
    parameters are kept; otherwise the training loss decides.
    """

    early_stopping: bool = False
    loss_curve: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf
    best_iteration: int = 0
    best_theta: FloatArray | None = None
    standing_still: int = 0
    epochs: int = 0
    rows_seen: int = 0
    updates: int = 0
    base_rate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return numbers and lists alone, without the best parameters: the network has them."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"best_theta": None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "History":
        """Return the record that `to_dict` was called on, with lists of its own."""
        copied: dict[str, Any] = {
            name: [*value] if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**copied)

    def continued(self, *, early_stopping: bool) -> "History":
        """Return a copy for another fit to go on from.

        What earlier fits scored says nothing of the rows that are held out from this one: with
        early stopping, the best is looked for anew.
        """
        # What follows appends to the lists, and replaces the array of the best parameters.
        copied = replace(
            self,
            loss_curve=[*self.loss_curve],
            learning_rates=[*self.learning_rates],
            validation_losses=[*self.validation_losses],
            scores=[*self.scores],
        )
        if early_stopping or self.early_stopping:
            copied.early_stopping = early_stopping
            copied.best_score, copied.best_theta, copied.best_loss = -np.inf, None, np.inf
            copied.standing_still = 0
        return copied

    def record(self, loss: float, *, learning_rate: float | None, tol: float) -> None:
        """Add an epoch, or an iteration of L-BFGS, whose training loss decides."""
        self._add(loss, learning_rate)
        self.standing_still = 0 if loss <= self.best_loss - tol else self.standing_still + 1
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_iteration = self.epochs

    def record_validated(
        self,
        loss: float,
        *,
        learning_rate: float | None,
        tol: float,
        validation_loss: float,
        score: float,
        theta: FloatArray,
    ) -> None:
        """Add an epoch whose score on held-out rows decides; keep theta if it is the best."""
        self._add(loss, learning_rate)
        self.watch(validation_loss, score)
        self.standing_still = 0 if score >= self.best_score + tol else self.standing_still + 1
        if score > self.best_score:
            self.best_score = score
            self.best_iteration = self.epochs
            self.best_theta = theta.copy()

    def watch(self, validation_loss: float, score: float) -> None:
        """Add what the last epoch did on held-out rows that decide nothing."""
        self.validation_losses.append(validation_loss)
        self.scores.append(score)

    def _add(self, loss: float, learning_rate: float | None) -> None:
        self.loss_curve.append(loss)
        self.epochs += 1
        if learning_rate is not None:
            self.learning_rates.append(learning_rate)

    def shorten(self, n: int) -> None:
        """Forget all but the last n epochs of every curve."""
        for curve in (self.loss_curve, self.learning_rates, self.validation_losses, self.scores):
            del curve[:-n]
