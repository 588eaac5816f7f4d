"""A server that stops under load ends every call with OK or UNAVAILABLE, in every configuration.

Clients call in a closed loop and do not retry. Each configuration is stopped several times; the
servers of one configuration run at the same time.
"""

import signal
from collections import Counter
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.load import HttpLoad, Load, StreamLoad
from tests.support.serving import ServerProcess

POINTS = np.random.default_rng(0).uniform(-1, 1, (2, 2000))
REQUEST = pb.ClassifyRequest(x=POINTS[0], y=POINTS[1])

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE

SHORT = 3
LONG = 20
AT_ONCE = 3

HTTP_PORT = ("--http-port", "0")

KINDS = [
    *((kind, n, delay) for kind in (Load, StreamLoad) for n in (1, 8) for delay in ("0", "2")),
    # Over HTTP each client has one connection, and the delay changes nothing else.
    (HttpLoad, 8, "0"),
]
IN_SHORT = {(Load, 8, "0"), (Load, 1, "2"), (StreamLoad, 8, "0"), (HttpLoad, 8, "0")}
"""What the short form stops; the long one stops all kinds."""

STOPS = [
    pytest.param(*kind, stops, marks=marks, id=f"{kind[0].__name__}-{kind[1]}-{kind[2]}-{name}")
    for kind in KINDS
    for stops, marks, name in ((SHORT, (), "short"), (LONG, (pytest.mark.long,), "long"))
    if name == "long" or kind in IN_SHORT
]


def stop_under_load(registry, stops, kind, *, options, **load_options):
    """Stop servers under load; count the calls by status, and the details of unexpected errors."""
    ended, unexpected = Counter(), Counter()
    for first in range(0, stops, AT_ONCE):
        with ExitStack() as running:
            servers = [
                running.enter_context(ServerProcess(registry.root, *options))
                for _ in range(min(AT_ONCE, stops - first))
            ]
            loads = [
                running.enter_context(
                    kind(
                        server.url if kind is HttpLoad else server.address, REQUEST, **load_options
                    )
                )
                for server in servers
            ]
            for load in loads:
                load.wait_for(50)
            for i, server in enumerate(servers):
                server.process.send_signal(SIGNALS[(first + i) % len(SIGNALS)])
            for server in servers:
                assert server.process.wait(120) == 0
            for load in loads:
                load.stop()
                ended.update(outcome.code for outcome in load.outcomes)
                unexpected.update(
                    outcome.details
                    for outcome in load.outcomes
                    if outcome.code not in (OK, UNAVAILABLE)
                )
    return ended, unexpected


@pytest.mark.parametrize(("kind", "connections", "delay", "stops"), STOPS)
@pytest.mark.parametrize("leave", [True, False], ids=["leave", "again"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_call_is_lost(
    registry, stops, workers, kind, connections, delay, leave, record_property
):
    publish(registry)
    ended, unexpected = stop_under_load(
        registry,
        stops,
        kind,
        options=("--drain-delay", delay, "--workers", workers, "--log-level", "error", *HTTP_PORT),
        in_flight=8,
        connections=connections,
        leave=leave,
    )
    # For a table of the long test: pytest -m long -k test_drain --junitxml=FILE
    record_property("ended", ", ".join(f"{code.name} {n}" for code, n in ended.most_common()))
    assert ended[OK] >= 50 * stops
    if kind is HttpLoad and workers == "2":
        # The kernel resets a connection that another worker's refusal has caused, if it arrives
        # between a worker's last accept and the end of its listening.
        assert ended.pop(grpc.StatusCode.CANCELLED, 0) <= 2 * stops, unexpected
    assert set(ended) <= {OK, UNAVAILABLE}, unexpected
