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

# One day: longer than any useful setting, and far below values that overflow a clock.
MOST_SECONDS = 86_400
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
Level = Literal["debug", "info", "warning", "error"]
PositiveSeconds = Annotated[Seconds, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class ServeSettings(AddressSettings, RegistrySettings):
    """Serve published models over gRPC, and over HTTP if asked, until SIGTERM or Ctrl-C."""

    http_port: Port | None = Field(
        None,
        description="Port of the REST methods, on the same host; 0 for any free port. Without it, "
        "REST is off.",
    )
    model: ModelName = Field("quadrants", description="Model for calls that name no model.")
    alias: ReadableAlias = Field(
        CHAMPION, description="Alias whose version is served to calls that name no version."
    )
    poll: PositiveSeconds = Field(
        1.0, description="Seconds between two checks of the registry for a new version."
    )
    max_points: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="Maximum number of points per call."
    )
    max_message_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = Field(
        64 * 2**20, description="Maximum size of a request or an answer, in bytes."
    )
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = Field(
        64, description="Maximum number of calls in progress. Further calls are refused at once."
    )
    message_timeout: PositiveSeconds = Field(
        60.0, description="Seconds within which the message of a call must arrive completely."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Number of worker processes that share the port."
    )
    worker_timeout: Seconds = Field(
        30.0,
        description="Seconds without a heartbeat after which one of several workers is killed and "
        "replaced. 0 means never.",
    )
    drain_delay: Seconds = Field(
        0.0,
        description="Seconds for which a stopping server reports NOT_SERVING and still accepts "
        "calls.",
    )
    grace: Seconds = Field(
        30.0, description="Seconds for calls in flight to finish when the server stops."
    )
    connection_age: Seconds = Field(
        300.0,
        description="Seconds after which a connection is closed gracefully, so that clients "
        "reconnect and spread over the servers. 0 means never.",
    )
    tls_cert: Path | None = Field(
        None,
        description="File of the server's certificate chain, in PEM. It is read again when it "
        "changes. Without it, TLS is off.",
    )
    tls_key: Path | None = Field(None, description="File of the key of --tls-cert, in PEM.")
    tls_client_ca: Path | None = Field(
        None,
        description="File of the certificate authorities, in PEM, one of which must have signed "
        "the client's certificate (mutual TLS). Without it, clients need no certificate.",
    )
    token_file: Path | None = Field(
        None,
        description="File of accepted bearer tokens, one per line. Without it, authentication is "
        "off.",
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None,
        description="Port of the metrics for Prometheus; 0 for any free port. Without it, metrics "
        "are off.",
    )
    metrics_host: Host = Field(DEFAULT_HOST, description="Address on which the metrics are served.")
    log_level: Level = Field(
        "info", description="debug, info, warning or error. info logs a line for each call."
    )
    no_reflection: bool = Field(
        False, description="Disable server reflection, which lists the services and messages."
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("expected --tls-cert and --tls-key, got only one of them")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca: expected --tls-cert and --tls-key, too")
        return self


class PageSettings(Settings):
    """The address of the page."""

    page_host: Host = Field(DEFAULT_HOST, description="Address on which the page is served.")
    page_port: Port | None = Field(
        None,
        description="Port of the page; 0 for any free port. Without it, 8051, or any free port if "
        "8051 is taken.",
    )
    allow_host: list[str] = Field(
        [],
        description="Further host:port under which browsers may open the page. Can be repeated.",
    )


class UpSettings(ServeSettings, PageSettings):
    """Train and publish the default model if it does not exist, then serve it, with the page."""

    no_page: bool = Field(
        False, description="Do not start the page, even if the extra `playground` is installed."
    )


def find_missing_tls_file(ca: object, certificate: object, key: object) -> tuple[str, str] | None:
    """Return a client's TLS setting and another one that it needs and that is missing; or None."""
    if certificate is not None and key is None:
        return "tls_client_cert", "tls_client_key"
    if key is not None and certificate is None:
        return "tls_client_key", "tls_client_cert"
    if certificate is not None and ca is None:
        return "tls_client_cert", "tls_ca"
    return None


class ClientSettings(AddressSettings):
    """The settings of every verb that calls a server."""

    timeout: PositiveSeconds = Field(10.0, description="Seconds to wait for an answer.")
    tls_ca: Path | None = Field(
        None,
        description="File of the certificate authority, in PEM, that signed the server's "
        "certificate. Without it, the connection does not use TLS.",
    )
    tls_client_cert: Path | None = Field(
        None, description="File of the client's certificate chain, in PEM, for mutual TLS."
    )
    tls_client_key: Path | None = Field(
        None, description="File of the key of --tls-client-cert, in PEM."
    )
    token_file: Path | None = Field(
        None, description="File whose first bearer token is sent with each call."
    )

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return join_address(self.host, self.port)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        found = find_missing_tls_file(self.tls_ca, self.tls_client_cert, self.tls_client_key)
        if found is not None:
            given, missing = (f"--{name.replace('_', '-')}" for name in found)
            raise ValueError(f"{given}: expected {missing}, too")
        return self


class ClassifySettings(ClientSettings):
    """Print the quadrants of points, given as pairs X Y or in a file, from a running server."""

    points: list[float] = Field(
        [],
        description="Pairs of coordinates, as in 0.5 0.5 -0.3 0.8.",
        json_schema_extra=POSITIONAL,
    )
    file: Path | None = Field(
        None,
        description="CSV file with the columns x and y.",
        json_schema_extra=variable("CLASSIFY_FILE"),
    )
    points_a_call: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="Maximum number of points per call. One version answers all calls."
    )
    model: ModelName | None = Field(
        None,
        description="Model to call. Without it, the server's default model.",
        json_schema_extra=variable("CLIENT_MODEL"),
    )
    version: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = Field(
        None,
        description="Number of the version to call. Without it, the server's default alias.",
        # Not QUADNET_VERSION, which images and packages use for the release.
        json_schema_extra=variable("CLIENT_VERSION"),
    )

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if self.file is not None and self.points:
            raise ValueError("expected points or --file, got both")
        if self.file is None and not self.points:
            raise ValueError("expected points, as in 0.5 0.5 -0.3 0.8, or --file")
        if len(self.points) % 2:
            raise ValueError(f"expected pairs X Y, got an odd count of numbers: {len(self.points)}")
        return self


