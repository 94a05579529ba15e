"""Messages in people's languages.

The one place that translates a template and writes numbers, moments and lists.

The translations are ``.po`` files beside the code that says the sentences:
``<package>/locale/<locale>/LC_MESSAGES/ messages.po``. They are read when the first message in a
language is shown. English needs none: it is what the templates say. Units are the symbols of SI and
IEC, the same in every language; Babel writes the numbers.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast

import structlog
from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.dates import format_date, format_datetime
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal
from babel.support import Translations

from bot.adapters.typed_commands import SLASH, Retype, Typing, at_terminal, with_slash
from bot.domain.card import Card, Form
from bot.domain.errors import SettingsError
from bot.domain.message import (
    Day,
    Duration,
    Join,
    Message,
    Names,
    Number,
    Percent,
    Rate,
    Size,
    Value,
    When,
    Words,
    english_of,
    words,
)
from bot.domain.said_parts import change_parts

log = structlog.get_logger()

SOURCE = "en"
"""The language of the templates."""
FILE = Path("LC_MESSAGES") / "messages.po"
OWN = Path(__file__).parent.parent / "locale"
"""The translations of the bot's own sentences."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_JOINS: Mapping[Join, Literal["standard", "or"]] = {Join.AND: "standard", Join.OR: "or"}

T = TypeVar("T", Card, Form, Message)


class Language(Protocol):
    """Shows what the bot says in one language."""

    @property
    def locale(self) -> str:
        """Its name, such as ``pt_BR``."""
        ...

    def translate(self, said: T) -> T:
        """A card, a form or a message as its readers are to see it.

        A plain ``str`` stays as it is.
        """
        ...


class English:
    """The source language: nothing is to be done."""

    locale = SOURCE

    def translate(self, said: T) -> T:
        """The same: what fills a template writes itself in English."""
        return said


class Translated:
    """A language with translations.

    Args:
        locale: Babel's.
        catalog: the translations of all packages.
    """

    def __init__(self, locale: Locale, catalog: Translations) -> None:
        self._locale = locale
        self._catalog = catalog

    @property
    def locale(self) -> str:
        """Its name, such as ``pt_BR``."""
        return str(self._locale)

    def translate(self, said: T) -> T:
        """A card, a form or a message as its readers are to see it."""
        return cast("T", self._translate(said))

    def _translate(self, said: object) -> object:
        if isinstance(said, Words):
            return self._words(said)
        return change_parts(said, self._translate)

    def _words(self, said: Words) -> Words:
        return Words(
            self._template(said), {name: self._value(each) for name, each in said.args.items()}
        )

    def _template(self, said: Words) -> str:
        if not said.template:
            return ""
        if not said.many:
            return self._catalog.gettext(said.template)
        count = said.args.get("n", 0)
        whole = int(count) if isinstance(count, int | float) and count == int(count) else 2
        return self._catalog.ngettext(said.template, said.many, whole)

    def _value(self, value: Value) -> Value:
        if isinstance(value, Words):
            return self._words(value)
        if isinstance(value, Names):
            return self._list(value)
        if isinstance(value, When):
            text = format_datetime(value.utc, "short", locale=self._locale)
            day = format_date(value.utc, "EEE ", locale=self._locale) if value.weekday else ""
            return dataclasses.replace(value, written=f"{day}{text} UTC")
        return (
            format_date(value.day, "short", locale=self._locale)
            if isinstance(value, Day)
            else self._number_text(value)
        )

    def _number_text(self, value: Value) -> Value:
        with_a_unit = isinstance(value, Size | Rate | Duration | Percent | Number | float)
        return _NUMBER.sub(self._number, english_of(value)) if with_a_unit else value

    def _number(self, found: re.Match[str]) -> str:
        digits = len(found[0].partition(".")[2])
        pattern = f"0.{'0' * digits}" if digits else "0"
        return format_decimal(Decimal(found[0]), format=pattern, locale=self._locale)

    def _list(self, names: Names) -> Words:
        members = [*names.members, *([names.more] if names.rest else [])]
        args = {f"i{index}": self._value(each) for index, each in enumerate(members)}
        holes = [f"{{{name}}}" for name in args]
        style = _JOINS.get(Join.AND if names.rest else names.join)
        return Words(
            format_list(holes, style=style, locale=self._locale) if style else ", ".join(holes),
            args,
        )


