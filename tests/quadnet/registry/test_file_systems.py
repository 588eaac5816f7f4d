"""File systems that lack operations: real system calls that strace makes fail."""

import json
import re
import shutil
import subprocess

import pytest

from quadnet.registry import Registry, integrity_check
from tests.support.exact_models import publish
from tests.support.serving import QUADNET, ROOT

SMALL = ["data.points=400", "test.points=500", "network.max_iter=30", "gate.accuracy=0.5"]
TRAIN = ["train", "quadrants", *(word for change in SMALL for word in ("--set", change))]

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module", autouse=True)
def _tracing():
    traced = subprocess.run(["strace", "-qq", "true"], capture_output=True, check=False)
    if traced.returncode:
        pytest.skip("processes cannot be traced here")


def failing(calls, error, *words, log, path=None):
    """Run the command with these system calls failing, optionally only on one path."""
    options = ["-P", str(path)] if path else []
    traced = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}", *options]
    return subprocess.run(
        [*traced, "-e", f"inject={calls}:error={error}", *QUADNET, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_without_fsync_a_version_is_published_with_a_warning(registry, tmp_path, error):
    done = failing("fsync", error, *TRAIN, "--registry", registry.root, log=tmp_path / "log")
    assert done.returncode == 0, done.stderr
    assert f"Published quadrants version 1 in {registry.root}" in done.stdout
    code = error.replace("EOPNOTSUPP", "(EOPNOTSUPP|ENOTSUP)")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line, what in zip(sorted(lines), (r"fsync", r"fsync of a directory"), strict=True):
        assert re.fullmatch(
            rf"quadnet train: warning: The file system does not support {what} \({code}\)\. What "
            r"was \w+ last may be lost if the machine crashes\.",
            line,
        ), line
    assert [checked.problem for checked in integrity_check.verify_registry(registry)] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("calls", "error"), [("?chmod,fchmod,fchmodat", "EPERM"), ("?chmod,fchmod,fchmodat", "ENOSYS")]
)
def test_without_modes_a_version_is_published_with_a_warning(registry, tmp_path, calls, error):
    done = failing(calls, error, *TRAIN, "--registry", registry.root, log=tmp_path / "log")
    assert done.returncode == 0
    assert done.stderr == (
        f"quadnet train: warning: The file system does not support chmod ({error}). Other users "
        "may not be able to read what is written.\n"
    )
    assert registry.target("quadrants").version == 1


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP", "ENOSYS"])
@pytest.mark.parametrize("begun", [False, True])
def test_without_links_it_is_said_before_training(registry, tmp_path, error, begun):
    if begun:
        publish(registry)  # A registry that was copied to such a file system can be read.
    done = failing("?link,linkat", error, *TRAIN, "--registry", registry.root, log=tmp_path / "log")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"quadnet train: The registry cannot be written in {registry.root}\S*: the file system "
        rf"does not support hard links \(link: (ENOTSUP|{error})\), which .* Reading a registry "
        r"needs no hard links\. Name a directory on another file system with --registry\.\n",
        done.stderr,
    ), done.stderr
    assert not list(registry.root.rglob(".new-*"))


@pytest.mark.parametrize(("calls", "error"), [("fsync", "EIO"), ("?link,linkat", "EIO")])
def test_a_disk_that_fails_is_an_error_that_names_the_operation(registry, tmp_path, calls, error):
    publish(registry)
    done = failing(
        calls, error, "models", "alias", "quadrants", "candidate=1", "--registry", registry.root,
        log=tmp_path / "log",
    )  # fmt: skip
    operation = calls.split(",")[0].removeprefix("?")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"quadnet models alias: The registry {registry.root} cannot be written: \S+: {operation}"
        r"( of a directory)?: Input/output error \(EIO\)\. Correct that, or name .*\n",
        done.stderr,
    ), done.stderr
    assert "candidate" not in registry.aliases("quadrants").aliases
    assert not list(registry.root.rglob(".new-*"))


