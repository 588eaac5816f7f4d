"""A loss by its name."""

from collections.abc import Mapping
from typing import Any

from quadnet.nn.losses.loss import Loss
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES


def make_loss(name: str, settings: Mapping[str, Any]) -> Loss:
    """Return the loss of this name from `LOSSES` or `REGRESSION_LOSSES`.

    Parameters
    ----------
    name : str
    settings : mapping of str to object
        The arguments of its constructor, such as the `quantiles`.
    """
    table = REGRESSION_LOSSES if name in REGRESSION_LOSSES else LOSSES
    return table[name](**settings)
