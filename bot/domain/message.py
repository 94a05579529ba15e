"""Messages as data: a template and its named values.

They are translated and filled where they are shown and nowhere else.

``words("{vm} is on {host}", vm="web-1", host="host-a")`` is a value: it compares, hashes and is
stored with its template and arguments. ``str()`` of it is the English sentence, for logs and for
code that knows only text.

A template has a small markup (``*bold*``, ``_italic_``, `` `code` ``, newline) and holes
``{name}``; what fills a hole is shown as it is and formats nothing. Values with a unit (``Size``,
``Duration``, ``When``…) are written as the reader's language writes them. A plain ``str`` is a
message too: literal text that nobody translates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import cast

from bot.domain.words import bytes_text, duration_text

_TOKENS = re.compile(r"\{(?P<hole>\w+)\}|(?P<mark>[*`]|(?<!\w)_|_(?!\w))")


@dataclass(frozen=True, slots=True)
class Person:
    """A mention of a person by user id; ``name`` is for places that cannot mention."""

    id: str
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class Ref:
    """An operation by id. ``url``: of its message, filled in where a chat knows it."""

    id: str
    url: str = field(default="", compare=False, metadata={"later": True})

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes."""

    bytes: float

    def __str__(self) -> str:
        return bytes_text(self.bytes)


@dataclass(frozen=True, slots=True)
class Rate:
    """Bytes a second."""

    bytes: float

    def __str__(self) -> str:
        return f"{bytes_text(self.bytes)}/s"


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds."""

    seconds: float

    def __str__(self) -> str:
        return duration_text(self.seconds)


_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime's follow the process


@dataclass(frozen=True, slots=True)
class When:
    """A moment; one without a zone is UTC. Chats that can show it in the reader's own time do."""

    at: datetime
    # By a language, just before it is shown
    written: str = field(default="", compare=False, metadata={"later": True})
    # For a time to come, which people plan their week by
    weekday: bool = field(default=False, metadata={"later": True})

    @property
    def utc(self) -> datetime:
        """The moment in UTC."""
        return self.at.astimezone(UTC) if self.at.tzinfo else self.at.replace(tzinfo=UTC)

    def __str__(self) -> str:
        day = f"{_WEEKDAYS[self.utc.weekday()]} " if self.weekday else ""
        return self.written or f"{day}{self.utc:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Day:
    """A date."""

    day: date

    def __str__(self) -> str:
        return self.day.isoformat()


@dataclass(frozen=True, slots=True)
class Percent:
    """A share, 0..1, shown with so many ``digits`` behind the point."""

    share: float
    digits: int = 0

    def __str__(self) -> str:
        return f"{self.share:.{self.digits}%}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number with exactly so many ``digits`` behind the point."""

    value: float
    digits: int = 0

    def __str__(self) -> str:
        return f"{self.value:.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Code:
    """A command, shown as code and never translated."""

    command: str

    def __str__(self) -> str:
        return f"`{self.command}`"


class Join(StrEnum):
    """How the members of a list stand together."""

    PLAIN = "plain"  # a, b, c
    AND = "and"  # a, b and c
    OR = "or"  # a, b or c


@dataclass(frozen=True, slots=True)
class Names:
    """A list in a sentence; of more than ``most`` the rest is counted. ``most`` 0: all."""

    items: tuple[Member, ...]
    join: Join = Join.PLAIN
    most: int = 0

    @property
    def members(self) -> tuple[Member, ...]:
        """The members that are named."""
        return self.items[: self.most] if self.most else self.items

    @property
    def rest(self) -> int:
        """How many are only counted."""
        return len(self.items) - len(self.members)

    @property
    def more(self) -> Words:
        """The count of the rest."""
        return nwords("{n} more", "{n} more", n=self.rest)

    @property
    def line(self) -> Words:
        """The list as a message, in English."""
        given = [*self.members, *([self.more] if self.rest else [])]
        args: dict[str, Value] = {f"i{index}": each for index, each in enumerate(given)}
        holes = [f"{{{name}}}" for name in args]
        between = "and" if self.rest else self.join
        if between == Join.PLAIN or len(holes) < 2:
            return Words(", ".join(holes), args)
        return Words(f"{', '.join(holes[:-1])} {between} {holes[-1]}", args)

    def __str__(self) -> str:
        return str(self.line)


