"""Between the wire and arrays: requests decoded and checked, answers encoded.

The one place that knows how `quadrant.v1` spells points and quadrants.
"""

from collections.abc import Sequence

import numpy as np

from quadnet import quadrants
from quadnet.artifact import Model
from quadnet.errors import InvalidInput, Unsupported, Violation
from quadnet.types import FloatArray, IntArray
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

# The wire's numbers for the quadrants, by name: neither side's order is relied upon.
_NUMBERS = {name: pb.Quadrant.Value(f"QUADRANT_{name}") for name in quadrants.NAMES}
QUADRANT_NAMES = {number: name for name, number in _NUMBERS.items()}


def decode_points(request: pb.ClassifyRequest, *, max_points: int) -> FloatArray:
    """Return the request's points, of shape (n_points, 2).

    Raises
    ------
    InvalidInput
        If there are too many, x and y differ in length, a coordinate is not finite, or
        min_certainty is not within 0 to 1.
    """
    n_x, n_y = len(request.x), len(request.y)
    if max(n_x, n_y) > max_points:
        field, n = ("x", n_x) if n_x > max_points else ("y", n_y)
        raise InvalidInput(
            [
                Violation(
                    field,
                    f"expected at most {max_points} points a call, got {n}; "
                    "send them in several calls",
                )
            ]
        )
    if n_x != n_y:
        short, n_short, long, n_long = ("y", n_y, "x", n_x) if n_y < n_x else ("x", n_x, "y", n_y)
        raise InvalidInput(
            [Violation(short, f"expected as many values as {long}, {n_long}, got {n_short}")]
        )
    if not 0.0 <= request.min_certainty <= 1.0:
        raise InvalidInput(
            [
                Violation(
                    "min_certainty",
                    f"expected a number from 0 to 1, got {request.min_certainty:g}",
                )
            ]
        )
    X = np.empty((n_x, 2))
    X[:, 0] = request.x
    X[:, 1] = request.y
    _check_finite(X, ("x", "y"))
    return X


def _check_finite(X: FloatArray, fields: Sequence[str]) -> None:
    finite = np.isfinite(X)
    if finite.all():
        return
    rows, columns = np.nonzero(~finite)
    shown = slice(InvalidInput.MAX_VIOLATIONS)
    violations = [
        Violation(f"{fields[column]}[{row}]", f"expected a finite number, got {X[row, column]}")
        for row, column in zip(rows[shown], columns[shown], strict=True)
    ]
    raise InvalidInput(violations, total=len(rows))


def classify(model: Model, X: FloatArray) -> FloatArray:
    """Return each point's probabilities, of shape (n_points, 4), in the order I, II, III, IV.

    Raises
    ------
    Unsupported
        If the model is not one of two features and the four quadrants.
    """
    columns = _columns(model)
    # Coordinates near the largest double overflow on the way; `encode_answer` says what becomes
    # of such points.
    with np.errstate(over="ignore", invalid="ignore"):
        return model.predictor.probabilities(X)[:, columns]


def _columns(model: Model) -> IntArray:
    """Return which column of the model's probabilities belongs to each quadrant."""
    signature = model.manifest.signature
    if len(signature.features) != 2 or sorted(signature.classes) != sorted(quadrants.NAMES):
        raise Unsupported(
            f"Model {model.manifest.model!r} takes {len(signature.features)} features and has "
            f"the classes {', '.join(signature.classes)}: it cannot say quadrants. Ask it with "
            "inference.GRPCInferenceService/ModelInfer."
        )
    return np.array([signature.classes.index(name) for name in quadrants.NAMES])


def encode_answer(
    model: Model, probabilities: FloatArray, *, min_certainty: float, all_certainties: bool
) -> pb.ClassifyResponse:
    """Return the answer for points with these probabilities, columns in the order I to IV."""
    unknown = np.logical_not(np.isfinite(probabilities).all(axis=1, keepdims=True))
    if unknown.any():
        probabilities = np.where(unknown, 1 / len(quadrants.NAMES), probabilities)
    winners = probabilities.argmax(axis=1)
    certainties = probabilities.max(axis=1, initial=0.0).astype(np.float32)
    numbers = np.array([_NUMBERS[name] for name in quadrants.NAMES])[winners]
    # Compared as the floats that travel, so that the caller can check the rule on what it got.
    numbers[unknown[:, 0] | (certainties < np.float32(min_certainty))] = pb.QUADRANT_UNSPECIFIED
    return pb.ClassifyResponse(
        model=pb.ModelVersion(
            name=model.manifest.model, version=model.manifest.version, digest=model.digest
        ),
        quadrants=numbers.tolist(),
        certainties=certainties.tolist(),
        all_certainties=probabilities.astype(np.float32).ravel().tolist()
        if all_certainties
        else [],
    )
