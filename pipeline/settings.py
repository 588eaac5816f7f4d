"""The settings of the pipeline's verbs."""

from typing import Any

from pydantic import Field

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

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a --set that sets nothing."""
        for change in self.set:
            if "=" not in change:
                raise ValueError(f"--set: expected KEY=VALUE, got {change!r}")
