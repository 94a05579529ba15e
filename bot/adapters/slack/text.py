"""Words to Slack's markup and back.

What is dynamic stays inert, what people send is undone to what they meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.domain.message import (
    Code,
    Message,
    Names,
    Person,
    Ref,
    Value,
    When,
    Words,
    english_of,
    tokens,
)
from bot.domain.words import seemly

# Slack's markup has no escape character. A word of a value in which a mark could format something
# is shown as code, where nothing does, and so is copied as it is. In code only a backtick could; it
# becomes a character that looks like it where no plain text object can stand (``needs_plain``).
# ``command_text`` turns that back, and what version 0.1 had put for the other marks.
_BACKTICK = "ˋ"
_BACK = str.maketrans({"∗": "*", "∼": "~", _BACKTICK: "`", "ˍ": "_", "꞉": ":", "˃": ">"})
_MARKS = re.compile(
    r"[*~`]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word formats nothing: web_1 stays web_1
    r"|:(?=(?P<emoji>[^\s:]{1,100}):)"  # :fire: is a picture, 10:00:00 is not
    r"|^[^\S\n]*[>＞]",  # a quotation begins a line
    re.MULTILINE,
)
_WORD = re.compile(r"\S+")
_NUMBERS = ("100", "1234")  # the only emoji without a letter
_CODE = "`"
_LINKED = re.compile(r"https?://[^\s<>|&]{1,500}")  # an address that could end no link
_USER = re.compile(r"[UW][A-Z0-9]{2,}")
_UNFINISHED = re.compile(r"(&[a-z]{0,4}|<[^<>]*)$")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a line: a mark of the template, its own text, or a value (``dynamic``)."""

    value: Value
    mark: bool = False
    dynamic: bool = False
    bold: bool = False
    italic: bool = False
    code: bool = False


def parts(line: Message) -> Iterator[Part]:
    """A message in stretches of one style; marks are parts of their own.

    What is not translated yet is English.
    """
    yield from _parts(line, frozenset())


def _parts(line: Message, around: frozenset[str]) -> Iterator[Part]:
    """``around``: the marks that are on where a message stands inside another.

    It does not turn them off.
    """
    if isinstance(line, str):
        yield Part(line, dynamic=True, **_style(around))
        return
    on = around
    for token in tokens(line.english, line.args):
        if token.mark:
            if token.text not in around and (_CODE not in around):
                on = on ^ {token.text}
                yield Part(token.text, mark=True)
        elif token.hole:
            yield from _value_parts(line.args[token.text], on)
        else:
            yield Part(token.text, **_style(on))


def _value_parts(value: Value, on: frozenset[str]) -> Iterator[Part]:
    if isinstance(value, Names):
        value = value.line
    if isinstance(value, Words):
        yield from _parts(value, on)
    elif isinstance(value, Code) and _CODE not in on:
        yield Part(_CODE, mark=True)
        yield Part(value.command, dynamic=True, **_style(on | {_CODE}))
        yield Part(_CODE, mark=True)
    else:
        yield Part(value.command if isinstance(value, Code) else value, dynamic=True, **_style(on))


def _style(on: frozenset[str]) -> dict[str, bool]:
    return {"bold": "*" in on, "italic": "_" in on, "code": _CODE in on}


def mrkdwn(line: Message) -> str:
    """A line in Slack's markup; every value in it is inert."""
    return "".join(_mark_up(part) for part in parts(line))


def plain(line: Message) -> str:
    """A line without markup, for places that show characters as they are (tables, headers.

    Options).
    """
    return "".join(value_text(part.value) for part in parts(line) if not part.mark)


def _mark_up(part: Part) -> str:
    value = part.value
    if part.mark:
        return str(value)
    if not part.dynamic:
        return escape(seemly(str(value)))
    if part.code:
        return in_code(value_text(value))
    return _special(value) or literal(value_text(value))


def _special(value: Value) -> str:
    """A moment, a link or a mention in Slack's own markup; '' for what is only text."""
    if isinstance(value, When):
        at = value.utc
        return f"<!date^{int(at.timestamp())}^{date_format(value)}|{at.isoformat()}>"
    if isinstance(value, Ref) and is_link(value.url):
        return f"<{value.url}|{literal(value.id)}>"
    if isinstance(value, Person) and _USER.fullmatch(value.id):
        return f"<@{value.id}>"
    return ""


