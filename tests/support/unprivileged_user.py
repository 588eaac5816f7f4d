"""Use a registry as an unprivileged user that does not own it.

    python -m tests.support.unprivileged_user DIRECTORY

must be run by root. It becomes that user, and prints the results as JSON.
"""

import json
import os
import sys
from pathlib import Path

from quadnet.errors import QuadnetError
from quadnet.registry import Registry, alias_changes, garbage_collection, integrity_check
from tests.support import exact_models

MODEL = "quadrants"
POLICY = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0, grace=0)


def said(work):
    try:
        return work()
    except QuadnetError as error:
        return f"{type(error).__name__}: {error}"


def sweep(registry):
    return [
        garbage_collection.remove_item(registry, item, POLICY)
        for item in garbage_collection.find_removable(registry, POLICY)
    ]


def main():
    registry = Registry(Path(sys.argv[1]))
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    points = [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
    report = {
        "read": said(
            lambda: registry.load(*registry.resolve(MODEL)).predictor.predict(points).tolist()
        ),
        "verified": said(
            lambda: [checked.problem for checked in integrity_check.verify_registry(registry)]
        ),
        "prepare": said(lambda: registry.prepare(MODEL)),
        "publish": said(lambda: exact_models.publish(registry)),
        "alias": said(lambda: alias_changes.set_aliases(registry, MODEL, {"other": 1}, reason="x")),
        "gc": said(lambda: sweep(registry)),
        "elsewhere": said(lambda: exact_models.publish(Registry(registry.root.parent / "mine"))),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
