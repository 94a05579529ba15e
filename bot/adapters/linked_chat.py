"""The chat port with links: an operation that a message names leads to its message."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar, cast

import structlog

from bot.adapters.wrapped_chat import WrappedChat
from bot.domain.card import Card, Form
from bot.domain.errors import DroverError
from bot.domain.message import Ref
from bot.domain.said_parts import change_parts
from bot.ports import Chat, MessageRef, Store

log = structlog.get_logger()

T = TypeVar("T")
Find = Callable[[str], str]
KEPT = 2000  # addresses of messages that are remembered


class LinkedChat(WrappedChat):
    """``bot.ports.Chat`` around another one, which is handed every ``Ref`` with its address.

    What cannot be linked now is shown without a link.

    Args:
        chat: what delivers.
        store: knows where operations are shown.
    """

    def __init__(self, chat: Chat, store: Store) -> None:
        super().__init__(chat)
        self._store = store
        self._known: dict[MessageRef, str] = {}

    def _for_channel(self, card: Card) -> Card:
        return with_links(card, self._find)

    def _for_person(self, user: str, card: Card) -> Card:  # noqa: ARG002 - the same for all
        return with_links(card, self._find)

    def _for_later(self, card: Card) -> Card:
        """It waits for no address."""
        return with_links(card, self._remember)

    def _as_form(self, form: Form, locale: str) -> Form:  # noqa: ARG002 - an address has none
        """Its trigger does not live long enough to look for addresses."""
        return with_links(form, self._remember)

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
        ref = self._first_place(operation)
        return self.permalink(ref) if ref is not None else ""

    def _remember(self, operation: str) -> str:
        ref = self._first_place(operation)
        return self._known.get(ref, "") if ref is not None else ""

    def _first_place(self, operation: str) -> MessageRef | None:
        """Where an operation is shown first."""
        try:
            return next(iter(self._store.copies(operation)), None)
        except DroverError as error:
            log.info("shown without a link", operation=operation, error=str(error))
            return None


def with_links(said: T, find: Find) -> T:
    """The same with the address of every operation in it."""
    return cast("T", _link(said, find))


def _link(said: object, find: Find) -> object:
    if isinstance(said, Ref):
        return dataclasses.replace(said, url=find(said.id))
    return change_parts(said, lambda each: _link(each, find))
