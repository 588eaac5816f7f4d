"""`n_ensemble`: several networks that are trained one after the other, and joined into one."""

from collections.abc import Sequence

import numpy as np

from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.ensemble import AVERAGED_LOSSES, Ensemble
from quadnet.nn.network import Network


def join_networks(networks: Sequence[Network]) -> Network:
    """Return one network that predicts the mean of these networks' predictions.

    They are probabilities, or numbers in the units of y.

    Its last layer is dense, as that of every network, and multiplies by 1: what follows, such as a
    temperature, can be folded into it.

    Parameters
    ----------
    networks : sequence of Network
        Of one architecture.
    """
    predicting = [network.for_predicting() for network in networks]
    first = predicting[0]
    joined = Network(
        [
            Ensemble(first.layers, len(predicting), first.loss_name),
            Dense(first.n_outputs, bias=False),
        ],
        first.input_shape,
        loss=_choose_loss(first),
        loss_settings=first.loss_settings,
        dtype=first.parameters.flat.dtype,
    )
    ensemble, output = joined.parameters.arrays
    for i, network in enumerate(predicting):
        for j, arrays in enumerate(network.parameters.arrays):
            for name, array in arrays.items():
                ensemble[f"{i}.{j}.{name}"][...] = array
    output["weights"][...] = np.eye(first.n_outputs)
    return joined


def _choose_loss(network: Network) -> str:
    """Return the loss that makes predictions of the ensemble's logits."""
    if network.loss_name in AVERAGED_LOSSES:
        return network.loss_name
    if network.loss.multilabel:
        return "multilabel_cross_entropy"
    return "sigmoid_cross_entropy" if network.n_outputs == 1 else "softmax_cross_entropy"
