"""Decimal numbers read from text, many at once, each to the last bit as `float` reads it.

Eight characters at a time stand in one integer, whose few multiplications are those of all numbers
together. What this gives is a whole number w and how many decimals it has, d. The quotient
w / 10**d is computed with a remainder, about twice as exactly as a float can hold; only where even
that lies too near the middle of two floats is it left open which of them is nearer.
"""

import numpy as np
from numpy.typing import NDArray

from quadnet.types import BoolArray, FloatArray, IntArray

MARGIN = 24
"""How many characters must stand before the first number."""

# 10**22 is the largest power of ten that is a float, 10**18 that fits a 64-bit integer.
_MOST_DECIMALS, _MOST_DIGITS = 22, 18

# So many numbers at a time, with all that is computed on the way, stay in the processor's cache.
_BLOCK = 16384

_EIGHT_ZEROS = np.uint64(0x3030303030303030)
_HIGH_BITS = np.uint64(0x8080808080808080)
_TO_HIGH_BIT = np.uint64(0x7676767676767676)
_PAIRS = np.uint64(0x000000FF000000FF)

_POWERS = np.array([10 ** min(i, _MOST_DIGITS) for i in range(_MOST_DECIMALS + 1)], np.uint64)
_DIVISORS = np.array([10.0**i for i in range(_MOST_DECIMALS + 1)])
_SPLITTER = 2.0**27 + 1.0

# By the number of digits at their end: which of 24 characters are to be looked at.
_MASKS = np.array(
    [[0xFF if i >= MARGIN - n else 0 for i in range(MARGIN)] for n in range(MARGIN + 1)], np.uint8
).view("<u8")


def read(
    characters: NDArray[np.uint8], starts: IntArray, ends: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Return the number in each of these places, and for which of them it is not known.

    Known are plain decimals such as -12.5, of up to 8 digits before the point and 18 in all.

    Parameters
    ----------
    characters : ndarray of uint8
        The text, with `MARGIN` other characters in front.
    starts, ends : ndarray of shape (n_numbers,)
        Where each number begins, in ascending order, and where the character after it is.
    """
    values, unknown = np.empty(len(starts)), np.empty(len(starts), np.bool_)
    # The last one is after everything.
    points = np.append(np.flatnonzero(characters == ord(".")), len(characters))
    for begin in range(0, len(starts), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        values[block], unknown[block] = _read(characters, starts[block], ends[block], points)
    return values, unknown


def _read(
    characters: NDArray[np.uint8], starts: IntArray, ends: IntArray, points: IntArray
) -> tuple[FloatArray, BoolArray]:
    first = characters[starts]
    is_negative = first == ord("-")
    starts = starts + (is_negative | (first == ord("+")))
    next_point = points[np.searchsorted(points, starts)]
    has_point = next_point < ends
    # Without a point, the number is what stands behind one, with no decimals.
    point = np.where(has_point, next_point, starts - 1)
    n_whole, n_last = np.where(has_point, point - starts, 0), ends - point - 1
    unknown = (n_whole > 8) | (n_last > _MOST_DECIMALS) | (n_whole + n_last == 0)
    n_whole[unknown] = n_last[unknown] = 0
    n_decimals = np.where(has_point, n_last, 0)

    whole, wrong = _whole_numbers(characters, point, n_whole, 1)
    unknown |= wrong | ((whole != 0) & (n_whole + n_last > _MOST_DIGITS))
    last, wrong = _whole_numbers(characters, ends, n_last, 3)
    unknown |= wrong
    values, wrong = _divide(whole * _POWERS[n_decimals] + last, n_decimals)
    unknown |= wrong
    np.negative(values, out=values, where=is_negative)
    return values, unknown


def _whole_numbers(
    characters: NDArray[np.uint8], ends: IntArray, n_digits: IntArray, n_words: int
) -> tuple[NDArray[np.uint64], BoolArray]:
    """Return the number before each of the ends, and where it is none or has too many digits.

    So many words of eight characters are looked at.
    """
    width = 8 * n_words
    # Overlapping items, one at each character: the fastest way to many short pieces of memory.
    pieces = np.ndarray((len(characters) - width + 1,), f"V{width}", characters, strides=(1,))
    words = pieces[ends - width].view("<u8").reshape(-1, n_words)
    masks = _MASKS.take(n_digits, axis=0)[:, MARGIN // 8 - n_words :]
    number, not_digits = _eight_digits(words[:, 0], masks[:, 0])
    # More than an integer holds, if there is more to come.
    wrong = number >= 100 if n_words > 1 else np.zeros(len(number), np.bool_)
    for i in range(1, n_words):
        more, others = _eight_digits(words[:, i], masks[:, i])
        number = number * np.uint64(10**8) + more
        not_digits |= others
    wrong |= not_digits != 0
    # Whatever else stands there may be next to 2**64, and no float to be made an integer again.
    number[wrong] = 0
    return number, wrong


def _eight_digits(
    word: NDArray[np.uint64], mask: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return what the masked characters of each word say, and a bit for each that is no digit."""
    digits = (word ^ _EIGHT_ZEROS) & mask
    # A byte above 9 then reaches its high bit, if it did not have it already.
    not_digits = ((digits + _TO_HIGH_BIT) | digits) & _HIGH_BITS
    # Pairs of digits, pairs of those, and pairs of those.
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))
    low = (digits & _PAIRS) * np.uint64(100 + (1_000_000 << 32))
    high = ((digits >> np.uint64(16)) & _PAIRS) * np.uint64(1 + (10_000 << 32))
    return (low + high) >> np.uint64(32), not_digits


def _divide(w: NDArray[np.uint64], n_decimals: IntArray) -> tuple[FloatArray, BoolArray]:
    """Return the float nearest to w / 10**n_decimals, and where it is not sure to be that."""
    D = _DIVISORS[n_decimals]
    high = w.astype(np.float64)
    low = (w - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    q = high / D
    # The remainder high - q D, of which no bit is lost (Dekker's product), and what high lacks.
    product = q * D
    q_high, q_low = _halves(q)
    D_high, D_low = _halves(D)
    error = ((q_high * D_high - product) + q_high * D_low + q_low * D_high) + q_low * D_low
    correction = (((high - product) - error) + low) / D
    values = q + correction
    rest = correction - (values - q)
    return values, values + rest * (1.0 + 2.0**-20) != values


def _halves(a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Split each float into two of half its digits."""
    c = _SPLITTER * a
    high = c - (c - a)
    return high, a - high
