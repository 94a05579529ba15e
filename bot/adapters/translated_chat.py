"""The chat port in people's languages.

Channels in the configured one, what one person sees in that person's own.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.adapters.language import Language, Languages
from bot.adapters.wrapped_chat import WrappedChat
from bot.domain.card import Card, Form
from bot.domain.message import Message
from bot.ports import Chat


class TranslatedChat(WrappedChat):
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
        super().__init__(chat)
        self._chosen = chosen
        self._languages = languages

    def _for_channel(self, card: Card) -> Card:
        """In the channels' language."""
        return self._languages.default.translate(card)

    def _for_person(self, user: str, card: Card) -> Card:
        """In that person's language."""
        return self._language(user).translate(card)

    def _as_form(self, form: Form, locale: str) -> Form:
        """In the language of who asked."""
        return self._languages.of(locale).translate(form)

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
