"""Kill processes that publish, change aliases or collect garbage, at every step on the disk.

    python -m tests.support.killed_processes DIRECTORY steps WORK PART PARTS REPEAT
    python -m tests.support.killed_processes DIRECTORY moments WORK TRIES
    python -m tests.support.killed_processes DIRECTORY calls WORK

runs one row of the table `WORKS` in forked processes, kills each at another step or moment, checks
the registry, and prints a report as JSON; or only prints the system calls. The calls are real: a
wrapper around each sends SIGKILL to its own process. The invariants after a kill are asserted here,
while a reader process checks the registry all the time.
"""

import gc
import io
import itertools
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from quadnet.registry import (
    Registry,
    alias_changes,
    atomic_files,
    garbage_collection,
    integrity_check,
    tombstones,
)
from tests.support.exact_models import SELF_TEST_INPUTS, exact_predictor, record
from tests.support.forked_processes import forked, result

MODEL = "quadrants"
POINTS = np.random.default_rng(0).uniform(-1, 1, (20, 2))
ANSWERS = exact_predictor().predict(POINTS)
GC = garbage_collection.RetentionPolicy(newest=1, days=0, generations=2, grace=0)


class KillingCalls:
    """Wraps every system call of this process that changes or flushes the disk.

    It records the calls as (name, path or paths), and kills the process at the chosen call: before
    it, after it, or, for a write, after half of it.
    """

    def __init__(self, at=None, moment="before"):
        self.calls = []
        self.at, self.moment = at, moment

    def install(self):
        for name in ("mkdir", "rmdir", "chmod", "unlink", "rename", "link"):
            setattr(os, name, self._around(name, getattr(os, name), str))
        for name in ("fchmod", "fsync"):
            setattr(os, name, self._around(name, getattr(os, name), path_of))
        really_open = io.open

        def wrapped(path, mode="r", *args, **options):
            if mode in {"r", "rb"}:
                return really_open(path, mode, *args, **options)
            assert mode == "xb"
            return io.BufferedWriter(
                self._call("create", str(path), lambda: KillingFile(path, self))
            )

        io.open = wrapped
        return self

    def write(self, path, content, act):
        half = content[: len(content) // 2]
        return self._call("write", path, lambda: act(content), lambda: act(half))

    def _call(self, name, path, act, half=None):
        mine = len(self.calls) == self.at
        self.calls.append((name, path))
        if mine and self.moment == "before":
            kill_this_process()
        if mine and self.moment == "halfway":
            half()
            kill_this_process()
        try:
            return act()
        finally:
            if mine:
                kill_this_process()

    def _around(self, name, real, describe):
        def wrapped(path, *args, **options):
            shown = describe(path)
            if options.get("dir_fd") is not None:
                shown = str(Path(path_of(options["dir_fd"]), path))
            if name in {"rename", "link"}:
                shown = (shown, str(args[0]))
            return self._call(name, shown, lambda: real(path, *args, **options))

        return wrapped


class KillingFile(io.FileIO):
    """A file whose writes can kill the process."""

    def __init__(self, path, switch):
        super().__init__(path, "xb")
        self._switch = switch

    def write(self, content):
        return self._switch.write(str(self.name), bytes(content), super().write)


def kill_this_process():
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed, and still alive")


def path_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def publish(registry):
    predictor = exact_predictor()
    return registry.publish(
        MODEL,
        predictor,
        record(predictor),
        SELF_TEST_INPUTS,
        attachments=lambda version: {"card.md": f"Version {version}.\n".encode()},
    )


def swap(registry):
    changes = {"champion": "candidate", "candidate": "champion"}
    return alias_changes.set_aliases(registry, MODEL, changes, reason="swap")


def roll_back(registry):
    return alias_changes.rollback(registry, MODEL, reason="back")


def sweep(registry):
    for item in list(garbage_collection.find_removable(registry, GC)):
        garbage_collection.remove_item(registry, item, GC)


def make_registry(registry):
    """Make a registry with two versions that have an alias."""
    publish(registry)
    publish(registry)
    alias_changes.set_aliases(registry, MODEL, {"champion": 1, "candidate": 2}, reason="begin")
    swap(registry)


def make_registry_with_litter(registry):
    """Make a registry with two more versions, one of them removable, and the litter of crashes."""
    make_registry(registry)
    publish(registry)
    publish(registry)
    litter = registry.home(MODEL) / ".staging" / "abandoned"
    atomic_files.make_directory(litter)
    atomic_files.write_new_file(litter / "weights.safetensors", b"half")
    atomic_files.write_new_file(
        registry.root / f"{atomic_files.TEMPORARY_PREFIX}abandoned", b"half"
    )


# The work that is killed, and the initial registry; None means that no registry exists.
WORKS = {
    "first": (publish, None),
    "publish": (publish, make_registry),
    "swap": (swap, make_registry),
    "rollback": (roll_back, make_registry),
    "gc": (sweep, make_registry_with_litter),
}


def run_with_kill(work, registry, switch):
    switch.install()
    work(registry)


class Reader:
    """A process that loads the champion repeatedly, and fails on anything incomplete.

    A symbolic link points to the registry that it reads.
    """

    def __init__(self, link):
        self._link = link
        stopped, self._stop = os.pipe()
        self._process = forked(self._read, stopped)
        os.close(stopped)

    def _read(self, stopped):
        os.close(self._stop)
        os.set_blocking(stopped, False)
        os.nice(10)  # leaves the processor to the killed process and the checks
        loads = 0
        while not is_closed(stopped) or loads == 0:
            registry = Registry(self._link.readlink())
            assert is_complete(registry.load(MODEL, registry.target(MODEL).version))
            loads += 1
        return loads

    def stop(self):
        """Stop the process, and return the number of its loads."""
        os.close(self._stop)
        return result(*self._process)


class Forker:
    """A process that only forks the processes to kill.

    After a fork, both sides copy every page that they write to. This process writes to few pages.
    """

    def __init__(self, work):
        self._socket, other = socket.socketpair()
        self._process = forked(self._serve, work, other)
        other.close()

    def kill(self, registry, at, moment, wait):
        """Start the work, kill it at its chosen call or after so many seconds.

        Returns the exit status of the process.
        """
        self._socket.send(json.dumps([str(registry.root), at, moment, wait]).encode())
        return int.from_bytes(self._socket.recv(4), "big")

    def stop(self):
        self._socket.close()
        result(*self._process)

    def _serve(self, work, other):
        self._socket.close()
        while order := other.recv(4096):
            root, at, moment, wait = json.loads(order)
            pid, pipe = forked(run_with_kill, work, Registry(Path(root)), KillingCalls(at, moment))
            os.close(pipe)
            if wait is not None:
                until = time.perf_counter() + wait
                while time.perf_counter() < until:
                    pass
                os.kill(pid, signal.SIGKILL)
            other.send(os.waitpid(pid, 0)[1].to_bytes(4, "big"))


def is_closed(pipe):
    """Return whether the other end of the pipe is closed."""
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def is_complete(model):
    return (model.predictor.predict(POINTS) == ANSWERS).all()


def versions_of(aliases):
    return {alias: target.version for alias, target in aliases.aliases.items()}


def check_invariants(registry, allowed):
    """Assert the invariants after a kill; return the aliases."""
    aliases = versions_of(registry.aliases(MODEL))
    assert aliases in allowed, (aliases, allowed)
    versions = registry.versions(MODEL)
    if not (registry.root / "registry.json").exists():
        assert versions == []
        return aliases
    looked_at = list(integrity_check.verify_registry(registry, MODEL))
    assert [checked.problem for checked in looked_at] == [None] * (len(versions) + 1), looked_at
    assert all(is_complete(checked.loaded) for checked in looked_at if checked.loaded)
    return aliases


def check_recovery(registry):
    """Assert that a publisher succeeds with a new number, and that gc removes all litter."""
    taken = registry.version_numbers(MODEL)
    assert publish(registry).manifest.version == max(taken, default=0) + 1
    sweep(registry)
    assert list_litter(registry) == []
    assert registry.version_numbers(MODEL) == [*taken, max(taken, default=0) + 1]


def list_litter(registry):
    """Return all files except those of versions, tombstones and generations."""
    home = registry.home(MODEL)
    rubbish = [*home.glob(".staging/*"), *home.glob(".trash/*")]
    for name in (f"{atomic_files.TEMPORARY_PREFIX}*", f"{tombstones.MARK_PREFIX}*"):
        rubbish += registry.root.rglob(name)
    for version in registry.version_numbers(MODEL):
        directory = registry.path(MODEL, version)
        if tombstones.is_removed(directory) and atomic_files.list_names(directory) != [
            tombstones.TOMBSTONE_NAME
        ]:
            rubbish.append(directory)
    return rubbish


class KillSequence:
    """A sequence of registries, each for one kill, and the reader of all of them."""

    def __init__(self, directory, name):
        self.directory = directory
        self.name = name
        self.work, begin_one = WORKS[name]
        self.template = Registry(directory / "template")
        self.names = itertools.count()
        self.reader = None
        if begin_one:
            begin_one(self.template)
            (directory / "current").symlink_to(self.template.root)
            self.reader = Reader(directory / "current")
        self.killer = Forker(self.work)

    def new_registry(self):
        """Make a registry, and point the reader at it."""
        root = self.directory / f"registry-{next(self.names)}"
        if self.reader:
            # Files never change, so links can replace copies. The previous registry remains,
            # because the reader may still read it.
            shutil.copytree(self.template.root, root, copy_function=os.link)
            link = self.directory / "next"
            link.symlink_to(root)
            link.rename(self.directory / "current")
        return Registry(root)

    def kill(self, at=None, moment="", wait=None):
        """Kill a process at work, and check; return whether it was killed, and the change."""
        registry = self.new_registry()
        before = versions_of(registry.aliases(MODEL))
        status = self.killer.kill(registry, at, moment, wait)
        assert status in (0, signal.SIGKILL), status
        after = check_invariants(registry, (before, self.aliases_after(before)))
        check_recovery(registry)
        return status != 0, after != before

    def aliases_after(self, before):
        """Return the aliases after the work."""
        if self.name == "swap":
            return {"champion": before["candidate"], "candidate": before["champion"]}
        if self.name == "rollback":
            return before | {"champion": 1}
        return before

    def record_calls(self):
        """Return the system calls of the work without a kill."""
        switch = KillingCalls()

        def tell(registry):
            run_with_kill(self.work, registry, switch)
            return switch.calls

        return result(*forked(tell, self.new_registry()))


def kill_at_steps(sequence, part, parts, repeat):
    """Kill before, halfway through and after every step of this part, `repeat` times each."""
    calls = sequence.record_calls()
    if sequence.name == "first":
        # The steps from the staging directory on are those of "publish".
        staged = next(i for i, (_, path) in enumerate(calls) if "/.staging/" in path)
        calls = calls[:staged]
    moments = {"write": ("before", "halfway", "after")}
    plan = [
        (at, moment)
        for at in range(part, len(calls), parts)
        for moment in moments.get(calls[at][0], ("before", "after"))
    ]
    plan *= repeat
    random.Random(part).shuffle(plan)
    done, moved = Counter(), Counter()
    for at, moment in plan:
        killed, changed = sequence.kill(at, moment)
        assert killed, (at, moment, calls[at])
        done[at] += 1
        moved[changed] += 1
    return {"steps": len(done), "fewest": min(done.values()), "moved": moved[True]}


def kill_at_moments(sequence, times):
    """Kill after a random number of microseconds, until so many were killed."""
    rng, longest, done = random.Random(0), 0.02, Counter()
    for _ in range(10 * times):
        killed, changed = sequence.kill(wait=rng.uniform(0, longest))
        done[killed, changed] += 1
        # Most processes are killed, some of them shortly before their end.
        longest *= 1.02 if killed else 0.9
        if done[True, True] + done[True, False] == times:
            break
    return {"killed": done[True, True] + done[True, False], "moved": done[True, True]}


def main():
    directory, what, name, *numbers = sys.argv[1:]
    # Python's garbage collection would make every forked process copy all pages.
    gc.freeze()
    sequence = KillSequence(Path(directory), name)
    acts = {"steps": kill_at_steps, "moments": kill_at_moments}
    report = (
        sequence.record_calls() if what == "calls" else acts[what](sequence, *map(int, numbers))
    )
    sequence.killer.stop()
    loads = sequence.reader.stop() if sequence.reader else 0
    print(json.dumps({"loads": loads, "report": report}))


if __name__ == "__main__":
    main()
