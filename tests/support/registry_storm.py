"""A storm: many processes publish, move aliases and collect garbage in one registry at once.

    python -m tests.support.registry_storm DIRECTORY PROCESSES ROUNDS SEED

prints the results of each process as JSON. Another process checks the invariants all the time. An
undocumented error ends its process, and with it the storm, with exit code 1.
"""

import gc
import json
import os
import random
import sys
from itertools import islice
from pathlib import Path

import numpy as np

from quadnet.errors import Conflict, NotFound
from quadnet.registry import Registry, alias_changes, garbage_collection, integrity_check
from tests.support.exact_models import SELF_TEST_INPUTS, exact_predictor, record
from tests.support.forked_processes import forked, result

MODEL = "quadrants"
ALIASES = ("champion", "candidate", "canary")
POLICY = garbage_collection.RetentionPolicy(newest=2, days=0, generations=2)


class Worker:
    """One process of the storm, and its results."""

    def __init__(self, registry, number, seed):
        self.registry = registry
        self.rng = random.Random(f"{seed}-{number}")
        self.number = number
        self.report = {"published": {}, "generations": [], "removed": [], "refused": [], "kept": 0}

    def run(self, rounds):
        works = [self.publish, self.move, self.move, self.swap, self.compare, self.roll_back]
        self.publish()
        for _ in range(rounds - 1):
            work = self.rng.choice([*works, self.sweep])
            try:
                work()
            except Conflict as error:
                self.report["refused"].append(f"{work.__name__}: Conflict: {error}")
            except NotFound as error:
                assert work is not self.publish
                self.report["refused"].append(f"{work.__name__}: NotFound: {error}")

    def publish(self):
        # Different from the scale of every other publisher.
        scale = 1.0 + self.number + len(self.report["published"]) / 64
        predictor = exact_predictor(scale)
        model = self.registry.publish(MODEL, predictor, record(predictor), SELF_TEST_INPUTS)
        assert scale_of(model) == scale
        version = model.manifest.version
        assert version not in self.report["published"]
        self.report["published"][version] = scale
        try:
            assert scale_of(self.registry.load(MODEL, version)) == scale
        except NotFound as error:
            assert "it was removed" in str(error)

    def move(self):
        some = self.rng.sample(ALIASES, self.rng.randint(1, len(ALIASES)))
        self._set({alias: self.rng.choice(self.registry.versions(MODEL)) for alias in some})

    def swap(self):
        one, other = self.rng.sample(ALIASES, 2)
        self._set({one: other, other: one})

    def compare(self):
        present = self.registry.aliases(MODEL).generation
        self._set({"canary": "latest"}, expected_generation=present)
        assert self.report["generations"][-1] == present + 1

    def roll_back(self):
        written = alias_changes.rollback(
            self.registry, MODEL, self.rng.choice(ALIASES), reason="storm"
        )
        self.report["generations"].append(written.generation)

    def sweep(self):
        for item in list(garbage_collection.find_removable(self.registry, POLICY)):
            if not garbage_collection.remove_item(self.registry, item, POLICY):
                self.report["kept"] += 1
            elif item.version:
                self.report["removed"].append(item.version)

    def _set(self, changes, **options):
        written = alias_changes.set_aliases(
            self.registry, MODEL, changes, reason="storm", **options
        )
        self.report["generations"].append(written.generation)


def scale_of(model):
    return float(np.abs(model.predictor.network.parameters.weights[0]).max())


def watch(registry, stopped):
    """Check the invariants until the stop signal; return the number of checks."""
    rounds = 0
    os.set_blocking(stopped, False)
    while True:
        try:
            os.read(stopped, 1)
        except BlockingIOError:
            rounds += 1
        else:
            return rounds
        if not registry.versions(MODEL):
            continue
        aliases = registry.aliases(MODEL)
        for alias, target in aliases.aliases.items():
            try:
                assert registry.load(MODEL, target.version).digest == target.manifest_sha256
            except NotFound:
                # It existed for at least two more generations.
                newest = registry.aliases(MODEL)
                assert newest.generation >= aliases.generation + POLICY.generations, alias
                assert target not in newest.aliases.values()
        numbers = [each.generation for each in islice(registry.alias_log(MODEL).history(), 3)]
        assert numbers == sorted(numbers, reverse=True)
        if rounds % 10 == 0:
            for checked in integrity_check.verify_registry(registry):
                assert checked.problem is None, checked


def main():
    directory, processes, rounds, seed = Path(sys.argv[1]), *map(int, sys.argv[2:])
    registry = Registry(directory / "registry")
    gc.freeze()
    stopped, stop = os.pipe()

    def look():
        os.close(stop)
        return watch(registry, stopped)

    watcher = forked(look)
    begun, begin = os.pipe()

    def work(number):
        os.close(begin)
        os.read(begun, 1)  # all at once: when the parent closes the other end
        worker = Worker(registry, number, seed)
        worker.run(rounds)
        return worker.report

    workers = [forked(work, number) for number in range(processes)]
    os.close(begin)
    reports = [result(*worker) for worker in workers]
    os.close(stop)
    print(json.dumps({"looked": result(*watcher), "reports": reports}))


if __name__ == "__main__":
    main()
