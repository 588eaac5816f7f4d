"""Named inputs: one tensor for each column of a version with an encoder.

A number is missing if it is NaN or null; a text or a date is missing if it is empty or null. An
error names the column, and the row as in ``age[3]``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.tables.column_encoders import CategoryEncoder, ColumnEncoder
from quadnet.tables.columns import Column, Texts
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.raw_columns import ArrayColumn, RawColumn
from quadnet.tables.table_reading import read_column
from service.inference_v2.matrix_input import INPUT, check_row_count, read_rows_of_numbers
from service.inference_v2.rows import TableRows
from service.inference_v2.tensors import NUMBER_DTYPES, InputTensor, format_shape
from service.rpc.compute_thread import ComputeThread

_NUMBERS = {*NUMBER_DTYPES, "BOOL"}

_DATATYPES = {
    "number": (_NUMBERS, "FP64 or another datatype of numbers, or BOOL, for a column of numbers"),
    "category": (
        {*_NUMBERS, "BYTES"},
        "BYTES, a datatype of numbers, or BOOL, for a column of categories",
    ),
    "date": ({"BYTES"}, "BYTES, with texts such as 2024-01-31, for a column of dates"),
}
"""The datatypes that each kind of column accepts, as a set and in words."""

_NANOSECONDS_A_COLUMN, _NANOSECONDS_A_VALUE = 30_000, 200
"""About how long it takes to read and encode a column, and each of its values."""

_NANOSECONDS_A_TURN = 4e6
"""About how long a call reads columns on the compute thread before another call's turn."""


def takes_matrix(encoder: TableEncoder) -> bool:
    """Return whether the columns may also be sent as one input "x".

    All must be numbers. With a column "x" a request would be ambiguous.
    """
    kinds = {column.kind for column in encoder.columns}
    return kinds == {"number"} and INPUT not in encoder.input_names


async def read_columns(
    inputs: Sequence[InputTensor],
    encoder: TableEncoder,
    *,
    max_rows: int,
    compute_thread: ComputeThread,
) -> TableRows:
    """Return the rows of named inputs, or of the input "x"; many are read on the compute thread.

    Raises
    ------
    InvalidInput
        If a column is missing, unknown or repeated, its datatype or shape is not that of the model,
        a value is of another kind, or the encoder refuses it.
    """
    sent: Mapping[str, Callable[[], RawColumn | Texts]]
    if takes_matrix(encoder) and [tensor.name for tensor in inputs] == [INPUT]:
        names = encoder.input_names
        X = await _read_matrix(inputs[0], len(names), max_rows, compute_thread)
        n_rows = len(X)
        sent = {name: partial(ArrayColumn, X[:, i]) for i, name in enumerate(names)}
    else:
        tensors = _match_columns(inputs, encoder)
        n_rows = _check_columns(tensors, encoder, max_rows)
        sent = {name: partial(_read_tensor, tensor) for name, tensor in tensors.items()}
    columns: dict[str, Column | NDArray[Any]] = {}
    unknown: dict[str, int] = {}

    def read(part: Sequence[ColumnEncoder]) -> None:
        for column in part:
            columns[column.name], count = _read_column(sent[column.name](), column)
            if count:
                unknown[column.name] = count

    each = _NANOSECONDS_A_COLUMN + _NANOSECONDS_A_VALUE * n_rows
    total = each * len(encoder.columns)
    # A few columns at a time, so that calls take turns.
    size = max(1, int(_NANOSECONDS_A_TURN / each))
    for start in range(0, len(encoder.columns), size):
        part = partial(read, encoder.columns[start : start + size])
        await compute_thread.run_by_size(0, part, nanoseconds=total)
    return TableRows(encoder, columns, n_rows, unknown, total)


async def _read_matrix(
    tensor: InputTensor, n_columns: int, max_rows: int, compute_thread: ComputeThread
) -> NDArray[Any]:
    read = partial(
        read_rows_of_numbers,
        tensor,
        n_features=n_columns,
        max_rows=max_rows,
        may_be_missing=True,
    )
    return await compute_thread.run_by_size(0, read, nanoseconds=tensor.nanoseconds)


