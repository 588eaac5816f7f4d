"""Load from a client in C: h2load, of nghttp2 (Debian's package nghttp2-client)."""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager

from tests.support.serving import ROOT, until

CLASSIFY = "quadrant.v1.QuadrantService/Classify"


def require_h2load():
    if shutil.which("h2load") is None:
        sys.exit("h2load is not there: apt-get install nghttp2-client")


def calls_a_second(port, message, *, method=CLASSIFY, seconds, connections=4, streams=8):
    """Return how many calls of this message, in a file as `frame` writes it, are answered."""
    options = ["-m", streams, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return _load(port, message, method, options, seconds=seconds, connections=connections)


def requests_a_second(port, body, path, *, seconds, connections=32):
    """Return how many HTTP/1.1 requests of this JSON, in a file, are answered; with keep-alive."""
    options = ["--h1", "-H", "content-type: application/json"]
    return _load(port, body, path, options, seconds=seconds, connections=connections)


def _load(port, body, path, options, *, seconds, connections):
    command = ["h2load", "-D", f"{seconds * 1000:.0f}ms", "--warm-up-time", "300ms", "-t", "1"]
    command += ["-c", str(connections), "-d", str(body), *map(str, options)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/{path}"], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r" 0 failed, 0 errored, 0 timeout", done), done
    # A refusal over gRPC is no message: only its size tells.
    assert int(re.search(r"\((\d+)\) data", done)[1]), done
    assert re.search(r"status codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx", done), done
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", done)[1])


def frame(path, message):
    """Write the message as gRPC sends it, and return the path."""
    path.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    return path


@contextmanager
def peer_process(kind, argument):
    """Start one of the peers, and give its process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.peers", kind, str(argument)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@contextmanager
def peer(kind, argument):
    """Start one of the peers, and give its port."""
    with peer_process(kind, argument) as (_, port):
        yield port


@contextmanager
def mlserver(programs, folder, answer):
    """Start MLServer with a model that always answers alike; give its process's id and port.

    Parameters
    ----------
    programs : Path
        The programs of an environment with mlserver.
    folder : Path
        Gets the model.
    answer : dict
        A server's answer in the JSON of the Open Inference Protocol.
    """
    shutil.copy(ROOT / "tests/benchmarks/mlserver_runtime.py", folder)
    (folder / "answer.json").write_text(json.dumps(answer))
    model = {
        "name": "quadrants",
        "implementation": "mlserver_runtime.Constant",
        "parameters": {"uri": str(folder / "answer.json")},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    http_port, grpc_port = _free_ports(2)
    # Without workers of its own, which would only forward each request to another process.
    settings = {
        "host": "127.0.0.1", "http_port": http_port, "grpc_port": grpc_port,
        "parallel_workers": 0, "metrics_endpoint": None, "debug": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [programs / "mlserver", "start", folder],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    ready = f"http://127.0.0.1:{http_port}/v2/models/quadrants/ready"
    try:
        until(lambda: _answers(ready), seconds=60)
        yield process.pid, http_port
    finally:
        process.terminate()
        process.wait(20)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        # A refused connection ends at once, and MLServer has no event that could be awaited.
        time.sleep(0.1)
        return False


def _free_ports(n):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [each.getsockname()[1] for each in sockets]
