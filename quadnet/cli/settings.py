"""Settings that several verbs share: one field is the flag, the variable, the help and the check.

A flag overrides its environment variable, and the variable overrides the default. The variable is
``QUADNET_`` and the field's name. If two verbs use one name for different things, one field sets
another variable with `variable`, so that no variable has two meanings. A field marked `POSITIONAL`
takes the positional arguments. Positional fields and lists have no variable.
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
    """Return the ``json_schema_extra`` of a field with the variable ``QUADNET_`` and `name`."""
    return {"variable": name}


def is_list(field: FieldInfo) -> bool:
    """Return whether the field takes several values."""
    return typing.get_origin(field.annotation) is list


def is_positional(field: FieldInfo) -> bool:
    """Return whether the field takes positional arguments."""
    return bool(_extra(field).get("positional"))


def variable_of(name: str, field: FieldInfo) -> str | None:
    """Return the name of the field's environment variable, or None."""
    if is_list(field) or is_positional(field):
        return None
    return _PREFIX + str(_extra(field).get("variable", name.upper()))


def validation_message(fault: ErrorDetails) -> str:
    """Return the message of a validator's ValueError, or pydantic's message for other faults."""
    raised = fault.get("ctx", {}).get("error")
    if isinstance(raised, ValueError):
        return str(raised)
    # Without how pydantic found out: "a valid integer, unable to parse string as an integer".
    return fault["msg"].partition(", unable to parse")[0]


def service_link(settings: type[BaseSettings], name: str) -> str | None:
    """Return the field's variable if Kubernetes set its value for a Service, or None.

    For each Service in a pod's namespace, Kubernetes puts NAME_PORT=tcp://10.0.0.7:50051 into the
    pod's environment, unless the pod has ``enableServiceLinks: false``. So a Service with the name
    quadnet, quadnet-page or quadnet-metrics sets a variable of Quadnet.
    """
    found = variable_of(name, settings.model_fields[name])
    if found is None or not _SERVICE_LINK.match(os.environ.get(found, "")):
        return None
    return found if found.endswith("_PORT") else None


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


class _Environment(PydanticBaseSettingsSource):
    """Environment variables, without empty ones and those that Kubernetes sets."""

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

    Shells do not replace it in ``--registry=~/models``, nor do files of variables.
    """
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user
        return path


def check_host(name: str) -> str:
    """Return the name if it is a valid host name or IP address; raise ValueError otherwise.

    Resolvers report invalid names with unclear errors.
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
    """Settings of every verb."""

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
        """Return the sources of values: the arguments, then the environment."""
        return init_settings, _Environment(settings_cls)

    debug: bool = Field(False, description="Show the traceback of an error.")


class RegistrySettings(Settings):
    """The registry of a verb."""

    registry: Path = Field(Path("models"), description="Directory of published versions.")


class AddressSettings(Settings):
    """The address of a server."""

    host: Host = Field(DEFAULT_HOST, description="Host name or IP address of the server.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        DEFAULT_PORT, description="Port of the server."
    )
