"""Convert NumPy arrays to pyarrow arrays, and back.

The conversions share memory. pyarrow's own conversions import pandas if it is installed, which
takes more time and memory than most files do.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from quadnet.types import BoolArray, FloatArray


def to_array(values: NDArray[np.generic], valid: BoolArray | None = None) -> pa.Array:
    """Return the values as a pyarrow array, with a null for each value that is not valid."""
    kind = pa.from_numpy_dtype(values.dtype)
    bits = None
    if valid is not None and not valid.all():
        bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(values)])


def to_floats(column: pa.ChunkedArray) -> FloatArray:
    """Return the column's values in float64, with NaN for each null."""
    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    return to_values(column.combine_chunks(), np.float64, np.nan)


def to_values(array: pa.Array, dtype: DTypeLike, missing: Any) -> NDArray[Any]:
    """Return values of 8 bytes as an array of this type, with `missing` for each null."""
    values = np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * 8)
    return np.where(find_valid(array), values, missing) if array.null_count else values


def find_valid(array: pa.Array) -> BoolArray:
    """Return a mask of the values that are no nulls."""
    return np.from_dlpack(array.is_valid().cast(pa.uint8())).astype(np.bool_)
