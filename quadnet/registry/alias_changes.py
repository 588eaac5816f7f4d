"""Set aliases and roll them back, each change in one atomic step, with a history."""

from collections.abc import Callable, Mapping

from quadnet.errors import ConfigurationError, Conflict, CorruptVersion, NotFound, listing, shorten
from quadnet.model_names import CHAMPION, check_alias
from quadnet.registry import tombstones
from quadnet.registry.alias_log import AliasMap, AliasTarget, Targets
from quadnet.registry.registry import Registry


def set_aliases(
    registry: Registry,
    model: str,
    changes: Mapping[str, int | str | None],
    *,
    reason: str,
    expected_generation: int | None = None,
) -> AliasMap:
    """Change several aliases in one atomic step, and return the new map.

    If another writer commits first, the changes are applied to the map of that writer.

    Parameters
    ----------
    registry : Registry
    model : str
    changes : mapping
        The target of each alias: a version's number, the name of another alias (``latest``
        included) whose target is copied, or None, which removes the alias.
    reason : str
        Kept in the log.
    expected_generation : int, optional
        Refuse the change if the log is at another generation.

    Raises
    ------
    ConfigurationError
        If the name of an alias is not valid.
    NotFound
        If a version or an alias does not exist.
    CorruptVersion
        If a version fails verification. No alias ever points to a corrupt version.
    Conflict
        If the log is not at the expected generation, or a version is being removed.
    """
    for alias in changes:
        try:
            check_alias(alias)
        except ValueError as error:
            raise ConfigurationError(f"{shorten(alias)} cannot be an alias: {error}.") from None

    def changed(current: Targets) -> Targets:
        new = {alias: _find_target(registry, model, to, current) for alias, to in changes.items()}
        for alias in changes:
            if new[alias] is None and alias not in current:
                raise NotFound(
                    f"Model {model!r} has no alias {alias!r} to remove. "
                    f"Its aliases: {listing(sorted(current))}."
                )
        kept = {alias: target for alias, target in current.items() if alias not in changes}
        return kept | {alias: target for alias, target in new.items() if target is not None}

    return _append_generation(
        registry, model, changed, reason=reason, expected_generation=expected_generation
    )


def rollback(
    registry: Registry, model: str, alias: str = CHAMPION, *, to: int | None = None, reason: str
) -> AliasMap:
    """Point the alias at its previous target, and return the new map.

    Each further call goes back one more target, and never to one that was rolled back. `to` is
    the generation to restore; the default is the one that `AliasLog.rollback_target` finds.

    Raises
    ------
    NotFound
        If the alias, the generation, or the version in it does not exist.
    CorruptVersion
        If the version fails verification, or is not the one the alias pointed to.
    Conflict
        If another process changes an alias during the call, or the version is being removed.
    """
    log = registry.alias_log(model)
    present = log.newest()
    if not present.aliases and to is None:
        registry.latest(model)  # Without versions, it raises NotFound, which lists the models.
    generation, target = log.rollback_target(alias) if to is None else log.target_at(to, alias)

    def restored(current: Targets) -> Targets:
        if registry.load(model, target.version).digest != target.manifest_sha256:
            raise CorruptVersion(
                f"Version {target.version} of model {model!r} is not the one that {alias!r} "
                f"pointed to in generation {generation}: its manifest has another sha256."
            )
        return current | {alias: target}

    return _append_generation(
        registry,
        model,
        restored,
        reason=reason,
        expected_generation=present.generation,
        restored={alias: generation},
    )


def _find_target(
    registry: Registry, model: str, to: int | str | None, current: Targets
) -> AliasTarget | None:
    """Return the verified target that a change names; None if the change removes the alias."""
    if to is None:
        return None
    if isinstance(to, str):
        to = (current[to] if to in current else registry.target(model, to)).version
    return AliasTarget(version=to, manifest_sha256=registry.load(model, to).digest)


def _append_generation(
    registry: Registry,
    model: str,
    change: Callable[[Targets], Targets],
    *,
    reason: str,
    expected_generation: int | None,
    restored: Mapping[str, int] | None = None,
) -> AliasMap:
    """Append to the alias log, unless a new target is being removed."""

    def refuse_doomed(current: Targets, following: Targets) -> None:
        for alias, target in following.items():
            # A version that is already a target is safe: garbage collection reads the aliases
            # again before it removes anything.
            new = target not in current.values()
            if new and tombstones.is_being_removed(registry.path(model, target.version)):
                raise Conflict(
                    f"Version {target.version} of model {model!r} is being removed by garbage "
                    f"collection. {alias!r} was not changed. If no garbage collection is running, "
                    "one was killed: the next one finishes the removal."
                )

    with registry.explaining_write_errors():
        return registry.alias_log(model).append(
            change,
            reason=reason,
            expected_generation=expected_generation,
            restored=restored,
            check=refuse_doomed,
        )
