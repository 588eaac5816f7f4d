"""Decodes and checks requests, and encodes answers.

The only module that knows how `quadrant.v1` represents points and quadrants.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from quadnet import quadrants
from quadnet.errors import InvalidInput, Unsupported, Violation, listing, shorten
from quadnet.registry.version_files import Model
from quadnet.tables.columns import Column
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.table_reading import read_table
from quadnet.types import FloatArray, IntArray
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.checks import MAX_POINTS, check_finite_numbers
from service.wire.messages import parse_message
from service.wire.packed_arrays import decode_doubles, encode_doubles, encode_packed_field

M = TypeVar("M", bound=Message)

SERVICE: str = pb.DESCRIPTOR.services_by_name["QuadrantService"].full_name

# The quadrants' numbers on the wire, by name: no code relies on the order of either side.
QUADRANT_NUMBERS = {name: pb.Quadrant.Value(f"QUADRANT_{name}") for name in quadrants.NAMES}
QUADRANT_NAMES = {number: name for name, number in QUADRANT_NUMBERS.items()}

_NUMBERS_BY_ROW = np.array([QUADRANT_NUMBERS[name] for name in quadrants.NAMES], np.uint8)
"""The quadrants' numbers on the wire, for rows of probabilities in the order I to IV."""

_MIN_POINTS_FOR_ROWS = 512

_EMPTY: FloatArray = np.empty(0)

_X, _Y = pb.ClassifyRequest.X_FIELD_NUMBER, pb.ClassifyRequest.Y_FIELD_NUMBER
_QUADRANTS = pb.ClassifyResponse.QUADRANTS_FIELD_NUMBER
_CERTAINTIES = pb.ClassifyResponse.CERTAINTIES_FIELD_NUMBER
_ALL_CERTAINTIES = pb.ClassifyResponse.ALL_CERTAINTIES_FIELD_NUMBER


def decode_points(content: bytes, *, max_points: int) -> tuple[pb.ClassifyRequest, FloatArray]:
    """Return a ClassifyRequest without its points, and its points, of shape (n_points, 2).

    Raises
    ------
    InvalidInput
        If the bytes are not such a message, there are too many points, x and y differ in length, a
        coordinate is not finite, or min_certainty is not from 0 to 1.
    """
    split = decode_doubles(content, (_X, _Y))
    if split is None:
        request = parse_message(pb.ClassifyRequest, content)
        x, y = np.array(request.x), np.array(request.y)
    else:
        columns, rest = split
        request = parse_message(pb.ClassifyRequest, rest)
        x, y = columns.get(_X, _EMPTY), columns.get(_Y, _EMPTY)
    _check_lengths(len(x), len(y), max_points)
    if not 0.0 <= request.min_certainty <= 1.0:
        raise InvalidInput(
            [
                Violation(
                    "min_certainty",
                    f"expected a number from 0 to 1, got {request.min_certainty:g}",
                )
            ]
        )
    X = np.empty((len(x), 2))
    X[:, 0] = x
    X[:, 1] = y
    check_finite_numbers(X, lambda row, column: f"{'xy'[column]}[{row}]")
    return request, X


def _check_lengths(n_x: int, n_y: int, max_points: int) -> None:
    if max(n_x, n_y) > max_points:
        field, n = ("x", n_x) if n_x > max_points else ("y", n_y)
        raise InvalidInput(
            [
                Violation(
                    field,
                    f"expected at most {max_points} points per call, got {n}; "
                    "send them in several calls",
                )
            ],
            facts={MAX_POINTS: max_points},
        )
    if n_x != n_y:
        short, n_short, long, n_long = ("y", n_y, "x", n_x) if n_y < n_x else ("x", n_x, "y", n_y)
        raise InvalidInput(
            [Violation(short, f"expected as many values as {long}, {n_long}, got {n_short}")]
        )


