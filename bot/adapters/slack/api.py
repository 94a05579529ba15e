"""Calls to Slack's Web API: limits waited out, faults tried again where that is safe.

Errors made ours.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NoReturn
from urllib.error import URLError

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError

from bot.adapters.slack.pacer import Pacer
from bot.domain.errors import ChatError, ChatRefusedError
from bot.domain.message import words
from bot.ports.chat import Urgency

log = structlog.get_logger()

Json = dict[str, Any]
API = "https://slack.com/api/"
TRIES = 4  # with pauses of 0.5, 1 and 2 s: an outage is longer, a hiccup is over
FIRST_PAUSE = 0.5  # seconds, doubled after each failure
MOST_LIMITED = 180.0
"""Seconds of Retry-After in one call beyond which waiting helps nobody."""
LONGEST_PAUSE = 600.0
"""Seconds after which Slack is asked again whatever its Retry-After says.

It may be wrong, or a proxy's; for one call in so long no app is turned off.
"""
SOON = 3.0
"""Seconds of a limit that a dialog, or a call which is tried once, waits out.

A trigger lives no longer, and the dialogs of others wait behind it.
"""

_SERVER_FAULTS = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_ADVICE = {
    "not_in_channel": words("Invite the bot to the channel: `/invite @Drover`."),
    "channel_not_found": words(
        "Check the channel id in the configuration, and invite the bot to the channel."
    ),
    "is_archived": words("Choose a channel that is not archived."),
    "missing_scope": words(
        "Install the app again with the manifest that `drover manifest` prints."
    ),
    "invalid_auth": words("Check the bot token."),
    "not_authed": words("Set the bot token."),
    "account_inactive": words("The app was removed from the workspace. Install it again."),
    "not_allowed_token_type": words(
        "A bot token begins with `xoxb-`, an app-level token with `xapp-`. Check that "
        "they are not swapped."
    ),
    "token_revoked": words("The token was revoked. Install the app again."),
    "expired_trigger_id": words("It took too long to open. Press the button again."),
    "trigger_expired": words("It took too long to open. Press the button again."),
    "invalid_trigger_id": words("It took too long to open. Press the button again."),
    "exchanged_trigger_id": words("It was already opened. Press the button again."),
    "message_not_found": words("The message was deleted. Make the request again."),
}


_FOR_OPERATORS = frozenset(
    {
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
"""What an operator can put right: the app, its token or its scopes, not the message.

It is tried again, slowly.
"""


_TOO_LATE = frozenset({"cant_update_message", "edit_window_closed"})
"""A workspace may let messages be edited for some minutes only, or never."""

_NO_JSON = (UnicodeDecodeError, AttributeError, RecursionError)
"""What the SDK raises for an answer that is no text, or no JSON object.

Such as a proxy's page in another encoding: it says nothing of what Slack did.
"""


class SlackRefusedError(ChatRefusedError):
    """Slack understood the call and said no.

    ``code`` is Slack's word for it, ``complaints`` its explanations.
    """

    code = "slack-refused"

    @property
    def for_good(self) -> bool:
        """Whether asking again is useless; not while the app's own rights are what is missing."""
        return self.code not in _FOR_OPERATORS

    def __init__(self, method: str, code: str, complaints: tuple[str, ...] = ()) -> None:
        super().__init__(f"Slack refused {method}: {code}.", _ADVICE.get(code, ""))
        self.code = code
        self.stays = code in _TOO_LATE
        self.complaints = complaints


class SlackUnsureError(ChatError):
    """Slack did not answer, or with a fault of its own: what was asked may have been done."""

    code = "slack-unsure"


class SlackLimitedError(ChatError):
    """Slack wants fewer calls; nothing was done."""

    code = "slack-limited"


class Answer(Json):
    """What Slack answered; a part that it lacks is a fault of Slack, which may have done it."""

    def __init__(self, method: str, data: Json) -> None:
        super().__init__(data)
        self._method = method

    def __missing__(self, key: str) -> NoReturn:
        raise SlackUnsureError(
            words("Slack's answer to {method} has no “{key}”.", method=self._method, key=key),
            words("Try again in a moment."),
        )


def client(token: str, api_url: str = API, timeout: int = 10) -> WebClient:
    """A client that never tries again by itself: whether that is safe is decided here."""
    return WebClient(token=token, base_url=api_url, timeout=timeout, retry_handlers=[])


