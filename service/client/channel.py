"""Opens a client's channel, with retries, limits, TLS and token, for grpc and grpc.aio."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from quadnet.errors import ConfigurationError
from service.net.address import is_this_machine
from service.net.tls import make_channel_credentials
from service.net.tokens import read_tokens
from service.quadrant_v1.codec import SERVICE
from service.settings import find_missing_tls_file
from service.stubs.inference.v2 import inference_pb2

_SCHEME = re.compile(r"^(dns|ipv4|ipv6):(//[^/]*)?/?")

INFERENCE_SERVICE: str = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

MAX_MESSAGE_BYTES = 64 * 2**20

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": SERVICE}, {"service": INFERENCE_SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "backoffMultiplier": 3,
                "maxBackoff": "2s",
                # Statuses of calls that the server has not started. CANCELLED comes from gRPC
                # itself when it stops, for calls that it has not passed to the server; our server
                # prevents that on Linux only. gRPC adds the jitter.
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
            },
        }
    ],
}
"""gRPC's own retries, over about three seconds, so that calls survive the restart of a server."""


def open_channel(
    library: ModuleType,
    address: str,
    *options: tuple[str, Any],
    tls_ca: Path | None = None,
    tls_client_cert: Path | None = None,
    tls_client_key: Path | None = None,
) -> Any:
    """Return a channel of `library`, which is grpc or grpc.aio, with TLS if `tls_ca` is given.

    Raises
    ------
    ConfigurationError
        If a file is missing that another one requires.
    FileUnusable
        If a file cannot be read.
    """
    found = find_missing_tls_file(tls_ca, tls_client_cert, tls_client_key)
    if found is not None:
        given, missing = found
        raise ConfigurationError(f"{given}: expected {missing} too, got None.")
    common: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        # By default gRPC does not retry calls larger than 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", int(_may_use_proxy(address))),
    ]
    if tls_ca is None:
        return library.insecure_channel(address, [*common, *options])
    credentials = make_channel_credentials(tls_ca, tls_client_cert, tls_client_key)
    return library.secure_channel(address, credentials, [*common, *options])


def _may_use_proxy(address: str) -> bool:
    """Return whether to use the HTTP proxy of the environment.

    A proxy cannot reach a server on this machine. For a list of addresses, gRPC would request the
    whole list from the proxy as if it were one host.
    """
    found = parse_hosts(address)
    return len(found) == 1 and not is_this_machine(found[0])


def parse_hosts(address: str) -> list[str]:
    """Return the hosts in a gRPC address, ``[scheme:[//authority/]]host[:port]``.

    The schemes ipv4 and ipv6 allow several addresses, separated by commas.
    """
    addresses = _SCHEME.sub("", unquote(address)).split(",")
    return [_parse_host(each).lower() for each in addresses]


def _parse_host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # Several colons mean an IPv6 address without a port.
    return address.partition(":")[0] if address.count(":") == 1 else address


def read_authorization(token_file: Path | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata with the file's first token; empty without a file.

    Raises
    ------
    FileUnusable
        If the file cannot be read, or has no token.
    """
    if token_file is None:
        return ()
    token = read_tokens(token_file)[0].decode("latin-1")
    return (("authorization", f"Bearer {token}"),)
