"""No phrase of the banned dialect in help texts, messages, docstrings, comments and pages."""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.serving import ROOT

# Each pattern, and what to write instead.
BANNED = {
    r"(?:go(?:es|ing)?|gone|went) on(?: with)?": "write resume, continue or last",
    r"(?:made )?anew": "write again, new or rebuilt",
    r"ask(?:s|ed|ing)? for": "name the action: request, need, set, configure",
    r"say(?:s|ing)?|said": "name the action: contain, describe, state, return, print, report",
    r"told": "write given, configured or set",
    r"lets?": "write allow, make or keep, or name the action",
    r"beside": "write next to, with or in addition to",
    r"nobody|whoever|whom?": "name the actor: a user, a process, a caller, a client",
    # As a pronoun: not the constant None, a quoted value, or the first word of a table's cell.
    r"(?<!['\"])(?<!\|\x20)none(?!['\"])|None of": "write no and the noun, or the constant `None`",
    r"brings?|bringing|brought": "write send, add, load or cause",
    r"turn(?:s|ed|ing)? away": "write refuse",
    r"in peace": "name the condition",
    r"all the same": "write still, anyway or nevertheless",
    r"meanwhile": "name the moment: during the fit, since the last poll",
}
PATTERNS = {
    # A space may be a line break, with the indentation of the next line.
    re.compile(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), flags): advice
    for pattern, advice in BANNED.items()
    for flags in (re.IGNORECASE if "none" not in pattern else re.NOFLAG,)
}

PACKAGES = ("quadnet", "pipeline", "service")
STATIC = ROOT / "service" / "playground" / "static"
GENERATED = ROOT / "service" / "stubs"

# Keyword arguments whose value is a help text.
HELP = {"description", "help", "summary"}

_FENCED = re.compile(r"^([ ]*)```.*?^\1```", re.DOTALL | re.MULTILINE)
_DOCTEST = re.compile(r"^\s*(?:>>>|\.\.\.).*$", re.MULTILINE)
_CODE = re.compile(r"``[^`]+``|`[^`\n]+`")
_LINK = re.compile(r"(?<=\])\([^)\s]*\)")
_JAVASCRIPT = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE_COMMENT = re.compile(r"//[^\n]*")
_HTML_CODE = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)


@dataclass(frozen=True)
class Prose:
    """A text for readers: its kind, the line on which it begins, and the text."""

    kind: str
    line: int
    text: str


def blank(pattern, text):
    """Replace each match by spaces, so that lines keep their numbers."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def find_banned(prose):
    """Yield the line, the phrase and the advice for each banned phrase of a text."""
    text = blank(_CODE, blank(_DOCTEST, prose.text))
    for pattern, advice in PATTERNS.items():
        for match in pattern.finditer(text):
            yield prose.line + text[: match.start()].count("\n"), match[0], advice


def error_classes():
    """Return the names of the exception classes of Python and of the packages."""
    bases = {}
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)
    found = {
        name
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    # Not an exception, but the text of one.
    return found | {"Violation"}


def texts(node):
    """Yield the string literals below a node; an f-string as one text, `_` for each value."""
    if isinstance(node, ast.JoinedStr):
        pieces = [part.value if isinstance(part, ast.Constant) else "_" for part in node.values]
        yield node.lineno, "".join(pieces)
        # The values of an f-string may contain texts too.
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from texts(part.value)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def docstrings(tree):
    """Yield the docstrings of modules, classes and functions, and those below assignments."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                value = statement.value.value
                if isinstance(value, str):
                    yield Prose("docstring", statement.lineno, value)


