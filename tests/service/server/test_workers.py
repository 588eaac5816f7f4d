"""Several workers on one port: connections spread, workers replaced, metrics combined, stop."""

import asyncio
import os
import resource
import select
import signal
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from service.net.address import CannotListen, reserve_port
from service.server import supervisor
from service.settings import ServeSettings
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.exact_models import publish
from tests.support.http_client import HttpClient
from tests.support.load import Load
from tests.support.serving import QUADNET, ServerProcess, quadnet, until

REQUEST = pb.ClassifyRequest(x=[0.5] * 20, y=[0.5] * 20)


def children_of(pid):
    """Return the child processes of a process, from the kernel's list."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid):
    """Wait until the process has ended, for at most 20 seconds; return whether it has."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def supervise(registry, on_start, **settings):
    """Run a supervisor of two workers in this process, which signals then reach."""
    settings = ServeSettings(registry=registry.root, port=0, workers=2, **settings)

    async def run():
        running = supervisor.Supervisor(settings).run(lambda *_: on_start())
        await asyncio.wait_for(running, 30)

    asyncio.run(run())


def accepted_by(pid, port):
    """Return how many connections to the port a process has, from the kernel's tables."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(entry.readlink()))
    # gRPC listens on IPv6 sockets, which accept IPv4 too.
    tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    here = f"0100007F:{int(port):04X}"
    # State 01 is an established connection.
    return sum(
        local.endswith(here) and state == "01" and f"socket:[{inode}]" in inodes
        for _, local, _, state, _, _, _, _, _, inode, *_ in lines
    )


def test_connections_are_spread_and_the_metrics_cover_all_workers(registry):
    publish(registry)
    options = ("--workers", "2", "--metrics-port", "0", "--http-port", "0")
    with ServerProcess(registry.root, *options) as server:
        workers = children_of(server.process.pid)
        assert len(workers) == 2
        with ExitStack() as opened:
            clients = [opened.enter_context(HttpClient(server.url)) for _ in range(32)]
            for client in clients:
                assert client.request("POST", "/v1/classify", {"x": [1], "y": [1]}).status == 200
            port = server.url.rpartition(":")[2]
            assert all(accepted_by(worker, port) for worker in workers)
            assert sum(accepted_by(worker, port) for worker in workers) == 32
        with Load(server.address, REQUEST, in_flight=32, connections=32, at_most=3000) as load:
            # With 32 connections, the probability that one worker gets none is 1 in 2**31.
            until(lambda: all(accepted_by(worker, server.port) for worker in workers))
            load.wait_for_all(60)
        assert not load.failed
        calls = server.calls(3032)
        ports = {line["peer"] for line in calls if not line["method"].startswith("POST")}
        assert len(ports) == 32
        metrics = server.scrape()
        method = "quadrant.v1.QuadrantService/Classify"
        assert metrics["quadnet_calls_total", method, "OK"] == 3000
        assert metrics["quadnet_points_total", method] == 60_000
        assert metrics["quadnet_calls_total", "POST /v1/classify", "OK"] == 32
        assert metrics["quadnet_call_seconds_count", method] == 3000
        assert metrics["quadnet_calls_in_flight",] == 0
        assert server.stop()[0] == 0


def test_a_worker_that_dies_is_replaced_and_the_others_answer(registry):
    publish(registry)
    options = ("--workers", "2", "--metrics-port", "0")
    with ServerProcess(registry.root, *options) as server:
        first, second = children_of(server.process.pid)
        with Load(server.address, REQUEST, in_flight=16, connections=16, retries=True) as load:
            load.wait_for(500)
            counted = server.scrape()
            os.kill(first, signal.SIGKILL)
            died = server.logged("worker died")
            load.wait_for(500, beyond=len(load.outcomes))
            server.logged("version live", 3)
            load.wait_for(500, beyond=len(load.outcomes))
            workers = children_of(server.process.pid)
        assert (died["pid"], died["exit_code"]) == (first, -signal.SIGKILL)
        assert second in workers
        assert first not in workers
        assert len(workers) == 2
        # Only the calls in flight in the killed worker are lost.
        assert len(load.failed) <= 16
        metrics = server.scrape()
        assert metrics["quadnet_worker_restarts_total",] == 1
        method = ("quadrant.v1.QuadrantService/Classify", "OK")
        # The counters of the dead worker are included.
        assert metrics["quadnet_calls_total", *method] >= counted["quadnet_calls_total", *method]
        assert server.stop()[0] == 0


def test_a_worker_that_dies_repeatedly_is_replaced_with_back_off(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2") as server:
        # A worker that is killed too early has not logged yet.
        server.logged("version live", 2)
        for n in range(1, 4):
            os.kill(children_of(server.process.pid)[-1], signal.SIGKILL)
            server.logged("worker died", n)
            server.logged("version live", 2 + n)
        pauses = [line["restarted_in"] for line in server.log() if line["event"] == "worker died"]
        # Each of them died before the time after which the pause is reset.
        assert pauses == [0.1, 0.2, 0.4]
        assert server.stop()[0] == 0


def test_a_worker_that_is_being_started_is_stopped_too(registry, monkeypatch):
    publish(registry)
    workers = []
    start = asyncio.create_subprocess_exec

    async def start_with_a_signal(*words, **options):
        workers.append(await start(*words, **options))
        if len(workers) == 3:
            # It runs, but its supervisor does not know it yet.
            os.kill(os.getpid(), signal.SIGTERM)
            await workers[1].wait()
        return workers[-1]

    def kill_one():
        workers[0].kill()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_with_a_signal)
    supervise(registry, kill_one, grace=3600)
    assert len(workers) == 3
    assert all(worker.returncode is not None for worker in workers)


def test_a_signal_while_the_first_workers_are_starting_stops_them(registry):
    publish(registry)
    with subprocess.Popen(
        [*QUADNET, "serve", "--registry", registry.root, "--port", "0", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (workers := children_of(process.pid)):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "Stopped.\n")
        assert "never retrieved" not in log
        assert "Traceback" not in log
        assert all(not Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_worker_that_ignores_the_signal_is_killed(registry, monkeypatch):
    publish(registry)
    monkeypatch.setattr(supervisor, "_KILLED_AFTER", 1.0)
    workers = []

    def stop():
        workers.extend(children_of(os.getpid()))
        # A halted process handles no signal except SIGKILL.
        os.kill(workers[-1], signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTERM)

    supervise(registry, stop, grace=0)
    assert len(workers) >= 2
    assert workers[-1] not in children_of(os.getpid())


def test_workers_stop_when_their_supervisor_is_killed(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2") as server:
        workers = children_of(server.process.pid)
        server.process.kill()
        assert all(has_ended(worker) for worker in workers)


@pytest.mark.parametrize("options", [(), ("--metrics-port", "0")], ids=["uncounted", "counted"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_creates_no_temporary_files(registry, tmp_path, workers, options):
    publish(registry)
    place = tmp_path / "temporary"
    place.mkdir()
    options += ("--workers", str(workers))
    with ServerProcess(registry.root, *options, env={"TMPDIR": str(place)}) as server:
        assert server.stub.Classify(REQUEST, timeout=10).model.version == 1
        assert not list(place.iterdir())
        # A killed supervisor cleans nothing up.
        server.process.kill()
        server.process.wait(20)
    assert not list(place.iterdir())


@pytest.fixture
def full_disk(tmp_path):
    """Return a directory on a separate file system without free space."""
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", place]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not mount a file system")
    try:
        with (place / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("variable", ["TMPDIR", "PROMETHEUS_MULTIPROC_DIR"])
def test_metrics_work_on_a_full_disk(registry, full_disk, variable):
    publish(registry)
    options = ("--workers", "2", "--metrics-port", "0")
    with ServerProcess(registry.root, *options, env={variable: str(full_disk)}) as server:
        with Load(server.address, REQUEST, in_flight=16, connections=16, at_most=500) as load:
            load.wait_for_all(60)
        assert not load.failed
        server.calls(500)
        metrics = server.scrape()
        assert metrics["quadnet_calls_total", "quadrant.v1.QuadrantService/Classify", "OK"] == 500
        assert metrics["quadnet_worker_restarts_total",] == 0
        assert server.stop()[0] == 0


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
@pytest.mark.parametrize("workers", [1, 2])
def test_prometheus_variables_in_the_environment_are_ignored(registry, tmp_path, workers, variable):
    publish(registry)
    options = ("--workers", str(workers), "--metrics-port", "0")
    with ServerProcess(registry.root, *options, env={variable: str(tmp_path / "none")}) as server:
        server.stub.Classify(REQUEST, timeout=10)
        server.calls(1)
        metrics = server.scrape()
        assert metrics["quadnet_calls_total", "quadrant.v1.QuadrantService/Classify", "OK"] == 1
        code, _, log = server.stop()
    assert code == 0
    assert not [line for line in log if line.get("level") not in {"info", None}]


def test_a_worker_that_does_not_respond_is_replaced(registry):
    publish(registry)
    options = ("--workers", "2", "--metrics-port", "0", "--worker-timeout", "10")
    with ServerProcess(registry.root, *options) as server:
        halted, other = children_of(server.process.pid)
        counted = server.scrape()
        os.kill(halted, signal.SIGSTOP)
        assert server.logged("worker does not respond")["pid"] == halted
        died = server.logged("worker died")
        assert (died["pid"], died["exit_code"]) == (halted, -signal.SIGKILL)
        server.logged("version live", 3)
        until(lambda: server.scrape()["quadnet_worker_restarts_total",] == 1)
        workers = children_of(server.process.pid)
        assert other in workers
        assert halted not in workers
        assert len(workers) == 2
        # Every connection is answered, whichever worker it reaches.
        with Load(server.address, REQUEST, in_flight=16, connections=16, at_most=200) as load:
            load.wait_for_all(60)
        assert not load.failed
        assert counted["quadnet_worker_restarts_total",] == 0
        assert server.stop()[0] == 0


def test_a_worker_that_is_halted_for_less_than_the_limit_is_kept(registry):
    publish(registry)
    options = ("--workers", "2", "--metrics-port", "0", "--worker-timeout", "3600")
    with ServerProcess(registry.root, *options) as server:
        workers = children_of(server.process.pid)
        os.kill(workers[0], signal.SIGSTOP)
        # Metrics are still served, with the worker's last report.
        assert server.scrape()["quadnet_model_version", "champion", "quadrants"] == 1
        os.kill(workers[0], signal.SIGCONT)
        with Load(server.address, REQUEST, in_flight=16, connections=16, at_most=200) as load:
            load.wait_for_all(60)
        assert not load.failed
        assert children_of(server.process.pid) == workers
        assert server.stop()[0] == 0


def test_a_server_that_was_halted_as_a_whole_keeps_its_workers(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2", "--worker-timeout", "8") as server:
        workers = children_of(server.process.pid)
        all_pids = [server.process.pid, *workers]
        for pid in all_pids:
            os.kill(pid, signal.SIGSTOP)
        # For longer than the limit, as when a container is paused. There is no event to wait for.
        select.select([], [], [], 10)
        for pid in all_pids:
            os.kill(pid, signal.SIGCONT)
        with Load(server.address, REQUEST, in_flight=16, connections=16, at_most=200) as load:
            load.wait_for_all(60)
        assert not load.failed
        assert children_of(server.process.pid) == workers
        assert server.stop()[0] == 0


def test_a_worker_that_the_system_cannot_start_is_started_later(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2", "--metrics-port", "0") as server:
        server.logged("version live", 2)
        pid = server.process.pid
        first, _ = children_of(pid)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # No file descriptor is free from now on.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        os.kill(first, signal.SIGKILL)
        failed = server.logged("worker not replaced", 2)
        assert failed["reason"] == "A worker process cannot be started: Too many open files."
        assert failed["retried_in"] > 0.2
        assert len(children_of(pid)) == 1
        assert server.stub.Classify(REQUEST, timeout=10, wait_for_ready=True).model.version == 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        server.logged("version live", 3)
        assert len(children_of(pid)) == 2
        assert server.stop()[0] == 0


def test_an_error_is_reported_if_no_worker_can_be_started(registry):
    publish(registry)
    done = subprocess.run(
        ["prlimit", "--nofile=9", *QUADNET, "serve", "--registry", registry.root, "--port", "0",
         "--workers", "2"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Too many open files." in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected fault" not in done.stderr


def test_a_second_server_cannot_share_the_port(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2") as server:
        for workers in ("1", "2"):
            done = quadnet(
                "serve", "--registry", registry.root, "--port", server.port, "--workers", workers
            )
            assert done.returncode == 1
            assert f"127.0.0.1:{server.port} cannot be listened on: Address already" in done.stderr


def test_of_two_servers_started_at_once_on_one_port_one_reports_that_it_is_taken(registry):
    publish(registry)
    with reserve_port("127.0.0.1", 0) as port:
        pass
    words = [*QUADNET, "serve", "--registry", registry.root, "--port", str(port), "--workers", "2"]
    with ExitStack() as running:
        servers = []
        for _ in range(2):
            server = running.enter_context(
                subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            running.callback(server.kill)
            servers.append(server)
        # One prints its first line; the other ends without output.
        lines = [server.stdout.readline() for server in servers]
        assert sorted(map(bool, lines)) == [False, True]
        for server, line in zip(servers, lines, strict=True):
            server.terminate()
            _, log = server.communicate(timeout=30)
            assert server.returncode == (0 if line else 1)
            taken = f"127.0.0.1:{port} cannot be listened on: Address already in use. Choose"
            assert (taken in log) == (not line)


def test_a_reserved_port_cannot_be_reserved_again():
    with reserve_port("127.0.0.1", 0) as port:
        for host in ("127.0.0.1", "localhost"):
            with (
                pytest.raises(CannotListen, match=f"{port} cannot be listened on: Address already"),
                reserve_port(host, port),
            ):
                pass
    with reserve_port("127.0.0.1", port) as again:
        assert again == port


def test_an_invalid_token_file_is_reported_without_a_traceback(registry, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("# none yet\n")
    done = quadnet(
        "serve", "--registry", registry.root, "--port", "0", "--workers", "2",
        "--token-file", tokens,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"The token file {tokens} has no token: expected one per line." in done.stderr
    assert "Traceback" not in done.stderr


def test_all_workers_follow_the_registry(registry):
    publish(registry)
    with ServerProcess(registry.root, "--workers", "2", "--poll", "0.02") as server:
        publish(registry, scale=2.0)
        server.logged("version live", 2, version=2)
        with Load(server.address, REQUEST, in_flight=16, connections=16, at_most=200) as load:
            load.wait_for_all(60)
        assert {each.answer.model.version for each in load.outcomes} == {2}
