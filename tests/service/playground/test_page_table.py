"""The page on versions that take a table's columns, or predict numbers: a field for each column."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe

from service.client import QuadrantClient
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.golden import make
from tests.service.playground.browsing import needs_chromium, until, wait_label
from tests.service.playground.page_client import PageServerProcess
from tests.support.serving import ServerProcess

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables") / "registry"
    shutil.copytree(make.HERE / "2", root)
    with ServerProcess(root) as process:
        yield process


@pytest.fixture(scope="module")
def url(server):
    with PageServerProcess(server.port) as page:
        yield page.url


def ask(server, **columns):
    """Return the trace of a row of the model "shop"; columns that are not given are missing."""
    values = [
        pb.ColumnValue(name=name, **{"text" if isinstance(given, str) else "number": given})
        for name, given in columns.items()
    ]
    values += [pb.ColumnValue(name=name) for name in {"age", "city", "day"} - columns.keys()]
    return server.stub.Explain(pb.ExplainRequest(model=pb.ModelRef(name="shop"), columns=values))


def certainties(page):
    return page.eval_on_selector_all(
        "#bars output", "all => all.map(each => Number(each.dataset.value))"
    )


def wait_certainties(page, answer):
    until(
        page,
        "expected => JSON.stringify([...document.querySelectorAll('#bars output')]"
        ".map(each => Number(each.dataset.value))) === JSON.stringify(expected)",
        list(answer.probabilities),
    )
    wait_label(page, answer.label)


def test_a_table_is_asked_by_a_field_for_each_column(server, url, visit):
    page = visit("#model=shop", url=url)
    page.wait_for_selector("#columns input")
    assert page.text_content("#map-title") == "Inputs"
    fields = page.locator("#columns label")
    assert [text.split("\n")[0][:4] for text in fields.all_inner_texts()] == ["age", "city", "day"]
    age, city, day = (fields.nth(i).locator("input, select") for i in range(3))
    assert age.input_value() == "10.5"
    assert city.locator("option").all_inner_texts() == [
        "Oslo",
        "Rome",
        "Bern",
        "Ürümqi",
        "(missing)",
    ]
    day.fill("2024-02-29T00:00")
    wait_certainties(page, ask(server, age=10.5, city="Oslo", day="2024-02-29"))
    city.select_option("Ürümqi")
    age.fill("-3.25")
    wait_certainties(page, ask(server, age=-3.25, city="Ürümqi", day="2024-02-29"))
    # Every column of this version may be missing.
    age.fill("")
    city.select_option("(missing)")
    day.fill("")
    wait_certainties(page, ask(server))
    assert page.locator("#columns [aria-invalid]").count() == 0
    report = Axe().run(page)
    assert report.response["violations"] == []


def test_a_number_is_predicted_with_its_quantiles(server, url, visit):
    page = visit("#model=prices", url=url)
    page.wait_for_selector("#columns input")
    with QuadrantClient(f"127.0.0.1:{server.port}") as client:
        described = client.get_model("prices")
        middle = [(each.min + each.max) / 2 for each in described.features]
        # The fields begin in the middle of the range, with four digits.
        answer = client.explain([float(f"{each:.4g}") for each in middle], model="prices")
    until(page, "document.querySelectorAll('#bars output').length === 3")
    assert certainties(page) == list(answer.quantiles)
    assert page.text_content("#sentence").startswith(f"{described.target.name}: ")
    assert "root mean squared error" in page.text_content("#shown")
    field = page.locator("#columns input").first
    field.fill("")
    # Features without columns are never missing: nothing is asked, and the field says so.
    assert field.get_attribute("aria-invalid") == "true"
    assert "gaps" in field.evaluate("field => field.validationMessage")


def test_labels_are_named(server, url, visit):
    page = visit("#model=tags", url=url)
    page.wait_for_selector("#columns input")
    until(page, "document.querySelectorAll('#bars output').length > 1")
    with QuadrantClient(f"127.0.0.1:{server.port}") as client:
        described = client.get_model("tags")
        middle = [float(f"{(each.min + each.max) / 2:.4g}") for each in described.features]
        answer = client.explain(middle, model="tags")
    assert certainties(page) == list(answer.probabilities)
    expected = f"{', '.join(answer.labels)}." if answer.labels else "No label applies."
    assert page.text_content("#sentence") == expected
