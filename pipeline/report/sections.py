"""A section of the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

View = Mapping[str, Any]
"""The values that a template shows, by their names in the template."""


@dataclass(frozen=True)
class Section:
    """A section with its title, its anchor, and the template that shows its values."""

    key: str
    title: str
    template: str
    view: Any
