"""Convert columns of pyarrow to raw columns: numbers, texts and dates."""

import json
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.data.files.arrow.arrays import find_valid, to_floats, to_values
from quadnet.tables.columns import Column, DateArray, Texts
from quadnet.types import IntArray

Kind = Literal["number", "text", "date"]

_NO_ROWS = np.empty(0, np.intp)


def find_kind(type_: pa.DataType) -> Kind | None:
    """Return the kind of column for values of this type; None if they cannot be read."""
    types = pa.types
    if types.is_dictionary(type_):
        return find_kind(type_.value_type)
    if isinstance(type_, pa.BaseExtensionType):
        kind = find_kind(type_.storage_type)
        return kind if kind == "text" and is_string(type_.storage_type) else None
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_null(type_):
        return "number"
    if types.is_boolean(type_) or is_text(type_):
        return "text"
    return "date" if types.is_date(type_) or types.is_timestamp(type_) else None


def is_string(type_: pa.DataType) -> bool:
    """Return whether values are text in UTF-8."""
    return any(
        is_such(type_)
        for is_such in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def is_text(type_: pa.DataType) -> bool:
    """Return whether values are text, or bytes, in which older writers store text."""
    return is_string(type_) or any(
        is_such(type_)
        for is_such in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )


def find_row_labels(types: pa.Schema) -> tuple[str, ...]:
    """Return the columns that pandas stored as row labels."""
    pandas = json.loads((types.metadata or {}).get(b"pandas", b"{}"))
    # A range index has no column; its entry is a mapping.
    return tuple(name for name in pandas.get("index_columns", []) if isinstance(name, str))


def to_column(column: pa.ChunkedArray) -> tuple[Column, IntArray]:
    """Return a column of a type that has a kind, and its rows whose bytes are not UTF-8.

    Numbers are the nearest ones in float64, dates are in UTC and microseconds, and truth values
    are the texts "true" and "false".

    Raises
    ------
    ValueError
        If a date is too far from now, or the column is damaged.
    """
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        # In a damaged file, an index may be beyond the dictionary, which pyarrow does not check.
        column.validate(full=True)
    kind = find_kind(column.type)
    if kind == "text":
        return to_texts(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "date":
        return _to_dates(column), _NO_ROWS
    if pa.types.is_decimal(column.type):
        # pyarrow's own conversion to floats divides, and so rounds twice.
        column = column.cast(pa.string())
    return to_floats(column), _NO_ROWS


def to_texts(column: pa.ChunkedArray) -> tuple[Texts, IntArray]:
    """Return a column of texts, bytes or truth values, and its rows that are not UTF-8."""
    if not pa.types.is_dictionary(column.type):
        if not (pa.types.is_binary(column.type) or pa.types.is_string(column.type)):
            # Not every release of pyarrow encodes the other types.
            text = pa.types.is_boolean(column.type) or is_string(column.type)
            column = column.cast(pa.large_string() if text else pa.large_binary())
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    places: dict[str, int] = {}
    bad = []
    codes = []
    for i, value in enumerate(_decode(array.dictionary)):
        if isinstance(value, str):
            codes.append(places.setdefault(value, len(places)))
        else:
            codes.append(-1)
            if value is not None:
                bad.append(i)
    indices = array.indices.cast(pa.int64())
    rows = to_values(indices, np.int64, len(codes))
    texts = Texts(np.array([*codes, -1], np.intp)[rows], tuple(places))
    return texts, np.flatnonzero(np.isin(rows, bad)) if bad else _NO_ROWS


def _decode(values: pa.Array) -> list[str | bytes | None]:
    """Return each text, or its bytes if it is not UTF-8."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.string())
    values = values.cast(pa.large_binary())
    if not len(values):
        return []
    _, offsets, content = values.buffers()
    ends = np.frombuffer(offsets, np.int64, len(values) + 1, values.offset * 8).tolist()
    data = b"" if content is None else content.to_pybytes()
    decoded: list[str | bytes | None]
    if data.isascii():
        text = data.decode()
        decoded = [text[begin:end] for begin, end in pairwise(ends)]
    else:
        pieces = [data[begin:end] for begin, end in pairwise(ends)]
        decoded = list(map(_decode_one, pieces))
    if values.null_count:
        valid = find_valid(values).tolist()
        decoded = [
            value if is_valid else None for value, is_valid in zip(decoded, valid, strict=True)
        ]
    return decoded


def _decode_one(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _to_dates(column: pa.ChunkedArray) -> DateArray:
    options = compute.CastOptions(pa.timestamp("us"), allow_time_truncate=True)
    array = column.cast(options=options).combine_chunks()
    return to_values(array, "M8[us]", np.datetime64("NaT"))
