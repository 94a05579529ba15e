"""Pure: texts that people give and that end in definitions: reserved tags, and what XML cannot hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from bot.domain.plan import Objection
from bot.domain.words import unfit
from plugins.vm_lifecycle import cards

EXPIRES, TTL = "expires", "ttl"
"""Tags of a VM's end: the moment, ISO 8601, and the time it was given. They are set by `vm ttl`."""

_LINES = frozenset({"reason", "description", "user_data"})
_NOT_GIVEN = frozenset({"verb", "vm", "tag", "fates", "looked", "unique", "bases", "taken"})


def slips(intent: Any) -> Iterator[Objection]:
    """What of a wish's own texts no definition can hold.

    What names existing things is looked up, not checked.
    """
    for each in dataclasses.fields(intent):
        if each.name in _NOT_GIVEN:
            continue
        for text in _texts(getattr(intent, each.name)):
            if mark := unfit(text, lines=each.name in _LINES):
                yield cards.unfit_text(each.name.replace("_", " "), mark)


def reserved(keys: Iterable[str], vm: str, *, made: bool = False) -> Iterator[Objection]:
    """Tags that are not given by hand: Drover's own, and a VM's end; at its creation (``made``) a `ttl` may be."""
    for key in keys:
        if key.startswith("drover."):
            yield cards.reserved_tag(key)
        elif key == EXPIRES or (key == TTL and not made):
            yield cards.end_tag(key, vm, made=made)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
