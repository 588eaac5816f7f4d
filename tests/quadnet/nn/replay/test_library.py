"""Loading the compiled part of the replay: good files, hostile files, switches, threads, forks.

Each test has a copy of the folder, with a library that the test itself compiles and records.
"""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.support.serving import ROOT

FOLDER = ROOT / "quadnet" / "nn" / "replay"
OTHER_INTERFACE = "int quadnet_replay_abi(void) { return 7; }"
NO_INTERFACE = "int another_function(void) { return 1; }"

# On other systems, the names and the formats of libraries differ.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes libraries for Linux")


def compile_source(source, library, *flags):
    if shutil.which("cc") is None:
        pytest.skip("compiling needs a C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", *flags, source, "-o", library], check=True)


def write_record(folder):
    """Write the record of the files that are there, as `sha256sum replay.so replay.c` does."""
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("replay.so", "replay.c")
    ]
    (folder / "replay.so.sha256").write_text("".join(lines))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("library.py", "replay.c"):
        shutil.copy(FOLDER / name, folder)
    compile_source(folder / "replay.c", folder / "replay.so")
    write_record(folder)
    return folder


@pytest.fixture
def folder(compiled, tmp_path, monkeypatch):
    monkeypatch.delenv("QUADNET_REPLAY", raising=False)
    return Path(shutil.copytree(compiled, tmp_path / "replay"))


def load(folder):
    """Import the copy of library.py in this folder, as a module that has loaded nothing yet."""
    spec = importlib.util.spec_from_file_location("copied_library", folder / "library.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_source_is_plain_c(tmp_path):
    strict = ["-std=c99", "-O2", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    compile_source(FOLDER / "replay.c", tmp_path / "replay.so", *strict)


def test_a_compiled_library_is_used(folder):
    module = load(folder)
    assert module.find_library().quadnet_replay_abi() == module.ABI
    assert module.find_library() is module.find_library()
    assert module.describe() == "compiled"


def test_the_record_is_in_the_format_of_sha256sum(folder):
    subprocess.run(["sha256sum", "--check", "--strict", "replay.so.sha256"], check=True, cwd=folder)


# ---- files that must not be used


def refused(folder):
    """Return why the library in this folder is not used."""
    module = load(folder)
    assert module.find_library() is None
    return module.describe()


NOT_COMPILED = "replay.so is not the file that was compiled. Install Quadnet again."


def test_without_a_library(folder):
    (folder / "replay.so").unlink()
    reason = "replay.so is missing: there was no C compiler when Quadnet was installed."
    assert refused(folder) == reason


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.99])
def test_a_truncated_library(share, folder):
    library = folder / "replay.so"
    os.truncate(library, int(share * library.stat().st_size))
    assert refused(folder) == NOT_COMPILED


def test_a_library_with_one_wrong_bit(folder):
    content = bytearray((folder / "replay.so").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "replay.so").write_bytes(content)
    assert refused(folder) == NOT_COMPILED


def test_random_bytes(folder):
    (folder / "replay.so").write_bytes(os.urandom(20_000))
    assert refused(folder) == NOT_COMPILED
    # Even if a record confirms them.
    write_record(folder)
    assert refused(folder).startswith("replay.so cannot be loaded (")


def test_the_library_of_another_machine(folder):
    content = bytearray((folder / "replay.so").read_bytes())
    machine = {"x86_64": 183, "aarch64": 62}.get(platform.machine(), 62)
    struct.pack_into("<H", content, 18, machine)  # e_machine
    (folder / "replay.so").write_bytes(content)
    write_record(folder)
    reason = refused(folder)
    assert reason.startswith("replay.so cannot be loaded (")
    assert reason.endswith("). Install Quadnet again on this machine.")


def test_a_library_of_an_older_source(folder):
    with (folder / "replay.c").open("a") as source:
        source.write("/* A new comment. */\n")
    assert refused(folder) == "replay.so was compiled from another replay.c. Install Quadnet again."


