"""From a settings class to a command line, and from its words to settings.

The flags, their help and their checks come from the class's fields alone. pydantic-settings' own
command line is not used because it splits list items at commas (``--set a=[6,8]``) and takes
``-1e-3`` for a flag.
"""

import argparse
import difflib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from quadnet.cli.settings import Settings, is_list, is_positional, service_link, variable_of

S = TypeVar("S", bound=Settings)


def parse(settings: type[S], program: str, words: Sequence[str]) -> S:
    """Return the settings that the words, the environment and the defaults give.

    Wrong usage prints one sentence and ends the process with code 2.
    """
    parser = _Parser(prog=program, description=inspect.getdoc(settings), add_help=True)
    for name, field in settings.model_fields.items():
        _add_argument(parser, name, field)
    given = vars(parser.parse_intermixed_args(words))
    for name in settings.model_fields.keys() - given.keys():
        if link := service_link(settings, name):
            print(
                f"{program}: warning: {link} is {os.environ[link]!r}, which Kubernetes sets for a "
                "Service of that name, and is ignored. Set enableServiceLinks: false in the pod's "
                f"spec, and the setting itself with {_flag(name)}.",
                file=sys.stderr,
            )
    try:
        return settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(_sentence(settings, given, first["loc"], first["msg"], first.get("input")))


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and what was probably meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )
        # Before Python 3.14 argparse sees no number in -1e-3, -inf or -nan.
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            close = difflib.get_close_matches(unknown[1], self._option_string_actions, n=1)
            message = f"there is no option {unknown[1]}"
            message += f"; did you mean {close[0]}?" if close else "."
        stop = "" if message.endswith((".", "?")) else "."
        print(f"{self.prog}: {message}{stop} Try {self.prog} --help.", file=sys.stderr)
        sys.exit(2)


def _add_argument(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    description = field.description or ""
    default = field.get_default(call_default_factory=True)
    several = is_list(field)
    # A flag that is not given leaves no trace, so that the environment variable can speak.
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    if is_positional(field):
        options |= {"nargs": "*" if several else "?", "metavar": name.upper()}
        suffix = f" (default: {default})" if default and not several else ""
        parser.add_argument(name, help=_escape(description + suffix), **options)
        return
    if field.annotation is bool:
        options["action"] = "store_true"
    elif several:
        options["action"] = "append"
    else:
        options["metavar"] = name.upper()
    variable = variable_of(name, field)
    notes = [variable] if variable else []
    if default not in (None, False, "") and default != []:
        notes.append(f"default: {default}")
    if notes:
        description += f" ({', '.join(notes)})"
    parser.add_argument(_flag(name), dest=name, help=_escape(description), **options)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _escape(text: str) -> str:
    return text.replace("%", "%%")


def _sentence(
    settings: type[Settings],
    given: dict[str, Any],
    location: tuple[int | str, ...],
    message: str,
    value: object,
) -> str:
    """Say which flag or variable is wrong, what was expected and what came."""
    message = message.removeprefix("Value error, ")
    if not location:
        return message
    name = str(location[0])
    field = settings.model_fields[name]
    variable = variable_of(name, field)
    if is_positional(field):
        where = name.upper()
    elif name in given or variable is None:
        where = _flag(name)
    else:
        where = variable
    return f"{where}: {message[0].lower()}{message[1:]}, got {value!r}"
