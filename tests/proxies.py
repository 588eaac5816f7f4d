"""Proxies that users put in front of a server, started on the loopback interface."""

import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

_HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend front
    bind fd@{listening} proto h2
    default_backend back
backend back
    server quadnet {address} proto h2
"""


@contextmanager
def haproxy(address, folder):
    """Start HAProxy in front of this address; give its own address."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("haproxy is not installed")
    # It inherits a socket that listens: connections wait until it has started.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = Path(folder) / "haproxy.cfg"
        config.write_text(_HAPROXY.format(listening=listening.fileno(), address=address))
        process = subprocess.Popen(
            [program, "-q", "-db", "-f", str(config)], pass_fds=[listening.fileno()]
        )
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.kill()
            process.wait(10)
