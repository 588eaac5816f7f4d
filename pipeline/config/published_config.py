"""The configuration of a version whose model was trained elsewhere, and published from Python."""

from typing import Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from pipeline.config.gate import Gate, check_limits
from pipeline.config.held_out_rows import TestPart
from pipeline.config.run_config import RunConfig, hash_config
from pipeline.config.run_file import describe_error
from pipeline.config.section import Section
from quadnet.errors import ConfigurationError
from quadnet.model_names import ModelName
from quadnet.types import Task


class EstimatorDescription(Section):
    """The estimator that was published."""

    kind: str
    """Its class, such as Pipeline."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Its parameters, with those of a pipeline's steps. What JSON cannot hold is text."""


class PublishedConfig(Section):
    """What is known of a version whose model was trained elsewhere. It cannot be trained again."""

    name: ModelName
    task: Task
    target: str | None = None
    """The name of the number that is predicted."""
    source: Literal["Python", "MLflow"] = "Python"
    estimator: EstimatorDescription
    origin: dict[str, JsonValue] = Field(default_factory=dict)
    """Where it comes from, such as the run of MLflow with its parameters and metrics."""
    test: TestPart = TestPart()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _check_gate(self) -> Self:
        check_limits(self.gate, self.task)
        return self

    def sha256(self) -> str:
        """Return the digest of the configuration."""
        return hash_config(self)


NOT_RECORDED = "not recorded"
"""The reason for stopping of an estimator that does not know it, nor its updates."""

AnyConfig = RunConfig | PublishedConfig
"""The configuration of any version."""


def make_published_config(**values: Any) -> PublishedConfig:
    """Return the configuration of these values.

    Raises
    ------
    ConfigurationError
        If a value is wrong. The message names the key, as for a run file.
    """
    try:
        return PublishedConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(describe_error(error, PublishedConfig)) from error
