"""The project's Python files, read but not run."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "shared", "local")


def modules(*folders: str) -> list[Path]:
    """Every Python file below `folders` that says anything."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.read_text().strip())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file with its number of lines, its decorators and docstring left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines
