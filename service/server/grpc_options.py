"""The channel arguments of the gRPC server: limits, keepalive, and the age of connections."""

from service.settings import ServeSettings

_LARGE = 2**31 - 1
_MIB = 2**20

_MIN_STREAMS = 128
"""Smallest limit of calls in progress on one connection. A client delays further calls itself."""


def make_grpc_options(settings: ServeSettings, *, shared_port: bool) -> list[tuple[str, int]]:
    """Return gRPC's channel arguments for these settings."""
    connection_age = int(settings.connection_age * 1000)
    return [
        # `HandlerFactory` refuses messages over the limit with an error text, and the log has the
        # status. gRPC itself refuses messages far over the limit, by their declared length. The
        # margin in between costs memory: each message may hold that much more while it arrives.
        (
            "grpc.max_receive_message_length",
            min(_LARGE, settings.max_message_bytes + _size_margin(settings.max_message_bytes)),
        ),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # By default a second server starts silently on the same port and gets some connections.
        ("grpc.so_reuseport", int(shared_port)),
        # Limits the calls that wait inside gRPC per connection, and a reset call frees its place.
        # Without the limit, 50,000 calls that are started and reset on one connection take 700 MB
        # and delay other calls for seconds.
        ("grpc.max_concurrent_streams", max(_MIN_STREAMS, 2 * settings.max_calls)),
        ("grpc.enable_channelz", 1),
        # By default the core refuses calls when more than 1,000 wait to be started, with
        # CANCELLED, which few clients retry. `Admission` limits the calls in flight instead.
        ("grpc.server.max_pending_requests", _LARGE),
        ("grpc.server.max_pending_requests_hard_limit", _LARGE),
        ("grpc.server_max_unrequested_time_in_server", _LARGE),
        # Connections are closed gracefully after a while, so that clients reconnect and spread over
        # the servers.
        *([("grpc.max_connection_age_ms", connection_age)] if connection_age else []),
        # gRPC buffers data that arrives before the call is started. By default the buffer grows
        # with the speed of the network, up to whole messages.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2**18),
        # Keepalive pings detect callers that vanished without closing the connection.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients usually ping every 10 s, also on idle connections. The minimum is lower because a
        # client's clock may run fast, and three early pings would end its connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _size_margin(limit: int) -> int:
    """Return by how many bytes a message may exceed the limit and still get an error text."""
    return max(_MIB, min(limit, 4 * _MIB))
