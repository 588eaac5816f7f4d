"""Counts and times every call for the metrics."""

from collections import Counter
from collections.abc import Sequence

from service.rpc.call import Call
from service.telemetry import metrics


class Measurement:
    """Updates the metrics of calls, points and seconds by method, and of calls in flight."""

    def record(self, ended: Sequence[Call], in_flight: int) -> None:
        """Count the ended calls."""
        metrics.CALLS_IN_FLIGHT.set(in_flight)
        calls: Counter[tuple[str, str]] = Counter()
        points: Counter[str] = Counter()
        for call in ended:
            calls[call.method, call.status.name] += 1
            points[call.method] += call.points
            metrics.CALL_SECONDS.labels(call.method).observe(call.seconds)
            metrics.CALL_WAIT_SECONDS.labels(call.method).observe(call.waited)
        for labels, n in calls.items():
            metrics.CALLS.labels(*labels).inc(n)
        for method, n in points.items():
            metrics.POINTS.labels(method).inc(n)
