"""Make a command line from a settings class, and settings from its arguments.

The class's fields define the flags, their help and their checks. pydantic-settings' own command
line was rejected, because it splits list items at commas (``--set a=[6,8]``) and parses ``-1e-3``
as a flag.
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
from pydantic_core import ErrorDetails

from quadnet.cli.settings import (
    Settings,
    is_list,
    is_positional,
    service_link,
    validation_message,
    variable_of,
)

S = TypeVar("S", bound=Settings)


def parse(settings: type[S], program: str, words: Sequence[str]) -> S:
    """Return settings from the arguments, the environment variables and the defaults.

    On wrong usage, print one sentence and exit with code 2.
    """
    parser = _Parser(prog=program, description=inspect.getdoc(settings), add_help=True)
    for name, field in settings.model_fields.items():
        _add_argument(parser, name, field)
    arguments, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        parser.refuse_unknown(unknown)
    given = vars(arguments)
    for name in settings.model_fields.keys() - given.keys():
        if link := service_link(settings, name):
            print(
                f"{program}: warning: {link} is {os.environ[link]!r}, which Kubernetes sets for a "
                "Service of that name. It is ignored. Set enableServiceLinks: false in the pod's "
                f"spec, and the setting itself with {_flag(name)}.",
                file=sys.stderr,
            )
    try:
        return settings(**given)
    except ValidationError as error:
        parser.error(_describe_fault(settings, given, error.errors()[0]))


class _Parser(argparse.ArgumentParser):
    """Prints usage errors as one sentence, with a suggestion."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )
        # Before Python 3.14, argparse parses -1e-3, -inf and -nan as flags.
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Print an error about unknown arguments, and exit."""
        option = words[0].partition("=")[0]
        if not option.startswith("--"):
            self.error(f"unrecognized arguments: {' '.join(words)}")
        # Without the dashes, which make all short options alike: --set and --expect.
        known = [flag[2:] for flag in self._option_string_actions if flag.startswith("--")]
        close = difflib.get_close_matches(option[2:], known, n=1)
        self.error(
            f"there is no option {option}" + (f"; did you mean --{close[0]}?" if close else "")
        )

    def error(self, message: str) -> NoReturn:
        stop = "" if message.endswith((".", "?")) else "."
        print(f"{self.prog}: {message}{stop} Try {self.prog} --help.", file=sys.stderr)
        sys.exit(2)


def _add_argument(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    description = field.description or ""
    default = field.get_default(call_default_factory=True)
    several = is_list(field)
    # An absent flag leaves no attribute, so that the environment variable applies.
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


def _describe_fault(settings: type[Settings], given: dict[str, Any], fault: ErrorDetails) -> str:
    """Return a sentence with the wrong flag or variable, the expectation and the value."""
    location, message = fault["loc"], validation_message(fault)
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
    return f"{where}: {message[0].lower()}{message[1:]}, got {fault['input']!r}"
