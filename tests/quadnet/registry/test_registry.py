"""The registry returns what was published, and refuses everything else."""

import json
import os
import shutil
import stat
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file

from quadnet.errors import CorruptVersion, NotFound, RegistryError
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import (
    Registry,
    alias_changes,
    garbage_collection,
    integrity_check,
    version_files,
)
from tests.support.exact_models import SELF_TEST_INPUTS, exact_predictor, publish, record, signed


def test_what_was_published_comes_back_bit_for_bit(registry):
    predictor = exact_predictor(3.7)
    published = registry.publish("quadrants", predictor, record(predictor), SELF_TEST_INPUTS)
    loaded = Registry(registry.root).load("quadrants", 1)
    assert loaded.digest == published.digest
    for a, b in zip(
        loaded.predictor.network.parameters.weights,
        predictor.network.parameters.weights,
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert loaded.predictor.predict([[0.1, -0.1], [-2.0, 0.3]]).tolist() == ["IV", "II"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", ["sigmoid_squared_error", "softmax_cross_entropy"])
def test_every_shape_of_network_round_trips(registry, dtype, bias, loss):
    network = Network.dense(
        [2, 3, 2, 4], activations=["tanh", "relu"], loss=loss, bias=bias, dtype=dtype
    )
    network.parameters.flat[:] = np.random.default_rng(0).normal(size=network.parameters.flat.shape)
    predictor = Predictor(network, list("abcd"))
    registry.publish("deep-1", predictor, record(predictor), SELF_TEST_INPUTS)
    loaded = registry.load("deep-1", 1).predictor
    assert loaded.dtype == dtype
    X = np.random.default_rng(1).normal(size=(50, 2))
    np.testing.assert_array_equal(loaded.probabilities(X), predictor.probabilities(X))


def test_versions_count_from_one_and_each_is_kept(registry):
    for scale in (1.0, 2.0, 3.0):
        publish(registry, scale=scale)
    assert registry.versions("quadrants") == [1, 2, 3]
    weights = [
        registry.load("quadrants", n).predictor.network.parameters.weights[0][0, 0]
        for n in (1, 2, 3)
    ]
    assert weights == [1.0, 2.0, 3.0]
    assert registry.models() == ["quadrants"]


def test_an_alias_moves_and_its_history_stays(registry):
    publish(registry)
    publish(registry, scale=2.0, alias="candidate")
    assert registry.target("quadrants").version == 1
    assert registry.target("quadrants", "candidate").version == 2
    alias_changes.set_aliases(registry, "quadrants", {"champion": 2}, reason="better")
    assert registry.target("quadrants").version == 2
    assert registry.aliases("quadrants").reason == "better"
    log = sorted(p.name for p in (registry.root / "models/quadrants/aliases").iterdir())
    assert log == ["00000001.json", "00000002.json", "00000003.json"]


def test_a_damaged_alias_log_is_an_error_and_never_an_older_answer(registry):
    publish(registry)
    publish(registry, scale=2.0)
    newest = registry.root / "models/quadrants/aliases/00000002.json"
    for content in (b"", b'{"generation"', newest.read_bytes().replace(b"champion", b"champion\0")):
        newest.write_bytes(content)
        for ask in (
            lambda: registry.target("quadrants"),
            lambda: alias_changes.set_aliases(
                registry, "quadrants", {"champion": 1}, reason="back"
            ),
            lambda: registry.prepare("quadrants"),
        ):
            with pytest.raises(RegistryError, match=r"00000002\.json cannot be read, and it holds"):
                ask()
    newest.unlink()
    assert registry.target("quadrants").version == 1


@pytest.mark.parametrize("marker", ['{"format": 99, "id": "x"}', "rubbish", ""])
def test_a_registry_of_another_format_is_refused(registry, marker):
    publish(registry)
    (registry.root / "registry.json").write_text(marker)
    for ask in (lambda: publish(registry), lambda: registry.load("quadrants", 1)):
        with pytest.raises(RegistryError, match="Expected a registry of format 1"):
            ask()


def test_messages_stay_small_however_much_there_is_to_list(registry):
    for _ in range(12):
        publish(registry, alias="")
    with pytest.raises(NotFound) as caught:
        registry.load("quadrants", 99)
    assert str(caught.value).endswith("newest first: 12, 11, 10, 9, 8, 7, 6, 5, 4, 3 and 2 more.")
    with pytest.raises(NotFound) as caught:
        registry.target("x" * 20_000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.target("digits"), "no model 'digits' in the registry. It holds: quadrants."),
        (lambda r: r.load("quadrants", 3), "no version 3. Its versions, newest first: 1."),
        (lambda r: r.target("quadrants", "prod"), "no alias 'prod'. Its aliases: champion."),
        (lambda r: r.load("../etc", 1), "'../etc' cannot be a model's name"),
        (lambda r: r.load("quadrants", 2), "no version 2"),
        (
            lambda r: r.resolve("quadrants@1"),
            "expected NAME:NUMBER or NAME:ALIAS, such as 'quadrants:1'.",
        ),
    ],
)
def test_what_is_not_there_is_said_with_what_is(registry, ask, message):
    publish(registry)
    with pytest.raises(NotFound, match=message.replace(".", r"\.")):
        ask(registry)