def messages(tree, errors):
    """Yield the texts of raise statements, of error constructors, of warnings and of helps."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield from (Prose("error message", *text) for text in texts(node.exc))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in errors or name == "warn":
                yield from (Prose("error message", *text) for text in texts(node))
            elif name == "Verb":
                yield from (Prose("help text", *text) for text in texts(node.args[0]))
            for keyword in node.keywords:
                if keyword.arg in HELP:
                    yield from (Prose("help text", *text) for text in texts(keyword.value))


def comments(source):
    """Yield the comments; those on consecutive lines as one text."""
    lines = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            number = token.start[0]
            if lines and number != lines[-1][0] + 1:
                yield Prose("comment", lines[0][0], "\n".join(text for _, text in lines))
                lines = []
            lines.append((number, token.string.lstrip("# ")))
    if lines:
        yield Prose("comment", lines[0][0], "\n".join(text for _, text in lines))


def matches(kind, pattern, source):
    """Yield each match of the pattern, with its line."""
    for match in pattern.finditer(source):
        yield Prose(kind, source[: match.start()].count("\n") + 1, match[0])


def prose_of(path, errors) -> Iterator[Prose]:
    """Yield every text for readers in a file."""
    source = path.read_text()
    match path.suffix:
        case ".py":
            tree = ast.parse(source)
            yield from docstrings(tree)
            yield from messages(tree, errors)
            yield from comments(source)
        case ".js":
            yield from matches("script", _JAVASCRIPT, source)
        case ".css" | ".c":
            yield from matches("comment", _BLOCK_COMMENT, source)
        case ".proto":
            yield from matches("comment", _LINE_COMMENT, source)
        case ".html":
            yield Prose("page", 1, blank(_HTML_CODE, source))
        case ".md":
            yield Prose("page", 1, blank(_LINK, blank(_FENCED, source)))


def python_files():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if GENERATED not in path.parents:
                yield path
    yield ROOT / "hatch_build.py"


def files():
    """Return the files that the rule is for."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *STATIC.glob("*.html")]
    sources = [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *(ROOT / "protos/quadrant").rglob("*")]
    sources += (ROOT / "quadnet").rglob("*.c")
    return [*python_files(), *sorted(path for path in [*pages, *sources] if path.is_file())]


def hits(path, errors):
    """Return a line for each banned phrase of a file."""
    name = path.relative_to(ROOT)
    found = {
        (line, phrase, f"{name}:{line}: {prose.kind}: {' '.join(phrase.split())!r}: {advice}")
        for prose in prose_of(path, errors)
        for line, phrase, advice in find_banned(prose)
    }
    return [text for _, _, text in sorted(found)]


@pytest.fixture(scope="module")
def errors():
    return error_classes()


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_has_a_banned_phrase(path, errors):
    found = hits(path, errors)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "It cannot be gone on with.",
        "The table is made\n    anew.",
        "Unless another is asked for.",
        "The manifest says so.",
        "What a process is told.",
        "This lets nothing through.",
        "A mark beside it.",
        "Nobody knows who did.",
        "Return the path; none if there is no file.",
        "None of them is there.",
        "What the request brings.",
        "A call that is turned away.",
        "All the same, it works.",
        "It was changed meanwhile.",
    ],
)
def test_the_dialect_is_found(text):
    assert list(find_banned(Prose("docstring", 1, text)))


@pytest.mark.parametrize(
    "text",
    [
        "The whole file, whose name is short.",
        "Return the path, or None if there is no file.",
        "Besides, the outlets are 'none' or \"none\".",
        "Call `ask_for` or ``say(none)``.",
        ">>> print('said')",
        "Based on whole numbers, which go one by one.",
    ],
)
def test_plain_words_are_not(text):
    assert list(find_banned(Prose("docstring", 1, text))) == []


def test_every_kind_of_text_is_read(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""One."""\n'
        "# Two,\n"
        "# three.\n"
        'A = Field(1, description="Four " "five.")\n'
        '"""Six."""\n'
        "def f(x):\n"
        '    """Seven."""\n'
        '    raise NotFound(f"Eight {x} "\n'
        '        "nine.")\n'
        "def g(x):\n"
        '    return NotFound("Ten.")\n'
        'B = {"eleven": "Twelve."}\n'
    )
    found = {(prose.kind, prose.line, prose.text) for prose in prose_of(path, {"NotFound"})}
    assert found == {
        ("docstring", 1, "One."),
        ("comment", 2, "Two,\nthree."),
        ("help text", 4, "Four five."),
        ("docstring", 5, "Six."),
        ("docstring", 7, "Seven."),
        ("error message", 8, "Eight _ nine."),
        ("error message", 11, "Ten."),
    }


def test_code_is_not_prose(tmp_path):
    for name, text, expected in (
        ("a.js", 'let a = "one"; // two\nlet b = `three`;', ['"one"', "// two", "`three`"]),
        ("a.css", "p { display: none; } /* one */", ["/* one */"]),
        ("a.proto", "message A {}  // one", ["// one"]),
    ):
        (path := tmp_path / name).write_text(text)
        assert [prose.text for prose in prose_of(path, set())] == expected
    (path := tmp_path / "a.md").write_text("Text\n\n```sh\nsay so\n```\n")
    assert [list(find_banned(prose)) for prose in prose_of(path, set())] == [[]]
