"""Full, read-only and split disks, other owners, and arrays of every dtype and layout."""

import json
import os
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from quadnet.errors import CorruptVersion, RegistryError
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import (
    Registry,
    alias_changes,
    atomic_files,
    garbage_collection,
    integrity_check,
)
from tests.support import forked_processes
from tests.support.exact_models import SELF_TEST_INPUTS, publish, record, signed

MODEL = "quadrants"
SWEEP = garbage_collection.RetentionPolicy(newest=1, days=0, generations=0, grace=0)


@contextmanager
def mounted(directory, size="1m"):
    """Mount a file system in memory at the directory; skip if that is not allowed."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def read_only(directory):
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)


def fill(directory, pages):
    """Fill the file system except for so many pages; each file needs at least one."""
    numbers = os.statvfs(directory)
    (directory / "ballast").write_bytes(bytes((numbers.f_bavail - pages) * numbers.f_frsize))


def unfinished(registry):
    return [
        path
        for path in registry.root.rglob("*")
        if path.name.startswith(atomic_files.TEMPORARY_PREFIX) or path.parent.name == ".staging"
    ]


def verified(registry):
    return [checked.problem for checked in integrity_check.verify_registry(registry)]


@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_a_full_disk_is_said_leaves_nothing_half_and_does_once_there_is_space(tmp_path, pages):
    with mounted(tmp_path / "disk") as disk:
        registry = Registry(disk / "registry")
        publish(registry)
        fill(disk, pages)
        with pytest.raises(RegistryError, match=r"The registry .* cannot be written: .*No space"):
            publish(registry)
        assert registry.versions(MODEL) == [1] or pages == 3
        assert unfinished(registry) == []
        assert set(verified(registry)) == {None}
        (disk / "ballast").unlink()
        assert publish(registry).manifest.version == len(registry.versions(MODEL))
        assert registry.load(*registry.resolve(MODEL))


def test_on_a_full_disk_aliases_stay_as_they_are_and_nothing_is_removed_half(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        registry = Registry(disk / "registry")
        publish(registry, alias="")
        publish(registry)
        publish(registry, alias="")
        (item,) = garbage_collection.find_removable(registry, SWEEP)
        fill(disk, 0)
        for _ in range(2):
            with pytest.raises(RegistryError, match=r"cannot be written: .*No space left"):
                alias_changes.set_aliases(registry, MODEL, {"champion": 3}, reason="full")
        with pytest.raises(RegistryError, match=r"cannot be written: .*No space left"):
            garbage_collection.remove_item(registry, item, SWEEP)
        assert registry.target(MODEL).version == 2
        assert registry.versions(MODEL) == [1, 2, 3]
        assert unfinished(registry) == []
        (disk / "ballast").unlink()
        alias_changes.set_aliases(registry, MODEL, {"champion": 3}, reason="space again")
        assert registry.target(MODEL).version == 3
        for left in list(garbage_collection.find_removable(registry, SWEEP)):
            assert garbage_collection.remove_item(registry, left, SWEEP)
        assert registry.versions(MODEL) == [2, 3]


def test_a_disk_without_room_for_a_registry_is_said(tmp_path):
    with mounted(tmp_path / "disk", size="16k") as disk:
        fill(disk, 0)
        with pytest.raises(RegistryError, match="No space left on device"):
            Registry(disk / "registry").prepare(MODEL)


def test_a_read_only_disk_is_read_and_every_change_of_it_refused(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        registry = Registry(disk / "registry")
        publish(registry, alias="")
        publish(registry)
        (item,) = garbage_collection.find_removable(registry, SWEEP)
        read_only(disk)
        assert registry.load(*registry.resolve(MODEL))
        assert verified(registry) == [None] * 3
        for refused in (
            lambda: publish(registry),
            lambda: registry.prepare(MODEL),
            lambda: registry.prepare("digits"),
            lambda: alias_changes.set_aliases(registry, MODEL, {"champion": 1}, reason="x"),
            lambda: garbage_collection.remove_item(registry, item, SWEEP),
        ):
            with pytest.raises(RegistryError, match=r"cannot be written: .*Read-only file system"):
                refused()


@pytest.fixture
def shared():
    """Return a directory that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_read_all_and_is_told_in_a_sentence_what_he_may_not(shared):
    registry = Registry(shared / "registry")
    before = os.umask(0o077)
    try:
        publish(registry, alias="")
        publish(registry)
    finally:
        os.umask(before)
    said = forked_processes.run("tests.support.unprivileged_user", registry.root)
    assert said.pop("read") == ["I", "II", "III", "IV"]
    assert said.pop("verified") == [None] * 3
    assert list(said) == ["prepare", "publish", "alias", "gc", "elsewhere"]
    for message in said.values():
        assert message.startswith("RegistryError: The registry "), message
        assert "cannot be written: " in message
        assert "Permission denied" in message
    assert verified(registry) == [None] * 3
    assert unfinished(registry) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_another_user_may_not_read_is_said_and_never_passes_for_empty(shared):
    registry = Registry(shared / "registry")
    publish(registry)
    for path, told in (
        (registry.path(MODEL, 1), "CorruptVersion: Version 1 of model 'quadrants' must not be "),
        (registry.path(MODEL, 1) / "weights.safetensors", "CorruptVersion: Version 1 of model "),
        (registry.home(MODEL) / "versions", "RegistryError: The registry's "),
        (registry.home(MODEL) / "aliases", "RegistryError: The registry's "),
        (registry.home(MODEL) / "aliases" / "00000001.json", "RegistryError: "),
        (registry.home(MODEL), "RegistryError: The registry's "),
        (registry.root / "models", "RegistryError: The registry's "),
        (registry.root, "RegistryError: The registry "),
    ):
        mode = path.stat().st_mode
        path.chmod(0o700 if path.is_dir() else 0o400)
        message = forked_processes.run("tests.support.unprivileged_user", registry.root)["read"]
        path.chmod(mode)
        assert message.startswith(told), (path, message)
        assert "Permission denied" in message


