"""What works on Windows, which lacks some system calls, and what is refused with a message.

This is not tested on Windows: tests/support/windows.py removes the system calls that it lacks.
"""

import subprocess
import sys

import pytest

from quadnet.cli.verbs import VERBS
from tests.support.serving import ROOT

RUN = """
name = "windows"
[data]
kind = "quadrants"
points = 1000
[network]
max_iter = 10
[gate]
accuracy = 0.1
[search]
space = { alpha = [1e-4, 1e-1] }
"""


def on_windows(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tests.support.windows", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "USERNAME": "somebody"},
    )


def test_a_version_is_trained_published_and_verified(tmp_path):
    (tmp_path / "run.toml").write_text(RUN)
    done = on_windows("train", "run.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Published windows version 1" in done.stdout
    done = on_windows("models", "verify", "windows:1", "--retrain", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "retrained: bit-identical" in done.stdout


def test_a_search_goes_on_without_locks_and_says_so(tmp_path):
    (tmp_path / "run.toml").write_text(RUN)
    done = on_windows("search", "run.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert "Published windows version 1" in done.stdout
    (warning,) = done.stderr.splitlines()
    assert (
        "does not support flock (ENOSYS). Make sure that no other search uses this ledger."
        in warning
    )


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.posix])
def test_what_cannot_run_there_says_so(verb, tmp_path):
    done = on_windows(verb, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"quadnet {verb} needs Linux or macOS. On Windows, run it in")
    assert done.stderr.count("\n") == 1


def test_every_verb_that_serves_needs_posix():
    assert all(verb.posix for verb in VERBS.values() if verb.serves)
