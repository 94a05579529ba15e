"""The chat port in people's languages.

Channels in the configured one, what one person sees in that person's own.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.adapters.language import Language, Languages
from bot.domain.card import Card, Form
from bot.domain.message import Message
from bot.ports import Chat, MessageRef, Urgency
from bot.ports.chat import NOWHERE, AnswerPlace, Lost, Shown


class TranslatedChat:
    """``bot.ports.Chat`` around another one.

    Which is handed every card and form as its readers are to see it.

    Args:
        chat: what delivers.
        languages: what can be shown.
        chosen: the locale that a person chose for this bot; '': the one of the chat.
    """

    def __init__(
        self, chat: Chat, languages: Languages, chosen: Callable[[str], str] = lambda _: ""
    ) -> None:
        self._chosen = chosen
        self._chat = chat
        self._languages = languages

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
        """Post a message in the channels' language."""
        return self._chat.post(
            channel,
            self._languages.default.translate(card),
            thread=thread,
            key=key,
            look=look,
            urgency=urgency,
        )

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        self._chat.update(ref, self._languages.default.translate(card))

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
        self._chat.later(
            ref, self._languages.default.translate(card), urgency=urgency, shown=shown, lost=lost
        )

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
        """A message that only one person sees, in that person's language."""
        self._chat.whisper(
            channel,
            user,
            self._language(user).translate(card),
            thread=thread,
            answer_to=answer_to,
            instead=instead,
        )

    def tell(self, user: str, card: Card) -> None:
        """A direct message in the person's language."""
        self._chat.tell(user, self._language(user).translate(card))

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Send a file, below a card in the person's language."""
        self._chat.send_file(user, name, content, self._language(user).translate(card))

    def open_form(
        self, trigger: str, form: Form, *, locale: str = "", place: AnswerPlace = NOWHERE
    ) -> None:
        """Open a dialog in the language of who asked."""
        translated = self._languages.of(locale).translate(form)
        self._chat.open_form(trigger, translated, locale=locale, place=place)

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home in that person's language."""
        self._chat.publish_home(user, self._language(user).translate(card))

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in."""
        return self._chat.groups_of(user)

    def permalink(self, ref: MessageRef) -> str:
        """The address of a message."""
        return self._chat.permalink(ref)

    def locale_of(self, user: str) -> str:
        """The locale of a person; '' when there is nothing to choose from."""
        if len(self._languages.available) < 2:
            return ""
        return self._chosen(user) or self._chat.locale_of(user)

    def in_words(self, user: str, message: Message) -> str:
        """A message as one person reads it, for what is answered without a card."""
        return str(self._language(user).translate(message))

    def _language(self, user: str) -> Language:
        return self._languages.of(self.locale_of(user))
