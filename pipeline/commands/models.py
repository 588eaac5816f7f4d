"""The commands `quadnet models ...`: list, show, compare, alias, verify, remove and export."""

import sys
from collections.abc import Iterator, Sequence

from pipeline.commands.model_settings import (
    AliasSettings,
    DiffSettings,
    ExportSettings,
    GcSettings,
    ListSettings,
    RollbackSettings,
    ShowSettings,
    VerifySettings,
)
from quadnet.errors import CorruptVersion, NotFound, Unsupported, listing
from quadnet.extras import require_extras
from quadnet.registry import Registry, alias_changes, garbage_collection, integrity_check
from quadnet.registry.alias_log import AliasMap
from quadnet.registry.integrity_check import VerificationResult
from quadnet.registry.metric_records import AnyMetrics, LabelsMetrics, NumberMetrics
from quadnet.registry.version_files import MANIFEST, Model


def list_versions(settings: ListSettings) -> int:
    """Print one line per version."""
    registry = Registry(settings.registry)
    models = [settings.model] if settings.model else registry.models()
    if not models:
        print(f"There is no model in {registry.root} yet. `quadnet train` publishes one.")
        return 0
    rows: list[tuple[str, ...]] = [
        ("model", "version", "created", "measured", "weights", "aliases")
    ]
    for name in models:
        _check_known(registry, name)
        aliases = registry.aliases(name).aliases
        for version in reversed(registry.versions(name)):
            pointing = sorted(alias for alias, to in aliases.items() if to.version == version)
            rows.append(_row(registry, name, version, ", ".join(pointing)))
    print(_columns(rows))
    return 0


def show(settings: ShowSettings) -> int:
    """Print the version's card, or one of its other files."""
    registry = Registry(settings.registry)
    model = _load(registry, settings.model)
    manifest = model.manifest
    name = settings.file or "card.md"
    if name == MANIFEST:
        content: bytes | None = manifest.to_json()
    else:
        content = registry.attachment(model, name)
    if content is None:
        raise NotFound(
            f"{manifest.model} version {manifest.version} has no file {name!r}. "
            f"Its files: {listing([MANIFEST, *sorted(manifest.files)])}."
        )
    sys.stdout.buffer.write(content)
    sys.stdout.flush()
    return 0


def diff(settings: DiffSettings) -> int:
    """Print how two versions and their predictions differ."""
    registry = Registry(settings.registry)
    a, b = _load(registry, settings.a), _load(registry, settings.b)
    names = [f"{model.manifest.model}:{model.manifest.version}" for model in (a, b)]
    if a.manifest.task == b.manifest.task == "regression":
        _diff_numbers(a, b, names, settings)
    else:
        _diff_answers(a, b, names, settings)
    return 0


def _diff_numbers(a: Model, b: Model, names: Sequence[str], settings: DiffSettings) -> None:
    from pipeline.evaluation.version_diff import compare_numbers

    if settings.picture is not None:
        raise Unsupported("A picture of changes needs versions that predict classes.")
    found = compare_numbers(a, b)
    _diff_manifests(a, b, names)
    print(found.describe())


def _diff_answers(a: Model, b: Model, names: Sequence[str], settings: DiffSettings) -> None:
    from pipeline.evaluation.version_diff import compare_predictions, sketch_changes

    found = compare_predictions(a, b)
    _diff_manifests(a, b, names)
    print(f"{found.changed.mean():.3%} of answers change, of {found.where}.")
    for before, after, share in found.moves()[:20]:
        print(f"  {before} -> {after}: {share:.3%}")
    print(f"Certainty changes by {found.certainty:+.4f} on the average.")
    if found.x_range is not None:
        print(sketch_changes(found))
    if settings.picture is not None:
        from pipeline.report import figures

        figures.draw_changes(found, names, settings.picture)
        print(f"Drawn into {settings.picture}.")


def _diff_manifests(a: Model, b: Model, names: Sequence[str]) -> None:
    """Print how the metrics, the settings, the lineage and the weights differ."""
    from pipeline.evaluation.version_diff import compare_metrics, compare_settings

    rows = [("", *names, "change")]
    for metric, one, other in compare_metrics(_judged(a), _judged(b)):
        change = "" if one is None or other is None else f"{other - one:+.6f}"
        rows.append((metric, _number(one), _number(other), change))
    print(_columns(rows))
    if a.manifest.data.test != b.manifest.data.test:
        print("They were measured on different test data: the columns compare loosely.")
    for path, before, after in compare_settings(a.manifest.config, b.manifest.config):
        print(f"{path}: {before} -> {after}")
    for path, before, after in compare_settings(
        a.manifest.lineage.model_dump(), b.manifest.lineage.model_dump(), "lineage"
    ):
        print(f"{path}: {before} -> {after}")
    same = "The weights are the same, bit for bit."
    print(same if a.manifest.tensor_digest == b.manifest.tensor_digest else "The weights differ.")


