"""The chat port over Slack's Web API.

No message is lost, none is posted twice, none is older than it looks.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, TypeVar

import structlog
from slack_sdk import WebClient
from slackblocks import InvalidUsageError

from bot.adapters.language import Language, Languages
from bot.adapters.slack import charts, fit_blocks
from bot.adapters.slack.api import (
    SOON,
    TRIES,
    Json,
    RecentValues,
    SlackRefusedError,
    SlackUnsureError,
    call,
)
from bot.adapters.slack.blocks import (
    Files,
    Surface,
    as_json,
    charts_of,
    home,
    pictures,
    render,
    sections,
)
from bot.adapters.slack.coalescer import Coalescer
from bot.adapters.slack.forms import modal
from bot.adapters.slack.groups import Groups
from bot.adapters.slack.locales import Locales
from bot.adapters.slack.membership import is_member
from bot.adapters.slack.pacer import Pacer
from bot.adapters.slack.plaintext import as_text
from bot.adapters.slack.text import is_user, plain
from bot.domain.card import Card, Chart, Context, Form, Picture
from bot.domain.errors import ChatError
from bot.domain.message import words
from bot.ports import MessageRef, Urgency
from bot.ports.chat import NOWHERE, AnswerPlace, Lost, Shown

T = TypeVar("T")

log = structlog.get_logger()

EVENT = "drover"
REFUSED_BLOCKS = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_blocks_too_long",
        "invalid_arguments",
        "msg_too_long",
    }
)
PICTURE_ELSEWHERE = words("The picture is in your direct messages with the app.")
NO_WRITING = frozenset({"is_archived", "channel_not_found", "not_in_channel", "ekm_access_denied"})
SEARCHED_SECONDS = 24 * 3600.0
"""How far back a key is looked for: a crash is over long before."""
SEARCHED_PAGES = 20  # 4,000 messages: a search for one key must end in a busy channel
PAGE = 200  # messages: what Slack's documentation recommends at most
FILE_TRIES = 4  # Slack knows a fresh file a moment after it was uploaded


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is: workspace, user id, and the organisation that the workspace is of (''.

    None).
    """

    team: str
    user: str
    enterprise: str = ""


