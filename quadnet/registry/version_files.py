"""The files of one version: write them, read them, verify them.

Tensors are stored as safetensors, so that no file can name code to run. Every version has a
self-test: inputs and their probabilities at the time of publishing. The publisher, the server and
every other reader run this self-test.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from quadnet.errors import CorruptVersion, listing
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from quadnet.nn.network import Network
from quadnet.nn.predictor import AnyPredictor, Predictor, RegressionPredictor
from quadnet.registry import atomic_files
from quadnet.registry.layer_specs import (
    MAX_DEPTH,
    MAX_LAYERS,
    NetworkSize,
    count_layers,
    measure_depth,
    measure_network,
)
from quadnet.registry.manifest import (
    LINE_ENDS_CHANGED,
    MAX_VALUES,
    Architecture,
    FileRecord,
    Manifest,
    Record,
    describe_first_error,
    measure_json,
)
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray, Task

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
SELFTEST = "selftest.safetensors"

SCALER = ("scaler.mean", "scaler.scale")
"""Optional vectors in the weights file, for information: the first layer already includes them."""

# Limits of a reader's memory: a manifest must not be able to exhaust the machine.
_MAX_MANIFEST_BYTES = 16 * 2**20
_MAX_FILE_BYTES = 2**30
_CHUNK_BYTES = 2**20

# Bounds of what publishing adds to a run's record: files, machine, libraries.
_ADDED_VALUES, _ADDED_BYTES = 256, 2**16

Tensors = dict[str, FloatArray]

_ANSWERS: dict[type[AnyPredictor], str] = {
    Predictor: "probabilities",
    RegressionPredictor: "values",
}
"""The name of the answers in the self-test."""


@dataclass(frozen=True)
class Model:
    """One published version in memory: verified, self-test passed, ready to predict.

    `digest` is the sha256 of the manifest, and the manifest has the sha256 of every file.
    `selftest_inputs` are the rows of the self-test, of shape (n_rows, n_features).
    """

    manifest: Manifest
    digest: str
    predictor: AnyPredictor
    selftest_inputs: FloatArray

    @property
    def name(self) -> str:
        """The model's name and the version's number, for messages."""
        return f"{self.manifest.model} version {self.manifest.version}"

    @property
    def classifier(self) -> Predictor:
        """The predictor of a version that predicts classes or labels."""
        assert isinstance(self.predictor, Predictor)
        return self.predictor

    @property
    def encoder(self) -> TableEncoder | None:
        """What turns the user's columns into the network's inputs; None if they are the same."""
        return self.manifest.encoder


def read_version(directory: Path) -> Model:
    """Read and verify the version in this directory; every reader uses this function.

    Raises
    ------
    CorruptVersion
        If a file differs from the published one. The message begins with the file's name.
    """
    content = read_manifest(directory)
    try:
        manifest = Manifest.from_json(content)
    except ValueError as error:
        raise CorruptVersion(f"{MANIFEST}: {error}.") from error
    missing = {WEIGHTS, SELFTEST} - manifest.files.keys()
    if missing:
        raise CorruptVersion(f"{MANIFEST}: it does not list the file {min(missing)}.")
    tensor_files = {}
    for name in manifest.files:
        if name in (WEIGHTS, SELFTEST):
            tensor_files[name] = read_file(directory, name, manifest)
        else:
            _verify_file(directory / name, manifest.files[name])
    predictor, selftest_inputs = unpack_version(manifest, tensor_files)
    return Model(manifest, hashlib.sha256(content).hexdigest(), predictor, selftest_inputs)


def read_manifest(directory: Path) -> bytes:
    """Return the bytes of the version's manifest."""
    try:
        return atomic_files.read_limited(directory / MANIFEST, _MAX_MANIFEST_BYTES)
    except OSError as error:
        raise CorruptVersion(f"{MANIFEST}: {error.strerror}.") from error


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Return the content of one file; raise CorruptVersion if it was changed."""
    return b"".join(_verified_chunks(directory / name, manifest.files[name]))


def _verify_file(path: Path, expected: FileRecord) -> None:
    for _ in _verified_chunks(path, expected):
        pass


def _verified_chunks(path: Path, expected: FileRecord) -> Iterator[bytes]:
    """Yield the file's content, and raise CorruptVersion at its end if the sha256 differs."""
    if expected.size > _MAX_FILE_BYTES:
        raise CorruptVersion(
            f"{path.name}: expected at most {_MAX_FILE_BYTES:,} bytes, got {expected.size:,}."
        )
    digest, left = hashlib.sha256(), expected.size
    try:
        with atomic_files.open_regular_file(path) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != expected.size:
                if _has_other_line_ends(file, expected):
                    raise CorruptVersion(f"{path.name}: {LINE_ENDS_CHANGED}.")
                raise CorruptVersion(f"{path.name}: expected {expected.size} bytes, got {actual}.")
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise CorruptVersion(f"{path.name}: {error.strerror}.") from error
    if left or digest.hexdigest() != expected.sha256:
        raise CorruptVersion(f"{path.name}: its sha256 is not the one in the manifest.")


