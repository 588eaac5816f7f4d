"""The benchmark scripts run, do the same work on both sides, and print the documented lines."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.support.serving import ROOT

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not there")


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        (["tests/benchmarks/fit.py", "--repeat", "1"], 27),
        (["tests/benchmarks/update.py"], 8),
        (["tests/benchmarks/convolution.py", "--repeat", "1", "--pictures", "256"], 4),
        (["tests/benchmarks/quality.py", "--quick"], 7),
        (["-m", "tests.benchmarks.tables", "--quick"], 4),
        (["tests/benchmarks/score.py", "--rows", "2000", "--repeat", "1"], 6),
        pytest.param(
            ["-m", "tests.benchmarks.infer", "--points", "10", "--seconds", "0.3", "--repeat", "1"],
            5,
            marks=needs_h2load,
        ),
        (["-m", "tests.benchmarks.registry", "--repeat", "3"], 14),
        pytest.param(
            ["-m", "tests.benchmarks.serve", "--seconds", "0.3", "--repeat", "1"],
            15,
            marks=needs_h2load,
        ),
        (["-m", "tests.benchmarks.soak", "--seconds", "8"], 11),
    ],
)
def test_the_script_prints_its_table(command, rows):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    table = [
        line for line in done.stdout.splitlines() if re.search(r" x |%| ms$| MB| \| \|$", line)
    ]
    assert len(table) >= rows
