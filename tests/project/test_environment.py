"""New environments: with pip, with uv from a clean clone, and with the base alone."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from quadnet.cli.verbs import VERBS
from tests.support.environments import (
    install,
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


def make_clone(clone):
    """Copy the files that are in git, or would be added to it, into this folder; return it."""
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(tracked, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    return clone


def test_uv_run_in_a_clean_clone_installs_what_up_uses_and_no_more(tmp_path, monkeypatch):
    clone = make_clone(tmp_path / "clone")
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


# ---- the compiled part of training

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

FIT = """
import numpy as np
from quadnet import NeuralNetworkClassifier
from quadnet.nn.replay import library

X = np.random.RandomState(0).uniform(-1, 1, (400, 2))
net = NeuralNetworkClassifier((6,), max_iter=300, learning_rate_init=0.02, random_state=0)
print(net.fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.95, library.describe())
"""
PIP = ["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
UV_PIP = ["uv", "pip", "install", "--quiet", "--no-deps", "--reinstall", "--python"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return make_clone(tmp_path_factory.mktemp("source") / "clone")


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory, clone):
    """Return the Python of an environment that has pip and what the estimators need."""
    folder = tmp_path_factory.mktemp("pip")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install(folder / "bin", clone)
    return folder / "bin/python"


@pytest.mark.parametrize("editable", [False, True], ids=["installed", "editable"])
@pytest.mark.parametrize("program", ["pip", "uv"])
@pytest.mark.parametrize(
    "compiler",
    [pytest.param(True, marks=needs_compiler, id="compiler"), pytest.param(False, id="none")],
)
def test_an_installation_trains_with_and_without_a_compiler(
    compiler, program, editable, with_pip, clone, tmp_path
):
    # With a compiler, a failure to use it must be an error.
    settings = {"QUADNET_REPLAY_BUILD": "1"} if compiler else {"CC": "/nonexistent"}
    inherited = {name: value for name, value in UV.items() if name != "QUADNET_REPLAY_BUILD"}
    command = [with_pip, *PIP] if program == "pip" else [*UV_PIP, with_pip]
    source = ["--editable", clone] if editable else [clone]
    done = subprocess.run(
        [*command, *source],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **settings},
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [with_pip, "-c", FIT], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr == ""
    state = (
        "compiled"
        if compiler
        else "replay.so is missing: there was no C compiler when Quadnet was installed."
    )
    assert done.stdout == f"True {state}\n"
    assert bool(list(clone.rglob("replay.so*"))) is (editable and compiler)
    subprocess.run([with_pip, "-m", "pip", "uninstall", "--quiet", "--yes", "quadnet"], check=True)
    for file in clone.rglob("replay.so*"):
        file.unlink()


@needs_compiler
def test_uv_run_compiles_again_after_a_change_of_the_source(tmp_path):
    clone = make_clone(tmp_path / "clone")
    command = ["uv", "run", "--quiet", "--python", sys.executable, "quadnet", "--version"]

    def print_version():
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=clone, env=UV
        ).stdout

    assert print_version().endswith("\nReplay: compiled\n")
    library = clone / "quadnet/nn/replay/replay.so"
    before = library.read_bytes()
    with (clone / "quadnet/nn/replay/replay.c").open("a") as source:
        source.write("EXPORT int quadnet_replay_added(void) { return 2; }\n")
    assert print_version().endswith("\nReplay: compiled\n")
    assert library.read_bytes() != before


# ---- other platforms

PLATFORMS = {
    "Windows": "x86_64-pc-windows-msvc",
    "macOS arm64": "aarch64-apple-darwin",
    "Linux arm64": "aarch64-unknown-linux-gnu",
}


# The oldest and the newest that is supported: what has wheels for both has them for those between.
@pytest.mark.parametrize("version", ["3.11", "3.14"])
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
