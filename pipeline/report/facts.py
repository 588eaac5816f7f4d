"""Tables of a version's features, data, training and lineage, for both its card and its report."""

import json
from collections.abc import Iterator

from pydantic import JsonValue

from pipeline.config.layer_stacks import describe_layers
from pipeline.config.published_config import NOT_RECORDED
from pipeline.config.run_config import RunConfig
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.report.column_table import make_column_table
from pipeline.report.ranges import ranges_of
from pipeline.training.candidate_training import ESTIMATORS
from pipeline.wording import DASH, TextTable, format_number
from quadnet import quadrants
from quadnet.layers import Activation
from quadnet.registry.manifest import Record

_MOST_FEATURES = 20
_STOPPED = {
    "max_iter": "the number of epochs was reached",
    "max_fun": "the number of evaluations was reached",
    "no_improvement": "there was no improvement for several epochs",
    "converged": "it had converged",
    "line_search": "no step made the loss smaller",
}


def make_feature_table(record: Record) -> TextTable:
    """Return the table of features; of many, the first ones and one row for the rest.

    For a version with an encoder, it is the table of the user's columns.
    """
    if record.encoder is not None:
        return make_column_table(record.encoder, ranges_of(record))
    known = record.signature.features
    shown = known if len(known) <= _MOST_FEATURES else known[: _MOST_FEATURES // 2]
    rows = [(f.name, format_number(f.min), format_number(f.max)) for f in shown]
    if rest := known[len(shown) :]:
        low, high = min(f.min for f in rest), max(f.max for f in rest)
        rows.append((f"and {len(rest):,} more", format_number(low), format_number(high)))
    rows_of = ranges_of(record)
    columns = ("Feature", f"Lowest in {rows_of}", f"Highest in {rows_of}")
    return TextTable("Features", columns, rows, numbers=(1, 2))


def make_splits_table(evaluation: CandidateEvaluation, record: Record) -> TextTable:
    """Return the table of the data's parts."""
    data, config = record.data, evaluation.candidate.config
    chosen = []
    if isinstance(config, RunConfig):
        chosen += ["the epoch"] if config.network["early_stopping"] else []
        chosen += ["the temperature"] if config.calibrate else []
    rows = [
        (
            name,
            use,
            f"{part.rows:,}",
            f"{evaluation.evaluations[name].distinct_rows:,}",
            part.sha256,
        )
        for name, use, part in (
            ("train", "to fit the weights", data.train),
            ("validation", f"to choose {' and '.join(chosen) or 'nothing'}", data.validation),
            ("test", "to evaluate, read once", data.test),
        )
        if part is not None and part.rows
    ]
    columns = ("Part", "For", "Rows", "Distinct rows", "SHA-256")
    return TextTable("The parts of the data", columns, rows, numbers=(2, 3))


def make_training_table(evaluation: CandidateEvaluation, record: Record) -> TextTable:
    """Return the table of the network and its training."""
    went, folded = record.training, record.folded
    network = evaluation.candidate.predictor.network
    stack: list[JsonValue] = [layer.to_spec() for layer in network.layers]
    activations = [layer.function for layer in network.layers if isinstance(layer, Activation)]
    layers = [
        ("Layers", str(network)),
        ("Activations", ", ".join(activations) or "none: no hidden layer"),
    ]
    if not {layer.kind for layer in network.layers} <= {"dense", "activation"}:
        layers = [
            ("Input", " x ".join(map(str, network.input_shape))),
            ("Layers", ", ".join(describe_layers(stack))),
        ]
    rows = [
        *layers,
        ("Loss", network.loss_name.replace("_", " ")),
        ("Computed in", str(evaluation.candidate.predictor.dtype)),
    ]
    config = evaluation.candidate.config
    if isinstance(config, RunConfig) or went.stop_reason != NOT_RECORDED:
        rows += [
            ("Epochs", f"{went.epochs:,}, the best one {went.best_epoch:,}"),
            ("Updates", f"{went.updates:,}"),
            ("Stopped because", _STOPPED.get(went.stop_reason, went.stop_reason)),
        ]
    else:  # an estimator that does not know more
        rows.append(("Epochs", f"{went.epochs:,}"))
    rows.append(("Training loss", format_number(went.loss)))
    if isinstance(config, RunConfig):
        temperature = "none"
        if folded.temperature != 1.0:
            temperature = f"{format_number(folded.temperature)}, folded into the last layer"
        rows += [
            ("Seconds", f"{went.seconds:.2f}"),
            ("Scaler", "folded into the first layer" if config.scale else "none"),
            ("Temperature", temperature),
        ]
    return TextTable("Training", ("What", "Value"), rows)


def make_settings_tables(record: Record) -> tuple[TextTable, TextTable]:
    """Return the table of the run's settings, and that of the network's default parameters.

    Settings that are unset are left out, because they had no effect.
    """
    defaults = json.loads(json.dumps(ESTIMATORS[record.task]().get_params()))
    chosen: list[tuple[str, str]] = []
    default: list[tuple[str, str]] = []
    unused = {"test.seed", "test.stratify"} if "estimator" in record.config else set()
    for path, value in _leaves(record.config):
        if path in unused:
            continue
        section, _, name = path.partition(".")
        usual = section == "network" and name in defaults and defaults[name] == value
        row = (path, _format_setting(path, value))
        (default if usual else chosen).append(row)
    columns = ("Setting", "Value")
    return (
        TextTable("Settings of the run", columns, chosen),
        TextTable("Parameters of the network that have their default", columns, default),
    )


def make_lineage_table(record: Record) -> TextTable:
    """Return the table of the code, libraries and machine that made the version."""
    made = record.lineage
    git = made.git
    rows = [
        ("quadnet", made.quadnet),
        ("Python", made.python),
        *made.libraries.items(),
        ("BLAS", ", ".join(made.blas) or DASH),
        ("BLAS threads", f"{made.threads}"),
        ("CPU", made.cpu),
        ("Platform", made.platform),
        ("Git commit", git.commit if git else "none: not in a repository"),
    ]
    if git and git.changes_sha256:
        rows.append(("Changes since, SHA-256", git.changes_sha256))
    rows.append(("Configuration, SHA-256", record.config_sha256))
    return TextTable("Code, libraries and machine", ("What", "Value"), rows)


def make_commands_table(record: Record, version: int) -> TextTable:
    """Return the table of commands that use the version."""
    name = record.config["name"]
    this = f"{name}:{version}"
    verify = "Verify every byte, and retrain it", f"quadnet models verify {this} --retrain"
    if "data" not in record.config:  # trained elsewhere
        verify = "Verify every byte", f"quadnet models verify {this}"
    rows = [
        ("Show the card", f"quadnet models show {this}"),
        verify,
        ("Score the rows of a file", f"quadnet score {this} rows.csv answers.csv"),
        ("Load it in Python", f'quadnet.load("{name}", version={version})'),
    ]
    takes, gives = record.signature.features, record.signature.classes
    if len(takes) == len(quadrants.FEATURES) and set(gives) == set(quadrants.NAMES):
        asked = f"quadnet classify --model {name} --version {version} 0.5 0.5 -0.3 0.8"
        rows += [("Serve the champion", f"quadnet serve --model {name}"), ("Ask the server", asked)]
    return TextTable("Commands", ("To", "Type"), rows)


def _format_setting(path: str, value: JsonValue) -> str:
    if path == "network.layers":
        return ", ".join(describe_layers(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _leaves(tree: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield the path of each value that is set, and the value."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif tree is not None:
        yield path, tree