@pytest.mark.parametrize("error", ["EINVAL", "EIO"])
@pytest.mark.parametrize("existing", [False, True])
def test_an_export_whose_directory_cannot_be_flushed_is_there_and_said_to_be(
    registry, tmp_path, error, existing
):
    publish(registry)
    home = tmp_path / "home"
    home.mkdir()
    words = ["models", "export", "quadrants", home / "q.onnx", "--onnx"]
    if existing:
        (home / "q.onnx").write_bytes(b"old")
        words.append("--overwrite")
    done = failing(
        "fsync", error, *words, "--registry", registry.root, log=tmp_path / "log", path=home
    )
    assert done.returncode == 0, done.stderr
    assert f"Wrote quadrants version 1 to {home / 'q.onnx'}" in done.stdout
    assert "may be lost if the machine crashes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in home.iterdir()] == ["q.onnx"]
    assert (home / "q.onnx").stat().st_size > 500


def test_an_export_that_cannot_be_written_leaves_nothing(registry, tmp_path):
    publish(registry)
    home = tmp_path / "home"
    home.mkdir()
    for calls, error in (("fsync", "EIO"), ("?rename,?renameat,renameat2", "EPERM")):
        words = ["models", "export", "quadrants", home / "q.onnx", "--onnx"]
        done = failing(calls, error, *words, "--registry", registry.root, log=tmp_path / "log")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{home / 'q.onnx'} cannot be written: " in done.stderr
        assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("calls", "error"),
    [("fsync", "EINVAL"), ("flock", "ENOSYS"), ("flock", "ENOLCK"), ("fsync", "EIO")],
)
def test_a_score_leaves_no_orphan_whatever_cannot_be_done(registry, tmp_path, calls, error):
    publish(registry)
    home = tmp_path / "home"
    home.mkdir()
    (home / "in.csv").write_text("x,y\n0.5,0.5\n-1,q\n")
    words = ["score", "quadrants", home / "in.csv", home / "out.csv", "--on-error", "skip"]
    done = failing(calls, error, *words, "--registry", registry.root, log=tmp_path / "log")
    names = sorted(path.name for path in home.iterdir())
    if error == "EIO":
        assert done.returncode == 1
        assert "out.csv cannot be written: fsync: Input/output error (EIO)." in done.stderr
        assert names == ["in.csv"]
        return
    assert done.returncode == 0, done.stderr
    assert f"The file system does not support {calls}" in done.stderr
    assert names == ["in.csv", "out.csv", "out.rejected.csv"]
    assert (home / "out.csv").read_text().splitlines()[1].startswith("0.5,0.5,I,")


def test_a_score_whose_directory_cannot_be_flushed_is_there_and_said_to_be(registry, tmp_path):
    publish(registry)
    home = tmp_path / "home"
    home.mkdir()
    (home / "in.csv").write_text("x,y\n0.5,0.5\n")
    words = ["score", "quadrants", home / "in.csv", home / "out.csv"]
    done = failing(
        "fsync", "EINVAL", *words, "--registry", registry.root, log=tmp_path / "log", path=home
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "does not support fsync of a directory (EINVAL)" in done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["in.csv", "out.csv"]


def test_a_ledger_without_fsync_or_locks_is_written_with_a_warning(registry, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'name = "q"\n[data]\nkind = "quadrants"\npoints = 200\n[gate]\naccuracy = 0\n'
        "better_than_majority = false\n"
        "[network]\nmax_iter = 5\nhidden_layer_sizes = [2]\n[search]\nfolds = 2\n"
        "space = { alpha = [0.0, 0.1] }\n"
    )
    ledger = tmp_path / "q.jsonl"
    words = ["search", path, "--ledger", ledger, "--registry", registry.root]
    done = failing("fsync,flock", "ENOSYS", *words, log=tmp_path / "log")
    assert done.returncode == 0, done.stderr
    assert "does not support flock (ENOSYS)" in done.stderr
    assert len([json.loads(line) for line in ledger.read_text().splitlines()]) == 5
    assert Registry(registry.root).target("q").version == 1
