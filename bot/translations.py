"""Keeps the translations in step with the code.

``python -m bot.translations extract|check|literals [FOLDER…]``.

``extract`` writes every template of a package into its ``.po`` files, with what is translated
already; new ones come empty, those that the code no longer says are dropped. ``check`` tells what
is missing or does not fit, and exits with 1. ``literals`` lists sentences in the code that are no
messages yet. FOLDER is a package, such as ``plugins/host_check``; without one, the bot and all
plugins beside it. A package gets a language by a file ``locale/<locale>/LC_MESSAGES/messages.po``
with the language's plural rule (copy another package's first lines).
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

_TEMPLATES = {"words": 1, "nwords": 2}  # how many of each one's arguments
FILE = Path("LC_MESSAGES") / "messages.po"
HERE = Path(__file__).parent.parent

_HEADER = """\
msgid ""
msgstr ""
"Language: {locale}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals};\\n"

"""
_HOLE = re.compile(r"\{(\w+)\}")
_CODE = re.compile(r"`([^`]*)`")
_MARK = re.compile(r"[*`]|(?<!\w)_|_(?!\w)")
_WORD = re.compile(r"(?:^|(?<=[\s“(]))[A-Za-z][A-Za-z’'-]*(?=$|[\s,.;:?!”)])")
_SHELL = re.compile(r"[$&|=<>]|(?:^|\s)--?[a-z]")
_SMALL_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "cannot",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "if",
        "in",
        "is",
        "it",
        "its",
        "may",
        "must",
        "no",
        "none",
        "not",
        "of",
        "on",
        "only",
        "or",
        "so",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "were",
        "what",
        "when",
        "which",
        "who",
        "why",
        "will",
        "with",
        "without",
        "you",
        "your",
    ]
)
_LETTER = re.compile(r"[^\W\d_]")
OPT_OUT = "# no message"
"""On a line (or the one before): its text is not for people, and why."""


def packages() -> tuple[Path, ...]:
    """The bot and the plugins that come with it."""
    plugins = (each.parent for each in sorted((HERE / "plugins").glob("*/__init__.py")))
    return (HERE / "bot", *plugins)


def templates(package: Path) -> Catalog:
    """Every template that a package's code says, without those that hold no word."""
    found = Catalog()
    for file in sorted(package.rglob("*.py")):
        if b"words(" not in file.read_bytes():
            continue  # looking through a file takes far longer than reading it
        place = file.relative_to(package.parent).as_posix()
        for line, text in _messages_in(file):
            if _to_translate(text):
                found.add(text, locations=[(place, line)])
    return found


def _messages_in(file: Path) -> Iterator[tuple[int, str | tuple[str, ...]]]:
    """Line and template of each message in a file, or its singular and plural.

    Babel's own reader passes over a call within another one's arguments.
    """
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            given = [each.value for each in node.args if isinstance(each, ast.Constant)]
            texts = tuple(each for each in given if isinstance(each, str))[
                : _TEMPLATES.get(name, 0)
            ]
            if texts and len(texts) == _TEMPLATES[name]:
                yield node.lineno, texts if len(texts) > 1 else texts[0]


def _to_translate(text: str | tuple[str, ...]) -> bool:
    """Whether anything but holes and marks stands in it."""
    return any(
        _LETTER.search(_HOLE.sub("", each)) for each in ([text] if isinstance(text, str) else text)
    )


def translations(package: Path) -> Iterator[tuple[str, Path]]:
    """Locale and file of each language that a package has."""
    for file in sorted((package / "locale").glob(f"*/{FILE}")):
        yield file.parent.parent.name, file


def load(file: Path, locale: str) -> Catalog:
    """A ``.po`` file."""
    with file.open("rb") as opened:
        return read_po(opened, locale=locale, abort_invalid=True)


def extract(package: Path) -> int:
    """Write a package's templates into its ``.po`` files; 0."""
    said = templates(package)
    for locale, file in translations(package):
        known = load(file, locale)
        for message in said:
            before = known.get(message.id) if message.id else None
            if before is not None and bool(before.pluralizable) == bool(message.pluralizable):
                message.string = before.string
            message.flags.clear()
        written = io.BytesIO()
        write_po(written, said, omit_header=True, sort_output=True, include_lineno=False, width=100)
        header = _HEADER.format(locale=locale, plurals=known.plural_forms.rstrip(";"))
        file.write_text(header + written.getvalue().decode(), encoding="utf-8")
    return 0


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the translation of one template; ``missing``: there is none yet."""

    file: Path
    template: str
    what: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.file}: “{self.template}”: {self.what}"


def problems(package: Path) -> Iterator[Problem]:
    """What is missing in a package's translations, does not fit, or is said no more."""
    said = templates(package)
    for locale, file in translations(package):
        known = load(file, locale)
        for message in said:
            if message.id:
                yield from _of_message(file, known.num_plurals, message, known.get(message.id))
        for message in known:
            if message.id and said.get(message.id) is None:
                # no message: for translators
                yield Problem(file, _first(message), "the code no longer says it; run extract")


