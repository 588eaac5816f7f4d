"""The inputs of an ONNX model that takes the columns of a table, one tensor for each."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    NumberEncoder,
)
from quadnet.tables.columns import Column, Table, Texts, is_dates, table_length
from quadnet.tables.date_parts import US_PER_DAY
from quadnet.tables.encoder import TableEncoder

OUTPUT_NAMES = ("label", "probabilities", "value", "quantiles")
"""The outputs of the models, after which no input can be named."""

MISSING_DATE = int(np.iinfo(np.int64).min)
"""What a missing date is, as NumPy's NaT is."""


def name_inputs(encoder: TableEncoder) -> dict[str, str]:
    """Return the name of each column's input: the column's own, wherever ONNX allows it.

    A column without a name, or with that of an output, has the ending "(input)".
    """
    names: dict[str, str] = {}
    taken = {"", *OUTPUT_NAMES, *encoder.input_names}
    for column in encoder.input_names:
        name = column
        if name in {"", *OUTPUT_NAMES}:
            while name in taken:
                name = f"{name} (input)".strip()
            taken.add(name)
        names[column] = name
    return names


def choose_missing_text(column: CategoryEncoder) -> str:
    """Return a text that means missing: "", or another one if "" is a category."""
    text = ""
    while text in column.places:
        text += "?"
    return text


def describe_columns(encoder: TableEncoder) -> str:
    """Return a JSON list of the columns, for a model's metadata.

    Each has the name of the column and of its input, the kind, and for a column of texts or dates
    what a missing value is.
    """
    names = name_inputs(encoder)
    columns: list[dict[str, Any]] = []
    for column in encoder.columns:
        entry = {"column": column.name, "input": names[column.name], "kind": column.kind}
        columns.append(entry | _describe_missing(column))
    return json.dumps(columns, ensure_ascii=False)


def _describe_missing(column: ColumnEncoder) -> dict[str, Any]:
    if isinstance(column, CategoryEncoder):
        return {"missing": choose_missing_text(column)}
    return {"missing": MISSING_DATE} if column.kind == "date" else {}  # JSON has no NaN


def make_feed(encoder: TableEncoder, table: Table) -> dict[str, NDArray[Any]]:
    """Return a table as the inputs of a model that `encoder` was exported with.

    Parameters
    ----------
    encoder : TableEncoder
    table : mapping of str to Column
        Columns that the encoder does not have are ignored.

    Returns
    -------
    dict of str to ndarray
        By input, arrays of shape (n_rows, 1): float64, texts as objects, or microseconds since
        1970-01-01 UTC as int64.

    Raises
    ------
    InvalidInput
        If a column is missing or of another kind, or two columns differ in length.
    """
    encoder.check_columns(table)
    table_length({name: table[name] for name in encoder.input_names})
    names = name_inputs(encoder)
    return {
        names[column.name]: _to_array(column, table[column.name])[:, np.newaxis]
        for column in encoder.columns
    }


def make_example_table(encoder: TableEncoder, n_rows: int = 200) -> dict[str, Column]:
    """Return a table of values like those that the encoder was fitted to, always the same.

    A tenth of each column that takes gaps is missing. A model can be checked with it against the
    encoder and the network, where no table is at hand.
    """
    rng = np.random.default_rng(0)
    return {each.name: _make_example(each, rng, n_rows) for each in encoder.columns}


def _make_example(encoder: ColumnEncoder, rng: np.random.Generator, n_rows: int) -> Column:
    missing = (rng.random(n_rows) < 0.1) & (encoder.gaps != "refused")
    if isinstance(encoder, CategoryEncoder):
        values = (*encoder.categories, *encoder.rare)
        if encoder.unknown != "refused" or not values:
            values += (choose_missing_text(encoder),)
        return Texts(np.where(missing, -1, rng.integers(len(values), size=n_rows)), values)
    if isinstance(encoder, DateEncoder):
        days = {part.part: part for part in encoder.parts}.get("elapsed")
        middle, spread = (0.0, 10_000.0) if days is None else (days.centre, days.scale)
        # Three deviations to either side, with the time of day.
        microseconds = (middle + spread * rng.uniform(-3.0, 3.0, n_rows)) * US_PER_DAY
        whole = np.clip(microseconds, -9e18, 9e18).astype(np.int64)
        return np.where(missing, MISSING_DATE, whole).astype("datetime64[us]")
    assert isinstance(encoder, NumberEncoder)
    # By shares of both ends, because the range of two large numbers overflows.
    shares = rng.random(n_rows)
    return np.where(missing, np.nan, shares * encoder.low + (1.0 - shares) * encoder.high)


def _to_array(encoder: ColumnEncoder, column: Column) -> NDArray[Any]:
    if isinstance(column, Texts):
        assert isinstance(encoder, CategoryEncoder)
        texts = np.array([*column.values, choose_missing_text(encoder)], object)
        return texts[column.codes]
    if is_dates(column):
        return column.astype("datetime64[us]").astype(np.int64)
    return np.asarray(column, np.float64)
