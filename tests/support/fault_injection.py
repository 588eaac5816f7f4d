"""A server whose file operations hang or fail on command, and a log of the files that it opens.

Python calls an audit hook before it opens a file or lists a directory. The hook, which
`sitecustomize` sets in the server's own process, opens a FIFO without a writer: a system call
that does not return, as on a network file system whose server is down.
"""

import os
import shutil
from pathlib import Path

_HOOK = """
import os, sys

HOME = {home!r}

def pattern(name):
    try:
        with open(f"{{HOME}}/{{name}}") as file:
            return file.read()
    except FileNotFoundError:
        return None

def note(name, path):
    descriptor = os.open(f"{{HOME}}/{{name}}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (path + "\\n").encode())
    os.close(descriptor)

def hook(event, args):
    if event not in ("open", "os.listdir", "os.scandir") or not args:
        return
    path = os.fspath(args[0]) if isinstance(args[0], (str, os.PathLike)) else ""
    if not path.startswith({root!r}):
        return
    note("opened", path)
    hanging, failing = pattern("hanging"), pattern("failing")
    if hanging is not None and hanging in path:
        note("hung", path)
        os.close(os.open(f"{{HOME}}/gate", os.O_RDONLY))
    if failing is not None and failing in path:
        raise MemoryError

sys.addaudithook(hook)
"""


class Disturbance:
    """Faults of the files of a registry, in servers that are started with `env`."""

    def __init__(self, home, registry):
        self._home = Path(home)
        self._home.mkdir()
        os.mkfifo(self._home / "gate")
        hook = _HOOK.format(home=str(home), root=str(registry.root))
        (self._home / "sitecustomize.py").write_text(hook)
        self.env = {"PYTHONPATH": str(home)}

    def hang(self, part=""):
        """Make all files hang whose path has this part."""
        self._write("hanging", part)

    def fail(self, part):
        """Raise MemoryError for files whose path has this part."""
        self._write("failing", part)

    def end(self):
        """Make all files work again, including those that hang now."""
        for name in ("hanging", "failing"):
            (self._home / name).unlink(missing_ok=True)
        # From now on, new and waiting readers find a writer.
        gate = os.open(self._home / "gate", os.O_RDWR)
        shutil.move(self._home / "gate", self._home / "open-gate")
        os.mkfifo(self._home / "gate")
        return gate

    def opened(self, part=""):
        """Return how often files were opened or directories listed with this part in their path."""
        return self._count("opened", part)

    def hung(self, part=""):
        """Return how many of those operations hung."""
        return self._count("hung", part)

    def _count(self, name, part):
        try:
            lines = (self._home / name).read_text().splitlines()
        except FileNotFoundError:
            return 0
        return sum(part in line for line in lines)

    def _write(self, name, part):
        temporary = self._home / f"{name}.new"
        temporary.write_text(part)
        temporary.rename(self._home / name)
