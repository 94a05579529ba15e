"""What people do in chat, and what they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from bot.domain.card import Card, Form
from bot.domain.codec import later
from bot.domain.errors import ChatRefusedError

TERMINAL = "terminal"
"""``Request.via`` of what a person typed in a terminal."""
SCRIPT = "script"
"""``Request.via`` of what a script asked for with its token."""


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Where an answer belongs. ``channel`` '': the home tab. ``answer_to``: as in ``Request``."""

    channel: str = ""
    thread: str = ""
    answer_to: str = ""


NOWHERE = AnswerPlace()


@dataclass(frozen=True, slots=True)
class Request:
    """Something a person did in chat. ``key`` is equal for duplicates of one delivery.

    ``kind``: ``command`` (``text`` is what follows the slash command), ``click`` (``action``,
    ``value``), ``form`` (``action``, ``value`` = the form's hidden data, ``answers``), ``home``.
    ``message`` is the clicked message's ts. A form comes from where it was opened.
    ``answer_to``: an address that takes a few answers for half an hour, where the chat gives one.
    ``via``: '' from the chat; else the other way by which it came (``TERMINAL``, ``SCRIPT``), and
    its answers go to ``bot.flow.answers`` instead of the chat.
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
    answer_to: str = ""
    via: str = later("")

    @property
    def place(self) -> AnswerPlace:
        """Where it was asked."""
        return AnswerPlace(self.channel, self.thread, self.answer_to)

    @property
    def at_home(self) -> bool:
        """Whether it was asked on the home tab, which has no channel."""
        return not self.channel and self.kind in ("click", "form")


class Urgency(IntEnum):
    """Which message goes first while the chat limits the bot: the smaller number."""

    FINAL = 0
    VOTE = 1
    ALERT = 2
    PROGRESS = 3


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A posted message."""

    channel: str
    ts: str


Shown = Callable[[], None]
Lost = Callable[[ChatRefusedError], None]


class Chat(Protocol):
    """Messages to people. Rate limits are waited out within, the most urgent message first.

    Every method but ``later`` may wait for the chat, and may raise ``ChatError``;
    ``ChatRefusedError`` when asking again is useless.
    """

    def post(
        self,
        channel: str,
        card: Card,
        *,
        thread: MessageRef | None = None,
        key: str = "",
        look: bool = True,
        urgency: Urgency = Urgency.VOTE,
    ) -> MessageRef:
        """Post a message. With ``key``.

        A message already posted under it is found and updated instead.

        Args:
            channel: where.
            card: what.
            thread: the message to reply to.
            key: under which the message is found again.
            look: False: this is the first try of this key, so nothing is looked for.
            urgency: who goes first where the chat limits how much is posted.
        """
        ...

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message, and wait until it is shown or a newer edit of it is."""
        ...

    def later(
        self,
        ref: MessageRef,
        card: Card,
        *,
        urgency: Urgency = Urgency.PROGRESS,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Replace a message soon; returns at once and never raises.

        Of several edits only the last is shown.

        Progress that cannot be shown is dropped, because the next follows. What is more urgent is
        tried again until it is shown (``shown`` is called) or the chat refuses it for good
        (``lost`` is called).
        """
        ...

    def whisper(
        self,
        channel: str,
        user: str,
        card: Card,
        *,
        thread: str = "",
        answer_to: str = "",
        instead: bool = False,
    ) -> None:
        """A message that only one person sees, where they are.

        Args:
            channel: where; '': a direct message.
            user: for whom.
            card: what.
            thread: the thread it belongs to.
            answer_to: ``Request.answer_to``, used where the chat refuses the message itself.
            instead: instead of the message that was clicked, where ``answer_to`` takes it.
        """
        ...

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        ...

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Send a file to one person, in a direct message, below a card."""
        ...

    def open_form(
        self, trigger: str, form: Form, *, locale: str = "", place: AnswerPlace = NOWHERE
    ) -> None:
        """Open a dialog, for somebody who reads ``locale``; a trigger lives three seconds.

        ``place``: where it was asked for; it comes back with the answers.
        """
        ...

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        ...

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in; cached.

        Empty when the workspace has none.

        Raises:
            ChatError: the groups cannot be known now, and what was known of them is too old.
        """
        ...

    def permalink(self, ref: MessageRef) -> str:
        """The address that leads to a message; '' when it cannot be known now."""
        ...

    def locale_of(self, user: str) -> str:
        """The locale that a person has chosen, such as ``pt-BR``; cached.

        '' when it cannot be known.
        """
        ...
