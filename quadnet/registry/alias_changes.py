"""Moving aliases: what is served, changed in one atomic step, with a history and a way back."""

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

    A writer that comes second reads the winner's map and applies its own changes to that.

    Parameters
    ----------
    registry : Registry
    model : str
    changes : mapping
        What each alias shall point to: a version's number, what another alias points to (by
        its name; ``latest`` is one), or nothing (None).
    reason : str
        Kept in the log.
    expected_generation : int, optional
        Refuse if the log is at any other.

    Raises
    ------
    ConfigurationError
        If an alias cannot have such a name.
    NotFound
        If a version or an alias is not there.
    CorruptVersion
        If a version does not verify: no alias ever points to such a one.
    Conflict
        If another generation was expected, or a version is being removed.
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
    """Point the alias at what it pointed to before, and return the new map.

    Repeated, it goes back further each time, and never to what was rolled back. `to` is the
    generation to go back to; by default the one that `AliasLog.rollback_target` names.

    Raises
    ------
    NotFound
        If the alias, the generation, or the version it pointed to is not there.
    Conflict
        If somebody else changes an alias meanwhile, or the version is being removed.
    """
    log = registry.alias_log(model)
    present = log.newest()
    generation, target = log.rollback_target(alias) if to is None else log.target_at(to, alias)

    def restored(current: Targets) -> Targets:
        if registry.load(model, target.version).digest != target.manifest_sha256:
            raise CorruptVersion(
                f"Version {target.version} of model {model!r} is not the one that {alias!r} "
                f"pointed to in generation {generation}."
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
    """Return the target that a change of aliases names, verified."""
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
    """Append to the alias log, unless a version it would come to point to is being removed."""

    def refuse_doomed(current: Targets, following: Targets) -> None:
        for alias, target in following.items():
            # What any alias points to is safe: whoever looks at the aliases again sees it.
            new = target not in current.values()
            if new and tombstones.is_being_removed(registry.path(model, target.version)):
                raise Conflict(
                    f"Version {target.version} of model {model!r} is being removed by a garbage "
                    f"collection. {alias!r} was left as it was. If no garbage collection is "
                    "running, one was killed: the next completes it."
                )

    with registry.explaining_write_errors():
        return registry.alias_log(model).append(
            change,
            reason=reason,
            expected_generation=expected_generation,
            restored=restored,
            check=refuse_doomed,
        )
