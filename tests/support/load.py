"""Clients that call a server until they are stopped, and keep the results."""

import asyncio
import http.client
import json
import queue
import threading
import time
from dataclasses import dataclass

import grpc.aio
from google.protobuf import json_format

from service.client.channel import MAX_MESSAGE_BYTES, SERVICE_CONFIG
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.http_client import HttpClient

CLASSIFY = "/quadrant.v1.QuadrantService/Classify"

MESSAGES = 20
"""Messages of one stream."""


@dataclass
class CallOutcome:
    """One call: its start and end, and its reply, or its status and message."""

    begun: float
    ended: float
    answer: pb.ClassifyResponse | None
    code: grpc.StatusCode
    details: str = ""


class Load:
    """A constant number of calls in flight, each over its own connection, while entered.

    With `retries`, gRPC retries calls as in the shipped client. Without `keep`, calls are only
    counted. With `leave`, a client stops at its first error; otherwise it calls again at once.
    """

    def __init__(
        self, address, request, *, in_flight=8, connections=4, retries=False, at_most=None,
        keep=True, leave=False,
    ):  # fmt: skip
        self.outcomes = []
        self.ended = 0
        self._keep = keep
        self._address = address
        self._content = request.SerializeToString()
        self._in_flight, self._connections = in_flight, connections
        self._retries = retries
        self._leave = leave
        self._left = at_most
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        """Let the calls in flight end, and make no more."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def wait_for(self, n, *, beyond=0, seconds=60):
        """Wait until n calls have ended, of those after the first `beyond`."""
        with self._grown:
            reached = self._grown.wait_for(lambda: len(self.outcomes) >= beyond + n, seconds)
        assert reached, f"only {len(self.outcomes) - beyond} of {n} calls ended"

    def wait_for_all(self, seconds):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{len(self.outcomes)} calls ended in {seconds} s"

    @property
    def failed(self):
        return [each for each in self.outcomes if each.code is not grpc.StatusCode.OK]

    async def _run(self):
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", int(self._retries)),
            # To find a restarted server at once, not after a second.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        if self._retries:
            options += [
                ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
                ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
            ]
        channels = [
            grpc.aio.insecure_channel(self._address, options) for _ in range(self._connections)
        ]
        await asyncio.gather(
            *(self._call(channels[i % len(channels)]) for i in range(self._in_flight))
        )
        for channel in channels:
            await channel.close()

    async def _call(self, channel):
        classify = channel.unary_unary(CLASSIFY)
        while not self._stopping.is_set() and self._left != 0:
            if self._left is not None:
                self._left -= 1
            begun = time.time()
            try:
                content = await classify(self._content, timeout=30)
                outcome = CallOutcome(
                    begun, time.time(), pb.ClassifyResponse.FromString(content), grpc.StatusCode.OK
                )
            except grpc.aio.AioRpcError as error:
                outcome = CallOutcome(begun, time.time(), None, error.code(), error.details())
            with self._grown:
                self.ended += 1
                if self._keep:
                    self.outcomes.append(outcome)
                self._grown.notify_all()
            if self._leave and outcome.code is not grpc.StatusCode.OK:
                return


class HttpLoad:
    """Clients that send one request after another over HTTP, each on a connection of its own.

    A request that gets no answer counts as CANCELLED, unless it finds no server. With `retries`,
    it is sent again, as is one that is refused with 503 or 429. The other arguments are those of
    `Load`.
    """

    def __init__(
        self, url, request, *, in_flight=8, connections=None, retries=False, at_most=None,
        keep=True, leave=False,
    ):  # fmt: skip
        self.outcomes = []
        self.ended = 0
        self._url = url
        self._body = json_format.MessageToJson(request).encode()
        self._retries, self._keep, self._leave, self._left = retries, keep, leave, at_most
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(in_flight)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    wait_for = Load.wait_for
    failed = Load.failed

    def stop(self):
        """Let the requests in flight end, and make no more."""
        self._stopping.set()
        self._join(60)

    def wait_for_all(self, seconds):
        """Wait until `at_most` requests have ended."""
        self._join(seconds)

    def _join(self, seconds):
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive()

    def _run(self):
        client = None
        while not self._stopping.is_set() and self._takes():
            begun = time.time()
            code = None
            while code is None:
                client = client or HttpClient(self._url)
                code, answer, details, closes = self._ask(client)
                if closes:
                    client.close()
                    client = None
                if self._retries and code in RETRIED and time.time() < begun + 30:
                    self._stopping.wait(0.05)
                    code = None
            with self._grown:
                self.ended += 1
                if self._keep:
                    outcome = CallOutcome(begun, time.time(), answer, code, details)
                    self.outcomes.append(outcome)
                self._grown.notify_all()
            if self._leave and code is not grpc.StatusCode.OK:
                break
        if client is not None:
            client.close()

    def _takes(self):
        with self._grown:
            if self._left is not None:
                self._left -= 1
            return self._left is None or self._left >= 0

    def _ask(self, client):
        """Return the code, the answer, the error's text, and whether the connection has ended."""
        try:
            client.connect()
        except OSError as error:
            return grpc.StatusCode.UNAVAILABLE, None, str(error), True
        headers = {"Content-Type": "application/json"}
        try:
            found = client.request("POST", "/v1/classify", self._body, headers)
        except (OSError, http.client.HTTPException) as error:
            return grpc.StatusCode.CANCELLED, None, repr(error), True
        closes = found.headers.get("connection") == "close"
        if found.status == 200:
            answer = json_format.Parse(found.body, pb.ClassifyResponse()) if self._keep else None
            return grpc.StatusCode.OK, answer, "", closes
        return grpc.StatusCode[found.values["code"]], None, found.values["error"], closes


RETRIED = {
    grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
}  # fmt: skip
"""What the clients of `HttpLoad` try again. CANCELLED stands for a connection that is lost."""


class StreamLoad:
    """Clients that send each message of a stream after the reply to the one before.

    They are threads, because grpcio's asyncio client reports a stream that ends during a write as
    INTERNAL, whatever status the server sent (grpc issue 36066).
    """

    def __init__(self, address, request, *, in_flight=8, connections=4, leave=False):
        self.outcomes = []
        self._content = request.SerializeToString()
        self._leave = leave
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._channels = [
            grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(connections)
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(self._channels[i % connections],))
            for i in range(in_flight)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.stop()
        for channel in self._channels:
            channel.close()

    def stop(self):
        """Let the calls in flight end, and make no more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def wait_for(self, n):
        """Wait until n messages have been answered."""
        with self._grown:
            reached = self._grown.wait_for(lambda: len(self.outcomes) >= n, 60)
        assert reached, f"only {len(self.outcomes)} of {n} messages were answered"

    def _run(self, channel):
        classify = channel.stream_stream(f"{CLASSIFY}Stream")
        while not self._stopping.is_set():
            messages = queue.SimpleQueue()
            stream = classify(iter(messages.get, None), timeout=60)
            try:
                for _ in range(MESSAGES):
                    messages.put(self._content)
                    next(stream)
                    self._note(grpc.StatusCode.OK)
                messages.put(None)
                assert not list(stream)
            except StopIteration:
                # The stream ended without an error, but a message has no reply.
                self._note(grpc.StatusCode.DATA_LOSS)
            except grpc.RpcError as error:
                self._note(error.code(), error.details())
                if self._leave:
                    return
            finally:
                messages.put(None)

    def _note(self, code, details=""):
        now = time.time()
        with self._grown:
            self.outcomes.append(CallOutcome(now, now, None, code, details))
            self._grown.notify_all()
