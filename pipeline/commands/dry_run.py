"""Show how the data of a run is understood and split, without training."""

from pipeline.config.run_config import RunConfig
from pipeline.config.table_data import TableData
from pipeline.data.files.raw_table import RawTable
from pipeline.data.splits import DataSplits, make_splits
from pipeline.evaluation.run_checks import check_before_training
from pipeline.publishing.candidate_publishing import load_champion
from pipeline.training.candidate_training import resolve_config
from pipeline.wording import format_count, to_plain_text
from quadnet.name_display import escape_invisible
from quadnet.registry import Registry

_WIDEST = 40
"""Most characters of a name for which all lines leave room."""


def show_data(config: RunConfig, registry: Registry, table: RawTable | None = None) -> None:
    """Print the columns and their kinds, the parts, and the warnings.

    Parameters
    ----------
    config : RunConfig
    registry : Registry
        Has the champion with which the model would be compared.
    table : RawTable, optional
        The run's file, if it has already been read.

    Raises
    ------
    GateFailed, NotComparable, ConfigurationError
        As `check_before_training` raises them: the run would be refused.
    """
    config = resolve_config(config)
    splits = make_splits(config, table=table)
    if table is not None:
        print(f"{config.data.path}: {table.description}.")  # type: ignore[union-attr]
    print(f"Task: {config.task}.")
    if isinstance(config.data, TableData):
        _print_columns(config.data, splits)
    champion = load_champion(registry, config.name, registry.aliases(config.name))
    for notice in check_before_training(config, splits, champion):
        print(f"Warning: {to_plain_text(notice)}")
    validation = 0 if splits.validation is None else len(splits.validation)
    print(
        f"{len(splits.train):,} rows to train on, {validation:,} to validate, "
        f"{splits.test.size.rows:,} to test. The network gets "
        f"{format_count(len(splits.train.features), 'input')}. Nothing was trained."
    )


def _print_columns(data: TableData, splits: DataSplits) -> None:
    rows = [(name, "label", "") for name in data.labels]
    rows += [(data.weight, "weight", "")] if data.weight else []
    rows += [(each.name, each.kind, each.reason) for each in splits.decisions]
    shown = [(escape_invisible(name), kind, escape_invisible(why)) for name, kind, why in rows]
    width = min(_WIDEST, max(len(name) for name, _, _ in shown))
    for name, kind, reason in shown:
        print(f"  {name:{width}}  {kind:8}  {reason}".rstrip())
