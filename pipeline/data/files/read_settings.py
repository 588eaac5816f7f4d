"""Settings for reading a file of any supported format."""

from dataclasses import dataclass
from typing import Literal

from quadnet.tables.missing_words import MISSING_WORDS

FileFormat = Literal["csv", "parquet", "arrow"]
Delimiter = Literal[",", ";", "\t", "|"]
Decimal = Literal[".", ","]
Compression = Literal["gzip", "zstd", "none"]

DELIMITERS: dict[Delimiter, str] = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "vertical bar",
}
"""The delimiters of CSV, and their names in messages."""


@dataclass(frozen=True)
class ReadSettings:
    """How to read a file; each setting that is None is detected from the file's content.

    Parameters
    ----------
    format : "csv", "parquet" or "arrow", optional
    delimiter : one of ``, ; |`` or a tab, optional
        The character between two cells of a CSV file.
    decimal : "." or ",", optional
        The decimal separator of a CSV file.
    encoding : str, optional
        The name of an encoding that Python knows, such as "utf-16" or "latin-1".
    compression : "gzip", "zstd" or "none", optional
    missing : tuple of str
        Words that mean a missing value. A cell is compared without the spaces around it.
    strip : bool
        Whether spaces around a text are removed.
    header : bool
        Whether the first row of a CSV file has the names of the columns. Without a header, they are
        ``column_1``, ``column_2`` and so on.
    """

    format: FileFormat | None = None
    delimiter: Delimiter | None = None
    decimal: Decimal | None = None
    encoding: str | None = None
    compression: Compression | None = None
    missing: tuple[str, ...] = MISSING_WORDS
    strip: bool = True
    header: bool = True

    @property
    def missing_words(self) -> frozenset[str]:
        """The words that mean a missing value, without spaces around them."""
        return frozenset(word.strip() for word in self.missing)
