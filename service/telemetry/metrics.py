"""What the server measures, declared once: name, meaning, labels.

With several workers each reports its numbers to the supervisor, which sums them up. The table in
docs/reference.md is made from what is declared here.
"""

import operator
from collections.abc import Callable
from typing import Literal, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
)

REGISTRY = CollectorRegistry()

Report = list[tuple[str, str, dict[str, str], float]]
"""A process's numbers: the metric, the sample's name and labels, its value."""

_BUCKETS = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip


_WAYS: dict[str, Callable[[float, float], float]] = {
    "livesum": operator.add,
    "livemax": max,
    "livemin": min,
}
_TOGETHER: dict[str, Callable[[float, float], float]] = {}
"""How the values of several live workers become one, by gauge."""


def _gauge(
    name: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    *,
    together: Literal["livesum", "livemax", "livemin"] = "livemax",
) -> Gauge:
    _TOGETHER[name] = _WAYS[together]
    return Gauge(name, meaning, labels, registry=REGISTRY)


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
    "quadnet_worker_restarts",
    "Workers replaced because they died or did not answer.",
    registry=REGISTRY,
)


def report() -> Report:
    """Return this process's numbers."""
    return [
        (family.name, sample.name, sample.labels, sample.value)
        for family in REGISTRY.collect()
        for sample in family.samples
        # When each process began to count says nothing of their sum.
        if not sample.name.endswith("_created")
    ]


Values = dict[tuple[str, str, tuple[tuple[str, str], ...]], float]
"""Values by metric, sample and labels."""


class Sum:
    """The numbers of several processes together."""

    def __init__(self, values: Values | None = None) -> None:
        self._values = dict(values or {})

    def copy(self) -> Self:
        """Return the same numbers, to which others can be added."""
        return type(self)(self._values)

    def add(self, report: Report, *, gauges: bool = True) -> None:
        """Add a process's numbers; without gauges, what it had counted before it ended."""
        for family, name, labels, value in report:
            if family in _TOGETHER and not gauges:
                continue
            key = family, name, tuple(labels.items())
            known = self._values.get(key)
            together = _TOGETHER.get(family, _WAYS["livesum"])
            self._values[key] = value if known is None else together(known, value)

    def families(self) -> list[Metric]:
        """Return the numbers as Prometheus' library takes them."""
        families = {
            family.name: Metric(family.name, family.documentation, family.type)
            for family in REGISTRY.collect()
        }
        for (family, name, labels), value in self._values.items():
            # A worker may know more: it was started after the package had been upgraded.
            if family in families:
                families[family].add_sample(name, dict(labels), value)
        return list(families.values())
