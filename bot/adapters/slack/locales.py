"""People's locales, asked of Slack at most once a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from slack_sdk import WebClient

from bot.adapters.slack.api import call
from bot.adapters.slack.pacer import Pacer
from bot.domain.errors import ChatError

log = structlog.get_logger()

KEEP = 86400.0  # seconds
AFTER_FAILURE = 300.0  # seconds: a language is not worth asking again at every message
PATIENCE = 0.5
"""Seconds that somebody waits for an answer: no vote and no dialog waits for a language."""
MOST = 10_000
"""People remembered; the oldest answers are forgotten first."""


class Locales:
    """The locale that each person has chosen in Slack, such as ``pt-BR``, cached.

    Asked for in the background.

    Without the scope ``users:read``, or in an outage, it is '' and people read the configured
    language; that is logged once, until it works again.

    Args:
        client: with the scope ``users:read``.
        pacer: how often it may be asked.
        clock: seconds, monotonic.
        patience: seconds that somebody waits for an answer.
    """

    def __init__(
        self,
        client: WebClient,
        pacer: Pacer,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._clock = clock
        self._patience = patience
        # One thread asks Slack about a person; the others wait a little for its answer
        self._changed = threading.Condition()
        self._known: dict[str, tuple[str, float]] = {}
        self._asking: set[str] = set()
        self._failing = False

    def of(self, user: str) -> str:
        """A person's locale, '' when it cannot be known, or not soon."""
        with self._changed:
            if not self._fresh(user) and user not in self._asking:
                self._asking.add(user)
                threading.Thread(
                    target=self._ask, args=(user,), name="slack-locale", daemon=True
                ).start()
            self._changed.wait_for(
                lambda: self._fresh(user) or user not in self._asking, self._patience
            )
            return self._known.get(user, ("", 0.0))[0]

    def _fresh(self, user: str) -> bool:
        return user in self._known and self._clock() < self._known[user][1]

    def _ask(self, user: str) -> None:
        locale, seconds = self._known.get(user, ("", 0.0))[0], AFTER_FAILURE
        try:
            answer = call(
                self._client.users_info,
                pacer=self._pacer,
                user=user,
                include_locale=True,
                repeatable=False,
            )
            locale, seconds = str(answer["user"].get("locale") or ""), KEEP
            self._failing = False
        except ChatError as error:
            if not self._failing:
                log.warning(
                    "people's locales unknown: they read the configured language", error=str(error)
                )
            self._failing = True
        finally:
            self._keep(user, locale, seconds)

    def _keep(self, user: str, locale: str, seconds: float) -> None:
        with self._changed:
            self._known.pop(user, None)
            self._known[user] = (locale, self._clock() + seconds)
            while len(self._known) > MOST:
                del self._known[next(iter(self._known))]
            self._asking.discard(user)
            self._changed.notify_all()
