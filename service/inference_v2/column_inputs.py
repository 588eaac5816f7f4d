"""Named inputs: one tensor for each column of a version with an encoder.

A number is missing if it is NaN or null; a text or a date is missing if it is empty or null. An
error names the column, and the row as in ``age[3]``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from quadnet.errors import InvalidInput, Violation, listing, shorten
from quadnet.tables.column_encoders import CategoryEncoder, ColumnEncoder
from quadnet.tables.columns import Column, Texts
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.raw_columns import ArrayColumn
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
    table: dict[str, Column] = {}
    readers: dict[str, Callable[[], Column]]
    if takes_matrix(encoder) and [tensor.name for tensor in inputs] == [INPUT]:
        names = encoder.input_names
        X = read_rows_of_numbers(
            inputs[0], n_features=len(names), max_rows=max_rows, may_be_missing=True
        )
        n_rows = len(X)
        readers = {
            name: partial(read_column, name, ArrayColumn(X[:, i]), "number")
            for i, name in enumerate(names)
        }
    else:
        tensors = _match_columns(inputs, encoder)
        n_rows = _check_columns(tensors, encoder, max_rows)
        readers = {
            column.name: partial(_read_tensor, tensors[column.name], column)
            for column in encoder.columns
        }
    each = _NANOSECONDS_A_COLUMN + _NANOSECONDS_A_VALUE * n_rows
    total = each * len(readers)

    def read(columns: Sequence[ColumnEncoder]) -> None:
        for column in columns:
            table[column.name] = readers[column.name]()

    # A few columns at a time, so that calls take turns.
    size = max(1, int(_NANOSECONDS_A_TURN / each))
    for start in range(0, len(encoder.columns), size):
        part = partial(read, encoder.columns[start : start + size])
        await compute_thread.run_by_size(0, part, nanoseconds=total)
    check = partial(_make_rows, encoder, table, total)
    return await compute_thread.run_by_size(0, check, nanoseconds=total)


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


def _read_tensor(tensor: InputTensor, column: ColumnEncoder) -> Column:
    """Return the values of a tensor as a column of the encoder's kind."""
    if tensor.datatype != "BYTES":
        values = ArrayColumn(tensor.read_numbers(may_be_missing=True))
        return read_column(column.name, values, column.kind)
    texts = tensor.read_texts()
    if isinstance(column, CategoryEncoder) and "" not in column.places and "" in texts.values:
        texts = Texts(
            np.where(texts.codes == texts.values.index(""), -1, texts.codes), texts.values
        )
    return read_column(column.name, texts, column.kind)


def _make_rows(encoder: TableEncoder, table: dict[str, Column], nanoseconds: float) -> TableRows:
    encoder.refuse_unseen_gaps(table)
    encoder.check_values(table)
    unknown = {name: count for name, count in encoder.count_unknown(table).items() if count}
    for column in encoder.columns:
        texts = table[column.name]
        if isinstance(column, CategoryEncoder) and isinstance(texts, Texts):
            table[column.name] = _merge_unknown(texts, column.places)
    return TableRows(encoder, table, unknown, nanoseconds)


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
