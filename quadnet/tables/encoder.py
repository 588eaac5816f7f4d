"""A table as the inputs of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quadnet.errors import ConfigurationError, InvalidInput, Violation, listing
from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    NumberEncoder,
    encoder_from_spec,
)
from quadnet.tables.column_settings import ColumnSettings, fit_column
from quadnet.tables.columns import Table, table_length
from quadnet.tables.spec_checks import find_repeated
from quadnet.types import FloatArray, IntArray

MAX_OUTPUTS = 2**16
"""Most outputs of an encoder."""


@dataclass(frozen=True)
class TableEncoder:
    """The encoders of a table's columns, in the order of the outputs.

    Parameters
    ----------
    columns : tuple of ColumnEncoder

    Raises
    ------
    ValueError
        If two columns have the same name, or there are more than `MAX_OUTPUTS` outputs.
    """

    columns: tuple[ColumnEncoder, ...]

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("an encoder must have at least one column")
        if (twice := find_repeated(self.input_names)) is not None:
            raise ValueError(f"each column must have a name of its own, got {twice!r} twice")
        if not 1 <= self.n_outputs <= MAX_OUTPUTS:
            raise ValueError(
                f"the columns must have 1 to {MAX_OUTPUTS:,} outputs, got {self.n_outputs:,}"
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the columns that `transform` reads."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        """A readable, distinct name for each output, such as "age" or "city = Oslo"."""
        names: dict[str, None] = {}
        for column in self.columns:
            for name in column.output_names:
                distinct, number = name, 1
                while distinct in names:
                    number += 1
                    distinct = f"{name} ({number})"
                names[distinct] = None
        return tuple(names)

    @cached_property
    def output_groups(self) -> dict[str, range]:
        """The outputs of each column."""
        groups, start = {}, 0
        for column in self.columns:
            end = start + len(column.output_names)
            groups[column.name] = range(start, end)
            start = end
        return groups

    @property
    def n_outputs(self) -> int:
        """The number of columns of the result of `transform`."""
        return self.output_groups[self.columns[-1].name].stop

    @property
    def number_outputs(self) -> IntArray:
        """The outputs that are the values of columns of numbers."""
        numbers = (column for column in self.columns if isinstance(column, NumberEncoder))
        return np.array([self.output_groups[each.name].start for each in numbers], np.intp)

    def transform(self, table: Table) -> FloatArray:
        """Return the inputs of a network as float64 of shape (n_rows, n_outputs).

        Parameters
        ----------
        table : mapping of str to Column
            Columns that the encoder does not have are ignored.

        Raises
        ------
        InvalidInput
            If a column is missing or of another kind, two columns differ in length, a number is
            infinite, or a column refuses a gap or an unknown category. The message names the column
            and the row.
        """
        self.check_columns(table)
        n_rows = table_length({name: table[name] for name in self.input_names})
        outputs = np.zeros((n_rows, self.n_outputs))
        for column in self.columns:
            group = self.output_groups[column.name]
            column.encode_into(table[column.name], outputs[:, group.start : group.stop])
        return outputs

    def count_unknown(self, table: Table) -> dict[str, int]:
        """Return in how many rows each column of texts has a category unknown from training.

        Raises
        ------
        InvalidInput
            If a column is missing or of another kind.
        """
        self.check_columns(table)
        return {
            column.name: column.count_unknown(table[column.name])
            for column in self.columns
            if column.kind == "category"
        }

    def refuse_unseen_gaps(self, table: Table) -> None:
        """Raise InvalidInput if there is a gap in a column that had no gaps in training.

        `transform` fills such gaps. A caller whose rows come from outside can refuse them first.

        Parameters
        ----------
        table : mapping of str to Column
            Columns that the encoder does not have are ignored.

        Raises
        ------
        InvalidInput
            Also if a column is missing or of another kind. The message names the column and the
            rows.
        """
        self.check_columns(table)
        for column in self.columns:
            column.refuse_unseen_gaps(table[column.name])

    def check_columns(self, table: Table) -> None:
        """Raise InvalidInput if a column is missing or of another kind."""
        missing = [name for name in self.input_names if name not in table]
        if missing:
            raise InvalidInput(
                [Violation(name, f"is missing; found {listing(list(table))}") for name in missing]
            )
        for column in self.columns:
            column.check_column(table[column.name])

    @property
    def repeated_outputs(self) -> set[str]:
        """The names of outputs for "1.0" where there is one for "1": a row has either text."""
        return {
            f"{column.name} = {text}"
            for column in self.columns
            if isinstance(column, CategoryEncoder)
            for text in {*column.categories} - {*column.distinct_categories}
        }

    def to_specs(self) -> list[dict[str, Any]]:
        """Return the encoder as values that JSON has; `from_specs` reads them."""
        return [column.to_spec() for column in self.columns]

    @classmethod
    def from_specs(cls, specs: Any, *, name: str = "encoder") -> "TableEncoder":
        """Return the encoder that `to_specs` was called on.

        Parameters
        ----------
        specs : sequence of mappings
        name : str
            What to call the encoder in errors.

        Raises
        ------
        ValueError
            If a spec is wrong, or the columns do not fit each other.
        """
        if not isinstance(specs, Sequence) or isinstance(specs, (str, bytes)):
            raise ValueError(f"{name} must be a list of columns, got {type(specs).__name__}")  # noqa: TRY004
        if len(specs) > MAX_OUTPUTS:
            raise ValueError(f"{name} may have {MAX_OUTPUTS:,} columns, got {len(specs):,}")
        columns = tuple(
            encoder_from_spec(spec, name=f"{name}[{i}]") for i, spec in enumerate(specs)
        )
        try:
            return cls(columns)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def fit_encoder(table: Table, settings: Mapping[str, ColumnSettings] | None = None) -> TableEncoder:
    """Return an encoder by the statistics of these rows alone.

    Parameters
    ----------
    table : mapping of str to Column
        The rows to train on. Every column is encoded, in this order.
    settings : mapping of str to NumberSettings, CategorySettings or DateSettings, optional
        By the names of columns. A column without settings has the default ones of its kind.

    Raises
    ------
    ConfigurationError
        If settings are for an unknown column, or for another kind than the column's.
    InvalidInput
        If two columns differ in length, or a number is infinite.
    UnsuitableData
        If there are no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from quadnet.tables.columns import Texts
    >>> from quadnet.tables.encoder import fit_encoder
    >>> city = Texts.from_values(["Oslo", "Rome", None])
    >>> encoder = fit_encoder({"age": np.array([1.0, 3.0, np.nan]), "city": city})
    >>> encoder.output_names
    ('age', 'age is missing', 'city = Oslo', 'city = Rome', 'city is missing')
    """
    given = settings or {}
    unknown = [name for name in given if name not in table]
    if unknown:
        raise ConfigurationError(
            f"There are settings for the column {unknown[0]!r}, which the table does not have. It "
            f"has {listing(list(table))}."
        )
    table_length(table)
    return TableEncoder(
        tuple(fit_column(name, column, given.get(name)) for name, column in table.items())
    )