def date_format(at: When) -> str:
    """How Slack shows a moment: today and yesterday by name, in the reader's own zone."""
    date = "date_long_pretty" if at.weekday else "date_short_pretty"
    return f"{{{date}}} {{time}}"


def value_text(value: Value) -> str:
    """A value in plain characters."""
    return seemly(english_of(value))


def escape(text: str) -> str:
    """The three characters that Slack wants escaped.

    See https://docs.slack.dev/messaging/formatting-message-text
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def literal(text: str) -> str:
    """Text that Slack shows as it is: no mention, no link, no emphasis, no emoji, no quotation.

    A word with a mark is code.
    """
    text = seemly(text)
    marks = {found.end() - 1 for found in _MARKS.finditer(text) if _acts(found)}

    def as_text(word: re.Match[str]) -> str:
        if marks.isdisjoint(range(word.start(), word.end())):
            return escape(word[0])
        return f"{_CODE}{in_code(word[0])}{_CODE}"

    return _WORD.sub(as_text, text) if marks else escape(text)


def _acts(found: re.Match[str]) -> bool:
    """Whether a mark could format something: a number between colons is a time."""
    name = found["emoji"]
    return not (name and name.isdigit() and name not in _NUMBERS)


def in_code(text: str) -> str:
    """Text for between backticks, where only a backtick or a new line could end it."""
    return escape(seemly(text).replace("`", _BACKTICK).replace("\n", " "))


def in_listing(text: str) -> str:
    """A line for between three backticks, where only three of them could end it."""
    return escape(seemly(text).replace("```", f"``{_BACKTICK}").replace("\n", " "))


def needs_plain(line: Message) -> bool:
    """Whether a value holds a backtick, which markup cannot show as it is."""
    return any(
        _CODE in value_text(part.value) for part in parts(line) if part.dynamic and not part.mark
    )


def cut_listed(text: str, limit: int) -> str:
    """A line of a listing, in which a backtick is none of markup, cut as by ``cut``."""
    return text if len(text) <= limit else _UNFINISHED.sub("", text[: limit - 1]).rstrip() + "…"


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, ending in ``…`` when something is missing.

    No entity, mention or code is halved.
    """
    if len(text) <= limit:
        return text
    return _whole_code(_UNFINISHED.sub("", text[: limit - 1])).rstrip() + "…"


def _whole_code(text: str) -> str:
    """Text without a code at its end that is not closed."""
    return text[: text.rfind(_CODE)] if text.count(_CODE) % 2 else text


def pieces(text: str, limit: int) -> list[str]:
    """Text in pieces of at most ``limit`` characters, broken at lines, else at words.

    Never inside a mention.
    """
    found = []
    while len(text) > limit:
        at = _break(text[:limit])
        found.append(text[:at])
        text = text[at:].lstrip("\n")
    return [*found, text] if text or not found else found


def _break(window: str) -> int:
    half = len(window) // 2
    whole = _UNFINISHED.sub("", window)
    line, word = whole.rfind("\n"), whole.rfind(" ")
    best = line if line > half else word if word > half else len(whole)
    return len(_whole_code(_UNFINISHED.sub("", whole[:best]))) or len(window)


_NAMED = re.compile(r"<@([UW][A-Z0-9]+)\|[^>]*>")
_LINK = re.compile(
    r"<(?:https?://|mailto:)[^|>]*\|([^>]*)>|<((?:https?://|mailto:)[^|>]*)>|<#[A-Z0-9]+\|([^>]*)>"
)


def command_text(text: str, bot_user: str = "") -> str:
    """What a person meant: mention of the bot gone, links back to their words.

    Entities and look-alikes undone.

    Of other people's mentions only the id is left, for a name may hold anything.
    Slack's clients turn ``web-1.example.org`` into ``<http://web-1.example.org|web-1.example.org>``
    by themselves.
    """
    if bot_user:
        text = re.sub(rf"<@{re.escape(bot_user)}(\|[^>]*)?>", "", text)
    text = _NAMED.sub(r"<@\1>", text)
    text = _LINK.sub(
        lambda link: link[1] or (link[2] or "").removeprefix("mailto:") or link[3] or "", text
    )
    return seemly(_unescape(text)).translate(_BACK).strip()


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def is_link(text: str) -> bool:
    """Whether this can stand in a link as it is."""
    return bool(_LINKED.fullmatch(text))


def is_user(text: str) -> bool:
    """Whether this looks like a Slack user id."""
    return bool(_USER.fullmatch(text))
