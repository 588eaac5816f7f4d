"""Write the run file of a table, with every decision that was found out as a commented line."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")
_COMMENT_AT = 40
"""The column of a comment behind a line, unless the line is longer."""


@dataclass(frozen=True)
class Line:
    """A key of a run file with its value, and a comment.

    `is_default` lines are written as comments: the run does the same without them.
    """

    key: str
    value: JsonValue
    comment: str = ""
    is_default: bool = False


Sections = Mapping[str, Sequence[Line]]
"""Sections by their names; the empty name is for keys outside of sections."""


def format_run_file(introduction: Sequence[str], sections: Sections) -> str:
    """Return the text of a run file."""
    blocks = ["\n".join(f"# {line}" for line in introduction)]
    for name, lines in sections.items():
        header = [f"[{name}]"] if name else []
        blocks.append("\n".join([*header, *map(_format_line, lines)]))
    return "\n\n".join(blocks) + "\n"


def _format_line(line: Line) -> str:
    mark = "# " if line.is_default else ""
    key = line.key if _BARE_KEY.fullmatch(line.key) else _format_value(line.key)
    text = f"{mark}{key} = {_format_value(line.value)}"
    comment = " ".join(line.comment.split())
    return f"{text:{_COMMENT_AT}}  # {comment}" if comment else text


def _format_value(value: JsonValue) -> str:
    """Return a value in TOML."""
    if isinstance(value, dict):
        pairs = [
            f"{k if _BARE_KEY.fullmatch(k) else _format_value(k)} = {_format_value(v)}"
            for k, v in value.items()
        ]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    if isinstance(value, float):
        return repr(value)
    # A string of JSON is one of TOML, but for DEL, which JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def make_model_name(path: str) -> str:
    """Return a model's name for a file: ``penguins`` for ``data/Penguins.csv.gz``."""
    stem = re.split(r"[\\/]", path.rstrip("\\/"))[-1].lower().split(".")[0]
    name = _NOT_IN_NAMES.sub("-", stem).strip("-_")[:64]
    return name or "table"
