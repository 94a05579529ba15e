"""The chat port with links: an operation that a message names leads to its message."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from bot.domain.card import Card, Form
from bot.domain.errors import DroverError
from bot.domain.message import Ref, Words
from bot.ports import Chat, MessageRef, Store, Urgency
from bot.ports.chat import NOWHERE, AnswerPlace, Lost, Shown

log = structlog.get_logger()

T = TypeVar("T")
Find = Callable[[str], str]
KEPT = 2000  # addresses of messages that are remembered


class LinkedChat:
    """``bot.ports.Chat`` around another one, which is handed every ``Ref`` with its address.

    What cannot be linked now is shown without a link.

    Args:
        chat: what delivers.
        store: knows where operations are shown.
    """

    def __init__(self, chat: Chat, store: Store) -> None:
        self._chat, self._store = chat, store
        self._known: dict[MessageRef, str] = {}

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
        """Post a message."""
        linked = with_links(card, self._find)
        return self._chat.post(channel, linked, thread=thread, key=key, look=look, urgency=urgency)

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        self._chat.update(ref, with_links(card, self._find))

    def later(
        self,
        ref: MessageRef,
        card: Card,
        *,
        urgency: Urgency = Urgency.PROGRESS,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Replace a message soon; it waits for no address."""
        linked = with_links(card, self._remembered)
        self._chat.later(ref, linked, urgency=urgency, shown=shown, lost=lost)

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
        """A message that only one person sees."""
        linked = with_links(card, self._find)
        self._chat.whisper(
            channel, user, linked, thread=thread, answer_to=answer_to, instead=instead
        )

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        self._chat.tell(user, with_links(card, self._find))

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Send a file to one person."""
        self._chat.send_file(user, name, content, with_links(card, self._find))

    def open_form(
        self, trigger: str, form: Form, *, locale: str = "", place: AnswerPlace = NOWHERE
    ) -> None:
        """Open a dialog; its trigger does not live long enough to look for addresses."""
        linked = with_links(form, self._remembered)
        self._chat.open_form(trigger, linked, locale=locale, place=place)

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        self._chat.publish_home(user, with_links(card, self._find))

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in."""
        return self._chat.groups_of(user)

    def locale_of(self, user: str) -> str:
        """The locale that a person has chosen."""
        return self._chat.locale_of(user)

    def permalink(self, ref: MessageRef) -> str:
        """The address of a message; remembered."""
        if ref not in self._known:
            if not (found := self._chat.permalink(ref)):
                return ""
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[ref] = found
        return self._known[ref]

    def _find(self, operation: str) -> str:
        ref = self._shown(operation)
        return self.permalink(ref) if ref is not None else ""

    def _remembered(self, operation: str) -> str:
        ref = self._shown(operation)
        return self._known.get(ref, "") if ref is not None else ""

    def _shown(self, operation: str) -> MessageRef | None:
        """Where an operation is shown first."""
        try:
            return next(iter(self._store.copies(operation)), None)
        except DroverError as error:
            log.info("shown without a link", operation=operation, error=str(error))
            return None


def with_links(said: T, find: Find) -> T:
    """The same with the address of every operation in it."""
    linked: T = _linked(said, find)
    return linked


def _linked(said: Any, find: Find) -> Any:
    if isinstance(said, Ref):
        return dataclasses.replace(said, url=find(said.id))
    if isinstance(said, Words):
        args = {name: _linked(each, find) for name, each in said.args.items()}
        changed = any(args[name] is not said.args[name] for name in args)
        return dataclasses.replace(said, args=args) if changed else said
    if isinstance(said, tuple):
        parts = tuple(_linked(each, find) for each in said)
        return parts if any(new is not old for new, old in zip(parts, said, strict=True)) else said
    if not dataclasses.is_dataclass(said) or isinstance(said, type):
        return said
    given = {each.name: getattr(said, each.name) for each in dataclasses.fields(said)}
    changes = {name: new for name, old in given.items() if (new := _linked(old, find)) is not old}
    return dataclasses.replace(said, **changes) if changes else said
