"""The four quadrants of the plane. No other module defines them.

They have names, not numbers, because the article's prose counts its outputs in one order and its
code in another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quadnet.types import FloatArray


@dataclass(frozen=True)
class Quadrant:
    """One quadrant, with y upwards.

    Parameters
    ----------
    name : str
    x_sign, y_sign : {-1, 1}
    colour : str
        The colour of the quadrant's team in the article.
    """

    name: str
    x_sign: int
    y_sign: int
    colour: str


QUADRANTS = (
    Quadrant("I", 1, 1, "purple"),
    Quadrant("II", -1, 1, "green"),
    Quadrant("III", -1, -1, "blue"),
    Quadrant("IV", 1, -1, "red"),
)

NAMES = tuple(quadrant.name for quadrant in QUADRANTS)

FEATURES = ("x", "y")

CENTRES: FloatArray = np.array([[0.5 * q.x_sign, 0.5 * q.y_sign] for q in QUADRANTS])
"""The article's four training points, in the order of `QUADRANTS`."""


def label_quadrants(X: ArrayLike) -> NDArray[np.str_]:
    """Return the name of the quadrant of each point.

    Parameters
    ----------
    X : array-like of shape (n_points, 2)
        Points on an axis are refused, because they belong to no quadrant.

    Returns
    -------
    ndarray of shape (n_points,)

    Raises
    ------
    ValueError
        If a point lies on an axis.
    """
    X = np.asarray(X)
    on_axis = np.flatnonzero((X == 0).any(axis=1))
    if len(on_axis):
        row = on_axis[0]
        raise ValueError(f"Point {row}, {X[row].tolist()}, lies on an axis: it has no quadrant.")
    names = np.empty(len(X), dtype="<U3")
    for quadrant in QUADRANTS:
        inside = ((X[:, 0] > 0) == (quadrant.x_sign > 0)) & ((X[:, 1] > 0) == (quadrant.y_sign > 0))
        names[inside] = quadrant.name
    return names