class PredictSettings(ClientSettings):
    """Print a model's answers for one row, or for the rows of a CSV file.

    A running server answers, unless --registry is given: then the version is read from there, and
    needs no server. QUADNET_REGISTRY, which other verbs read, does not change that.

    For one row: quadnet predict titanic --set age=31 --set sex=female. For a file, with commas,
    semicolons or tabs: quadnet predict titanic rows.csv > answers.csv. Its rows are printed
    unchanged, as CSV, with the columns that `quadnet score` adds. Columns that the model does not
    take are ignored. Large files are faster with `quadnet score`.
    """

    model: str = Field(
        "",
        description="Version: NAME:7, NAME:alias, or NAME for the server's default alias, or the "
        "registry's champion.",
        json_schema_extra=POSITIONAL,
    )
    rows: str = Field(
        "",
        description="CSV file with the model's columns, in any order; - for the standard input.",
        json_schema_extra=POSITIONAL,
    )
    set: list[str] = Field(
        [],
        description="Value of one column, such as age=31. Repeatable: one for each column. An "
        "empty value, as in age=, is missing.",
    )
    registry: Path | None = Field(
        None,
        description="Directory of published versions, to predict without a server.",
        # Not QUADNET_REGISTRY: a server's own setting must not decide which model answers here.
        json_schema_extra=variable("PREDICT_REGISTRY"),
    )
    prefix: str = Field(
        "", description="Prefix of the new columns' names: predicted_ gives predicted_label."
    )

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        if not self.model:
            raise ValueError("expected MODEL, as in quadnet predict titanic rows.csv")
        if not self.rows and not self.set:
            raise ValueError(
                "expected rows: a CSV file, - for the standard input, or a --set NAME=VALUE for "
                "each column"
            )
        if self.rows and self.set:
            raise ValueError("expected a file or --set, got both")
        for pair in self.set:
            if "=" not in pair:
                raise ValueError(f"--set: expected NAME=VALUE, as in age=31, got {pair!r}")
        return self


class HealthSettings(ClientSettings):
    """Print the health of a running server; exit with 1 unless it is SERVING."""

    services: list[str] = Field(
        ["", "quadrant.v1.QuadrantService"],
        description="Names of services. Without any, the server as a whole and QuadrantService.",
        json_schema_extra=POSITIONAL,
    )


class BenchSettings(ClientSettings):
    """Load a running server with Classify, and print its calls per second and latency."""

    points: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        100, description="Number of points per call."
    )
    in_flight: Annotated[int, Field(ge=1, le=10_000)] = Field(
        32, description="Number of calls in flight per client process."
    )
    connections: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="Number of connections per client process."
    )
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Number of client processes. One can saturate no more than one worker."
    )
    seconds: PositiveSeconds = Field(5.0, description="Seconds of measurement.")
    warm_up: Seconds = Field(1.0, description="Seconds of calls before the measurement.")
    model: ModelName | None = Field(
        None,
        description="Model to call. Without it, the server's default model.",
        json_schema_extra=variable("CLIENT_MODEL"),
    )


class PlaygroundSettings(ClientSettings, PageSettings):
    """Show the page in front of a running server until SIGTERM or Ctrl-C."""

    max_runs: Annotated[int, Field(ge=1, le=64)] = Field(
        4,
        description="Maximum number of sandboxes that train at a time. Further runs are refused.",
    )
    run_seconds: PositiveSeconds = Field(
        600.0, description="Maximum seconds of one training run. It can then be continued."
    )
    log_level: Level = Field("warning", description="debug, info, warning or error.")
