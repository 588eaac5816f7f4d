"""The verb `search`: try parameters of the network, then train, judge and publish the best."""

import shlex
import sys
from pathlib import Path

from pipeline import commands
from pipeline.config import RunConfig
from pipeline.settings import SearchSettings
from quadnet.registry import Registry

_SHOWN = 10


def search(settings: SearchSettings) -> int:
    """Search, and then do as `train` does; or only report what a search has found so far."""
    configuration = commands.configuration(settings)
    path = settings.ledger or Path(f"{configuration.name}.search.jsonl")
    if settings.report:
        _report(configuration, path)
        return 0
    registry = Registry(settings.registry)
    registry.prepare(configuration.name)
    best = _best(configuration, path, settings)
    forced = settings.reason if settings.force else None
    commands.execute(best, registry, alias=settings.alias, forced=forced)
    return 0


def _report(configuration: RunConfig, path: Path) -> None:
    """Print the standings by the ledger alone, which another process may be writing."""
    from pipeline.search import fits, plan, standings
    from pipeline.search.ledger import Header, Ledger

    planned, ledger = plan.of(configuration), Ledger(path)
    found = ledger.header()
    settings = fits.settings_sha256(planned.config)
    ledger.check(found, Header(name=configuration.name, config=settings, split=found.split))
    result = standings.of(planned, found, ledger.lines())
    print(f"{result.note()}.\n{result.table()}")


def _best(configuration: RunConfig, path: Path, settings: SearchSettings) -> RunConfig:
    """Search, say so, and return the configuration with the best parameters in it."""
    # Here, because they load scikit-learn, which takes seconds: a mistake is said without it.
    from pipeline import progress
    from pipeline.search import fits, folds, plan, space, standings
    from pipeline.search.ledger import Ledger

    planned, ledger = plan.of(configuration), Ledger(path)
    data = folds.of(planned.config, planned.search.folds, planned.search.seed)
    header = fits.header(planned, data)
    ledger.begin(header, resume=settings.resume)
    print(f"Searching on {len(data.rows.y):,} rows: {planned.summary()}", flush=True)
    begun = standings.of(planned, header, ledger.lines())
    if begun.n_finished:
        print(f"{begun.n_finished:,} of them are in {path} and are not repeated.", flush=True)
    try:
        with progress.shown("Searching", planned.n_fits) as show:
            result = fits.run(planned, data, ledger, jobs=settings.jobs, show=show)
    except KeyboardInterrupt:
        result = standings.of(planned, header, ledger.lines())
        print(f"Interrupted after {result.note()}.\n{result.table(limit=_SHOWN)}")
        words = [word for word in sys.argv[1:] if word != "--resume"]
        print(f"To go on: {shlex.join(['quadnet', *words, '--resume'])}", flush=True)
        raise
    print(result.table(limit=_SHOWN))
    best = result.ranking[0].parameters
    print(f"The best: {space.described(best)}. All fits are in {path}.", flush=True)
    return planned.chosen(best)
