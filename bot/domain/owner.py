"""Whose VM it is: the tag ``owner``, which holds people's user ids; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bot.domain.cluster import Vm
from bot.domain.errors import UsageError
from bot.domain.message import Message, Names, Person, Words, words
from bot.domain.words import reads_alike

OWNER = "owner"
"""The tag; several owners stand beside each other, with commas or plus signs between."""

_MENTION = re.compile(r"<?@?(?P<id>[UW][A-Z0-9]{2,})(\|[^>]*)?>?")
_BETWEEN = re.compile(r"[,+]")


def person_of(text: str) -> str:
    """The user id of a mention such as ``<@U0ANA|ana>``, ``@U0ANA`` or ``U0ANA``.

    '' of other text.
    """
    found = _MENTION.fullmatch(text.strip())
    return found["id"] if found else ""


def owners_of(vm: Vm) -> tuple[str, ...]:
    """The user ids, and names that are none, in a VM's tag."""
    return tuple(person_of(each) or each for each in _parts(vm.tags.get(OWNER, "")))


def vms_of_owner(vms: Iterable[Vm], user: str) -> list[Vm]:
    """A person's VMs, by name."""
    return sorted((vm for vm in vms if user in owners_of(vm)), key=lambda vm: vm.name)


def has_tag(vm: Vm, key: str, value: str) -> bool:
    """Whether a VM has a tag; of owners one is enough, however it is written."""
    if key == OWNER and value:
        return (person_of(value) or value.removeprefix("@")) in owners_of(vm)
    if key in vm.tags:
        return reads_alike(vm.tags[key], value)
    return any(reads_alike(each, key) and reads_alike(it, value) for each, it in vm.tags.items())


def stored_tag(key: str, value: str) -> str:
    """The value to store: of owners the ids of whom was mentioned.

    Raises:
        UsageError: a name behind ``@`` whose id the chat did not tell.
    """
    if key != OWNER:
        return person_of(value) if value.startswith("<@") and person_of(value) else value
    parts = [person_of(each) or each for each in _parts(value)]
    if unknown := next((each for each in parts if each.startswith("@")), ""):
        raise UsageError(
            words("Slack did not say who “{who}” is.", who=unknown),
            words(
                "Choose the name from the list that Slack shows after @, or write the member id, "
                "like `owner=U0123ABCD`."
            ),
        )
    return ",".join(parts)


def tag_value(key: str, value: str) -> Message:
    """A tag's value as people read it: owners by name."""
    if key != OWNER or not value:
        return value
    people = [person_of(each) for each in _parts(value)]
    if not any(people):
        return value
    shown = tuple(
        Person(user) if user else text for user, text in zip(people, _parts(value), strict=True)
    )
    return words("{people}", people=Names(shown))


def tag_text(key: str, value: str) -> Words:
    """``key=value`` as people read it."""
    return words("{key}={value}", key=key, value=tag_value(key, value))


def tag_title(key: str, value: str) -> Message:
    """As ``tag_text`` in a title: plain text mentions nobody, and nobody knows user ids."""
    has_people = key == OWNER and any(person_of(each) for each in _parts(value))
    return key if has_people else tag_text(key, value)


def tag_texts(vm: Vm) -> Iterator[Message]:
    """``key=value`` of every tag, by key."""
    for each in sorted(vm.tags.items()):
        yield tag_text(*each)


def _parts(value: str) -> list[str]:
    return [each.strip() for each in _BETWEEN.split(value) if each.strip()]
