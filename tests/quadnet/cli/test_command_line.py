"""The command: help, messages and exit codes."""

import importlib
import json
import os
import re
import socket
import subprocess

import pytest

from quadnet.cli import parser
from quadnet.cli.main import main
from quadnet.cli.settings import variable_of
from quadnet.cli.verbs import VERBS
from quadnet.registry import Registry, alias_changes
from service.client import QuadrantClient
from tests.support.exact_models import publish
from tests.support.serving import QUADNET, ServerProcess, quadnet


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


IPV6 = has_ipv6()


def test_help_lists_every_verb_and_each_verb_has_help_with_its_variables():
    done = quadnet("--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout
        text = quadnet(*verb.split(), "--help")
        assert (text.returncode, text.stderr) == (0, "")
        assert "QUADNET_DEBUG" in text.stdout
        assert ("QUADNET_REGISTRY" in text.stdout) is (
            verb not in {"classify", "health", "bench", "init", "playground"}
        )
        assert ("QUADNET_PORT" in text.stdout) is (
            verb in {"up", "serve", "predict", "classify", "health", "bench", "playground"}
        )
    assert quadnet().returncode == 2
    group = quadnet("models", "--help")
    assert group.returncode == 0
    assert "models rollback" in group.stdout
    assert " serve " not in group.stdout
    assert quadnet("models").returncode == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models", "lst"], "quadnet: there is no verb 'models lst'. Did you mean models list?"),
        (["models", "fly"], "no verb 'models fly'. The verbs: models list, models show, models"),
        (["models", "diff", "quadrants:1"], "expected two versions, as in quadrants:7 quadrants:8"),
        (["models", "alias", "quadrants", "champion"], "expected ALIAS=VERSION, got 'champion'"),
        (["models", "export", "q", "q.onnx"], "expected a format: add --onnx"),
        (["models", "gc", "--keep", "0"], "--keep: input should be greater than or equal to 1"),
        (["models", "rollback", "q", "Champion"], "ALIAS: expected a lower-case letter and up to"),
        (["model", "list"], "there is no verb 'model'. Did you mean models list?"),
        (["model", "fly"], "there is no verb 'model'. Did you mean models?"),
        (["clasify"], "quadnet: there is no verb 'clasify'. Did you mean classify?"),
        (["fly"], "quadnet: there is no verb 'fly'. The verbs: up, train, init, search, score,"),
        (
            ["serve", "--prot", "3"],
            "quadnet serve: there is no option --prot; did you mean --port?",
        ),
        (["models", "alias", "q", "--set", "x"], "there is no option --set. Try quadnet models"),
        (["health", "--model", "q"], "there is no option --model. Try quadnet health --help."),
        (["serve", "--port", "70000"], "--port: input should be less than or equal to 65535"),
        (["serve", "--port", "x"], "--port: input should be a valid integer, got 'x'. Try"),
        (["serve", "--port"], "argument --port: expected one argument"),
        (["serve", "--model", "../x"], "--model: string should match pattern"),
        (["serve", "--host", "a" * 300], "--host: expected a host name or an IP address"),
        (["serve", "--host", "a..b"], "with 1 to 63 letters between two dots, got 'a..b'"),
        (["serve", "--host", ""], "--host: expected a host name or an IP address"),
        (["serve", "--host", "[::1]"], "--host: expected an IPv6 address without brackets"),
        (["serve", "--metrics-host", "é..b"], "--metrics-host: expected a host name or an IP"),
        (["up", "--page-host", "x y"], "--page-host: expected a host name or an IP address"),
        (["playground", "--page-host", "."], "--page-host: expected a host name or an IP address"),
        (["health", "--host", "a..b"], "--host: expected a host name or an IP address"),
        (["classify", "1", "2", "--host", "a\nb"], "--host: expected a host name or an IP"),
        (["bench", "--host", "http://x"], "--host: expected a host name or an IP address"),
        (["classify", "1", "2", "3"], "expected pairs X Y, got an odd count of numbers: 3"),
        (["classify"], "quadnet classify: expected points, as in 0.5 0.5 -0.3 0.8, or --file"),
        (["classify", "a", "b"], "POINTS: input should be a valid number"),
        (["classify", "1", "2", "--file", "p.csv"], "expected points or --file, got both"),
        (["classify", "1", "2", "--version", "9" * 23], "--version: input should be less than or"),
        (["serve", "--poll", "1e300"], "--poll: input should be less than or equal to 86400"),
        (["serve", "--grace", "inf"], "--grace: input should be less than or equal to 86400"),
        (["train", "quadrants", "--set", "points"], "--set: expected KEY=VALUE, got 'points'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(words, message, monkeypatch, capsys):
    # In this process, because only the arguments matter and it starts faster.
    monkeypatch.setattr("sys.argv", ["quadnet", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_wrong_variable_is_called_by_its_name():
    done = quadnet("serve", env={"QUADNET_PORT": "x"})
    assert done.returncode == 2
    assert done.stderr.startswith("quadnet serve: QUADNET_PORT: input should be a valid integer")


def test_a_wrong_switch_of_the_replay_is_refused_before_a_verb_runs():
    env = {"QUADNET_REPLAY": "off"}
    sentence = "The environment variable QUADNET_REPLAY must be 0 or 1, got 'off'.\n"
    done = quadnet("train", "nonesuch", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"quadnet train: {sentence}")
    assert quadnet("train", "--help", env=env).returncode == 0
    done = quadnet("--version", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"\nReplay: {sentence}")


def test_the_version_states_that_the_replay_is_off():
    done = quadnet("--version", env={"QUADNET_REPLAY": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[3] == (
        "Replay: switched off: the environment variable QUADNET_REPLAY is 0."
    )


@pytest.mark.parametrize(
    ("verb", "variable"),
    [
        ("serve", "QUADNET_PORT"),
        ("health", "QUADNET_PORT"),
        ("serve", "QUADNET_METRICS_PORT"),
        ("playground", "QUADNET_PAGE_PORT"),
    ],
)
def test_a_variable_that_kubernetes_sets_for_a_service_is_ignored_and_said(
    monkeypatch, capsys, verb, variable
):
    settings = importlib.import_module("service.settings")
    kind = getattr(settings, VERBS[verb].settings.partition(":")[2])
    name = variable.removeprefix("QUADNET_").lower()
    default = kind.model_fields[name].default
    # All variables of a Service quadnet with a port grpc.
    for suffix, value in {
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "50051",
        "SERVICE_PORT_GRPC": "50051",
        "PORT_50051_TCP": "tcp://10.0.0.7:50051",
        "PORT_50051_TCP_PROTO": "tcp",
        "PORT_50051_TCP_PORT": "50051",
        "PORT_50051_TCP_ADDR": "10.0.0.7",
        "VERSION": "1.2.3",
    }.items():
        monkeypatch.setenv(f"QUADNET_{suffix}", value)
    monkeypatch.setenv(variable, "tcp://10.0.0.7:50051")
    flag = f"--{name.replace('_', '-')}"
    assert getattr(parser.parse(kind, f"quadnet {verb}", []), name) == default
    assert capsys.readouterr().err == (
        f"quadnet {verb}: warning: {variable} is 'tcp://10.0.0.7:50051', which Kubernetes sets for "
        "a Service of that name. It is ignored. Set enableServiceLinks: false in the pod's spec, "
        f"and the setting itself with {flag}.\n"
    )
    # A flag overrides the variable, and any other wrong value is an error.
    assert getattr(parser.parse(kind, f"quadnet {verb}", [flag, "7"]), name) == 7
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(variable, "10.0.0.7:50051")
    with pytest.raises(SystemExit):
        parser.parse(kind, f"quadnet {verb}", [])
    assert f"{variable}: input should be a valid integer" in capsys.readouterr().err


SHARED = {
    "QUADNET_HOST",
    "QUADNET_PORT",
    "QUADNET_TOKEN_FILE",
    "QUADNET_LOG_LEVEL",
    "QUADNET_MODEL_NAME",
}
"""Several verbs describe these in different words, with the same meaning."""


def test_no_variable_has_two_meanings():
    meanings = {}
    for verb in VERBS.values():
        module, attribute = verb.settings.split(":")
        fields = getattr(importlib.import_module(module), attribute).model_fields
        for name, field in fields.items():
            if variable := variable_of(name, field):
                meanings.setdefault(variable, set()).add((name, field.description))
    assert {variable for variable, each in meanings.items() if len(each) > 1} <= SHARED
    assert all(len({name for name, _ in each}) == 1 for each in meanings.values())


def test_a_servers_variables_do_not_reach_the_verbs_that_change_a_registry(registry, monkeypatch):
    publish(registry)
    (staging := registry.home("quadrants") / ".staging" / "unfinished").mkdir()
    # The environment of a pod in which an operator runs a command.
    for name, value in {
        "GRACE": "0",
        "ALIAS": "candidate",
        "REASON": "x",
        "FORCE": "",
        "VERSION": "1.2.3",
        "RESUME": "true",
        "OVERWRITE": "true",
        "FILE": "/nonesuch",
        "MODEL": "digits",
    }.items():
        monkeypatch.setenv(f"QUADNET_{name}", value)
    done = quadnet("models", "gc", "--apply", "--registry", registry.root)
    assert (done.returncode, done.stdout) == (0, "0 things, 0 bytes removed.\n")
    assert staging.is_dir()
    small = ["data.points=400", "network.max_iter=30", "gate.accuracy=0.5", "gate.champion=false"]
    words = [word for change in small for word in ("--set", change)]
    done = quadnet("train", "quadrants", *words, "--registry", registry.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "alias champion" in done.stdout
    assert quadnet("models", "show", "quadrants", "--registry", registry.root).returncode == 0
    # The variable with the verb's own name applies.
    monkeypatch.setenv("QUADNET_GC_GRACE", "0")
    done = quadnet("models", "gc", "--apply", "--registry", registry.root)
    assert "removed: unfinished version" in done.stdout
    assert not staging.exists()
    assert "(QUADNET_GC_GRACE, default: 3600.0)" in " ".join(
        quadnet("models", "gc", "--help").stdout.split()
    )


def test_what_has_no_variable_is_not_looked_for_in_the_environment():
    done = quadnet("classify", env={"QUADNET_POINTS": "1 2"})
    assert done.returncode == 2
    assert "expected points" in done.stderr
    assert "QUADNET_SET" not in quadnet("train", "--help").stdout
    done = quadnet("train", "nonesuch", env={"QUADNET_SET": "data.points=4", "QUADNET_RUN": "x"})
    assert "There is no preset 'nonesuch'" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "article-3"], "'article-3'. Did you mean article-2? The presets: article-1,"),
        (["train", "digit"], "There is no preset 'digit'. Did you mean digits? The presets:"),
        (["train", "mine.toml"], "The run file mine.toml cannot be read: No such file"),
        (
            ["train", "quadrants", "--registry", "f/r"],
            "The registry f/r cannot be read: Not a",
        ),
        (
            ["up", "--port", "0", "--registry", "f/r"],
            "aliases cannot be read: Not a",
        ),
        (["up", "--port", "0", "--model", "nonesuch"], "There is no preset 'nonesuch'"),
        (["classify", "1", "2", "--port", "1"], "No Quadnet server answers at 127.0.0.1:1."),
        (["health", "--port", "1"], "No Quadnet server answers at 127.0.0.1:1. Start one with"),
        (["classify", "--file", "no.csv"], "no.csv cannot be read: No such file"),
        (["serve", "--host", "198.51.100.1"], "198.51.100.1:50051 cannot be listened on"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_code_1(tmp_path, words, message):
    (tmp_path / "f").write_text("a file where a directory should be")
    done = quadnet(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    # Nothing was half written.
    assert Registry(tmp_path / "models").models() == []


def test_a_failed_gate_exits_with_1_and_publishes_nothing(tmp_path):
    done = quadnet(
        "train", "quadrants", "--set", "network.max_iter=1", "--set", "data.points=200",
        "--registry", tmp_path / "registry",
    )  # fmt: skip
    assert done.returncode == 1
    assert "quadrants was not published: it failed its gate on accuracy" in done.stderr
    assert Registry(tmp_path / "registry").models() == []


def test_debug_shows_the_traceback():
    done = quadnet("health", "--port", "1", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_port_in_use_is_said_and_the_first_server_goes_on(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        done = quadnet("serve", "--registry", registry.root, "--port", server.port)
        assert done.returncode == 1
        assert done.stderr == (
            f"quadnet serve: 127.0.0.1:{server.port} cannot be listened on: Address already in "
            "use. Choose another with --port or --host.\n"
        )
        # A name may have several addresses: the one that is taken is enough to refuse.
        done = quadnet(
            "serve", "--registry", registry.root, "--port", server.port, "--host", "localhost"
        )
        assert done.returncode == 1
        assert f"localhost:{server.port} cannot be listened on" in done.stderr
        for workers in ("1", "2"):
            options = ("--port", "0", "--http-port", server.port, "--workers", workers)
            done = quadnet("serve", "--registry", registry.root, *options)
            assert done.returncode == 1
            assert "Address already in use. Choose another with --http-port" in done.stderr
        assert quadnet("health", "--port", server.port).returncode == 0


@pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_announced_as_it_must_be_typed(registry):
    publish(registry)
    with ServerProcess(registry.root, "--host", "::1", verb="up", env={"UV": ""}) as server:
        assert server.announcement[0] == f"Serving quadrants version 1 on {server.address}."
        (line,) = [line for line in server.announcement if "quadnet classify" in line]
        assert quadnet(*line.split()[1:]).returncode == 0


def test_a_proxy_for_the_outside_does_not_hide_a_server_on_this_machine(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        assert quadnet("health", "--port", server.port, env=proxy).returncode == 0


@pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")
def test_nor_one_on_an_ipv6_address(registry):
    publish(registry)
    with ServerProcess(registry.root, "--host", "::1") as server:
        proxy = {"http_proxy": "http://127.0.0.1:9"}
        done = quadnet("health", "--host", "::1", "--port", server.port, env=proxy)
        assert done.returncode == 0


def test_up_trains_publishes_and_serves_then_finds_what_is_there(tmp_path):
    registry = Registry(tmp_path / "registry")
    with ServerProcess(registry.root, verb="up", env={"UV": ""}) as server:
        first = "\n".join(server.announcement)
        assert (
            f"No version of 'quadrants' in {registry.root} is the champion yet: training it."
            in first
        )
        assert re.search(r"  passed  accuracy +0\.99", first)
        assert f"Published quadrants version 1 in {registry.root}, alias champion." in first
        assert f"Serving quadrants version 1 on {server.address}." in first
        # The announcement has commands to try; they work.
        (line,) = [line for line in server.announcement if "quadnet classify" in line]
        done = quadnet(*line.split()[1:])
        assert done.returncode == 0
        assert [row.split()[2] for row in done.stdout.splitlines()[1:]] == ["I", "II"]
        (call,) = [line for line in server.announcement if "grpcurl" in line]
        assert json.loads(call.split("'")[1]) == {"x": [0.5, -0.3], "y": [0.5, 0.8]}
    assert registry.load("quadrants", 1).manifest.metrics["test"].accuracy >= 0.995

    with ServerProcess(registry.root, verb="up") as server:
        assert server.announcement[0] == f"Serving quadrants version 1 on {server.address}."
    assert registry.versions("quadrants") == [1]


def test_health_prints_each_name(registry):
    publish(registry)
    with ServerProcess(registry.root) as server:
        done = quadnet("health", env={"QUADNET_PORT": server.port})
        assert done.stdout == "(server): SERVING\nquadrant.v1.QuadrantService: SERVING\n"
        assert done.returncode == 0
        unknown = quadnet("health", "other", "--port", server.port)
        assert (unknown.returncode, unknown.stdout) == (1, "other: SERVICE_UNKNOWN\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("cli") / "registry")
    publish(registry, scale=3.0)
    publish(registry, scale=0.1, alias="")
    with ServerProcess(registry.root) as process:
        yield process


def test_classify_prints_quadrant_and_certainty_of_each_point(server):
    done = quadnet("classify", "0.5", "0.5", "-0.3", "0.8", "-1e-3", "-.4", "--port", server.port)
    assert done.stderr == ""
    # Certainties of the exact model: softmax of 3 (±x ± y).
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["x", "y", "quadrant", "certainty", "by", "quadrants", "version", "1"],
        ["0.5", "0.5", "I", "90.74%"],
        ["-0.3", "0.8", "II", "85.11%"],
        ["-0.001", "-0.4", "III", "45.98%"],
    ]


def test_classify_asks_another_version(server):
    done = quadnet("classify", "0.5", "0.5", "--version", "2", "--port", server.port)
    assert done.stdout.splitlines()[1].split()[2:] == ["I", "27.56%"]
    done = quadnet("classify", "0.5", "0.5", "--version", "7", "--port", server.port)
    assert done.returncode == 1
    assert done.stderr == (
        "quadnet classify: Model 'quadrants' has no version 7. Its versions, newest first: 2, 1.\n"
    )


def test_a_point_that_is_no_number_is_refused_by_the_server(server):
    done = quadnet("classify", "1", "2", "nan", "-inf", "--port", server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "quadnet classify: x[1]: expected a finite number, got nan (and 1 more fault)\n"
    )


def test_classify_reads_a_file_of_any_length(server, tmp_path):
    path = tmp_path / "points.csv"
    rows = [(0.5 if i % 3 else -0.5, 0.25) for i in range(25_000)]
    # With a byte-order mark, other columns, and these in another order.
    path.write_text(
        "name,y,x\n" + "".join(f"p{i},{y},{x}\n" for i, (x, y) in enumerate(rows)),
        encoding="utf-8-sig",
    )
    done = quadnet("classify", "--file", path, "--port", server.port)
    assert done.stderr == ""
    answers = [line.split()[2] for line in done.stdout.splitlines()[1:]]
    assert answers == ["I" if x > 0 else "II" for x, _ in rows]


def test_a_server_that_takes_few_points_a_call_is_sent_as_few(registry, tmp_path):
    publish(registry)
    path = tmp_path / "points.csv"
    path.write_text("x,y\n" + "0.5,0.5\n" * 1200)
    with ServerProcess(registry.root, "--max-points", "1000") as server:
        done = quadnet("classify", "--file", path, "--port", server.port)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "quadnet classify: points_a_call: expected at most 1000, the server's limit, got 1200. "
            "Set --points-a-call to 1000 or less.\n"
        )
        done = quadnet("classify", "--file", path, "--port", server.port, "--points-a-call", 1000)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 1201


def test_a_fault_of_a_later_call_is_named_by_its_place_among_all(server):
    words = ("1", "2", "3", "4", "5", "nan", "--points-a-call", "2")
    done = quadnet("classify", *words, "--port", server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "quadnet classify: y[2]: expected a finite number, got nan\n"


def test_a_file_without_points_is_answered_by_the_server_with_the_heading(server, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("x,y\n")
    done = quadnet("classify", "--file", path, "--port", server.port)
    assert (done.returncode, done.stderr) == (0, "")
    (heading,) = done.stdout.splitlines()
    assert heading.split()[3:] == ["certainty", "by", "quadrants", "version", "1"]
    done = quadnet("classify", "--file", path, "--port", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No Quadnet server answers at 127.0.0.1:1." in done.stderr


def test_one_version_answers_a_whole_file_and_is_named(registry, tmp_path):
    publish(registry, scale=3.0)
    publish(registry, scale=0.1, alias="")
    pipe = tmp_path / "points.csv"
    os.mkfifo(pipe)
    with ServerProcess(registry.root, "--poll", "0.01") as server:
        process = subprocess.Popen(
            [*QUADNET, "classify", "--file", pipe, "--port", server.port],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process, pipe.open("w") as file:
            # A little more than one read: the pipe holds the rest.
            file.write("x,y\n" + "0.5,0.5\n" * 10_500)
            file.flush()
            heading = process.stdout.readline()
            alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="")
            with QuadrantClient(server.address) as client:
                while client.classify([[1, 1]]).version != 2:
                    pass
            file.write("0.5,0.5\n" * 5_000)
            file.close()
            certainties = [line.split()[3] for line in process.stdout]
    assert certainties == ["90.74%"] * 15_500
    assert heading.split()[-4:] == ["by", "quadrants", "version", "1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,z\n1,2\n", "expected the columns x and y in its first line, got x, z"),
        (b"", "expected the columns x and y in its first line, got none"),
        (b"x,y\n1,2\n3,abc\n", "line 3, column y: expected a number, got 'abc'"),
        (b"x,y\n1,2\n3,nan\n", "line 3, column y: expected a number, got 'nan'"),
        (b"x,y\n1,2\n3\n", "line 3: expected 2 cells, got 1"),
        (b"x,y\n1,\xff\n", "expected a CSV file in UTF-8, got another ("),
    ],
)
def test_a_bad_file_is_said_with_line_and_column(server, tmp_path, content, message):
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    done = quadnet("classify", "--file", path, "--port", server.port)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    if b"\xff" in content:
        assert "`quadnet score` reads Parquet, compressed files" in done.stderr


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = quadnet("health", "--port", port, "--timeout", "0.5")
    assert done.returncode == 1
    assert f"The server at 127.0.0.1:{port} did not answer within 0.5 s." in done.stderr


def test_the_reader_may_go_away(server, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("x,y\n" + "1,1\n" * 30_000)
    with subprocess.Popen(
        [*QUADNET, "classify", "--file", path, "--port", server.port],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_help_to_a_reader_that_has_left_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(QUADNET, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
