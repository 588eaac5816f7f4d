"""Valid names of models and aliases."""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME.pattern}$")]

CHAMPION = "champion"
"""The alias of the version that is served by default."""

LATEST = "latest"
"""The alias that always means the highest version; it cannot be set."""

_ALIAS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def check_alias(name: str) -> str:
    """Return the name if it is a valid alias to set; raise ValueError otherwise.

    The first character must be a letter, so that no alias looks like a version.
    """
    if name == LATEST or not isinstance(name, str) or not _ALIAS_NAME.fullmatch(name):
        raise ValueError(
            "expected a lower-case letter and up to 63 more of those, digits, '_' and '-', and "
            f"not {LATEST!r}, which always means the highest version"
        )
    return name


AliasName = Annotated[str, AfterValidator(check_alias)]
"""The name of an alias that can be set."""


def check_readable_alias(name: str) -> str:
    """Return the name if it is `LATEST` or a valid alias; raise ValueError otherwise."""
    if not _ALIAS_NAME.fullmatch(name):
        hint = "; a version is served once an alias points to it" if name.isdecimal() else ""
        raise ValueError(
            "expected an alias: a lower-case letter and up to 63 more of those, digits, '_' and "
            f"'-'{hint}"
        )
    return name


ReadableAlias = Annotated[str, AfterValidator(check_readable_alias)]
"""The name of an alias that can be read, `LATEST` included."""
