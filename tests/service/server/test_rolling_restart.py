"""Two servers behind a proxy are restarted one after the other, under load."""

import signal

import grpc
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support import proxies
from tests.support.exact_models import publish
from tests.support.load import Load
from tests.support.serving import ServerProcess, until

REQUEST = pb.ClassifyRequest(x=[0.5] * 200, y=[0.5] * 200)


def restart_each(registry, servers, load, *options):
    """Stop each server and start it again on its port; wait until it answers calls."""
    for i, server in enumerate(servers):
        load.wait_for(100, beyond=len(load.outcomes))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
        server.__exit__()
        servers[i] = ServerProcess(registry.root, *options, port=server.port)
        servers[i].calls(20)


def roll(registry, start_proxy, *options):
    """Return the statuses of all calls made during a rolling restart of two servers."""
    publish(registry)
    servers = [ServerProcess(registry.root, *options) for _ in range(2)]
    try:
        with start_proxy(*(server.address for server in servers)) as address:
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(60)
            with Load(address, REQUEST, in_flight=8, connections=4) as load:
                until(lambda: any(each.code is grpc.StatusCode.OK for each in load.outcomes))
                begun = len(load.outcomes)
                restart_each(registry, servers, load, *options)
                load.stop()
    finally:
        for server in servers:
            server.__exit__()
    return {outcome.code for outcome in load.outcomes[begun:]}


def test_no_call_fails_behind_haproxy_with_health_checks(registry, tmp_path):
    codes = roll(
        registry,
        lambda *addresses: proxies.haproxy(*addresses, folder=tmp_path, checks_health=True),
        "--drain-delay",
        "2",
    )
    assert codes == {grpc.StatusCode.OK}


@pytest.mark.parametrize("proxy", [proxies.haproxy, proxies.nginx])
@pytest.mark.parametrize("delay", ["0", "2"])
def test_no_call_is_lost_behind_a_proxy_without_health_checks(registry, tmp_path, proxy, delay):
    codes = roll(
        registry,
        lambda *addresses: proxy(*addresses, folder=tmp_path),
        "--drain-delay",
        delay,
    )
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
