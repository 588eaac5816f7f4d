"""Array types for signatures."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
"""float32 or float64; every computation keeps the dtype of its input."""

IntArray = NDArray[np.intp]
"""Row indices."""

BoolArray = NDArray[np.bool_]
"""Masks."""
