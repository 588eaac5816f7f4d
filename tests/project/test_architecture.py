"""Which folder may import which, and what each process may load."""

import ast
import graphlib
import re
import subprocess
import sys

import pytest

from tests.support.serving import ROOT

# The part of the library that the service and the pipeline share. The estimator is not in it,
# because the service does not have scikit-learn.
CORE = {
    "quadnet",
    "quadnet.types",
    "quadnet.errors",
    "quadnet.extras",
    "quadnet.model_names",
    "quadnet.name_display",
    "quadnet.records",
    "quadnet.quadrants",
    "quadnet.nn",
    "quadnet.tables",
    "quadnet.registry",
}
LIBRARY = CORE | {"quadnet.estimator", "quadnet.onnx_export"}
RUNS = {"pipeline.wording", "pipeline.config", "pipeline.data", "pipeline.training"}
CALLS = {"service.wire", "service.models", "service.rpc", "service.stubs"}
PROCESSES = {"quadnet.cli", "service.telemetry", "service.net", "service.settings"}

# Each folder, or module outside of all folders, and what it may import.
ARROWS = {
    "quadnet.types": set(),
    "quadnet.errors": set(),
    "quadnet.extras": {"quadnet.errors"},
    "quadnet.model_names": set(),
    "quadnet.name_display": set(),
    "quadnet.records": set(),
    "quadnet.quadrants": {"quadnet.types"},
    "quadnet.nn": {"quadnet.types"},
    "quadnet.tables": {"quadnet.types", "quadnet.errors", "quadnet.extras"},
    "quadnet.onnx_export": {"quadnet.errors", "quadnet.extras", "quadnet.types", "quadnet.nn"}
    | {"quadnet.tables"},
    "quadnet.estimator": {"quadnet.types", "quadnet.errors", "quadnet.nn"}
    | {"quadnet.tables", "quadnet.onnx_export"},
    "quadnet": {"quadnet.estimator", "quadnet.nn", "quadnet.onnx_export", "quadnet.extras"},
    "quadnet.published_model": CORE,
    "quadnet.registry": CORE - {"quadnet.registry"},
    "quadnet.cli": {"quadnet", "quadnet.errors", "quadnet.extras"},
    "quadnet.__main__": {"quadnet.cli"},
    "pipeline": set(),
    "pipeline.wording": {"quadnet.errors"},
    "pipeline.config": {
        "pipeline.wording",
        "quadnet.types",
        "quadnet.errors",
        "quadnet.records",
        "quadnet.model_names",
        "quadnet.name_display",
        "quadnet.cli",
        "quadnet.nn",
    },
    "pipeline.data": LIBRARY | {"pipeline.wording", "pipeline.config"},
    "pipeline.training": LIBRARY | RUNS - {"pipeline.training"},
    "pipeline.evaluation": LIBRARY | RUNS,
    "pipeline.adoption": LIBRARY,
    "pipeline.mlflow_store": {"quadnet.errors", "quadnet.extras"},
    "pipeline.report": LIBRARY | RUNS | {"pipeline.evaluation"},
    "pipeline.publishing": LIBRARY
    | RUNS
    | {"pipeline.adoption", "pipeline.evaluation", "pipeline.report"},
    "pipeline.search": LIBRARY | RUNS | {"pipeline.evaluation"},
    "pipeline.scoring": LIBRARY | {"pipeline.config", "pipeline.data"},
    "pipeline.commands": LIBRARY
    | RUNS
    | {"quadnet.cli", "pipeline.evaluation", "pipeline.report", "pipeline.publishing"}
    | {"pipeline.search", "pipeline.scoring", "pipeline.adoption", "pipeline.mlflow_store"},
    "service": set(),
    "service.stubs": set(),
    "service.telemetry": set(),
    "service.net": {"quadnet.errors", "service.telemetry"},
    "service.settings": {"quadnet.cli", "quadnet.model_names", "service.net"},
    "service.wire": CORE,
    "service.models": CORE | {"service.stubs", "service.telemetry"},
    "service.rpc": CORE | {"service.telemetry", "service.net", "service.wire"},
    "service.quadrant_v1": CORE | CALLS,
    "service.inference_v2": CORE | CALLS | {"service.settings"},
    "service.client": CORE | CALLS | PROCESSES | {"service.quadrant_v1"},
    "service.rest": CORE | CALLS | PROCESSES | {"service.quadrant_v1", "service.inference_v2"},
    "service.server": CORE
    | CALLS
    | PROCESSES
    | {"service.quadrant_v1", "service.inference_v2", "service.rest"},
    "service.playground": CORE
    | CALLS
    | PROCESSES
    | {"service.quadrant_v1", "service.client", "service.server"},
    "service.commands": CORE
    | CALLS
    | PROCESSES
    | {"service.quadrant_v1", "service.client", "service.server", "service.playground"},
}

