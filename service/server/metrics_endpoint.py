"""The port on which Prometheus collects the metrics."""

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from service.net import address
from service.net.address import CannotListen
from service.telemetry.metrics import REGISTRY


def expose_metrics(host: str, port: int, collector: Collector | None = None) -> int:
    """Answer Prometheus on this port, in a thread; return the port.

    The metrics are those of this process, or of the collector.

    Raises
    ------
    CannotListen
        If the port cannot be listened on.
    """
    registry = REGISTRY
    if collector is not None:
        registry = CollectorRegistry()
        registry.register(collector)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise CannotListen(
            f"{address.join(host, port)} cannot be listened on for metrics: {error.strerror}. "
            "Choose another with --metrics-port or --metrics-host."
        ) from error
    return int(server.server_port)
