"""The server's metrics: name, meaning and labels of each.

With several workers, each worker reports its values to the supervisor, which combines them. The
table in docs/reference.md is generated from these declarations.
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

MetricsReport = list[tuple[str, str, dict[str, str], float]]
"""The metrics of one process: for each sample the metric, the sample's name, labels and value."""

_BUCKETS = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip


_COMBINE: dict[str, Callable[[float, float], float]] = {
    "livesum": operator.add,
    "livemax": max,
    "livemin": min,
}
_COMBINE_BY_GAUGE: dict[str, Callable[[float, float], float]] = {}
"""For each gauge, the function that combines the values of two live workers."""


def _gauge(
    name: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    *,
    combine: Literal["livesum", "livemax", "livemin"] = "livemax",
) -> Gauge:
    _COMBINE_BY_GAUGE[name] = _COMBINE[combine]
    return Gauge(name, meaning, labels, registry=REGISTRY)


CALLS = Counter(
    "quadnet_calls", "Calls that ended, by status.", ("method", "status"), registry=REGISTRY
)
CALL_SECONDS = Histogram(
    "quadnet_call_seconds",
    "Seconds from the start of a call in the server until its answer was handed to gRPC.",
    ("method",),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
CALL_WAIT_SECONDS = Histogram(
    "quadnet_call_wait_seconds",
    "Seconds that a call waited inside gRPC before the server started it, within about 0.05 s.",
    ("method",),
    buckets=_BUCKETS,
    registry=REGISTRY,
)
CALLS_WAITING = _gauge(
    "quadnet_calls_waiting",
    "Calls that gRPC has received and the server has not started.",
    combine="livesum",
)
POINTS = Counter("quadnet_points", "Rows that were answered.", ("method",), registry=REGISTRY)
CALLS_IN_FLIGHT = _gauge(
    "quadnet_calls_in_flight", "Calls that have started and not ended.", combine="livesum"
)
CALLS_SHED = Counter("quadnet_calls_shed", "Calls refused because of overload.", registry=REGISTRY)
MODEL_VERSION = _gauge(
    "quadnet_model_version", "Version that is served for the alias.", ("model", "alias")
)
MODEL_LOAD_SECONDS = _gauge(
    "quadnet_model_load_seconds",
    "Seconds that loading and verifying the served version took.",
    ("model", "alias"),
)
MODEL_LOADED_TIMESTAMP = _gauge(
    "quadnet_model_loaded_timestamp_seconds",
    "Unix time at which the served version was loaded.",
    ("model", "alias"),
)
MODEL_LOAD_FAILURES = Counter(
    "quadnet_model_load_failures",
    "Failed attempts to load a version: damaged files, a failed self-test, or another error.",
    ("model",),
    registry=REGISTRY,
)
MODEL_FAILING = _gauge(
    "quadnet_model_failing",
    "1 while the served version is not the one that the alias points to.",
    ("model", "alias"),
)
CERTIFICATE_EXPIRY = _gauge(
    "quadnet_tls_certificate_expiry_timestamp_seconds",
    "Unix time at which the first certificate in the file expires.",
    ("file",),
    combine="livemin",
)
LOG_LINES_DROPPED = Counter(
    "quadnet_log_lines_dropped",
    "Log lines dropped because standard error was read too slowly or could not be written.",
    registry=REGISTRY,
)
WORKER_RESTARTS = Counter(
    "quadnet_worker_restarts",
    "Workers replaced because they died or stopped responding.",
    registry=REGISTRY,
)


def make_report() -> MetricsReport:
    """Return the metrics of this process."""
    return [
        (family.name, sample.name, sample.labels, sample.value)
        for family in REGISTRY.collect()
        for sample in family.samples
        # A sum over processes has no single start time.
        if not sample.name.endswith("_created")
    ]


_Values = dict[tuple[str, str, tuple[tuple[str, str], ...]], float]
"""Values by metric, sample name and labels."""


class MetricsSum:
    """The combined metrics of several processes."""

    def __init__(self, values: _Values | None = None) -> None:
        self._values = dict(values or {})

    def copy(self) -> Self:
        """Return an independent copy."""
        return type(self)(self._values)

    def add(self, report: MetricsReport, *, gauges: bool = True) -> None:
        """Add a report of one process.

        Parameters
        ----------
        report : MetricsReport
        gauges : bool, default=True
            Whether to add gauges. They mean nothing for a process that has ended.
        """
        for family, name, labels, value in report:
            if family in _COMBINE_BY_GAUGE and not gauges:
                continue
            key = family, name, tuple(labels.items())
            previous = self._values.get(key)
            combine = _COMBINE_BY_GAUGE.get(family, _COMBINE["livesum"])
            self._values[key] = value if previous is None else combine(previous, value)

    def families(self) -> list[Metric]:
        """Return the metrics in the form that prometheus_client collects."""
        families = {
            family.name: Metric(family.name, family.documentation, family.type)
            for family in REGISTRY.collect()
        }
        for (family, name, labels), value in self._values.items():
            # A worker that started after an upgrade of the package may report further metrics.
            if family in families:
                families[family].add_sample(name, dict(labels), value)
        return list(families.values())
