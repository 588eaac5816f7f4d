"""One model as bytes, and back: the weights, the self-test, and the checks on the way in.

Tensors travel in safetensors, so no file can name code to run. Every version carries a self-test
batch, inputs and the probabilities they gave when it was published: the publisher, the server and
every other reader share this one definition of "this model still works".
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from quadnet.errors import CorruptVersion
from quadnet.manifest import Architecture, Manifest
from quadnet.network import Network
from quadnet.predictor import Predictor
from quadnet.types import FloatArray

WEIGHTS = "weights.safetensors"
SELFTEST = "selftest.safetensors"

Tensors = dict[str, FloatArray]


@dataclass(frozen=True)
class Model:
    """One published version in memory: verified, its self-test passed, ready to answer.

    `digest` is the sha256 of the manifest, which in turn pins every file.
    """

    manifest: Manifest
    digest: str
    predictor: Predictor


def architecture(predictor: Predictor) -> Architecture:
    """Describe the predictor's network."""
    network = predictor.network
    return Architecture.model_validate(
        {
            "layer_sizes": list(network.layer_sizes),
            "activations": list(network.activation_names),
            "loss": network.loss_name,
            "bias": network.parameters.bias,
            "dtype": predictor.dtype.name,
        }
    )


def pack(predictor: Predictor, selftest_inputs: FloatArray) -> dict[str, bytes]:
    """Return the version's files, by name."""
    X = np.asarray(selftest_inputs, dtype=predictor.dtype)
    return {
        WEIGHTS: _to_bytes(tensors(predictor)),
        SELFTEST: _to_bytes({"inputs": X, "probabilities": predictor.probabilities(X)}),
    }


def unpack(manifest: Manifest, files: Mapping[str, bytes]) -> Predictor:
    """Rebuild the predictor and run its self-test.

    Raises
    ------
    CorruptVersion
        If a file does not hold what the manifest says, or the self-test fails. The message
        begins with the file's name.
    """
    shape = manifest.architecture
    n_classes = len(manifest.signature.classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    if (
        len(shape.activations) != len(shape.layer_sizes) - 2
        or shape.layer_sizes[0] != len(manifest.signature.features)
        or shape.layer_sizes[-1] != n_outputs
    ):
        raise CorruptVersion("manifest.json: the architecture does not fit the signature.")
    # Before anything is allocated for it: the shape must not promise more than the file holds.
    n_weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(shape.layer_sizes))
    if n_weights * np.dtype(shape.dtype).itemsize > len(files[WEIGHTS]):
        raise CorruptVersion(f"{WEIGHTS}: too small for layers of {shape.layer_sizes} units.")
    network = Network(
        shape.layer_sizes,
        activations=shape.activations,
        loss=shape.loss,
        bias=shape.bias,
        dtype=shape.dtype,
    )
    predictor = Predictor(network, manifest.signature.classes)
    stored = _from_bytes(WEIGHTS, files[WEIGHTS])
    expected = tensors(predictor)
    _check_tensors(WEIGHTS, stored, {name: t.shape for name, t in expected.items()}, shape.dtype)
    for name, values in _parameters(network).items():
        values[:] = stored[name]
    predictor = Predictor(network, manifest.signature.classes)
    if tensor_digest(predictor) != manifest.tensor_digest:
        raise CorruptVersion(f"{WEIGHTS}: the tensors are not those the manifest was made for.")
    _self_test(predictor, files[SELFTEST], manifest.selftest_atol)
    return predictor


def tensors(predictor: Predictor) -> Tensors:
    """Return the predictor's weights and biases by name, in C order."""
    return {
        name: np.ascontiguousarray(array) for name, array in _parameters(predictor.network).items()
    }


def tensor_digest(predictor: Predictor) -> str:
    """Return a sha256 over names, dtypes, shapes and bytes: the same whatever the container."""
    digest = hashlib.sha256()
    for name, array in sorted(tensors(predictor).items()):
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


def _parameters(network: Network) -> dict[str, FloatArray]:
    parameters = network.parameters
    named = {f"weights.{i}": W for i, W in enumerate(parameters.weights)}
    if parameters.bias:
        named |= {f"biases.{i}": b for i, b in enumerate(parameters.biases)}
    return named


def _self_test(predictor: Predictor, content: bytes, atol: float) -> None:
    stored = _from_bytes(SELFTEST, content)
    rows = len(stored.get("inputs", ()))
    shapes = {
        "inputs": (rows, predictor.n_features),
        "probabilities": (rows, len(predictor.classes)),
    }
    _check_tensors(SELFTEST, stored, shapes, predictor.dtype.name)
    error = np.abs(predictor.probabilities(stored["inputs"]) - stored["probabilities"])
    if rows == 0 or not error.max() <= atol:
        row = int(error.max(axis=1).argmax()) if rows else 0
        raise CorruptVersion(
            f"{SELFTEST}: the self-test failed: row {row} is off by "
            f"{error.max() if rows else float('nan'):.3g}, allowed is {atol:.3g}."
        )


def _check_tensors(
    file: str, stored: Tensors, shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> None:
    """Accept exactly these tensors, of this dtype, with finite values only."""
    if stored.keys() != shapes.keys():
        raise CorruptVersion(
            f"{file}: expected the tensors {', '.join(sorted(shapes))}, "
            f"got {', '.join(sorted(stored)) or 'none'}."
        )
    # In our own order: the library returns tensors in any.
    for name, shape in shapes.items():
        array = stored[name]
        if array.shape != shape or array.dtype.name != dtype:
            raise CorruptVersion(
                f"{file}: expected {name} of shape {shape} and dtype {dtype}, "
                f"got {array.shape} and {array.dtype.name}."
            )
        if not np.isfinite(array).all():
            raise CorruptVersion(f"{file}: {name} holds a value that is not finite.")


def _to_bytes(named: Tensors) -> bytes:
    # safetensors 0.8 writes garbage for arrays that are not C-contiguous, without a word.
    return save({name: np.ascontiguousarray(array) for name, array in named.items()})


def _from_bytes(file: str, content: bytes) -> Tensors:
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise CorruptVersion(f"{file}: not a safetensors file ({error}).") from error