@dataclass(frozen=True, slots=True)
class Words:
    """A template and what fills its holes.

    With ``many``, which of the two is used depends on the argument ``n``.

    Of the arguments a ``datetime`` is kept as ``When``, a ``timedelta`` as ``Duration``, a sequence
    as ``Names``.
    """

    template: str
    args: Mapping[str, Value] = field(default_factory=dict)
    many: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "args", {name: _as_value(value) for name, value in self.args.items()}
        )

    def __hash__(self) -> int:
        return hash((self.template, self.many, frozenset(self.args.items())))

    @property
    def english(self) -> str:
        """The English template, singular or plural."""
        return self.many if self.many and self.args.get("n") != 1 else self.template

    def __str__(self) -> str:
        return fill(self.english, self.args)


Message = str | Words
"""What people read: a sentence as data, or literal text."""

Member = str | Person | Ref | Code | Words
"""What a list is made of."""

Quantity = int | float | Size | Rate | Duration | When | Percent | Number
"""A number with its unit, or a moment."""

Value = (
    str
    | int
    | float
    | Person
    | Ref
    | Size
    | Rate
    | Duration
    | When
    | Day
    | Percent
    | Number
    | Code
    | Names
    | Words
)
"""What fills a hole."""

Argument = Value | datetime | date | timedelta | Iterable[Member]
"""What may be given for a hole."""

VALUES: tuple[type, ...] = (
    Words,
    Person,
    Ref,
    Size,
    Rate,
    Duration,
    When,
    Day,
    Percent,
    Number,
    Code,
    Names,
)
"""Every dataclass that a stored message can hold."""


def words(template: str, /, **args: Argument) -> Words:
    """A message. ``template`` is a literal, so that it is found for translation."""
    return Words(template, cast("Mapping[str, Value]", args))  # ``Words`` makes values of them


def nwords(one: str, many: str, /, n: float, **args: Argument) -> Words:
    """A message that counts: ``one`` when ``n`` is 1, else ``many``; both may use ``{n}``."""
    return Words(one, cast("Mapping[str, Value]", {"n": n, **args}), many)


def _as_value(value: object) -> Value:
    if isinstance(value, datetime):
        return When(value)
    if isinstance(value, date):
        return Day(value)
    if isinstance(value, timedelta):
        return Duration(value.total_seconds())
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return Names(tuple(value) if isinstance(value, list | tuple) else tuple(sorted(value)))
    return cast("Value", value)


def join(messages: Iterable[Message], between: str = " ") -> Message:
    """Messages one after the other, without the empty ones; plain text when all are."""
    given = [each for each in messages if each != ""]
    if all(isinstance(each, str) for each in given):
        return between.join(str(each) for each in given)
    if len(given) == 1:
        return given[0]
    names = {f"m{index}": each for index, each in enumerate(given)}
    return Words(between.join(f"{{{name}}}" for name in names), names)


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of a template: text, a mark (``*``, ``_`` or a backtick), or the name of a hole."""

    text: str
    mark: bool = False
    hole: bool = False


def tokens(template: str, names: Iterable[str]) -> Iterator[Token]:
    """A template in stretches.

    Inside code only a backtick is a mark; an unknown name is text as it is written.
    """
    known = frozenset(names)
    in_code = False
    end = 0
    for found in _TOKENS.finditer(template):
        mark, hole = found["mark"], found["hole"]
        if (mark and mark != "`" and in_code) or (hole and hole not in known):
            continue
        if found.start() > end:
            yield Token(template[end : found.start()])
        end = found.end()
        in_code ^= mark == "`"
        yield Token(mark or hole, mark=bool(mark), hole=bool(hole))
    if end < len(template):
        yield Token(template[end:])


def fill(template: str, args: Mapping[str, Value]) -> str:
    """A template in plain characters: without emphasis; what is code keeps its backticks."""
    said = []
    in_code = False
    for token in tokens(template, args):
        in_code ^= token.mark and token.text == "`"
        if token.hole:
            value = args[token.text]
            said.append(value.command if in_code and isinstance(value, Code) else english_of(value))
        elif token.text == "`" or not token.mark:
            said.append(token.text)
    return "".join(said)


def english_of(value: Value) -> str:
    """A value in English."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
