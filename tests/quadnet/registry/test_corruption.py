"""Damaged and hostile versions: refused with the file's name, or equal to the published one.

A user with write access to the registry can make a manifest that fits changed files. So some tests
change the files and the manifest together, which tests the deeper checks.
"""

import copy
import hashlib
import json
import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from quadnet.errors import CorruptVersion, RegistryError
from quadnet.layers import Conv2D, Dense, GlobalAveragePool2D, Residual
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry, atomic_files, integrity_check, version_files
from tests.support import forked_processes
from tests.support.exact_models import SELF_TEST_INPUTS, record, signed

MODEL = "quadrants"
CARD = "card.md"
FILES = [version_files.MANIFEST, version_files.WEIGHTS, version_files.SELFTEST, CARD]
POINTS = np.random.default_rng(0).normal(size=(50, 2))


def predictor():
    network = Network.dense([2, 3, 4], activations=["tanh"], loss="softmax_cross_entropy")
    network.parameters.flat[:] = np.random.default_rng(1).normal(size=network.parameters.flat.shape)
    return Predictor(network, ["I", "II", "III", "IV"])


ANSWERS = predictor().probabilities(POINTS)


class Version:
    """A published version without any alias, to be changed and restored."""

    def __init__(self, root):
        self.registry = Registry(root)
        trained = predictor()
        self.registry.publish(
            MODEL, trained, record(trained), SELF_TEST_INPUTS,
            attachments=lambda version: {CARD: b"# Version 1\n\nIt is as good as any.\n"},
        )  # fmt: skip
        self.directory = self.registry.path(MODEL, 1)
        self.content = {name: (self.directory / name).read_bytes() for name in FILES}
        self.manifest = json.loads(self.content[version_files.MANIFEST])

    def put(self, name, content):
        path = self.directory / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def restore(self):
        for name, content in self.content.items():
            self.put(name, content)

    def fit(self, name, content, **values):
        """Write this content, its size and sha256 in the manifest, and these values."""
        self.put(name, content)
        said = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        files = {**self.manifest["files"], name: said}
        self.put(version_files.MANIFEST, signed({**self.manifest, "files": files, **values}))

    def refused(self, name, match=None):
        """Assert that the version is refused with a short message that names the file."""
        with pytest.raises(CorruptVersion, match=match) as caught:
            self.registry.load(MODEL, 1)
        message = str(caught.value)
        assert message.startswith("Version 1 of model 'quadrants' must not be used: "), message
        assert name in message
        assert len(message) < 600
        (first, *_) = integrity_check.verify_registry(self.registry, MODEL)
        assert first.problem == message

    def refused_or_right(self, names):
        """Assert that the version is refused with a file's name, or predicts as published."""
        try:
            model = self.registry.load(MODEL, 1)
        except CorruptVersion as error:
            assert any(name in str(error) for name in names), error
            assert len(str(error)) < 600
            return False
        np.testing.assert_array_equal(model.predictor.probabilities(POINTS), ANSWERS)
        assert model.predictor.classes.tolist() == ["I", "II", "III", "IV"]
        return True


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    with forked_processes.memory(tmp_path_factory.mktemp("corruption")) as directory:
        yield Version(directory / "registry")


@pytest.fixture
def version(published):
    yield published
    published.restore()


@pytest.fixture(autouse=True)
def in_time():
    """Limit the time: SIGALRM ends a process that hangs."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@contextmanager
def in_memory_of(size):
    """Limit the memory of this process to so many more bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_untouched_it_loads(version):
    assert version.refused_or_right([])


