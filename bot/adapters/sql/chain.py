"""The hash chain over all events.

What a link is made of, and the first place where the chain does not hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bot.domain.message import Message, Words, words


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """One stored event. ``data`` is its canonical JSON.

    ``at``, ``by`` and ``kind`` repeat what it holds.

    ``hash`` covers ``data``, its place (``position`` in all, ``seq`` in its operation) and the hash
    before it.
    """

    position: int
    operation: int
    seq: int
    at: str
    by: str
    kind: str
    data: str
    previous: str
    hash: str

    @property
    def message(self) -> Words:
        """What people read of it."""
        return words(
            "Event {event} ({kind} of {operation}, by {by} at {at})",
            event=str(self.position),
            kind=self.kind,
            operation=f"op-{self.operation}",
            by=self.by,
            at=self.at,
        )


def digest(previous: str, position: int, operation: int, seq: int, data: str) -> str:
    """SHA-256, hex, of the canonical JSON of the five together."""
    whole = json.dumps(
        [previous, position, operation, seq, data], separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(whole.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Proven:
    """Up to which event the chain was found to hold, and that event's hash.

    At first the empty beginning.
    """

    position: int = 0
    hash: str = ""


def first_fault(
    links: Iterable[ChainedEvent], position: int, end: str, proven: Proven = Proven()
) -> Message:
    """The first fault of the chain, told in words; '' when it holds.

    Args:
        links: every event behind ``proven``, by position.
        position: where the chain is said to end.
        end: the hash it is said to end with.
        proven: what is taken to hold.
    """
    last, last_hash = proven.position, proven.hash
    for link in links:
        fault = _fault(link, last, last_hash)
        if fault:
            return fault
        last, last_hash = link.position, link.hash
    if (last, last_hash) != (position, end):
        return words(
            "The chain ends at event {last}, but its head says event {position}: the "
            "end was cut off or replaced.",
            last=str(last),
            position=str(position),
        )
    return ""


def _fault(link: ChainedEvent, last: int, last_hash: str) -> Message:
    if link.position != last + 1:
        return words(
            "Event {event} is missing; the next one stored is {next}.",
            event=str(last + 1),
            next=str(link.position),
        )
    if link.hash != digest(link.previous, link.position, link.operation, link.seq, link.data):
        return words("{event} was changed after it was stored.", event=link.message)
    if link.previous != last_hash:
        return words(
            "{event} does not follow event {last}: one of the two was replaced.",
            event=link.message,
            last=str(last),
        )
    held: dict[str, Any] = json.loads(link.data)
    if (link.at, link.by, link.kind) != (held["at"], held["by"], held["is"]):
        return words(
            "{event} is labelled wrongly: it holds {kind} by {by} at {at}.",
            event=link.message,
            kind=held["is"],
            by=held["by"],
            at=held["at"],
        )
    return ""
