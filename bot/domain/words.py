"""Words in and out.

Cleaning what clients send, names as they are meant, sizes and durations in English.
"""

from __future__ import annotations

import itertools
import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Protocol

# What Slack's and phones' autocorrection makes of plain ASCII, and other scripts' quotes and
# blanks.
_AUTOCORRECTED = str.maketrans({
    **dict.fromkeys("“”„‟«»", '"'),
    **dict.fromkeys("‘’‚‛‹›", "'"),
    **dict.fromkeys("\u00a0\u202f\u2007\u3000", " "),
})  # fmt: skip
_DASHES = re.compile(r"(?:(?<=\s)|^)(?:—|––|–)(?=\w)")
_CLOSING = {"“": "”", "”": "”", "„": "“”", "«": "»", "»": "«", '"': '"'}
"""Double quotes by what opens them.

A straight one may have been made curly, and the other way round.
"""
_SINGLE = {"‘": "’'", "’": "’'", "‚": "‘’'", "‹": "›", "›": "‹"}
"""Single ones; most of them are apostrophes as well, so they close at the end of a word alone."""
NOTHING_ESCAPED, NOT_CLOSED = "nothing escaped", "not closed"
"""What is wrong with a line: no character follows a backslash; a quote is not closed."""
_MARKS = ("`", "*", "_", "~")
INVISIBLE = (
    "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"  # letters that only programs read
)
"""As in a class of a pattern: what cannot be seen, and changes what is seen or where a line ends.

With it a name looks like another, or reads as another. What joins letters and pictures (U+200C,
U+200D) is not among it.
"""
_NEVER = f"\x00-\x08\x0b\x0c\x0e-\x1f{INVISIBLE}\ud800-\udfff\ufffe\uffff"
_READ_OTHERWISE = re.compile(r"\s*\+?[0-9]+|[0-9A-Fa-f-]{36}")
_UNSEEMLY = re.compile(f"[\x00-\x08\x0b-\x1f\ud800-\udfff{INVISIBLE}]")
_UNFIT, _UNFIT_LINES = re.compile(f"[\t\n\r{_NEVER}]"), re.compile(f"[{_NEVER}]")


def straighten(text: str) -> str:
    """``text`` with autocorrected quotes, spaces and dashes turned back.

    ``—force`` is ``--force``.
    """
    return _DASHES.sub("--", text.translate(_AUTOCORRECTED)).strip()


def split_words(text: str) -> list[str]:
    """The words of a command line, as a POSIX shell splits them.

    Typed with straight or with curly quotes.

    What stands in quotes is kept to the letter, so a line made by ``shlex.join`` gives back exactly
    what it was made of. Outside of quotes an autocorrected dash before an option is turned back,
    any Unicode blank parts words, an apostrophe within a word is a letter, and code marks around a
    word are left out.

    Raises:
        ValueError: with ``NOT_CLOSED`` or ``NOTHING_ESCAPED``.
    """
    return list(_Splitter(_without_code(text)))


def _without_code(text: str) -> str:
    """A line that stands in code marks as a whole, without them."""
    whole = text.strip()
    inner = whole.strip("`")
    marked = whole != inner and whole.startswith("`") and whole.endswith("`") and "`" not in inner
    return inner.strip() if marked else text


class _Splitter:
    """Takes a line apart, word by word."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def __iter__(self) -> Iterator[str]:
        while True:
            while self._char().isspace():
                self._at += 1
            if not self._char():
                return
            yield self._word()

    def _char(self) -> str:
        return self._text[self._at : self._at + 1]

    def _word(self) -> str:
        dash = _DASHES.match(self._text[self._at :])
        made = "--" if dash else ""
        self._at += dash.end() if dash else 0
        start, first = self._at, not dash
        while (char := self._char()) and not char.isspace():
            opens = first or self._text[self._at - 1] == "="
            part = self._in_quotes(char, opens=opens)
            made += char if part is None else part
            self._at += part is None
            first = False
        return made if self._at > start or dash else ""

    def _in_quotes(self, char: str, *, opens: bool) -> str | None:
        """What a quote, a code mark or a backslash here stands for; None for a plain letter.

        Moves behind it.
        """
        if char == "\\":
            return self._escape()
        if char in {'"', "'"}:
            return self._straight(char)
        if opens and char == "`":
            return self._code()
        if opens and char in _CLOSING:
            return self._until(_CLOSING[char], otherwise='"“”')
        return self._single(char) if opens and char in _SINGLE else None

    def _escape(self) -> str:
        if self._at + 1 >= len(self._text):
            raise ValueError(NOTHING_ESCAPED)
        self._at += 2
        return self._text[self._at - 1]

    def _straight(self, char: str) -> str:
        if char == "'":
            return self._until("'", otherwise="’‘")
        end, made = self._at + 1, ""
        while end < len(self._text) and self._text[end] != '"':
            if self._text[end] == "\\" and self._text[end + 1 : end + 2] in {'"', "\\"}:
                end += 1
            made += self._text[end]
            end += 1
        if end >= len(self._text):
            return self._until("”“", otherwise="")
        self._at = end + 1
        return made

    def _until(self, closers: str, otherwise: str) -> str:
        """What stands before the next closing quote.

        Of ``otherwise`` only when none of ``closers`` follows.
        """
        for wanted in (closers, otherwise):
            for end in range(self._at + 1, len(self._text)):
                if self._text[end] in wanted:
                    part, self._at = self._text[self._at + 1 : end], end + 1
                    return part
        raise ValueError(NOT_CLOSED)

    def _single(self, char: str) -> str | None:
        """A quotation in single curly quotes; None for an apostrophe that nothing closes."""
        for end in range(self._at + 1, len(self._text)):
            if (
                self._text[end] in _SINGLE[char]
                and (self._text[end + 1 : end + 2] or " ").isspace()
            ):
                part, self._at = self._text[self._at + 1 : end], end + 1
                return part
        return None

    def _code(self) -> str | None:
        rest = self._text[self._at :]
        marks = len(rest) - len(rest.lstrip("`"))
        found = re.compile(rf"`{{{marks}}}([^`]+)`{{{marks}}}(?=\s|$)").match(rest)
        if found is None:
            return None
        self._at += found.end()
        return found[1].strip()


def names_for(typed: str, known: Iterable[str]) -> list[str]:
    """The names that ``typed`` means, each once: itself; else those that read the same.

    Else those alike but for autocorrection; else without marks.

    Marks are what makes a word bold, slanted or code in chat: ``*web-1*``.
    """
    names = dict.fromkeys(known)
    if typed in names:
        return [typed]
    if alike := [name for name in names if reads_alike(name, typed)]:
        return alike
    for wanted in (typed, _without_marks(typed)):
        plain = straighten(nfc(wanted))
        if alike := [name for name in names if straighten(nfc(name)) == plain]:
            return alike
    return []


def nfc(text: str) -> str:
    """A text with each letter and its accents as one code point, where there is one (NFC).

    Chat sends names so; a file or a person's program may have made them otherwise.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def reads_alike(one: str, other: str) -> bool:
    """Whether two texts are the same, however their accents are encoded."""
    return one == other or nfc(one) == nfc(other)


