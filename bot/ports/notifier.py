"""Other ways than the chat by which people are told: mail, a pager, a webhook."""

from __future__ import annotations

from typing import Protocol

from bot.domain.card import Card
from bot.domain.metrics import AlertSeverity


class Notifier(Protocol):
    """One address."""

    def send(self, card: Card, severity: AlertSeverity | None) -> None:
        """Send a card as text; returns when it was taken, after some seconds at most.

        Args:
            card: what.
            severity: how soon somebody has to look; None: something is over.

        Raises:
            NotifierError: it was not taken, or nobody knows.
        """
        ...
