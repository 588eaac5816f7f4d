"""Fixtures that several folders share."""

import pytest

from quadnet.registry import Registry
from service.client import QuadrantClient
from tests.service.playground.browsing import chromium, publish_crooked
from tests.service.playground.page_client import PageServerProcess
from tests.support.exact_models import publish
from tests.support.inference_client import MAX_ROWS, InferenceStub, publish_models
from tests.support.serving import ServerProcess
from tests.support.table_models import publish_table_models


@pytest.fixture
def registry(tmp_path):
    """Return a registry that does not exist yet."""
    return Registry(tmp_path / "registry")


# ---- the inference protocol: one server for all test files


@pytest.fixture(scope="session")
def inference_models(tmp_path_factory):
    """Publish models of several shapes; return the registry, and each model's predictor."""
    registry = Registry(tmp_path_factory.mktemp("inference") / "registry")
    return registry, publish_models(registry)


@pytest.fixture(scope="session")
def inference_server(inference_models):
    """Return a server of these models, which no test may change."""
    registry, _ = inference_models
    with ServerProcess(registry.root, "--max-points", str(MAX_ROWS)) as process:
        yield process


@pytest.fixture(scope="session")
def inference(inference_server):
    """Return the methods of that server's `inference.GRPCInferenceService`."""
    return InferenceStub(inference_server.channel)


@pytest.fixture(scope="session")
def table_models(tmp_path_factory):
    """Publish versions with an encoder; return the registry, and each model's version by name."""
    registry = Registry(tmp_path_factory.mktemp("tables") / "registry")
    return registry, publish_table_models(registry)


@pytest.fixture(scope="session")
def table_server(table_models):
    """Return a server of these models, over gRPC and HTTP, which no test may change."""
    registry, _ = table_models
    with ServerProcess(registry.root, "--model", "classes", "--http-port", "0") as process:
        yield process


# ---- the page: one server and one gateway for all test files


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory):
    """Return a registry whose first version is exact and whose champion is wrong in places."""
    found = Registry(tmp_path_factory.mktemp("page") / "registry")
    publish(found, scale=6.0)
    publish_crooked(found)
    return found


@pytest.fixture(scope="session")
def served(two_versions):
    with ServerProcess(two_versions.root, "--poll", "0.1") as server:
        yield server


@pytest.fixture(scope="session")
def gateway(served):
    with PageServerProcess(served.port, "--log-level", "info") as process:
        yield process


# Not session-wide: a running browser occupies the event loop of the thread.
@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def python(served):
    """Return a client of the server that the page shows."""
    with QuadrantClient(served.address) as client:
        yield client


@pytest.fixture
def visit(browser, gateway):
    """Open the page at a fragment; any console error or warning fails the test at its end."""
    contexts, complaints, foreign = [], [], []

    def open_page(fragment="", *, url=gateway.url, ready="html[data-ready]", **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: r.url.startswith((url, "data:", "blob:")) or foreign.append(r.url)
        )
        page.goto(url + fragment)
        page.wait_for_selector(ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser itself reports what tests provoke: refusals and reads of a bitmap.
    provoked = ("Failed to load resource", "Canvas2D: Multiple readback")
    assert [text for text in complaints if not text.startswith(provoked)] == []
    assert foreign == []
