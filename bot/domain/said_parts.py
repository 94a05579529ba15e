"""Cards, forms and messages are tuples, dataclasses and ``Words`` in each other.

How all of one is changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import cast

from bot.domain.message import Person, Value, Words


def change_parts(said: object, change: Callable[[object], object]) -> object:
    """The same with each part changed.

    Fields of a dataclass, values of ``Words``, a tuple's members.

    What has no parts, and what none of whose parts changed, is returned as it is.
    """
    if isinstance(said, Words):
        args = {name: change(each) for name, each in said.args.items()}
        changed = any(args[name] is not said.args[name] for name in args)
        return (
            dataclasses.replace(said, args=cast("Mapping[str, Value]", args)) if changed else said
        )
    if isinstance(said, tuple):
        parts = tuple(change(each) for each in said)
        return parts if any(new is not old for new, old in zip(parts, said, strict=True)) else said
    if not dataclasses.is_dataclass(said) or isinstance(said, type):
        return said
    given = {each.name: getattr(said, each.name) for each in dataclasses.fields(said)}
    changes = {name: new for name, old in given.items() if (new := change(old)) is not old}
    return dataclasses.replace(said, **changes) if changes else said


def has_person(said: object) -> bool:
    """Whether something said names a person, which plain text and listings cannot mention."""
    found: list[Person] = []

    def look(each: object) -> object:
        if isinstance(each, Person):
            found.append(each)
            return each
        return change_parts(each, look)

    look(said)
    return bool(found)
