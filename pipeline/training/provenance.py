"""The lineage of a run: code, libraries and machine, to explain why another run differs."""

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_info, threadpool_limits

from quadnet import __version__
from quadnet.registry.manifest import Git, Lineage

_LIBRARIES = ("numpy", "scipy", "scikit-learn")


def collect_lineage() -> Lineage:
    """Describe this process, this machine, and the git repository of the directory, if any."""
    # With one BLAS thread, as in `candidate_training.fit_network`.
    with threadpool_limits(1):
        pools = threadpool_info()
    blas = [pool for pool in pools if pool["user_api"] == "blas"]
    return Lineage(
        quadnet=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_read_cpu_name(),
        libraries={name: version(name) for name in _LIBRARIES},
        blas=sorted(
            f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
            for pool in blas
        ),
        threads=max((pool["num_threads"] for pool in blas), default=1),
        git=_read_git_state(),
    )


def _read_cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _read_git_state() -> Git | None:
    try:
        commit = _run_git("rev-parse", "HEAD").decode().strip()
        # Tracked files only: the registry itself may be in this directory, untracked.
        changes = _run_git("diff", "--binary", "HEAD")
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit
        return None
    return Git(
        commit=commit, changes_sha256=hashlib.sha256(changes).hexdigest() if changes else None
    )


def _run_git(*words: str) -> bytes:
    return subprocess.run(["git", *words], capture_output=True, check=True, timeout=10).stdout  # noqa: S603, S607
