"""Fashion-MNIST: its files, and its official test part."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from pipeline.config.data_sections import FashionData
from pipeline.config.run_config import RunConfig
from pipeline.data.fashion_mnist import load_fashion, read_idx_file
from pipeline.data.splits import make_splits
from quadnet.errors import FileUnusable, InvalidInput, UnsuitableData
from tests.support.fashion_files import (
    FILES,
    NAMES,
    idx_bytes,
    needs_fashion_mnist,
    write_fashion_files,
)


def run_config(folder, **settings):
    data = {"kind": "fashion"} if folder is None else {"kind": "fashion", "folder": str(folder)}
    return RunConfig.model_validate(
        {"name": "clothes", "data": data, "gate": {"accuracy": 0.5}, **settings}
    )


def test_the_files_become_named_rows_from_0_to_1(tmp_path):
    arrays = write_fashion_files(tmp_path, 30, 20)
    for part, rows in zip(
        ("train", "test"),
        load_fashion(FashionData(kind="fashion", folder=str(tmp_path))),
        strict=True,
    ):
        images = arrays[part, "images"]
        assert len(rows.features) == 784
        assert rows.X[7, rows.features.index("pixel_5_26")] == images[7, 5, 26] / 255
        np.testing.assert_array_equal(rows.X, images.reshape(-1, 784) / 255)
        assert rows.y.tolist() == [NAMES[label] for label in arrays[part, "labels"]]
        assert rows.target.classes.tolist() == sorted(NAMES)


@pytest.mark.parametrize("stratify", [False, True])
def test_the_test_part_is_the_official_one_and_the_validation_part_is_not_in_it(tmp_path, stratify):
    arrays = write_fashion_files(tmp_path, 400, 90)
    test = {"stratify": stratify}
    own = make_splits(run_config(tmp_path, validation=0.25, test=test))
    np.testing.assert_array_equal(
        own.test.open().X, arrays["test", "images"].reshape(-1, 784) / 255
    )
    assert len(own.validation) == pytest.approx(100, abs=1 if stratify else 30)
    rows = [*own.train.X, *own.validation.X]
    expected = arrays["train", "images"].reshape(-1, 784) / 255
    assert sorted(x.tobytes() for x in rows) == sorted(x.tobytes() for x in expected)
    # Without a validation part, all of the training rows are trained on, whatever the seed.
    whole = make_splits(run_config(tmp_path, test={"seed": 5}))
    np.testing.assert_array_equal(whole.train.X, expected)
    assert not whole.notices


@pytest.mark.parametrize(("key", "value"), [("share", 0.2), ("points", 100)])
def test_a_size_of_the_official_test_part_is_refused(tmp_path, key, value):
    with pytest.raises(ValueError, match=f"test.{key}: this data has an official test part"):
        run_config(tmp_path, test={key: value})


def test_a_test_picture_among_the_training_pictures_is_refused(tmp_path):
    arrays = write_fashion_files(tmp_path)
    images = arrays["train", "images"].copy()
    images[5] = arrays["test", "images"][3]
    (tmp_path / FILES["train", "images"]).write_bytes(gzip.compress(idx_bytes(images)))
    with pytest.raises(UnsuitableData, match="1 rows of the test part are also in the training"):
        make_splits(run_config(tmp_path))


def test_missing_files_are_reported_with_the_package_and_the_folder(tmp_path):
    with pytest.raises(FileUnusable) as caught:
        make_splits(run_config(tmp_path / "none"))
    assert str(caught.value) == (
        f"{tmp_path / 'none' / 'train-images-idx3-ubyte.gz'} cannot be read: No such file or "
        f"directory. Fashion-MNIST is read from the folder {tmp_path / 'none'}. Install the Debian "
        "package dataset-fashion-mnist, or set data.folder to a folder with its four files."
    )
    write_fashion_files(tmp_path)
    (tmp_path / FILES["test", "labels"]).unlink()
    with pytest.raises(FileUnusable, match=r"t10k-labels-idx1-ubyte\.gz cannot be read"):
        make_splits(run_config(tmp_path))


def test_labels_without_a_name_and_labels_without_a_picture_are_refused(tmp_path):
    arrays = write_fashion_files(tmp_path)
    labels, path = arrays["train", "labels"], tmp_path / FILES["train", "labels"]
    path.write_bytes(gzip.compress(idx_bytes(labels[:-1])))
    with pytest.raises(InvalidInput) as caught:
        make_splits(run_config(tmp_path))
    assert str(caught.value) == (
        f"{path}: expected 400 labels, one for each picture in {FILES['train', 'images']}, got 399"
    )
    labels[[4, 7]] = 10, 255
    path.write_bytes(gzip.compress(idx_bytes(labels)))
    with pytest.raises(InvalidInput) as caught:
        make_splits(run_config(tmp_path))
    assert str(caught.value) == (
        f"{path}, label 5: expected a number from 0 to 9, got 10 (and 1 more fault)"
    )


PICTURES = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
GOOD = idx_bytes(PICTURES)
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX file of bytes in 3 dimensions, which begins with 00 00 08 03, got "),
        (gzip.compress(b""), "which begins with 00 00 08 03, got an empty file"),
        (gzip.compress(b"\0\0"), "which begins with 00 00 08 03, got 00 00"),
        (gzip.compress(GOOD[:9]), "expected an IDX header of 16 bytes, got 9"),
        (gzip.compress(idx_bytes(PICTURES[0])), "begins with 00 00 08 03, got 00 00 08 02"),
        # Values of another type: four-byte integers.
        (gzip.compress(b"\0\0\x0c\3" + GOOD[4:]), "got 00 00 0c 03"),
        (gzip.compress(idx_bytes(PICTURES[:, :27])), "expected items of 28 x 28 bytes, got 27 x"),
        (gzip.compress(idx_bytes(PICTURES[:0])), "expected 1 to 100,000 items, got 0"),
        (gzip.compress(GOOD[:-1]), "expected 2,352 bytes of values after the header, got 2,351"),
        (gzip.compress(GOOD[:16]), "expected 2,352 bytes of values after the header, got 0"),
        (gzip.compress(GOOD + b"x"), "expected 2,352 bytes of values after the header, got more"),
        (GOOD, "expected a complete file compressed by gzip, but Not a gzipped file"),
        (PACKED[:-20], "expected a complete file compressed by gzip, but Compressed file ended"),
        (PACKED[:-3], "expected a complete file compressed by gzip, but Compressed file ended"),
        (PACKED[:-8] + b"\0" * 8, "expected a complete file compressed by gzip, but CRC check"),
        (PACKED + b"more", "expected a complete file compressed by gzip, but Not a gzipped file"),
        (PACKED[:10] + b"\xff" + PACKED[11:], "a complete file compressed by gzip, but Error -3"),
    ],
    # Not the bytes, which hold the time: the processes of the test run need equal names.
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_malformed_file_is_reported(tmp_path, content, message):
    path = tmp_path / "pictures.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_idx_file(path, (28, 28))
    assert str(caught.value).startswith(f"{path}: expected ")
    assert message in str(caught.value)


def test_an_intact_file_is_read(tmp_path):
    path = tmp_path / "pictures.gz"
    path.write_bytes(PACKED)
    np.testing.assert_array_equal(read_idx_file(path, (28, 28)), PICTURES)


def test_no_damaged_byte_is_an_unexpected_fault(tmp_path):
    path = tmp_path / "pictures.gz"
    rng = np.random.default_rng(0)
    for place in range(len(PACKED)):
        damaged = bytearray(PACKED)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read = read_idx_file(path, (28, 28))
        except InvalidInput:
            continue
        # Only fields of gzip's header that do not concern the content.
        assert place < 10
        np.testing.assert_array_equal(read, PICTURES)


def test_a_header_that_promises_too_much_costs_no_memory(tmp_path):
    path = tmp_path / "pictures.gz"
    for n in (2**32 - 1, 100_001, 100_000):
        header = struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28)
        path.write_bytes(gzip.compress(header + b"\0" * 10_000))
        tracemalloc.start()
        try:
            with pytest.raises(InvalidInput):
                read_idx_file(path, (28, 28))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 5_000_000


@needs_fashion_mnist
def test_the_installed_files_are_fashion_mnist():
    own = make_splits(run_config(None))
    train, test = own.train, own.test.open()
    assert set(train.class_rows.values()) == {6000}
    assert set(test.class_rows.values()) == {1000}
    assert train.class_rows.keys() == test.class_rows.keys() == set(NAMES)
    # The data set's published mean and deviation, and its first labels.
    assert (train.X.mean(), train.X.std()) == pytest.approx((0.2860, 0.3530), abs=5e-5)
    assert train.y[:4].tolist() == ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress"]
    assert test.y[:3].tolist() == ["Ankle boot", "Pullover", "Trouser"]