def test_a_staging_directory_on_another_disk_is_refused_before_any_work(registry, tmp_path):
    publish(registry)
    staging = registry.home(MODEL) / ".staging"
    refused = pytest.raises(
        RegistryError, match=r"\.staging is on another file system than .*versions: a version"
    )
    with mounted(staging):
        for work in (lambda: registry.prepare(MODEL), lambda: publish(registry)):
            with refused:
                work()
    staging.rmdir()
    with mounted(tmp_path / "disk") as disk:
        staging.symlink_to(disk)
        for work in (lambda: registry.prepare(MODEL), lambda: publish(registry)):
            with refused:
                work()
        assert list(disk.iterdir()) == []
    staging.unlink()
    assert publish(registry).manifest.version == 2


def test_a_staging_directory_bound_from_elsewhere_is_found_by_prepare(tmp_path):
    """A bind mount has the same device number, but a rename out of it fails."""
    with mounted(tmp_path / "disk") as disk:
        registry = Registry(disk / "registry")
        publish(registry)
        staging = registry.home(MODEL) / ".staging"
        elsewhere = disk / "elsewhere"
        elsewhere.mkdir()
        subprocess.run(["mount", "--bind", elsewhere, staging], check=True)
        try:
            with pytest.raises(RegistryError, match=r"cannot be written: .*cross-device"):
                registry.prepare(MODEL)
            assert list(elsewhere.iterdir()) == []
        finally:
            subprocess.run(["umount", "--lazy", staging], check=True)


def test_the_order_of_versions_and_generations_never_depends_on_a_clock(registry):
    """The clock is set back, so that older files have times in the future."""
    publish(registry)
    future = datetime.now(UTC) + timedelta(days=3650)
    manifest = registry.path(MODEL, 1) / "manifest.json"
    generation = registry.home(MODEL) / "aliases" / "00000001.json"
    content = signed({**json.loads(manifest.read_bytes()), "created": future.isoformat()})
    manifest.unlink()
    manifest.write_bytes(content)
    log = json.loads(generation.read_bytes())
    log["aliases"]["champion"]["manifest_sha256"] = registry.digest(MODEL, 1)
    generation.unlink()
    generation.write_bytes(signed({**log, "at": future.isoformat()}))
    for path in registry.root.rglob("*"):
        os.utime(path, (future.timestamp(), future.timestamp()))
    assert publish(registry, scale=2.0).manifest.version == 2
    assert registry.target(MODEL).version == registry.target(MODEL, "latest").version == 2
    assert alias_changes.rollback(registry, MODEL, reason="back").aliases["champion"].version == 1
    assert set(verified(registry)) == {None}


CLASSES = ["a", "b", "c", "d"]


