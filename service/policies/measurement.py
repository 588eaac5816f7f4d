"""Every call counted and timed."""

from collections.abc import Sequence

from service import metrics
from service.call import Call


class Measurement:
    """Counts calls, points and seconds by method, and what is in flight."""

    def enter(self, ended: Sequence[Call], in_flight: int) -> None:
        """Count these calls."""
        metrics.IN_FLIGHT.set(in_flight)
        for call in ended:
            metrics.CALLS.labels(call.method, call.status.name).inc()
            metrics.SECONDS.labels(call.method).observe(call.seconds)
            metrics.POINTS.labels(call.method).inc(call.points)
