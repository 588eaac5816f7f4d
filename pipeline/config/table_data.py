"""The section `data` of a run on a user's table: the file, its columns and their treatment."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.section import FilePath, Section
from quadnet.cli.settings import expand_user

Delimiter = Literal[",", ";", "\t", "|"]
DatePart = Literal["year", "month", "weekday", "hour", "elapsed"]

_Words = Annotated[list[str], Field(max_length=1000)]
_Rows = Annotated[int, Field(ge=1, le=2**31)]
_Categories = Annotated[int, Field(ge=2, le=10_000)]


class NumberOptions(Section):
    """The treatment of numbers. Missing ones become the mean, and get an indicator of their own."""

    scale: Literal["standard", "robust", "none"] = "standard"
    """standard: zero mean and unit variance. robust: the median becomes 0, and the quartiles
    set the unit, which long tails do not change."""
    clip: bool = False
    """Whether values far outside are drawn in smoothly, to at most 3 units."""
    n_pieces: Annotated[int, Field(ge=0, le=1000)] = 0
    """Further inputs: one for each of at most so many pieces between quantiles, in which alone it
    changes. A network learns steps and bends from them."""


class NumberColumn(NumberOptions):
    """A column of numbers."""

    kind: Literal["number"]


class CategoryOptions(Section):
    """The treatment of categories, each of which gets an input of its own."""

    max_categories: _Categories = 100
    """The most frequent categories are kept; the others are rare."""
    min_rows: _Rows = 5
    """A category with fewer rows is rare. All rare ones share an input."""


class CategoryColumn(CategoryOptions):
    """A column of categories: text, truth values, or few integers."""

    kind: Literal["category"]


class DateColumn(Section):
    """A column of dates or times, which become numbers."""

    kind: Literal["date"]
    format: str | None = None
    """Such as "%d.%m.%Y". Unset: ISO 8601, or the one order of day and month that all values
    fit."""
    parts: Annotated[list[DatePart], Field(min_length=1)] | None = None
    """Unset: year, month, weekday, days elapsed, and the hour if there are times of day."""


class IgnoredColumn(Section):
    """A column that the network does not get."""

    kind: Literal["ignored"]


def _expand_kind(value: Any) -> Any:
    """Return ``{kind = "number"}`` for ``"number"``."""
    return {"kind": value} if isinstance(value, str) else value


ColumnOptions = Annotated[
    Annotated[
        NumberColumn | CategoryColumn | DateColumn | IgnoredColumn, Field(discriminator="kind")
    ],
    BeforeValidator(_expand_kind),
]

COLUMN_KINDS: dict[str, type[Section]] = {
    "number": NumberColumn,
    "category": CategoryColumn,
    "date": DateColumn,
    "ignored": IgnoredColumn,
}


class TableReading(Section):
    """How a file is read. What is unset is found out from the file."""

    format: Literal["csv", "parquet", "arrow"] | None = None
    delimiter: Delimiter | None = None
    decimal: Literal[".", ","] | None = None
    encoding: Annotated[str, Field(min_length=1)] | None = None
    """Such as "utf-8", "utf-16" or "latin-1"."""
    compression: Literal["gzip", "zstd", "none"] | None = None
    header: bool = True
    """Whether the first row of a CSV file has the names of the columns."""
    missing: _Words | None = None
    """Cells that mean a missing value, such as ["", "NA", "-9"]. Unset: the usual ones."""


class TableData(Section):
    """A user's table: a file, several files of the same columns, or standard input."""

    kind: Literal["table"]
    path: FilePath
    """A file, a pattern such as "parts/*.csv", a directory of Parquet files, or "-" for standard
    input. Relative to the current directory; ``~`` is the home directory."""
    label: str | list[str]
    """The column to predict; for several labels, their columns of 0 and 1."""
    read: TableReading = TableReading()
    columns: dict[str, ColumnOptions] = Field(default_factory=dict)
    """The kinds of columns, and their treatment. The kinds of the others are found out."""
    numbers: NumberOptions = NumberOptions()
    """The treatment of columns of numbers, where `columns` sets no other."""
    categories: CategoryOptions = CategoryOptions()
    """The treatment of columns of categories, where `columns` sets no other."""
    drop: list[str] = Field(default_factory=list)
    """Columns that are not used."""
    weight: str | None = None
    """Column of row weights, which must not be negative. Training uses them; measures do not."""

    @property
    def labels(self) -> list[str]:
        """The columns to predict."""
        return [self.label] if isinstance(self.label, str) else self.label

    @property
    def location(self) -> str:
        """The path, with ``~`` expanded."""
        return self.path if self.path == "-" else str(expand_user(Path(self.path)))

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        used = [*self.labels, *([self.weight] if self.weight else [])]
        for name in (*self.drop, *self.columns):
            if name in used:
                raise ValueError(
                    f"data: column {name!r} is the label or the weight; remove it from drop and "
                    "from columns"
                )
        if len(set(used)) < len(used):
            raise ValueError("data: expected different columns as labels and weight")
        return self
