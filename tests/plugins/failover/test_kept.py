"""`vm definition`: the newest version, what changed in it, and what cannot be found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot import catalog
from bot.domain.card import Card, Listing, Section
from bot.domain.cluster import GIB, VmState
from bot.domain.definition import Definition, sha_of
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.flow.commands.parse import parse
from bot.plugin_api import Query
from plugins.failover import kept

AT = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


class Kept:
    """The part of the history that `vm definition` asks."""

    def __init__(self, *versions: Definition) -> None:
        self.versions = versions

    def definitions(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]:
        assert not host
        if uuid:
            return tuple(each for each in self.versions if each.uuid == uuid)
        newest = {each.uuid: each for each in reversed(self.versions)}
        return tuple(newest.values())


def definition(xml: str, uuid: str = "u-1", host: str = "host-a", age: int = 0) -> Definition:
    at = AT - timedelta(hours=age)
    return Definition(uuid, "web-1", host, xml, sha_of(xml), at, AT, VmState.RUNNING, 1, GIB)


def shown(line: str, *versions: Definition) -> Card:
    found = parse(catalog.load(("failover",)), "/kvm", line)
    assert isinstance(found.command, Query)
    return kept.answer(found.intent, _View(Kept(*versions)))  # type: ignore[arg-type]


class _View:
    def __init__(self, history: Kept) -> None:
        self.history = history


def listing(card: Card) -> str:
    return next(str(each.text) for each in card.elements if isinstance(each, Listing))


def test_the_newest_version_is_shown() -> None:
    card = shown("vm definition web-1", definition("<new/>"), definition("<old/>", age=2))
    assert listing(card) == "<new/>"
    assert str(card.text) == "The definition of web-1, unchanged since 2026-11-26 03:00 UTC."


def test_the_last_change_is_shown_as_a_diff() -> None:
    card = shown(
        "vm definition web-1 --diff",
        definition("<a>\n<new/>\n</a>"),
        definition("<a>\n<old/>\n</a>", age=2),
    )
    assert listing(card).splitlines()[3:] == [" <a>", "-<old/>", "+<new/>", " </a>"]
    card = shown("vm definition web-1 --diff", definition("<new/>"))
    assert str(card.text) == "The definition of web-1 has not changed since Drover keeps it."


def test_what_is_not_kept_or_not_clear_is_told() -> None:
    with pytest.raises(UnknownNameError, match="keeps no definition of “web-2”"):
        shown("vm definition web-2", definition("<new/>"))
    with pytest.raises(AmbiguousNameError, match="2 VMs are called “web-1”"):
        shown("vm definition web-1", definition("<a/>"), definition("<b/>", "u-2"))
    removed = replace(definition("<b/>", "u-2"), host="")
    assert listing(shown("vm definition web-1", removed, definition("<a/>"))) == "<a/>"


def test_a_change_of_which_all_is_hidden_is_told() -> None:
    line = "<a>\n<qemu:arg value='secret,id=s,data={}'/>\n</a>"
    card = shown(
        "vm definition web-1 --diff",
        definition(line.format("HUNTER2")),
        definition(line.format("HUNTER1"), age=2),
    )
    said = [str(each.line) for each in card.elements if isinstance(each, Section)]
    assert said[-1] == "Only what is hidden here has changed."
    card = shown("vm definition web-1", definition(line.format("HUNTER2")))
    assert "HUNTER" not in listing(card)
