"""Requests stored lately: Slack may deliver each again, and people may press again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from bot.domain.message import Message, words
from bot.ports import Request

MOST = 2000  # requests; Slack delivers again for an hour at most, which is fewer
OTHER_ANSWERS = words(
    "Drover already has this form, with your first answers, and works on them. Close the form. "
    "Open a new one for other answers."
)


class Copies:
    """Recognizes a copy of a stored request; one that is not known here is left to the database."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # Copies arrive on several threads at once
        self._lock = threading.Lock()
        self._stored: OrderedDict[str, tuple[tuple[str, str], ...]] = OrderedDict()

    def add(self, request: Request) -> None:
        """Remember a request that was stored."""
        with self._lock:
            self._stored[request.key] = request.answers
            if len(self._stored) > self._most:
                self._stored.popitem(last=False)

    def verdict(self, request: Request) -> Message | None:
        """Tell what to say of a copy; '' for nothing; None when it is no copy known here.

        A form whose ack was lost stays open in Slack. Sent again with other answers it has the key
        of the first, which is carried out.
        """
        with self._lock:
            first = self._stored.get(request.key)
        if first is None:
            return None
        return "" if first == request.answers else OTHER_ANSWERS
