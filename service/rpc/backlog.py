"""Calls that gRPC has received and the server has not begun.

grpcio's asyncio server takes one call at a time out of gRPC's core. All others lie in a queue
there, which no policy sees. gRPC's own count of the calls that have arrived tells how long it is.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

from service.rpc.open_calls import OpenCalls
from service.telemetry import metrics

_SECONDS_BETWEEN_SAMPLES = 0.05
"""To ask gRPC takes a third of a millisecond, so this costs less than 1 % of a busy server."""


class _Sample(NamedTuple):
    """At `time`, the calls up to number `arrived` had arrived."""

    time: float
    arrived: int


class Backlog:
    """Measures how long calls wait inside gRPC, to about 50 milliseconds.

    Must be made right after its server.

    Attributes
    ----------
    waiting : int
        How many calls waited a moment ago.
    """

    def __init__(self) -> None:
        servers = ChannelzServicer.GetServers(channelz_pb2.GetServersRequest(), None).server
        self._server_id = max(server.ref.server_id for server in servers)
        self._begun = 0
        self._open = OpenCalls()
        self.waiting = 0
        self._samples: deque[_Sample] = deque()
        self._due: asyncio.TimerHandle | None = None

    def begin(self) -> float:
        """Count the call that begins in this task; return for how many seconds it has waited."""
        self._begun += 1
        self._open.add()
        loop = asyncio.get_running_loop()
        if self._due is None:
            self._due = loop.call_later(_SECONDS_BETWEEN_SAMPLES, self._sample)
        samples = self._samples
        while samples and samples[0].arrived < self._begun:
            samples.popleft()
        return loop.time() - samples[0].time if samples else 0.0

    def close(self) -> None:
        """Stop measuring."""
        if self._due is not None:
            self._due.cancel()

    def _sample(self) -> None:
        request = channelz_pb2.GetServerRequest(server_id=self._server_id)
        data = ChannelzServicer.GetServer(request, None).server.data
        ended = data.calls_succeeded + data.calls_failed
        # The two counts are not taken at the same moment: a few calls more or less.
        self.waiting = waiting = max(0, data.calls_started - ended - self._open.n)
        metrics.CALLS_WAITING.set(waiting)
        loop = asyncio.get_running_loop()
        if waiting:
            self._samples.append(_Sample(loop.time(), self._begun + waiting))
        else:
            self._samples.clear()
        idle = not self._open.n and not waiting
        self._due = None if idle else loop.call_later(_SECONDS_BETWEEN_SAMPLES, self._sample)
