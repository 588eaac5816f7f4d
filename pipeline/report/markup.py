"""HTML put together so that no escaping is forgotten: all text is escaped that is not `Html`."""

import html

from pipeline.wording import Table, visible

_VOID = {"img", "br"}
_LONG = 20


class Html(str):
    """Text that is HTML already. Only this module makes some of other text."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str | float) -> Html:
    """Return an element; an attribute's name may end in an underscore, to be a Python name."""
    words = [name]
    for key, value in attributes.items():
        words.append(f'{key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Html(start if name in _VOID else f"{start}{join(*content)}</{name}>")


def join(*content: str) -> Html:
    """Return the pieces one after the other; those that are not HTML are escaped."""
    return Html("".join(c if isinstance(c, Html) else _escaped(c) for c in content))


def name(text: str) -> Html:
    """Return a user's text, which is quoted if it is blank.

    The direction in which it is written changes nothing around it.
    """
    # Only these may be broken within a word, or columns of short words would be.
    long = {"class_": "long"} if max(map(len, text.split()), default=0) > _LONG else {}
    return element("bdi", text if text.strip() else repr(text), **long)


def table(content: Table, **attributes: str) -> Html:
    """Return the table, in a box that scrolls where the page is too narrow for it."""

    def cells(row: tuple[str, ...], kinds: list[dict[str, str]]) -> Html:
        made = []
        for i, (text, kind) in enumerate(zip(row, kinds, strict=True)):
            side = {"class_": "number"} if i in content.numbers else {}
            made.append(element("th" if kind else "td", name(text), **kind, **side))
        return element("tr", *made)

    n = len(content.columns)
    head = cells(content.columns, [{"scope": "col"}] * n)
    kinds = [{"scope": "row"}, *[{}] * (n - 1)]
    return scrolling(
        element(
            "table",
            element("caption", content.caption),
            element("thead", head),
            element("tbody", *(cells(row, kinds) for row in content.rows)),
            **attributes,
        ),
        content.caption,
    )


def scrolling(content: Html, label: str) -> Html:
    """Return the content in a box that scrolls sideways, by keyboard too."""
    return element("div", content, class_="scroll", role="region", tabindex=0, aria_label=label)


def _escaped(text: str) -> str:
    return html.escape(visible(text))
