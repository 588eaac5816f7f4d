"""The settings of the commands `train`, `score` and `search`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from quadnet.cli.settings import POSITIONAL, RegistrySettings, Settings, variable
from quadnet.model_names import CHAMPION, AliasName


class PublishSettings(RegistrySettings):
    """Settings of every command that publishes a version."""

    set: list[str] = Field(
        [],
        description="Change of one key of the run file, such as network.max_iter=100. Repeatable.",
    )

    alias: AliasName = Field(
        CHAMPION,
        description="Alias to point at the new version.",
        # Not QUADNET_ALIAS, which selects the version that a server loads.
        json_schema_extra=variable("TRAIN_ALIAS"),
    )
    force: bool = Field(
        False, description="Publish the version even if it fails its gate. Needs --reason."
    )
    reason: str = Field(
        "",
        description="Reason for --force, kept in the manifest.",
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


class _TableSettings(Settings):
    """Settings of a run that is made from a table."""

    label: list[str] = Field(
        [],
        description="Column of the table to predict. Repeatable, for several columns of 0 and 1.",
    )
    task: Literal["classification", "regression", "multilabel"] | None = Field(
        None,
        description="What to predict: classification, regression or multilabel. By default, it "
        "follows from the label's values.",
    )
    name: str = Field(
        "",
        description="The model's name. By default, it is the file's.",
        json_schema_extra=variable("MODEL_NAME"),
    )


class TrainSettings(PublishSettings, _TableSettings):
    """Train a model, evaluate it on held-out data, and publish it if it passes its gate.

    A table (CSV, Parquet or Arrow) needs --label, the column to predict. The rest is found out from
    the table; --dry-run shows it, and `quadnet init` writes it to a run file.
    """

    run: str = Field(
        "quadrants",
        description="A table, a run file that ends in .toml, or the name of a preset.",
        json_schema_extra=POSITIONAL,
    )
    dry_run: bool = Field(
        False, description="Show how the data is understood and split, and train nothing."
    )

    @model_validator(mode="after")
    def _check_label(self) -> Self:
        options = {"label": self.label, "task": self.task, "name": self.name}
        given = [option for option, value in options.items() if value]
        if self.run.endswith(".toml") and given:
            key = "data.label" if given[0] == "label" else given[0]
            raise ValueError(
                f"--{given[0]}: expected a table, got the run file {self.run}. Change the key "
                f"{key} of the file, or with --set"
            )
        return self


class InitSettings(_TableSettings):
    """Print a run file that trains on a table, with what was found out about each column.

    Its lines that begin with # are what was found out. Change one to decide yourself.
    """

    run: str = Field(
        "",
        description="The table: a file, a pattern of files in quotes, a directory of Parquet "
        "files, or - for standard input.",
        json_schema_extra=POSITIONAL,
    )

    @model_validator(mode="after")
    def _check_table(self) -> Self:
        if not self.run or not self.label or self.run.endswith(".toml"):
            raise ValueError("expected a table and --label, as in penguins.csv --label species")
        return self


class ScoreSettings(RegistrySettings):
    """Copy a file's rows to a new file and add the model's answer and the version.

    Files may be larger than memory, and the output has the input's format, with text in UTF-8. A
    model of a table takes what `quadnet train` takes; any other takes CSV in UTF-8 with commas, or
    Parquet. The output gets its name only when it is complete; until then it is OUTPUT.partial.
    """

    model: str = Field(
        "",
        description="Version: NAME:7, NAME:alias, or NAME for its champion.",
        json_schema_extra=POSITIONAL,
    )
    input: str = Field(
        "",
        description="Rows to score: a file with the model's features as columns, in any order.",
        json_schema_extra=POSITIONAL,
    )
    output: str = Field(
        "", description="File to write, in the input's format.", json_schema_extra=POSITIONAL
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="What to do at a bad row. stop: fail and keep no output. skip: write the row, "
        "its number and the reason to a file that ends in .rejected.csv next to the output.",
    )
    prefix: str = Field(
        "", description="Prefix of the new columns' names: predicted_ gives predicted_label."
    )
    resume: bool = Field(
        False,
        description="Resume an interrupted run from its last checkpoint, or start from the first "
        "row if there is no checkpoint.",
        json_schema_extra=variable("SCORE_RESUME"),
    )
    overwrite: bool = Field(
        False,
        description="Replace an existing output, finished or unfinished.",
        json_schema_extra=variable("SCORE_OVERWRITE"),
    )

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        if not (self.model and self.input and self.output):
            raise ValueError(
                "expected MODEL INPUT OUTPUT, as in quadrants points.csv quadrants-of-points.csv"
            )
        return self


class SearchSettings(PublishSettings):
    """Search for the best parameters by cross-validation, then train and publish with them.

    The run file's section [search] lists the parameters to try. Each finished fit is kept in a
    ledger, so an interrupted search can be resumed. The test data is not used for the search.
    """

    run: str = Field(
        "",
        description="Name of a preset, or path of a run file that ends in .toml.",
        json_schema_extra=POSITIONAL,
    )
    jobs: int = Field(1, ge=1, le=1024, description="Number of processes that fit in parallel.")
    resume: bool = Field(
        False,
        description="Resume from the ledger, without repeating finished fits.",
        json_schema_extra=variable("SEARCH_RESUME"),
    )
    report: bool = Field(
        False, description="Show the leaderboard of the ledger's finished fits, and fit nothing."
    )
    ledger: Path | None = Field(
        None, description="File of the ledger; by default NAME.search.jsonl in this directory."
    )

    @model_validator(mode="after")
    def _check_run(self) -> Self:
        if not self.run:
            raise ValueError("expected a run file with a section [search], as in mine.toml")
        return self