def _has_other_line_ends(file: BinaryIO, expected: FileRecord) -> bool:
    """Return whether a text file, small enough for memory, differs only in its line ends."""
    if expected.size > _MAX_MANIFEST_BYTES:
        return False
    content = file.read(2 * expected.size + 1).replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest() == expected.sha256


def describe_architecture(predictor: AnyPredictor) -> Architecture:
    """Return the architecture of the predictor's network.

    Raises
    ------
    CorruptVersion
        If readers would refuse it, for example because they do not know the kind of a layer.
    """
    network = predictor.network
    try:
        return Architecture.model_validate(
            {
                "layers": list(network.layers),
                "input_shape": list(network.input_shape),
                "loss": network.loss_name,
                "loss_settings": network.loss_settings,
                "dtype": predictor.dtype.name,
            }
        )
    except ValidationError as error:
        reason = describe_first_error(error)
        raise CorruptVersion(f"{MANIFEST}: architecture.{reason}.") from error


def selftest_atol(predictor: AnyPredictor) -> float:
    """Return the tolerance of the self-test: absolute for probabilities.

    For numbers it is a share of the largest one in the self-test.

    Another BLAS may round differently, by less than this. A wrong weight causes a larger error.
    """
    return 1e-9 if predictor.dtype.itemsize == 8 else 1e-5


def find_exceeded_limit(
    record: Record,
    layers: Sequence[Layer],
    input_shape: Shape,
    dtype: DTypeLike,
    n_selftest_rows: int,
) -> str | None:
    """Return a description of the reader's limit that a version would exceed; None if it fits.

    Call it before training. The record only needs as many values as the final one.

    Parameters
    ----------
    record : Record
    layers : sequence of Layer
    input_shape : tuple of int
    dtype : dtype
        The dtype of the predictor.
    n_selftest_rows : int

    Raises
    ------
    ValueError
        If a layer does not fit the output of the layer below.
    """
    size, itemsize = measure_network(layers, input_shape), np.dtype(dtype).itemsize
    n_bytes, n_values = measure_json(
        [record.model_dump(mode="json"), input_shape, [layer.to_spec() for layer in layers]]
    )
    weights = size.n_values * itemsize + 2 * prod(input_shape) * 8
    answers = n_selftest_rows * size.widest * itemsize
    for what, needed, most, unit in (
        (MANIFEST, n_values + _ADDED_VALUES, MAX_VALUES, "values"),
        (MANIFEST, n_bytes + _ADDED_BYTES, _MAX_MANIFEST_BYTES, "bytes"),
        ("the network", count_layers(layers), MAX_LAYERS, "layers"),
        ("the network", measure_depth(layers), MAX_DEPTH, "layers inside each other"),
        (WEIGHTS, weights + _ADDED_BYTES, _MAX_FILE_BYTES, "bytes"),
        (SELFTEST, answers + _ADDED_BYTES, _MAX_FILE_BYTES, "bytes"),
    ):
        if needed > most:
            return f"{what} would have {needed:,} {unit}, and readers accept at most {most:,}"
    return None


def pack_version(
    predictor: AnyPredictor, selftest_inputs: FloatArray, scaler: Tensors | None = None
) -> dict[str, bytes]:
    """Return the version's files by name; the scaler's vectors are in the weights file."""
    X = np.asarray(selftest_inputs, dtype=predictor.dtype)
    return {
        WEIGHTS: _serialize_tensors(named_tensors(predictor) | (scaler or {})),
        SELFTEST: _serialize_tensors(
            {"inputs": X, _ANSWERS[type(predictor)]: compute_answers(predictor, X)}
        ),
    }


