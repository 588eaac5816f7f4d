"""The names that models and aliases go by."""

import re
from typing import Annotated

from pydantic import StringConstraints

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME.pattern}$")]

CHAMPION = "champion"
"""The alias of the version that is served unless another is asked for."""

LATEST = "latest"
"""The alias that nobody sets: the highest version there is."""

ALIAS_NAME = re.compile(r"(?!latest$)[a-z][a-z0-9_-]{0,63}")
"""Begins with a letter, so that no alias looks like a version."""
