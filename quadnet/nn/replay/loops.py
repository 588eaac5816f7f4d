"""The compiled inner loop of a ufunc, by the types of its operands.

NumPy documents the C structure of a ufunc (`PyUFuncObject`): its loops are the ones that NumPy
itself calls, chosen for this processor when it was imported.
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


class NotRecordable(Exception):
    """An update does something that cannot be replayed; the text states what."""


class _UFuncObject(ctypes.Structure):
    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
    )


@dataclass(frozen=True, slots=True)
class Loop:
    """The address of an inner loop, and of the data that it is given."""

    address: int
    data: int = 0


@lru_cache(maxsize=256)
def find_loop(ufunc: np.ufunc, types: str) -> Loop:
    """Return the loop of the ufunc for operands of these types, such as "dd->d".

    Raises
    ------
    NotRecordable
        If there is no such loop, or the ufunc does not look in memory as NumPy documents it.
    """
    seen = _UFuncObject.from_address(id(ufunc))
    expected = (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes, ufunc.__name__.encode())
    if types in ufunc.types and expected == (
        *(seen.nin, seen.nout, seen.nargs, seen.ntypes),
        seen.name,
    ):
        i = ufunc.types.index(types)
        address = seen.functions[i]
        if address:
            return Loop(address, seen.data[i] or 0)
    raise NotRecordable(f"it calls {ufunc.__name__} for the types {types}")
