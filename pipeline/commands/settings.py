"""The settings of the pipeline's verbs."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from quadnet.cli.settings import POSITIONAL, RegistrySettings, variable
from quadnet.model_names import CHAMPION, AliasName


class TrainSettings(RegistrySettings):
    """Train a model, judge it on held-out data, and publish it if it passes its gate."""

    run: str = Field(
        "quadrants",
        description="A preset's name, or the path of a run file that ends in .toml.",
        json_schema_extra=POSITIONAL,
    )
    set: list[str] = Field(
        [],
        description="Change one key of the run file, as in data.points=1000; may be repeated.",
    )

    alias: AliasName = Field(
        CHAMPION,
        description="The alias to point at the new version.",
        # Not QUADNET_ALIAS, which says what a server serves.
        json_schema_extra=variable("TRAIN_ALIAS"),
    )
    force: bool = Field(False, description="Publish it even if it fails its gate.")
    reason: str = Field(
        "",
        description="Why, for the manifest; needed with --force.",
        json_schema_extra=variable("FORCE_REASON"),
    )

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        for change in self.set:
            if "=" not in change:
                raise ValueError(f"--set: expected KEY=VALUE, got {change!r}")
        if self.force != bool(self.reason.strip()):
            raise ValueError("--force: expected it and --reason TEXT together, or neither")
        return self


class ScoreSettings(RegistrySettings):
    """Write a file's rows into another, each with its label, certainty and the model's version.

    Both files are CSV (in UTF-8, with a header) or both are Parquet, and may be larger than
    memory. The output gets its name only when it is complete; until then it is OUTPUT.partial.
    """

    model: str = Field(
        "",
        description="The version: NAME, which means its champion, NAME:7 or NAME:alias.",
        json_schema_extra=POSITIONAL,
    )
    input: str = Field(
        "",
        description="The rows: a .csv or .parquet file with the model's features as columns.",
        json_schema_extra=POSITIONAL,
    )
    output: str = Field(
        "", description="The file to write, of the same kind.", json_schema_extra=POSITIONAL
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="At a bad row stop and keep nothing, or skip it: put it, with its number and "
        "the reason, into a file that ends in .rejected.csv beside the output.",
    )
    prefix: str = Field(
        "", description="What the new columns' names begin with, as in predicted_label."
    )
    resume: bool = Field(
        False,
        description="Go on from where an interrupted run's output was last safe on the disk; "
        "from the beginning if there is none.",
        json_schema_extra=variable("SCORE_RESUME"),
    )
    overwrite: bool = Field(
        False,
        description="Replace an output that exists, or one that was begun and not finished.",
        json_schema_extra=variable("SCORE_OVERWRITE"),
    )

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        if not (self.model and self.input and self.output):
            raise ValueError(
                "expected MODEL INPUT OUTPUT, as in quadrants points.csv quadrants-of-points.csv"
            )
        return self


class SearchSettings(TrainSettings):
    """Try parameters of the network on the rows to train on, then do as train does with the best.

    The run file's section [search] says which to try. Each finished fit is kept in a ledger, so
    that nothing is lost however the search ends.
    """

    run: str = Field(
        "",
        description="A preset's name, or the path of a run file that ends in .toml.",
        json_schema_extra=POSITIONAL,
    )
    jobs: int = Field(1, ge=1, le=1024, description="How many processes fit at once.")
    resume: bool = Field(
        False,
        description="Resume from the ledger: repeat no finished fit.",
        json_schema_extra=variable("SEARCH_RESUME"),
    )
    report: bool = Field(False, description="Only show what the ledger says so far.")
    ledger: Path | None = Field(
        None, description="The ledger's file; by default NAME.search.jsonl in this directory."
    )

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        if not self.run:
            raise ValueError("expected a run file with a section [search], as in mine.toml")
        return self
