"""Commands in a folder with files that have the names of Quadnet's or Python's modules."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.pipeline.search.test_search import TOML
from tests.service.server.test_workers import children_of, has_ended
from tests.support.exact_models import publish
from tests.support.serving import SERVICE, ServerProcess

REQUEST = pb.ClassifyRequest(x=[1], y=[1])

# The installed script, because `python -m` searches the current folder.
SCRIPT = Path(sys.executable).with_name("quadnet")

NAMES = (
    "service",
    "quadnet",
    "pipeline",
    "json",
    "numpy",
    "grpc",
    "starlette",
    "uvicorn",
    "random",
    "socket",
)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of modules that must not be imported: each ends its process."""
    place = tmp_path / "work"
    for name in NAMES:
        package = place / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("import os\nos._exit(99)\n")
    return place


@pytest.fixture
def in_folder(folder, monkeypatch):
    """Run the servers under test in the folder, by the installed script."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tests.support.serving.QUADNET", [str(SCRIPT)])


def run(folder, *words):
    return subprocess.run(
        [SCRIPT, *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, cwd=folder,
    )  # fmt: skip


def classified(url):
    request = urllib.request.Request(
        f"{url}{SERVICE}/Classify", b"{}", {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def page_of(server):
    """Return the address of the page, and its process."""
    (url,) = [x.split()[-1] for x in server.announcement if x.startswith("The page: http://")]
    (pid,) = children_of(server.process.pid)
    return url, pid


@pytest.mark.usefixtures("in_folder")
def test_up_shows_its_own_page(registry):
    with ServerProcess(registry.root, "--page-port", "0", verb="up") as server:
        url, _ = page_of(server)
        assert classified(url)["model"]["version"] == "1"
        code, _, log = server.stop()
    assert code == 0
    assert not [line for line in log if line.get("level") == "error"]


@pytest.mark.usefixtures("in_folder")
def test_workers_are_our_own(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2") as server:
        assert server.stub.Classify(REQUEST, timeout=10).model.version == 1
        assert server.stop()[0] == 0


def test_the_processes_of_a_load_are_our_own(registry, folder):
    publish(registry)
    with ServerProcess(registry.root) as server:
        options = ("--processes", "2", "--seconds", "0.2", "--warm-up", "0", "--port", server.port)
        done = run(folder, "bench", *options)
    assert done.returncode == 0, done.stderr


def test_the_processes_of_a_search_are_our_own(registry, folder):
    (folder / "mine.toml").write_text(TOML)
    few = ("--set", "search.folds=2", "--set", "network.max_iter=2", "--set", "gate.accuracy=0")
    done = run(folder, "search", "mine.toml", "--jobs", "2", *few, "--registry", registry.root)
    assert done.returncode == 0, done.stderr


def test_python_m_does_not_look_for_our_modules_in_the_current_folder(folder):
    # Python itself imports these before the command starts.
    for name in ("quadnet", "json", "random", "socket"):
        shutil.rmtree(folder / name)
    done = subprocess.run(
        [sys.executable, "-m", "quadnet", "health", "--port", "1"],
        capture_output=True, text=True, timeout=60, check=False, cwd=folder,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "No Quadnet server answers at 127.0.0.1:1." in done.stderr


def test_a_page_that_cannot_start_is_not_announced(registry, tmp_path):
    """A module that Python imports at the start of each process ends the page's process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'service.playground.page_server' in sys.orig_argv: os._exit(3)\n"
    )
    publish(registry)
    env = {"PYTHONPATH": str(tmp_path)}
    with ServerProcess(registry.root, "--page-port", "0", verb="up", env=env) as server:
        assert "The page did not start; see the log." in server.announcement
        assert "http://" not in "".join(server.announcement)
        assert server.logged("page process ended")["exit_code"] == 3
        assert server.stub.Classify(REQUEST, timeout=10).model.version == 1
        assert server.stop()[0] == 0


def test_the_death_of_the_page_is_logged(registry):
    publish(registry)
    with ServerProcess(registry.root, "--page-port", "0", verb="up") as server:
        _, pid = page_of(server)
        os.kill(pid, signal.SIGKILL)
        died = server.logged("page process ended")
        assert (died["pid"], died["exit_code"]) == (pid, -signal.SIGKILL)
        assert server.stub.Classify(REQUEST, timeout=10).model.version == 1
        assert server.stop()[0] == 0


def test_the_page_ends_when_its_server_is_killed(registry):
    publish(registry)
    with ServerProcess(registry.root, "--page-port", "0", verb="up") as server:
        _, pid = page_of(server)
        server.process.kill()
        assert has_ended(pid)


def test_a_signal_while_the_page_starts_ends_both(registry, tmp_path):
    """A module that Python imports at the start of each process delays the page's process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif 'service.playground.page_server' in sys.orig_argv: time.sleep(60)\n"
    )
    publish(registry)
    words = [SCRIPT, "up", "--registry", registry.root, "--port", "0", "--page-port", "0"]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:
        # It serves and announces itself before the page answers.
        assert process.stdout.readline().startswith("Serving quadrants version 1 on ")
        while not (started := children_of(process.pid)):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "http://" not in out
    assert "Traceback" not in log
    assert all(not Path(f"/proc/{pid}").exists() for pid in started)
