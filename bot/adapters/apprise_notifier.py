"""Mail, pagers, chats and webhooks through apprise.

An address holds passwords and tokens: it appears in no message, no log line and no error.
"""

from __future__ import annotations

import logging

import apprise

from bot.adapters.language import Languages
from bot.domain.card import Card
from bot.domain.errors import NotifierError, SettingsError
from bot.domain.message import words
from bot.domain.metrics import AlertSeverity
from bot.domain.plain_card import plain_body, plain_title

PATIENCE = 20.0
"""Seconds that one address may take."""
MOST = 8000
"""Characters of a message; apprise cuts it further to what a service takes."""
LOGGERS = ("apprise", "urllib3.connectionpool", "requests_oauthlib")
"""Loggers that may write of an address."""
KINDS = {
    None: apprise.NotifyType.SUCCESS,
    AlertSeverity.INFO: apprise.NotifyType.INFO,
    AlertSeverity.WARNING: apprise.NotifyType.WARNING,
    AlertSeverity.CRITICAL: apprise.NotifyType.FAILURE,
}


class AppriseNotifier:
    """``bot.ports.notifier.Notifier`` for one address.

    Args:
        name: how it is called in messages.
        url: apprise's address, a secret.
        languages: what can be shown; the message is in the channels' language.

    Raises:
        SettingsError: apprise does not understand the address.
    """

    def __init__(self, name: str, url: str, languages: Languages) -> None:
        _hush()
        self._name, self._languages = name, languages
        asset = apprise.AppriseAsset(
            app_id="Drover",
            app_desc="Drover",
            async_mode=False,
            secure_logging=True,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            service_timeout=PATIENCE,
        )
        self._way = apprise.Apprise(asset=asset)
        if not self._way.add(url) or len(self._way) != 1:
            raise SettingsError(
                words("The address of “{name}” in `tell` is not understood.", name=name),
                words("Write it as apprise does, for example `mailto://user:password@host`."),
            )

    def send(self, card: Card, severity: AlertSeverity | None) -> None:
        """Send a card as text; see the port."""
        shown = self._languages.default.translate(card)
        title = plain_title(shown)
        body = plain_body(shown)[:MOST] or title
        try:
            taken = self._way.notify(
                body=body,
                title=title,
                notify_type=KINDS[severity],
                body_format=apprise.NotifyFormat.TEXT,
                interpret_escapes=False,
            )
        # Of any service's library; what it says may hold the address
        except Exception as error:  # noqa: BLE001
            raise self._not_taken(type(error).__name__) from None
        if not taken:
            raise self._not_taken("refused")

    def _not_taken(self, why: str) -> NotifierError:
        return NotifierError(
            words("“{name}” did not take a message ({why}).", name=self._name, why=why),
            words("Check its address and its service."),
        )


def _hush() -> None:
    """Keep what apprise and its libraries log out of the bot's log: it may name addresses."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
