"""Proxies in front of servers, started on the loopback interface."""

import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import h2.config
import h2.connection
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
    default-server proto h2 {check}
    {servers}
"""

_CHECKED = """check inter 200ms fall 1 rise 1
    option tcp-check
    tcp-check connect
    tcp-check send-binary {request}
    tcp-check expect binary {serving}
"""

_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr emerg;
worker_processes 1;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream back {{ {servers} keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} http2;
        http2_max_requests 1000000;
        location / {{ grpc_pass grpc://back; grpc_read_timeout 60s; }}
    }}
}}
"""

# A message with one field: status, 1 for SERVING.
_SERVING = "00" + "00000002" + "0801"


@contextmanager
def haproxy(*addresses, folder, checks_health=False):
    """Start HAProxy in front of these addresses; yield its address.

    With `checks_health`, it checks the gRPC health of each server five times a second, and sends
    calls only to servers that are SERVING.
    """
    program = _installed("haproxy")
    servers = [f"server quadnet{i} {address}" for i, address in enumerate(addresses)]
    check = _CHECKED.format(request=_health_request(), serving=_SERVING) if checks_health else ""
    # It inherits a listening socket, so connections wait until it has started.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = Path(folder) / "haproxy.cfg"
        config.write_text(
            _HAPROXY.format(
                listening=listening.fileno(), servers="\n    ".join(servers), check=check
            )
        )
        command = [program, "-q", "-db", "-f", str(config)]
        with _running(command, pass_fds=[listening.fileno()]):
            yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def nginx(*addresses, folder):
    """Start nginx in front of these addresses; yield its address."""
    program = _installed("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = " ".join(f"server {address} max_fails=1 fail_timeout=1s;" for address in addresses)
    config = Path(folder) / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, servers=servers, port=port))
    with _running([program, "-p", str(folder), "-c", str(config), "-e", "stderr"]):
        yield f"127.0.0.1:{port}"


def _installed(name):
    program = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


@contextmanager
def _running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _health_request():
    """Return the bytes of a health check of the whole server, in hexadecimal."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, b"\0" * 5, end_stream=True)
    return connection.data_to_send().hex()
