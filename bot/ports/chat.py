"""What people do in chat, and what they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.card import Card, Form


@dataclass(frozen=True, slots=True)
class Request:
    """Something a person did in chat. ``key`` is equal for duplicates of one delivery.

    ``kind``: ``command`` (``text`` is what follows the slash command), ``click`` (``action``, ``value``), ``form``
    (``action``, ``value`` = the form's hidden data, ``answers``), ``home``. ``message`` is the clicked message's ts.
    """

    key: str
    kind: str
    by: str
    at: datetime
    channel: str = ""
    text: str = ""
    action: str = ""
    value: str = ""
    answers: tuple[tuple[str, str], ...] = ()
    message: str = ""
    thread: str = ""
    trigger: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A posted message."""

    channel: str
    ts: str


class Chat(Protocol):
    """Messages to people. Every method may raise ``ChatError``; rate limits are waited out within."""

    def post(self, channel: str, card: Card, *, thread: MessageRef | None = None, key: str = "") -> MessageRef:
        """Post a message. With ``key``, a message already posted under it is found and updated instead."""
        ...

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        ...

    def later(self, ref: MessageRef, card: Card) -> None:
        """Replace a message soon: of several only the last is shown, and a plain ``update`` overtakes them.

        For progress. It never raises; a failure is logged and the next one tries again.
        """
        ...

    def whisper(self, channel: str, user: str, card: Card) -> None:
        """A message that only one person sees, where they are."""
        ...

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        ...

    def open_form(self, trigger: str, form: Form, *, locale: str = "") -> None:
        """Open a dialog, for somebody who reads ``locale``; a trigger lives three seconds."""
        ...

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        ...

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in; cached; empty when the plan has none."""
        ...

    def locale_of(self, user: str) -> str:
        """The locale that a person has chosen, such as ``pt-BR``; cached; '' when it cannot be known."""
        ...
