"""In a made-up language, whose every template has other letters, no English is left in what people see.

Letters outside of code become full-width ones, so plain Latin letters are what no translation
reaches: a sentence that is no message, or an English word that fills a hole. Names, ids, units and
commands are Latin in every language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from babel.support import Translations

from bot.adapters.language import Languages, Translated
from bot.adapters.translated_chat import TranslatedChat
from bot.domain.card import Button, Card, Form
from bot.domain.message import Words
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from tests.bot.flow.small_bot import Bot, small_bot

PLUGINS = ("migrate", "host_check", "balance", "monitor", "vm_lifecycle")
WIDE = {code: code - ord("a") + ord("ａ") for code in range(ord("a"), ord("z") + 1)} | {
    code: code - ord("A") + ord("Ａ") for code in range(ord("A"), ord("Z") + 1)
}
KEPT = re.compile(r"(\{\w+\}|`[^`]*`)")
CODE = re.compile(r"`[^`]*`")
LATIN = re.compile(r"[A-Za-z][A-Za-z’'-]*")
SAME_EVERYWHERE = re.compile(
    # Names, units, acronyms, files; “ou” and “e” join the lists of this Portuguese locale
    r"(?<![A-Za-z])(?:(?:web|db|app|off)-\d|host-[a-z]|op-\d+|U[A-Z]{3,}|C(?:OPS|APPROVALS)"
    r"|[KMGT]iB(?:/s)?|[KMGT]?B(?:/s)?|UTC|ms|min|vCPUs?|[smhd]|env=prod|[0-9a-f]{6,}"
    r"|/kvm(?: [a-z-]+)*|vd[a-z]|br0|[A-Z]{2,}|VMs|approver|engineer|apparmor|[a-z]+\.conf|libvirtd|virt[a-z]+d|careful|ou|e|libvirt|default)(?![A-Za-z])"
)
NEVER_SHOWN = frozenset({"action", "value", "style", "kind", "name", "source", "hidden", "initial"})


class Pseudo(Translations):
    """Other letters for every template; holes and code stay."""

    def gettext(self, message: str) -> str:
        parts = KEPT.split(message)
        return "".join(
            part if index % 2 else part.translate(WIDE) for index, part in enumerate(parts)
        )

    def ngettext(self, msgid1: str, msgid2: str, num: int) -> str:
        return self.gettext(msgid1 if num == 1 else msgid2)


class PseudoLanguages(Languages):
    """One language for everybody."""

    def of(self, locale: str) -> Translated:
        return Translated(Locale.parse("pt_BR"), Pseudo())


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, plugins=PLUGINS)
    chat = TranslatedChat(made.chat, PseudoLanguages())
    loaded = made.services.catalog
    messages = OperationMessages(
        made.store, chat, partial(operation_cards.operation_card, pickable=loaded.pickable)
    )
    made.services = replace(made.services, chat=chat, messages=messages)
    yield made
    made.store.close()


def texts(shown: Any) -> Iterator[str]:
    """Whatever of a card or dialog is read."""
    if isinstance(shown, Enum):
        return
    if isinstance(shown, str | Words):
        yield str(shown)
    elif isinstance(shown, tuple | list):
        for each in shown:
            yield from texts(each)
    elif is_dataclass(shown) and not isinstance(shown, type):
        skipped = NEVER_SHOWN | ({"name"} if isinstance(shown, Button) else frozenset())
        for each in fields(shown):
            if each.name not in skipped:
                yield from texts(getattr(shown, each.name))


def command_names(bot: Bot) -> frozenset[str]:
    """The words of commands, which are English everywhere and listed by some answers."""
    return frozenset(word for name in bot.services.catalog.commands for word in name.split())


def english(cards: Iterable[Card | Form]) -> list[str]:
    """What is left in Latin letters, with the text around it."""
    found = []
    for card in cards:
        for text in texts(card):
            rest = SAME_EVERYWHERE.sub(" ", CODE.sub(" ", text))
            found += [f"{word[0]}: {text}" for word in LATIN.finditer(rest)]
    return found


def everything(bot: Bot) -> list[Card | Form]:
    """All that anybody was shown."""
    chat = bot.chat
    return [
        *chat.messages.values(),
        *(card for _, card in chat.edits),
        *(each.card for each in chat.whispers),
        *chat.forms.values(),
        *chat.homes.values(),
    ]


def migrates(bot: Bot) -> None:
    """The main job: typed, voted on by the wrong and the right people, done."""
    bot.types("migrate web-1 to host-b")
    bot.clicks("op.approve", bot.value(), "UANA")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.clicks("op.approve", bot.value(), "UCARLA")
    bot.works()
    assert bot.where("web-1") == ["host-b"]


def denies(bot: Bot) -> None:
    """A proposal that is refused, one that is withdrawn, one that expires."""
    bot.types("migrate web-1 to host-b")
    bot.clicks("op.deny", bot.value(), "UBRUNO")
    bot.answers("op.deny", bot.value(), "UBRUNO", reason="-")
    bot.types("migrate db-1 to host-b")
    bot.clicks("op.withdraw", bot.value(2), "UANA")


def asks(line: str, by: str = "UANA") -> Callable[[Bot], None]:
    def asked(bot: Bot) -> None:
        bot.types(line, by)

    asked.__name__ = line if by == "UANA" else f"{line} by {by}"
    return asked


LINES = (
    "hosts", "vms", "ops", "approvals", "audit", "policy migrate", "help", "help migrate", "why web-1", "where web-1",
    "migrate", "migrate web1", "migrat web-1", "migrate web-1 to host-a", "migrate web-1 to host-z", "vm",
    "host check host-a", "host pair --all", "host drain host-a", "balance", "balance why web-1",
    "status", "top", "alerts", "fits", "forecast", "vm show web-1", "vm pause web-1", "vm start web-1", "vm delete web-1",
    "vm snapshot list web-1", "vm resize web-1 --memory 8GiB",
    "help balance", "help vm create", "help vm resize", "host", "me", "host undrain host-a",
)  # fmt: skip
PLAYS = (migrates, denies, *map(asks, LINES), asks("migrate web-1", "UGIL"))
NAMES_COMMANDS = frozenset(
    {
        "help",
        "help migrate",
        "vm",
        "host",
        "help balance",
        "help vm create",
        "help vm resize",
        "migrat web-1",
        "policy migrate",
    }
)
STILL_ENGLISH: frozenset[str] = frozenset()
"""Plays that still show some English. One that shows none leaves this list and stays out."""


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_no_english_is_left(bot: Bot, play: Callable[[Bot], None]) -> None:
    play(bot)
    shown = everything(bot)
    known = set(play.__name__.replace("1", "").split())  # what was typed
    if play.__name__ in NAMES_COMMANDS:
        known |= command_names(bot)
    found = [each for each in english(shown) if each.split(": ")[0] not in known]
    if play.__name__ in STILL_ENGLISH:
        assert found, f"“{play.__name__}” shows no English: take it from STILL_ENGLISH"
    else:
        assert any("ａ" in text for card in shown for text in texts(card))
        assert not found, "\n".join(dict.fromkeys(found))
