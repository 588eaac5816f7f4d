"""Fashion-MNIST, read from its four IDX files.

An IDX file of bytes begins with big-endian integers: a magic number, which has the type of the
values and the number of dimensions, and the size of each dimension. The values follow in C order.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.config.data_sections import FashionData
from pipeline.data.datasets import Dataset
from pipeline.data.files.chunks import Fault, make_file_error, make_rows_error, open_regular
from pipeline.data.targets import ClassTarget
from quadnet.errors import FileUnusable, InvalidInput

_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
"""The official name of each label."""

_SIZE = 28
_PARTS = ("train", "t10k")
_FILES = ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")

_MOST_ITEMS = 100_000
"""Largest number of pictures in a file, which bounds the memory that a file can take."""

_BLOCK_BYTES = 2**20


def load_fashion(data: FashionData) -> tuple[Dataset, Dataset]:
    """Return the training rows and the official test part.

    Raises
    ------
    FileUnusable
        If a file is missing or cannot be read.
    InvalidInput
        If a file is malformed.
    """
    check_files(data)
    train, test = (_load_part(data.files, part) for part in _PARTS)
    return train, test


def check_files(data: FashionData) -> None:
    """Check that the four files can be opened.

    Raises
    ------
    FileUnusable
        If one cannot; the message tells where to get it.
    """
    for part in _PARTS:
        for name in _FILES:
            try:
                open_regular(data.files / f"{part}-{name}").close()
            except FileUnusable as error:
                raise FileUnusable(
                    f"{error} Fashion-MNIST is read from the folder {data.files}. Install the "
                    "Debian package dataset-fashion-mnist, or set data.folder to a folder with its "
                    "four files."
                ) from error


def _load_part(folder: Path, part: str) -> Dataset:
    pictures_file, labels_file = (folder / f"{part}-{name}" for name in _FILES)
    pictures, labels = read_idx_file(pictures_file, (_SIZE, _SIZE)), read_idx_file(labels_file, ())
    if len(labels) != len(pictures):
        raise make_file_error(
            labels_file,
            None,
            f"expected {len(pictures):,} labels, one for each picture in {pictures_file.name}, got "
            f"{len(labels):,}",
        )
    unknown = np.flatnonzero(labels >= len(_NAMES))
    if len(unknown):
        last = len(_NAMES) - 1
        faults = [
            Fault(i + 1, None, f"expected a number from 0 to {last}, got {labels[i]}")
            for i in unknown[: InvalidInput.MAX_VIOLATIONS].tolist()
        ]
        raise make_rows_error(labels_file, "label", faults, len(unknown))
    classes, code_of = np.unique(np.array(_NAMES), return_inverse=True)
    return Dataset(
        tuple(f"pixel_{row}_{column}" for row in range(_SIZE) for column in range(_SIZE)),
        # From 0 to 1, as networks take them best; the bytes need no scaler then.
        pictures.reshape(len(pictures), -1) / 255.0,
        ClassTarget(code_of[labels], classes),
    )


def read_idx_file(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read a compressed IDX file of bytes.

    Parameters
    ----------
    path : path
    item_shape : tuple of int
        The shape of one item: the sizes after the first.

    Returns
    -------
    ndarray of uint8, shape (n_items, *item_shape)

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not such a file: by its compression, its header or its length.
    """
    with open_regular(path) as file:
        try:
            return _read_items(path, file, item_shape)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise make_file_error(
                path, None, f"expected a complete file compressed by gzip, but {error}"
            ) from error
        except OSError as error:
            raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _read_items(path: Path, file: BinaryIO, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    n_dimensions = 1 + len(item_shape)
    with gzip.GzipFile(fileobj=file) as unpacked:
        header = unpacked.read(4 + 4 * n_dimensions)
        # A magic number of 8 in its third byte means unsigned bytes.
        magic = bytes((0, 0, 8, n_dimensions))
        if header[:4] != magic:
            raise make_file_error(
                path,
                None,
                f"expected an IDX file of bytes in {n_dimensions} dimensions, which begins with "
                f"{magic.hex(' ')}, got {header[:4].hex(' ') or 'an empty file'}",
            )
        if len(header) < 4 + 4 * n_dimensions:
            raise make_file_error(
                path,
                None,
                f"expected an IDX header of {4 + 4 * n_dimensions} bytes, got {len(header)}",
            )
        n_items, *sizes = np.frombuffer(header[4:], ">u4").tolist()
        if tuple(sizes) != item_shape:
            expected, got = (" x ".join(map(str, shape)) for shape in (item_shape, sizes))
            raise make_file_error(path, None, f"expected items of {expected} bytes, got {got}")
        if not 1 <= n_items <= _MOST_ITEMS:
            raise make_file_error(
                path, None, f"expected 1 to {_MOST_ITEMS:,} items, got {n_items:,}"
            )
        n_bytes = n_items * math.prod(item_shape)
        # In blocks: one large read would take the memory of what a damaged header promises.
        content = bytearray()
        while block := unpacked.read(min(_BLOCK_BYTES, n_bytes - len(content))):
            content += block
        if len(content) < n_bytes:
            raise make_file_error(
                path,
                None,
                f"expected {n_bytes:,} bytes of values after the header, got {len(content):,}",
            )
        # To read past the end also compares the checksum of the compressed file.
        if unpacked.read(1):
            raise make_file_error(
                path, None, f"expected {n_bytes:,} bytes of values after the header, got more"
            )
    return np.frombuffer(content, np.uint8).reshape(n_items, *item_shape)
