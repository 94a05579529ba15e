"""A chat in memory that remembers what was shown to whom, and fails when told to."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from bot.domain.card import Card, Form
from bot.domain.errors import ChatError, ChatRefusedError
from bot.ports import MessageRef, Urgency
from bot.ports.chat import NOWHERE, AnswerPlace, Lost, Shown


@dataclass(frozen=True, slots=True)
class Whisper:
    """A message only one person saw.

    ``channel`` is '' for a direct message, ``thread`` where it stood.
    """

    channel: str
    user: str
    card: Card
    thread: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ChatError
    after: bool


@dataclass(frozen=True, slots=True)
class _Edit:
    card: Card
    shown: Shown | None
    lost: Lost | None


@dataclass(slots=True)
class FakeChat:
    """``bot.ports.Chat`` in memory; safe for threads. Read its attributes to see what people see.

    Attributes:
        messages: every posted message as it now stands, oldest first.
        threads: the parent of each message that was posted into a thread.
        edits: every edit, in order, those by ``later`` too.
        whispers: what only one person saw, direct messages too, in order.
        replaced: addresses through which a message was replaced.
        files: what was sent to whom: user, name, content.
        forms: opened dialogs by trigger.
        form_places: where each was asked for.
        homes: each person's home.
        groups: the answer of ``groups_of``; set it.
        locales: the answer of ``locale_of``; set it.
        groups_error: what ``groups_of`` raises instead.
        expired: triggers that have died; ``open_form`` refuses them. A trigger that was used is
            dead too.
        lost: errors that ``later`` had to swallow.
        owed: edits more urgent than progress that failed; ``flush`` tries them again.
    """

    messages: dict[MessageRef, Card] = field(default_factory=dict)
    threads: dict[MessageRef, MessageRef] = field(default_factory=dict)
    edits: list[tuple[MessageRef, Card]] = field(default_factory=list)
    whispers: list[Whisper] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    forms: dict[str, Form] = field(default_factory=dict)
    form_places: dict[str, AnswerPlace] = field(default_factory=dict)
    homes: dict[str, Card] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    locales: dict[str, str] = field(default_factory=dict)
    groups_error: ChatError | None = None
    expired: set[str] = field(default_factory=set)
    owed: dict[MessageRef, _Edit] = field(default_factory=dict)
    lost: list[ChatError] = field(default_factory=list)
    _keys: dict[tuple[str, str], MessageRef] = field(default_factory=dict)
    _failures: defaultdict[str, deque[_Failure]] = field(default_factory=lambda: defaultdict(deque))
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(
        self, method: str, *, times: int = 1, after: bool = False, error: ChatError | None = None
    ) -> None:
        """Make the next ``times`` calls of ``method`` (such as ``post``) raise.

        Args:
            method: name of the port's method.
            times: how many calls.
            after: do what is asked first: the answer is what gets lost.
            error: what to raise.
        """
        failure = _Failure(
            error or ChatError("The chat does not answer.", "Try again in a moment."), after
        )
        with self._lock:
            self._failures[method].extend([failure] * times)

    def post(
        self,
        channel: str,
        card: Card,
        *,
        thread: MessageRef | None = None,
        key: str = "",
        look: bool = True,
        urgency: Urgency = Urgency.VOTE,  # noqa: ARG002 - nothing limits the fake
    ) -> MessageRef:
        """Post a message.

        With ``key``, a message already posted under it is found and updated instead.
        """
        with self._acting("post"):
            known = self._keys.get((channel, key)) if key and look else None
            if known is not None and known in self.messages:
                self._replace(known, card)
                return known
            ref = MessageRef(channel, f"1700000000.{next(self._numbers):06d}")
            self.messages[ref] = card
            if thread is not None:
                self.threads[ref] = thread
            if key:
                self._keys[channel, key] = ref
            return ref

    def update(self, ref: MessageRef, card: Card) -> None:
        """Replace a message."""
        with self._acting("update"):
            self._replace(ref, card)

    def later(
        self,
        ref: MessageRef,
        card: Card,
        *,
        urgency: Urgency = Urgency.PROGRESS,
        shown: Shown | None = None,
        lost: Lost | None = None,
    ) -> None:
        """Replace a message; here at once.

        Never raises: failures are in ``lost``, what is owed in ``owed``.
        """
        kept = urgency is not Urgency.PROGRESS or ref in self.owed
        self._edit(ref, _Edit(card, shown, lost), kept=kept)

    def flush(self) -> None:
        """Try again what is owed."""
        for ref, edit in tuple(self.owed.items()):
            self._edit(ref, edit, kept=True)

    def _edit(self, ref: MessageRef, edit: _Edit, *, kept: bool) -> None:
        self.owed.pop(ref, None)
        call: Shown | None = edit.shown
        try:
            with self._acting("later"):
                self._replace(ref, edit.card)
        except ChatRefusedError as error:
            self.lost.append(error)
            call = partial(edit.lost, error) if edit.lost else None
        except ChatError as error:
            self.lost.append(error)
            call = None
            if kept:
                self.owed[ref] = edit
        if call is not None:
            call()

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
        """A message that only one person sees."""
        with self._acting("whisper"):
            if instead and answer_to:
                self.replaced.append(answer_to)
            self.whispers.append(Whisper(channel, user, card, thread))

    def tell(self, user: str, card: Card) -> None:
        """A direct message."""
        with self._acting("tell"):
            self.whispers.append(Whisper("", user, card))

    def send_file(self, user: str, name: str, content: bytes, card: Card) -> None:
        """Keep a file that only one person gets, and say what it is."""
        with self._acting("send_file"):
            self.files.append((user, name, content))
            self.whispers.append(Whisper("", user, card))

    def open_form(
        self,
        trigger: str,
        form: Form,
        *,
        locale: str = "",  # noqa: ARG002 - shown as it is
        place: AnswerPlace = NOWHERE,
    ) -> None:
        """Open a dialog, once a trigger."""
        with self._acting("open_form"):
            if not trigger or trigger in self.expired or trigger in self.forms:
                raise ChatError(
                    "The form did not open.", "It took too long to open; press the button again."
                )
            self.forms[trigger] = form
            self.form_places[trigger] = place

    def publish_home(self, user: str, card: Card) -> None:
        """Fill a person's home."""
        with self._acting("publish_home"):
            self.homes[user] = card

    def groups_of(self, user: str) -> frozenset[str]:
        """What ``groups`` says; nothing for others."""
        if self.groups_error is not None:
            raise self.groups_error
        return self.groups.get(user, frozenset())

    def permalink(self, ref: MessageRef) -> str:
        """An address made of channel and timestamp, as Slack makes it."""
        if ref not in self.messages:
            return ""
        return f"https://chat.example/archives/{ref.channel}/p{ref.ts.replace('.', '')}"

    def locale_of(self, user: str) -> str:
        """As set in ``locales``."""
        return self.locales.get(user, "")

    def cards_for(self, user: str) -> tuple[Card, ...]:
        """What only this person saw, oldest first."""
        return tuple(whisper.card for whisper in self.whispers if whisper.user == user)

    @contextmanager
    def _acting(self, method: str) -> Iterator[None]:
        with self._lock:
            failure = self._failures[method].popleft() if self._failures[method] else None
            if failure is not None and not failure.after:
                raise failure.error
            yield
            if failure is not None:
                raise failure.error

    def _replace(self, ref: MessageRef, card: Card) -> None:
        if ref not in self.messages:
            raise ChatRefusedError(
                "There is no such message.", "The message was deleted; ask for the operation anew."
            )
        self.messages[ref] = card
        self.edits.append((ref, card))
