"""docs/reference.md is exactly what the code generates."""

from service.telemetry import metrics
from tests.reference import reference
from tests.support.serving import ROOT


def test_the_reference_is_made_from_the_code():
    text = (ROOT / "docs/reference.md").read_text()
    assert text == reference() + "\n", "run: python -m tests.reference > docs/reference.md"


def test_every_metric_is_ours_by_name_and_says_what_it_means():
    for collector in metrics.REGISTRY._collector_to_names:
        assert collector._name.startswith("quadnet_")
        assert collector._documentation.endswith(".")
