"""More calls than a server can answer, at a steady rate, and what it says to each."""

import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.load import CLASSIFY


class Offer:
    """One call, offered so many times a second, whatever becomes of those before it.

    `refused` has the milliseconds until each refusal, `rate` the calls that were offered a second.
    """

    def __init__(self, address, content):
        self._content = content
        self._channels = [
            grpc.insecure_channel(
                address,
                [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)],
            )
            for _ in range(8)
        ]
        self._methods = [channel.unary_unary(CLASSIFY) for channel in self._channels]
        for method in self._methods:
            method(pb.ClassifyRequest().SerializeToString(), timeout=30)
        self.refused, self._answered, self._others = [], 0, []

    def run(self, rate, *, seconds):
        started = time.perf_counter()
        calls = []
        for i in range(int(rate * seconds)):
            ahead = started + i / rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            begun = time.perf_counter()
            call = self._methods[i % len(self._methods)].future(self._content, timeout=30)
            call.add_done_callback(lambda call, begun=begun: self._note(call, begun))
            calls.append(call)
        took = time.perf_counter() - started
        self.rate, self.answered_a_second = len(calls) / took, self._answered / took
        for call in calls:
            call.exception()
        for channel in self._channels:
            channel.close()
        assert not self._others, self._others

    def _note(self, call, begun):
        code = call.code()
        if code is grpc.StatusCode.OK:
            self._answered += 1
        elif code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self.refused.append((time.perf_counter() - begun) * 1e3)
        else:
            self._others.append((code, call.details()))


class HealthChecks:
    """Asks for the server's health twenty times a second, while entered."""

    def __init__(self, channel):
        self.milliseconds = []
        self._stub = health_pb2_grpc.HealthStub(channel)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join(30)

    def _run(self):
        while not self._stop.wait(0.05):
            begun = time.perf_counter()
            answer = self._stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            self.milliseconds.append((time.perf_counter() - begun) * 1e3)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
