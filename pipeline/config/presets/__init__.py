"""Run files that ship with Quadnet, by name."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.run_config import RunConfig
from pipeline.config.run_file import load_run_file
from quadnet.errors import NotFound
from quadnet.name_display import suggest_name

_FILES = {path.stem: path for path in Path(__file__).parent.glob("*.toml")}

PRESET_NAMES = tuple(sorted(_FILES))


def load_preset(name: str, changes: Sequence[str] = ()) -> RunConfig:
    """Return the preset of this name with the changes applied.

    Raises
    ------
    NotFound
        If there is no preset of this name.
    """
    if name not in _FILES:
        raise NotFound(
            f"There is no preset {name!r}.{suggest_name(name, PRESET_NAMES)} "
            f"The presets: {', '.join(PRESET_NAMES)}. A run file's path must end in .toml."
        )
    return load_run_file(_FILES[name], changes)
