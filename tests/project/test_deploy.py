"""The files of service/deploy agree with the settings, the server and the image."""

import re

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.server.server import SERVICES
from service.settings import ServeSettings
from tests.support.exact_models import publish
from tests.support.serving import ROOT, ServerProcess

FOLDER = ROOT / "service/deploy"
FILES = {path.name: list(yaml.safe_load_all(path.read_text())) for path in FOLDER.iterdir()}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROBES = ("readinessProbe", "livenessProbe")


def kinds(name):
    return {document["kind"]: document for document in FILES[name]}


PODS = {
    "kubernetes.yaml": kinds("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"],
    "kserve.yaml": kinds("kserve.yaml")["InferenceService"]["spec"]["predictor"],
}
NAMES = pytest.mark.parametrize("name", PODS)


def container(name):
    (only,) = PODS[name]["containers"]
    return only


def arguments(name):
    """Return the settings of the container as strings: from flags, then from variables."""
    fields = ServeSettings.model_fields
    verb, *words = container(name)["args"]
    assert verb == "serve"
    given = {}
    while words:
        flag = words.pop(0)
        assert re.fullmatch(r"--[a-z-]+", flag)
        field = flag[2:].replace("-", "_")
        assert field in fields, f"there is no {flag}"
        given[field] = True if fields[field].annotation is bool else words.pop(0)
    for variable in container(name)["env"]:
        prefix, _, field = variable["name"].partition("_")
        assert prefix == "QUADNET"
        assert field.lower() in fields, f"there is no {variable['name']}"
        assert isinstance(variable["value"], str), f"{variable['name']} is no string"
        assert field.lower() not in given
        given[field.lower()] = variable["value"]
    return given


def settings(name):
    """Return the settings that the server parses in the image, with the image's variables."""
    image = re.search(r"FROM base AS serve\n(.*)", DOCKERFILE, re.DOTALL)[1]
    fixed = dict(re.findall(r"QUADNET_(\w+)=(\S+)", image))
    fixed = {field.lower(): value for field, value in fixed.items()}
    assert fixed.keys() == {"registry", "host"}
    return ServeSettings(**(fixed | arguments(name)))


def test_every_file_is_one_that_is_checked():
    assert FILES.keys() == PODS.keys()


@NAMES
def test_flags_and_variables_are_settings_with_values_that_they_take(name):
    found = settings(name)
    assert found.host == "0.0.0.0"
    assert found.max_points < ServeSettings().max_points
    assert found.max_message_bytes < ServeSettings().max_message_bytes


@NAMES
def test_a_pod_has_time_to_answer_what_is_in_flight(name):
    found = settings(name)
    given = PODS[name].get("terminationGracePeriodSeconds") or PODS[name]["timeout"]
    assert found.drain_delay > 0
    # And some time to start and to stop.
    assert given >= found.drain_delay + found.grace + 5
    readiness = container(name)["readinessProbe"]
    noticed = readiness["periodSeconds"] * readiness.get("failureThreshold", 3)
    assert found.drain_delay > noticed + readiness["timeoutSeconds"]


@NAMES
def test_kubernetes_sets_no_variable_of_ours_for_the_service_of_the_same_name(name):
    assert PODS[name]["enableServiceLinks"] is False


@NAMES
def test_ports_are_those_that_are_listened_on(name):
    found = settings(name)
    ports = {port["name"]: port["containerPort"] for port in container(name)["ports"]}
    grpc_port = ports.pop("h2c" if name == "kserve.yaml" else "grpc")
    assert grpc_port == found.port
    assert f"EXPOSE {grpc_port}\n" in DOCKERFILE
    further = {"http": found.http_port, "metrics": found.metrics_port}
    assert ports == {kind: port for kind, port in further.items() if port is not None}
    assert found.http_port is None or f"EXPOSE {found.http_port}\n" in DOCKERFILE
    assert [container(name)[probe]["grpc"]["port"] for probe in PROBES] == [grpc_port] * 2


@NAMES
def test_probes_ask_grpc_for_names_that_the_server_has(name, tmp_path, registry):
    """Readiness checks a model that may not be ready; liveness only fails for a dead server."""
    readiness, liveness = [container(name)[probe]["grpc"]["service"] for probe in PROBES]
    assert readiness in SERVICES

    def check(server, service):
        stub = health_pb2_grpc.HealthStub(server.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status

    status = health_pb2.HealthCheckResponse
    with ServerProcess(tmp_path / "none") as empty:
        assert check(empty, readiness) == status.NOT_SERVING
        assert check(empty, liveness) == status.SERVING
    publish(registry)
    with ServerProcess(registry.root) as server:
        assert check(server, readiness) == check(server, liveness) == status.SERVING
        with pytest.raises(grpc.RpcError):
            check(server, "other")


@NAMES
def test_a_pod_has_no_rights_and_says_what_it_needs(name):
    only = container(name)
    security = PODS[name].get("securityContext", {}) | only["securityContext"]
    assert security["runAsNonRoot"] is True
    assert f"useradd --uid {security['runAsUser']} " in DOCKERFILE
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}
    assert re.fullmatch(r"\d+[MG]i", only["resources"]["limits"]["memory"])


def test_the_service_is_headless_and_leads_to_the_pods():
    documents = kinds("kubernetes.yaml")
    service = documents["Service"]["spec"]
    assert service["clusterIP"] == "None"
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"] == labels
    assert documents["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    ports = container("kubernetes.yaml")["ports"]
    listened = {each["name"]: each["containerPort"] for each in ports}
    found = settings("kubernetes.yaml")
    assert {port["port"] for port in service["ports"]} == {found.port, found.http_port}
    assert all(listened[port["targetPort"]] == port["port"] for port in service["ports"])


def test_prometheus_is_told_the_metrics_port():
    template = kinds("kubernetes.yaml")["Deployment"]["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings("kubernetes.yaml").metrics_port)


def test_kserve_finds_grpc_by_the_ports_name():
    (port,) = container("kserve.yaml")["ports"]
    assert (port["name"], port["protocol"]) == ("h2c", "TCP")
    predictor = PODS["kserve.yaml"]
    assert predictor["containerConcurrency"] < settings("kserve.yaml").max_calls
