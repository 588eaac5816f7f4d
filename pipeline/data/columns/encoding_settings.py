"""The encoder's settings for the columns of a run's table."""

from pipeline.config.table_data import CategoryColumn, DateColumn, NumberColumn, TableData
from quadnet.tables.column_settings import (
    CategorySettings,
    ColumnSettings,
    DateSettings,
    NumberSettings,
)


def make_settings(data: TableData) -> dict[str, ColumnSettings]:
    """Return the settings of each column that is not ignored.

    Parameters
    ----------
    data : TableData
        With the kinds of all columns.
    """
    settings: dict[str, ColumnSettings] = {}
    for name, options in data.columns.items():
        if isinstance(options, NumberColumn):
            settings[name] = NumberSettings(
                scale=options.scale, clip=options.clip, n_pieces=options.n_pieces
            )
        elif isinstance(options, CategoryColumn):
            settings[name] = CategorySettings(
                max_categories=options.max_categories, min_rows=options.min_rows
            )
        elif isinstance(options, DateColumn):
            parts = DateSettings() if options.parts is None else DateSettings(tuple(options.parts))
            settings[name] = parts
    return settings
