"""Progress of long work: a bar on a terminal, lines in a pipe."""

import os
import pty
import re
import subprocess

import pytest

from pipeline.training import progress
from pipeline.training.progress import show_epochs, show_progress
from quadnet.estimator.fitting.history import History
from tests.support.serving import QUADNET


def on_a_terminal(*words, **variables):
    """Run the command on a terminal, and return its output."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*QUADNET, *map(str, words)],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, **variables},
    ) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                chunk = os.read(controller, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            seen += chunk
        assert process.wait(60) == 0, seen.decode()
    os.close(controller)
    return seen.decode()


def strip_control_codes(text):
    """Return the text without escape sequences for cursor and colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_on_a_terminal_there_is_a_bar_with_epoch_loss_accuracy_and_time_left(tmp_path):
    words = ["train", "digits", "--registry", tmp_path / "r", "--set", "validation=0.1"]
    text = strip_control_codes(on_a_terminal(*words, TERM="xterm", COLUMNS="120"))
    assert re.search(
        r"Training .*\d+% epoch \d+, loss [\d.e-]+, validation accuracy 0\.\d+ *\d:\d\d:\d\d", text
    )
    # The bar is removed at the end; the result stays.
    assert "Published digits version 1" in text.splitlines()[-1]


SHORT = ["data.points=400", "network.max_iter=30", "gate.accuracy=0.5"]
SHORT = ["train", "quadrants", *(word for change in SHORT for word in ("--set", change))]


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path, term):
    text = on_a_terminal(*SHORT, "--registry", tmp_path / "r", TERM=term)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("Trained a 2-6-4 network on ")
    assert lines[-1].startswith("Published quadrants version 1")


@pytest.mark.parametrize("columns", ["0", "-3", "abc", "²", "", "1", "100000"])
def test_any_width_that_a_terminal_claims_is_survived(tmp_path, columns):
    words = [*SHORT, "--registry", tmp_path / "r"]
    text = strip_control_codes(on_a_terminal(*words, TERM="xterm", COLUMNS=columns, LINES=columns))
    assert "Published quadrants version 1" in text
    assert "unexpected fault" not in text


class Clock:
    """A clock that advances only when a test advances it."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_in_a_pipe_there_is_a_line_every_five_seconds(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    history = History()
    with show_progress("Training", 100) as show:
        on_epoch = show_epochs(show)
        for epoch in range(1, 51):
            clock.now += 0.25
            history.epochs = epoch
            history.loss_curve.append(1 / epoch)
            history.scores.append(0.5)
            on_epoch(history)
    # 12.5 seconds: lines after 5 and 10, that is after 20 and 40 epochs.
    assert capsys.readouterr().out == (
        "Training: 20%, epoch 20, loss 0.05, validation accuracy 0.5, 20 s left\n"
        "Training: 40%, epoch 40, loss 0.025, validation accuracy 0.5, 15 s left\n"
    )


def test_networks_of_an_ensemble_are_counted_together(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with show_progress("Training", 40) as show:
        on_epoch = show_epochs(show, scoring="loss", max_iter=20, n_ensemble=2)
        for epochs in (20, 12):
            history = History()
            for epoch in range(1, epochs + 1):
                clock.now += 0.5
                history.epochs = epoch
                history.loss_curve.append(0.5)
                history.scores.append(-0.25)
                on_epoch(history)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "Training: 25%, network 1 of 2, epoch 10, loss 0.5, validation loss 0.25, 15 s left"
    )
    assert lines[2] == (
        "Training: 75%, network 2 of 2, epoch 10, loss 0.5, validation loss 0.25, 5 s left"
    )


@pytest.mark.parametrize("seconds", [0.0, 4.9])
def test_short_work_shows_no_progress(seconds, monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with show_progress("Training", 10) as show:
        for done in range(11):
            show(done, "")
            clock.now += seconds / 11
    assert capsys.readouterr().out == ""
