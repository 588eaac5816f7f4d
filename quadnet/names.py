"""The names that models and aliases go by."""

import re
from typing import Annotated

from pydantic import StringConstraints

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

ModelName = Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME.pattern}$")]

CHAMPION = "champion"
"""The alias of the version that is served unless another is asked for."""