def published(registry, weights, inputs=SELF_TEST_INPUTS, dtype=np.float64):
    """Publish a 2-4 network with these weights, an array of any dtype and layout."""
    network = Network.dense([2, 4], activations=[], loss="softmax_cross_entropy", dtype=dtype)
    predictor = Predictor(network, CLASSES)
    predictor.network.parameters.arrays[0]["weights"] = weights
    return registry.publish(MODEL, predictor, record(predictor), inputs)


WEIGHTS = np.random.default_rng(0).normal(size=(2, 4))


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        np.asfortranarray(WEIGHTS),
        np.ascontiguousarray(WEIGHTS.T).T,
        np.repeat(WEIGHTS, 3, axis=1)[:, ::3],
        WEIGHTS[::-1, ::-1][::-1, ::-1],
        WEIGHTS.astype(">f8"),
        np.asfortranarray(WEIGHTS.astype(">f8")),
    ],
    ids=["C", "Fortran", "transposed", "strided", "reversed", "big-endian", "big-endian-Fortran"],
)
def test_weights_in_any_layout_come_back_exactly(registry, weights):
    published(registry, weights)
    loaded = registry.load(MODEL, 1).predictor.network.parameters.weights[0]
    np.testing.assert_array_equal(loaded, WEIGHTS)
    assert loaded.dtype == np.float64
    assert loaded.dtype.isnative


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", ">f8"])
def test_networks_of_every_dtype_come_back_exactly(registry, dtype):
    network = Network.dense(
        [2, 3, 4], activations=["tanh"], loss="softmax_cross_entropy", dtype=dtype
    )
    network.parameters.flat[:] = np.random.default_rng(0).normal(size=network.parameters.flat.shape)
    predictor = Predictor(network, CLASSES)
    registry.publish(MODEL, predictor, record(predictor), SELF_TEST_INPUTS)
    loaded = registry.load(MODEL, 1)
    np.testing.assert_array_equal(
        loaded.predictor.network.parameters.flat, predictor.network.parameters.flat
    )
    assert loaded.predictor.dtype.name == np.dtype(dtype).name
    assert loaded.manifest.selftest_atol == (1e-9 if np.dtype(dtype).itemsize == 8 else 1e-5)


@pytest.mark.parametrize(
    "inputs",
    [
        np.asfortranarray(SELF_TEST_INPUTS),
        SELF_TEST_INPUTS.astype(">f8"),
        SELF_TEST_INPUTS.astype(np.float32),
        np.repeat(SELF_TEST_INPUTS, 2, axis=0)[::2],
        SELF_TEST_INPUTS.tolist(),
    ],
    ids=["Fortran", "big-endian", "float32", "strided", "list"],
)
def test_self_test_inputs_in_any_layout_come_back_exactly(registry, inputs):
    published(registry, WEIGHTS, inputs)
    np.testing.assert_array_equal(registry.load(MODEL, 1).selftest_inputs, SELF_TEST_INPUTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["weights", "inputs"])
def test_numbers_that_are_not_finite_are_refused(registry, value, where):
    arrays = {"weights": WEIGHTS.copy(), "inputs": SELF_TEST_INPUTS.copy()}
    arrays[where][1, 1] = value
    with pytest.raises(CorruptVersion, match="has a value that is not finite"):
        published(registry, **arrays)
    assert registry.versions(MODEL) == []
    assert unfinished(registry) == []


@pytest.mark.parametrize("inputs", [np.empty((0, 2)), np.full((2, 2), 1e308)])
def test_a_self_test_that_tests_nothing_is_refused(registry, inputs):
    with pytest.raises(CorruptVersion, match=r"selftest\.safetensors"):
        published(registry, 10 * np.ones((2, 4)), inputs)
    assert registry.versions(MODEL) == []


def test_a_predictor_of_two_classes_comes_back_with_both(registry):
    network = Network.dense([2, 1], activations=[], loss="sigmoid_cross_entropy")
    network.parameters.flat[:] = [1.0, 2.0, 0.5]
    predictor = Predictor(network, ["no", "yes"])
    registry.publish(MODEL, predictor, record(predictor), SELF_TEST_INPUTS)
    loaded = registry.load(MODEL, 1).predictor
    np.testing.assert_array_equal(
        loaded.probabilities(SELF_TEST_INPUTS), predictor.probabilities(SELF_TEST_INPUTS)
    )
    assert loaded.predict([[1.0, 1.0], [-1.0, -1.0]]).tolist() == ["yes", "no"]
