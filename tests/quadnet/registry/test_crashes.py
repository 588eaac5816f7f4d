"""A process killed at any step leaves complete data, and others can work afterwards.

The kills are real: see `tests.support.killed_processes`. Power loss cannot be tested. Instead, the
tests check the order of system calls, which determines the content of the disk after a power loss.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.support import forked_processes


@pytest.fixture
def directory(tmp_path):
    with forked_processes.memory(tmp_path) as path:
        yield path


def killing(directory, *command, under=()):
    said = forked_processes.run("tests.support.killed_processes", directory, *command, under=under)
    return said["report"], said["loads"]


# Each step is killed before and after, 25 times each; a write also halfway.
PARTS = {"first": 4, "publish": 3, "gc": 3, "swap": 1, "rollback": 1}


@pytest.mark.parametrize(
    ("work", "part"), [(work, part) for work, parts in PARTS.items() for part in range(parts)]
)
def test_a_kill_at_any_step_leaves_all_whole_and_work_goes_on(directory, work, part):
    report, loads = killing(directory, "steps", work, part, PARTS[work], 25)
    assert report["fewest"] >= 50
    assert report["steps"] * PARTS[work] >= {"first": 28, "publish": 23, "gc": 18}.get(work, 8)
    if work in {"swap", "rollback"}:
        # The map was the old one before the link, and the new one after it.
        assert 0 < report["moved"] < report["steps"] * 50
    if work != "first":
        assert loads > 0


@pytest.mark.parametrize(("work", "times"), [("publish", 80), ("swap", 60), ("gc", 60)])
def test_a_kill_at_any_moment_leaves_all_whole_and_work_goes_on(directory, work, times):
    report, loads = killing(directory, "moments", work, times)
    assert report["killed"] == times
    assert loads > 0


def positions(calls, name, pattern):
    """Return the positions of a call on a path (or on two, with " -> ")."""
    return [
        i
        for i, (called, path) in enumerate(calls)
        if called == name
        and re.search(pattern, path if isinstance(path, str) else " -> ".join(path))
    ]


def only(calls, name, pattern):
    found = positions(calls, name, pattern)
    assert len(found) == 1, (name, pattern, found)
    return found[0]


@pytest.mark.parametrize("work", ["first", "publish"])
def test_a_version_is_on_the_disk_before_it_appears_and_before_success_is_told(directory, work):
    calls, _ = killing(directory, "calls", work)
    files = [path for name, path in calls if name == "create" and "/.staging/" in path]
    assert {Path(path).name for path in files} == {
        "weights.safetensors", "selftest.safetensors", "card.md", "manifest.json"
    }  # fmt: skip
    appeared = only(calls, "rename", r"/\.staging/\S+ -> \S+/versions/\d{6}$")
    staging = str(Path(files[0]).parent)
    flushed = only(calls, "fsync", f"^{staging}$")
    for path in files:
        create, write = only(calls, "create", path), positions(calls, "write", path)
        readable, synced = only(calls, "fchmod", path), only(calls, "fsync", path)
        assert create < write[0] <= write[-1] < readable < synced < flushed < appeared
    # The manifest is the last file.
    assert only(calls, "create", "manifest.json") > max(
        only(calls, "fsync", path) for path in files if "manifest" not in path
    )
    assert appeared < positions(calls, "fsync", "/versions$")[-1] == len(calls) - 1


def test_a_new_registry_is_on_the_disk_directory_by_directory(directory):
    calls, _ = killing(directory, "calls", "first")
    marker = only(calls, "link", r"/\.new-\S+ -> \S+/registry\.json$")
    temporary = calls[marker][1][0]
    root = str(Path(temporary).parent)
    assert only(calls, "fsync", temporary) < marker < positions(calls, "fsync", f"{root}$")[0]
    versioned = only(calls, "rename", r"/versions/\d{6}$")
    for child in ("", "/models", "/models/quadrants", "/models/quadrants/versions"):
        made = only(calls, "rename", rf"/\.new-\S+ -> {root}{child}$")
        parent = str(Path(root + child).parent)
        assert any(made < i < versioned for i in positions(calls, "fsync", f"^{parent}$")), child
        assert only(calls, "chmod", f"^{calls[made][1][0]}$") < made


@pytest.mark.parametrize("work", ["swap", "rollback"])
def test_a_change_of_aliases_is_on_the_disk_before_it_counts_and_is_told(directory, work):
    calls, _ = killing(directory, "calls", work)
    linked = only(calls, "link", r"/aliases/\.new-\S+ -> \S+/aliases/00000003\.json$")
    temporary = calls[linked][1][0]
    order = [only(calls, name, temporary) for name in ("create", "write", "fchmod", "fsync")]
    assert order == sorted(order)
    assert order[-1] < linked < only(calls, "fsync", "/aliases$") == len(calls) - 1


def test_a_tombstone_is_on_the_disk_before_what_it_stands_for_goes(directory):
    calls, _ = killing(directory, "calls", "gc")
    laid = only(calls, "rename", r"/000003/\.doomed-\S+ -> \S+/000003/TOMBSTONE\.json$")
    assert only(calls, "fsync", calls[laid][1][0]) < laid
    flushed = positions(calls, "fsync", "/000003$")
    gone = positions(calls, "unlink", r"/000003/")
    assert len(gone) == 4
    assert laid < flushed[0] < gone[0] <= gone[-1] < flushed[1]


TRACED = {
    "openat": "create",
    "mkdirat": "mkdir", "renameat": "rename", "renameat2": "rename", "linkat": "link",
    "unlinkat": "unlink", "fchmodat": "chmod", "fchmodat2": "chmod", "pwrite64": "write",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("work", ["first", "publish", "swap", "gc"])
def test_no_system_call_escapes_the_switch(directory, tmp_path, work):
    trace = tmp_path / "trace"
    names = (
        "openat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,"
        "unlinkat,rmdir,chmod,fchmod,fchmodat,write,pwrite64,writev,ftruncate,truncate,fallocate,"
        "fsync,fdatasync,sync_file_range,utimensat"
    )
    strace = ["strace", "-ff", "-y", "-s", "0", "-o", trace, "-e", f"trace={names}"]
    try:
        calls, _ = killing(directory, "calls", work, under=strace)
    except AssertionError as error:
        if "ptrace" in str(error):
            pytest.skip("no process may be traced here")
        raise
    # One trace per process; one of them did the work.
    seen = [traced(path.read_text(), directory) for path in tmp_path.glob("trace.*")]
    assert [name for name, _ in calls] in seen


def traced(text, directory):
    """Return the names of the calls in a trace that change or flush what is in the directory."""
    names = []
    for line in text.splitlines():
        name = line.partition("(")[0]
        if str(directory) not in line or (name == "openat" and "O_CREAT" not in line):
            continue
        if name == "unlinkat" and "AT_REMOVEDIR" in line:
            name = "rmdir"
        names.append(TRACED.get(name, name))
    return names
