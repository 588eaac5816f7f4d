"""The base of all sections of a run file."""

from typing import Annotated

from pydantic import AfterValidator, Field

from quadnet.records import Frozen


class Section(Frozen):
    """A section of a run file."""


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("expected a path without NUL characters")
    return path


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
"""A path in a run file."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
Error = Annotated[float, Field(ge=0)]