def unpack_version(
    manifest: Manifest, files: Mapping[str, bytes]
) -> tuple[AnyPredictor, FloatArray]:
    """Rebuild the predictor, run its self-test, and return both the predictor and its inputs.

    Raises
    ------
    CorruptVersion
        If a file does not match the manifest, or the self-test fails. The message begins with
        the file's name.
    """
    described = manifest.architecture
    size = _check_architecture(manifest)
    # Before any allocation: the manifest must not claim more values than the file has.
    if size.n_values * np.dtype(described.dtype).itemsize > len(files[WEIGHTS]):
        raise CorruptVersion(f"{WEIGHTS}: too small for the layers in the manifest.")
    network = Network(
        described.layers,
        tuple(described.input_shape),
        loss=described.loss,
        loss_settings=described.loss_settings,
        dtype=described.dtype,
    )
    stored = _parse_tensors(WEIGHTS, files[WEIGHTS])
    parameters = _named_parameters(network)
    scaler = {name: stored.pop(name) for name in SCALER if name in stored}
    if scaler:
        _check_tensors(WEIGHTS, scaler, dict.fromkeys(SCALER, (network.n_features,)), "float64")
    _check_tensors(WEIGHTS, stored, {n: a.shape for n, a in parameters.items()}, described.dtype)
    for name, values in parameters.items():
        values[:] = stored[name]
    predictor: AnyPredictor
    if manifest.task == "regression":
        predictor = RegressionPredictor(network, None)
    else:
        predictor = Predictor(network, manifest.signature.classes)
    if compute_tensor_digest(predictor) != manifest.tensor_digest:
        raise CorruptVersion(
            f"{WEIGHTS}: the digest of the tensors is not the one in the manifest."
        )
    return predictor, _run_self_test(predictor, files[SELFTEST], manifest.selftest_atol)


def _check_architecture(manifest: Manifest) -> NetworkSize:
    """Return what the network needs; raise CorruptVersion unless it fits the signature."""
    described, signature = manifest.architecture, manifest.signature
    classes, n_features = signature.classes, len(signature.features)
    if len(set(classes)) != len(classes):
        raise CorruptVersion(f"{MANIFEST}: signature.classes has a duplicate.")
    # First, because it bounds all shapes: a manifest cannot have more features than values.
    if prod(described.input_shape) != n_features:
        raise CorruptVersion(
            f"{MANIFEST}: the architecture does not fit the signature: architecture.input_shape "
            f"is {described.input_shape}, and signature.features has {n_features:,} features."
        )
    try:
        size = measure_network(described.layers, tuple(described.input_shape))
    except ValueError as error:
        raise CorruptVersion(f"{MANIFEST}: architecture.{str(error).rstrip('.')}.") from error
    _check_outputs(manifest)
    if manifest.encoder is not None and manifest.encoder.n_outputs != n_features:
        raise CorruptVersion(
            f"{MANIFEST}: the encoder does not fit the signature: it has "
            f"{manifest.encoder.n_outputs:,} outputs, and signature.features has {n_features:,} "
            "features."
        )
    return size


def _check_outputs(manifest: Manifest) -> None:
    """Raise CorruptVersion unless the outputs and the loss fit the task and its classes."""
    described, task, classes = manifest.architecture, manifest.task, manifest.signature.classes
    problem = "the architecture does not fit the signature"
    if (manifest.signature.target is not None) != (task == "regression"):
        raise CorruptVersion(
            f"{MANIFEST}: signature.target must be there if the task is regression, and only then. "
            f"The task is {task}."
        )
    if task == "regression" and classes:
        raise CorruptVersion(f"{MANIFEST}: signature.classes must be empty for a regression.")
    if described.loss not in _losses_of(task):
        raise CorruptVersion(f"{MANIFEST}: {problem}: the loss {described.loss} is not for {task}.")
    if task == "regression":
        n_outputs = max(1, len(described.quantiles))
        what = "the quantiles" if described.quantiles else "one number"
    elif task == "multilabel":
        n_outputs, what = len(classes), f"{len(classes):,} labels"
    else:
        # Two classes need one sigmoid output, so a softmax is refused for them.
        n_outputs = 1 if len(classes) == 2 else len(classes)
        what = f"{len(classes):,} classes"
    output = described.layers[-1]
    if not isinstance(output, Dense) or output.units != n_outputs:
        raise CorruptVersion(
            f"{MANIFEST}: {problem}: the last layer must be dense with units = {n_outputs} for "
            f"{what}. Got {output!r}."
        )
    if task == "classification" and len(classes) == 2 and described.loss == "softmax_cross_entropy":
        raise CorruptVersion(
            f"{MANIFEST}: {problem}: two classes have one output, and softmax_cross_entropy needs "
            "more."
        )


