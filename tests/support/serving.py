"""A real server in a separate process, on a free port of the loopback interface."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status
from prometheus_client.parser import text_string_to_metric_families

from service.models.live_models import LiveModels
from service.rpc.policies.draining import Draining
from service.rpc.policies.policy import CallPolicy
from service.server.server import Server
from service.settings import ServeSettings
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.support.exact_models import publish_wide

ROOT = Path(__file__).parents[2]
SERVICE = "quadrant.v1.QuadrantService"
QUADNET = [sys.executable, "-m", "quadnet"]


class AnnouncedProcess:
    """A process that has announced itself; it is stopped at the end."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()
        self._log.all()

    def log(self):
        """Return the lines logged so far."""
        return list(self._log.lines)

    def logged(self, event, n=1, **values):
        """Wait until the log has n lines of this event and these values; return the last."""

        def matches(line):
            return line.get("event") == event and values.items() <= line.items()

        return self._log.wait(lambda lines: [x for x in lines if matches(x)][n - 1 : n])[0]


class ServerProcess(AnnouncedProcess):
    """`quadnet serve`, or another verb that serves; it is stopped at the end."""

    def __init__(self, registry, *options, verb="serve", env=None, port=0, before=()):
        self.process = subprocess.Popen(
            [*before, *QUADNET, verb, "--registry", str(registry), "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self._log = LogLines(self.process.stderr)
        self.announcement = []
        # The last line of the announcement is printed when the server answers calls.
        for line in self.process.stdout:
            self.announcement.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        address = re.search(r"(127\.0\.0\.1|0\.0\.0\.0|\[::1\]):\d+", "\n".join(self.announcement))
        if address is None:
            self.process.kill()
            self.process.wait(10)
            raise RuntimeError(f"It did not start: {self.announcement} {self._log.all()}")
        self.address = address[0]
        self.port = self.address.rpartition(":")[2]
        url = re.search(r" and (https?://\S+:\d+)", "\n".join(self.announcement))
        self.url = None if url is None else url[1]
        self.channel = grpc.insecure_channel(
            self.address,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self.stub = quadrant_pb2_grpc.QuadrantServiceStub(self.channel)

    def calls(self, n):
        """Wait until n calls are logged, and return their lines."""

        def calls(lines):
            return [line for line in lines if line.get("event") == "call"]

        return self._log.wait(lambda lines: len(calls(lines)) >= n and calls(lines))

    def stop(self, number=signal.SIGTERM):
        """Signal the process and return its exit code, standard output and log."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        return code, self.process.stdout.read(), self._log.all()

    def resident(self):
        """Return the process's resident memory, in MB."""
        return resident(self.process.pid)

    def scrape(self):
        """Return the metrics, by name and labels, as Prometheus reads them."""
        (url,) = [
            line.split()[-1].rstrip(".") for line in self.announcement if "Prometheus" in line
        ]
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def resident(pid):
    """Return a process's resident memory, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


class LogLines:
    """The JSON lines of a pipe, read by a thread so that the writer never waits."""

    def __init__(self, pipe):
        self.lines = []
        self._pipe = pipe
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._pipe:
            with self._changed:
                # A line that is not JSON becomes an event, which tests then see.
                text = line.rstrip("\n")
                self.lines.append(json.loads(text) if text.startswith("{") else {"event": text})
                self._changed.notify_all()

    def wait(self, find):
        with self._changed:
            assert self._changed.wait_for(lambda: find(self.lines), 60), self.lines[-20:]
            return find(self.lines)

    def all(self):
        """Return every line, after the end of the pipe."""
        self._thread.join(10)
        self._pipe.close()
        return self.lines


class SlowPolicy(CallPolicy):
    """Blocks the event loop at the start of each call, as a busy machine does."""

    SECONDS = 0.03

    def begin(self, call):
        time.sleep(self.SECONDS)


@contextmanager
def served_here(registry, policies, *, port=0, **settings):
    """Serve in a thread of this process, with the given policies; yield a channel.

    The channel's attributes `target` and `url` are the server's addresses. `settings` are further
    settings of the server.
    """
    live = LiveModels(registry, model="quadrants")
    started, running = threading.Event(), []

    async def run():
        draining = Draining()
        given = ServeSettings(port=port, **{"http_port": 0, **settings})
        server = Server(live, given, [*policies, draining], draining)
        running.append((server, asyncio.get_running_loop()))
        await server.serve(started.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20)
        address = f"127.0.0.1:{running[0][0].port}"
        with grpc.insecure_channel(address) as channel:
            channel.target = address
            channel.url = f"http://127.0.0.1:{running[0][0].http_port}"
            yield channel
    finally:
        server, loop = running[0]
        loop.call_soon_threadsafe(server.request_stop)
        thread.join(20)


@contextmanager
def open_stream(server, metadata=()):
    """Keep a call in flight: a stream with one message and its reply."""
    ended = threading.Event()

    def messages():
        yield pb.ClassifyRequest(x=[1], y=[1])
        ended.wait(60)

    stream = server.stub.ClassifyStream(messages(), timeout=60, metadata=metadata)
    assert list(next(stream).quadrants) == [pb.QUADRANT_I]
    try:
        yield stream
    finally:
        ended.set()


@contextmanager
def unread_stream(server):
    """Keep a stream in progress: its second reply is too large to be sent before it is read."""
    sent, ended = threading.Event(), threading.Event()
    zeros = np.zeros(500_000)

    def messages():
        yield pb.ClassifyRequest(x=[1], y=[1])
        yield pb.ClassifyRequest(x=zeros, y=zeros, all_certainties=True)
        sent.set()
        ended.wait(120)

    stream = server.stub.ClassifyStream(messages(), timeout=120)
    assert list(next(stream).quadrants) == [pb.QUADRANT_I]
    # gRPC requests a third message after it has sent the second.
    assert sent.wait(60)
    try:
        yield stream
    finally:
        ended.set()
        stream.cancel()


@contextmanager
def long_call(server, registry, metadata=()):
    """Occupy the only slot of a server with --max-calls 1; yield the call.

    The server computes for a minute, or until the call is cancelled at the end.
    """
    publish_wide(registry)
    zeros = np.zeros(500_000)
    model = pb.ModelRef(name="wide", version=1)
    # A call has no slot while it loads a version.
    server.stub.Classify(pb.ClassifyRequest(model=model), timeout=60, metadata=metadata)
    call = server.stub.Classify.future(
        pb.ClassifyRequest(model=model, x=zeros, y=zeros), timeout=120, metadata=metadata
    )

    def is_busy():
        try:
            server.stub.Classify(pb.ClassifyRequest(), timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return False

    try:
        until(is_busy, seconds=60)
        yield call
    finally:
        call.cancel()


def quadnet(*words, env=None, cwd=None, given=None):
    """Run the command, with this text as its standard input, and return the finished process."""
    return subprocess.run(
        [*QUADNET, *map(str, words)],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def until(condition, *, seconds=20):
    """Call the function until its result is true; each call is itself the wait."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"


def refused(call, request, **options):
    """Return the error that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10, **options)
    return caught.value


def details_of(error, kind):
    """Return the error's details of this kind."""
    found = [any_ for any_ in rpc_status.from_call(error).details if any_.Is(kind.DESCRIPTOR)]
    assert len(found) == 1
    message = kind()
    found[0].Unpack(message)
    return message