def alias(settings: AliasSettings) -> int:
    """Print the aliases and their history, or change them."""
    registry = Registry(settings.registry)
    _check_known(registry, settings.model)
    if not settings.changes:
        for generation in registry.alias_log(settings.model).history():
            print(_generation(generation))
        return 0
    pairs = [change.partition("=")[::2] for change in settings.changes]
    changes = {name: int(to) if to.isdecimal() else to or None for name, to in pairs}
    written = alias_changes.set_aliases(
        registry,
        settings.model,
        changes,
        reason=settings.reason,
        expected_generation=settings.expect,
    )
    print(_generation(written))
    return 0


def rollback(settings: RollbackSettings) -> int:
    """Point an alias at what it pointed to before."""
    written = alias_changes.rollback(
        Registry(settings.registry),
        settings.model,
        settings.alias,
        to=settings.to,
        reason=settings.reason,
    )
    print(_generation(written))
    return 0


def verify(settings: VerifySettings) -> int:
    """Print what was verified and what is wrong with it.

    Returns 1 if anything is wrong, else 0. A version that cannot be retrained on this machine is
    counted as not checked and does not change the exit code.
    """
    if settings.retrain:
        require_extras("Retraining a version", "pipeline")
    registry = Registry(settings.registry)
    wrong = count = unchecked = 0
    for checked in _checked(registry, settings.model):
        problem, line = checked.problem, checked.what
        if settings.retrain and checked.loaded is not None:
            from pipeline.training import retraining
            from pipeline.training.retraining import retrain_version

            retrained = retrain_version(checked.loaded)
            line += f", retrained: {retrained}"
            if retrained.outcome is retraining.Outcome.DIFFERENT:
                problem = "its manifest does not lead back to it"
            unchecked += retrained.outcome is retraining.Outcome.NOT_CHECKED
        count, wrong = count + 1, wrong + (problem is not None)
        print(f"WRONG  {line}: {problem}" if problem else f"ok     {line}", flush=True)
    rest = f", {unchecked} not checked" if unchecked else ""
    print(f"{count} looked at, {wrong} wrong{rest}.")
    return 1 if wrong else 0


def gc(settings: GcSettings) -> int:
    """Print what can be removed, and with --apply remove it."""
    registry = Registry(settings.registry)
    policy = garbage_collection.RetentionPolicy(
        newest=settings.keep,
        days=settings.days,
        generations=settings.generations,
        grace=settings.grace,
    )
    total = count = 0
    for item in list(garbage_collection.find_removable(registry, policy)):
        if settings.apply and not garbage_collection.remove_item(registry, item, policy):
            print(f"kept, because it is needed again: {item.what} ({item.path})")
            continue
        count, total = count + 1, total + item.size
        done = "removed" if settings.apply else "would remove"
        print(f"{done}: {item.what} ({item.path}, {item.size:,} bytes)")
    done = "removed" if settings.apply else "would be removed; --apply removes them"
    print(f"{count} things, {total:,} bytes {done}.")
    return 0


def export(settings: ExportSettings) -> int:
    """Export a version to an ONNX file."""
    from pipeline.publishing.onnx_export import export_onnx  # needs an extra

    assert settings.file is not None
    model = _load(Registry(settings.registry), settings.model)
    export_onnx(model, settings.file, overwrite=settings.overwrite)
    print(f"Wrote {model.name} to {settings.file}; its predictions pass the version's self-test.")
    return 0


def _load(registry: Registry, reference: str) -> Model:
    return registry.load(*registry.resolve(reference))


def _check_known(registry: Registry, model: str) -> None:
    """Raise NotFound, which lists the models that exist, if the model has no version."""
    if not registry.versions(model):
        registry.target(model)


def _checked(registry: Registry, reference: str) -> Iterator[VerificationResult]:
    if ":" in reference:
        return iter([integrity_check.verify_version(registry, *registry.resolve(reference))])
    if reference:
        _check_known(registry, reference)
    return integrity_check.verify_registry(registry, reference or None)


def _judged(model: Model) -> AnyMetrics:
    return model.manifest.metrics["test"]


def _row(registry: Registry, name: str, version: int, aliases: str) -> tuple[str, ...]:
    try:
        model = registry.load(name, version)
    except CorruptVersion:
        return (name, str(version), "DAMAGED", "", "", aliases)
    manifest = model.manifest
    return (
        name,
        str(version),
        f"{manifest.created:%Y-%m-%d %H:%M}",
        _format_score(_judged(model)) + (" (forced)" if manifest.forced else ""),
        manifest.tensor_digest[:8],
        aliases,
    )


def _format_score(metrics: AnyMetrics) -> str:
    """Return the main metric on the test part."""
    if isinstance(metrics, NumberMetrics):
        return f"RMSE {metrics.rmse:.4g}"
    if isinstance(metrics, LabelsMetrics):
        return f"F1 {metrics.f1_micro:.2%}"
    return f"{metrics.accuracy:.2%}"


def _generation(generation: AliasMap) -> str:
    targets = [f"{alias}={to.version}" for alias, to in sorted(generation.aliases.items())]
    at = f", {generation.at:%Y-%m-%d %H:%M:%S} UTC" if generation.at else ""
    by = f", {generation.by.user}@{generation.by.host}" if generation.by else ""
    reason = f" ({generation.reason})" if generation.reason else ""
    return f"{generation.generation}{at}{by}: {' '.join(targets) or 'no alias'}{reason}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
