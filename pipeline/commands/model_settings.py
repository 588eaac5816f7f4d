"""The settings of `quadnet models ...`, the verbs on what is published."""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from quadnet.cli.settings import POSITIONAL, RegistrySettings, variable
from quadnet.model_names import CHAMPION, AliasName

S = TypeVar("S", bound=RegistrySettings)

_VERSION = "The version: NAME, which means its champion, NAME:7 or NAME:alias."


def _word(description: str, default: str = "") -> Any:
    return Field(default, description=description, json_schema_extra=POSITIONAL)


class ListSettings(RegistrySettings):
    """List the published versions, newest first, with their aliases."""

    model: str = _word("Only this model's.")


class ShowSettings(RegistrySettings):
    """Show what a version is, how it was made and how it was judged."""

    model: str = _word(_VERSION)
    file: str = Field(
        "",
        description="Print this file of it instead, such as report.html.",
        json_schema_extra=variable("SHOW_FILE"),
    )

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        return _with(self, self.model, "a version, as in quadrants or quadrants:7")


class DiffSettings(RegistrySettings):
    """Compare two versions: their metrics, their settings, and which answers changed."""

    a: str = _word("One version: NAME, NAME:7 or NAME:alias.")
    b: str = _word("The other.")
    picture: Path | None = Field(
        None, description="Draw where answers changed into this .png or .svg file."
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

    ALIAS=VERSION points an alias at a version, ALIAS=OTHER at what another alias (or latest)
    points to, and ALIAS= removes it: champion=candidate candidate=champion swaps the two.
    """

    model: str = _word("The model's name.")
    changes: list[str] = Field(
        [], description="Changes, as in champion=7 candidate=.", json_schema_extra=POSITIONAL
    )
    reason: str = Field("by hand", description="Why, for the history.")
    expect: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Refuse if the aliases are not at this generation any more."
    )

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        for change in self.changes:
            if "=" not in change:
                raise ValueError(f"CHANGES: expected ALIAS=VERSION, got {change!r}")
        return _with(self, self.model, "a model's name, as in quadrants")


class RollbackSettings(RegistrySettings):
    """Point an alias at what it pointed to before; repeated, it goes back further."""

    model: str = _word("The model's name.")
    alias: AliasName = _word("The alias.", CHAMPION)
    to: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The generation of the aliases to go back to."
    )
    reason: str = Field("rolled back", description="Why, for the history.")

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        return _with(self, self.model, "a model's name, as in quadrants")


class VerifySettings(RegistrySettings):
    """Verify every byte and every self-test: of the whole registry, a model, or a version.

    Exit codes: 0 if nothing is wrong, 1 if something is. With --retrain, a version whose data
    cannot be reached from here is "not checked", which changes neither.
    """

    model: str = _word("NAME, NAME:7 or NAME:alias; everything if not given.")
    retrain: bool = Field(
        False,
        description="Rebuild each version from its manifest alone, and compare it and the digests "
        "of its data.",
    )


class GcSettings(RegistrySettings):
    """Remove old versions that no alias needs, and what crashes left; a dry run unless --apply."""

    apply: bool = Field(False, description="Remove it, not only list it.")
    keep: Annotated[int, Field(ge=1)] = Field(
        10, description="Keep so many of each model's newest versions."
    )
    days: Annotated[float, Field(ge=0)] = Field(
        7.0, description="Keep versions younger than so many days."
    )
    generations: Annotated[int, Field(ge=1)] = Field(
        20, description="Keep what any alias pointed to in so many last changes."
    )
    grace: Annotated[float, Field(ge=0)] = Field(
        3600.0,
        description="Seconds for which unfinished files are left alone: a publisher may still be "
        "writing them.",
        # Not QUADNET_GRACE, which is how long a server waits for its calls.
        json_schema_extra=variable("GC_GRACE"),
    )


class ExportSettings(RegistrySettings):
    """Write a published version as a file from which other runtimes answer."""

    model: str = _word(_VERSION)
    file: Path | None = Field(
        None, description="The file to write; it ends in .onnx.", json_schema_extra=POSITIONAL
    )
    onnx: bool = Field(False, description="As ONNX: the only format there is.")
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
            raise ValueError("expected a format: say --onnx, the only one there is")
        if self.file.suffix != ".onnx":
            raise ValueError(f"FILE: expected a name that ends in .onnx, got '{self.file}'")
        return self


def _with(settings: S, given: object, expected: str) -> S:
    """Return the settings; raise ValueError if a word that they need is not given."""
    if not given:
        raise ValueError(f"expected {expected}")
    return settings
