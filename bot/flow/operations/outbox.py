"""What is to be said in the chat.

Kept in order, said by threads of its own, and tried again until it is said.

Nobody who works, decides or answers waits here. Each lane (a channel, a person) is said in order; a
lane whose chat fails holds up no other.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from bot.domain.errors import ChatError, ChatRefusedError, DroverError

log = structlog.get_logger()

FIRST_REST, MOST_REST = 1.0, 60.0  # seconds after a failure
MOST_PASSING = 200  # in one lane, of what is not kept by the database
SLOWLY = 60.0  # seconds between two tries of what the chat refuses and somebody may allow again


class NotYetError(Exception):
    """It cannot be said yet: before something else was, or before ``rest`` seconds are over."""

    def __init__(self, subject: str, rest: float = FIRST_REST) -> None:
        super().__init__(subject)
        self.rest = rest


@dataclass(slots=True)
class Item:
    """One thing to say.

    Attributes:
        say: says it; ``ChatError`` and ``StoreError`` mean "again later", ``ChatRefusedError`` the
            end.
        subject: what it is about; of one subject everything is said in order.
        urgency: the smaller goes first within its lane.
        tries: after so many failures it is given up; 0: never.
        kept: what is behind it is in the database, or must not be lost; else it may be dropped when
            too much waits.
        refused: called when the chat refuses it for good; True: try it again, slowly.
    """

    say: Callable[[], None]
    subject: str = ""
    urgency: int = 1
    tries: int = 0
    refused: Callable[[ChatRefusedError], bool] | None = None
    kept: bool = True
    number: int = 0
    failures: int = 0
    not_before: float = float("-inf")


@dataclass(slots=True)
class _Lane:
    items: list[Item] = field(default_factory=list)
    busy: bool = False
    rest_until: float = float("-inf")


class Outbox:
    """Lanes of things to say.

    Before ``start`` whoever puts something in says it at once: for tests, and for single commands.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Guards the lanes, and wakes threads that wait for something to say
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._numbers: Iterator[int] = itertools.count(1)
        self._threaded = False
        self._stopped = False

    def start(self) -> None:
        """From now on threads of the outbox say it."""
        with self._changed:
            self._threaded = True
            for name, lane in self._lanes.items():
                self._serve(name, lane)

    def stop(self, timeout: float = 10.0) -> bool:
        """Say what can be said in time; whether that was all.

        What was kept is said after the next start.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: not self._has_more(timeout), timeout)
            self._stopped = True
            self._changed.notify_all()
        return done

    def _has_more(self, within: float) -> bool:
        """Whether anything may be said within so many seconds."""
        soon = self._clock() + within
        return any(item.not_before <= soon for lane in self._lanes.values() for item in lane.items)

    def put(self, lane: str, item: Item) -> None:
        """Say something when it is its turn."""
        with self._changed:
            if self._stopped:
                return
            item.number = next(self._numbers)
            found = self._lanes.setdefault(lane, _Lane())
            found.items.append(item)
            self._drop_oldest(lane, found)
            found.items.sort(key=lambda each: (each.urgency, each.number))
            if self._threaded:
                self._serve(lane, found)
                self._changed.notify_all()
                return
        self._say_now(lane)

    def waiting(self) -> int:
        """How many things are still to be said."""
        with self._changed:
            return sum(len(lane.items) for lane in self._lanes.values())

    def catch_up(self) -> None:
        """Try again at once what could not be said."""
        with self._changed:
            for lane in self._lanes.values():
                lane.rest_until = float("-inf")
                for item in lane.items:
                    item.not_before = float("-inf")
            names = tuple(self._lanes)
            self._changed.notify_all()
        for name in names if not self._threaded else ():
            self._say_now(name)

    @staticmethod
    def _drop_oldest(name: str, lane: _Lane) -> None:
        """Drop the oldest of too many that nobody keeps, while the chat is away for long.

        What was decided is kept by the database and never dropped. The first may be being said.
        """
        passing = [each for each in lane.items[1:] if not each.kept]
        for item in passing[: max(len(passing) - MOST_PASSING, 0)]:
            lane.items.remove(item)
            log.warning("not said: too much waits for the chat", lane=name, subject=item.subject)

    def _serve(self, name: str, lane: _Lane) -> None:
        if not lane.busy:
            lane.busy = True
            threading.Thread(
                target=self._run, args=(name, lane), name=f"outbox-{name}", daemon=True
            ).start()

    def _say_now(self, name: str) -> None:
        """Say what can be said, on the caller's thread; one try each."""
        while True:
            with self._changed:
                lane = self._lanes.get(name)
                item = _next(lane, self._clock()) if lane is not None and not lane.busy else None
                if lane is None or item is None:
                    return
                lane.busy = True
            try:
                self._say(name, lane, item)
            finally:
                lane.busy = False

    def _run(self, name: str, lane: _Lane) -> None:
        while (item := self._await(lane)) is not None:
            self._say(name, lane, item)

    def _await(self, lane: _Lane) -> Item | None:
        """The next thing to say, when it may be said.

        None when the lane's thread has nothing to do any more.
        """
        with self._changed:
            while lane.items and not self._stopped:
                now = self._clock()
                if (item := _next(lane, now)) is not None:
                    return item
                self._changed.wait(_rest(lane, now))
            lane.busy = False
            self._changed.notify_all()
            return None

    def _say(self, name: str, lane: _Lane, item: Item) -> None:
        done, rest, whole = True, 0.0, False
        try:
            item.say()
        except NotYetError as error:
            done, rest = False, error.rest
        except ChatRefusedError as error:
            done, rest = self._is_refusal_final(item, error), SLOWLY
        except DroverError as error:
            item.failures += 1
            done = 0 < item.tries <= item.failures
            rest, whole = (
                min(MOST_REST, FIRST_REST * 2 ** min(item.failures - 1, 8)),
                isinstance(error, ChatError),
            )
            log.warning(
                "not said" if done else "not said, will try again",
                subject=item.subject,
                error=str(error),
            )
        # Its own fault: it cannot be said, and must not stop what comes behind it
        except Exception:
            log.exception("it cannot be said", subject=item.subject)
        with self._changed:
            now = self._clock()
            if done:
                lane.items.remove(item)
                if not lane.items:
                    self._lanes.pop(name, None)
            elif whole:
                lane.rest_until = now + rest
            else:
                item.not_before = now + rest
            self._changed.notify_all()

    @staticmethod
    def _is_refusal_final(item: Item, error: ChatRefusedError) -> bool:
        """Whether it is over with it."""
        again = not getattr(error, "for_good", True)
        if item.refused is not None:
            again = item.refused(error) or again
        log.warning("the chat refuses it", subject=item.subject, error=str(error), again=again)
        return not again


def _next(lane: _Lane, now: float) -> Item | None:
    """The first that may be said: nothing overtakes what is about the same subject."""
    if lane.rest_until > now:
        return None
    held: set[str] = set()
    for item in lane.items:
        if item.not_before <= now and not (item.subject and item.subject in held):
            return item
        held.add(item.subject)
    return None


def _rest(lane: _Lane, now: float) -> float:
    """Seconds until something may be said."""
    soonest = min(item.not_before for item in lane.items)
    return max(lane.rest_until - now, soonest - now, 0.01)
