"""A real server in a process of its own, on a free port of the loopback interface."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2_grpc

ROOT = Path(__file__).parent.parent
SERVICE = "quadrant.v1.QuadrantService"
QUADNET = [sys.executable, "-m", "quadnet"]


class ServerProcess:
    """`quadnet serve` (or another verb that serves), started, announced, and stopped at the end."""

    def __init__(self, registry, *options, verb="serve", env=None):
        self.process = subprocess.Popen(
            [*QUADNET, verb, "--registry", str(registry), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.announcement = []
        # The last line of the announcement is printed once calls are answered.
        for line in self.process.stdout:
            self.announcement.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        address = re.search(r"(127\.0\.0\.1|\[::1\]):\d+", "\n".join(self.announcement))
        if address is None:
            raise RuntimeError(f"It did not start: {self.process.communicate(timeout=10)}")
        self.address = address[0]
        self.port = self.address.rpartition(":")[2]
        self.channel = grpc.insecure_channel(
            self.address,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self.stub = quadrant_pb2_grpc.QuadrantServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=10)

    def stop(self, number=signal.SIGTERM):
        """Signal the process and return (exit code, standard output, standard error)."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


def quadnet(*words, env=None, cwd=None):
    """Run the command and return the finished process."""
    return subprocess.run(
        [*QUADNET, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def refused(call, request, **options):
    """Return the error that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10, **options)
    return caught.value
