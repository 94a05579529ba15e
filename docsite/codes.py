"""The reference of the codes: what each error, objection and reason says, read from the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bot
import plugins
from bot.domain.errors import DroverError
from docsite.tables import code, table

ROOT = Path(__file__).parents[1]
DEMO = ("demo", "stage")
"""What they say is not the bot's."""
_SENTENCES = ("words", "nwords", "Words", "joined", "str")
_PLANS = ("Objection", "Reason")


@dataclass(frozen=True, slots=True)
class Coded:
    """One place in the code where something with a code is said.

    ``package``: such as ``plugins.migrate``. ``text`` and ``advice`` are templates; '' where they
    are made elsewhere.
    """

    package: str
    kind: str
    code: str
    text: str
    advice: str


def codes_page() -> str:
    """Every code with its sentences."""
    errors = kinds_of_errors()
    found = coded()
    parts = ["# Codes\n", _INTRODUCTION, "## Kinds of errors\n"]
    kinds = [(code(each.code), _first_line(each)) for each in errors.values()]
    parts.append(table(("code", "what it is"), sorted(kinds)))
    for kind, title in (
        ("Error", "What errors say"),
        ("Objection", "Why something is refused"),
        ("Reason", "Reasons and warnings of plans"),
    ):
        parts.append(f"## {title}\n")
        mine = sorted({each for each in found if each.kind == kind}, key=_order)
        for package in dict.fromkeys(each.package for each in mine):
            parts += [f"### {title}: `{package}`\n", _sentences(mine, package)]
    return "\n".join(parts)


_INTRODUCTION = """\
Made from the code. What is refused, planned or goes wrong has a code that stays the same whatever
the wording and the language: `drover plan --json` and `drover audit export` show it. `{vm}`
stands for a value. Search this page for the words that you were told;
[Troubleshooting](../how-to/troubleshooting.md) has the usual ones, step by step.
"""


def _order(each: Coded) -> tuple[str, str, str]:
    return each.package, each.code, each.text


def _sentences(found: Sequence[Coded], package: str) -> str:
    rows = [(code(each.code), each.text, each.advice) for each in found if each.package == package]
    return table(("code", "what is said", "what to do"), rows)


@cache
def kinds_of_errors() -> Mapping[str, type[DroverError]]:
    """Each class of errors of the bot and the built-in plugins, by name."""
    for package in (bot, plugins):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            last = module.name.rpartition(".")[2]
            if last not in ("__main__", *DEMO) and ".migrations" not in module.name:
                importlib.import_module(module.name)
    found, waiting = {"DroverError": DroverError}, [DroverError]
    while waiting:
        below = waiting.pop().__subclasses__()
        found |= {each.__name__: each for each in below}
        waiting += below
    return {
        name: each
        for name, each in sorted(found.items())
        if each.__module__.startswith(("bot.", "plugins."))
    }


def _first_line(kind: type[DroverError]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("``", "`")


@cache
def coded() -> tuple[Coded, ...]:
    """Everything in the code that has a code and a sentence."""
    errors = kinds_of_errors()
    return tuple(
        found
        for file in sorted((*ROOT.glob("bot/**/*.py"), *ROOT.glob("plugins/**/*.py")))
        if file.stem not in DEMO
        for found in _coded_in(file, errors)
    )


def _coded_in(file: Path, errors: Mapping[str, type[DroverError]]) -> Iterator[Coded]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    reader = _Reader(_constants(tree))
    package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:2])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (said := _said(node, reader, errors)):
            yield Coded(package, *said)


def _said(
    call: ast.Call, reader: _Reader, errors: Mapping[str, type[DroverError]]
) -> tuple[str, str, str, str] | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name in _PLANS and call.args:
        given = reader.text(call.args[0])
        text, advice = reader.arguments(call.args[1:])
        return (name, given, text, advice) if given else None
    if name not in errors:
        return None
    own = next((reader.text(each.value) for each in call.keywords if each.arg == "code"), "")
    text, advice = reader.arguments(call.args)
    return ("Error", own or errors[name].code, text, advice) if text else None


def _constants(tree: ast.Module) -> Mapping[str, ast.expr]:
    """Names that a module gives to its sentences."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


class _Reader:
    """Reads templates out of expressions; ``constants`` are the names of one module."""

    def __init__(self, constants: Mapping[str, ast.expr]) -> None:
        self._constants = constants

    def arguments(self, given: list[ast.expr]) -> tuple[str, str]:
        """Text and advice: the first two arguments."""
        texts = [self.text(each) for each in given[:2]]
        return (*texts, "", "")[0], (*texts, "", "")[1]

    def text(self, node: ast.expr) -> str:
        """The template of a message; '' where it is another value."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.IfExp):
            return " / ".join(filter(None, (self.text(node.body), self.text(node.orelse))))
        if isinstance(node, ast.Tuple):
            return " ".join(filter(None, map(self.text, node.elts)))
        if isinstance(node, ast.Name) and node.id in self._constants:
            return self.text(self._constants[node.id])
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            many = 1 if name == "nwords" else 0
            return self.text(node.args[many]) if name in _SENTENCES and node.args else ""
        return ""
