"""A number for each row, by its values alone: decides on the row's part, and finds copies."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from quadnet.tables.columns import Column, Table, Texts, is_numbers
from quadnet.types import FloatArray

_ROWS_AT_A_TIME = 4096

_MISSING = 0x6D697373696E6721
"""The bits of a missing value, which no text or number has but by chance."""

Hashes = NDArray[np.uint64]


def hash_rows(X: FloatArray, seed: int) -> FloatArray:
    """Return a number in [0, 1) for each row of X (n_rows, n_features), by its values alone.

    Equal rows therefore stay in one part, and a row's part does not depend on other rows. Each
    value's bits go through the mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    hashes = np.empty(len(X))
    # A few rows at a time: for many columns, copies of the whole table would be large, and values
    # that stay in the cache are mixed several times faster.
    for start in range(0, len(X), _ROWS_AT_A_TIME):
        block = X[start : start + _ROWS_AT_A_TIME]
        state = _mix_bits(np.full(len(block), seed, np.uint64))
        for column in np.ascontiguousarray(block.T):
            state = _mix_bits(state ^ _number_bits(column))
        hashes[start : start + _ROWS_AT_A_TIME] = state / 2.0**64
    return hashes


def hash_table(table: Table, seed: int) -> FloatArray:
    """Return a number in [0, 1) for each row of a table, by its values alone.

    The order of the columns does not matter: a file with other columns first is split alike.
    """
    n_rows = len(next(iter(table.values())))
    state = _mix_bits(np.full(n_rows, seed, np.uint64))
    for name in sorted(table):
        state = _mix_bits(state ^ _value_bits(table[name]))
    hashes: FloatArray = state / 2.0**64
    return hashes


def _value_bits(column: Column) -> Hashes:
    """Return 64 bits for each value, which are equal for equal values."""
    if isinstance(column, Texts):
        digests = [hashlib.blake2b(text.encode(), digest_size=8) for text in column.values]
        bits = [int.from_bytes(digest.digest(), "little") for digest in digests]
        # The last is for the code -1.
        return np.array([*bits, _MISSING], np.uint64)[column.codes]
    if is_numbers(column):
        bits_of = _number_bits(column)
        bits_of[np.isnan(column)] = _MISSING
        return bits_of
    return np.ascontiguousarray(column, "<M8[us]").view(np.uint64)


def _number_bits(column: FloatArray) -> Hashes:
    # Adding 0 gives -0.0 the same bits as 0.0, because the two are equal.
    bits: Hashes = (column.astype("<f8") + 0.0).view(np.uint64)
    return bits


def _mix_bits(state: Hashes) -> Hashes:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
