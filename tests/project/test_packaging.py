"""The wheel, and the pinned requirements of the container."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions

import pytest

from tests.support.serving import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# What the build hook adds to a wheel where there is a C compiler.
COMPILED = {"quadnet/nn/replay/replay.so", "quadnet/nn/replay/replay.so.sha256"}
# The environment without the settings of the build.
INHERITED = {
    name: value for name, value in os.environ.items() if name not in {"CC", "QUADNET_REPLAY_BUILD"}
}
BUILT_WITHOUT = "quadnet is built without the compiled replay. "


def run_build(target, directory, *, root=ROOT, **variables):
    """Build the wheel or the sdist, and return the ended process."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)],
        check=False,
        capture_output=True,
        text=True,
        cwd=root,
        env={**INHERITED, **variables},
    )


def build(target, directory, **options):
    """Build the wheel or the sdist, and return the file."""
    done = run_build(target, directory, **options)
    assert done.returncode == 0, done.stderr
    (path,) = directory.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel without the compiled part, which is the same on every machine."""
    path = build("wheel", tmp_path_factory.mktemp("wheel"), QUADNET_REPLAY_BUILD="0")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def compiled_wheel(tmp_path_factory):
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and names the files as on Linux")
    path = build("wheel", tmp_path_factory.mktemp("compiled"), QUADNET_REPLAY_BUILD="1")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    with tarfile.open(build("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        yield archive


def package_files():
    """Return the name of every file of the three packages that an installation must have."""
    return {
        str(path.relative_to(ROOT))
        for package in ("quadnet", "service", "pipeline")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - COMPILED


def files_of(wheel):
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def metadata_of(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))
    return dict(line.split(": ") for line in wheel.read(name).decode().splitlines())


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
    assert files_of(wheel) == package_files()


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
    path = build("wheel", tmp_path / "wheel", root=folder, QUADNET_REPLAY_BUILD="0")
    with zipfile.ZipFile(path) as again:
        assert set(again.namelist()) == set(wheel.namelist())


# ---- the compiled part


def test_a_wheel_without_the_compiled_part_is_for_every_machine(wheel):
    assert metadata_of(wheel)["Root-Is-Purelib"] == "true"
    assert metadata_of(wheel)["Tag"] == "py3-none-any"
    assert wheel.filename.endswith("-py3-none-any.whl")


def test_a_wheel_with_the_compiled_part_is_for_one_platform_and_every_python(compiled_wheel):
    platform = re.sub(r"\W", "_", sysconfig.get_platform())
    assert metadata_of(compiled_wheel)["Root-Is-Purelib"] == "false"
    assert metadata_of(compiled_wheel)["Tag"] == f"py3-none-{platform}"
    assert compiled_wheel.filename.endswith(f"-py3-none-{platform}.whl")


def test_the_compiled_part_is_all_that_a_compiler_adds(wheel, compiled_wheel):
    assert files_of(compiled_wheel) == files_of(wheel) | COMPILED


def test_the_sdist_has_the_source_of_the_compiled_part_alone(sdist):
    names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"hatch_build.py", "quadnet/nn/replay/replay.c"} <= names
    assert not [name for name in names if "replay.so" in name]


def test_the_sdist_compiles_the_same_library(sdist, compiled_wheel, tmp_path):
    sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    path = build("wheel", tmp_path / "wheel", root=folder, QUADNET_REPLAY_BUILD="1")
    with zipfile.ZipFile(path) as again:
        for name in COMPILED:
            assert again.read(name) == compiled_wheel.read(name)


LOAD = """
from quadnet.nn.replay import library
print(library.__file__, library.describe())
"""


def test_the_library_of_the_wheel_can_be_loaded(compiled_wheel, tmp_path):
    compiled_wheel.extractall(tmp_path)
    module = tmp_path / "quadnet/nn/replay/library.py"
    assert run_in(tmp_path, LOAD) == f"{module} compiled\n"


def run_in(folder, code):
    """Run the code with the packages in this folder, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


