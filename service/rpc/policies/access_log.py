"""One log line for each call."""

from collections.abc import Sequence

import structlog

from service.rpc.call import Call

_log = structlog.get_logger(__name__)


class AccessLog:
    """Logs the method, the status, the duration and the caller of each call."""

    def record(self, ended: Sequence[Call], in_flight: int) -> None:
        """Log the ended calls."""
        for call in ended:
            _log.info(
                "call",
                method=call.method,
                status=call.status.name,
                milliseconds=round(call.seconds * 1e3, 3),
                waited_milliseconds=round(call.waited * 1e3),
                points=call.points,
                model=call.model,
                version=call.version,
                peer=call.peer,
                request_id=call.request_id,
            )
