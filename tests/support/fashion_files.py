"""Write files like those of Fashion-MNIST, and find the installed ones."""

import gzip
import struct

import numpy as np
import pytest

from pipeline.config.data_sections import FASHION_FOLDER

needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_FOLDER.exists(), reason="the package dataset-fashion-mnist is not installed"
)

NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip

FILES = {
    ("train", "images"): "train-images-idx3-ubyte.gz",
    ("train", "labels"): "train-labels-idx1-ubyte.gz",
    ("test", "images"): "t10k-images-idx3-ubyte.gz",
    ("test", "labels"): "t10k-labels-idx1-ubyte.gz",
}


def idx_bytes(array):
    """Return the content of an IDX file of bytes, before compression."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def draw_pictures(labels, seed):
    """Return a picture for each label: noise, and a bright bar in the label's rows."""
    pictures = np.random.default_rng(seed).integers(0, 60, (len(labels), 28, 28))
    for picture, label in zip(pictures, labels, strict=True):
        picture[2 * label + 2 : 2 * label + 4] += 180
    return pictures.astype(np.uint8)


def write_fashion_files(folder, n_train=400, n_test=100):
    """Write the four files, with pictures that are easy to tell apart; return the arrays."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for seed, (part, n) in enumerate({"train": n_train, "test": n_test}.items()):
        labels = np.arange(n) % 10
        arrays[part, "labels"], arrays[part, "images"] = labels, draw_pictures(labels, seed)
    for key, array in arrays.items():
        (folder / FILES[key]).write_bytes(gzip.compress(idx_bytes(array)))
    return arrays
