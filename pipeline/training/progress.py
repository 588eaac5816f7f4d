"""Show progress: a bar on a terminal that can draw one, otherwise a line every few seconds."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from quadnet.estimator.fitting.history import History

_SECONDS_A_LINE = 5.0
_SECONDS_A_FRAME = 0.1

Show = Callable[[float, str], None]
"""Takes the amount of work done, and a short note."""


@contextmanager
def show_progress(what: str, total: float) -> Iterator[Show]:
    """Show on standard output how much of `total` is done, until the context ends."""
    # Not rich's own size: it uses COLUMNS=0 as a width and fails.
    size = shutil.get_terminal_size()
    console = Console(width=size.columns, height=size.lines)
    if not sys.stdout.isatty() or console.is_dumb_terminal or not os.environ.get("TERM"):
        yield _Lines(what, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, note="")
        due = 0.0

        def show(done: float, note: str) -> None:
            # An epoch may take no longer than to draw a frame.
            nonlocal due
            now = time.monotonic()
            if now >= due:
                due = now + _SECONDS_A_FRAME
                progress.update(task, completed=done, note=note)

        yield show


class _Lines:
    def __init__(self, what: str, total: float) -> None:
        self._what, self._total = what, total
        self._start = time.monotonic()
        self._due = self._start + _SECONDS_A_LINE

    def __call__(self, done: float, note: str) -> None:
        now = time.monotonic()
        if now < self._due or done <= 0:
            return
        self._due = now + _SECONDS_A_LINE
        left = (now - self._start) * (self._total / done - 1.0)
        words = [f"{self._what}: {min(done / self._total, 1.0):.0%}", note, f"{left:.0f} s left"]
        sys.stdout.write(", ".join(word for word in words if word) + "\n")
        sys.stdout.flush()


def show_epochs(
    show: Show, *, scoring: str = "accuracy", max_iter: int = 0, n_ensemble: int = 1
) -> Callable[["History"], None]:
    """Return the callback that a fit calls after each epoch.

    Parameters
    ----------
    show : callable
    scoring : str
    max_iter : int
    n_ensemble : int
        These three are the estimator's parameters. Networks of an ensemble are fitted one after
        another.
    """
    last = member = 0

    def on_epoch(history: "History") -> None:
        nonlocal last, member
        member += history.epochs <= last
        last = history.epochs
        note = f"epoch {history.epochs}, loss {history.loss_curve[-1]:.4g}"
        if n_ensemble > 1:
            note = f"network {member + 1} of {n_ensemble}, {note}"
        if history.scores:
            # The score of a loss is negative, so that a higher one is better.
            score = -history.scores[-1] if scoring == "loss" else history.scores[-1]
            note += f", validation {scoring} {score:.4g}"
        show(member * max_iter + history.epochs, note)

    return on_epoch
