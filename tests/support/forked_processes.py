"""Programs that fork: run in a separate interpreter, which has one thread and no pytest."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.serving import ROOT


def run(module, *arguments, under=(), timeout=300):
    """Run the module, and return its output, parsed as JSON; kill its child processes too."""
    process = subprocess.Popen(
        [*under, sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (process.returncode, errors) == (0, "")
    return json.loads(output)


@contextmanager
def memory(otherwise):
    """Yield a directory in memory if possible: a killed process loses no data there."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else otherwise) as name:
        yield Path(name)


def forked(work, *arguments):
    """Do the work in a child process; return its id, and a pipe with the result."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    status = 1
    try:
        os.close(read)
        returned = work(*arguments)
        if returned is not None:
            os.write(write, json.dumps(returned).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - it must not return into the parent
        traceback.print_exc()
    finally:
        os._exit(status)


def result(pid, pipe):
    """Wait for the end of the process, and return its result."""
    with os.fdopen(pipe, "rb") as file:
        text = file.read()
    assert os.waitpid(pid, 0)[1] == 0, "a process has failed"
    return json.loads(text) if text else None
