"""People's locales, asked of Slack at most once a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from slack_sdk import WebClient

from bot.adapters.slack.web import call
from bot.domain.errors import ChatError

log = structlog.get_logger()

KEEP = 86400.0  # seconds
AFTER_FAILURE = 300.0
MOST = 10_000
"""People remembered; the oldest answers are forgotten first."""


class Locales:
    """The locale that each person has chosen in Slack, such as ``pt-BR``, cached.

    Without the scope ``users:read``, or in an outage, it is '' and people read the configured language; that is logged
    once, until it works again.

    Args:
        client: with the scope ``users:read``.
        clock: seconds, monotonic.
    """

    def __init__(self, client: WebClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()  # guards the answers, and is not held while Slack is asked
        self._known: dict[str, tuple[str, float]] = {}
        self._failing = False

    def of(self, user: str) -> str:
        """A person's locale, '' when it cannot be known."""
        with self._lock:
            locale, until = self._known.get(user, ("", float("-inf")))
        if self._clock() < until:
            return locale
        return self._ask(user, locale)

    def _ask(self, user: str, before: str) -> str:
        try:
            answer = call(self._client.users_info, user=user, include_locale=True, repeatable=False)
        except ChatError as error:
            if not self._failing:
                log.warning("people's locales unknown: they read the configured language", error=str(error))
            self._failing = True
            return self._keep(user, before, AFTER_FAILURE)
        self._failing = False
        return self._keep(user, str(answer["user"].get("locale") or ""), KEEP)

    def _keep(self, user: str, locale: str, seconds: float) -> str:
        with self._lock:
            self._known.pop(user, None)
            self._known[user] = (locale, self._clock() + seconds)
            while len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return locale
