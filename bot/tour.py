"""The guided tour of the demo: what to try next, in the channel, with buttons that type it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.adapters.language import Languages
from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.pacer import Pacer
from bot.adapters.translated_chat import TranslatedChat
from bot.domain.card import Button, Buttons, Card, Context, Element, Section
from bot.domain.message import Message, words

STEPS: Sequence[tuple[Message, str]] = (
    (words("*1.* See the cluster: how full it is, and what is wrong."), "status"),
    (
        words("*2.* Spread the load. Then switch to Bruno and approve it in #approvals."),
        "balance",
    ),
    (
        words("*3.* Plan a drain for later; it runs in 2 minutes, once approved."),
        "host drain host-a --in 2m",
    ),
    (
        words("*4.* See what waits for its time. *Move…* on its card gives another one."),
        "ops --scheduled",
    ),
    (
        words("*5.* Ask for something that cannot be: you read why, and what to type."),
        "migrate db-1 host-a",
    ),
    (words("*6.* Read everything that happened, and whether the trail is intact."), "audit"),
)


def card() -> Card:
    """The tour."""
    title = words("Try this next")
    elements: list[Element] = [
        element
        for text, command in STEPS
        for element in (
            Section(text),
            Buttons((Button(f"/kvm {command}", "run", command),)),
        )
    ]
    who = words(
        "You are Ana. At the left you become Bruno or Carla, who approve, or Gil, who may not."
    )
    return Card(text=title, title=title, elements=(*elements, Context((who,))))


def post(bot_token: str, api_url: str, channel: str, locale: str) -> None:
    """Post the tour in a channel.

    Raises:
        ChatError: the workspace did not take it.
    """
    chat = SlackChat(api.client(bot_token, api_url), pacer=Pacer(pace=1000.0))
    try:
        TranslatedChat(chat, Languages(locale)).post(channel, card(), key="tour")
    finally:
        chat.close()
