"""The port on which Prometheus collects the metrics."""

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from quadnet.errors import ErrorKind
from service.net.address import CannotListen, join_address
from service.telemetry.metrics import REGISTRY


def expose_metrics(host: str, port: int, collector: Collector | None = None) -> int:
    """Serve the metrics over HTTP on this port, in a thread; return the port.

    Parameters
    ----------
    host : str
    port : int
        0 for a port that the system chooses.
    collector : Collector, optional
        Collects the metrics; without it, those of this process are served.

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
            f"{join_address(host, port)} cannot be listened on for metrics: {error.strerror}.",
            kind=ErrorKind.METRICS_ADDRESS,
        ) from error
    return int(server.server_port)