@pytest.mark.parametrize("name", FILES)
def test_cut_off_anywhere_it_is_refused(version, name):
    content = version.content[name]
    for length in range(len(content)):
        version.put(name, content[:length])
        with pytest.raises(CorruptVersion, match=name):
            version.registry.load(MODEL, 1)
    version.refused(name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", range(2))
def test_any_flipped_bit_is_found_without_an_alias_to_pin_the_manifest(version, name, part):
    content = version.content[name]
    bits = range(part, 8 * len(content), 2 if len(content) < 600 else 6)
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        version.put(name, flipped)
        with pytest.raises(CorruptVersion, match=name):
            version.registry.load(MODEL, 1)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("more", [b"\0", b"\n", b" ", b"x" * 2**20])
def test_with_more_at_its_end_or_its_beginning_it_is_refused(version, name, more):
    version.put(name, version.content[name] + more)
    version.refused(name)
    version.put(name, more + version.content[name])
    version.refused(name)


@pytest.mark.parametrize("name", FILES)
def test_two_bytes_swapped_or_a_part_repeated_are_found(version, name):
    content = version.content[name]
    for i in range(len(content) - 1):
        if content[i] != content[i + 1]:
            changed = content[:i] + content[i + 1 : i + 2] + content[i : i + 1] + content[i + 2 :]
            version.put(name, changed)
            with pytest.raises(CorruptVersion, match=name):
                version.registry.load(MODEL, 1)
    version.put(name, content * 2)
    version.refused(name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Not a regular file"),
        (os.mkfifo, "Not a regular file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
        (lambda path: path.symlink_to("/dev/zero"), "Not a regular file"),
        (lambda path: path.symlink_to("/dev/tty"), None),
        (lambda path: path.symlink_to(f"{version_files.WEIGHTS}/x"), "Not a directory"),
        (lambda path: path.write_bytes(b""), None),
    ],
    ids=["nothing", "directory", "FIFO", "loop", "dangling", "endless", "tty", "under", "empty"],
)
def test_whatever_is_in_its_place_is_refused_and_nobody_waits_for_it(version, name, make, told):
    path = version.directory / name
    path.unlink()
    if name == version_files.WEIGHTS and told == "Not a directory":
        told = "Too many levels of symbolic links"
    make(path)
    version.refused(name, told)


@pytest.mark.parametrize("kind", ["file", "FIFO", "loop", "empty directory"])
def test_whatever_is_in_the_directorys_place_is_refused(version, kind):
    version.directory.rename(version.registry.root / "aside")
    make = {
        "file": lambda path: path.write_text("x"),
        "FIFO": os.mkfifo,
        "loop": lambda path: path.symlink_to(path.name),
        "empty directory": lambda path: path.mkdir(),
    }
    make[kind](version.directory)
    try:
        version.refused(version_files.MANIFEST)
        assert version.registry.versions(MODEL) == [1]
    finally:
        if kind == "empty directory":
            version.directory.rmdir()
        else:
            version.directory.unlink()
        (version.registry.root / "aside").rename(version.directory)


@pytest.mark.parametrize("place", ["registry.json", "models/quadrants/aliases/00000001.json"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir(),
                                  lambda path: path.symlink_to("/dev/zero")])  # fmt: skip
def test_nobody_waits_for_a_marker_or_a_generation_that_is_no_file(registry, place, make):
    trained = predictor()
    registry.publish(MODEL, trained, record(trained), SELF_TEST_INPUTS)
    path = registry.root / place
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    for ask in (
        lambda: registry.load(MODEL, 1),
        lambda: registry.target(MODEL),
        lambda: registry.prepare(MODEL),
    ):
        with pytest.raises(RegistryError, match=r"cannot be read.*: Not a regular file"):
            ask()


def test_a_symbolic_link_to_the_same_content_is_as_good(version):
    elsewhere = version.registry.root / "elsewhere"
    (version.directory / version_files.WEIGHTS).rename(elsewhere)
    (version.directory / version_files.WEIGHTS).symlink_to(elsewhere)
    assert version.refused_or_right([])


# From here on, the manifest fits the changed files.

FUZZ = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
INTEGERS = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -(2**63)]),
)
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F8_E4M3", "F4", "X", ""]
TENSOR_NAMES = ["weights.0", "weights.1", "biases.0", "biases.1", "inputs", "probabilities", "x"]


@st.composite
def containers(draw):
    """Return bytes that are similar to a safetensors file."""
    entries = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(DTYPES),
            "shape": st.lists(INTEGERS, max_size=4),
            "data_offsets": st.lists(INTEGERS, min_size=1, max_size=3),
        },
    )
    header = draw(
        st.one_of(
            st.dictionaries(st.sampled_from([*TENSOR_NAMES, "__metadata__"]), entries, max_size=4),
            st.recursive(st.none() | INTEGERS | st.text(max_size=3), st.lists, max_leaves=5),
        )
    )
    text = json.dumps(header).encode() + b" " * draw(st.integers(0, 9))
    length = draw(st.one_of(st.just(len(text)), INTEGERS)) % 2**64
    return length.to_bytes(8, "little") + text + draw(st.binary(max_size=80))


