"""Shows operations in the chat and says what is to be said of them.

Nobody who works or decides waits for it.

What must reach people is kept in the database before it is said, and said by the outbox, in order:
where an operation is shown for the first time, what stands in its thread, direct messages, and the
last word in its message. So a crash loses none of it. Edits of messages go through the chat's own
queue, in which the newest replaces what waits.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import structlog

from bot.domain.card import Card, error_card
from bot.domain.errors import ChatRefusedError, DroverError
from bot.domain.message import join, words
from bot.domain.operation import BOT, Operation, Progress, State
from bot.domain.personal import About, Personal
from bot.flow.operations import outbox_values
from bot.flow.operations.outbox import Item, NotYetError, Outbox
from bot.flow.operations.outbox_values import CopyWord, DirectWord, LastWord, NoteWord, Word
from bot.ports import Chat, MessageRef, Store, Urgency

log = structlog.get_logger()

Draw = Callable[[Operation, Progress | None], Card]

PersonalOf = Callable[[str], tuple[Personal, float]]


def no_wishes(_user: str) -> tuple[Personal, float]:
    """Settings of people who have none."""
    return Personal(), 0.0


FOLLOWING = "following"  # the lane of what follows decisions
SHOWING = "showing"  # the lane in which operations are drawn
LONGEST_REST = 600.0  # seconds between two looks whether quiet hours are over: they may be changed
NOWHERE = "nowhere"  # the lane of what has no channel yet


class OperationMessages:
    """Shows operations.

    State is reread under a lock, so an older state never overwrites a newer one.

    Args:
        store: where operations, their copies and what is still to be said are kept.
        chat: where they are shown.
        draw: an operation's card.
        slash: the slash command, for advice.
        personal: what a person wants of direct messages, and for how many seconds more that
            person's quiet hours last.
    """

    def __init__(
        self,
        store: Store,
        chat: Chat,
        draw: Draw,
        slash: str = "/kvm",
        personal: PersonalOf = no_wishes,
    ) -> None:
        self._store, self._chat, self._draw, self._slash = store, chat, draw, slash
        self._personal = personal
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._progress: dict[str, Progress] = {}
        self._homes: dict[str, str] = {}  # the channel in which an operation is being posted
        # Numbers of words that may have been said, though nobody knows
        self._tried: set[int] = set()
        self._last: dict[str, int] = {}  # the number of an operation's last word
        self._unshown: dict[str, set[MessageRef]] = {}  # where the last word is not shown yet
        self._asked: set[str] = set()  # operations that are to be shown soon
        # What is asked for while a showing is under way must not be lost with it
        self._asked_lock = threading.Lock()
        self._outbox = Outbox()

    def start(self) -> None:
        """From now on everything is said by threads of its own. Before, whoever calls says it."""
        self._outbox.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Say what can be said within so many seconds; the rest is kept for the next start."""
        if not self._outbox.stop(timeout):
            log.warning("not everything was said before the end; the next start says it")

    def waiting(self) -> int:
        """How many things are still to be said."""
        return self._outbox.waiting()

    def catch_up(self) -> None:
        """Try again at once what could not be said."""
        self._outbox.catch_up()

    def take_over(self, replica: str = "") -> None:
        """Say what a replica that is gone ('': anybody) had still to say.

        Raises:
            StoreError: nothing was taken over.
        """
        for number, stored in self._store.words_left(replica):
            try:
                word = outbox_values.read(stored)
            # Kept by a newer version: that one says it when it is back
            except DroverError as error:
                log.warning(
                    "something that is to be said cannot be read", number=number, error=str(error)
                )
                continue
            self._say(number, word, look=True)

    # operations

    def post(self, operation_id: str, channel: str) -> None:
        """Show an operation in a channel for the first time; only one replica does. Safe to repeat.

        Raises:
            StoreError: that it is to be done could not be kept.
        """
        if any(ref.channel == channel for ref in self._store.copies(operation_id)):
            return
        self._keep(f"shown:{operation_id}:{channel}", CopyWord(operation_id, channel))

    def show(self, operation_id: str) -> None:
        """Bring every copy up to date; returns at once.

        How an operation ended is shown also after a crash.
        """
        with self._locks[operation_id]:
            operation = self._store.operation(operation_id)
            if operation.unreadable:
                return  # its message stays as whoever could read it left it
            refs = self._store.copies(operation_id)
            if not operation.state.over:
                self._edit(operation, refs, Urgency.VOTE)
                return
            self._progress.pop(operation_id, None)
            if refs:
                self._keep(f"last:{operation_id}", LastWord(operation_id))
            self._unshown[operation_id] = set(refs)
            self._edit(operation, refs, Urgency.FINAL)

    def show_soon(self, operation_id: str) -> None:
        """``show``, while the next thing is decided or done already; it is tried until it works."""
        with self._asked_lock:
            if operation_id in self._asked:
                return
            self._asked.add(operation_id)
        self._outbox.put(SHOWING, Item(partial(self._show_asked, operation_id), operation_id))

    def _show_asked(self, operation_id: str) -> None:
        with self._asked_lock:
            self._asked.discard(operation_id)
        self.show(operation_id)

    def card(self, operation_id: str) -> Card:
        """An operation as its message shows it now, for who looks at it elsewhere.

        Raises:
            UnknownNameError: no such operation.
        """
        operation = self._store.operation(operation_id)
        return self._draw(operation, self._progress.get(operation_id))

    def progress(self, operation_id: str, progress: Progress) -> None:
        """Show how far a running operation is; coalesced, and never in the way of the work."""
        with self._locks[operation_id]:
            operation = self._store.operation(operation_id)
            if operation.state is State.RUNNING:
                self._progress[operation_id] = progress
                self._edit(operation, self._store.copies(operation_id), Urgency.PROGRESS)

    def _edit(self, operation: Operation, refs: tuple[MessageRef, ...], urgency: Urgency) -> None:
        card = self._draw(operation, self._progress.get(operation.id))
        for ref in refs:
            final = urgency is Urgency.FINAL
            shown = partial(self._last_shown, operation.id, ref) if final else None
            self._chat.later(
                ref,
                card,
                urgency=urgency,
                shown=shown,
                lost=partial(self._replace_message, operation.id, ref, urgency),
            )

    def _last_shown(self, operation_id: str, ref: MessageRef) -> None:
        with self._locks[operation_id]:
            left = self._unshown.get(operation_id, set())
            left.discard(ref)
            if left:
                return
            self._unshown.pop(operation_id, None)
            number = self._last.pop(operation_id, 0)
        if number:
            self._mark_said(number)

    def _replace_message(
        self, operation_id: str, ref: MessageRef, urgency: Urgency, error: ChatRefusedError
    ) -> None:
        """A message can never be edited again: the operation gets a new one.

        Not one that is over and whose message somebody has deleted. Where messages cannot be edited
        for long, progress alone makes no new ones.
        """
        log.info(
            "a message cannot be edited any more",
            operation=operation_id,
            channel=ref.channel,
            ts=ref.ts,
            error=str(error),
        )
        if error.stays and urgency is Urgency.PROGRESS:
            return
        over = self._store.operation(operation_id).state.over
        again = CopyWord(operation_id, ref.channel, ref.ts, error.stays)
        if not over:
            self._store.forget_copy(operation_id, ref)
            self._keep(f"shown:{operation_id}:{ref.channel}:{ref.ts}", again)
            return
        # Of several, as each refused edit would make one, the first tells how it ended
        if not error.stays or self._keep(f"ended:{operation_id}:{ref.channel}", again):
            self._store.forget_copy(operation_id, ref)
        self._last_shown(operation_id, ref)

    # words

    def note(self, operation: Operation, card: Card, key: str) -> None:
        """Say something in an operation's thread.

        Once for each ``key``, across replicas and crashes.
        """
        self._keep(f"said:{operation.id}/{key}", NoteWord(operation.id, key, card))

    def tell(self, user: str, card: Card, claim: str, about: About = About.OPERATIONS) -> None:
        """Tell a person something, once for each ``claim``, across replicas and crashes.

        Not what the person does not want to be told; in quiet hours it waits for their end.
        """
        wishes, _ = self._personal(user)
        if wishes.wants(about):
            self._keep(claim, DirectWord(user, card))

    def answer(self, user: str, say: Callable[[], None]) -> None:
        """Answer a person, behind what they are being answered already.

        It is given up when the chat fails.
        """
        self._outbox.put(f"answers:{user}", Item(say, tries=1, kept=False))

    def say(self, channel: str, say: Callable[[], object]) -> None:
        """Say something in a channel, behind what is to be said there.

        It is safe to repeat, and lost in a crash.
        """
        self._outbox.put(channel, Item(lambda: (say(), None)[1], kept=False))

    def afterwards(self, user: str, act: Callable[[], None]) -> None:
        """Do something when a person has been answered; it is tried until it works."""
        self._outbox.put(f"answers:{user}", Item(act))

    def follow(self, operation_id: str, act: Callable[[], None]) -> None:
        """Do what follows a decision, in order and until it works.

        The next decision is taken already meanwhile.

        It must not wait for the chat: the work of an approved operation begins with it.
        """
        self._outbox.put(FOLLOWING, Item(act, operation_id))

    def _keep(self, key: str, word: Word) -> bool:
        """Whether it is to be said: False when it was kept before."""
        number = self._store.keep_word(key, outbox_values.text(word))
        if number:
            self._say(number, word)
        return number > 0

    def _say(self, number: int, word: Word, *, look: bool = False) -> None:
        """Put it into its lane. ``look``: another process may have said it already."""
        match word:
            case CopyWord():
                self._homes.setdefault(word.operation, word.channel)
                item = Item(partial(self._copy, number, word, look=look), word.operation, urgency=0)
                item.refused = partial(self._copy_refused, number, word)
                self._outbox.put(word.channel, item)
            case NoteWord():
                item = Item(partial(self._note, number, word, look=look), word.operation)
                item.refused = partial(self._give_up, number)
                self._outbox.put(self._home(word.operation), item)
            case DirectWord():
                item = Item(partial(self._tell, number, word), word.user)
                item.refused = partial(self._give_up, number)
                self._outbox.put(f"direct:{word.user}", item)
            case LastWord():
                self._last[word.operation] = number
                if look:  # otherwise whoever keeps it shows it
                    self.show(word.operation)

    def _home(self, operation_id: str) -> str:
        refs = self._store.copies(operation_id)
        return refs[0].channel if refs else self._homes.get(operation_id, NOWHERE)

    def _copy(self, number: int, word: CopyWord, *, look: bool) -> None:
        """Post an operation's message as it now is, unless it is there."""
        with self._locks[word.operation]:
            operation = self._store.operation(word.operation)
            card = self._draw(operation, self._progress.get(word.operation))
        there = any(
            ref.channel == word.channel and ref.ts != word.again
            for ref in self._store.copies(word.operation)
        )
        if not there and not (word.again and not word.stays and operation.state.over):
            # A restored database counts anew
            key = f"{operation.id}@{operation.proposed_at.isoformat()}{word.again}"
            ref = self._chat.post(
                word.channel, card, key=key, look=self._should_look(number, look=look)
            )
            self._store.keep_copy(word.operation, ref)
        self._copy_over(number, word)
        if self._store.operation(word.operation).version != operation.version:
            self.show(word.operation)

    def _copy_refused(self, number: int, word: CopyWord, error: ChatRefusedError) -> bool:
        """Whether it is tried again: as long as people have to see it. Its requester is told."""
        operation = self._store.operation(word.operation)
        if operation.state.over:
            self._copy_over(number, word)
            return False
        if operation.origin.by != BOT:
            said = words(
                "{id} is proposed, but its message cannot be posted in the approvals channel: "
                "{why}",
                id=operation.id,
                why=error.text,
            )
            meanwhile = words(
                "It is tried again every minute until it expires. `{slash} approvals` shows it "
                "meanwhile.",
                slash=self._slash,
            )
            card = error_card(said, join((error.advice, meanwhile)))
            self.tell(operation.origin.by, card, f"unseen:{operation.id}")
        return True

    def _copy_over(self, number: int, word: CopyWord) -> None:
        self._homes.pop(word.operation, None)
        self._mark_said(number)

    def _note(self, number: int, word: NoteWord, *, look: bool) -> None:
        """Say it under the operation's message; that message comes first."""
        refs = self._store.copies(word.operation)
        if not refs and word.operation in self._homes:
            raise NotYetError(word.operation)
        for ref in refs[:1]:
            key = f"{word.operation}/{word.key}"
            self._chat.post(
                ref.channel,
                word.card,
                thread=ref,
                key=key,
                look=self._should_look(number, look=look),
            )
        self._mark_said(number)

    def _tell(self, number: int, word: DirectWord) -> None:
        _, quiet = self._personal(word.user)
        if quiet > 0:
            raise NotYetError(word.user, rest=min(quiet, LONGEST_REST))
        self._chat.tell(word.user, word.card)
        self._mark_said(number)

    def _should_look(self, number: int, *, look: bool) -> bool:
        """Whether it is to be looked for before it is posted.

        Another process, or an earlier try, may have said it.
        """
        tried = look or number in self._tried
        self._tried.add(number)
        return tried

    def _mark_said(self, number: int) -> None:
        self._store.mark_said(number)
        self._tried.discard(number)

    def _give_up(self, number: int, error: ChatRefusedError) -> bool:
        """The chat will never take it: a person who is gone, a channel that is archived."""
        if getattr(error, "for_good", True):
            self._mark_said(number)
        return False
