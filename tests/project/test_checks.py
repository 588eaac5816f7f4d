"""The pre-commit hooks and CI run the same checks, by commands that exist."""

import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.serving import ROOT

CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
CI = (ROOT / ".ci/run").read_text().splitlines()
RUN = ["uv", "run", "--group", "dev"]


def commands():
    """Return the words of each hook's command."""
    (repository,) = CONFIG["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    return [shlex.split(hook["entry"]) for hook in repository["hooks"]]


def test_every_hook_runs_a_program_of_the_group_dev():
    programs = Path(sys.executable).parent
    for words in commands():
        assert words[:4] == RUN
        done = subprocess.run(
            [programs / words[4], *words[5:], "--help"], check=False, capture_output=True
        )
        assert done.returncode == 0, words


def test_the_hooks_check_what_ci_checks_before_the_tests():
    of_ci = [shlex.split(line) for line in CI if line.startswith("uv run ")]
    for words in commands():
        plain = [word for word in words if word != "--force-exclude"]
        assert [command for command in of_ci if command[: len(plain)] == plain], words
