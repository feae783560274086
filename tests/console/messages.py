"""The texts of the console that have to be translated, read from its source."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from jinja2 import Environment, nodes

from services.console.i18n import WORDS

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = ROOT / "services/console/templates"
#: Whose first argument is a text, and the second too where a count decides.
_ONE, _COUNTED = ("_", "translate", "translate_html", "mark", "Sentence"), ("counted", "translate_count")
#: Attributes that people read, or hear.
_READ = ("title", "aria-label", "placeholder", "alt", "data-label", "data-renewed", "data-still", "data-lost")


def sources() -> list[Path]:
    """The modules whose sentences a page of the console may show."""
    folders = ("services/console", "shared/operations/payments", "shared/operations/webhook_events",
               "shared/operations/webhook_endpoints", "shared/operations/queues", "shared/operations/dead_letters",
               "shared/runtime")  # fmt: skip
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]


def messages() -> set[str]:
    """Every text of templates and modules; of two for a count the second, which is the key."""
    found = set(WORDS)
    for path in TEMPLATES.glob("*.html"):
        tree = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).parse(path.read_text("utf-8"))
        found |= set(_of_template(tree))
    for path in sources():
        found |= set(_of_module(ast.parse(path.read_text("utf-8"))))
    # what has no letters of its own is the same in every language
    return {text for text in found if re.search(r"[^\W\d_]", re.sub(r"%\(\w+\)s", "", text))}


def texts_outside_of_the_catalogue(template: Path) -> list[str]:
    """What a template says without asking the catalogue: texts, and attributes that people read."""
    tree = Environment(autoescape=True).parse(template.read_text("utf-8"))
    parts = [
        one.data if isinstance(one, nodes.TemplateData) else "\ufffc"
        for output in tree.find_all(nodes.Output)
        for one in output.nodes
    ]
    reader = _Reader()
    reader.feed("".join(parts))
    return reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("code", "script", "style", "bdi"):
            self._inside.append(tag)
        self.found += [value for name, value in attrs if name in _READ and value and re.search(r"[^\W\d_]", value)]

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside and re.search(r"[^\W\d_]", data):
            self.found.append(data.strip())


def _of_template(tree: nodes.Template) -> Iterator[str]:
    for call in tree.find_all(nodes.Call):
        name = getattr(call.node, "name", "")
        if name in (*_ONE, *_COUNTED):
            text = call.args[1 if name in _COUNTED else 0]
            assert isinstance(text, nodes.Const), f"line {call.lineno}: {name}() has to be given the text itself"
            yield text.value


def _of_module(tree: ast.Module) -> Iterator[str]:
    named: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                named.setdefault(getattr(target, "id", ""), []).append(node.value.value)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in (*_ONE, *_COUNTED):
            place = 1 if call.func.id in _COUNTED else 0
            match call.args[place : place + 1]:
                case [ast.Constant(value=str(text))]:
                    yield text
                case [ast.Name(id=name)]:
                    yield from named.get(name, [])
