"""The settings of the service's verbs."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from quadnet.cli.settings import (
    DEFAULT_HOST,
    POSITIONAL,
    AddressSettings,
    Host,
    RegistrySettings,
    Settings,
    variable,
)
from quadnet.model_names import CHAMPION, ModelName, ReadableAlias
from service.net.address import join_address

# A day is more than anybody means, and far below what makes a clock overflow.
MOST_SECONDS = 86_400
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
Level = Literal["debug", "info", "warning", "error"]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]


class ServeSettings(AddressSettings, RegistrySettings):
    """Serve a published model over gRPC until SIGTERM or Ctrl-C."""

    model: ModelName = Field("quadrants", description="The model that answers by default.")
    alias: ReadableAlias = Field(
        CHAMPION, description="The alias that says which version is served."
    )
    poll: PositiveSeconds = Field(
        1.0, description="Seconds between looks at the registry for a new version."
    )
    max_points: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="The most points in one call."
    )
    max_message_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = Field(
        64 * 2**20, description="The largest message, in and out."
    )
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = Field(
        64, description="The most calls in progress; further ones are refused at once."
    )
    message_timeout: PositiveSeconds = Field(
        60.0, description="Seconds in which the message of a call must arrive completely."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="How many processes answer, on the one port."
    )
    worker_timeout: Seconds = Field(
        30.0,
        description="Seconds without a heartbeat after which one of several workers is killed and "
        "replaced; 0 for never.",
    )
    drain_delay: Seconds = Field(
        0.0, description="Seconds to go on answering, as NOT_SERVING, once told to stop."
    )
    grace: Seconds = Field(30.0, description="Seconds that calls in flight have to finish.")
    connection_age: Seconds = Field(
        300.0,
        description="Seconds after which a connection ends in peace, so that clients spread anew; "
        "0 for never.",
    )
    tls_cert: Path | None = Field(
        None, description="The server's certificate chain, in PEM; read again when it changes."
    )
    tls_key: Path | None = Field(None, description="The key of that certificate, in PEM.")
    tls_client_ca: Path | None = Field(
        None, description="Whose certificates clients must show, in PEM; else they need show none."
    )
    token_file: Path | None = Field(
        None, description="Tokens, one a line, of which each call must bring one; else none need."
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="The port of the metrics for Prometheus, 0 for any; else there are none."
    )
    metrics_host: Host = Field(DEFAULT_HOST, description="The address that the metrics are on.")
    log_level: Level = Field(
        "info", description="debug, info, warning or error; info has a line for each call."
    )
    no_reflection: bool = Field(
        False, description="Do not tell clients which services and messages there are."
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("expected --tls-cert and --tls-key, got only one of them")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("expected --tls-cert and --tls-key beside --tls-client-ca")
        return self


Port = Annotated[int, Field(ge=0, le=65535)]


class PageSettings(Settings):
    """Where the page is."""

    page_host: Host = Field(DEFAULT_HOST, description="The address that the page is on.")
    page_port: Port | None = Field(
        None, description="The page's port, 0 for any; else 8051, or any if that is taken."
    )
    allow_host: list[str] = Field(
        [],
        description="Another host:port that browsers may call the page by; may be repeated.",
    )


class UpSettings(ServeSettings, PageSettings):
    """Train and publish the default model if there is none, then serve it, with the page."""

    no_page: bool = Field(False, description="Do not show the page, even if its extra is there.")


def check_client_tls(ca: object, certificate: object, key: object) -> None:
    """Raise ValueError if a client's files leave out one that the others are of no use without."""
    if (certificate is None) != (key is None):
        raise ValueError("expected --tls-client-cert and --tls-client-key, got only one")
    if certificate is not None and ca is None:
        raise ValueError("expected --tls-ca beside --tls-client-cert")


class ClientSettings(AddressSettings):
    """What every verb that calls a server takes."""

    timeout: PositiveSeconds = Field(10.0, description="Seconds to wait for an answer.")
    tls_ca: Path | None = Field(
        None, description="Use TLS, and trust servers with certificates of this CA, in PEM."
    )
    tls_client_cert: Path | None = Field(
        None, description="The certificate chain to show to the server, in PEM."
    )
    tls_client_key: Path | None = Field(None, description="The key of that certificate, in PEM.")
    token_file: Path | None = Field(
        None, description="A file whose first token is sent with each call."
    )

    @property
    def address(self) -> str:
        """The server's host and port."""
        return join_address(self.host, self.port)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        check_client_tls(self.tls_ca, self.tls_client_cert, self.tls_client_key)
        return self


class ClassifySettings(ClientSettings):
    """Ask a running server for the quadrants of points, given in pairs X Y or in a file."""

    points: list[float] = Field(
        [],
        description="Pairs of coordinates, as in 0.5 0.5 -0.3 0.8.",
        json_schema_extra=POSITIONAL,
    )
    file: Path | None = Field(
        None,
        description="A CSV file with columns x and y.",
        json_schema_extra=variable("CLASSIFY_FILE"),
    )
    points_a_call: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="The most points to send in one call; one version answers all."
    )
    model: ModelName | None = Field(
        None,
        description="The model to ask; else the server's default.",
        json_schema_extra=variable("CLIENT_MODEL"),
    )
    version: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = Field(
        None,
        description="The version to ask; else the server's default alias.",
        # Not QUADNET_VERSION, by which images and packages name a release.
        json_schema_extra=variable("CLIENT_VERSION"),
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


class BenchSettings(ClientSettings):
    """Load a running server with Classify, and print how many calls it answers and how fast."""

    points: Annotated[int, Field(ge=0, le=1_000_000)] = Field(100, description="Points a call.")
    in_flight: Annotated[int, Field(ge=1, le=10_000)] = Field(
        32, description="Calls in flight, of each process."
    )
    connections: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="Connections, of each process."
    )
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Processes that call; one cannot load more than one worker."
    )
    seconds: PositiveSeconds = Field(5.0, description="Seconds to measure.")
    warm_up: Seconds = Field(1.0, description="Seconds to call before it is measured.")
    model: ModelName | None = Field(
        None,
        description="The model to ask; else the server's default.",
        json_schema_extra=variable("CLIENT_MODEL"),
    )


class PlaygroundSettings(ClientSettings, PageSettings):
    """Show the page in front of a running server until SIGTERM or Ctrl-C."""

    max_runs: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="The most sandboxes that train at a time; further ones are refused."
    )
    run_seconds: PositiveSeconds = Field(
        600.0, description="Seconds that a sandbox may train without being asked again."
    )
    log_level: Level = Field("warning", description="debug, info, warning or error.")