def _losses_of(task: Task) -> list[str]:
    """Return the losses of a task."""
    if task == "regression":
        return list(REGRESSION_LOSSES)
    return [name for name, loss in LOSSES.items() if loss.multilabel == (task == "multilabel")]


def named_tensors(predictor: AnyPredictor) -> Tensors:
    """Return the predictor's weights and biases by name, in C order."""
    return {
        name: np.ascontiguousarray(array)
        for name, array in _named_parameters(predictor.network).items()
    }


def compute_tensor_digest(predictor: AnyPredictor) -> str:
    """Return a sha256 over names, dtypes, shapes and bytes, independent of the file format."""
    digest = hashlib.sha256()
    for name, array in sorted(named_tensors(predictor).items()):
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


def _named_parameters(network: Network) -> dict[str, FloatArray]:
    return dict(network.parameters.named())


def _run_self_test(predictor: AnyPredictor, content: bytes, atol: float) -> FloatArray:
    stored = _parse_tensors(SELFTEST, content)
    rows = stored["inputs"].shape[0] if "inputs" in stored and stored["inputs"].ndim else 0
    answers = _ANSWERS[type(predictor)]
    shapes = {
        "inputs": (rows, predictor.n_features),
        answers: (rows, _count_answers(predictor)),
    }
    _check_tensors(SELFTEST, stored, shapes, predictor.dtype.name)
    if rows * predictor.network.widest * predictor.dtype.itemsize > _MAX_FILE_BYTES:
        raise CorruptVersion(
            f"{SELFTEST}: {rows:,} rows of so wide a network need more than "
            f"{_MAX_FILE_BYTES:,} bytes."
        )
    error = np.abs(compute_answers(predictor, stored["inputs"]) - stored[answers])
    if rows and isinstance(predictor, RegressionPredictor):
        # Numbers have a unit, and rounding errors grow with them.
        atol *= float(np.abs(stored[answers]).max()) or 1.0
    if rows == 0 or not error.max() <= atol:
        row = int(error.max(axis=1).argmax()) if rows else 0
        raise CorruptVersion(
            f"{SELFTEST}: the self-test failed: row {row} is off by "
            f"{error.max() if rows else float('nan'):.3g}, allowed is {atol:.3g}."
        )
    return stored["inputs"]


def compute_answers(predictor: AnyPredictor, X: FloatArray) -> FloatArray:
    """Return the probabilities, or the numbers, of each row: (n_rows, n_answers).

    An overflow is visible in them, so NumPy's warnings are off.
    """
    with np.errstate(all="ignore"):
        if isinstance(predictor, RegressionPredictor):
            return predictor.outputs(X)
        return predictor.probabilities(X)


def _count_answers(predictor: AnyPredictor) -> int:
    if isinstance(predictor, RegressionPredictor):
        return predictor.network.n_outputs
    return len(predictor.classes)


def _check_tensors(
    file: str, stored: Tensors, shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> None:
    """Raise CorruptVersion unless there are exactly these tensors, with finite values."""
    if stored.keys() != shapes.keys():
        raise CorruptVersion(
            f"{file}: expected the tensors {listing(sorted(shapes))}, "
            f"got {listing(sorted(stored))}."
        )
    # In the order of `shapes`, because safetensors returns tensors in any order.
    for name, shape in shapes.items():
        array = stored[name]
        if array.shape != shape or array.dtype.name != dtype:
            raise CorruptVersion(
                f"{file}: expected {name} of shape {shape} and dtype {dtype}, "
                f"got {array.shape} and {array.dtype.name}."
            )
        if not np.isfinite(array).all():
            raise CorruptVersion(f"{file}: {name} has a value that is not finite.")


def _serialize_tensors(named: Tensors) -> bytes:
    # safetensors 0.8 silently writes wrong data for arrays that are not C-contiguous.
    return save({name: np.ascontiguousarray(array) for name, array in named.items()})


def _parse_tensors(file: str, content: bytes) -> Tensors:
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise CorruptVersion(f"{file}: not a safetensors file ({error}).") from error
