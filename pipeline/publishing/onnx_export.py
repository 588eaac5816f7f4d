"""Export a published version to an ONNX file for other runtimes.

`quadnet.onnx_export` makes the graph. A file is written only after its predictions were compared
with the version's.
"""

import contextlib
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import ErrorKind, FileUnusable, OutputExists, Unsupported
from quadnet.nn.predictor import RegressionPredictor
from quadnet.onnx_export.column_inputs import make_example_table, make_feed
from quadnet.onnx_export.document import make_document, make_number_document
from quadnet.registry import atomic_files
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray

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

    The input ``x`` has shape (rows, n_features) and the network's dtype. A version with an encoder
    has an input for each column of the table in its place. The metadata has the names of features
    or columns, and of classes. The outputs of a version that predicts

    - classes are ``probabilities``, of shape (rows, n_classes), and ``label``, of shape (rows,),
      the class that `Predictor.predict` returns;
    - several labels are ``probabilities``, of shape (rows, n_labels), and ``label``, rows of 0
      and 1;
    - numbers are ``value``, of shape (rows,), and with several quantiles ``quantiles``, of shape
      (rows, n_quantiles).

    Raises
    ------
    Unsupported
        If a layer or a column has no ONNX operators.
    """
    manifest, name = model.manifest, model.name
    try:
        document = _make_document(model)
    except Unsupported as error:
        raise Unsupported(f"{name} was not exported: {error}") from error
    document.model_version = manifest.version
    content: bytes = document.SerializeToString(deterministic=True)
    return content


def _make_document(model: Model) -> onnx.ModelProto:
    manifest, predictor = model.manifest, model.predictor
    inputs, names = "x, one row a sample and one column a feature,", "features"
    if model.encoder is not None:
        inputs, names = "one input for each column of a table", "columns"
    begin = f"{model.name}: from {inputs} to "
    metadata = {
        "model": manifest.model,
        "version": str(manifest.version),
        "manifest_sha256": model.digest,
        "created": manifest.created.isoformat(),
        "quadnet": manifest.lineage.quadnet,
    }
    if model.encoder is None:  # else its columns are there
        metadata["features"] = _to_json([each.name for each in manifest.signature.features])
    if isinstance(predictor, RegressionPredictor):
        target = manifest.signature.target
        assert target is not None
        metadata |= {"target": _to_json(target.name), "quantiles": _to_json(predictor.quantiles)}
        return make_number_document(
            predictor.network,
            None,
            name=manifest.model,
            description=(
                f"{begin}the value of a number and its quantiles, if it predicts any. The names of "
                f"the {names} and of the number, and the quantiles, are in the metadata as JSON."
            ),
            metadata=metadata,
            encoder=model.encoder,
        )
    classes = [str(name) for name in predictor.classes]
    label = (
        "a row of 0 and 1" if predictor.network.loss.multilabel else "the likeliest class's name"
    )
    return make_document(
        predictor.network,
        np.array(classes, object),
        name=manifest.model,
        description=(
            f"{begin}each class's probability and {label}. The names of {names} and classes, in "
            "order, are in the metadata as JSON."
        ),
        metadata={**metadata, "classes": _to_json(classes)},
        encoder=model.encoder,
    )


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


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
        If a layer or a column has no ONNX operators, or the file's predictions differ from the
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
        If a prediction differs.
    """
    onnx.checker.check_model(content, full_check=True)
    feed, X = _choose_rows(model)
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 over it is 0
        found = list(map(np.asarray, ReferenceEvaluator(content).run(None, feed)))
    if isinstance(model.predictor, RegressionPredictor):
        _check_numbers(found, X, model, model.predictor)
        return
    P, labels = found
    error = np.abs(P - model.classifier.probabilities(X)).max(axis=1)
    expected, manifest = model.predictor.predict(X), model.manifest
    atol = max(ATOL, manifest.selftest_atol)
    differs = (labels != expected).reshape(len(X), -1).any(axis=1)
    wrong = ~(error <= atol) | differs
    if wrong.any():
        row = int(wrong.argmax())
        raise Unsupported(
            f"{model.name} was not exported, because the file failed {_name_row(model, row)}: "
            f"expected {str(expected[row])!r}, got {str(labels[row])!r}; the probabilities differ "
            f"by {error[row]:.3g}, at most {atol:g} is allowed."
        )


def _choose_rows(model: Model) -> tuple[dict[str, NDArray[Any]], FloatArray]:
    """Return rows as the file takes them, and as the network does."""
    if model.encoder is None:
        return {"x": model.selftest_inputs}, model.selftest_inputs
    # The rows of the self-test are encoded.
    table = make_example_table(model.encoder)
    return make_feed(model.encoder, table), model.encoder.transform(table)


def _name_row(model: Model, row: int) -> str:
    return f"row {row} of {'the self-test' if model.encoder is None else 'an example table'}"


def _check_numbers(
    found: list[FloatArray], X: FloatArray, model: Model, predictor: RegressionPredictor
) -> None:
    """Compare the values, and the quantiles if there are any, with the version's own."""
    expected = [predictor.predict(X)[:, np.newaxis], predictor.outputs(X)]
    # Numbers have a unit, and rounding errors grow with them.
    atol = max(ATOL, model.manifest.selftest_atol) * (float(np.abs(expected[1]).max()) or 1.0)
    for numbers, ours in zip(found, expected, strict=False):
        error = np.abs(numbers.reshape(ours.shape) - ours).max(axis=1)
        wrong = ~(error <= atol)
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsupported(
                f"{model.name} was not exported, because the file failed "
                f"{_name_row(model, row)}: the numbers differ by {error[row]:.3g}, at most "
                f"{atol:.3g} is allowed."
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
