"""The benchmark scripts run, do the same work on both sides, and print what they say."""

import subprocess
import sys

import pytest

from tests.serving import ROOT


@pytest.mark.parametrize(
    ("command", "rows"),
    [(["fit.py", "--repeat", "1"], 12), (["update.py"], 8), (["quality.py", "--quick"], 7)],
)
def test_the_script_prints_its_table(command, rows):
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "benchmarks" / command[0], *command[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    table = [line for line in done.stdout.splitlines() if " x " in line or "%" in line]
    assert len(table) >= rows