def _match_columns(
    inputs: Sequence[InputTensor], encoder: TableEncoder
) -> Mapping[str, InputTensor]:
    """Return the inputs by name; raise InvalidInput unless they are the encoder's columns."""
    names = listing(encoder.input_names)
    known = set(encoder.input_names)
    tensors: dict[str, InputTensor] = {}
    violations = []
    for tensor in inputs:
        if tensor.name in tensors:
            description = f"expected each column once, got {shorten(tensor.name)} again"
        elif tensor.name not in known:
            description = (
                f"the model has no column {shorten(tensor.name)}; it has {names}. Leave it out"
            )
        else:
            tensors[tensor.name] = tensor
            continue
        violations.append(Violation(f"{tensor.field}.name", description))
    missing = [name for name in encoder.input_names if name not in tensors]
    violations += [
        Violation("inputs", f"the column {shorten(name)} is missing; the columns are {names}")
        for name in missing
    ]
    if violations:
        raise InvalidInput(violations)
    return tensors


def _check_columns(tensors: Mapping[str, InputTensor], encoder: TableEncoder, max_rows: int) -> int:
    """Return the number of rows; raise InvalidInput for a wrong datatype or shape."""
    first = tensors[encoder.columns[0].name]
    for column in encoder.columns:
        tensor = tensors[column.name]
        accepted, described = _DATATYPES[column.kind]
        if tensor.datatype not in accepted:
            tensor.refuse(f"{tensor.field}.datatype", described, shorten(tensor.datatype))
        shape, field = tensor.shape, f"{tensor.field}.shape"
        if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ((), (1,)):
            tensor.refuse(field, "[n] or [n, 1], a value for each row", format_shape(shape))
        check_row_count(tensor, max_rows)
        if shape[0] != first.shape[0]:
            tensor.refuse(
                field,
                f"{first.shape[0]} rows, as input {shorten(first.name)} has",
                f"{shape[0]}",
            )
    return first.shape[0]


def _read_tensor(tensor: InputTensor) -> RawColumn | Texts:
    """Return the values of a tensor as they were sent."""
    if tensor.datatype == "BYTES":
        return tensor.read_texts()
    return ArrayColumn(tensor.read_numbers(may_be_missing=True))


def _read_column(
    sent: RawColumn | Texts, encoder: ColumnEncoder
) -> tuple[Column | NDArray[Any], int]:
    """Return a checked column, and in how many rows it has an unknown category."""
    if isinstance(encoder, CategoryEncoder) and isinstance(sent, Texts):
        sent = _without_empty(sent, encoder)
    column = read_column(encoder.name, sent, encoder.kind)
    encoder.refuse_unseen_gaps(column)
    encoder.check_values(column)
    if isinstance(encoder, CategoryEncoder) and isinstance(column, Texts):
        return _merge_unknown(column, encoder.places), encoder.count_unknown(column)
    if isinstance(sent, ArrayColumn) and sent.values.dtype.kind in "biuf":
        return sent.values, 0
    return column, 0


def _without_empty(texts: Texts, encoder: CategoryEncoder) -> Texts:
    """Return the column in which an empty text is missing, unless it is a known category."""
    if "" in encoder.places or "" not in texts.values:
        return texts
    empty = texts.values.index("")
    return Texts(np.where(texts.codes == empty, -1, texts.codes), texts.values)


def _merge_unknown(texts: Texts, known: Mapping[str, int]) -> Texts:
    """Return the column with one text in place of all that are unknown: they are encoded alike.

    Each slice looks up every distinct text, of which a caller can send one in each row.
    """
    if len(texts.values) <= len(known):
        return texts
    kept = [value for value in texts.values if value in known]
    other = next(value for value in texts.values if value not in known)
    places = {value: place for place, value in enumerate(kept)}
    # The last entry is that of the code -1.
    by_code = np.array([*(places.get(value, len(kept)) for value in texts.values), -1])
    return Texts(by_code[texts.codes], (*kept, other))
