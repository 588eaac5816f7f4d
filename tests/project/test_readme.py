"""Every code block of the README is run, in its order, as a reader would.

Commands run in a copy of what a clone has, with `uv run` standing for "in this environment": that
uv makes such an environment from a clean clone is what `.ci/run` shows.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ROOT, ServerProcess

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
PRINTED = [
    "0.9",
    "True True\n[(5, 200), (5, 100), (5, 10)]\n",
    "",
    "['I' 'II'] 1 [6, 4]\n",
    "elsewhere",
]
OUTPUT = [text for kind, text in BLOCKS if kind == "text"]

(TRITON,) = [text for text in PYTHON if "tritonclient" in text]

# What cannot run inside a test run, and the test that runs it instead.
ELSEWHERE = {
    TRITON: "test_interoperability.py",
    "uv run quadnet up\n": "the fixture `served`",
    "pip install .\nquadnet up\n": "test_environment.py",
    "docker build -t quadnet .\ndocker run --rm -p 50051:50051 quadnet\n": "test_container.py",
    "uv run quadnet playground\n": "test_gateway.py and test_page_*.py",
    "uv run pytest\n": "this very run",
}


BIN = Path(sys.executable).parent


def environment(**variables):
    path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != BIN]
    return {**os.environ, "PATH": os.pathsep.join(path), **variables}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a folder that holds what the README's commands may use."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "protos", folder / "protos")
    (folder / "points.csv").write_text("x,y\n0.5,0.5\n-0.3,0.8\n")
    return folder


@pytest.fixture(scope="module")
def served(clone):
    """Do what the first block does: `quadnet up` in the clone, on a port of its own."""
    assert SHELL[0] == "uv run quadnet up\n"
    with ServerProcess(clone / "models", verb="up") as server:
        assert "Published quadrants version 1" in "\n".join(server.announcement)
        yield server


def run_shell(text, clone, served):
    # `uv run` puts the environment on the path; without it nothing of ours is there.
    script = f'set -eu\nuv() {{ shift; PATH="{BIN}:$PATH" "$@"; }}\n{text}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=clone,
        env=environment(QUADNET_PORT=served.port),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_python(text, clone, served):
    ast.parse(text)
    script = text.replace("127.0.0.1:50051", served.address)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=clone,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_block_runs_in_its_turn(clone, served):
    """A reader goes from the top to the bottom: later blocks use what earlier ones made."""
    for i, (kind, text) in enumerate(BLOCKS):
        if kind == "text" or text in ELSEWHERE:
            continue
        done = (run_shell if kind == "sh" else run_python)(text, clone, served)
        assert (done.returncode, done.stderr) == (0, ""), text
        follows = BLOCKS[i + 1 : i + 2]
        if follows and follows[0][0] == "text":
            assert done.stdout == follows[0][1], text
        if kind == "python":
            assert done.stdout.startswith(PRINTED[PYTHON.index(text)])


def test_every_block_is_of_a_kind_that_is_run():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}
    assert all(text in [*SHELL, *PYTHON] for text in ELSEWHERE)
    assert all(f"```\n\n```text\n{text}" in TEXT for text in OUTPUT)


def test_ci_runs_the_readmes_test_command():
    assert "uv run pytest\n" in SHELL
    assert "\nuv run pytest\n" in (ROOT / ".ci/run").read_text()


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_default_port_is_the_one_the_readme_names():
    from service.settings import ServeSettings

    assert f"127.0.0.1:{ServeSettings().port}" in TEXT
