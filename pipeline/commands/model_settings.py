"""The settings of `quadnet models ...`, the commands on published versions."""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from quadnet.cli.settings import POSITIONAL, RegistrySettings, variable
from quadnet.model_names import CHAMPION, AliasName

S = TypeVar("S", bound=RegistrySettings)

_VERSION = "Version: NAME:7, NAME:alias, or NAME for its champion."


def _word(description: str, default: str = "") -> Any:
    return Field(default, description=description, json_schema_extra=POSITIONAL)


class ListSettings(RegistrySettings):
    """List the published versions, newest first, with their aliases."""

    model: str = _word("Model to list; all models by default.")


class ShowSettings(RegistrySettings):
    """Show a version's card: what it is, how it was trained and how it was evaluated."""

    model: str = _word(_VERSION)
    file: str = Field(
        "",
        description="File of the version to print instead of its card, such as report.html.",
        json_schema_extra=variable("SHOW_FILE"),
    )

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        return _with(self, self.model, "a version, as in quadrants or quadrants:7")


class DiffSettings(RegistrySettings):
    """Compare two versions: their metrics, their settings, and which predictions changed."""

    a: str = _word("First version: NAME:7, NAME:alias, or NAME for its champion.")
    b: str = _word("Second version, written the same way.")
    picture: Path | None = Field(
        None,
        description="File for a picture of where predictions changed; it ends in .png or .svg.",
    )

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        if self.picture is not None and self.picture.suffix not in (".png", ".svg"):
            raise ValueError(
                f"--picture: expected a name that ends in .png or .svg, got '{self.picture}'"
            )
        return _with(self, self.a and self.b, "two versions, as in quadrants:7 quadrants:8")


class AliasSettings(RegistrySettings):
    """Show a model's aliases and their history, or change several in one atomic step.

    ALIAS=VERSION points an alias at a version. ALIAS=OTHER points it at the version of another
    alias, or of latest. ALIAS= removes it. champion=candidate candidate=champion swaps the two.
    """

    model: str = _word("Name of the model.")
    changes: list[str] = Field(
        [],
        description="Changes, such as champion=7 candidate=. Without any, show the history.",
        json_schema_extra=POSITIONAL,
    )
    reason: str = Field("by hand", description="Reason for the change, kept in the history.")
    expect: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Generation that the aliases must be at; at any other, nothing is changed.",
    )

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        for change in self.changes:
            if "=" not in change:
                raise ValueError(f"CHANGES: expected ALIAS=VERSION, got {change!r}")
        return _with(self, self.model, "a model's name, as in quadrants")


class RollbackSettings(RegistrySettings):
    """Point an alias at its previous version. Repeat it to go back further."""

    model: str = _word("Name of the model.")
    alias: AliasName = _word("Alias to roll back.", CHAMPION)
    to: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Generation of the aliases to return to; by default the one before."
    )
    reason: str = Field("rolled back", description="Reason for the change, kept in the history.")

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        return _with(self, self.model, "a model's name, as in quadrants")


class VerifySettings(RegistrySettings):
    """Verify every byte and every self-test of the registry, of a model, or of a version.

    Exit codes: 0 if everything is correct, 1 if anything is wrong. With --retrain, a version whose
    data cannot be read on this machine is reported as "not checked" and does not change the exit
    code.
    """

    model: str = _word("Model or version to verify: NAME, NAME:7 or NAME:alias; all by default.")
    retrain: bool = Field(
        False,
        description="Retrain each version from its manifest, and compare the weights and the "
        "digests of the data.",
    )


class GcSettings(RegistrySettings):
    """Remove old versions without an alias, and files that crashes left. Lists them by default."""

    apply: bool = Field(False, description="Remove the listed files. Without it, only list them.")
    keep: Annotated[int, Field(ge=1)] = Field(
        10, description="Number of newest versions of each model to keep."
    )
    days: Annotated[float, Field(ge=0)] = Field(
        7.0, description="Age in days below which a version is kept."
    )
    generations: Annotated[int, Field(ge=1)] = Field(
        20, description="Number of last alias changes whose versions are kept."
    )
    grace: Annotated[float, Field(ge=0)] = Field(
        3600.0,
        description="Age in seconds below which unfinished files are kept, because a publisher "
        "may still be writing them.",
        # Not QUADNET_GRACE, which is how long a server waits for calls in flight.
        json_schema_extra=variable("GC_GRACE"),
    )


class ExportSettings(RegistrySettings):
    """Export a published version to a file that other runtimes can load."""

    model: str = _word(_VERSION)
    file: Path | None = Field(
        None, description="File to write; its name ends in .onnx.", json_schema_extra=POSITIONAL
    )
    onnx: bool = Field(False, description="Export in the ONNX format, the only one. Required.")
    overwrite: bool = Field(
        False,
        description="Replace the file if it exists.",
        json_schema_extra=variable("EXPORT_OVERWRITE"),
    )

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        if not self.model or self.file is None:
            raise ValueError("expected a model and a file, as in quadrants:champion quadrants.onnx")
        if not self.onnx:
            raise ValueError("expected a format: add --onnx, the only one")
        if self.file.suffix != ".onnx":
            raise ValueError(f"FILE: expected a name that ends in .onnx, got '{self.file}'")
        return self


def _with(settings: S, given: object, expected: str) -> S:
    """Return the settings; raise ValueError if a required argument is missing."""
    if not given:
        raise ValueError(f"expected {expected}")
    return settings
