"""The way to Slack: opened at the start, or as soon as Slack answers, and watched from then on.

The bot starts, works and fails over without it. What Slack refuses (a token, a channel, another
workspace) ends the first start, as nobody would come to put it right while the bot runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from bot.adapters.slack.api import SlackLimitedError, SlackRefusedError
from bot.adapters.slack.chat import Identity, SlackChat
from bot.adapters.slack.listeners import Listeners
from bot.domain.errors import ChatError, ChatRefusedError, DroverError, SettingsError
from bot.domain.message import Message, words
from bot.settings import SlackSection

log = structlog.get_logger()

Listen = Callable[[Identity], Listeners]

PATIENCE = 12.0  # seconds of a start that Slack may take; then the bot goes on without it
FIRST_REST, MOST_REST = 2.0, 30.0  # seconds between two tries to sign in
DEAF = 60.0  # seconds without a socket that may still be a reconnection
ASKED = 15.0  # seconds between two questions to Slack, where no socket shows that it is there
CLOSED = words("There is no socket to Slack.")
UNANSWERED = words("Slack does not answer what Drover asks.")
NOT_SIGNED_IN = words("Drover could not sign in to Slack yet.")


class SlackLink:
    """Signs in, listens, and knows since when nobody's requests arrive.

    With a socket, the socket shows it. In HTTP mode Slack is asked now and then: one that does not
    answer sends nothing either.

    Args:
        slack: the settings of the workspace.
        chat: for whose token signs in.
        listen: makes the listeners for the identity; nothing is opened yet.
        back: called when Slack can be reached again, or for the first time.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        slack: SlackSection,
        chat: SlackChat,
        listen: Listen,
        back: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slack, self._chat, self._listen, self._back = slack, chat, listen, back
        self._clock = clock
        self._heard_at = clock() - DEAF  # nothing was heard before the start
        self._why: Message = NOT_SIGNED_IN
        self._listeners: Listeners | None = None
        self._away = False
        self._reached = True  # by the last question
        self._first = threading.Event()  # the first try ended, well or not
        self._refusal: DroverError | None = None
        self._closed = threading.Event()

    def open(self, patience: float = PATIENCE) -> None:
        """Sign in and listen; when Slack does not answer in time, go on trying and return.

        Raises:
            DroverError: Slack refuses what is configured.
        """
        threading.Thread(target=self._sign_in, name="slack-sign-in", daemon=True).start()
        self._first.wait(patience)
        if self._refusal is not None:
            self._closed.set()
            raise self._refusal
        if self._listeners is None:
            self._away = True
            log.error("started without Slack: it is tried again", why=str(self._why))

    def close(self) -> None:
        """Take nothing more."""
        self._closed.set()
        if self._listeners is not None:
            self._listeners.close()

    def look(self) -> None:
        """Look whether requests can arrive; called by the clock every few seconds."""
        if self._is_open():
            self._heard_at = self._clock()
            if self._away:
                self._away = False
                log.info("Slack is back")
                self._back()
        elif self.silence() and not self._away:
            self._away = True
            if self._listeners is not None:
                self._why = UNANSWERED if self._slack.mode == "http" else CLOSED
            log.error("Slack is out of reach", why=str(self._why), seconds=round(self.silence()))

    def silence(self) -> float:
        """Seconds for which nobody's requests arrived; 0 while it may be a reconnection."""
        silent = self._clock() - self._heard_at
        return silent if silent >= DEAF else 0.0

    def trouble(self) -> Message:
        """Why nobody's requests arrive, and since when; '' while they do."""
        silent = self.silence()
        if not silent:
            return ""
        return words(
            "Slack is out of reach since {at}: {why}",
            at=datetime.now(UTC) - timedelta(seconds=silent),
            why=self._why,
        )

    def answers(self) -> bool:
        """Whether Slack answers anything at this moment, be it a refusal; it is asked now."""
        return not self.silence() or self._ask()

    def _ask(self) -> bool:
        try:
            self._chat.identity(tries=1)
        except (SlackRefusedError, SlackLimitedError):
            return True
        except ChatError:
            return False
        return True

    def _is_open(self) -> bool:
        if self._listeners is None:
            return False
        return self._reached if self._slack.mode == "http" else self._listeners.is_connected()

    def _keep_asking(self) -> None:
        while not self._closed.wait(ASKED):
            self._reached = self._ask()

    def _sign_in(self) -> None:
        rest = FIRST_REST
        while not self._closed.is_set():
            try:
                self._try()
            except DroverError as error:
                self._note(error)
            except Exception as error:  # the thread goes on trying; the log has it whole
                log.exception("not signed in to Slack")
                self._why = words("{error}.", error=str(error))
            else:
                self._heard_at = self._clock()
                self._first.set()
                break
            self._first.set()
            self._closed.wait(rest)
            rest = min(rest * 2, MOST_REST)
        if self._slack.mode == "http":
            self._keep_asking()

    def _note(self, error: DroverError) -> None:
        self._why = error.text
        passing = isinstance(error, ChatError) and not isinstance(error, ChatRefusedError)
        if not passing and not self._first.is_set():
            self._refusal = error
        log.warning("not signed in to Slack", error=str(error))

    def _try(self) -> None:
        identity = self._chat.identity(tries=1)
        if self._slack.team and self._slack.team != identity.team:
            raise SettingsError(
                words(
                    "The bot token belongs to workspace {team}, but `slack.team` is {configured}.",
                    team=identity.team,
                    configured=self._slack.team,
                ),
                words("Correct one of the two."),
            )
        for place in dict.fromkeys(
            filter(None, (self._slack.approvals_channel, self._slack.ops_channel))
        ):
            check_channel(self._chat, place, identity)
        listeners = self._listen(identity)
        try:
            if self._slack.mode == "socket":
                listeners.connect()
            else:
                listeners.http_server(self._slack.http_host, self._slack.http_port).start()
        except BaseException:
            with suppress(Exception):
                listeners.close()
            raise
        if self._closed.is_set():
            listeners.close()
            return
        self._listeners = listeners


def check_channel(chat: SlackChat, channel: str, me: Identity) -> None:
    """A channel that nobody could see a proposal in is told now.

    Rather than at the first proposal.

    Raises:
        SettingsError: Slack refuses it.
    """
    try:
        chat.readable(channel)
        chat.writable(channel, me)
    except SlackRefusedError as error:
        raise SettingsError(
            words(
                "The configured channel {channel} cannot be used. {text}",
                channel=channel,
                text=error.text,
            ),
            error.advice,
        ) from error
    except ChatError as error:  # Slack has other troubles; they pass
        log.warning("channel not looked at", channel=channel, error=str(error))
