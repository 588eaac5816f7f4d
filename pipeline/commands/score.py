"""The command `quadnet score`."""

import sys
import time
from pathlib import Path

from pipeline.commands.settings import ScoreSettings
from pipeline.scoring.scoring_job import score_file
from pipeline.training.progress import show_progress
from quadnet.cli.settings import expand_user
from quadnet.registry import Registry


def score(settings: ScoreSettings) -> int:
    """Score a file and print how many rows it had and how fast they were scored."""
    registry = Registry(settings.registry)
    model = registry.load(*registry.resolve(settings.model))
    source, target = (expand_user(Path(name)) for name in (settings.input, settings.output))
    start = time.perf_counter()
    with show_progress(f"Scoring {source.name}", 1.0) as show:
        try:
            summary = score_file(
                model,
                source,
                target,
                on_error=settings.on_error,
                prefix=settings.prefix,
                resume=settings.resume,
                overwrite=settings.overwrite,
                progress=lambda rows, done, total: show(done / total, f"{rows:,} rows"),
            )
        except KeyboardInterrupt:
            print("Interrupted. Repeat the command with --resume to resume.", file=sys.stderr)
            raise
    rows, skipped = summary.rows, summary.skipped
    speed = (rows + skipped - summary.rows_before) / (time.perf_counter() - start)
    before = f", {summary.rows_before:,} of them before" if summary.rows_before else ""
    aside = f" (see {summary.rejected})" if skipped else ""
    print(
        f"{rows:,} rows scored{before}, {skipped:,} skipped{aside}, {speed:,.0f} rows/s: {target}",
        flush=True,
    )
    if summary.unanswered:
        print(
            f"{summary.unanswered:,} of them have no answer, because their values are "
            "so large that they overflow in the network.",
            flush=True,
        )
    if summary.directories:
        print(
            f"The output lacks {', '.join(summary.directories)}, which names of directories have "
            "in the input.",
            flush=True,
        )
    if summary.unknown:
        counts = ", ".join(f"{n:,} in {name}" for name, n in summary.unknown.items())
        print(
            f"Cells with categories that did not occur in training were treated as gaps: {counts}.",
            flush=True,
        )
    return 0