@st.composite
def mutations(draw, content):
    """Return the content with a few bytes replaced, removed or added."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        length = draw(st.sampled_from([0, 1, 1, 1, 2, 8]))
        changed[start : start + length] = draw(st.binary(max_size=8))
    return bytes(changed)


@st.composite
def tensor_files(draw, content):
    """Return a valid safetensors file with other tensors than this one."""
    tensors = dict(load(content))
    for name in draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, unique=True)):
        kind = draw(
            st.sampled_from(["drop", "rename", "shape", "dtype", "value", "scalar", "none"])
        )
        array = tensors.pop(name)
        if kind == "rename":
            tensors[draw(st.sampled_from(TENSOR_NAMES))] = array
        elif kind == "shape":
            tensors[name] = draw(
                st.sampled_from([array.ravel(), array[None], array[:0], array[:-1], array.T.copy()])
            )
        elif kind == "dtype":
            dtypes = [np.float32, np.float16, np.int64, np.uint8, np.bool_]
            tensors[name] = array.astype(draw(st.sampled_from(dtypes)))
        elif kind == "value":
            values = [np.nan, np.inf, -np.inf, 1e308, 5e-324, 0.0, -1.0, 1e6]
            tensors[name] = array.copy()
            tensors[name].flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(values))
        elif kind == "scalar":
            tensors[name] = np.array(1.0)
        elif kind == "none":
            tensors[name] = array
    return save(tensors)


TENSOR_FILES = [version_files.WEIGHTS, version_files.SELFTEST]


@pytest.mark.parametrize("name", TENSOR_FILES)
@FUZZ
@given(data=st.data())
def test_any_bytes_that_the_manifest_vouches_for_are_refused_or_right(published, name, data):
    content = data.draw(
        st.one_of(
            st.binary(max_size=200),
            containers(),
            mutations(published.content[name]),
            tensor_files(published.content[name]),
        )
    )
    try:
        with in_memory_of(2**30):
            published.fit(name, content)
            published.refused_or_right([name])
    finally:
        published.restore()


@FUZZ
@given(data=st.data())
def test_other_weights_fail_the_self_test_though_their_digest_fits(published, data):
    content = data.draw(tensor_files(published.content[version_files.WEIGHTS]))
    digest = hashlib.sha256()
    for name, array in sorted(load(content).items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode() + array.tobytes())
    try:
        published.fit(version_files.WEIGHTS, content, tensor_digest=digest.hexdigest())
        try:
            model = published.registry.load(MODEL, 1)
        except CorruptVersion as error:
            assert version_files.WEIGHTS in str(error) or version_files.SELFTEST in str(error)
        else:
            # At least its self-test gives the published probabilities.
            inputs = SELF_TEST_INPUTS
            expected = predictor().probabilities(inputs)
            np.testing.assert_allclose(model.predictor.probabilities(inputs), expected, atol=1e-9)
    finally:
        published.restore()


@FUZZ
@given(content=st.binary(max_size=300))
@example(content=b"")
def test_any_attachment_that_the_manifest_vouches_for_is_nobodys_concern(published, content):
    try:
        published.fit(CARD, content)
        assert published.refused_or_right([])
        model = published.registry.load(MODEL, 1)
        assert published.registry.attachment(model, CARD) == content
    finally:
        published.restore()


NASTY = st.one_of(
    INTEGERS,
    st.sampled_from([10**400, -1, 0, 0.5, -0.0, 1e308, 1e-320]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.booleans(),
    st.none(),
    st.sampled_from(
        ["", "..", "../../etc/passwd", "a/b", "a\\b", "/", "\0", "\ud800", "x" * 5000, "ü", "I",
         "manifest.json", "TOMBSTONE.json", ".doomed-x", "tanh", "softmax_cross_entropy", "float16",
         "flatten", "residual", "conv2d", "batch_norm"]
    ),
    st.lists(INTEGERS, max_size=3),
    st.sampled_from([{}, [], [[]], {"": {}}, ["I", "I", "II", "III"], [2, 3, 3, 4],
                     {"kind": "flatten"}, {"kind": "residual", "layers": [{"kind": "flatten"}]},
                     {"kind": "conv2d", "filters": 1, "kernel": [1, 10**9], "padding": "same"}]),
)  # fmt: skip


@st.composite
def manifests(draw, manifest):
    """Return a manifest with something replaced, removed or added anywhere."""
    changed = json.loads(json.dumps(manifest))
    for _ in range(draw(st.integers(1, 3))):
        where = changed
        while True:
            keys = sorted(where) if isinstance(where, dict) else list(range(len(where)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(where[key], dict | list) and draw(st.booleans()):
                where = where[key]
                continue
            act = draw(st.sampled_from(["replace", "replace", "drop", "add", "twice"]))
            if act == "replace":
                where[key] = copy.deepcopy(draw(NASTY))
            elif act == "drop":
                del where[key]
            elif isinstance(where, list):
                where.insert(key, where[key] if act == "twice" else copy.deepcopy(draw(NASTY)))
            else:
                where[draw(st.text(max_size=5))] = copy.deepcopy(draw(NASTY))
            break
    return changed


@pytest.mark.parametrize("part", range(2))
@FUZZ
@given(data=st.data())
def test_any_manifest_that_is_signed_is_refused_or_right(published, part, data):
    manifest = data.draw(manifests(published.manifest))
    try:
        with in_memory_of(2**30):
            published.put(version_files.MANIFEST, signed(manifest))
            published.refused_or_right(FILES)
    finally:
        published.restore()


def sealed(text):
    """Return the JSON with the line of its checksum."""
    checksum = hashlib.sha256(text).hexdigest().encode()
    return b'{\n "checksum": "' + checksum + b'",\n' + text[2:]


def text_of(manifest):
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return ("{\n" + json.dumps(rest)[1:]).encode()


@FUZZ
@given(text=st.one_of(st.binary(max_size=50), st.text(max_size=50).map(str.encode)))
@example(text=b"")
@example(text=b"[" * 100_000)
@example(text=b'"a": ' + b"9" * 5000 + b"}")
@example(text=b'"a": 1' + b"e" + b"9" * 50 + b"}")
@example(text=b'"a": NaN}')
@example(text=b'"a": "\xff"}')
@example(text=b"}")
def test_any_text_that_is_sealed_is_refused_by_the_manifests_name(published, text):
    try:
        published.put(version_files.MANIFEST, sealed(b"{\n" + text))
        published.refused(version_files.MANIFEST)
    finally:
        published.restore()


@pytest.mark.parametrize("where", ['"version": ', '"layers": ', '"size": ', '"weights.s'])
def test_a_key_that_comes_twice_is_refused_whichever_counts(version, where):
    text = text_of(version.manifest).decode()
    start = text.index(where)
    end = min(i for i in (text.find(",", start), text.find("}", start)) if i > 0)
    while text[start:end].count("[") != text[start:end].count("]") or text[start:end].count(
        "{"
    ) != text[start:end].count("}"):
        end += 1
    entry = text[start:end]
    doubled = text.replace(entry, f"{entry}, {entry}", 1).encode()
    version.put(version_files.MANIFEST, sealed(text.encode()))
    assert version.refused_or_right([])
    version.put(version_files.MANIFEST, sealed(doubled))
    version.refused(version_files.MANIFEST, "an object has a duplicate key")


def bomb(version, **values):
    """Return a manifest with these values, whose "@" the caller replaces by a long text."""
    return text_of({**version.manifest, **values})


BOMBS = {
    "classes": ({"signature": {"features": [], "classes": ["@"]}}, b"1,"),
    "features": ({"signature": {"features": ["@"], "classes": []}}, b"{},"),
    "layers": ({"architecture": {"layers": ["@"]}}, b'{"kind":"dense"},'),
    "depth of layers": ({"architecture": {"layers": ["@"]}}, b'{"kind":"residual","layers":['),
    "input shape": ({"architecture": {"input_shape": ["@"]}}, b"9,"),
    "configuration": ({"config": {"a": ["@"]}}, b"{},"),
    "gate": ({"gate": ["@"]}, b"{},"),
    "depth": ({"config": {"a": ["@"]}}, b"["),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("size", [2**16 * 2 - 4000, 2**20, 2**24 - 4096, 2**26])
def test_a_manifest_of_any_length_is_refused_in_little_memory(version, name, size):
    values, unit = BOMBS[name]
    text = text_of({**version.manifest, **values})
    many = (unit * (size // len(unit))).rstrip(b",")
    version.put(version_files.MANIFEST, sealed(text.replace(b'"@"', many)))
    with in_memory_of(2**30):
        version.refused_or_right([version_files.MANIFEST])


def sparse(path, size):
    """Make a sparse file of this size."""
    path.unlink()
    with path.open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [10**11, 2**30 + 1])
@pytest.mark.parametrize("said", [True, False])
def test_a_huge_file_is_refused_at_once(version, name, size, said):
    sparse(version.directory / name, size)
    if said and name != version_files.MANIFEST:
        files = {**version.manifest["files"], name: {"size": size, "sha256": "0" * 64}}
        version.put(version_files.MANIFEST, signed({**version.manifest, "files": files}))
    with in_memory_of(2**30):
        version.refused(name, "Longer than|expected .* bytes, got")


def dense(units, **settings):
    return {"kind": "dense", "units": units, **settings}


def conv2d(filters, kernel, **settings):
    return {"kind": "conv2d", "filters": filters, "kernel": kernel, **settings}


def residual(*layers):
    return {"kind": "residual", "layers": list(layers)}


def nested(depth):
    return residual(nested(depth - 1) if depth > 2 else {"kind": "activation", "function": "relu"})


FLATTEN = {"kind": "flatten"}
TOO_SMALL = "too small for the layers"


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([dense(10**12), dense(4)], TOO_SMALL),
        ([dense(2**62), dense(4)], TOO_SMALL),
        ([dense(10**300), dense(4)], TOO_SMALL),
        ([dense(10**4299), FLATTEN, dense(4)], TOO_SMALL),
        ([*[dense(1)] * 900, dense(4)], TOO_SMALL),
        ([{"kind": "layer_norm"}] * 30 + [dense(4)], TOO_SMALL),
        ([*[dense(1)] * 2000, dense(4)], "expected at most 2000 layers, got 2001"),
        ([residual(*[dense(2)] * 1999), dense(4)], "expected at most 2000 layers, got 2001"),
        ([nested(8), dense(4)], None),
        ([nested(9), dense(4)], r"layers\[0\]: expected at most 8 layers inside each other"),
        ([nested(90), dense(4)], r"layers\[0\]: expected at most 8 layers inside each other"),
        ([nested(400), dense(4)], "recursion limit exceeded|nested too deeply"),
        ([], "expected a list of at least one layer"),
        ({"kind": "dense"}, "expected a list of at least one layer"),
        ([dense(3), 7], r"layers\[1\] must be a mapping with a kind, got 7"),
        ([dense(3), {}, dense(4)], r"layers\[1\] is of the unknown kind None; this release has d"),
        ([{"kind": ["dense"]}], r"layers\[0\] is of the unknown kind \['dense'\]"),
        ([{"kind": "attention"}, dense(4)], r"layers\[0\] is of the unknown kind 'attention'"),
        ([{"kind": "os.system"}, dense(4)], r"layers\[0\] is of the unknown kind 'os.system'"),
        ([residual({"kind": "x"}), dense(4)], r"layers\[0\].layers\[0\] is of the unknown ki"),
        ([residual(), dense(4)], "layers must have at least one layer"),
        ([{"kind": "residual", "layers": 7}, dense(4)], r"layers\[0\], of kind 'residual'"),
        ([{"kind": "dense"}, dense(4)], r"layers\[0\], of kind 'dense', has a wrong .*units"),
        ([dense(4, units_=3)], "there is no setting 'units_'"),
        ([dense(0), dense(4)], "of kind 'dense', .*units must be a whole .* Got 0"),
        ([dense(-3), dense(4)], "units must be a whole number of at least 1. Got -3"),
        ([dense(3.0), dense(4)], "units must be a whole number of at least 1. Got 3.0"),
        ([dense(True), dense(4)], "units must be a whole number of at least 1. Got True"),
        ([dense("3"), dense(4)], "units must be a whole number of at least 1. Got '3'"),
        ([dense(3, bias=1), dense(4)], "bias must be True or False. Got 1"),
        ([dense(4), {"kind": "batch_norm", "epsilon": 10**400}, dense(4)], "too large"),
        ([dense(4), {"kind": "activation", "function": "exec"}], "function must be one of"),
        ([dense(3), dense(5)], "last layer must be dense with units = 4 .* Got Dense.*5"),
        ([dense(4), FLATTEN], "last layer must be dense with units = 4 .* Got Flatten"),
        (
            [dense(4), residual(dense(3)), dense(4)],
            r"architecture.layers\[1\], Residual.* needs layers that keep the shape of their input",
        ),
        (
            [conv2d(3, 1), FLATTEN, dense(4)],
            r"architecture.layers\[0\], Conv2D.* needs an input of shape \(channels, height, w",
        ),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_are_refused_in_little_memory(version, layers, told):
    shape = {**version.manifest["architecture"], "layers": layers}
    sys.set_int_max_str_digits(10_000)
    try:
        manifest = signed({**version.manifest, "architecture": shape})
    finally:
        sys.set_int_max_str_digits(4300)
    version.put(version_files.MANIFEST, manifest)
    name = version_files.WEIGHTS if told in (TOO_SMALL, None) else version_files.MANIFEST
    with in_memory_of(2**30):
        version.refused(name, told)


PICTURE = [1, 1, 2]


@pytest.mark.parametrize(
    ("input_shape", "layers", "told"),
    [
        ([3], [dense(4)], r"input_shape is \[3\], and signature.features has 2 features"),
        ([2, 10**30], [dense(4)], "signature.features has 2 features"),
        ([10**4000] * 3, [dense(4)], "does not fit the signature"),
        ([], [dense(4)], "architecture.input_shape"),
        ([0, 2], [dense(4)], "architecture.input_shape.0: Input should be greater"),
        ([-1, -2], [dense(4)], "architecture.input_shape.0: Input should be greater"),
        ([2.0], [dense(4)], "architecture.input_shape.0: Input should be a valid integer"),
        (
            [1, 2],
            [dense(4)],
            r"layers\[0\], Dense.*, needs an input of shape \(n_inputs,\). Got the shape \(1, 2",
        ),
        ([1] * 64 + [2], [FLATTEN, dense(4)], "input_shape: List should have at most 8"),
        (
            PICTURE,
            [conv2d(1, 2), FLATTEN, dense(4)],
            r"layers\[0\], Conv2D.* needs a picture of at least 2 x 2 values. Got .* \(1, 1, 2\)",
        ),
        (PICTURE, [{"kind": "max_pool2d", "size": 10**9}, FLATTEN, dense(4)], "at least 10000000"),
        (PICTURE, [conv2d(1, 10**6, padding="same"), FLATTEN, dense(4)], TOO_SMALL),
        (PICTURE, [conv2d(10**12, 1), FLATTEN, dense(4)], TOO_SMALL),
        (PICTURE, [conv2d(1, 1, stride=10**30, padding="same"), FLATTEN, dense(4)], None),
        (PICTURE, [conv2d(1, [1, 2, 3]), FLATTEN, dense(4)], "kernel must be a whole number of"),
        (PICTURE, [conv2d(1, [1, [2]]), FLATTEN, dense(4)], "kernel must be a whole number of"),
        (PICTURE, [conv2d(1, 1, padding="full"), FLATTEN, dense(4)], "padding must be one of"),
    ],
)  # fmt: skip
def test_shapes_that_cannot_be_are_refused_in_little_memory(version, input_shape, layers, told):
    shape = {**version.manifest["architecture"], "input_shape": input_shape, "layers": layers}
    version.put(version_files.MANIFEST, signed({**version.manifest, "architecture": shape}))
    name = version_files.WEIGHTS if told in (TOO_SMALL, None) else version_files.MANIFEST
    with in_memory_of(2**30):
        version.refused(name, told)


@pytest.mark.parametrize(
    ("input_shape", "layers"),
    [
        # Many channels of a large picture, from few weights.
        ((1, 100, 100), [Conv2D(100_000, 1, bias=False), GlobalAveragePool2D(), Dense(4)]),
        # The same inside of another layer, whose output is small.
        (
            (1, 100, 100),
            [
                Residual([Conv2D(100_000, 1, bias=False), Conv2D(1, 1, bias=False)]),
                GlobalAveragePool2D(),
                Dense(4),
            ],
        ),
        # Zeros around a small picture, and as many patches.
        (
            (1, 1, 2000),
            [Conv2D(1, (1, 100_000), padding="same"), GlobalAveragePool2D(), Dense(4)],
        ),
    ],
    ids=["channels", "inside", "zeros"],
)
def test_layers_that_need_much_memory_for_few_weights_are_refused(version, input_shape, layers):
    network = Network(layers, input_shape, loss="softmax_cross_entropy")
    hostile = Predictor(network, ["I", "II", "III", "IV"])
    n_features = hostile.n_features
    tensors = {
        version_files.WEIGHTS: save(version_files.named_tensors(hostile)),
        version_files.SELFTEST: save(
            {"inputs": np.zeros((2, n_features)), "probabilities": np.full((2, 4), 0.25)}
        ),
    }
    assert sum(map(len, tensors.values())) < 5 * 10**6
    files = dict(version.manifest["files"])
    for name, content in tensors.items():
        version.put(name, content)
        files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    values = {
        "files": files,
        "tensor_digest": version_files.compute_tensor_digest(hostile),
        "architecture": {
            **version.manifest["architecture"],
            "layers": [layer.to_spec() for layer in layers],
            "input_shape": input_shape,
        },
        "signature": {
            "features": [{"name": f"x{i}", "min": 0.0, "max": 1.0} for i in range(n_features)],
            "classes": ["I", "II", "III", "IV"],
        },
    }
    version.put(version_files.MANIFEST, signed({**version.manifest, **values}))
    with in_memory_of(2**30):
        version.refused(version_files.SELFTEST, "2 rows of so wide a network need")


# The same version as format 1 has it.
OLD = {
    "layer_sizes": [2, 3, 4],
    "activations": ["tanh"],
    "loss": "softmax_cross_entropy",
    "bias": True,
    "dtype": "float64",
}


def put_old(version, **changes):
    architecture = {name: value for name, value in {**OLD, **changes}.items() if value is not None}
    values = {"schema_version": 1, "architecture": architecture}
    version.put(version_files.MANIFEST, signed({**version.manifest, **values}))


def test_the_same_version_in_format_1_is_as_good(version):
    put_old(version)
    assert version.refused_or_right([])


@pytest.mark.parametrize(
    ("changes", "name", "told"),
    [
        ({"layer_sizes": [2, 10**12, 4]}, version_files.WEIGHTS, TOO_SMALL),
        ({"layer_sizes": [2, 3, 5]}, version_files.MANIFEST, "last layer must be dense with units"),
        ({"layer_sizes": [3, 3, 4]}, version_files.MANIFEST, "does not fit the signature"),
        ({"layer_sizes": [4]}, version_files.MANIFEST, "at least 2 items"),
        ({"layer_sizes": [2, 3.0, 4]}, version_files.MANIFEST, "layer_sizes.1: Input should be a"),
        ({"layer_sizes": [2, True, 4]}, version_files.MANIFEST, "layer_sizes.1: Input should be a"),
        ({"layer_sizes": [2, 0, 4]}, version_files.MANIFEST, "greater than or equal to 1"),
        (
            {"layer_sizes": [2, *[1] * 1001, 4], "activations": ["tanh"] * 1001},
            version_files.MANIFEST,
            "expected at most 2000 layers, got 2003",
        ),
        ({"activations": []}, version_files.MANIFEST, "expected one name for each of the 1 hidden"),
        ({"activations": ["exec"]}, version_files.MANIFEST, "activations.0: Input should be 'ide"),
        ({"bias": False}, version_files.WEIGHTS, "expected the tensors weights.0, weights.1"),
        ({"bias": None}, version_files.MANIFEST, "architecture.bias: Field required"),
        ({"loss": "hinge"}, version_files.MANIFEST, "architecture.loss: Input should be"),
        ({"dtype": "float16"}, version_files.MANIFEST, "architecture.dtype: Input should be"),
        ({"layers": []}, version_files.MANIFEST, "architecture.layers: Extra inputs"),
    ],
)
def test_a_manifest_of_format_1_is_checked_as_strictly(version, changes, name, told):
    put_old(version, **changes)
    with in_memory_of(2**30):
        version.refused(name, told)


@pytest.mark.parametrize("number", [0, 3, -1, 2.0, True, "2", None, [2], 10**30])
def test_a_format_that_is_unknown_is_refused_by_its_number(version, number):
    version.put(version_files.MANIFEST, signed({**version.manifest, "schema_version": number}))
    told = r"schema_version: expected a number from 1 to 2, got .*Read a newer format with the rel"
    version.refused(version_files.MANIFEST, told)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"inputs": np.zeros((0, 2)), "probabilities": np.zeros((0, 4))}, "self-test failed"),
        ({"inputs": np.array(1.0), "probabilities": np.zeros((0, 4))}, "expected inputs of shape"),
        ({"inputs": np.zeros(3), "probabilities": np.zeros((3, 4))}, "expected inputs of shape"),
        ({"inputs": np.zeros((2, 2)), "probabilities": np.zeros((1, 4))}, "expected probabilities"),
        (
            {"inputs": np.zeros((2, 2)), "probabilities": np.zeros((2, 4))},
            "self-test failed: row 0",
        ),
        ({"probabilities": np.zeros((2, 4))}, "expected the tensors inputs, probabilities, got"),
        ({}, "got none"),
        ({"x" * 5000: np.zeros(1)}, "got xxx"),
    ],
)
def test_a_self_test_that_tests_nothing_or_something_else_is_refused(version, tensors, told):
    version.fit(version_files.SELFTEST, save(tensors))
    version.refused(version_files.SELFTEST, told)


def test_a_self_test_of_too_many_rows_for_so_wide_a_network_is_refused(tmp_path):
    """A small file can need much memory for the hidden layer's values of all rows."""
    width, rows = 200_000, 1000
    network = Network.dense([1, width, 2], activations=["relu"], loss="sigmoid_squared_error",
                      bias=False, dtype=np.float32)  # fmt: skip
    wide = Predictor(network, ["a", "b"])
    assert rows * width * 4 < 2**30
    with pytest.raises(CorruptVersion, match="does not fit the signature"):
        Registry(tmp_path / "r").publish(MODEL, wide, record(wide, 1), np.zeros((rows, 1)))
    network = Network.dense([1, width, 1], activations=["relu"], loss="sigmoid_squared_error",
                      bias=False, dtype=np.float32)  # fmt: skip
    wide = Predictor(network, ["a", "b"])
    registry = Registry(tmp_path / "r")
    registry.publish(MODEL, wide, record(wide, 1), np.zeros((2, 1)))
    directory = registry.path(MODEL, 1)
    content = save({
        "inputs": np.zeros((10 * rows, 1), np.float32),
        "probabilities": np.zeros((10 * rows, 2), np.float32),
    })  # fmt: skip
    manifest = json.loads((directory / version_files.MANIFEST).read_bytes())
    manifest["files"][version_files.SELFTEST] = {
        "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
    }  # fmt: skip
    for name, data in (
        (version_files.SELFTEST, content),
        (version_files.MANIFEST, signed(manifest)),
    ):
        (directory / name).unlink()
        (directory / name).write_bytes(data)
    with in_memory_of(2**30), pytest.raises(CorruptVersion, match="rows of so wide a network need"):
        registry.load(MODEL, 1)


