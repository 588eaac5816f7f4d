"""Parse an HTML page into a tree of elements."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


@dataclass
class Node:
    name: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    content: list["Node | str"] = field(default_factory=list)

    def walk(self):
        yield self
        for child in self.content:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, *names):
        return [node for node in self.walk() if node.name in names]

    def the(self, name):
        (node,) = self.all(name)
        return node

    @property
    def text(self):
        return "".join(c.text if isinstance(c, Node) else c for c in self.content)


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        node = Node(tag, dict(attrs))
        self.open[-1].content.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        raise AssertionError(f"<{tag}/>")

    def handle_endtag(self, tag):
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].content.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)


def parse(text):
    """Return the page's root; every element must be closed in order."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.open == [parser.root]
    return parser.root


def tables(root):
    """Return each table's rows of text, with the heads first, by the table's caption."""
    return {
        table.the("caption").text: [
            [cell.text for cell in row.all("th", "td")] for row in table.all("tr")
        ]
        for table in root.all("table")
    }
