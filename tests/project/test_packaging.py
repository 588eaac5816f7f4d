"""The wheel, and the pins that the container is built from."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from tests.support.serving import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(target, directory, *, root=ROOT):
    """Build the wheel or the sdist, and return the file."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)],
        check=True,
        capture_output=True,
        cwd=root,
    )
    (path,) = directory.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    with tarfile.open(build("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        yield archive


def package_files():
    """Return every file of the three packages that an installation must have."""
    return [
        path
        for package in ("quadnet", "service", "pipeline")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def test_the_wheel_installs_three_names_and_no_more(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "quadnet",
        "service",
        "pipeline",
    }


def test_the_wheel_holds_what_the_packages_read(wheel):
    names = set(wheel.namelist())
    for pattern in (
        "quadnet/py.typed",
        "service/stubs/quadrant/v1/quadrant_pb2.pyi",
        "service/playground/static/index.html",
        "service/playground/static/app.js",
    ):
        assert pattern in names
    presets = {name for name in names if name.startswith("pipeline/config/presets/")}
    assert {
        f"pipeline/config/presets/{p}.toml"
        for p in ("quadrants", "article-1", "article-2", "digits")
    } < presets
    tracked = {str(path.relative_to(ROOT)) for path in package_files()}
    assert {name for name in names if ".dist-info" not in name} == tracked


def test_the_wheel_and_the_sdist_carry_the_licence(wheel, sdist):
    licence = (ROOT / "LICENSE").read_bytes()
    folder = f"quadnet-{PROJECT['version']}"
    assert wheel.read(f"{folder}.dist-info/licenses/LICENSE") == licence
    assert sdist.extractfile(f"{folder}/LICENSE").read() == licence
    metadata = wheel.read(f"{folder}.dist-info/METADATA").decode()
    assert "\nLicense-Expression: BSD-3-Clause\n" in metadata
    assert "Private ::" not in metadata


def test_the_sdist_builds_the_same_wheel(wheel, sdist, tmp_path):
    sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    with zipfile.ZipFile(build("wheel", tmp_path / "wheel", root=folder)) as again:
        assert set(again.namelist()) == set(wheel.namelist())


def names_of(requirements):
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}


def pins(target):
    text = (ROOT / "requirements" / f"{target}.txt").read_text()
    return text, [line for line in text.splitlines() if re.match(r"\w", line)]


@pytest.mark.parametrize("target", ["serve", "full", "build"])
def test_the_pins_are_hashed_and_name_no_host(target):
    text, lines = pins(target)
    assert "://" not in text
    assert all(re.match(r"[\w.-]+==[\w.]+( ;.*)? \\$", line) for line in lines)
    assert text.count("==") >= len(lines) > 5
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


TRAINING = {"jinja2", "scikit-learn", "scipy", "threadpoolctl", "joblib", "rich"}


def test_serving_needs_every_dependency_but_those_of_training():
    _, lines = pins("serve")
    assert names_of(PROJECT["dependencies"]) - names_of(lines) == TRAINING
    assert not names_of(lines) & {*TRAINING, "grpcio-tools"}
    _, everything = pins("full")
    assert names_of(PROJECT["dependencies"]) <= names_of(everything)


def test_both_targets_pin_the_same_versions():
    assert set(pins("serve")[1]) <= set(pins("full")[1])


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text()
    for name in names_of(PROJECT["dependencies"]):
        assert re.search(rf'"{name}>=[\d.]+",\s+# \w', text), name


def test_no_lock_file_is_kept():
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "uv.lock" not in tracked
