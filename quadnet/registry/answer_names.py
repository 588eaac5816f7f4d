"""The names of the columns that hold a version's answers, in files and in data frames."""

from collections.abc import Sequence

LABEL, CERTAINTY, VALUE, VERSION = "label", "certainty", "value", "version"


def name_probability(name: str) -> str:
    """Return the name of the column with the probabilities of a class or label."""
    return f"probability_{name}"


def name_label(name: str) -> str:
    """Return the name of the column with 1 in rows that have this one of several labels."""
    return f"label_{name}"


def name_quantile(level: float) -> str:
    """Return the name of the column with the quantiles of this level."""
    return f"quantile_{level}"


def list_added_names(
    *, classes: Sequence[str], quantiles: Sequence[float], multilabel: bool
) -> list[str]:
    """Return the names of the columns that are added to the rows of a file.

    For classes they are the label and its certainty; for numbers, which have no classes, the value
    and its quantiles; for several labels, for each one whether a row has it, and its probability.
    The last one is the version.
    """
    if not classes:
        return [VALUE, *map(name_quantile, quantiles), VERSION]
    if multilabel:
        return [
            *(name for each in classes for name in (name_label(each), name_probability(each))),
            VERSION,
        ]
    return [LABEL, CERTAINTY, VERSION]
