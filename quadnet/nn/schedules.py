"""Learning-rate schedules: the learning rate of every update."""

import numpy as np

from quadnet.types import FloatArray

SCHEDULES = ("constant", "cosine", "step", "invscaling", "adaptive")
"""The kinds of `Schedule`."""


class Schedule:
    """A learning rate that changes during training.

    Parameters
    ----------
    kind : {'constant', 'cosine', 'step', 'invscaling', 'adaptive'}
        - 'cosine' falls along half a cosine, from the initial rate to 0 after `max_epochs`
          (Loshchilov and Hutter, 2016, without restarts).
        - 'step' is multiplied by `step_factor` every `step_epochs` epochs.
        - 'invscaling' is the initial rate / (rows seen + 1) ** power, set after each epoch.
        - 'adaptive' is divided by 5 at each call of `lower_rate`.
    initial : float
        The initial rate.
    warmup_epochs : float, default=0
        For this many epochs the rate is multiplied by a factor that rises to 1, update by update.
    max_epochs, step_epochs, step_factor, power
        See `kind`.
    """

    _SMALLEST = 1e-6  # below this rate 'adaptive' no longer lowers, as in scikit-learn

    def __init__(
        self,
        kind: str,
        initial: float,
        *,
        warmup_epochs: float = 0.0,
        max_epochs: int = 1,
        step_epochs: int = 1,
        step_factor: float = 1.0,
        power: float = 0.5,
    ) -> None:
        self.kind, self.initial, self.rate = kind, float(initial), float(initial)
        self.warmup_epochs, self.max_epochs = warmup_epochs, max_epochs
        self.step_epochs, self.step_factor, self.power = step_epochs, step_factor, power

    def rates(self, epochs_done: int, n_updates: int) -> FloatArray:
        """Return the rate of each of the next epoch's updates."""
        done = epochs_done + np.arange(n_updates) / n_updates
        factors = np.ones(n_updates)
        if self.kind == "cosine":
            factors = (1.0 + np.cos(np.pi * np.minimum(done / self.max_epochs, 1.0))) / 2.0
        elif self.kind == "step":
            factors *= self.step_factor ** (epochs_done // self.step_epochs)
        if self.warmup_epochs:
            factors *= np.minimum((done + 1.0 / n_updates) / self.warmup_epochs, 1.0)
        rates: FloatArray = self.rate * factors
        return rates

    def end_epoch(self, rows_seen: int) -> None:
        """Update the rate at the end of an epoch; `rows_seen` counts from the start of training."""
        if self.kind == "invscaling":
            self.rate = self.initial / (rows_seen + 1) ** self.power

    def lower_rate(self) -> bool:
        """Lower the rate, if the schedule does so without improvement; return whether it did."""
        if self.kind != "adaptive" or self.rate <= self._SMALLEST:
            return False
        self.rate /= 5.0
        return True
