"""Pure: small parts of messages, reserved tags, and texts that no definition can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import Code, Join, Message, Names, When, Words, join, words
from bot.domain.owner import tag_text
from bot.domain.placement import pin_names
from bot.domain.plan import Objection
from bot.domain.suggest import nearest
from bot.domain.units import moment_of
from bot.domain.words import command, unfit

EXPIRES, TTL = "expires", "ttl"
"""Tags of a VM's end: the moment, ISO 8601, and the time it was given. `vm ttl` sets them."""
SNAPSHOTS = "snapshots"
"""The tag of a VM whose value names its schedule: `snapshots=nightly`."""


MOST_NAMED = 8
"""Users of a disk that a sentence names; the rest is counted."""

_LINES = frozenset({"reason", "description", "user_data"})
_NOT_GIVEN = frozenset({"verb", "vm", "tag", "fates", "looked", "unique", "bases", "taken"})


def chat(template: str, *names: str) -> Code:
    """Return a command for people to type in chat, whole and with each name quoted."""
    return Code(command(f"/kvm {template}", *names))


def shell(template: str, *names: str) -> Code:
    """Return a command for a host, or an option, with each name quoted."""
    return Code(command(template, *names))


def own_tags(vm: Vm) -> tuple[Words, ...]:
    """The tags that people gave a VM, ``key=value``."""
    return tuple(
        tag_text(key, value)
        for key, value in sorted(vm.tags.items())
        if not key.startswith("drover.") and key != EXPIRES
    )


def moment(text: str) -> Message | When:
    """The moment that a tag holds, or its text where it holds none."""
    found = moment_of(text)
    return text if found is None else When(found)


def slips(intent: Any) -> Iterator[Objection]:
    """Yield an objection for each text of a request that no definition can hold.

    Names of existing things are looked up, not checked.
    """
    for each in dataclasses.fields(intent):
        if each.name in _NOT_GIVEN:
            continue
        for text in _texts(getattr(intent, each.name)):
            if mark := unfit(text, lines=each.name in _LINES):
                yield Objection(
                    "bad-text",
                    words(
                        "The value of {parameter} has a character that cannot be stored ({mark}).",
                        parameter=Code(each.name.replace("_", "-")),
                        mark=mark,
                    ),
                    words("Remove that character."),
                )


def reserved_tags(keys: Iterable[str], vm: str, *, made: bool = False) -> Iterator[Objection]:
    """Yield an objection for each tag that only Drover sets.

    At its creation (``made``) a VM may be given a ``ttl``.
    """
    for key in keys:
        if key.startswith("drover."):
            yield Objection(
                "reserved",
                words("Only Drover sets tags that begin with “drover.”: {tag}.", tag=key),
                words("Use another tag."),
            )
        elif key == EXPIRES and made:
            yield Objection(
                "reserved",
                words("Only Drover sets the tag “{tag}”.", tag=key),
                words("Use `--tag ttl=7d`."),
            )
        elif key == EXPIRES or (key == TTL and not made):
            yield Objection(
                "reserved",
                words("The tag “{tag}” decides when {vm} is shut down.", tag=key, vm=vm),
                words(
                    "Use {command} or {off}.",
                    command=chat("vm ttl {} 7d", vm),
                    off=chat("vm ttl {} off", vm),
                ),
            )


def pin_slips(tags: Mapping[str, str], snapshot: Snapshot) -> Iterator[Objection]:
    """Yield an objection where a ``pin`` misspells a host.

    What names no host, such as ``pin=yes``, pins a VM to the host where it is.
    """
    hosts = [host.name for host in snapshot.hosts]
    named = pin_names(tags)
    for name in sorted(named.difference(hosts)):
        meant = nearest(name, hosts)
        if meant or not named.isdisjoint(hosts):
            yield Objection(
                "unknown-host",
                words("The tag `pin` names “{host}”, and there is no such host.", host=name),
                join((meant, words("`pin=yes` keeps a VM on the host where it is."))),
            )


def schedule_slips(tags: Mapping[str, str], schedules: Collection[str]) -> Iterator[Objection]:
    """Yield an objection to a tag ``snapshots`` that names no schedule: none would be taken.

    Where there are no schedules the tag is like any other.
    """
    name = tags.get(SNAPSHOTS, "")
    if schedules and name and name not in schedules:
        there = words("There are: {names}.", names=Names(tuple(sorted(schedules)), Join.AND))
        yield Objection(
            "no-schedule",
            words("There is no snapshot schedule “{name}”.", name=name),
            nearest(name, schedules, there),
        )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
