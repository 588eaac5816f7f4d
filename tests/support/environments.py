"""Python environments made by uv, and the packages that the extras add."""

import re
import subprocess
import sys
from importlib.metadata import requires


def make_environment(folder, *requirements):
    """Make an environment with these packages, and return its programs' folder."""
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install(folder / "bin", *requirements)
    return folder / "bin"


def install(programs, *words):
    """Install packages into the environment of these programs with `uv pip install`."""
    python = programs / "python"
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *words], check=True)


def installed_packages(programs):
    """Return the names of the packages in the environment of these programs."""
    done = subprocess.run(
        ["uv", "pip", "freeze", "--quiet", "--python", programs / "python"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.partition("==")[0].partition(" @")[0] for line in done.stdout.splitlines()}


def packages_of(extra):
    """Return the packages that an extra adds to the base."""
    found = (re.match(rf"([\w.-]+).*extra == '{extra}'", line) for line in requires("quadnet"))
    # These are already installed for scikit-learn.
    return {match[1] for match in found if match} - {"joblib", "narwhals", "threadpoolctl"}


def installation(*extras):
    """Return the end of every message about missing packages."""
    options = " ".join(f"--extra {extra}" for extra in extras)
    command = f"pip install 'quadnet[{','.join(extras)}]'"
    return f"Install them with: {command} (in a clone: uv run {options})"
