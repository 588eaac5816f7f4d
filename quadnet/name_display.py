"""Names that users choose, as messages and reports show and suggest them."""

import difflib
from collections.abc import Iterable

_LONGEST_NAME = 100
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def escape_invisible(text: str) -> str:
    r"""Return the text with invisible characters, such as a newline, as escapes, such as \n.

    Marks that change the direction of text and lone surrogates are escaped too. Joiners, which
    several scripts need, are not.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" of the known name most like this one, or "" without such a name."""
    # Of long texts, the comparison takes seconds.
    known = [each for each in known if len(each) <= _LONGEST_NAME]
    close = difflib.get_close_matches(name[:_LONGEST_NAME], known, n=1)
    return f" Did you mean {escape_invisible(close[0])}?" if close else ""
