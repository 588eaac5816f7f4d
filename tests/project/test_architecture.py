"""pipeline -> quadnet <- service, and nothing else."""

import ast
import re
import subprocess
import sys

import pytest

from tests.support.serving import ROOT

MAY_IMPORT = {
    "quadnet": {"quadnet"},
    "service": {"service", "quadnet"},
    "pipeline": {"pipeline", "quadnet"},
}
OURS = set(MAY_IMPORT)


def modules():
    return [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    """Yield (line, top-level name, whether it is inside a function) of each import."""
    tree = ast.parse(path.read_text())
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [node.module]
        else:
            continue
        for name in names:
            yield node.lineno, name, node in inside


def type_checking_lines(path):
    """Return the lines that only type checkers read."""
    return {
        line
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for line in range(node.lineno, node.end_lineno + 1)
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrow(path):
    relative = path.relative_to(ROOT)
    package = relative.parts[0]
    for line, name, in_function in imports(path):
        top = name.split(".")[0]
        if str(relative) == "quadnet/cli/main.py":
            # The composition root may know both sides, but only inside functions.
            if top in OURS - {"quadnet"}:
                assert in_function or line in type_checking_lines(path), f"{relative}:{line}"
            continue
        if top in OURS:
            assert top in MAY_IMPORT[package], f"{relative}:{line} imports {name}"
        if package == "quadnet":
            assert top not in {"grpc", "google"}, f"{relative}:{line} imports {name}"
        if package == "service":
            assert top not in {"sklearn", "scipy"}, f"{relative}:{line} imports {name}"


def loaded_after(statement):
    code = f"{statement}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


HEAVY = {
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
    "dask",
    "pyarrow",
    "starlette",
    "uvicorn",
    "joblib",
}


def test_the_server_loads_nothing_that_serving_does_not_need():
    loaded = loaded_after("import service.commands.serve, service.commands.classify")
    assert loaded & (HEAVY | {"pipeline"}) == set()
    assert {"grpc", "numpy"} <= loaded


def test_the_core_loads_no_grpc_and_no_scikit_learn():
    loaded = loaded_after("import quadnet, quadnet.registry.registry, quadnet.nn.training")
    assert loaded & (HEAVY | {"grpc", "google"}) == set()


def test_help_loads_almost_nothing():
    loaded = loaded_after(
        "import sys; sys.argv = ['quadnet', '--help']\n"
        "from quadnet.cli import main as cli\n"
        "try: cli.main()\nexcept SystemExit: pass"
    )
    assert loaded & (HEAVY | {"numpy", "grpc", "pydantic", "pydantic_settings"}) == set()


def test_the_public_names_are_these():
    import quadnet

    assert quadnet.__all__ == ["NeuralNetworkClassifier", "__version__"]
    for name in quadnet.__all__:
        assert getattr(quadnet, name)
    with pytest.raises(AttributeError, match="has no attribute 'Perceptron'"):
        quadnet.Perceptron  # noqa: B018


def test_no_file_is_named_for_nothing():
    for path in modules():
        assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_the_architecture_page_names_no_file_that_is_not_there():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for name in set(re.findall(r"`([^`]+)`", page.replace("```", ""))):
        if "/" in name and "->" not in name:
            assert (ROOT / name).exists(), name