class BatchClassification:
    """A batch of points: classified slice by slice, in order, and then encoded.

    Parameters
    ----------
    model : Model
    X : ndarray of shape (n_points, 2)
    min_certainty : float
        Points whose certainty is lower get QUADRANT_UNSPECIFIED.
    all_certainties : bool
        Whether to return the certainties of all four quadrants.

    Raises
    ------
    Unsupported
        If the model does not have two features, or columns of numbers, and the four quadrants as
        classes.
    """

    def __init__(
        self, model: Model, X: FloatArray, *, min_certainty: float, all_certainties: bool
    ) -> None:
        self._model = model
        self._X = X
        self._columns = _quadrant_columns(model)
        self._names = _name_coordinates(model)
        # Compared in float32, as on the wire, so that callers can verify the rule on the answer.
        self._min_certainty = np.float32(min_certainty)
        self._with_all = all_certainties
        # The encoded results of each slice.
        self._quadrants: list[bytes] = []
        self._certainties: list[bytes] = []
        self._all: list[bytes] = []

    def compute(self, rows: slice) -> None:
        """Classify these points."""
        X = self._X[rows]
        if self._model.encoder is not None:
            X = self._model.encoder.transform(dict(zip(self._names, X.T, strict=True)))
        P = self._model.classifier.probabilities_by_class(X)
        if self._columns is not None:
            P = P[self._columns]
        largest = np.maximum.reduce(P, axis=0)
        quadrants = _NUMBERS_BY_ROW[_argmax_of_rows(largest, P)]
        certainties = largest.astype("<f4")
        # Coordinates near the largest double overflow in the network, which results in NaN.
        if math.isnan(largest.dot(largest)):
            # Such points have equal certainties and no quadrant.
            unknown = np.isnan(largest)
            P = np.where(unknown, 1 / len(P), P)
            certainties[unknown] = 1 / len(P)
            quadrants[unknown] = pb.QUADRANT_UNSPECIFIED
        if self._min_certainty > 0:
            quadrants[certainties < self._min_certainty] = pb.QUADRANT_UNSPECIFIED
        self._quadrants.append(quadrants.tobytes())
        self._certainties.append(certainties.tobytes())
        if self._with_all:
            self._all.append(P.T.astype("<f4").tobytes())

    def encode(self) -> bytes:
        """Return the ClassifyResponse."""
        manifest = self._model.manifest
        return b"".join(
            (
                _encode_model_version(manifest.model, manifest.version, self._model.digest),
                encode_packed_field(_QUADRANTS, b"".join(self._quadrants)),
                encode_packed_field(_CERTAINTIES, b"".join(self._certainties)),
                encode_packed_field(_ALL_CERTAINTIES, b"".join(self._all)),
            )
        )


def _argmax_of_rows(largest: FloatArray, P: FloatArray) -> NDArray[np.integer[Any]]:
    """Return `P.argmax(axis=0)` for four rows, given each column's largest value.

    For many points this takes a tenth of the time of `argmax`, which is faster for few points.
    """
    if len(largest) < _MIN_POINTS_FOR_ROWS:
        few: NDArray[np.integer[Any]] = P.argmax(axis=0)
        return few
    row: NDArray[np.uint8] = (P[2] != largest).view(np.uint8)
    for earlier in (P[1], P[0]):
        row += np.uint8(1)
        row *= (earlier != largest).view(np.uint8)
    return row


@lru_cache(maxsize=64)
def _encode_model_version(model: str, version: int, digest: str) -> bytes:
    """Return a ClassifyResponse with the model version only."""
    model_version = pb.ModelVersion(name=model, version=version, digest=digest)
    return pb.ClassifyResponse(model=model_version).SerializeToString()


