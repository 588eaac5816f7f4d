"""Servers whose standard streams are closed, full, or without a reader still serve and stop."""

import os
import signal
import socket
import subprocess
import urllib.request
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from service.net.address import reserve_port
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.support.exact_models import publish
from tests.support.serving import QUADNET, until

POINTS = pb.ClassifyRequest(x=[1, 2, 3], y=[1, 2, 3])


def free_port():
    with reserve_port("127.0.0.1", 0) as port:
        return port


def pages_answer(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
        return page.status == 200
    return False


def answers(stub):
    try:
        answer = stub.Classify(POINTS, timeout=120, wait_for_ready=True)
    except grpc.RpcError as error:
        # The server listens before it has loaded a version.
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        return False
    return list(answer.quadrants) == [pb.QUADRANT_I] * 3


@contextmanager
def full_pipe():
    """Yield the writing end of a pipe that stays full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"\0")
    os.set_blocking(writer, True)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as file:
        yield file


@contextmanager
def pipe_without_reader():
    """Yield the writing end of a pipe whose reading end is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file:
        yield file


@contextmanager
def non_blocking_pipe():
    """Yield the writing end of a non-blocking pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as file:
        yield file


VERBS = {
    "serve": ("serve",),
    "workers": ("serve", "--workers", "2"),
    # Trains first, and prints the result.
    "up": ("up", "--page-port", "0"),
    "playground": ("playground",),
}


@contextmanager
def started(verb, registry, *, redirection="", **streams):
    """Start the verb with a shell redirection, wait until it answers, and yield the process."""
    port = free_port()
    option = "--page-port" if verb == "playground" else "--port"
    words = [*QUADNET, *VERBS[verb], option, str(port)]
    if verb != "playground":
        words += ["--registry", str(registry.root)]
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh"]
    with subprocess.Popen([*shell, *words], **streams) as process:
        try:
            if verb == "playground":
                until(lambda: process.poll() is not None or pages_answer(port), seconds=120)
            else:
                # Without this option, gRPC would retry less and less often.
                options = [("grpc.max_reconnect_backoff_ms", 500)]
                with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
                    stub = quadrant_pb2_grpc.QuadrantServiceStub(channel)
                    until(lambda: answers(stub), seconds=120)
            assert process.poll() is None
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def stop(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


@pytest.mark.parametrize(
    "redirection",
    ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>&1"],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_server_with_closed_or_full_streams_serves_and_stops(registry, verb, redirection):
    if verb != "up":
        publish(registry)
    with started(verb, registry, redirection=redirection) as process:
        # The closed streams were reopened: no socket has got their file descriptors.
        targets = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert not [target for target in targets if target.startswith("socket")]
        assert stop(process) == 0


@pytest.mark.parametrize("pipe", [full_pipe, pipe_without_reader])
@pytest.mark.parametrize("verb", VERBS)
def test_a_server_whose_output_is_not_read_serves_and_stops(registry, verb, pipe):
    if verb != "up":
        publish(registry)
    with pipe() as file, started(verb, registry, stdout=file, stderr=file) as process:
        assert stop(process) == 0


def test_a_server_that_cannot_print_its_error_still_ends(registry):
    publish(registry)
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        full_pipe() as file,
    ):
        port = taken.getsockname()[1]
        command = [*QUADNET, "serve", "--registry", registry.root, "--port", str(port)]
        done = subprocess.run(command, stderr=file, timeout=60, check=False)
    assert done.returncode == 1


def test_log_lines_arrive_complete_through_a_non_blocking_pipe(registry):
    publish(registry)
    with non_blocking_pipe() as file, started("serve", registry, stderr=file) as process:
        reader = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_NONBLOCK)
        with closing(os.fdopen(reader, "rb", buffering=0)) as log:
            assert stop(process) == 0
            lines = log.read(2**20).splitlines()
    assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines)
    assert b'"event": "call"' in b"".join(lines)


def test_a_command_whose_output_cannot_be_written_fails(registry):
    """Unlike log lines, the output of a command is required: the exit code must not be 0."""
    publish(registry)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*QUADNET, "models", "list", "--registry", registry.root],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "quadnet: standard output cannot be written: No space left on device.\n"
