"""Export a published version to an ONNX file for other runtimes.

`quadnet.onnx_export` makes the graph. A file is written only after its predictions have passed the
version's self-test.
"""

import contextlib
import json
import uuid
from pathlib import Path

import numpy as np

from quadnet.errors import ErrorKind, FileUnusable, OutputExists, Unsupported
from quadnet.onnx_export.document import make_document
from quadnet.registry import atomic_files
from quadnet.registry.version_files import Model

# isort: split
# After `quadnet.onnx_export`, which reports a missing onnx.
import onnx
from onnx.reference import ReferenceEvaluator

ATOL = 1e-6
"""Largest difference between the file's probabilities and the version's own.

A version in float32 allows more: rounding alone makes 5e-6 for large logits and close classes.
"""


def to_onnx(model: Model) -> bytes:
    """Return the version as an ONNX model, with the same bytes in each export.

    The input ``x`` has shape (rows, n_features) and the network's dtype. The outputs are
    ``probabilities``, of shape (rows, n_classes) and the same dtype, and ``label``, of shape
    (rows,), the class that `Predictor.predict` returns. The metadata has the names of classes and
    features.
    """
    manifest, predictor = model.manifest, model.predictor
    classes = [str(name) for name in predictor.classes]
    features = [feature.name for feature in manifest.signature.features]
    try:
        document = make_document(
            predictor.network,
            np.array(classes, object),
            name=manifest.model,
            description=(
                f"{manifest.model} version {manifest.version}: from x, one row a sample and one "
                "column a feature, to each class's probability and the likeliest class's name. The "
                "names of features and classes, in the columns' order, are in the metadata as JSON."
            ),
            metadata={
                "model": manifest.model,
                "version": str(manifest.version),
                "manifest_sha256": model.digest,
                "created": manifest.created.isoformat(),
                "quadnet": manifest.lineage.quadnet,
                "features": json.dumps(features, ensure_ascii=False),
                "classes": json.dumps(classes, ensure_ascii=False),
            },
        )
    except Unsupported as error:
        raise Unsupported(
            f"{manifest.model} version {manifest.version} was not exported: {error}"
        ) from error
    document.model_version = manifest.version
    return document.SerializeToString(deterministic=True)


def export_onnx(model: Model, path: Path, *, overwrite: bool = False) -> None:
    """Write the version to an ONNX file that has passed the version's self-test.

    The file appears complete and flushed to the disk, or not at all.

    Raises
    ------
    OutputExists
        If the file exists and `overwrite` is false.
    FileUnusable
        If the file cannot be written.
    Unsupported
        If the network has a layer without ONNX operators, or the file's predictions differ from the
        version's.
    """
    try:
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} exists already.", kind=ErrorKind.OUTPUT_EXISTS)
        content = to_onnx(model)
        check_answers(content, model)
        _write_file(path, content)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be written: {error.strerror}.") from error


def check_answers(content: bytes, model: Model) -> None:
    """Check the ONNX model against the standard, and its predictions against the version's.

    Raises
    ------
    Unsupported
        If a prediction for the self-test differs.
    """
    onnx.checker.check_model(content, full_check=True)
    X = model.selftest_inputs
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 over it is 0
        P, labels = map(np.asarray, ReferenceEvaluator(content).run(None, {"x": X}))
    error = np.abs(P - model.predictor.probabilities(X)).max(axis=1)
    expected, manifest = model.predictor.predict(X), model.manifest
    atol = max(ATOL, manifest.selftest_atol)
    wrong = ~(error <= atol) | (labels != expected)
    if wrong.any():
        row = int(wrong.argmax())
        raise Unsupported(
            f"{manifest.model} version {manifest.version} was not exported, because the file "
            f"failed row {row} of the self-test: expected {str(expected[row])!r}, got "
            f"{str(labels[row])!r}; the probabilities differ by {error[row]:.3g}, at most {atol:g} "
            "is allowed."
        )


def _write_file(path: Path, content: bytes) -> None:
    path = atomic_files.resolve_link(path)
    temporary = path.with_name(f"{atomic_files.TEMPORARY_PREFIX}{uuid.uuid4()}")
    try:
        # Not written by `atomic_files`, whose files are read-only: this file belongs to the user.
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            atomic_files.sync_file(file.fileno(), temporary)
        temporary.replace(path)
        atomic_files.sync_renamed(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
