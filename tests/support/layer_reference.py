"""What a client computes from the messages of GetModel, with NumPy and SciPy alone."""

import json

import numpy as np
from scipy.signal import correlate


def compute_layer(layer, A, **unknown_kinds):
    """Return the layer's values before its activation, from its description."""
    if layer.kind == "dense":
        return A @ np.reshape(layer.weights, (layer.inputs, layer.units)) + layer.biases
    arrays = {array.name: np.reshape(array.values, array.shape) for array in layer.arrays}
    return (KINDS | unknown_kinds)[layer.kind](json.loads(layer.settings), arrays, A)


def compute_network(layers, A):
    """Return the output of all layers for one input of their shape."""
    for layer in layers:
        A = compute_layer(layer, A)
        # The kind "activation" is a layer's activation without the layer.
        A = A if layer.kind == "activation" else ACTIVATIONS[layer.activation](A)
    return A


def traced_values(traced):
    """Return a layer's values before and after the activation, from its trace."""
    if traced.kind == "dense":
        pairs = [(unit.pre_activation, unit.activation) for unit in traced.units]
        return np.array(pairs).T
    assert not traced.units
    return [np.reshape(each, traced.shape) for each in (traced.pre_activations, traced.activations)]


def activate(settings, arrays, A):
    return ACTIVATIONS[settings["function"]](A)


def conv2d(settings, arrays, A):
    if settings["padding"] == "same":
        pads = [
            max((-(-size // step) - 1) * step + width - size, 0)
            for size, step, width in zip(
                A.shape[1:], settings["stride"], settings["kernel"], strict=True
            )
        ]
        A = np.pad(A, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
    down, across = settings["stride"]
    # A kernel has as many channels as the input: along that axis there is one place for it.
    maps = [correlate(A, kernel, "valid")[0, ::down, ::across] for kernel in arrays["weights"]]
    biases = arrays.get("biases", np.zeros(len(maps)))
    return np.array(maps) + biases[:, np.newaxis, np.newaxis]


def pool2d(reduce):
    def compute(settings, arrays, A):
        (height, width), (down, across) = settings["size"], settings["stride"]
        return np.array(
            [
                [
                    reduce(A[:, top : top + height, left : left + width], axis=(1, 2))
                    for left in range(0, A.shape[2] - width + 1, across)
                ]
                for top in range(0, A.shape[1] - height + 1, down)
            ]
        ).transpose(2, 0, 1)

    return compute


def batch_norm(settings, arrays, A):
    scale, shift, mean, variance = (
        np.reshape(arrays[name], (-1, *(1,) * (A.ndim - 1)))
        for name in ("scale", "shift", "mean", "variance")
    )
    return (A - mean) / np.sqrt(variance + settings["epsilon"]) * scale + shift


def layer_norm(settings, arrays, A):
    normal = (A - A.mean()) / np.sqrt(A.var() + settings["epsilon"])
    return normal * arrays["scale"] + arrays["shift"]


def residual(settings, arrays, A):
    B = A
    for i, inner in enumerate(settings["layers"]):
        names = [name for name in arrays if name.startswith(f"{i}.")]
        B = KINDS[inner["kind"]](inner, {name[2:]: arrays[name] for name in names}, B)
    return A + B


KINDS = {
    "activation": activate,
    "conv2d": conv2d,
    "max_pool2d": pool2d(np.max),
    "average_pool2d": pool2d(np.mean),
    "global_average_pool2d": lambda settings, arrays, A: A.mean(axis=(1, 2)),
    "flatten": lambda settings, arrays, A: A.ravel(),
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "residual": residual,
}

ACTIVATIONS = {
    "identity": lambda z: z,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}
