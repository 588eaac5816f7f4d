"""Settings that several verbs share: one field is the flag, the variable, the help and the check.

A flag wins over its environment variable, and that over the default. The variable is
``QUADNET_`` and the field's name; where two verbs mean different things by one name, a field names
its own with `variable`, so that no variable ever has two meanings. A field marked `POSITIONAL`
takes the words that belong to no flag; it and lists have no variable.
"""

import os
import re
import typing
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051

POSITIONAL: dict[str, Any] = {"positional": True}

_PREFIX = "QUADNET_"

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


def variable(name: str) -> dict[str, Any]:
    """Return what marks a field whose variable is ``QUADNET_`` and this name."""
    return {"variable": name}


def is_list(field: FieldInfo) -> bool:
    """Whether the field takes several values."""
    return typing.get_origin(field.annotation) is list


def is_positional(field: FieldInfo) -> bool:
    """Whether the field takes words that belong to no flag."""
    return bool(_extra(field).get("positional"))


def variable_of(name: str, field: FieldInfo) -> str | None:
    """Return the field's environment variable; None if it has none."""
    if is_list(field) or is_positional(field):
        return None
    return _PREFIX + str(_extra(field).get("variable", name.upper()))


def validation_message(fault: ErrorDetails) -> str:
    """Return what pydantic says of a fault; of a ValueError raised by a validator, its own text."""
    raised = fault.get("ctx", {}).get("error")
    return str(raised) if isinstance(raised, ValueError) else fault["msg"]


def service_link(settings: type[BaseSettings], name: str) -> str | None:
    """Return the field's variable if its value is one that Kubernetes sets for a Service.

    For each Service in a pod's namespace, Kubernetes puts NAME_PORT=tcp://10.0.0.7:50051 into the
    pod's environment, unless the pod says ``enableServiceLinks: false``. So a Service called
    quadnet, quadnet-page or quadnet-metrics sets a variable of ours.
    """
    found = variable_of(name, settings.model_fields[name])
    if found is None or not _SERVICE_LINK.match(os.environ.get(found, "")):
        return None
    return found if found.endswith("_PORT") else None


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


class _Environment(PydanticBaseSettingsSource):
    """The environment variables; an empty one, and one that Kubernetes has set, counts as none."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = variable_of(field_name, field)
        value = os.environ.get(name, "") if name else ""
        ignored = not value or service_link(self.settings_cls, field_name)
        return None if ignored else value, field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def expand_user(path: Path) -> Path:
    """Return the path with a leading ``~`` replaced by the home directory.

    Shells leave it as it is in ``--registry=~/models``, and so do files of variables.
    """
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


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

    model_config = SettingsConfigDict(frozen=True, enable_decoding=False)

    @field_validator("*")
    @classmethod
    def _expand_user(cls, value: Any) -> Any:
        return expand_user(value) if isinstance(value, Path) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from: the arguments, then the environment."""
        return init_settings, _Environment(settings_cls)

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
