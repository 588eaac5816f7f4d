"""The settings of the commands `quadnet import ...`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from pipeline.commands.settings import PublishSettings
from quadnet.cli.settings import POSITIONAL, variable


class ImportMlflowSettings(PublishSettings):
    """Publish a scikit-learn model that MLflow keeps in a file store, if it passes its gate.

    RUN is the folder of a run or of a model, or the id of a run. The model is judged on the rows of
    --test, which it must not have been trained on. It may be a network, or a pipeline that ends
    with one, as `quadnet.publish` takes them. The run's parameters and metrics are kept.

    MLflow writes most models as pickles. Reading a pickle can run any code: --trust allows it.
    """

    run: str = Field(
        "",
        description="Folder of a run or of a model, the id of a run, or an address such as "
        "runs:/ID/model.",
        json_schema_extra=POSITIONAL,
    )
    set: list[str] = Field(
        [],
        description="Limit of the gate, such as gate.accuracy=0.9, or test.allow_small=true. "
        "Repeatable.",
    )
    store: Path = Field(
        Path("mlruns"),
        description="Folder of MLflow's file store, in which an id is searched.",
        json_schema_extra=variable("MLFLOW_STORE"),
    )
    test: str = Field(
        "", description="Table of rows to judge the model on: CSV, Parquet or Arrow. Required."
    )
    label: list[str] = Field(
        [],
        description="Column of the table that the model predicts. Repeatable, for several labels. "
        "Required.",
    )
    name: str = Field(
        "",
        description="The model's name. By default, it is that of the run.",
        json_schema_extra=variable("MODEL_NAME"),
    )
    trust: bool = Field(
        False,
        description="Read a pickle, or types that skops does not know. This can run any code that "
        "someone has put into the file.",
    )

    @model_validator(mode="after")
    def _check_required(self) -> Self:
        if not self.run or not self.test or not self.label:
            raise ValueError(
                "expected a run, --test and --label, as in mlruns/0/ID --test rows.csv "
                "--label species"
            )
        for change in self.set:
            if not change.startswith(("gate.", "test.allow_small=")):
                raise ValueError(
                    f"--set: expected a key of the gate, such as gate.accuracy=0.9, or "
                    f"test.allow_small, got {change!r}"
                )
        return self
