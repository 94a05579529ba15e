"""What people do in Slack, verified, stored and acknowledged; nothing is worked on here.

Bolt looks through its listeners one by one, so there is one of each kind and the routing is ours. A
listener never
raises: Bolt 1.30 answers 404 for one that raises, and over a socket it never acknowledges at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from slack_bolt import Ack, App
from slack_bolt.error import BoltError
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.adapters.slack import api, payloads
from bot.adapters.slack.api import Json
from bot.adapters.slack.blocks import as_json
from bot.adapters.slack.copies import Copies
from bot.adapters.slack.forms import SOURCE, option
from bot.adapters.slack.limits import OPTIONS
from bot.adapters.slack.membership import Belongs, Member, membership
from bot.adapters.slack.socket_mode import Socket, hang_up
from bot.adapters.slack.text import escape
from bot.domain.card import Card, error_card
from bot.domain.errors import ChatError, ChatRefusedError, DroverError
from bot.domain.message import Message, Words, join, words
from bot.flow.commands.rate_limit import Pace, Paces
from bot.ports import Chat, Request

if TYPE_CHECKING:
    from bot.adapters.slack.http import HttpServer

log = structlog.get_logger()

Accept = Callable[[Request], bool]
Choices = Callable[[str, str], Sequence[tuple[str, str]]]
Reader = Callable[[], Request]
Problems = Callable[[Request], Mapping[str, Message]]
InWords = Callable[[str, Message], str]

ASKING = 1.5  # seconds that an ack may wait for whose member somebody is; Slack waits 3
LOOK_AFTER_SOCKET = 3.0
"""Seconds between two looks whether the socket still lives; the SDK reconnects when it does not."""
EVERYTHING = re.compile("")
NOT_READ = words(
    "Drover could not read what Slack sent, so it did nothing. Try again, and tell the operators "
    "of Drover."
)
TRY_AGAIN = words("Try again in a moment.")
STILL_TOO_FAST = words("Still too many requests. Nothing was done. Wait a little.")
NOTHING_WRITTEN = words("Please write something here.")
NOT_KNOWN = words(
    "Slack does not say whether you are a member of Drover's organisation. Try again in a moment."
)
FOREIGN = words("Drover accepts requests only from members of its own workspace.")


class SocketRefusedError(ChatRefusedError):
    """Slack refuses the app-level token."""

    code = "socket-refused"


def _no_socket(error: Exception) -> ChatError:
    if not isinstance(error, SlackApiError):
        return ChatError(
            words("The socket to Slack does not open: {code}.", code=str(error)), TRY_AGAIN
        )
    fault = api.judge("apps.connections.open", error)
    if not isinstance(fault, api.SlackRefusedError):
        return fault
    return SocketRefusedError(
        words("The socket to Slack does not open: {code}.", code=fault.code),
        words(
            "Check `SLACK_APP_TOKEN`: an app-level token (`xapp-…`) with the scope "
            "`connections:write`."
        ),
    )


def _not_stored(why: Message, advice: Message) -> Words:
    return words(
        "Drover could not store your request, so it did nothing: {why}", why=join((why, advice))
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """The app's secrets: bot token; app-level token (Socket Mode); signing secret (HTTP mode).

    ``api`` is a URL.
    """

    bot_token: str
    app_token: str = ""
    signing_secret: str = ""
    api: str = api.API

    def __repr__(self) -> str:
        return f"Credentials(api={self.api!r})"


class Listeners:
    """Everything that comes from Slack.

    Args:
        credentials: the app's secrets.
        team: the only workspace that may ask, and ``bot_user`` our own user id there
            (``SlackChat.identity``).
        command: the slash command.
        accept: stores a request; False for a duplicate. Whatever it raises is told to the person.
        choices: ``(source, typed) -> (value, text)`` pairs, from memory.
        chat: for what an ack cannot say.
        per_minute: requests a person may make for long.
        enterprise: the organisation (E…) that the workspace is of, whose members may ask too.
        belongs: asks Slack of a person whom a payload of the organisation does not tell to be its
            member.
        in_words: a message as a person reads it, for what an ack says.
        problems: what is wrong with a form's answers, by field, as far as memory tells.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        team: str,
        bot_user: str,
        command: str,
        accept: Accept,
        choices: Choices,
        chat: Chat,
        per_minute: float = 30.0,
        enterprise: str = "",
        belongs: Belongs = lambda _: False,
        in_words: InWords = lambda _, message: str(message),
        problems: Problems = lambda _: {},
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._credentials = credentials
        self._team = team
        self._bot_user = bot_user
        self._accept = accept
        self._choices = choices
        self._chat = chat
        self._command = command
        self._enterprise = enterprise
        self._belongs = belongs
        self._in_words = in_words
        self._problems = problems
        self._paces = Paces(per_minute)
        self._copies = Copies()
        self._per_minute = per_minute
        self._now = now
        self._aside = ThreadPoolExecutor(1, "slack-aside")
        self._asking = ThreadPoolExecutor(2, "slack-members")
        self._socket: Socket | None = None
        self._server: HttpServer | None = None
        self.app = self._bolt(command)

    def _bolt(self, command: str) -> App:
        try:
            app = App(
                client=api.client(self._credentials.bot_token, self._credentials.api),
                signing_secret=self._credentials.signing_secret or "unused-in-socket-mode",
                process_before_response=True,
            )
        except (BoltError, SlackClientError, OSError) as error:
            raise ChatError(
                words("Slack does not accept the bot token: {reason}", reason=str(error)),
                words("Check `SLACK_BOT_TOKEN`."),
            ) from error
        app.command(command)(self._on_command)
        app.action(EVERYTHING)(self._on_action)
        app.view(EVERYTHING)(self._on_view)
        app.options(EVERYTHING)(self._on_options)
        app.event(EVERYTHING)(self._on_event)
        return app

    # -- coming and going

    def connect(self) -> None:
        """Open the socket and return; it reconnects by itself.

        Raises:
            ChatError: Slack refuses the app-level token, or does not answer.
        """
        client = WebClient(token=self._credentials.app_token, base_url=self._credentials.api)
        self._socket = Socket(
            self.app,
            self._credentials.app_token,
            web_client=client,
            ping_interval=LOOK_AFTER_SOCKET,
        )
        try:
            self._socket.connect()  # type: ignore[no-untyped-call] # bolt left it untyped
        except (SlackClientError, OSError) as error:
            hang_up(self._socket)
            self._socket = None
            raise _no_socket(error) from error

    def is_connected(self) -> bool:
        """Whether the socket is open."""
        return self._socket is not None and bool(self._socket.client.is_connected())

    def http_server(self, host: str, port: int) -> HttpServer:
        """A server for HTTP mode; requests without a fresh and right signature get 401.

        Raises:
            ChatError: there is no signing secret, or the address is taken.
        """
        if not self._credentials.signing_secret:
            raise ChatError(
                words("HTTP mode needs the signing secret of the app."),
                words("Set `SLACK_SIGNING_SECRET`."),
            )
        from bot.adapters.slack.http import HttpServer

        try:
            self._server = HttpServer(self.app, host, port)
        except OSError as error:
            raise ChatError(
                words(
                    "Cannot listen on {host}:{port}: {reason}.",
                    host=host,
                    port=str(port),
                    reason=str(error),
                ),
                words("Choose another `slack.http_host` or `slack.http_port`."),
            ) from error
        return self._server

    def close(self) -> None:
        """Take nothing more; what is being said aside is finished."""
        if self._socket is not None:
            hang_up(self._socket)
        if self._server is not None:
            self._server.close()
        self._aside.shutdown()
        self._asking.shutdown(wait=False, cancel_futures=True)

    # -- the five listeners

    def _on_command(self, ack: Ack, body: Json) -> None:
        person = body.get("user_id", "")
        why = self._take(body, lambda: payloads.from_command(body, self._now()), person)
        if why:
            ack(text=escape(self._in_words(person, why)), response_type="ephemeral")
        else:
            ack()

    def _on_action(self, ack: Ack, body: Json) -> None:
        person = body.get("user", {}).get("id", "")
        why = self._take(body, lambda: payloads.from_click(body, self._now()), person)
        ack()
        place = (body.get("channel") or {}).get("id", "")
        self._say(why, person, place, answer_to=body.get("response_url") or "")

    def _on_view(self, ack: Ack, body: Json) -> None:
        person = body.get("user", {}).get("id", "")
        if wrong := self._wrong(body, person):
            ack(response_action="errors", errors=wrong)
            return
        why = self._take(body, lambda: payloads.from_form(body, self._now()), person)
        field = next(
            (block["block_id"] for block in body["view"]["blocks"] if block.get("type") == "input"),
            None,
        )
        if not why:
            ack()
        elif field:
            ack(response_action="errors", errors={field: self._in_words(person, why)})
        else:
            ack()
            self._say(why, person, "")

    def _wrong(self, body: Json, person: str) -> dict[str, str]:
        """What is wrong with a form, all at once and at its fields: what was typed stays there."""
        found: dict[str, Message] = dict.fromkeys(payloads.blank(body["view"]), NOTHING_WRITTEN)
        if not self._stranger(body, person):
            try:
                found |= self._problems(payloads.from_form(body, self._now()))
            except Exception:  # a listener never raises; the form is then handled as it is
                log.exception("a form could not be checked", person=person)
        fields = [
            each["block_id"] for each in body["view"]["blocks"] if each.get("type") == "input"
        ]
        return {
            name if name in fields else fields[0]: self._in_words(person, text).replace("`", "")
            for name, text in found.items()
            if fields
        }

    def _on_event(self, ack: Ack, body: Json) -> None:
        event = body.get("event", {})
        person = event.get("user", "") if isinstance(event.get("user"), str) else ""
        why: Message = ""
        if event.get("type") == "app_home_opened" and event.get("tab") == "home":
            why = self._take(body, lambda: payloads.from_home(event, self._now()), person)
        elif event.get("type") in ("app_mention", "message") and payloads.is_for_us(
            event, self._bot_user
        ):
            why = self._take(
                body,
                lambda: payloads.from_mention(event, self._bot_user, self._command, self._now()),
                person,
            )
        ack()
        self._say(why, person, event.get("channel", ""), event.get("thread_ts", ""))

    def _on_options(self, ack: Ack, body: Json) -> None:
        person = (body.get("user") or {}).get("id", "")
        ack(options=[] if self._stranger(body, person) else self._options(body))

    # -- what they share

    def _take(self, body: Json, read: Reader, person: str) -> Message:
        """Store a request; '' when it is stored (or was before), else what to tell the person."""
        request, fault = self._read(read)
        # A copy is no further request: it is not counted, and what was done is not denied
        if request is not None and (said := self._copies.verdict(request)) is not None:
            return said
        pace = self._paces.ask(person)
        if pace is Pace.TOLD:
            return STILL_TOO_FAST
        if pace is Pace.TOO_FAST:
            log.warning("requests refused: too fast", person=person)
            return words(
                "Too many requests: Drover allows {rate} a minute. Nothing was done. "
                "Wait a little.",
                rate=self._per_minute,
            )
        if why := self._stranger(body, person):
            log.warning("request from another workspace refused", person=person)
            return why
        if request is None:
            log.error(
                "request not understood", person=person, type=body.get("type"), exc_info=fault
            )
            return NOT_READ
        return self._store(request)

    @staticmethod
    def _read(read: Reader) -> tuple[Request | None, Exception | None]:
        try:
            return read(), None
        except Exception as error:  # noqa: BLE001 - a listener never raises; the caller logs it
            return None, error

    def _stranger(self, body: Json, person: str) -> Message:
        """Why somebody may ask for nothing at all; '' for a member.

        In doubt Slack is asked, and in doubt it is no.
        """
        member = membership(body, self._team, self._enterprise)
        if member is Member.OURS:
            return ""
        if member is Member.FOREIGN:
            return FOREIGN
        try:
            return "" if self._asking.submit(self._belongs, person).result(ASKING) else FOREIGN
        except (ChatError, TimeoutError) as error:
            log.warning(
                "whose member somebody is could not be asked", person=person, error=str(error)
            )
            return NOT_KNOWN

    def _store(self, request: Request) -> Message:
        try:
            if self._accept(request):
                self._copies.add(request)
        except DroverError as error:
            log.exception("request not stored", key=request.key)
            return _not_stored(error.text, error.advice or TRY_AGAIN)
        except Exception as error:  # a listener never raises; the person is told
            log.exception("request not stored", key=request.key)
            return _not_stored(f"{type(error).__name__}.", TRY_AGAIN)
        return ""

    def _options(self, body: Json) -> list[Json]:
        source = str(body.get("action_id", "")).removeprefix(SOURCE)
        try:
            found = self._choices(source, str(body.get("value") or ""))
            return [as_json(option(value, text)) for value, text in found[:OPTIONS]]
        except Exception:  # a listener never raises; an empty list is what people then see
            log.exception("no choices", source=source)
            return []

    def _say(
        self, text: Message, person: str, channel: str, thread: str = "", answer_to: str = ""
    ) -> None:
        """Tell a person aside, after the ack: it may take longer than Slack waits.

        A flood is answered once.
        """
        if text and person and text != STILL_TOO_FAST:
            self._aside.submit(self._tell, person, channel, thread, answer_to, error_card(text))

    def _tell(self, person: str, channel: str, thread: str, answer_to: str, card: Card) -> None:
        try:
            self._chat.whisper(channel, person, card, thread=thread, answer_to=answer_to)
        except Exception:  # nobody waits for this thread's answer, so it is logged
            log.exception("could not tell a person", person=person)