@pytest.mark.parametrize(("source", "number"), [(OTHER_INTERFACE, 7), (NO_INTERFACE, None)])
def test_a_library_with_another_interface(source, number, folder, tmp_path):
    (tmp_path / "other.c").write_text(source)
    compile_source(tmp_path / "other.c", folder / "replay.so")
    write_record(folder)
    assert refused(folder).startswith(f"replay.so has interface {number}, but this version of ")


@pytest.mark.parametrize("name", ["replay.so", "replay.so.sha256"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_not_a_file(name, make, folder):
    (folder / name).unlink()
    make(folder / name)
    reason = "replay.so and replay.so.sha256 must both be files. Install Quadnet again."
    assert refused(folder) == reason


@pytest.mark.parametrize("record", [b"", b"\xff\x00\n", b"no digest  replay.so\n"])
def test_a_record_that_confirms_nothing(record, folder):
    (folder / "replay.so.sha256").write_bytes(record)
    assert refused(folder) == NOT_COMPILED


def test_a_library_without_a_record(folder):
    (folder / "replay.so.sha256").unlink()
    assert refused(folder).startswith("replay.so and replay.so.sha256 must both be files.")


# The other user may not be able to read Python's own modules, so all are imported first.
UNPRIVILEGED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import library
if os.geteuid() == 0:
    os.setuid(65534)
print(library.find_library(), library.describe())
"""


@pytest.mark.parametrize("name", ["replay.so", "replay.so.sha256", "replay.c"])
def test_a_file_that_cannot_be_read(name, folder):
    # pytest's own folders cannot be entered by another user.
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(shutil.copytree(folder, Path(directory, "replay")))
        for entered in (Path(directory), copy):
            entered.chmod(0o755)
        (copy / name).chmod(0)
        done = run_program(UNPRIVILEGED, copy)
    assert done == (
        "None replay.so cannot be loaded (Permission denied). "
        "Install Quadnet again on this machine.\n"
    )


# ---- the switch


@pytest.mark.parametrize("value", ["", "1"])
def test_the_replay_is_on(value, folder, monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", value)
    module = load(folder)
    assert module.is_enabled()
    assert module.find_library() is not None


def test_the_switch_is_read_for_each_fit(folder, monkeypatch):
    module = load(folder)
    for _ in range(2):
        monkeypatch.setenv("QUADNET_REPLAY", "0")
        assert module.find_library() is None
        assert module.describe() == "switched off: the environment variable QUADNET_REPLAY is 0."
        monkeypatch.delenv("QUADNET_REPLAY")
        assert module.find_library() is not None
        assert module.describe() == "compiled"


@pytest.mark.parametrize("value", ["off", "2", " 0", "true"])
def test_another_value_is_an_error(value, folder, monkeypatch):
    monkeypatch.setenv("QUADNET_REPLAY", value)
    module = load(folder)
    sentence = f"The environment variable QUADNET_REPLAY must be 0 or 1, got {value!r}."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        module.find_library()
    assert module.describe() == sentence


# ---- threads and processes


def test_threads_that_load_at_once_get_the_same_library(folder):
    module = load(folder)
    n_threads = 16
    start = threading.Barrier(n_threads)
    found = []

    def find():
        start.wait(timeout=60)
        library = module.find_library()
        found.append((library._handle, library.quadnet_replay_abi()))

    threads = [threading.Thread(target=find) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == n_threads
    assert len(set(found)) == 1


FORKING = """
import os, sys
sys.path.insert(0, sys.argv[1])
import library

def call_in_child():
    pid = os.fork()
    if not pid:
        os._exit(10 + library.find_library().quadnet_replay_abi())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) - 10

print(call_in_child() == library.ABI)            # the child loads it
print(library.find_library() is not None)
print(call_in_child() == library.ABI)            # the parent has loaded it
"""


def test_processes_that_fork_use_the_library(folder):
    assert run_program(FORKING, folder) == "True\nTrue\nTrue\n"


def run_program(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
