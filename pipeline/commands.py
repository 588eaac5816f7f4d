"""The verb `train`: settings in, a report on standard output, an exit code out."""

from pathlib import Path

from pipeline import presets, runfile
from pipeline.config import RunConfig
from pipeline.settings import TrainSettings
from quadnet.names import CHAMPION
from quadnet.registry import Registry
from quadnet.settings import expand_user


def train(settings: TrainSettings) -> int:
    """Execute a preset or a run file and say what came of it."""
    forced = settings.reason if settings.force else None
    registry = Registry(settings.registry)
    execute(configuration(settings), registry, alias=settings.alias, forced=forced)
    return 0


def configuration(settings: TrainSettings) -> RunConfig:
    """Return what the preset or the run file says, changed by ``--set``."""
    if settings.run.endswith(".toml"):
        return runfile.load(expand_user(Path(settings.run)), settings.set)
    return presets.load(settings.run, settings.set)


def execute(
    config: RunConfig,
    registry: Registry,
    *,
    alias: str = CHAMPION,
    forced: str | None = None,
) -> None:
    """Train, judge and publish, and say so as each is done."""
    registry.prepare(config.name)
    # Here, because it loads scikit-learn, which takes seconds: a mistake is said without it.
    from pipeline import candidate, progress, publishing, trial

    resolved = candidate.resolved(config)
    network = resolved.network
    with progress.shown("Training", float(str(network["max_iter"]))) as show:
        on_epoch = progress.of_epochs(show, scoring=str(network["scoring"]))
        trained = candidate.train(resolved, on_epoch)
    print(trained.summary(), flush=True)
    standing = registry.aliases(config.name)
    champion = publishing.champion_of(registry, config.name, standing, forced=forced is not None)
    judged = trial.judge(trained, champion)
    print(judged.summary(), flush=True)
    manifest = publishing.publish(judged, registry, alias=alias, forced=forced).manifest
    if manifest.forced is not None:
        print(f"It failed its gate and is published all the same: {manifest.forced}.")
    print(
        f"Published {manifest.model} version {manifest.version} in {registry.root}, alias {alias}.",
        flush=True,
    )
