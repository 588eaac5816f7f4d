"""The wheel, and the pinned requirements of the container."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions

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
        for p in ("quadrants", "article-1", "article-2", "digits", "fashion", "fashion-dense")
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


def extra(name):
    """Return the requirements of an extra, with those of the extras that it includes."""
    return [
        found
        for requirement in PROJECT["optional-dependencies"][name]
        for found in (
            [each for included in included_extras(requirement) for each in extra(included)]
            or [requirement]
        )
    ]


def included_extras(requirement):
    found = re.fullmatch(r"quadnet\[(.*)\]", requirement)
    return found[1].split(",") if found else []


def test_serving_is_pinned_without_what_only_the_estimators_and_training_need():
    _, lines = pins("serve")
    asked = {
        line.partition(";")[0].strip()
        for line in (ROOT / "requirements/serve.in").read_text().splitlines()
        if not line.startswith("#")
    }
    assert asked == {"numpy", *names_of(extra("serve"))}
    assert asked <= names_of(lines)
    others = names_of(PROJECT["dependencies"]) | names_of(extra("pipeline"))
    assert not names_of(lines) & (others - asked)


def test_the_full_image_is_pinned_with_what_trains_and_serves():
    _, lines = pins("full")
    needed = PROJECT["dependencies"] + extra("pipeline") + extra("serve")
    assert names_of(needed) <= names_of(lines)
    assert not names_of(lines) & names_of(extra("report") + extra("parquet") + extra("onnx"))


def test_the_extra_all_is_every_extra():
    assert set(extra("all")) == {
        requirement for name in PROJECT["optional-dependencies"] for requirement in extra(name)
    }


MAY_IMPORT = {
    "quadnet": extra("registry"),
    "pipeline": extra("pipeline") + extra("report") + extra("parquet") + extra("onnx"),
    "service": extra("playground"),
}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_every_imported_package_is_required_by_the_base_or_an_extra_of_that_side(package):
    required = names_of(PROJECT["dependencies"] + MAY_IMPORT[package])
    installed = packages_distributions()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names | MAY_IMPORT.keys():
                    assert names_of(installed[name]) & required, f"{path}:{node.lineno}: {name}"


def test_both_targets_pin_the_same_versions():
    assert set(pins("serve")[1]) <= set(pins("full")[1])


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text()
    for name in names_of(PROJECT["dependencies"] + extra("all")):
        assert re.search(rf'"{name}>=[\d.]+(; [^"]+)?"[,\]]\s+# \w', text), name


def test_no_lock_file_is_kept():
    tracked = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert "uv.lock" not in tracked
