"""Settings that several verbs share: one field is the flag, the variable, the help and the check.

A flag wins over its ``QUADNET_...`` environment variable, and that over the default. A field
marked `POSITIONAL` takes the words that belong to no flag; it and lists have no variable.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051

POSITIONAL: dict[str, Any] = {"positional": True}


def check_host(name: str) -> str:
    """Return the name if it can be a host's, or is an IP address; raise ValueError otherwise.

    Resolvers fail on the other ones in ways of their own.
    """
    if name.startswith("["):
        raise ValueError("expected an IPv6 address without brackets, such as ::1")
    expected = "expected a host name or an IP address, such as localhost or ::1"
    if not name or not name.isprintable() or set(name) & set(" /[]"):
        raise ValueError(expected)
    try:
        name.encode("idna")
    except UnicodeError:
        raise ValueError(f"{expected}, with 1 to 63 letters between two dots") from None
    return name


Host = Annotated[str, AfterValidator(check_host)]


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

    host: Host = Field(DEFAULT_HOST, description="The server's host name or address.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        DEFAULT_PORT, description="The server's port."
    )
