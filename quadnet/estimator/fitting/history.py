"""The record of training, which decides when the network no longer improves."""

import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from quadnet.types import FloatArray

MAX_CURVE_LENGTH = 10_000
"""Epochs that the curves of a network trained by `partial_fit` keep."""

_RENAMED = {"standing_still": "epochs_without_improvement"}
"""Fields by their names in the states of release 0.1."""


@dataclass
class History:
    """The losses and scores of each epoch, and the number of epochs without improvement.

    With early stopping an epoch is better if its score on the held-out rows is higher, and the
    parameters of the best epoch are kept until they are restored. Otherwise it is better if its
    training loss is lower.
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
    epochs_without_improvement: int = 0
    epochs: int = 0
    rows_seen: int = 0
    updates: int = 0
    base_rate: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, lists and an array only."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "History":
        """Return the record that `to_dict` was called on, with copies of its lists."""
        copied: dict[str, Any] = {
            _RENAMED.get(name, name): copy.copy(value) for name, value in values.items()
        }
        return cls(**copied)

    def copy_for_fit(self, *, early_stopping: bool, continues: bool = False) -> "History":
        """Return a copy that another fit continues.

        With early stopping the copy has no best epoch, because earlier scores are of other rows;
        unless the fit `continues` one whose best weights have not been restored yet.
        """
        # A fit appends to the lists, and replaces the array of the best parameters.
        copied = replace(
            self,
            loss_curve=[*self.loss_curve],
            learning_rates=[*self.learning_rates],
            validation_losses=[*self.validation_losses],
            scores=[*self.scores],
        )
        if (early_stopping or self.early_stopping) and not continues:
            copied.early_stopping = early_stopping
            copied.best_score, copied.best_theta, copied.best_loss = -np.inf, None, np.inf
            copied.epochs_without_improvement = 0
        return copied

    def add_epoch(self, loss: float, *, learning_rate: float | None, tol: float) -> None:
        """Add an epoch, or an iteration of L-BFGS, which is judged by its training loss."""
        self._add(loss, learning_rate)
        self._count_improvement(improved=loss <= self.best_loss - tol)
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_iteration = self.epochs

    def add_scored_epoch(
        self,
        loss: float,
        *,
        learning_rate: float | None,
        tol: float,
        validation_loss: float,
        score: float,
        theta: FloatArray,
    ) -> None:
        """Add an epoch which is judged by its score; keep a copy of theta if it is the best."""
        self._add(loss, learning_rate)
        self.add_validation(validation_loss, score)
        self._count_improvement(improved=score >= self.best_score + tol)
        if score > self.best_score:
            self.best_score = score
            self.best_iteration = self.epochs
            self.best_theta = theta.copy()

    def add_validation(self, validation_loss: float, score: float) -> None:
        """Add the last epoch's loss and score on the validation rows."""
        self.validation_losses.append(validation_loss)
        self.scores.append(score)

    def _add(self, loss: float, learning_rate: float | None) -> None:
        self.loss_curve.append(loss)
        self.epochs += 1
        if learning_rate is not None:
            self.learning_rates.append(learning_rate)

    def _count_improvement(self, *, improved: bool) -> None:
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1

    def shorten_curves(self, n: int) -> None:
        """Keep only the last n epochs of every curve."""
        for curve in (self.loss_curve, self.learning_rates, self.validation_losses, self.scores):
            del curve[:-n]
