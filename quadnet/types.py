"""Types for signatures: arrays, and what a model predicts."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
"""float32 or float64; every computation keeps the dtype of its input."""

IntArray = NDArray[np.intp]
"""Row indices."""

BoolArray = NDArray[np.bool_]
"""Masks."""

Task = Literal["classification", "regression", "multilabel"]
"""What a model predicts: one of several classes, a number, or labels that a row has or has not."""
