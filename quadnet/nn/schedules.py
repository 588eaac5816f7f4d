"""Learning-rate schedules: the rate of every update, from where training stands."""

from collections.abc import Iterator

import numpy as np


class Schedule:
    """A learning rate that changes while training goes on.

    Parameters
    ----------
    kind : {'constant', 'cosine', 'step', 'invscaling', 'adaptive'}
        - 'cosine' falls along half a cosine, from the initial rate to 0 after `max_epochs`
          (Loshchilov and Hutter, 2016, without restarts).
        - 'step' is multiplied by `step_factor` each `step_epochs` epochs.
        - 'invscaling' is the initial rate / (rows seen + 1) ** power, set after each epoch.
        - 'adaptive' is divided by 5 each time training stands still.
    initial : float
        The rate to begin with.
    warmup_epochs : float, default=0
        Over this many epochs the rate first climbs, update by update, to what it would be
        otherwise.
    max_epochs, step_epochs, step_factor, power
        As used above.
    """

    _SMALLEST = 1e-6  # where 'adaptive' gives up, as scikit-learn's does

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

    def rates(self, epochs_done: int, n_updates: int) -> Iterator[float]:
        """Yield the rate of each of the next epoch's updates."""
        done = epochs_done + np.arange(n_updates) / n_updates
        factors = np.ones(n_updates)
        if self.kind == "cosine":
            factors = (1.0 + np.cos(np.pi * np.minimum(done / self.max_epochs, 1.0))) / 2.0
        elif self.kind == "step":
            factors *= self.step_factor ** (epochs_done // self.step_epochs)
        if self.warmup_epochs:
            factors *= np.minimum((done + 1.0 / n_updates) / self.warmup_epochs, 1.0)
        return iter((self.rate * factors).tolist())

    def epoch_ends(self, rows_seen: int) -> None:
        """Take note that an epoch is over."""
        if self.kind == "invscaling":
            self.rate = self.initial / (rows_seen + 1) ** self.power

    def lower(self) -> bool:
        """Lower the rate because training stands still; return False if that cannot help."""
        if self.kind != "adaptive" or self.rate <= self._SMALLEST:
            return False
        self.rate /= 5.0
        return True