def _without_marks(word: str) -> str:
    while len(word) > 2 and word[0] in _MARKS and word[-1] == word[0]:
        word = word[1:-1]
    return word


def command(template: str, *names: str) -> str:
    """Write a command for people to type, in a shell or in chat.

    No name in it means anything but itself.

    Each ``{}`` of ``template`` is one of ``names``, quoted: ``command("virsh dumpxml {}",
    virsh_name(vm))``. An option with a value is written ``--reason={}``. Where a name begins with
    a dash,
    options come first and ``--`` before the names.
    """
    rest = iter(names)
    written = [
        (word, word.format(next(rest)) if "{}" in word else word) for word in template.split()
    ]
    if any(word.startswith("{}") and text.startswith("-") for word, text in written):
        verb = list(
            itertools.takewhile(
                lambda each: "{}" not in each[0] and not each[0].startswith("-"), written
            )
        )
        options = [each for each in written if each[0].startswith("-")]
        values = [each for each in written[len(verb) :] if each not in options]
        written = [*verb, *options, ("--", "--"), *values]
    return " ".join(shlex.quote(text) for _, text in written)


class Known(Protocol):
    """A VM, or a step for one."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uuid(self) -> str:
        """Its UUID."""


def virsh_name(vm: Known) -> str:
    """Return what virsh takes for this VM alone: its name, or else its UUID.

    virsh reads a number as the id of a VM that runs, and 36 characters as a UUID, before it looks
    for a name.
    """
    return vm.uuid if reads_as_id(vm.name) else vm.name


def reads_as_id(name: str) -> bool:
    """Tell whether virsh takes a VM's name for the id or the UUID of another one."""
    return _READ_OTHERWISE.fullmatch(name) is not None


def bytes_text(count: float) -> str:
    """A size for people, powers of 1024: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def duration_text(seconds: float) -> str:
    """A duration for people: ``280 ms``, ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    steps = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (big, big_name), (small, small_name) in itertools.pairwise(steps):
        if whole >= big:
            rest = whole % big // small
            return f"{whole // big} {big_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def version_text(number: int) -> str:
    """A version as libvirt counts it, major · 10⁶ + minor · 10³ + micro: ``9.0.0``."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def is_older(version: int, least: int) -> bool:
    """Whether a version is known to be below ``least``; one that could not be read (0) is not."""
    return 0 < version < least


def seemly(text: str) -> str:
    """Text with � for control characters, lone surrogates (no UTF-8), and what cannot be seen."""
    return _UNSEEMLY.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def unfit(text: str, *, lines: bool = False) -> str:
    """The first character of ``text`` that no name, tag or note can hold, such as ``U+FFFE``.

    '' when all fit.

    Those that XML cannot hold (control characters, lone surrogates, non-characters), and those of
    ``INVISIBLE``, which would show another text than is stored. ``lines``: line ends and tabs fit.
    """
    match = (_UNFIT_LINES if lines else _UNFIT).search(text)
    return f"U+{ord(match[0]):04X}" if match else ""


_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"-[0-9][0-9.,]*(?: ?[A-Za-z%/]+)?")


def inert_cell(text: str) -> str:
    """A cell of CSV that no spreadsheet computes: what begins as a formula begins with ``'``.

    A number below zero stays one, with its unit.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plural(count: int, one: str, many: str = "") -> str:
    """``1 VM``, ``3 VMs``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