FAILING = """#!/bin/sh
echo 'replay.c: In function quadnet_replay_abi:'
echo 'replay.c:1:1: error: this compiler cannot compile' >&2
exit 3
"""
SILENT = """#!/bin/sh
exit 0
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, r"There is no C compiler \({cc}\)\."),
        (FAILING, r"{cc} failed with exit code 3: replay\.c:1:1: error: this compiler cannot .*\."),
        # It reports success, but makes no library.
        (SILENT, r".*python\S* failed with exit code 1: OSError: .*replay\.so: cannot open .*\."),
    ],
)
def test_a_wheel_is_built_without_a_working_compiler(program, reason, wheel, tmp_path):
    compiler = tmp_path / "compiler"
    if program is not None:
        compiler.write_text(program)
        compiler.chmod(0o755)
    done = run_build("wheel", tmp_path / "dist", CC=str(compiler))
    assert done.returncode == 0, done.stderr
    pattern = f"^{re.escape(BUILT_WITHOUT)}{reason.replace('{cc}', re.escape(str(compiler)))}$"
    assert re.search(pattern, done.stdout + done.stderr, re.MULTILINE)
    (path,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(path) as archive:
        assert metadata_of(archive)["Tag"] == "py3-none-any"
        assert files_of(archive) == files_of(wheel)


def test_a_wheel_is_built_where_no_compiler_is_on_the_path(tmp_path):
    done = run_build("wheel", tmp_path / "dist", PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"{BUILT_WITHOUT}There is no C compiler (cc, gcc, clang).\n" in done.stdout + done.stderr
    (path,) = (tmp_path / "dist").iterdir()
    assert path.name.endswith("-py3-none-any.whl")


def test_the_compiled_part_can_be_required(tmp_path):
    done = run_build("wheel", tmp_path, CC="/nonexistent", QUADNET_REPLAY_BUILD="1")
    assert done.returncode == 1
    assert done.stdout + done.stderr == (
        "quadnet cannot be built with the compiled replay. There is no C compiler (/nonexistent).\n"
    )
    assert not list(tmp_path.iterdir())


def test_another_value_of_the_switch_is_an_error(tmp_path):
    done = run_build("wheel", tmp_path, QUADNET_REPLAY_BUILD="no")
    assert done.returncode == 1
    assert done.stdout + done.stderr == (
        "The environment variable QUADNET_REPLAY_BUILD must be 0 or 1, got 'no'.\n"
    )


# ---- the source tree of an editable installation


@pytest.fixture
def tree(sdist, tmp_path):
    sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    return folder


EDITABLE = """
import sys
from hatchling.build import build_editable
build_editable(sys.argv[1])
"""


def build_editable(tree, **variables):
    """Build as `uv run` and `pip install -e` do, and return the output."""
    done = subprocess.run(
        [sys.executable, "-c", EDITABLE, tree.parent],
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
        env={**INHERITED, **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def compiled_files(tree):
    return {str(path.relative_to(tree)) for path in tree.rglob("replay.so*")}


def test_an_editable_installation_has_the_library_in_the_source_tree(tree, compiled_wheel):
    assert compiled_files(tree) == set()
    build_editable(tree)
    assert compiled_files(tree) == COMPILED
    assert run_in(tree, LOAD) == f"{tree / 'quadnet/nn/replay/library.py'} compiled\n"
    # A wheel or an sdist that is built later does not take files from the tree.
    sdist = build("sdist", tree.parent / "sdist", root=tree)
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if "replay.so" in name]
    pure = build("wheel", tree.parent / "wheel", root=tree, QUADNET_REPLAY_BUILD="0")
    with zipfile.ZipFile(pure) as archive:
        assert not files_of(archive) & COMPILED


def test_a_library_that_cannot_be_compiled_again_does_not_stay(tree, compiled_wheel):
    build_editable(tree)
    assert build_editable(tree, CC="/nonexistent").startswith(BUILT_WITHOUT)
    assert compiled_files(tree) == set()


def test_a_running_process_keeps_the_library_that_it_has_loaded(tree, compiled_wheel):
    build_editable(tree)
    library = tree / "quadnet/nn/replay/replay.so"
    with library.open("rb") as opened:
        before = opened.read()
        with (tree / "quadnet/nn/replay/replay.c").open("a") as source:
            source.write("EXPORT int quadnet_replay_added(void) { return 2; }\n")
        build_editable(tree)
        opened.seek(0)
        assert opened.read() == before != library.read_bytes()


def test_the_compiled_part_is_not_in_git():
    ignored = subprocess.run(
        ["git", "check-ignore", *COMPILED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(ignored.stdout.split()) == COMPILED


def test_uv_builds_again_after_each_change_of_what_is_compiled():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    files = {key["file"] for key in settings["cache-keys"] if "file" in key}
    assert files == {"pyproject.toml", "hatch_build.py", "quadnet/nn/replay/replay.c"}


# ---- the pins


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
    assert asked == {"numpy", *names_of(extra("rest"))}
    assert asked <= names_of(lines)
    others = names_of(PROJECT["dependencies"]) | names_of(extra("pipeline"))
    assert not names_of(lines) & (others - asked)


def test_the_full_image_is_pinned_with_what_trains_and_serves():
    _, lines = pins("full")
    needed = PROJECT["dependencies"] + extra("pipeline") + extra("rest")
    assert names_of(needed) <= names_of(lines)
    assert not names_of(lines) & names_of(extra("report") + extra("parquet") + extra("onnx"))


def test_the_extra_all_is_every_extra():
    assert set(extra("all")) == {
        requirement for name in PROJECT["optional-dependencies"] for requirement in extra(name)
    }


MAY_IMPORT = {
    "quadnet": extra("registry") + extra("frames") + extra("onnx"),
    "pipeline": [
        requirement
        for name in ("pipeline", "report", "parquet", "onnx", "mlflow")
        for requirement in extra(name)
    ],
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
