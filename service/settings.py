"""The settings of the service's verbs."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from quadnet.names import CHAMPION, ModelName
from quadnet.settings import POSITIONAL, AddressSettings, RegistrySettings

# A day is more than anybody means, and far below what makes a clock overflow.
Seconds = Annotated[float, Field(ge=0, le=86_400)]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]


class ServeSettings(AddressSettings, RegistrySettings):
    """Serve a published model over gRPC until SIGTERM or Ctrl-C."""

    model: ModelName = Field("quadrants", description="The model that answers by default.")
    alias: str = Field(CHAMPION, description="The alias that says which version is served.")
    poll: PositiveSeconds = Field(
        1.0, description="Seconds between looks at the registry for a new version."
    )
    max_points: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="The most points in one call."
    )
    max_message_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = Field(
        64 * 2**20, description="The largest message, in and out."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        8, description="How many calls are handled at a time."
    )
    drain_delay: Seconds = Field(
        0.0, description="Seconds to go on answering, as NOT_SERVING, once told to stop."
    )
    grace: Seconds = Field(30.0, description="Seconds that calls in flight have to finish.")


class ClientSettings(AddressSettings):
    """What every verb that calls a server takes."""

    timeout: PositiveSeconds = Field(10.0, description="Seconds to wait for an answer.")


class ClassifySettings(ClientSettings):
    """Ask a running server for the quadrants of points, given in pairs X Y or in a file."""

    points: list[float] = Field(
        [],
        description="Pairs of coordinates, as in 0.5 0.5 -0.3 0.8.",
        json_schema_extra=POSITIONAL,
    )
    file: Path | None = Field(None, description="A CSV file with columns x and y.")
    model: ModelName | None = Field(
        None, description="The model to ask; else the server's default."
    )
    version: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The version to ask; else the server's default alias."
    )

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if self.file is not None and self.points:
            raise ValueError("expected points or --file, got both")
        if self.file is None and not self.points:
            raise ValueError("expected points, as in 0.5 0.5 -0.3 0.8, or --file")
        if len(self.points) % 2:
            raise ValueError(f"expected pairs X Y, got {len(self.points)} numbers")
        return self


class HealthSettings(ClientSettings):
    """Ask a running server whether it is serving; exit with 1 if it is not."""

    services: list[str] = Field(
        ["", "quadrant.v1.QuadrantService"],
        description="The names to ask for; else the server as a whole and QuadrantService.",
        json_schema_extra=POSITIONAL,
    )
