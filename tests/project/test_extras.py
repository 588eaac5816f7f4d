"""Missing optional packages: what works without them, and the message about them.

Here the packages are hidden. test_environment.py makes an environment without them.
"""

import os
import re
import subprocess
import sys

import pytest

from quadnet.cli.verbs import VERBS
from quadnet.extras import missing_packages
from quadnet.registry import Registry
from tests.support.environments import installation, packages_of
from tests.support.exact_models import publish
from tests.support.hidden_packages import hide_packages
from tests.support.serving import ROOT, ServerProcess, quadnet


@pytest.fixture
def base_only(tmp_path):
    return hide_packages(tmp_path, *packages_of("all"))


def test_the_estimators_need_the_base_alone(base_only):
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tests/support/estimator_alone.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **base_only},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "The estimators work.\n", "")


def test_help_and_version_need_the_base_alone(base_only):
    assert quadnet("--help", env=base_only).returncode == 0
    assert quadnet("models", "--help", env=base_only).returncode == 0
    done = quadnet("--version", env=base_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"quadnet [\d.]+\nPython [\d.]+\nNumPy [\d.]+, BLAS \S+ \S+\nReplay: .+\n", done.stdout
    )


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_names_the_packages_and_the_extras_that_it_lacks(verb, base_only):
    done = quadnet(*verb.split(), env=base_only)
    install = installation(*VERBS[verb].extras)
    assert (done.returncode, done.stdout) == (1, "")
    reason = rf"quadnet {verb} needs packages that are not installed \([\w, -]+\)\. "
    assert re.fullmatch(reason + re.escape(install) + "\n", done.stderr)


def test_only_the_extra_that_is_incomplete_is_named(tmp_path):
    env = hide_packages(tmp_path, "rich", "structlog")
    assert quadnet("up", env=env).stderr == (
        "quadnet up needs packages that are not installed (rich, structlog). "
        f"{installation('pipeline', 'serve')}\n"
    )
    env = hide_packages(tmp_path, "structlog")
    assert quadnet("up", env=env).stderr == (
        f"quadnet up needs packages that are not installed (structlog). {installation('serve')}\n"
    )


RUN = """
name = "rows"
[data]
kind = "parquet"
path = "rows.parquet"
label = "k"
[gate]
accuracy = 0.9
"""
SCORED = ["quadrants", "rows.parquet", "answers.parquet"]
COMPARED = ["quadrants:1", "quadrants:1", "--picture", "changes.svg"]


@pytest.mark.parametrize(
    ("verb", "words", "feature", "package", "extra"),
    [
        ("serve", ["--http-port", "0"], "--http-port", "uvicorn", "rest"),
        ("train", ["rows.toml"], "Reading or writing a Parquet file", "pyarrow", "parquet"),
        ("score", SCORED, "Reading or writing a Parquet file", "pyarrow", "parquet"),
        ("models diff", COMPARED, "Drawing a picture", "matplotlib", "report"),
        ("models verify", ["--retrain"], "Retraining a version", "rich", "pipeline"),
    ],
)
def test_a_feature_names_the_extra_that_it_needs(verb, words, feature, package, extra, tmp_path):
    publish(Registry(tmp_path / "models"))
    (tmp_path / "rows.toml").write_text(RUN)
    (tmp_path / "rows.parquet").touch()
    env = hide_packages(tmp_path, package)
    done = quadnet(*verb.split(), *words, env=env, cwd=tmp_path)
    reason = f"{feature} needs packages that are not installed ({package})."
    error = f"quadnet {verb}: {reason} {installation(extra)}\n"
    assert (done.returncode, done.stderr) == (1, error)


def test_a_run_without_the_extra_report_says_why_it_has_no_page(tmp_path):
    env = hide_packages(tmp_path, "matplotlib")
    done = quadnet("train", "article-1", env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        "alias champion.\nIt has no report page. Drawing a picture needs packages that are not "
        f"installed (matplotlib). {installation('report')}\n"
    )


def test_a_server_runs_without_uvloop(tmp_path):
    registry = Registry(tmp_path / "models")
    publish(registry)
    with ServerProcess(registry.root, env=hide_packages(tmp_path, "uvloop")) as server:
        done = quadnet("classify", "0.5", "0.5", "--port", server.port)
        assert (done.returncode, done.stderr) == (0, "")
        assert server.stop()[0] == 0


def test_nothing_is_missing_here():
    assert missing_packages("all") == []