def test_files_that_are_no_versions_are_ignored(registry):
    publish(registry)
    versions = registry.root / "models/quadrants/versions"
    for name in ("7", "0000002", "latest", "000000", ".000009", "000x01"):
        (versions / name).mkdir()
    assert registry.versions("quadrants") == [1]
    publish(registry)
    assert registry.versions("quadrants") == [1, 2]


def edit_manifest(registry, change):
    """Change the manifest and its checksum, without an alias that pins the digest."""
    shutil.rmtree(registry.root / "models/quadrants/aliases")
    path = registry.root / "models/quadrants/versions/000001/manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    replace(path, signed(manifest))


def replace(path, content):
    path.unlink()  # it is read-only
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=3), "manifest.json: schema_version: expected a number"),
        (lambda m: m.update(version=2), "belongs to version 2"),
        (lambda m: m.update(extra=1), "manifest.json: extra"),
        (lambda m: m["files"].pop(version_files.WEIGHTS), "does not list the file weights"),
        (
            lambda m: m["files"].update({"../../x": {"size": 1, "sha256": "0" * 64}}),
            "manifest.json: files.../../x",
        ),
        (
            lambda m: m["architecture"]["layers"].insert(0, {"kind": "dense", "units": 10**12}),
            "weights.safetensors: too small",
        ),
        (lambda m: m["architecture"].update(input_shape=[1, 3]), "does not fit the signature"),
        (lambda m: m["architecture"].update(dtype="float32"), "expected weights.0 of shape"),
        (
            lambda m: m["architecture"].update(loss="sigmoid_squared_error"),
            "selftest.safetensors: the self-test failed: row 0 is off by",
        ),
        (lambda m: m.update(tensor_digest="0" * 64), "the digest of the tensors is not the one"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(registry, change, message):
    publish(registry)
    edit_manifest(registry, change)
    with pytest.raises(CorruptVersion, match=message.replace(".", r"\.")):
        registry.load("quadrants", 1)


def test_an_alias_pins_the_manifest_it_was_pointed_at(registry):
    publish(registry)
    path = registry.root / "models/quadrants/versions/000001/manifest.json"
    replace(path, signed({**json.loads(path.read_bytes()), "selftest_atol": 1e-8}))
    with pytest.raises(CorruptVersion, match="not the one that an alias points to"):
        registry.load("quadrants", 1)


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_what_is_published_can_be_read_by_all_whatever_the_umask(registry, umask):
    before = os.umask(umask)
    try:
        publish(registry)
    finally:
        os.umask(before)
    for path in [registry.root, *registry.root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o755 | (0o777 & ~umask), path
        else:
            assert mode == 0o444, path


def test_a_directory_of_other_things_is_not_made_a_registry(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RegistryError, match=r"Expected a registry or .*, found 'thesis\.tex'"):
        publish(Registry(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_people_and_tools_leave_in_a_folder_is_no_obstacle(tmp_path):
    for name in (".gitkeep", ".gitignore", ".DS_Store", "README.md", "Thumbs.db", "lost+found"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    registry = Registry(tmp_path)
    publish(registry)
    home = registry.home("quadrants")
    places = [tmp_path / "models", home, home / "versions", home / "aliases", home / ".staging"]
    for place in (*places, registry.path("quadrants", 1)):
        (place / ".gitkeep").write_text("")
        (place / "notes.txt").write_text("x")
    (tmp_path / "models" / "notes").mkdir()
    (home / "versions" / "000007.bak").mkdir()
    assert registry.models() == ["quadrants"]
    assert registry.versions("quadrants") == [1]
    assert publish(registry, alias="candidate").manifest.version == 2
    assert {checked.problem for checked in integrity_check.verify_registry(registry)} == {None}
    policy = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0, grace=0)
    for item in list(garbage_collection.find_removable(registry, policy)):
        assert garbage_collection.remove_item(registry, item, policy)
    assert all((place / ".gitkeep").exists() for place in places)


def git(directory, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(
        ["git", *identity, *words], cwd=directory, check=True, capture_output=True, text=True
    ).stdout


def test_a_registry_whose_line_ends_git_has_changed_is_said_so(registry, tmp_path):
    predictor = exact_predictor()
    registry.publish(
        "quadrants",
        predictor,
        record(predictor),
        SELF_TEST_INPUTS,
        attachments=lambda version: {"card.md": b"# Card\n\nText.\n"},
    )
    alias_changes.set_aliases(registry, "quadrants", {"champion": 1}, reason="test")
    git(registry.root, "init")
    git(registry.root, "add", ".")
    git(registry.root, "commit", "-m", "first")
    for crlf, advice in ((True, None), (True, "* -text\n")):
        if advice:
            (registry.root / ".gitattributes").write_text(advice)
            git(registry.root, "add", ".gitattributes")
            git(registry.root, "commit", "-m", "as advised")
        copy = tmp_path / ("advised" if advice else "copy")
        git(tmp_path, "clone", "-c", f"core.autocrlf={str(crlf).lower()}", registry.root, copy)
        problems = [checked.problem for checked in integrity_check.verify_registry(Registry(copy))]
        if advice:
            assert problems == [None, None]
            continue
        said = "its line ends were changed to CRLF, as git does if core.autocrlf is on. Put the"
        assert all(f"model's aliases: {said}" in problem for problem in problems)
        assert "`* -text` into a file .gitattributes" in problems[0]
        # With the original log, the message names the manifest; otherwise the card.
        home = copy / "models/quadrants"
        for restored, named in (
            (home / "aliases/00000001.json", "manifest.json"),
            (home / "versions/000001/manifest.json", "card.md"),
        ):
            restored.write_bytes(restored.read_bytes().replace(b"\r\n", b"\n"))
            problem = next(integrity_check.verify_registry(Registry(copy))).problem
            assert f"{named}: {said}" in problem


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RegistryError, match="cannot be read: Not a directory"):
        publish(Registry(tmp_path / "file" / "registry"))


def test_reading_a_registry_that_is_not_there_finds_nothing_and_makes_nothing(registry):
    assert registry.models() == []
    assert registry.versions("quadrants") == []
    with pytest.raises(NotFound, match="It holds: none"):
        registry.target("quadrants")
    assert not registry.root.exists()


SCALER = {"scaler.mean": np.array([1.5, -2.0]), "scaler.scale": np.array([3.0, 0.25])}


def test_a_scalers_vectors_are_kept_with_the_weights(registry):
    predictor = exact_predictor()
    published = registry.publish(
        "quadrants", predictor, record(predictor), SELF_TEST_INPUTS, scaler=SCALER
    )
    kept = load_file(registry.path("quadrants", 1) / version_files.WEIGHTS)
    for name, vector in SCALER.items():
        np.testing.assert_array_equal(kept[name], vector)
    assert published.manifest.tensor_digest == version_files.compute_tensor_digest(predictor)
    checks = integrity_check.verify_registry(registry, "quadrants")
    assert {checked.problem for checked in checks} == {None}


@pytest.mark.parametrize(
    "scaler",
    [
        {"scaler.mean": SCALER["scaler.mean"]},
        {**SCALER, "scaler.scale": np.ones(3)},
        {**SCALER, "scaler.scale": np.array([1.0, np.inf])},
        {**SCALER, "scaler.mean": np.ones(2, np.float32)},
        {"scaler.other": np.ones(2)},
    ],
)
def test_no_other_vectors_are_accepted_in_a_weights_file(registry, scaler):
    predictor = exact_predictor()
    with pytest.raises(CorruptVersion, match=r"weights\.safetensors"):
        registry.publish("quadrants", predictor, record(predictor), SELF_TEST_INPUTS, scaler=scaler)
    assert registry.versions("quadrants") == []