class SlackChat:
    """``bot.ports.Chat`` on Slack.

    Args:
        client: made by ``web.client``, so that it never tries again by itself.
        group_cache: seconds for which user groups are remembered.
        progress_every: seconds between two edits of one message that are progress.
        pacer: how often which method may be called.
        languages: for the few words that are its own.
    """

    def __init__(
        self,
        client: WebClient,
        *,
        group_cache: float = 300.0,
        progress_every: float = 2.0,
        pacer: Pacer | None = None,
        languages: Languages | None = None,
    ) -> None:
        self._languages = languages or Languages()
        self._client = client
        self._pacer = pacer or Pacer()
        self._groups = Groups(client, self._pacer, group_cache)
        self._locales = Locales(client, self._pacer)
        self._edits = Coalescer(self._edit, self._pacer, progress_every)
        self._posted = RecentValues(1000)
        self._conversations = RecentValues(1000)  # by the person's id
        self._members = RecentValues(1000)
        self._files = RecentValues(200)
        self._native_charts = True
        self._bot = ""  # the app's own id as a writer of messages, once known

    def identity(self, tries: int = TRIES) -> Identity:
        """Who the token belongs to.

        Raises:
            ChatError: the token is not accepted, or Slack does not answer.
        """
        answer = self._call(self._client.auth_test, tries=tries)
        self._bot = answer.get("bot_id") or ""
        return Identity(answer["team_id"], answer["user_id"], answer.get("enterprise_id") or "")

    def belongs(self, user: str, me: Identity) -> bool:
        """Whether Slack says that a person is a member of the bot's workspace or organisation.

        Remembered.

        Raises:
            ChatError: Slack does not tell.
        """
        if (known := self._members.get(user)) is None:
            answer = self._call(self._client.users_info, urgency=Urgency.FINAL, tries=1, user=user)
            known = is_member(answer["user"], me.team, me.enterprise)
            self._members.put(user, known)
        return bool(known)

    def writable(self, channel: str, me: Identity) -> None:
        """Whether the bot may write in a channel.

        It says something there that only itself could see.

        Raises:
            ChatError: it may not: the channel is archived, or is for announcements of others.
        """
        try:
            self._call(
                self._client.chat_postEphemeral,
                channel=channel,
                user=me.user,
                text="Drover can write here.",  # no message: only the bot itself could see it
            )
        except SlackRefusedError as error:
            if error.code in NO_WRITING or error.code.startswith("restricted_action"):
                raise
            log.info("not known whether the bot may write", channel=channel, error=str(error))

    def readable(self, channel: str) -> None:
        """Whether the bot may read a channel, and so is in it.

        Raises:
            ChatError: there is no such channel, or the bot was not invited.
        """
        self._call(self._client.conversations_history, channel=channel, limit=1)

    def post(
        self,
        channel: str,
        card: Card,
        *,
        thread: MessageRef | None = None,
        key: str = "",
        look: bool = True,
        urgency: Urgency = Urgency.VOTE,
    ) -> MessageRef:
        """Post a message.

        With ``key``, a message already posted under it is found and updated instead.
        """
        known = self._already(channel, thread, key) if key and look else None
        if known is not None and self._still_there(known, card):
            return known
        ref: MessageRef = self._deliver(
            card,
            lambda text, blocks: self._post_once(
                channel, text, blocks, thread, key, urgency=urgency
            ),
        )
        if key:
            self._posted.put((channel, thread, key), ref)
        return ref

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message, before what is less urgent.

        Wait until it, or a newer edit, is shown.
        """
        self._edits.now(ref, card)

    def later(
        self,
        ref: MessageRef,
        card: Card,
        *,
        urgency: Urgency = Urgency.PROGRESS,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Replace a message soon: of several only the last is shown. Returns at once."""
        self._edits.later(ref, card, urgency, shown, lost)

    def flush(self) -> None:
        """Show everything that waits to be shown ``later``."""
        self._edits.flush()

    def close(self, timeout: float = 10.0) -> None:
        """Show what waits, for at most so many seconds, and end."""
        self._edits.close(timeout)

    def whisper(
        self,
        channel: str,
        user: str,
        card: Card,
        *,
        thread: str = "",
        answer_to: str = "",
        instead: bool = False,
    ) -> None:
        """A message that only one person sees; a direct message where that is not possible."""
        if instead and answer_to and self._answer(answer_to, card, instead=True):
            return
        # There a real message is as private, and stays
        if not channel or is_user(channel):
            self.tell(user, card)
            return
        if channel.startswith("D"):
            parent = MessageRef(channel, thread) if thread else None
            self._deliver(
                card, lambda text, blocks: self._post_once(channel, text, blocks, parent, "")
            )
            return
        if pictures(card):  # Slack shares no file in an ephemeral message
            self.tell(user, card)
            language = self._languages.of(self._locales.of(user))
            card = _in_words(card, language)

        def send(text: str, blocks: list[Json]) -> None:
            self._call(
                self._client.chat_postEphemeral,
                channel=channel,
                user=user,
                thread_ts=thread or None,
                **_contents(text, blocks),
            )

        try:
            self._deliver(card, send)
        except SlackRefusedError as error:
            log.info("no ephemeral message there", channel=channel, error=str(error))
            if not (answer_to and self._answer(answer_to, card)):
                self.tell(user, card)

    def tell(self, user: str, card: Card) -> None:
        """Send a direct message.

        When its fate is not known it is looked for in the conversation, where that is known, and
        else sent again: rather twice than not at all.
        """
        self._deliver(card, lambda text, blocks: self._post_once(user, text, blocks, None, ""))

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Send a file in a direct message, below a card."""
        ref: MessageRef = self._deliver(
            card, lambda text, blocks: self._post_once(user, text, blocks, None, "")
        )
        self._call(
            self._client.files_upload_v2,
            channel=ref.channel,
            content=content,
            filename=name,
            title=name,
        )

    def open_form(
        self,
        trigger: str,
        form: Form,
        *,
        locale: str = "",  # noqa: ARG002 - it is translated by now
        place: AnswerPlace = NOWHERE,
    ) -> None:
        """Open a dialog; a trigger lives three seconds, and works once."""
        try:
            view = modal(form, place)
        except InvalidUsageError as error:
            raise ChatError(
                words(
                    "The form “{title}” cannot be shown: {reason}",
                    title=form.title,
                    reason=str(error),
                ),
                words("Use the command instead."),
            ) from error
        self._call(
            self._client.views_open,
            urgency=Urgency.FINAL,
            repeatable=False,
            patience=SOON,
            trigger_id=trigger,
            view=view,
        )

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's App Home."""
        view = home(card, self._upload_pictures(pictures(card)))
        shown = fit_blocks.fit(plain(card.text), view["blocks"], as_text(card), "home")
        if shown.faults:
            log.warning("home shown as text: blocks would be refused", faults=shown.faults)
        blocks = shown.blocks or _as_sections(shown.text)
        try:
            self._publish(user, blocks)
        except SlackRefusedError as error:
            if error.code not in REFUSED_BLOCKS:
                raise
            log.warning(
                "home shown as text: Slack refused its blocks", said=error.complaints or error.code
            )
            self._publish(user, _as_sections(as_text(card)))

    def groups_of(self, user: str) -> frozenset[str]:
        """Ids and handles of the user groups a person is in; see ``Groups``."""
        return self._groups.of(user)

    def locale_of(self, user: str) -> str:
        """The locale that a person has chosen; cached; '' when it cannot be known."""
        return self._locales.of(user)

    def permalink(self, ref: MessageRef) -> str:
        """The address of a message; '' when Slack does not tell it at once."""
        try:
            answer = self._call(
                self._client.chat_getPermalink,
                urgency=Urgency.PROGRESS,
                tries=1,
                channel=ref.channel,
                message_ts=ref.ts,
            )
        except ChatError as error:
            log.info("no address of a message", channel=ref.channel, ts=ref.ts, error=str(error))
            return ""
        return str(answer["permalink"])

    # -- how messages get out

    def _call(self, method: Callable[..., Any], **arguments: Any) -> Json:
        return call(method, pacer=self._pacer, **arguments)

    def _answer(self, address: str, card: Card, *, instead: bool = False) -> bool:
        """Say it to a ``response_url``: it works also where the app may not write.

        Whether Slack took it.
        """
        return any(
            self._respond(address, text, blocks, instead=instead)
            for text, blocks, _ in self._forms(card, edit=True)
        )

    def _respond(self, address: str, text: str, blocks: list[Json], *, instead: bool) -> bool:
        said = {
            "response_type": "ephemeral",
            "replace_original": instead,
            **_contents(text, blocks),
        }
        # Slack's own address, out of a verified payload
        request = urllib.request.Request(  # noqa: S310
            address, json.dumps(said).encode(), {"Content-Type": "application/json; charset=utf-8"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._client.timeout):  # noqa: S310
                return True
        except (OSError, HTTPException, ValueError) as error:
            log.info("the response address took no answer", error=str(error))
            return False

    def _publish(self, user: str, blocks: list[Json]) -> None:
        self._call(
            self._client.views_publish, user_id=user, view={"type": "home", "blocks": blocks}
        )

    def _edit(self, ref: MessageRef, card: Card, urgency: Urgency) -> None:
        """Edit once; the first call's turn was taken by the queue of edits."""
        taken = [True]

        def send(text: str, blocks: list[Json]) -> None:
            self._call(
                self._client.chat_update,
                urgency=urgency,
                tries=1,
                taken=bool(taken and taken.pop()),
                channel=ref.channel,
                ts=ref.ts,
                **_contents(text, blocks),
            )

        self._deliver(card, send, edit=True)

    def _deliver(
        self, card: Card, send: Callable[[str, list[Json]], T], *, edit: bool = False
    ) -> T:
        """Send a card in its best form that Slack takes: see ``_forms``."""
        refusal: SlackRefusedError | None = None
        for text, blocks, drawn in self._forms(card, edit=edit):
            try:
                answer = self._send_with_files(text, blocks, send)
            except SlackRefusedError as error:
                if error.code not in REFUSED_BLOCKS:
                    raise
                log.warning(
                    "Slack refused a message's blocks",
                    text=text[:80],
                    said=error.complaints or error.code,
                )
                refusal = error
                continue
            if drawn and refusal is not None:
                self._native_charts = False  # this workspace draws no charts; do not ask again
            return answer
        raise refusal or ChatError(words("There was nothing to send."))

    def _send_with_files(
        self, text: str, blocks: list[Json], send: Callable[[str, list[Json]], T]
    ) -> T:
        """Send; a picture that was just uploaded is refused for a moment.

        Until Slack has looked at it.
        """
        for attempt in range(FILE_TRIES):
            try:
                return send(text, blocks)
            except SlackRefusedError as error:
                fresh = any(
                    "slack file" in each.lower() or "slack_file" in each
                    for each in error.complaints
                )
                if not fresh or attempt == FILE_TRIES - 1:
                    raise
                time.sleep(self._pacer.rest(0.5 * (attempt + 1)))
        raise AssertionError("unreachable")

    def _forms(self, card: Card, *, edit: bool) -> Iterator[tuple[str, list[Json], bool]]:
        """The card as ``(text, blocks, charts drawn)``.

        Each made only when Slack refused the one before.

        Everything; charts as pictures; tables, plans, charts and pictures in words; text alone. An
        edit shows no picture that the message did not show before: Slack shares a file with a
        message's readers when it is posted, and an edit with a new one shows "file not found"
        (bolt-python#1295). It is told in words there.
        """
        files = self._upload_pictures(pictures(card), known_only=edit)
        drawable = charts_of(card)
        if (self._native_charts or not drawable) and (form := self._form(card, files)):
            yield *form, False
        if (
            drawable
            and not edit
            and (form := self._form(card, {**files, **self._draw_charts(drawable)}))
        ):
            yield *form, True
        if form := self._form(card, {}, "modal"):  # a modal's blocks are the plainest; buttons stay
            yield *form, False
        yield as_text(card), [], False

    def _form(
        self, card: Card, files: Files, surface: Surface = "message"
    ) -> tuple[str, list[Json]] | None:
        try:
            text, blocks = render(card, files, surface)
        except InvalidUsageError:
            log.exception("a form of a message cannot be built", text=plain(card.text)[:80])
            return None
        shown = fit_blocks.fit(text, blocks, as_text(card))
        if shown.faults:
            log.warning(
                "message shown as text: blocks would be refused",
                text=text[:80],
                faults=shown.faults,
            )
        return shown.text, shown.blocks

    # -- pictures

    def _upload_pictures(
        self, wanted: tuple[Picture, ...], *, known_only: bool = False
    ) -> dict[Picture | Chart, str]:
        found: dict[Picture | Chart, str] = {}
        for picture in wanted:
            if file := self._file(picture, known_only=known_only):
                found[picture] = file
        return found

    def _draw_charts(self, wanted: tuple[Chart, ...]) -> dict[Picture | Chart, str]:
        found: dict[Picture | Chart, str] = {}
        for chart in wanted:
            if charts.drawable(chart) is not None and (file := self._file(charts.draw(chart))):
                found[chart] = file
        return found

    def _file(self, picture: Picture, *, known_only: bool = False) -> str:
        """The file id of a picture, uploaded once.

        '' when that fails: the message then tells it in words.
        """
        digest = hashlib.sha256(picture.png).hexdigest()
        if (known := self._files.get(digest)) or known_only:
            return str(known or "")
        try:
            answer = self._call(
                self._client.files_upload_v2,
                content=picture.png,
                filename=f"{digest[:12]}.png",
                title=plain(picture.title) or plain(picture.alt)[:100],
                alt_txt=plain(picture.alt)[:1000],
            )
        except ChatError as error:
            log.warning("picture not uploaded", title=picture.title, error=str(error))
            return ""
        file = str(answer["files"][0]["id"])
        self._files.put(digest, file)
        return file

    # -- once and only once

    def _post_once(
        self,
        channel: str,
        text: str,
        blocks: list[Json],
        thread: MessageRef | None,
        key: str,
        *,
        urgency: Urgency = Urgency.VOTE,
    ) -> MessageRef:
        """Post; when the answer is lost, look whether it was done before doing it again."""
        marker = key or uuid.uuid4().hex
        metadata = {"event_type": EVENT, "event_payload": {"key": marker}}
        for attempt in range(3):
            try:
                answer = self._call(
                    self._client.chat_postMessage,
                    place=channel,
                    urgency=urgency,
                    repeatable=False,
                    channel=channel,
                    thread_ts=thread.ts if thread else None,
                    metadata=metadata,
                    **_contents(text, blocks),
                    **_QUIET,
                )
                if is_user(channel):
                    self._conversations.put(channel, answer["channel"])
                return MessageRef(answer["channel"], answer["ts"])
            except SlackUnsureError as error:
                log.warning(
                    "a message's fate is not known, looking for it",
                    channel=channel,
                    error=str(error),
                )
                if attempt == 2:
                    raise
                time.sleep(self._pacer.rest(0.5 * 2**attempt))
                # Slack lists no history by a person's id, only by that of the conversation.
                place = self._conversations.get(channel) if is_user(channel) else channel
                found = self._look(place, thread, marker, error) if place else None
                if found is not None:
                    return found
        raise AssertionError("unreachable")

    def _already(self, channel: str, thread: MessageRef | None, key: str) -> MessageRef | None:
        """The message posted under a key, by this process or by one that died."""
        known: MessageRef | None = self._posted.get((channel, thread, key))
        if known is not None:
            return known
        try:
            return self._find(channel, thread, key)
        except ChatError as error:
            log.warning(
                "cannot look for an earlier message, posting a new one",
                channel=channel,
                error=str(error),
            )
            return None

    def _still_there(self, ref: MessageRef, card: Card) -> bool:
        """Update a message that was posted before; False when it is deleted or stays as it is."""
        try:
            self.update(ref, card)
        except SlackRefusedError as error:
            if error.code != "message_not_found" and not error.stays:
                raise
            return False
        return True

    def _look(
        self, channel: str, thread: MessageRef | None, marker: str, lost: SlackUnsureError
    ) -> MessageRef | None:
        try:
            return self._find(channel, thread, marker)
        except ChatError as error:
            log.warning(
                "cannot look whether a message was posted", channel=channel, error=str(error)
            )
            raise lost from error

    def _find(self, channel: str, thread: MessageRef | None, marker: str) -> MessageRef | None:
        """The app's message with this key among the channel's (or the thread's) of the last day.

        As far as pages reach. Another cluster's bot may have posted under the same key: a report of
        the same hour, say.

        A channel is read from now backwards: with ``oldest`` alone Slack would begin at the horizon
        and page forward, and a busy channel's newest messages would never be reached. A thread
        comes oldest first, with no other order.
        """
        method = (
            self._client.conversations_replies if thread else self._client.conversations_history
        )
        if not self._bot:
            self.identity()
        horizon = time.time() - SEARCHED_SECONDS
        cursor: str | None = None
        for _ in range(SEARCHED_PAGES):
            page = self._call(
                method,
                channel=channel,
                ts=thread.ts if thread else None,
                include_all_metadata=True,
                limit=PAGE,
                cursor=cursor,
            )
            for message in page["messages"]:
                metadata = message.get("metadata") or {}
                if (
                    message.get("bot_id") == self._bot
                    and metadata.get("event_type") == EVENT
                    and metadata.get("event_payload", {}).get("key") == marker
                ):
                    return MessageRef(channel, message["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            too_old = not thread and any(float(each["ts"]) < horizon for each in page["messages"])
            if not cursor or too_old:
                break
        return None


def _in_words(card: Card, language: Language) -> Card:
    """A card whose pictures are told, and where they are to be seen."""
    told_of = [
        Context((each.alt,)) if isinstance(each, Picture) else each for each in card.elements
    ]
    return replace(card, elements=(*told_of, Context((language.translate(PICTURE_ELSEWHERE),))))


_QUIET = {"unfurl_links": False, "unfurl_media": False}


def _contents(text: str, blocks: list[Json]) -> Json:
    """``text`` without ``blocks`` takes the blocks of an edited message away."""
    return {"text": text, "blocks": blocks} if blocks else {"text": text}


def _as_sections(text: str) -> list[Json]:
    return [as_json(block) for block in sections(text)]