# The composition roots may import both sides, but only inside functions: a verb loads its own side.
COMPOSITION_ROOTS = {"quadnet", "quadnet.cli"}

PACKAGES = ("quadnet", "pipeline", "service")


def place_of(module):
    """Return the folder of a dotted name, or the module if it is outside of all folders."""
    parts = module.split(".")
    return max((".".join(parts[:n]) for n in (1, 2) if ".".join(parts[:n]) in ARROWS), key=len)


def modules():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


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
def test_imports_follow_the_arrows(path):
    relative = path.relative_to(ROOT)
    place = place_of(".".join(relative.with_suffix("").parts).removesuffix(".__init__"))
    if place == "service.stubs":  # generated
        return
    for line, name, in_function in imports(path):
        where = f"{relative}:{line} imports {name}"
        top = name.split(".")[0]
        if top in PACKAGES and place_of(name) not in ARROWS[place] | {place}:
            assert place in COMPOSITION_ROOTS, where
            assert in_function or line in type_checking_lines(path), where
        if top in {"grpc", "google"}:
            assert relative.parts[0] == "service", where
        if top in {"sklearn", "scipy"}:
            assert relative.parts[0] != "service", where
            assert top == "scipy" or place != "quadnet.nn", where


def test_the_arrows_make_no_circle():
    graphlib.TopologicalSorter(ARROWS).prepare()


def test_every_folder_says_what_it_is_for():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("__init__.py")):
            folder = path.parent.relative_to(ROOT)
            if "stubs" in folder.parts:
                continue
            paragraph = ast.get_docstring(ast.parse(path.read_text()))
            assert paragraph, folder
            if len(folder.parts) == 2:
                assert "Start at" in " ".join(paragraph.split()), folder


def test_no_folder_has_many_more_files_than_a_dozen():
    for package in PACKAGES:
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(names) <= 16, folder


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
    "orjson",
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


def test_a_loaded_model_needs_no_scikit_learn():
    assert loaded_after("import quadnet.published_model") & (HEAVY | {"grpc", "pipeline"}) == set()


def test_scoring_loads_nothing_of_training():
    loaded = loaded_after("import pipeline.commands.score")
    assert loaded & HEAVY == set()


def test_help_loads_almost_nothing():
    loaded = loaded_after(
        "import sys; sys.argv = ['quadnet', '--help']\n"
        "from quadnet.cli import main as cli\n"
        "try: cli.main()\nexcept SystemExit: pass"
    )
    assert loaded & (HEAVY | {"numpy", "grpc", "pydantic", "pydantic_settings"}) == set()


def test_the_public_names_are_these():
    import quadnet

    assert quadnet.__all__ == [
        "NeuralNetworkClassifier",
        "NeuralNetworkRegressor",
        "Predictor",
        "RegressionPredictor",
        "__version__",
        "load",
        "publish",
        "register_onnx_converter",
    ]
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
