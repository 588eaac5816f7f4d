"""Versions of older formats and older code load and predict as before."""

import itertools
import json

import numpy as np
import pytest

from quadnet.errors import NotFound
from quadnet.layers import Dropout
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.kinds import LAYER_KINDS
from quadnet.nn.predictor import RegressionPredictor
from quadnet.registry import Registry, alias_changes, integrity_check, tombstones
from quadnet.registry.version_files import compute_answers
from quadnet.tables.columns import Texts
from tests.golden import make

FORMATS = sorted(path for path in make.HERE.iterdir() if path.name.isdecimal())
CASES = [
    (path, name) for path in FORMATS for name in json.loads((path / make.EXPECTED).read_text())
]


def test_there_is_a_golden_registry_of_every_format():
    assert [path.name for path in FORMATS] == ["1", "2"]
    assert [path.name for path, _ in CASES] == ["1"] * 3 + ["2"] * len(make.MODELS)


def test_a_golden_version_has_every_kind_of_layer_that_predicts():
    kinds = set()
    for name in make.MODELS:
        manifest = json.loads(
            (FORMATS[-1] / f"models/{name}/versions/000001/manifest.json").read_text()
        )
        for layer in manifest["architecture"]["layers"]:
            kinds |= {layer["kind"], *(inner["kind"] for inner in layer.get("layers", []))}
    assert kinds == LAYER_KINDS.keys() - {Dropout.kind, Ensemble.kind}


@pytest.mark.parametrize(("root", "name"), CASES, ids=lambda value: getattr(value, "name", value))
class TestGolden:
    def test_it_answers_what_the_formulas_say(self, root, name):
        expected = json.loads((root / make.EXPECTED).read_text())[name]
        registry = Registry(root)
        assert {str(n) for n in registry.versions(name)} == set(expected["digests"]) == {"1", "3"}
        for version, digest in expected["digests"].items():
            model = registry.load(name, int(version))
            assert model.digest == registry.digest(name, int(version)) == digest
            assert model.manifest.tensor_digest == expected["tensor_digest"]
            tolerance = 1e-14 if model.predictor.dtype == np.float64 else 1e-6
            np.testing.assert_allclose(
                compute_answers(model.predictor, np.array(expected["points"])),
                expected[make.ANSWERS[type(model.predictor)]],
                atol=tolerance,
                # Of numbers, which may be large.
                rtol=tolerance * isinstance(model.predictor, RegressionPredictor),
            )
            card = registry.attachment(model, "card.md")
            assert card.decode() == f"# {name} {version}\n"

    def test_its_aliases_point_where_they_did_and_its_history_is_whole(self, root, name):
        registry = Registry(root)
        assert registry.resolve(name) == (name, 1)
        assert registry.resolve(f"{name}:candidate") == (name, 3)
        reasons = [each.reason for each in registry.alias_log(name).history()]
        assert reasons == ["it was not", "3 is good", "1 is good"]
        assert [checked.problem for checked in integrity_check.verify_registry(registry, name)] == [
            None
        ] * 3

    def test_the_version_that_was_removed_is_still_known_to_have_been(self, root, name):
        registry = Registry(root)
        assert [path.name for path in registry.path(name, 2).iterdir()] == [
            tombstones.TOMBSTONE_NAME
        ]
        with pytest.raises(NotFound, match="no version 2: it was removed"):
            registry.load(name, 2)


def test_golden_encoders_give_the_inputs_that_were_computed_by_hand():
    root = make.HERE / "2"
    ages, cities, days = zip(*make.ROWS, strict=True)
    table = {
        "day": np.array([day or "NaT" for day in days], "M8[us]"),
        "city": Texts.from_values(cities),
        "age": np.array([np.nan if age is None else age for age in ages]),
    }
    expected = json.loads((root / make.EXPECTED).read_text())["shop"]["inputs"]
    encoder = Registry(root).load("shop", 1).encoder
    np.testing.assert_allclose(encoder.transform(table), expected, atol=1e-14, rtol=1e-14)
    assert encoder.count_unknown(table) == {"city": 1}


def test_the_script_still_makes_such_a_registry_with_the_same_weights(tmp_path):
    make.make(tmp_path / "new")
    made = json.loads((tmp_path / "new" / make.EXPECTED).read_text())
    # Of every format: the digest of the tensors does not depend on it.
    golden = [json.loads((path / make.EXPECTED).read_text()).items() for path in FORMATS]
    for name, expected in itertools.chain(*golden):
        assert made[name]["tensor_digest"] == expected["tensor_digest"]
        assert made[name]["points"] == expected["points"]
        answers = "values" if "values" in expected else "probabilities"
        np.testing.assert_allclose(made[name][answers], expected[answers], atol=1e-15, rtol=1e-15)
    # It can be changed, too.
    registry = Registry(tmp_path / "new")
    assert (
        alias_changes.set_aliases(registry, "quadrants", {"champion": 3}, reason="x").generation
        == 4
    )
