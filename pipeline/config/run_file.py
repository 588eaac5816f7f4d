"""Read a run file in TOML, apply changes to it, and validate it into a `RunConfig`."""

import tomllib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.run_config import KINDS, RunConfig
from pipeline.config.table_data import COLUMN_KINDS
from quadnet.cli.settings import validation_message
from quadnet.errors import ConfigurationError, ErrorKind, FileUnusable, shorten
from quadnet.name_display import suggest_name

_COLUMNS = ("data", "table", "columns")
"""pydantic's location of the settings of columns, whose names are the user's."""

_ALTERNATIVES = {*KINDS, "list", "range", "float", "str", "list[str]"}


def load_run_file(path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """Read a run file, apply changes such as ``network.max_iter=100``, and validate the result.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    ConfigurationError
        If it is not TOML, or a key, a value or a change is wrong.
    """
    try:
        # Some editors put a byte-order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileUnusable(f"The run file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8
        raise ConfigurationError(f"The run file {path} is not valid TOML: {error}.") from error
    return parse_run_file(text, path, changes)


def parse_run_file(text: str, path: Path, changes: Sequence[str] = ()) -> RunConfig:
    """Parse the text of a run file, apply changes, and validate the result.

    Raises
    ------
    ConfigurationError
        If it is not TOML, or a key, a value or a change is wrong. The message names the path.
    """
    try:
        tree = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"The run file {path} is not valid TOML: {error}.") from error
    except RecursionError:
        raise ConfigurationError(f"The run file {path} is nested too deeply.") from None
    for change in changes:
        _apply(tree, change)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(f"{path.name}: {describe_error(error)}") from error


def parse_changes(changes: Sequence[str]) -> dict[str, Any]:
    """Return the tree of the keys that changes set, not validated.

    Raises
    ------
    ConfigurationError
        If a change is not KEY=VALUE.
    """
    tree: dict[str, Any] = {}
    for change in changes:
        _apply(tree, change)
    return tree


def _apply(tree: dict[str, Any], change: str) -> None:
    """Set one dotted key to a TOML value; bare words are strings."""
    names, text = _split_change(change)
    key = ".".join(names)
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text.lstrip().startswith("{"):
            expected = 'expected a table such as {kind="number", clip=true}'
            raise _wrong_change(key, f"{expected}, got {shorten(text)}") from error
        parsed = {"value": text}
    except ValueError as error:
        raise _wrong_change(key, "the number has too many digits") from error
    except RecursionError:
        raise _wrong_change(key, "the value is nested too deeply") from None
    *sections, last = names
    if not all(names) or parsed.keys() != {"value"}:
        raise _wrong_change(change, "expected one KEY=VALUE, as in network.max_iter=100")
    value = parsed["value"]
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise _wrong_change(change, f"{section} is a value, not a section")
    tree[last] = value


def _split_change(change: str) -> tuple[list[str], str]:
    """Return the names of the changed key, and the value as text.

    A name with dots or equal signs, such as a column's, is quoted as in TOML. Names that TOML
    accepts in quotes only, such as those with spaces, need no quotes.
    """
    for i in (i for i, character in enumerate(change) if character == "="):
        try:
            tree = tomllib.loads(f"{change[:i]}=0")
        except (ValueError, RecursionError):
            continue
        names = []
        while isinstance(tree, dict) and tree:  # It has one key, or 0 after a comment sign.
            ((name, tree),) = tree.items()
            names.append(name)
        if names:
            return names, change[i + 1 :]
    key, _, text = change.partition("=")
    return key.strip().split("."), text


def _wrong_change(change: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The change {shorten(change)}: {problem}.", kind=ErrorKind.RUN_FILE_CHANGE
    )


def describe_error(error: ValidationError, config: type[BaseModel] = RunConfig) -> str:
    """Return the first error of a configuration of this class as a sentence that names the key."""
    first = error.errors()[0]
    kind, got, message = first["type"], first["input"], validation_message(first)
    where = _locate(first["loc"])
    if not where or (kind == "value_error" and message.startswith((f"{where}:", f"{where}."))):
        return f"{message}."
    kinds = ", ".join(COLUMN_KINDS if where.startswith("data.columns.") else KINDS)
    if kind == "union_tag_not_found":
        return f"the key {where}.kind is missing. The kinds are: {kinds}."
    if kind == "union_tag_invalid" and isinstance(got, dict):
        where, message, got = f"{where}.kind", f"Expected one of {kinds}", got["kind"]
    elif kind == "extra_forbidden":
        known = _known(first["loc"], config)
        hint = suggest_name(str(first["loc"][-1]), known)
        return f"there is no key {where}.{hint} The keys there are: {', '.join(known)}."
    elif kind == "missing":
        return f"the key {where} is missing."
    elif kind in {"model_type", "model_attributes_type"}:
        message = "Expected a section"
    return f"{where}: {message[0].lower()}{message[1:]}, got {got!r}."


def _locate(location: tuple[int | str, ...]) -> str:
    """Return the key of pydantic's location, which also names the alternative of a union."""
    parts = [str(part) for part in location]
    if location[:3] == _COLUMNS:
        others = (part for part in parts[4:] if part not in COLUMN_KINDS)
        return ".".join(["data.columns", *parts[3:4], *others])
    return ".".join(part for part in parts if part not in _ALTERNATIVES)


def _known(location: tuple[int | str, ...], section: type[BaseModel]) -> list[str]:
    """Return the keys of the section that holds this location."""
    if location[:3] == _COLUMNS:
        return list(COLUMN_KINDS[str(location[4])].model_fields)
    for name in location[:-1]:
        if name in KINDS:
            section = KINDS[str(name)]
        elif str(name) in section.model_fields:
            sections = list(_sections(section.model_fields[str(name)].annotation))
            section = sections[0]
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that an annotation contains, such as those of a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _sections(part)
