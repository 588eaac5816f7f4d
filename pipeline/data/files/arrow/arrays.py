"""Convert NumPy arrays to pyarrow arrays, and back.

The conversions share memory. pyarrow's own conversions import pandas if it is installed, which
takes more time and memory than most files do.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
    array = column.combine_chunks()
    n = len(array)
    values = np.frombuffer(array.buffers()[1], np.float64, n, array.offset * 8)
    if not array.null_count:
        return values
    is_valid = np.from_dlpack(array.is_valid().cast(pa.uint8()))
    return np.where(is_valid, values, np.nan)