def _quadrant_columns(model: Model) -> IntArray | None:
    """Return the index of each quadrant among the model's classes; None if they are in order."""
    manifest = model.manifest
    classes = manifest.signature.classes
    kinds = set() if model.encoder is None else {each.kind for each in model.encoder.columns}
    if (
        manifest.task == "classification"
        and sorted(classes) == sorted(quadrants.NAMES)
        and len(manifest.columns) == 2
        and kinds <= {"number"}
    ):
        if tuple(classes) == quadrants.NAMES:
            return None
        return np.array([classes.index(name) for name in quadrants.NAMES])
    names = manifest.columns
    takes = f"the columns {listing(names)}" if kinds else f"{len(names)} features"
    predicts = {
        "classification": f"the classes {listing(classes)}",
        "regression": "a number to predict",
        "multilabel": f"the labels {listing(classes)}",
    }[manifest.task]
    raise Unsupported(
        f"Model {manifest.model!r} has {takes} and {predicts}, not 2 features and the four "
        "quadrants. Call it with inference.GRPCInferenceService/ModelInfer"
        + (", with one input for each column." if kinds else ".")
    )


def _name_coordinates(model: Model) -> tuple[str, str]:
    """Return the columns that x and y are: those of these names, or else the first two."""
    first, second = model.manifest.columns
    return (second, first) if (first, second) == ("y", "x") else (first, second)


def encode_points(
    ref: pb.ModelRef, X: FloatArray, *, min_certainty: float, all_certainties: bool
) -> bytes:
    """Return the bytes of a ClassifyRequest for points of shape (n_points, 2)."""
    rest = pb.ClassifyRequest(
        model=ref, min_certainty=min_certainty, all_certainties=all_certainties
    )
    return b"".join(
        (
            rest.SerializeToString(),
            encode_doubles(_X, X[:, 0]),
            encode_doubles(_Y, X[:, 1]),
        )
    )


def decode_features(
    request: pb.ExplainRequest, model: Model
) -> tuple[FloatArray, dict[str, Column] | None]:
    """Return the input of the network, of shape (1, n_features), and the columns it was made of.

    Raises
    ------
    InvalidInput
        If the number of features is not that of the model, a feature is not finite, or a column is
        missing, unknown or of another kind.
    """
    encoder = model.encoder
    if encoder is None:
        return _decode_numbers(request, model.manifest.signature.feature_names), None
    if not request.columns and all(column.kind == "number" for column in encoder.columns):
        x = _decode_numbers(request, encoder.input_names)
        table: dict[str, Column] = dict(zip(encoder.input_names, x.T, strict=True))
    else:
        table = read_table(_collect_values(request, encoder), encoder)
        encoder.refuse_unseen_gaps(table)
    return encoder.transform(table), table


def _decode_numbers(request: pb.ExplainRequest, names: Sequence[str]) -> FloatArray:
    """Return the features, which must be as many finite numbers as there are names."""
    if request.columns:
        raise InvalidInput(
            [Violation("columns", "expected no columns, because the model takes features")]
        )
    n = len(request.features)
    if n != len(names):
        raise InvalidInput(
            [Violation("features", f"expected {len(names)} values, of {listing(names)}; got {n}")]
        )
    x = np.array(request.features, dtype=np.float64)
    check_finite_numbers(x, lambda i: f"features[{i}]")
    return x[np.newaxis]


def _collect_values(
    request: pb.ExplainRequest, encoder: TableEncoder
) -> dict[str, list[float | str | None]]:
    """Return the values of the columns, each as a list of one."""
    if request.features:
        kinds = [f"{column.name} ({column.kind})" for column in encoder.columns]
        raise InvalidInput(
            [
                Violation(
                    "features",
                    "expected no features, but columns, because these columns are not all numbers: "
                    f"{listing(kinds)}",
                )
            ]
        )
    values: dict[str, list[float | str | None]] = {}
    for i, sent in enumerate(request.columns):
        if sent.name in values:
            raise InvalidInput(
                [
                    Violation(
                        f"columns[{i}].name",
                        f"expected each column once, got {shorten(sent.name)} again",
                    )
                ]
            )
        value = sent.WhichOneof("value")
        values[sent.name] = [None if value is None else getattr(sent, value)]
    return values
