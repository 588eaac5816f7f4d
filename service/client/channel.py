"""How a client connects: retries, limits, TLS and token; for grpc and grpc.aio alike."""

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
from service.settings import check_client_tls

_SCHEME = re.compile(r"^(dns|ipv4|ipv6):(//[^/]*)?/?")

MAX_MESSAGE_BYTES = 64 * 2**20

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "backoffMultiplier": 3,
                "maxBackoff": "2s",
                # What a server says before it has done anything. The last one is what gRPC itself
                # says of calls that it has not handed over when it stops: our server prevents that
                # on Linux only. gRPC adds the jitter.
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
            },
        }
    ],
}
"""What gRPC is told to do by itself: for some three seconds, calls outlive a server's restart."""


def connect(
    library: ModuleType,
    address: str,
    *options: tuple[str, Any],
    tls_ca: Path | None = None,
    tls_client_cert: Path | None = None,
    tls_client_key: Path | None = None,
) -> Any:
    """Return a channel of the library, grpc or grpc.aio, with TLS if an authority is given.

    Raises
    ------
    ConfigurationError
        If a file is of no use without another that is not given.
    FileUnusable
        If a file cannot be read.
    """
    try:
        check_client_tls(tls_ca, tls_client_cert, tls_client_key)
    except ValueError as error:
        raise ConfigurationError(f"TLS: {error}.") from error
    common: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        # By default what is larger than 256 KiB is not kept, and so not sent again.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", int(_is_for_a_proxy(address))),
    ]
    if tls_ca is None:
        return library.insecure_channel(address, [*common, *options])
    credentials = make_channel_credentials(tls_ca, tls_client_cert, tls_client_key)
    return library.secure_channel(address, credentials, [*common, *options])


def _is_for_a_proxy(address: str) -> bool:
    """Say whether a proxy that the environment names can reach the server.

    One for the world outside knows nothing of a server on this machine; and gRPC would ask it for
    a list of addresses as if they were one host.
    """
    found = hosts(address)
    return len(found) == 1 and not is_this_machine(found[0])


def hosts(address: str) -> list[str]:
    """Return the hosts of an address for gRPC, ``[scheme:[//authority/]]host[:port]``.

    Schemes for addresses may have several, with commas between them.
    """
    addresses = _SCHEME.sub("", unquote(address)).split(",")
    return [_host(each).lower() for each in addresses]


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # More colons than one are an IPv6 address without a port.
    return address.partition(":")[0] if address.count(":") == 1 else address


def authorization(token_file: Path | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata that bring the file's first token; none without a file.

    Raises
    ------
    FileUnusable
        If the file cannot be read, or holds no token.
    """
    if token_file is None:
        return ()
    token = read_tokens(token_file)[0].decode("latin-1")
    return (("authorization", f"Bearer {token}"),)