def call(
    method: Callable[..., Any],
    *,
    pacer: Pacer,
    place: str = "",
    urgency: Urgency = Urgency.VOTE,
    repeatable: bool = True,
    tries: int = TRIES,
    patience: float = MOST_LIMITED,
    taken: bool = False,
    **arguments: Any,
) -> Json:
    """One call of a ``WebClient`` method, until it is answered.

    Args:
        method: bound method, such as ``client.chat_update``.
        pacer: whose turn is waited for; it is told of limits and faults, so that no thread tries by
            itself.
        place: the channel, where the method is limited by channel.
        urgency: who goes first.
        repeatable: asking twice is the same as asking once; only then is it asked again after a
            fault whose outcome is not known. A 429 and a refused connection did nothing, so they
            are always tried again.
        tries: how often it is asked when Slack fails; with 1 also no limit is waited out, but for
            ``SOON``.
        patience: seconds of limits that are waited out in all.
        taken: the first turn was taken already (``Pacer.take``).
        **arguments: as the method takes them; None is left out.

    Raises:
        SlackRefusedError: Slack said no.
        SlackUnsureError: no answer, or a server's fault.
        SlackLimitedError: Slack wants fewer calls, for longer than is worth waiting.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    name = getattr(method, "__name__", "a call").replace("_", ".")
    limited, failed = 0.0, 0
    patience = min(patience, SOON if tries == 1 else MOST_LIMITED)
    while True:
        if not taken:
            if limited + pacer.closure(name) > patience:
                raise _too_many_calls()
            pacer.turn(name, place, urgency)
        taken = False
        try:
            return Answer(name, method(**given).data)
        except SlackApiError as error:
            fault = _judge(name, error)
        except (OSError, HTTPException, SlackRequestError) as error:
            fault = _no_answer(name, error)
        except _NO_JSON as error:
            log.warning("an answer of Slack cannot be read", method=name, error=repr(error)[:200])
            fault = _no_answer(name, error)
        if fault.pause:
            pacer.note_limit(name, fault.pause)
            log.info("Slack limits the bot", method=name, retry_after=fault.pause)
            limited += fault.pause
            if tries == 1 or limited > patience:
                raise fault.error
            continue
        failed += 1
        if failed >= tries or not (fault.harmless or (repeatable and fault.passing)):
            raise fault.error
        log.info("trying Slack again", method=name, error=str(fault.error))
        pacer.note_failure(name, FIRST_PAUSE * 2 ** (failed - 1))


def judge(name: str, error: SlackApiError) -> ChatError:
    """What an answer of Slack means: a refusal, a limit, or a fault of its own."""
    return _judge(name, error).error


class _Fault:
    """What went wrong and what may be done about it: ``pause`` seconds asked for.

    Nothing was done (``harmless``).
    """

    def __init__(self, error: ChatError, *, pause: float = 0.0, harmless: bool = False) -> None:
        self.error = error
        self.pause = pause
        self.harmless = harmless
        self.passing = isinstance(error, SlackUnsureError)


def _too_many_calls() -> SlackLimitedError:
    return SlackLimitedError(
        words("Slack limits the messages of the bot."), words("Wait a few minutes.")
    )


def _judge(name: str, error: SlackApiError) -> _Fault:
    response = error.response
    data = getattr(response, "data", response)  # no object where Slack answered with none
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    status = int(getattr(response, "status_code", 0) or 0)
    if status == 429 or code in ("ratelimited", "rate_limited"):
        limited = _too_many_calls()
        limited.__cause__ = error
        return _Fault(limited, pause=_retry_after(response.headers))
    if status >= 500 or code in _SERVER_FAULTS or not re.fullmatch(r"[a-z0-9_]+", code):
        unsure = SlackUnsureError(
            words("Slack failed at {method} ({code}).", method=name, code=str(status or code[:80])),
            words("Try again in a moment."),
        )
        unsure.__cause__ = error
        return _Fault(unsure)
    refused = SlackRefusedError(name, code, _complaints(data))
    refused.__cause__ = error
    return _Fault(refused)


def _complaints(data: object) -> tuple[str, ...]:
    if not isinstance(data, dict):
        return ()
    metadata = data.get("response_metadata")
    said = metadata.get("messages") if isinstance(metadata, dict) else None
    needed = (f"needed scope: {data['needed']}",) if data.get("needed") else ()
    return (*map(str, said if isinstance(said, list) else ()), *needed)


def _retry_after(headers: Mapping[str, str | list[str]]) -> float:
    """Seconds, from 0.1 to ``LONGEST_PAUSE``; 1 where Slack names none that can be read."""
    found = next(
        (value for key, value in dict(headers).items() if key.lower() == "retry-after"), "1"
    )
    first = (found[0] if found else "") if isinstance(found, list) else found
    return min(max(_seconds(str(first).strip()), 0.1), LONGEST_PAUSE)


def _seconds(told: str) -> float:
    """A number of seconds, or those until a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", told):
        return float(told)
    try:
        at = parsedate_to_datetime(told)
    except ValueError:
        return 1.0
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _no_answer(name: str, error: Exception) -> _Fault:
    said = error.reason if isinstance(error, URLError) else error
    unsure = SlackUnsureError(
        words("Slack does not answer {method}: {reason}.", method=name, reason=str(said)),
        words("Try again in a moment."),
    )
    unsure.__cause__ = error
    never_sent = isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError)
    return _Fault(unsure, harmless=never_sent)


class RecentValues:
    """The last so many things remembered under a key; safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Shared by all threads that call Slack
        self._lock = threading.Lock()
        self._values: dict[object, Any] = {}

    def get(self, key: object) -> Any:
        """What is remembered, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: object, value: object) -> None:
        """Remember; the oldest is forgotten when there are too many."""
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value
            if len(self._values) > self._most:
                del self._values[next(iter(self._values))]
