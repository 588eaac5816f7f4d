"""The document at /docs has every method, and nothing that the server does not answer."""

import subprocess
from html.parser import HTMLParser

import pytest

from quadnet.registry import Registry
from service.rpc.errors import STATUSES
from tests.support.environments import make_environment
from tests.support.exact_models import publish
from tests.support.http_client import request
from tests.support.serving import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("openapi") / "registry")
    publish(registry)
    with ServerProcess(registry.root, "--http-port", "0", "--log-level", "error") as process:
        yield process


@pytest.fixture(scope="module")
def document(server):
    answer = request(server.url, "GET", "/docs")
    assert answer.headers["content-type"] == "application/json"
    return answer.values


def references(values):
    """Yield every reference in the document."""
    if isinstance(values, dict):
        yield from [values["$ref"]] if "$ref" in values else []
        values = list(values.values())
    if isinstance(values, list):
        for each in values:
            yield from references(each)


def test_every_method_is_described_and_answers_as_described(server, document):
    names = {"model": "quadrants", "version": "1"}
    described = {
        (http_method.upper(), path)
        for path, operations in document["paths"].items()
        for http_method in operations
    }
    unknown = request(server.url, "GET", "/unknown").values["error"]
    for http_method, path in described:
        operation = document["paths"][path][http_method.lower()]
        assert operation["summary"].endswith(".")
        answer = request(
            server.url,
            http_method,
            path.format(**names),
            body={} if http_method == "POST" else None,
        )
        assert str(answer.status) in operation["responses"], (http_method, path)
        assert answer.status < 500
        assert path in unknown
    assert ("GET", "/docs") in described
    assert len({each["operationId"] for each in _operations(document)}) == len(described)


def _operations(document):
    return [each for operations in document["paths"].values() for each in operations.values()]


def test_every_schema_exists_and_is_used(document):
    used = {each.rpartition("/")[2] for each in references(document)}
    assert used == set(document["components"]["schemas"])
    reasons = document["components"]["schemas"]["Error"]["properties"]["reason"]["enum"]
    assert set(reasons) == {"", *(status.reason for status in STATUSES.values())}


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


def test_browsers_get_a_page_with_the_same_words_and_without_scripts(server, document):
    answer = request(server.url, "GET", "/docs", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Page(answer.body.decode())
    text = "".join(page.words)
    for path, operations in document["paths"].items():
        for http_method, operation in operations.items():
            assert f"{http_method.upper()} {path}" in text
            assert operation["summary"] in text
    targets = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links <= targets
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe"}


# Own checks only: what a client may send wrongly, the server may also accept.
FUZZ = """
import sys, schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance, response_schema_conformance, status_code_conformance,
)
schema = schemathesis.openapi.from_url(sys.argv[1])
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance,
          status_code_conformance]
tested = []
for result in schema.get_all_operations():
    operation = result.ok()
    @settings(max_examples=30, deadline=None, database=None)
    def test(case):
        # A timeout that has passed is answered with 504, which is right.
        (case.headers or {}).pop("x-request-timeout", None)
        case.call_and_validate(checks=CHECKS)
    from hypothesis import given
    given(case=operation.as_strategy())(test)()
    tested.append(f"{operation.method.upper()} {operation.path}")
print(*tested, sep="\\n")
"""


@pytest.mark.environment
def test_schemathesis_finds_no_fault(server, document, tmp_path):
    programs = make_environment(tmp_path / "environment", "schemathesis>=4")
    done = subprocess.run(
        [programs / "python", "-c", FUZZ, f"{server.url}/docs"],
        capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    described = {
        f"{http_method.upper()} {path}"
        for path, operations in document["paths"].items()
        for http_method in operations
    }
    # Schemathesis leaves out the path of the document itself.
    assert set(done.stdout.splitlines()) == described - {"GET /docs"}
    assert not [line for line in server.log() if line["event"] == "call failed"]
