"""The source of the bot and the plugins, for the tests that read it as text or as a tree.

Parsing all of it takes seconds, so a file is parsed only where it can say what a test looks for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def files() -> dict[Path, str]:
    """Every file of the bot and of the plugins, with its text."""
    found = (*(ROOT / "bot").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"))
    return {each: each.read_text(encoding="utf-8") for each in sorted(found)}


def calls(*names: str) -> Iterator[tuple[Path, ast.Call]]:
    """Every call of a function with one of these plain names, with its file.

    A name of which no file has a call fails: it is spelled as the code does not spell it.
    """
    left = set(names)
    for file, text in files().items():
        if not any(f"{name}(" in text for name in names):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and (name := name_of(node)) in names:
                left.discard(name)
                yield file, node
    assert not left, f"nothing calls {left}"


def name_of(call: ast.Call) -> str:
    """The plain name of the function that is called; '' where it has none."""
    return call.func.id if isinstance(call.func, ast.Name) else ""
