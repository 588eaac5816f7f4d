"""New environments: with pip, with uv from a clean clone, and with the base alone."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from quadnet.cli.verbs import VERBS
from tests.support.environments import (
    installation,
    installed_packages,
    make_environment,
    packages_of,
)
from tests.support.serving import ROOT, ServerProcess, quadnet

pytestmark = pytest.mark.environment

# Without these variables, uv uses the environment of the current folder.
UV = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV"}}


def test_pip_installs_what_the_command_needs(tmp_path, monkeypatch):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run(
        [environment / "bin/pip", "install", "--quiet", f"{ROOT}[all]"], check=True, cwd=tmp_path
    )
    names = installed_packages(environment / "bin")
    assert {"quadnet", "starlette", "matplotlib", "pyarrow", "onnx"} <= names
    assert "pytest" not in names

    # The command that was installed, not this environment's.
    monkeypatch.setattr("tests.support.serving.QUADNET", [environment / "bin/quadnet"])
    monkeypatch.chdir(tmp_path)
    with ServerProcess(tmp_path / "models", verb="up") as server:
        assert "Published quadrants version 1" in "\n".join(server.announcement)
        done = quadnet("classify", "0.5", "0.5", "--port", server.port)
        assert done.stdout.splitlines()[1].split()[2] == "I"
        assert server.stop()[0] == 0


# ---- the base alone


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return the programs of an environment with the wheel and its base dependencies alone."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    programs = make_environment(folder / "environment", wheel)
    names = installed_packages(programs)
    assert {"quadnet", "numpy", "scipy", "scikit-learn"} <= names
    assert not names & packages_of("all")
    return programs


def test_the_estimators_need_the_base_alone(base, tmp_path):
    script = shutil.copy(ROOT / "tests/support/estimator_alone.py", tmp_path)
    done = subprocess.run(
        [base / "python", "-W", "error", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "The estimators work.\n", "")


def test_the_command_needs_the_base_alone_to_say_what_is_missing(base, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.serving.QUADNET", [base / "quadnet"])
    done = quadnet("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = quadnet("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"quadnet [\d.]+\nPython [\d.]+\nNumPy [\d.]+, BLAS .+\nReplay: .+\n", done.stdout
    )
    for verb, entry in VERBS.items():
        for options in ([], ["--help"]):
            done = quadnet(*verb.split(), *options, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (1, "")
            reason = rf"quadnet {verb} needs packages that are not installed \([\w, -]+\)\. "
            install = installation(*entry.extras)
            assert re.fullmatch(reason + re.escape(install) + "\n", done.stderr)


# ---- a clean clone


def test_uv_run_in_a_clean_clone_installs_what_up_uses_and_no_more(tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(tracked, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    python = ["--python", sys.executable]
    monkeypatch.setattr(
        "tests.support.serving.QUADNET", ["uv", "run", "--quiet", *python, "quadnet"]
    )
    monkeypatch.setattr(os, "environ", UV)
    monkeypatch.chdir(clone)
    with ServerProcess(clone / "models", verb="up") as server:
        text = "\n".join(server.announcement)
        assert "Published quadrants version 1" in text
        assert "The page: http://" in text
        assert server.stop()[0] == 0
    names = installed_packages(clone / ".venv/bin")
    assert {"grpcio", "rich", "starlette", "structlog"} <= names
    unused = {"hypothesis", "matplotlib", "mypy", "onnx", "pandas", "playwright", "pyarrow"}
    assert not names & (unused | {"pytest", "ruff"})


# ---- other platforms

PLATFORMS = {
    "Windows": "x86_64-pc-windows-msvc",
    "macOS arm64": "aarch64-apple-darwin",
    "Linux arm64": "aarch64-unknown-linux-gnu",
}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_everything_has_wheels_for(platform, version, tmp_path):
    done = subprocess.run(
        [
            "uv", "pip", "compile", "--quiet", "--extra", "all", "--only-binary", ":all:",
            "--python-platform", PLATFORMS[platform], "--python-version", version,
            "--output-file", tmp_path / "pins.txt", ROOT / "pyproject.toml",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=UV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = set(re.findall(r"^([\w.-]+)==", (tmp_path / "pins.txt").read_text(), re.MULTILINE))
    assert {"grpcio", "matplotlib", "numpy", "onnx", "pyarrow", "scikit-learn"} <= names
    assert ("uvloop" in names) is (platform != "Windows")
