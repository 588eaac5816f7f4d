"""A line in the log for each call."""

from collections.abc import Sequence

import structlog

from service.rpc.call import Call

_log = structlog.get_logger(__name__)


class AccessLog:
    """Logs what was asked, by whom, and how it went."""

    def enter(self, ended: Sequence[Call], in_flight: int) -> None:
        """Log these calls."""
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