def _of_message(
    file: Path, plurals: int, message: Message, known: Message | None
) -> Iterator[Problem]:
    template = _first(message)
    given = known.string if known is not None else ""
    strings = [given] if isinstance(given, str) else list(given or ())
    if not all(strings) or not strings or (known is not None and known.fuzzy):
        yield Problem(file, template, "not translated", missing=True)
        return
    forms = plurals if message.pluralizable else 1
    if len(strings) != forms:
        # no message: for translators
        yield Problem(file, template, f"{len(strings)} plural forms instead of {forms}")
    sources = [message.id] if isinstance(message.id, str) else list(message.id)
    yield from _differences(file, template, sources, strings)


def _differences(
    file: Path, template: str, sources: list[str], strings: list[str]
) -> Iterator[Problem]:
    """Holes, code or marks of a translation that are not those of the template."""
    for string in strings:
        if string.endswith("\n") != sources[0].endswith("\n"):
            # no message: for translators
            yield Problem(file, template, "the newline at the end differs")
        for of, name in ((_holes, "holes"), (_commands, "code"), (_marks, "marks")):
            if all(of(string) != of(source) for source in sources):
                yield Problem(file, template, f"its {name} differ: {string}")


def _first(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def _holes(text: str) -> Counter[str]:
    return Counter(_HOLE.findall(text))


def _commands(text: str) -> Counter[str]:
    return Counter(_CODE.findall(text))


def _marks(text: str) -> Counter[str]:
    return Counter(_MARK.findall(text))


@dataclass(frozen=True, slots=True)
class Literal:
    """A sentence in the code that is no message."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text[:100]!r}"


def literals(package: Path) -> Iterator[Literal]:
    """Sentences in a package's code that nobody would translate.

    Neither docstrings, logged, nor opted out.
    """
    for file in sorted(package.rglob("*.py")):
        if file.is_relative_to(package / "testing"):
            continue  # stand-ins: what they say, people see in tests alone
        text = file.read_text(encoding="utf-8")
        lines = ["", *text.splitlines()]
        for node in _texts(ast.parse(text)):
            opted_out = any(
                OPT_OUT in lines[each]
                for each in (node.lineno - 1, node.lineno, node.end_lineno or 0)
            )
            if _is_sentence(_source_of(node)) and not opted_out:
                yield Literal(file, node.lineno, _source_of(node))


def _is_sentence(text: str) -> bool:
    """Whether it reads as English.

    At least three words, a small one among them, and nothing that a shell reads but what is marked
    as typed.
    """
    text = _CODE.sub("", text)
    found = _WORD.findall(text)
    return (
        len(found) > 2
        and not _SHELL.search(text)
        and any(each.lower() in _SMALL_WORDS for each in found)
    )


def _source_of(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(
        str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values
    )


_QUIET = {
    "words",
    "nwords",
    "Words",
    "log",
    "_log",
    "TypeError",
    "SSHException",
    "compile",
    "Field",
    "TypeVar",
    "command",
    "Code",
    "startswith",
    "endswith",
}
"""Calls whose texts are messages already, or no messages."""


_TYPED = {"example", "also"}
"""Keywords whose texts are what people type."""


def _texts(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Strings and f-strings under a node.

    Neither docstrings nor arguments of a quiet call.
    """
    if isinstance(node, ast.JoinedStr):
        yield node
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node
        return
    if isinstance(node, ast.Compare | ast.Subscript) or (
        isinstance(node, ast.Call) and not _QUIET.isdisjoint(_names(node.func))
    ):
        return  # what is compared with, or a key, is not shown
    for child in node.values if isinstance(node, ast.Dict) else ast.iter_child_nodes(node):
        if isinstance(child, ast.keyword) and child.arg in _TYPED:
            continue
        # A docstring
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield from _texts(child)


def _names(called: ast.expr) -> Iterator[str]:
    while isinstance(called, ast.Attribute):
        yield called.attr
        called = called.value
    if isinstance(called, ast.Name):
        yield called.id


def _print_all(found: Iterable[object]) -> int:
    count = 0
    for count, each in enumerate(found, 1):  # noqa: B007 - the last one is the number of them
        click.echo(each)
    return count


_ACTS: dict[str, Callable[[Path], int]] = {
    "extract": extract,
    "check": lambda package: _print_all(problems(package)),
    "literals": lambda package: _print_all(literals(package)),
}


@click.command(help=__doc__)
@click.argument("act", type=click.Choice(list(_ACTS)))
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(act: str, folders: tuple[Path, ...]) -> None:
    """Extract, check or list."""
    found = sum(_ACTS[act](folder.resolve()) for folder in folders or packages())
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
