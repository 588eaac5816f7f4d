"""The command `search`: cross-validate candidates, then train, evaluate and publish the best."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands import train
from pipeline.commands.settings import SearchSettings
from pipeline.commands.train import execute_run, load_configuration
from pipeline.config.run_config import RunConfig
from quadnet.registry import Registry

if TYPE_CHECKING:
    from pipeline.data.splits import DataSplits
    from pipeline.search.leaderboard import Leaderboard
    from pipeline.search.plan import SearchPlan

_SHOWN = 10


def search(settings: SearchSettings) -> int:
    """Search, then train and publish the best candidate; or only print the leaderboard."""
    configuration = load_configuration(settings.run, settings.set)
    path = settings.ledger or Path(f"{configuration.name}.search.jsonl")
    if settings.report:
        _report(configuration, path)
        return 0
    registry = Registry(settings.registry)
    registry.prepare(configuration.name)
    # Imported here, because scikit-learn takes seconds to load: a wrong setting is reported first.
    from pipeline.search.plan import make_plan

    planned = make_plan(configuration)
    forced = settings.reason if settings.force else None
    data = train.read_data(planned.config, registry, forced)
    best = _best(planned, data, path, settings)
    execute_run(best, registry, alias=settings.alias, forced=forced, data=data)
    return 0


def _report(configuration: RunConfig, path: Path) -> None:
    """Print the leaderboard of the ledger, which another process may be writing."""
    from pipeline.search.leaderboard import make_leaderboard
    from pipeline.search.ledger import Ledger, LedgerHeader
    from pipeline.search.plan import make_plan
    from pipeline.search.search_run import hash_settings

    planned, ledger = make_plan(configuration), Ledger(path)
    found = ledger.read_header()
    settings = hash_settings(planned.config)
    ledger.check_header(
        found, LedgerHeader(name=configuration.name, config=settings, split=found.split)
    )
    result = make_leaderboard(planned, found, ledger.read_lines())
    print(f"{result.format_progress()}.\n{result.format_table()}")


def _best(
    planned: "SearchPlan", splits: "DataSplits", path: Path, settings: SearchSettings
) -> RunConfig:
    """Search, print the best candidates, and return the configuration of the best one."""
    from pipeline.search.cross_validation import make_folds
    from pipeline.search.leaderboard import make_leaderboard
    from pipeline.search.ledger import Ledger
    from pipeline.search.search_run import make_header, run_search
    from pipeline.search.space import format_parameters
    from pipeline.training.progress import show_progress

    ledger = Ledger(path)
    data = make_folds(planned.config, planned.search.folds, planned.search.seed, splits=splits)
    header = make_header(planned, data)
    ledger.begin(header, resume=settings.resume)
    print(f"Searching on {len(data.rows):,} rows: {planned.summary()}", flush=True)
    begun = make_leaderboard(planned, header, ledger.read_lines())
    if begun.n_finished:
        print(f"{begun.n_finished:,} of them are in {path} and are not repeated.", flush=True)
    try:
        with show_progress("Searching", planned.n_fits) as show:
            result = run_search(planned, data, ledger, jobs=settings.jobs, show=show)
    except KeyboardInterrupt:
        result = make_leaderboard(planned, header, ledger.read_lines())
        print(f"Interrupted after {result.format_progress()}.\n{_top(result)}")
        words = [word for word in sys.argv[1:] if word != "--resume"]
        print(f"To resume: {shlex.join(['quadnet', *words, '--resume'])}", flush=True)
        raise
    print(_top(result))
    best = result.ranking[0].parameters
    print(f"The best: {format_parameters(best)}. All fits are in {path}.", flush=True)
    return planned.apply_parameters(best)


def _top(result: "Leaderboard") -> str:
    """Return the best candidates as a table, and how to see the others."""
    table = result.format_table(limit=_SHOWN)
    return f"{table}, which --report shows." if len(result.ranking) > _SHOWN else table
