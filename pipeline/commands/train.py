"""The command `train`: train, evaluate and publish a model, with a report on standard output."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.settings import TrainSettings
from pipeline.config.presets import PRESET_NAMES, load_preset
from pipeline.config.run_config import RunConfig
from pipeline.config.run_file import load_run_file
from quadnet.cli.settings import expand_user
from quadnet.errors import ConfigurationError, FileUnusable, MissingExtra
from quadnet.model_names import CHAMPION
from quadnet.registry import Registry

if TYPE_CHECKING:
    from pipeline.data.files.raw_table import RawTable
    from pipeline.data.splits import DataSplits
    from quadnet.registry.version_files import Model


def train(settings: TrainSettings) -> int:
    """Execute a preset, a run file or the run of a table, and print the result."""
    forced = settings.reason if settings.force else None
    registry = Registry(settings.registry)
    table = None
    if settings.label:
        if settings.run in PRESET_NAMES and not Path(settings.run).exists():
            raise ConfigurationError(
                f"{settings.run} is a preset, which has its label: expected a table with --label."
            )
        from pipeline.commands.table_run import make_table_run

        made = make_table_run(
            settings.run,
            settings.label,
            task=settings.task,
            name=settings.name or None,
            changes=settings.set,
        )
        config, table = made.parse(settings.set), made.raw
    else:
        if is_table(settings.run):
            raise ConfigurationError(
                f"{settings.run} is a table: name the column to predict with --label."
            )
        config = load_configuration(settings.run, settings.set)
    if settings.dry_run:
        from pipeline.commands.dry_run import show_data

        show_data(config, registry, table)
        return 0
    execute_run(config, registry, alias=settings.alias, forced=forced, table=table)
    return 0


def load_configuration(run: str, changes: Sequence[str]) -> RunConfig:
    """Return the configuration of the preset or run file, with the changes of ``--set``."""
    if run.endswith(".toml"):
        return load_run_file(expand_user(Path(run)), changes)
    if is_table(run):
        raise ConfigurationError(
            f"{run} is a table: expected a run file. `quadnet init` makes one from a table."
        )
    if run not in PRESET_NAMES and Path(run).suffix:
        raise FileUnusable(f"{run} cannot be read: No such file or directory.")
    return load_preset(run, changes)


def is_table(run: str) -> bool:
    """Return whether the argument is neither a run file nor a preset, and exists."""
    if run.endswith(".toml") or run in PRESET_NAMES:
        return False
    return run == "-" or expand_user(Path(run)).exists()


def execute_run(
    config: RunConfig,
    registry: Registry,
    *,
    alias: str = CHAMPION,
    forced: str | None = None,
    data: "DataSplits | None" = None,
    table: "RawTable | None" = None,
) -> None:
    """Train, evaluate and publish, and print the result of each step.

    With a reason in `forced`, the version is published even if it fails its gate. `data` is the
    result of `read_data`, if that was called before. `table` is the run's file, if it was read.
    """
    registry.prepare(config.name)
    # Imported here, because scikit-learn takes seconds to load: a wrong setting is reported first.
    from pipeline.evaluation.candidate_evaluation import evaluate_candidate
    from pipeline.publishing.candidate_publishing import publish_candidate
    from pipeline.training.candidate_training import resolve_config, train_candidate
    from pipeline.training.progress import show_epochs, show_progress

    resolved = resolve_config(config)
    data = data or read_data(resolved, registry, forced, table)
    network = resolved.network
    max_iter, n_ensemble = (int(str(network.get(key, 1))) for key in ("max_iter", "n_ensemble"))
    with show_progress("Training", float(max_iter * n_ensemble)) as show:
        on_epoch = show_epochs(
            show, scoring=str(network["scoring"]), max_iter=max_iter, n_ensemble=n_ensemble
        )
        trained = train_candidate(resolved, on_epoch, data=data)
    print(trained.summary(), flush=True)
    judged = evaluate_candidate(trained, _champion(registry, config.name, forced))
    print(judged.summary(), flush=True)
    manifest = publish_candidate(judged, registry, alias=alias, forced=forced).manifest
    if manifest.forced is not None:
        print(f"It failed its gate and is published anyway: {manifest.forced}.")
    print(
        f"Published {manifest.model} version {manifest.version} in {registry.root}, alias {alias}.",
        flush=True,
    )
    try:
        from pipeline.report import figures  # noqa: F401 - publishing has imported it, if it can be
    except MissingExtra as error:
        print(f"It has no report page. {error}", flush=True)


def read_data(
    config: RunConfig, registry: Registry, forced: str | None, table: "RawTable | None" = None
) -> "DataSplits":
    """Make or read the run's data, and refuse data whose model could not be published.

    The configuration must be resolved. With a reason in `forced`, the version will be published
    even if it fails its gate.
    """
    from pipeline.data.columns.kinds import describe_unused
    from pipeline.data.splits import make_splits
    from pipeline.evaluation.run_checks import check_before_training
    from pipeline.wording import to_plain_text

    data = make_splits(config, table=table)
    unused = describe_unused(data.decisions)
    if unused:
        print(unused, flush=True)
    champion = _champion(registry, config.name, forced)
    for notice in check_before_training(config, data, champion, forced=forced is not None):
        print(f"Warning: {to_plain_text(notice)}", file=sys.stderr, flush=True)
    return data


def _champion(registry: Registry, name: str, forced: str | None) -> "Model | None":
    from pipeline.publishing.candidate_publishing import load_champion

    standing = registry.aliases(name)
    return load_champion(registry, name, standing, forced=forced is not None)
