"""libvirt's configuration files, read as libvirt's own parser reads them.

Source: ``virConfParse`` and ``virConfGetValue`` in libvirt's ``src/util/virconf.c``. Statements are
``name = value``, ended by a line's end or ``;``. A value is a whole number, a text in single,
double or triple double quotes (no escapes: a backslash is itself, and a # in it is no remark), or a
list of those in brackets, over several lines if need be. A remark may follow a value. Of several
statements of one name the *first* counts. A file with any error is refused as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bot.domain.message import Message, Words, words

_GAP = re.compile(r"[ \t\r\n]*")
_BLANKS = re.compile(r"[ \t]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TEXT = re.compile(
    r'"""(?P<long>.*?)"""|\'(?P<single>[^\'\r\n]*)\'|"(?P<double>[^"\r\n]*)"', re.DOTALL
)
_NUMBER = re.compile(r"[-+]?[0-9]+")
_REMARK = re.compile(r"#[^\r\n]*")
_DEEPEST = 50  # no setting needs one; Python gives up at some hundreds
_END = re.compile(r"[\r\n;]|\Z")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its value as text (lists as libvirt writes them), and its line (from 1)."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Conf:
    """A file's settings by name.

    ``problem``: why libvirt refuses the whole file, '' when it does not.

    The settings are then those before the error.
    """

    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    problem: Message = ""


class _WrongError(ValueError):
    """The text is none that libvirt takes; ``at``: where that shows."""

    def __init__(self, what: Words, at: int) -> None:
        super().__init__(what)
        self.what, self.at = what, at


def parse(text: str) -> Conf:
    """Read a configuration file."""
    found: dict[str, Setting] = {}
    try:
        for name, setting in _statements(text):
            found.setdefault(name, setting)
    except _WrongError as error:
        return Conf(
            found,
            words("line {number}: {problem}", number=_line(text, error.at), problem=error.what),
        )
    return Conf(found)


def _statements(text: str) -> Iterator[tuple[str, Setting]]:
    at = _skip(_GAP, text, 0)
    while at < len(text):
        remark = _REMARK.match(text, at)
        if remark is None:
            name = _NAME.match(text, at)
            if name is None:
                raise _WrongError(words("a name is missing"), at)
            sign = _skip(_BLANKS, text, name.end())
            if text[sign : sign + 1] != "=":
                raise _WrongError(words("no = follows {name}", name=name.group()), sign)
            value, after = _value(text, _skip(_BLANKS, text, sign + 1))
            yield name.group(), Setting(value, _line(text, at))
            at = _skip(_BLANKS, text, after)
            remark = _REMARK.match(text, at)
        at = _skip(_BLANKS, text, remark.end() if remark else at)
        if _END.match(text, at) is None:
            raise _WrongError(words("something follows the value that is no comment"), at)
        at = _skip(_GAP, text, at + 1)


def _plain_number(written: str) -> str:
    """Without plus and leading zeros; of any length, for none is computed with."""
    digits = written.lstrip("+-").lstrip("0") or "0"
    return f"-{digits}" if written.startswith("-") and digits != "0" else digits


def _value(text: str, at: int, depth: int = 0) -> tuple[str, int]:
    """The value at a place, and where it ends."""
    if text[at : at + 1] == "[":
        return _list(text, at + 1, depth)
    if found := _NUMBER.match(text, at):
        return _plain_number(found.group()), found.end()
    if found := _TEXT.match(text, at):
        return next(each for each in found.groups() if each is not None), found.end()
    raise _WrongError(words("a value is missing, or its quotes are not closed"), at)


def _list(text: str, at: int, depth: int) -> tuple[str, int]:
    """The rest of a list, as libvirt writes it, and where it ends."""
    if depth > _DEEPEST:
        raise _WrongError(words("lists are nested too deep"), at)
    items: list[str] = []
    at = _skip(_GAP, text, at)
    while text[at : at + 1] != "]":
        start = at
        value, at = _value(text, at, depth + 1)
        items.append(value if text[start] not in "\"'" else f'"{value}"')
        at = _skip(_GAP, text, at)
        if text[at : at + 1] == ",":
            at = _skip(_GAP, text, at + 1)
        elif text[at : at + 1] != "]":
            raise _WrongError(words("a list is not closed, or lacks a comma"), at)
    return (f"[ {', '.join(items)} ]" if items else "[ ]"), at + 1


def _skip(what: re.Pattern[str], text: str, at: int) -> int:
    found = what.match(text, at)
    return at if found is None else found.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
