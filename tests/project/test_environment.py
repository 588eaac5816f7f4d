"""The README's way without uv: `pip install .` into an environment made for it."""

import subprocess
import sys

import pytest

from tests.support.serving import ROOT, ServerProcess

pytestmark = pytest.mark.environment


def test_pip_installs_what_the_command_needs(tmp_path, monkeypatch):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin/pip", "install", "--quiet", ROOT], check=True, cwd=tmp_path)
    names = subprocess.run(
        [environment / "bin/pip", "list", "--format=freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "quadnet==" in names
    assert "pytest" not in names

    # The command that was installed, not this environment's.
    monkeypatch.setattr("tests.support.serving.QUADNET", [environment / "bin/quadnet"])
    monkeypatch.chdir(tmp_path)
    with ServerProcess(tmp_path / "models", verb="up") as server:
        assert "Published quadrants version 1" in "\n".join(server.announcement)
        done = subprocess.run(
            [environment / "bin/quadnet", "classify", "0.5", "0.5", "--port", server.port],
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[1].split()[2] == "I"
        assert server.stop()[0] == 0
