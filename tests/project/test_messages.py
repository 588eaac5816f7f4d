"""Messages of the library state facts: only the command line names its options."""

import ast
import re

from tests.support.serving import ROOT

OPTION = re.compile(r"(^|[\s(`'\"])--[a-z]")

ABOUT_THE_COMMAND_LINE = {
    "pipeline/commands",
    "pipeline/report/card.py",  # says how to use the version
    "pipeline/report/facts.py",
    "quadnet/cli",
    "quadnet/extras.py",  # options of uv
    "service/commands",
    "service/rpc/error_documentation.py",  # of the reference
    "service/settings.py",
}
NOT_MESSAGES = {
    "pipeline/report/figures.py",  # CSS
    "pipeline/report/page.py",
    "pipeline/training/provenance.py",  # options of git
}


def library():
    skipped = ABOUT_THE_COMMAND_LINE | NOT_MESSAGES
    for package in ("quadnet", "pipeline", "service"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not any(name == each or name.startswith(f"{each}/") for each in skipped):
                yield name


def strings(tree):
    """Yield every text in the code but docstrings, which are expressions of their own."""
    nodes = list(ast.walk(tree))
    documentation = {node.value for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and node not in documentation:
            yield node.lineno, node.value


def test_no_message_of_the_library_names_an_option_of_the_command_line():
    found = [
        f"{name}:{line}: {text}"
        for name in library()
        for line, text in strings(ast.parse((ROOT / name).read_text()))
        if OPTION.search(text)
    ]
    assert found == []
