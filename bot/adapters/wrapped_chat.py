"""The chat port around another one, which gets every card and form as its readers are to see it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bot.domain.card import Card, Form
from bot.ports import Chat, MessageRef, Urgency
from bot.ports.chat import NOWHERE, AnswerPlace, Lost, Shown


class WrappedChat(ABC):
    """``bot.ports.Chat``: what is said is changed, what is asked is passed on.

    Args:
        chat: what delivers.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @abstractmethod
    def _for_channel(self, card: Card) -> Card:
        """A message that all in a channel see."""

    @abstractmethod
    def _for_person(self, user: str, card: Card) -> Card:
        """What one person sees."""

    @abstractmethod
    def _as_form(self, form: Form, locale: str) -> Form:
        """A dialog, whose trigger does not live long."""

    def _for_later(self, card: Card) -> Card:
        """A message that may be replaced before it is sent."""
        return self._for_channel(card)

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
        said = self._for_channel(card)
        return self._chat.post(channel, said, thread=thread, key=key, look=look, urgency=urgency)

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        self._chat.update(ref, self._for_channel(card))

    def later(
        self,
        ref: MessageRef,
        card: Card,
        *,
        urgency: Urgency = Urgency.PROGRESS,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Replace a message soon."""
        self._chat.later(ref, self._for_later(card), urgency=urgency, shown=shown, lost=lost)

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
        said = self._for_person(user, card)
        self._chat.whisper(channel, user, said, thread=thread, answer_to=answer_to, instead=instead)

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        self._chat.tell(user, self._for_person(user, card))

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Send a file to one person, below a card."""
        self._chat.send_file(user, name, content, self._for_person(user, card))

    def open_form(
        self, trigger: str, form: Form, *, locale: str = "", place: AnswerPlace = NOWHERE
    ) -> None:
        """Open a dialog."""
        self._chat.open_form(trigger, self._as_form(form, locale), locale=locale, place=place)

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        self._chat.publish_home(user, self._for_person(user, card))

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in."""
        return self._chat.groups_of(user)

    def locale_of(self, user: str) -> str:
        """The locale that a person has chosen."""
        return self._chat.locale_of(user)

    def permalink(self, ref: MessageRef) -> str:
        """The address of a message."""
        return self._chat.permalink(ref)
