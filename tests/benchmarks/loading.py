"""Load from a client in C: h2load, of nghttp2 (Debian's package nghttp2-client)."""

import re
import shutil
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.support.serving import ROOT

CLASSIFY = "quadrant.v1.QuadrantService/Classify"


def require_h2load():
    if shutil.which("h2load") is None:
        sys.exit("h2load is not there: apt-get install nghttp2-client")


def calls_a_second(port, message, *, method=CLASSIFY, seconds, connections=4, streams=8):
    """Return how many calls of this message, in a file as `frame` writes it, are answered."""
    framed = Path(message)
    command = ["h2load", "-D", f"{seconds * 1000:.0f}ms", "--warm-up-time", "300ms", "-t", "1"]
    command += ["-c", str(connections), "-m", str(streams), "-d", str(framed)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/{method}"], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r" 0 failed, 0 errored, 0 timeout", done), done
    # A refusal is no message: only its size tells.
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
