"""Settings that several verbs share: one field is the flag, the variable, the help and the check.

A flag wins over its ``QUADNET_...`` environment variable, and that over the default. A field
marked `POSITIONAL` takes the words that belong to no flag; it and lists have no variable.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051

POSITIONAL: dict[str, Any] = {"positional": True}


class Settings(BaseSettings):
    """What every verb takes."""

    model_config = SettingsConfigDict(
        env_prefix="QUADNET_", frozen=True, env_ignore_empty=True, enable_decoding=False
    )

    debug: bool = Field(False, description="Show the traceback of an error.")


class RegistrySettings(Settings):
    """Where published versions are."""

    registry: Path = Field(Path("models"), description="The directory of published versions.")


class AddressSettings(Settings):
    """Where the server is."""

    host: str = Field(DEFAULT_HOST, min_length=1, description="The server's host name or address.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        DEFAULT_PORT, description="The server's port."
    )
