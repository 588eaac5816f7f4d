"""Calls that gRPC has received and the server has not started.

grpcio's asyncio server takes one call at a time out of gRPC's core. All others wait there in a
queue that no policy sees. The length of the queue follows from gRPC's own count of arrived calls.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

from service.rpc.open_calls import OpenCalls
from service.telemetry import metrics

_SECONDS_BETWEEN_SAMPLES = 0.05
"""A sample takes a third of a millisecond, so this costs less than 1 % of a busy server's time."""


class _Sample(NamedTuple):
    """At `time`, the calls up to number `arrived` had arrived."""

    time: float
    arrived: int


class Backlog:
    """Measures how long calls wait inside gRPC, accurate to about 50 milliseconds.

    Must be created right after its server, because it watches the newest server.

    Attributes
    ----------
    waiting : int
        Number of waiting calls at the last sample.
    """

    def __init__(self) -> None:
        servers = ChannelzServicer.GetServers(channelz_pb2.GetServersRequest(), None).server
        self._server_id = max(server.ref.server_id for server in servers)
        self._started = 0
        self._open = OpenCalls()
        self.waiting = 0
        self._samples: deque[_Sample] = deque()
        self._due: asyncio.TimerHandle | None = None

    def start_call(self) -> float:
        """Count the call that starts in this task; return how many seconds it has waited."""
        self._started += 1
        self._open.add()
        loop = asyncio.get_running_loop()
        if self._due is None:
            self._due = loop.call_later(_SECONDS_BETWEEN_SAMPLES, self._sample)
        samples = self._samples
        while samples and samples[0].arrived < self._started:
            samples.popleft()
        return loop.time() - samples[0].time if samples else 0.0

    def close(self) -> None:
        """Stop sampling."""
        if self._due is not None:
            self._due.cancel()

    def _sample(self) -> None:
        request = channelz_pb2.GetServerRequest(server_id=self._server_id)
        data = ChannelzServicer.GetServer(request, None).server.data
        ended = data.calls_succeeded + data.calls_failed
        # The two counts are not taken at the same moment, so the difference is approximate.
        self.waiting = waiting = max(0, data.calls_started - ended - self._open.n)
        metrics.CALLS_WAITING.set(waiting)
        loop = asyncio.get_running_loop()
        if waiting:
            self._samples.append(_Sample(loop.time(), self._started + waiting))
        else:
            self._samples.clear()
        idle = not self._open.n and not waiting
        self._due = None if idle else loop.call_later(_SECONDS_BETWEEN_SAMPLES, self._sample)
