"""The pipeline's verbs: settings in, a report on standard output, an exit code out."""

from pathlib import Path

from pipeline import config, presets
from pipeline.config import RunConfig
from pipeline.settings import TrainSettings
from quadnet.names import CHAMPION
from quadnet.registry import Registry


def train(settings: TrainSettings) -> int:
    """Execute a preset or a run file and say what came of it."""
    if settings.run.endswith(".toml"):
        configuration = config.load(Path(settings.run), settings.set)
    else:
        configuration = presets.load(settings.run, settings.set)
    execute(configuration, Registry(settings.registry))
    return 0


def execute(configuration: RunConfig, registry: Registry) -> None:
    """Train, judge and publish, and say so as each is done."""
    registry.prepare(configuration.name)
    # Here, because it loads scikit-learn, which takes seconds: a mistake is said without it.
    from pipeline import run

    trial = run.attempt(configuration)
    print(trial.report(), flush=True)
    manifest = run.publish(trial, registry).manifest
    print(f"Gate passed: {trial.verdicts()}.")
    print(
        f"Published {manifest.model} version {manifest.version} in {registry.root}, "
        f"alias {CHAMPION}.",
        flush=True,
    )
