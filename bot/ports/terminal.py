"""People and scripts at the bot's own socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bot.domain.card import Card

Data = Mapping[str, Any]  # JSON


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end.

    Attributes:
        id: the person's user id in the chat, or ``script:NAME``; what votes and rules are about. Of
            an agent it is its person's.
        name: for people to read.
        locale: of the terminal, such as ``pt_BR``; '' for the configured one.
        via: ``bot.ports.chat.TERMINAL`` or ``SCRIPT``, or ``bot.domain.policy.AGENT``.
    """

    id: str
    name: str
    locale: str = ""
    via: str = "terminal"


class Connection(Protocol):
    """What a method says before its result.

    Each may raise ``ConnectionError``: the caller is gone, and nobody waits for the rest.
    """

    def show(self, card: Card, data: Data | None = None) -> None:
        """Show a card in the caller's language, with data for programs beside it."""
        ...

    def check(self) -> None:
        """Do nothing while the caller is there."""
        ...


Method = Callable[[Caller, Data, Connection], Data]
"""Answers one call: shows what there is to show and returns the result, for programs.

It may raise ``DroverError``, which is told to the caller.
"""
