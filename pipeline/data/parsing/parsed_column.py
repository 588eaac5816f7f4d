"""The result of parsing a column: its values, and what is wrong with the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from pipeline.data.files.cells import BadCell
from quadnet.tables.columns import Column, Texts
from quadnet.types import IntArray

AnyColumn_co = TypeVar("AnyColumn_co", bound=Column, covariant=True)


@dataclass(frozen=True)
class ParsedColumn(Generic[AnyColumn_co]):
    """A parsed column.

    Attributes
    ----------
    values : Column
        Missing where the column has no value, or a bad one.
    bad : ndarray of int
        The indices of the rows that have another value than was expected.
    describe : callable
        Takes the index of a bad row; returns what was expected and what was found.
    """

    values: AnyColumn_co
    bad: IntArray
    describe: Callable[[int], str]


def parse_distinct(
    texts: Texts, parse: Callable[[str], Any], *, missing: Any, dtype: str
) -> ParsedColumn[Any]:
    """Parse each distinct text of a column.

    Parameters
    ----------
    texts : Texts
    parse : callable
        Takes a text; returns its value, or raises BadCell.
    missing : object
        The value of rows without a text, and of bad ones.
    dtype : str
        The type of the values.
    """
    problems: dict[int, str] = {}
    parsed = []
    for code, text in enumerate(texts.values):
        try:
            parsed.append(parse(text))
        except BadCell as error:
            parsed.append(missing)
            problems[code] = str(error)
    is_bad = np.zeros(len(parsed) + 1, np.bool_)
    is_bad[list(problems)] = True
    values = np.array([*parsed, missing], dtype)[texts.codes]
    codes = texts.codes
    return ParsedColumn(
        values, np.flatnonzero(is_bad[codes]), lambda row: problems[int(codes[row])]
    )
