"""The networks of estimators, and what is folded into them: the classes' order, an affine map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from quadnet.errors import Unsupported, listing
from quadnet.nn.layers.affine_folding import LayerState, make_network, read_states
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.stack import make_dense_layers
from quadnet.nn.network import Network
from quadnet.tables.raw_columns import to_text
from quadnet.types import FloatArray

_CLASS_LOSSES = {"softmax": "softmax_cross_entropy", "logistic": "sigmoid_cross_entropy"}


def adopt_mlp_classifier(estimator: Any) -> tuple[Network, bool]:
    """Return the network of a fitted MLPClassifier, and whether it predicts several labels."""
    multilabel = len(estimator.classes_) == estimator.n_outputs_ and (
        estimator.out_activation_ == "logistic"
    )
    loss = "multilabel_cross_entropy" if multilabel else _CLASS_LOSSES[estimator.out_activation_]
    return _copy_mlp(estimator, loss), multilabel


def adopt_mlp_regressor(estimator: Any) -> Network:
    """Return the network of a fitted MLPRegressor.

    Raises
    ------
    Unsupported
        If it predicts several numbers.
    """
    if estimator.n_outputs_ != 1:
        raise Unsupported(
            f"The MLPRegressor predicts {estimator.n_outputs_} numbers for each row, and a version "
            "predicts one. Fit an MLPRegressor for each number."
        )
    loss = "poisson" if estimator.out_activation_ == "exp" else "squared_error"
    return _copy_mlp(estimator, loss)


def _copy_mlp(estimator: Any, loss: str) -> Network:
    weights = [np.asarray(array) for array in estimator.coefs_]
    sizes = [weights[0].shape[0], *(array.shape[1] for array in weights)]
    activations = [estimator.activation] * (len(weights) - 1)
    layers = make_dense_layers(sizes, activations)
    network = Network(layers, (sizes[0],), loss=loss, dtype=weights[0].dtype)
    network.parameters.assign(estimator.coefs_, estimator.intercepts_)
    return network


def texts_of_classes(classes: NDArray[Any]) -> list[str]:
    """Return the texts by which a version names the classes of an estimator."""
    return [value if isinstance(value, str) else to_text(value) for value in classes.tolist()]


def order_classes(network: Network, classes: NDArray[Any]) -> tuple[Network, list[str]]:
    """Return the network with its classes in the order of their texts, and the texts.

    Versions name their classes by texts, in the order of the alphabet: "10" before "9".

    Raises
    ------
    Unsupported
        If two classes have the same text.
    """
    texts = texts_of_classes(classes)
    if len(set(texts)) < len(texts):
        raise Unsupported(f"Two classes have the same text: {listing(texts)}. Rename one of them.")
    order = np.argsort(np.array(texts))
    if (order == np.arange(len(texts))).all():
        return network, texts
    n_outputs = network.shapes[-1][0]
    # Two classes have one output, the logit of the second: its sign changes.
    weights = -np.eye(1) if n_outputs == 1 else np.eye(n_outputs)[:, order]
    states = read_states(network)
    last = states[-1]
    if isinstance(last.layer, Dense):
        arrays = {name: array @ weights for name, array in last.arrays.items()}
        states[-1] = LayerState(last.layer, arrays)
    else:
        states.append(LayerState(Dense(n_outputs, bias=False), {"weights": weights}))
    reordered = make_network(states, network, network.parameters.flat.dtype)
    return reordered, [texts[i] for i in order.tolist()]


def fold_affine_inputs(network: Network, M: coo_array, shift: FloatArray) -> Network:
    """Return a network in float64 that for x computes what this one computes for x @ M + shift.

    Parameters
    ----------
    network : Network
        Of flat rows: any first layer but a dense one gets a dense one before it.
    M : SciPy sparse array of shape (n_columns, n_inputs)
    shift : ndarray of shape (n_inputs,)

    Raises
    ------
    Unsupported
        If the network takes pictures.
    """
    if len(network.input_shape) > 1:
        shape = " x ".join(map(str, network.input_shape))
        raise Unsupported(
            f"The network takes pictures of the shape {shape}, and its first layer, "
            f"{network.layers[0]!r}, cannot absorb the steps before it. Publish the network "
            "without these steps: scale=True of the estimator scales pictures."
        )
    first, *others = read_states(network)
    if isinstance(first.layer, Dense):
        weights = first.arrays["weights"]
        biases = shift @ weights + first.arrays.get("biases", 0.0)
        folded = LayerState(Dense(first.layer.units), {"weights": M @ weights, "biases": biases})
        states: Sequence[LayerState] = [folded, *others]
    else:
        inserted = LayerState(Dense(M.shape[1]), {"weights": M.toarray(), "biases": shift})
        states = [inserted, first, *others]
    return make_network(states, network, np.float64, input_shape=(M.shape[0],))