class Retyped:
    """A language whose commands stand as the reader types them."""

    def __init__(self, language: Language, slash: str, typing: Typing) -> None:
        self._language = language
        self._slash, self._typing = slash, typing

    @property
    def locale(self) -> str:
        """That of the language."""
        return self._language.locale

    def translate(self, said: T) -> T:
        """A card, a form or a message as its readers are to see it."""
        return Retype[T](self._slash, self._typing)(self._language.translate(said))


class Languages:
    """The languages that messages can be shown in.

    Args:
        default: the locale of channels, and of people whose own is not known or has no translation.
        folders: where translations are looked for, ``locale`` folders; those of the bot itself are
            always among them.
        slash: the slash command of the chat.

    Raises:
        SettingsError: ``default`` has no translation.
    """

    def __init__(
        self, default: str = SOURCE, folders: Iterable[Path] = (), slash: str = SLASH
    ) -> None:
        self._folders = (OWN, *folders)
        self._slash = slash
        found = {
            each.parent.parent.name for folder in self._folders for each in folder.glob(f"*/{FILE}")
        }
        self.available = (SOURCE, *sorted(found - {SOURCE}))
        self._made: dict[str, Language] = {SOURCE: English()}
        # Two threads may want the first message of a language at the same moment
        self._lock = threading.Lock()
        nearest = self._nearest(default)
        if nearest is None:
            raise SettingsError(
                words("There is no translation for the locale “{locale}”.", locale=default),
                words("Set `locale` to one of: {names}.", names=self.available),
            )
        self._default = nearest

    @property
    def default(self) -> Language:
        """The language of channels."""
        return self.of("")

    def of(self, locale: str) -> Language:
        """The language nearest to a locale such as ``pt-BR``.

        The default where there is none, or it is ''.
        """
        found = self._language(locale)
        return found if self._slash == SLASH else self._retype(found, with_slash(self._slash))

    def at_terminal(self, locale: str) -> Language:
        """The same for a terminal that reaches the bot, where `drover do` takes commands."""
        return self._retype(self._language(locale), at_terminal)

    def _retype(self, language: Language, typing: Typing) -> Language:
        return Retyped(language, self._slash, typing)

    def _language(self, locale: str) -> Language:
        name = self._nearest(locale) or self._default if locale else self._default
        with self._lock:
            if name not in self._made:
                self._made[name] = Translated(Locale.parse(name), self._read(name))
            return self._made[name]

    def of_terminal(self) -> Language:
        """The language of the environment: ``LC_ALL``, ``LC_MESSAGES`` or ``LANG``."""
        # Not babel's `default_locale`: it reads LC_CTYPE first, which Python itself sets to C.UTF-8
        # where the system does not have the language that LANG names.
        given = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
        locale = re.split(r"[.@]", next(filter(None, given), ""), maxsplit=1)[0]
        return self._made[SOURCE] if locale in {"", "C", "POSIX"} else self.of(locale)

    def _nearest(self, locale: str) -> str | None:
        """The same language and country, else the same language."""
        wanted = locale.replace("-", "_")
        exact = negotiate_locale([wanted], self.available)
        language = wanted.partition("_")[0]
        return exact or next(
            (each for each in self.available if each.partition("_")[0] == language), None
        )

    def _read(self, name: str) -> Translations:
        files = (folder / name / FILE for folder in self._folders)
        read = [
            found
            for file in files
            if file.is_file() and (found := read_catalog(file, name)) is not None
        ]
        # The first one's plural rule is that of the language
        made = read[0] if read else Translations()
        for each in read[1:]:
            made.merge(each)
        return made


def read_catalog(file: Path, locale: str) -> Translations | None:
    """One ``.po`` file, ready for use.

    One that cannot be read is logged and leaves its sentences in English: None.
    """
    compiled = io.BytesIO()
    try:
        with file.open("rb") as opened:
            write_mo(compiled, read_po(opened, locale=locale, abort_invalid=True))
    except (OSError, PoFileError, UnknownLocaleError, ValueError) as error:
        # Expected kind
        log.error("translation not read", file=str(file), error=str(error))  # noqa: TRY400
        return None
    compiled.seek(0)
    return Translations(compiled)
