"""What the server measures, declared once: name, meaning, labels.

With several workers each writes its numbers into files, in the directory that the environment
names before this module is imported, and their supervisor sums them up. The table in REFERENCE.md
is made from what is declared here.
"""

from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    multiprocess,
    start_http_server,
)

from service import address
from service.address import CannotListen

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells prometheus_client where several processes write their numbers."""

REGISTRY = CollectorRegistry()

_BUCKETS = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip


def _gauge(
    name: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    *,
    together: Literal["livesum", "livemax", "livemin"] = "livemax",
) -> Gauge:
    return Gauge(name, meaning, labels, registry=REGISTRY, multiprocess_mode=together)


CALLS = Counter(
    "quadnet_calls", "Calls that ended, by how.", ("method", "status"), registry=REGISTRY
)
SECONDS = Histogram(
    "quadnet_call_seconds",
    "From a call's beginning in the server until its answer was handed to gRPC.",
    ("method",),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
WAIT_SECONDS = Histogram(
    "quadnet_call_wait_seconds",
    "From a call's arrival in gRPC until the server began it, to about 0.05 s.",
    ("method",),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
WAITING = _gauge(
    "quadnet_calls_waiting",
    "Calls that gRPC has received and the server has not begun.",
    together="livesum",
)
POINTS = Counter("quadnet_points", "Rows that were answered.", ("method",), registry=REGISTRY)
IN_FLIGHT = _gauge("quadnet_calls_in_flight", "Calls begun and not ended.", together="livesum")
SHED = Counter(
    "quadnet_calls_shed", "Calls refused because too many were in progress.", registry=REGISTRY
)
VERSION = _gauge(
    "quadnet_model_version", "The version that answers for an alias.", ("model", "alias")
)
LOAD_SECONDS = _gauge(
    "quadnet_model_load_seconds",
    "How long it took to load and verify that version.",
    ("model", "alias"),
)
LOADED = _gauge("quadnet_model_loaded_timestamp_seconds", "When it was loaded.", ("model", "alias"))
LOAD_FAILURES = Counter(
    "quadnet_model_load_failures",
    "Times that a version was not taken, because its files or its self-test failed.",
    ("model",),
    registry=REGISTRY,
)
FAILING = _gauge(
    "quadnet_model_failing",
    "1 while the version that an alias points to is not the one that answers.",
    ("model", "alias"),
)
CERTIFICATE_EXPIRY = _gauge(
    "quadnet_tls_certificate_expiry_timestamp_seconds",
    "When the first of a file's certificates expires.",
    ("file",),
    together="livemin",
)
LINES_DROPPED = Counter(
    "quadnet_log_lines_dropped",
    "Lines of the log given up because whoever reads it is too slow.",
    registry=REGISTRY,
)
WORKER_RESTARTS = Counter(
    "quadnet_worker_restarts", "Workers replaced because they died.", registry=REGISTRY
)


def expose(host: str, port: int, *, directory: str | None = None) -> int:
    """Answer Prometheus on a port of its own, in a thread; return the port.

    The numbers are this process's, or all workers', which write them into `directory`.

    Raises
    ------
    CannotListen
        If the port cannot be listened on.
    """
    registry = REGISTRY
    if directory is not None:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise CannotListen(
            f"{address.join(host, port)} cannot be listened on for metrics: {error.strerror}. "
            "Choose another with --metrics-port or --metrics-host."
        ) from error
    return int(server.server_port)
