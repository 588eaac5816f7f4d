"""The standard health service, whose watches can be ended.

A client that watches keeps its call open for good; without an end to that, a server that stops
would wait for it until its grace is over.
"""

import threading
from typing import Any

from grpc_health.v1 import health, health_pb2

Status = health_pb2.HealthCheckResponse.ServingStatus


class HealthServicer(health.HealthServicer):
    """grpc.health.v1 for a fixed set of names, all of one status.

    Parameters
    ----------
    names : sequence of str
        The services that can be asked for; "" is the server as a whole.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._names = names
        self._watches: set[Any] = set()
        self._watches_lock = threading.Lock()
        self._serving: bool | None = None
        # The library starts with "" as SERVING, which is not true before a version is loaded.
        self.report(serving=False)

    def report(self, *, serving: bool) -> None:
        """Tell whether the server is serving; only changes are sent to those who watch."""
        if serving is self._serving:
            return
        self._serving = serving
        for name in self._names:
            self.set(name, Status.SERVING if serving else Status.NOT_SERVING)

    def Watch(  # noqa: N802 - the name in the .proto
        self, request: Any, context: Any, send_response_callback: Any = None
    ) -> Any:
        """Send the status now and whenever it changes, until the caller or `end_watches` ends it.

        The server hands over the callback because the library marks this method as non-blocking:
        a watch holds no thread.
        """
        with self._watches_lock:
            self._watches.add(send_response_callback)
        context.add_callback(lambda: self._forget(send_response_callback))
        return super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        """End every watch that is open."""
        with self._watches_lock:
            watches = tuple(self._watches)
        for send_response_callback in watches:
            send_response_callback(None)

    def _forget(self, send_response_callback: Any) -> None:
        with self._watches_lock:
            self._watches.discard(send_response_callback)
