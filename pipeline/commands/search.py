"""The verb `search`: try parameters of the network, then train, judge and publish the best."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands import train
from pipeline.commands.settings import SearchSettings
from pipeline.config.run_config import RunConfig
from quadnet.registry import Registry

if TYPE_CHECKING:
    from pipeline.data.splits import Parts
    from pipeline.search.leaderboard import Leaderboard
    from pipeline.search.plan import Plan

_SHOWN = 10


def search(settings: SearchSettings) -> int:
    """Search, and then do as `train` does; or only report what a search has found so far."""
    configuration = train.configuration(settings)
    path = settings.ledger or Path(f"{configuration.name}.search.jsonl")
    if settings.report:
        _report(configuration, path)
        return 0
    registry = Registry(settings.registry)
    registry.prepare(configuration.name)
    # Here, because they load scikit-learn, which takes seconds: a mistake is said without it.
    from pipeline.search.plan import make_plan

    planned = make_plan(configuration)
    forced = settings.reason if settings.force else None
    data = train.read_data(planned.config, registry, forced)
    best = _best(planned, data, path, settings)
    train.execute(best, registry, alias=settings.alias, forced=forced, data=data)
    return 0


def _report(configuration: RunConfig, path: Path) -> None:
    """Print the standings by the ledger alone, which another process may be writing."""
    from pipeline.search import search_run
    from pipeline.search.leaderboard import make_leaderboard
    from pipeline.search.ledger import Header, Ledger
    from pipeline.search.plan import make_plan

    planned, ledger = make_plan(configuration), Ledger(path)
    found = ledger.header()
    settings = search_run.settings_sha256(planned.config)
    ledger.check(found, Header(name=configuration.name, config=settings, split=found.split))
    result = make_leaderboard(planned, found, ledger.lines())
    print(f"{result.note()}.\n{result.table()}")


def _best(planned: "Plan", own: "Parts", path: Path, settings: SearchSettings) -> RunConfig:
    """Search, print the best candidates, and return the configuration with the best one in it."""
    from pipeline.search import search_run, space
    from pipeline.search.cross_validation import make_folds
    from pipeline.search.leaderboard import make_leaderboard
    from pipeline.search.ledger import Ledger
    from pipeline.search.search_run import run_search
    from pipeline.training.progress import show_progress

    ledger = Ledger(path)
    data = make_folds(planned.config, planned.search.folds, planned.search.seed, own=own)
    header = search_run.header(planned, data)
    ledger.begin(header, resume=settings.resume)
    print(f"Searching on {len(data.rows):,} rows: {planned.summary()}", flush=True)
    begun = make_leaderboard(planned, header, ledger.lines())
    if begun.n_finished:
        print(f"{begun.n_finished:,} of them are in {path} and are not repeated.", flush=True)
    try:
        with show_progress("Searching", planned.n_fits) as show:
            result = run_search(planned, data, ledger, jobs=settings.jobs, show=show)
    except KeyboardInterrupt:
        result = make_leaderboard(planned, header, ledger.lines())
        print(f"Interrupted after {result.note()}.\n{_top(result)}")
        words = [word for word in sys.argv[1:] if word != "--resume"]
        print(f"To go on: {shlex.join(['quadnet', *words, '--resume'])}", flush=True)
        raise
    print(_top(result))
    best = result.ranking[0].parameters
    print(f"The best: {space.described(best)}. All fits are in {path}.", flush=True)
    return planned.chosen(best)


def _top(result: "Leaderboard") -> str:
    """Return the best candidates as a table, and how to see the others."""
    table = result.table(limit=_SHOWN)
    return f"{table}, which --report shows." if len(result.ranking) > _SHOWN else table