def test_a_softmax_is_no_answer_between_two_classes_of_one_output(tmp_path):
    """A softmax over one output is always 1."""
    registry = Registry(tmp_path / "r")
    network = Network.dense([2, 1], activations=[], loss="sigmoid_cross_entropy")
    two = Predictor(network, ["a", "b"])
    registry.publish(MODEL, two, record(two), SELF_TEST_INPUTS)
    path = registry.path(MODEL, 1) / version_files.MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["architecture"]["loss"] = "softmax_cross_entropy"
    path.unlink()
    path.write_bytes(signed(manifest))
    with pytest.raises(CorruptVersion, match=r"manifest\.json: the architecture does not fit"):
        registry.load(MODEL, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m["signature"].update(classes=["I", "I", "III", "IV"]), "has a duplicate"),
        (lambda m: m["signature"].update(classes=[]), "does not fit the signature"),
        (lambda m: m["signature"].update(classes=["I", "II"]), "does not fit the signature"),
        (lambda m: m["signature"]["features"].pop(), "does not fit the signature"),
        (lambda m: m["signature"]["features"][0].update(min=float("nan")), "number, got NaN"),
        (lambda m: m["config"].update(a=float("-inf")), "a finite number, got -Infinity"),
        (lambda m: m["config"].update(a=10**5000), "Exceeds the limit"),
        (lambda m: m.update(model="../quadrants"), "model: String should match"),
        (lambda m: m.update(model="digits"), "belongs to version 1 of 'digits'"),
        (lambda m: m.update(version=0), "version: Input should be greater"),
        (lambda m: m.update(version=2**80), "belongs to version 1208925819614629174706176"),
        (lambda m: m.update(selftest_atol=1.0), "selftest_atol: Input should be less"),
        (lambda m: m.update(selftest_atol=-1.0), "selftest_atol: Input should be greater"),
        (lambda m: m["files"].pop(version_files.SELFTEST), "it does not list the file selftest"),
        (lambda m: m["files"][version_files.WEIGHTS].update(size=-1), "greater than or equal to 0"),
        (
            lambda m: m["files"][version_files.WEIGHTS].update(size=10**30),
            "expected at most 1,073,741,824 bytes",
        ),
        (lambda m: m["architecture"].update(dtype="object"), "dtype: Input should be"),
        (lambda m: m["architecture"].update(bias=True), "architecture.bias: Extra inputs"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(version, change, told):
    sys.set_int_max_str_digits(10_000)
    try:
        manifest = json.loads(json.dumps(version.manifest))
        change(manifest)
        version.put(version_files.MANIFEST, signed(manifest))
    finally:
        sys.set_int_max_str_digits(4300)
    version.refused(
        version_files.WEIGHTS if "expected at most 1,073" in told else version_files.MANIFEST, told
    )


@pytest.mark.parametrize("name", ["../../x", "a/b", "A", ".hidden", "", "x" * 65, "TOMBSTONE.json"])
def test_a_manifest_cannot_name_a_file_elsewhere_or_one_of_gcs_own(version, name):
    files = {**version.manifest["files"], name: {"size": 1, "sha256": "0" * 64}}
    version.put(version_files.MANIFEST, signed({**version.manifest, "files": files}))
    version.refused(version_files.MANIFEST, "files")


def test_a_file_of_the_reader_is_opened_once_and_read_to_its_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert atomic_files.read_limited(path, 5) == b"12345"
    with pytest.raises(OSError, match="Longer than 4 bytes"):
        atomic_files.read_limited(path, 4)
