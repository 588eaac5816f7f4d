"""The command `init`: print the run file of a table."""

import sys

from pipeline.commands.settings import InitSettings


def init(settings: InitSettings) -> int:
    """Print a run file that trains on a table."""
    # Imported here, because NumPy takes a while to load: a wrong setting is reported first.
    from pipeline.commands.table_run import make_table_run

    made = make_table_run(
        settings.run, settings.label, task=settings.task, name=settings.name or None
    )
    sys.stdout.write(made.format())
    return 0
