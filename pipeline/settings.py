"""The settings of the pipeline's verbs."""

from typing import Self

from pydantic import Field, model_validator

from quadnet.settings import POSITIONAL, RegistrySettings


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

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        for change in self.set:
            if "=" not in change:
                raise ValueError(f"--set: expected KEY=VALUE, got {change!r}")
        return self
