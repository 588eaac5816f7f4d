"""Data frames of pandas, polars and pyarrow, read through narwhals.

narwhals is imported inside functions: it is an extra, which scikit-learn needs from 1.9 on, and a
process that passes arrays does not wait for its import.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.extras import missing_extra
from quadnet.tables.columns import DateArray, Texts
from quadnet.tables.raw_columns import (
    RawColumn,
    dates_of_objects,
    numbers_of_objects,
    texts_of_objects,
)
from quadnet.types import FloatArray


def is_frame(X: Any) -> bool:
    """Whether X is a data frame that `open_frame` reads.

    Raises
    ------
    MissingExtra
        If it looks like one, and narwhals is not installed.
    """
    if isinstance(X, (np.ndarray, list, tuple)) or not hasattr(X, "columns"):
        return False
    try:
        from narwhals.stable.v2 import dependencies
    except ImportError as error:
        raise missing_extra("A data frame as X", "frames", cause=error) from None
    return bool(dependencies.is_into_dataframe(X))


def open_frame(frame: Any) -> "list[FrameColumn]":
    """Return the columns of a data frame, in its order.

    Raises
    ------
    ValueError
        If two columns have the same name.
    """
    import narwhals.stable.v2 as nw
    from narwhals.exceptions import DuplicateError

    try:
        return [FrameColumn(series) for series in nw.from_native(frame).iter_columns()]
    except DuplicateError as error:
        raise ValueError(f"The columns of X must have distinct names: {error}") from None


def open_series(values: Any) -> "FrameColumn | None":
    """Return a series of pandas, polars or pyarrow as a column; None if it is something else."""
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        return None
    if not nw.dependencies.is_into_series(values):
        return None
    return FrameColumn(nw.from_native(values, series_only=True))


def make_frame(columns: Mapping[str, NDArray[Any]], *, like: Any) -> Any:
    """Return a data frame of these columns, of the library and with the index of another one.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,)
    like : data frame
        Of as many rows. Only pandas and its kin have an index.
    """
    import narwhals.stable.v2 as nw

    model = nw.from_native(like)
    made = nw.from_dict(dict(columns), backend=model.implementation).to_native()
    index = nw.maybe_get_index(model)
    return made if index is None else made.set_axis(index, axis=0)


def order_columns(frame: Any, names: Sequence[str]) -> Any:
    """Return a data frame of the same kind with these columns alone; unchanged if it lacks one."""
    import narwhals.stable.v2 as nw

    opened = nw.from_native(frame)
    return opened.select(names).to_native() if set(names) <= set(opened.columns) else frame


def make_pandas_frame(columns: Mapping[str, Sequence[Any]]) -> Any:
    """Return a data frame of pandas with these columns; None where it is not installed."""
    try:
        import narwhals.stable.v2 as nw

        return nw.from_dict(columns, backend="pandas").to_native()
    except ImportError:
        return None


def drop_columns(frame: Any, names: Sequence[str]) -> Any:
    """Return a data frame of the same kind without these columns; it need not have them."""
    import narwhals.stable.v2 as nw

    return nw.from_native(frame).drop(names, strict=False).to_native()


@dataclass(frozen=True, eq=False)
class FrameColumn(RawColumn):
    """A column of a data frame.

    Parameters
    ----------
    series : narwhals.Series
    """

    series: Any

    @property
    def kind(self) -> str:
        import narwhals.stable.v2 as nw

        dtype = self.series.dtype
        if isinstance(dtype, (nw.Categorical, nw.Enum)) or dtype == nw.String:
            return "category"
        if isinstance(dtype, (nw.Datetime, nw.Date)):
            return "date"
        # Objects are what pandas makes of numbers with gaps, too.
        if dtype.is_numeric() or dtype in (nw.Boolean, nw.Object, nw.Unknown):
            return "number"
        raise ValueError(
            f"columns of the type {dtype} have no encoding. Make it numbers, texts or dates, or "
            "leave it out"
        )

    @property
    def is_text(self) -> bool:  # type: ignore[override]
        import narwhals.stable.v2 as nw

        return bool(self.series.dtype == nw.String)

    def read_numbers(self) -> FloatArray:
        import narwhals.stable.v2 as nw

        dtype = self.series.dtype
        if dtype.is_numeric() or dtype == nw.Boolean:
            return np.asarray(self.series.cast(nw.Float64).to_numpy(), np.float64)
        values = np.empty(len(self.series), object)
        values[:] = self.series.to_list()
        return numbers_of_objects(values)

    def read_texts(self) -> Texts:
        return texts_of_objects(self.series.to_list())

    def read_dates(self) -> DateArray:
        import narwhals.stable.v2 as nw

        series, dtype = self.series, self.series.dtype
        is_text = isinstance(dtype, (nw.Categorical, nw.Enum)) or dtype == nw.String
        if is_text or dtype == nw.Object:
            return dates_of_objects(series.to_list())
        if not isinstance(dtype, (nw.Datetime, nw.Date)):
            raise ValueError(f"expected dates, got the type {dtype}")  # noqa: TRY004
        if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        dates: DateArray = series.cast(nw.Datetime("us")).to_numpy().astype("datetime64[us]")
        return dates
