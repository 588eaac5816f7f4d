"""The table of verbs. Loads nothing, so that `quadnet --help` starts fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Parameters
    ----------
    summary : str
        One line for `quadnet --help`.
    settings, run : str
        The settings class, and the function that takes the settings and returns the exit code.
        Both are ``module:attribute``, imported when the verb runs.
    extras : tuple of str
        The extras with the packages that the verb needs.
    serves : bool
        The verb runs until a signal.
    posix : bool
        The verb needs what Windows lacks: signals, or renaming a file while it is open.
    outlives_reader : bool
        The work continues when the reader of the output, such as `head`, exits.
    """

    summary: str
    settings: str
    run: str
    extras: tuple[str, ...]
    serves: bool = False
    posix: bool = False
    outlives_reader: bool = False


VERBS = {
    "up": Verb(
        "train and publish the default model if it has no champion, then serve it",
        "service.settings:UpSettings",
        "quadnet.cli.up:up",
        ("pipeline", "serve"),
        serves=True,
        posix=True,
    ),
    "train": Verb(
        "train on a table or by a run file, evaluate, pass the gate, publish",
        "pipeline.commands.settings:TrainSettings",
        "pipeline.commands.train:train",
        ("pipeline",),
        outlives_reader=True,
    ),
    "init": Verb(
        "print a run file for a table, with what was found out about it",
        "pipeline.commands.settings:InitSettings",
        "pipeline.commands.init:init",
        ("pipeline",),
    ),
    "search": Verb(
        "search the network's parameters, then train with the best",
        "pipeline.commands.settings:SearchSettings",
        "pipeline.commands.search:search",
        ("pipeline",),
        outlives_reader=True,
    ),
    "score": Verb(
        "predict every row of a table of any size",
        "pipeline.commands.settings:ScoreSettings",
        "pipeline.commands.score:score",
        ("pipeline",),
        posix=True,
        outlives_reader=True,
    ),
    "import mlflow": Verb(
        "publish a scikit-learn model of an MLflow file store",
        "pipeline.commands.import_settings:ImportMlflowSettings",
        "pipeline.commands.import_mlflow:import_mlflow",
        ("pipeline", "mlflow"),
        outlives_reader=True,
    ),
    "models list": Verb(
        "list the published versions and their aliases",
        "pipeline.commands.model_settings:ListSettings",
        "pipeline.commands.models:list_versions",
        ("registry",),
    ),
    "models show": Verb(
        "show a version: its origin, metrics and gate",
        "pipeline.commands.model_settings:ShowSettings",
        "pipeline.commands.models:show",
        ("registry",),
    ),
    "models diff": Verb(
        "compare two versions: metrics, settings, changed predictions",
        "pipeline.commands.model_settings:DiffSettings",
        "pipeline.commands.models:diff",
        ("registry",),
    ),
    "models alias": Verb(
        "show the history of the aliases, or change several at once",
        "pipeline.commands.model_settings:AliasSettings",
        "pipeline.commands.models:alias",
        ("registry",),
        outlives_reader=True,
    ),
    "models rollback": Verb(
        "point an alias at its previous target",
        "pipeline.commands.model_settings:RollbackSettings",
        "pipeline.commands.models:rollback",
        ("registry",),
        outlives_reader=True,
    ),
    "models verify": Verb(
        "verify every byte and self-test; --retrain repeats the run",
        "pipeline.commands.model_settings:VerifySettings",
        "pipeline.commands.models:verify",
        ("registry",),
    ),
    "models gc": Verb(
        "remove old versions and litter (a dry run unless --apply)",
        "pipeline.commands.model_settings:GcSettings",
        "pipeline.commands.models:gc",
        ("registry",),
        outlives_reader=True,
    ),
    "models export": Verb(
        "write a version as an ONNX file",
        "pipeline.commands.model_settings:ExportSettings",
        "pipeline.commands.models:export",
        ("registry", "onnx"),
        outlives_reader=True,
    ),
    "serve": Verb(
        "serve published versions over gRPC and REST",
        "service.settings:ServeSettings",
        "service.commands.serve:serve",
        ("serve",),
        serves=True,
        posix=True,
    ),
    "playground": Verb(
        "serve the page for a running server",
        "service.settings:PlaygroundSettings",
        "service.commands.playground:playground",
        ("playground",),
        serves=True,
        posix=True,
    ),
    "predict": Verb(
        "predict rows, by column names, with a running server or a registry",
        "service.settings:PredictSettings",
        "service.commands.predict:predict",
        ("serve",),
    ),
    "classify": Verb(
        "classify points with a running server",
        "service.settings:ClassifySettings",
        "service.commands.classify:classify",
        ("serve",),
    ),
    "bench": Verb(
        "load a running server and print its throughput and latency",
        "service.settings:BenchSettings",
        "service.commands.bench:bench",
        ("serve",),
    ),
    "health": Verb(
        "print the health of a running server",
        "service.settings:HealthSettings",
        "service.commands.classify:health",
        ("serve",),
    ),
}
