"""Registries of every format that was ever released, which stay loadable for ever."""

import json
from pathlib import Path

import numpy as np
import pytest

from quadnet import promotion, verification
from quadnet.manifest import SCHEMA_VERSION
from quadnet.registry import Registry

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(path.name for path in GOLDEN.iterdir() if path.name.isdecimal())


def test_there_is_one_of_the_present_format():
    assert str(SCHEMA_VERSION) in FORMATS


@pytest.mark.parametrize("number", FORMATS)
@pytest.mark.parametrize("name", ["softmax", "binary", "sigmoids"])
def test_a_golden_version_loads_and_answers_what_was_worked_out_by_hand(number, name):
    registry = Registry(GOLDEN / number)
    expected = json.loads((GOLDEN / number / "expected.json").read_text())[name]
    model = registry.load(name, 2)
    assert model.digest == expected["manifest_sha256"]
    assert model.manifest.tensor_digest == expected["tensor_digest"]
    P = model.predictor.probabilities(np.array(expected["inputs"]))
    tolerance = 1e-12 if model.manifest.architecture.dtype == "float64" else 1e-6
    np.testing.assert_allclose(P, expected["probabilities"], rtol=0, atol=tolerance)
    assert registry.attachment(model, "card.md") == b"version 2\n"
    targets = registry.aliases(name).aliases
    assert {alias: to.version for alias, to in targets.items()} == {"champion": 2, "candidate": 1}
    assert [g.reason for g in registry.alias_log(name).history()] == ["swapped", "golden"]


@pytest.mark.parametrize("number", FORMATS)
def test_a_golden_registry_verifies_and_can_be_gone_on_with(number, tmp_path):
    import shutil

    shutil.copytree(GOLDEN / number, tmp_path / number)
    registry = Registry(tmp_path / number)
    problems = [checked for checked in verification.check(registry) if checked.problem]
    assert problems == []
    promotion.rollback(registry, "softmax", reason="on")
    assert registry.target("softmax").version == 1
