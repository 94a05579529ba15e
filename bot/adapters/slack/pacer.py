"""One pace for all threads: no more calls of a method, and of it in a channel, than Slack allows.

The urgent first.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.adapters.slack.tiers import KEPT_FREE, PER_PLACE, TIERS, Tier
from bot.ports.chat import Urgency

SOON = 0.02  # seconds after which one looks again whether somebody more urgent has gone
NOT_FINAL = "not final"  # the place under which such calls are counted apart
SPREAD = Tier(12, 10.0)
"""Edits in one go that are not final.

Of many votes at once not all are shown before their number is known.
"""
LEAST = 6  # calls within the tier's time that even a large reserve leaves to what is not final


@dataclass(slots=True)
class _Uses:
    """When a method was called lately, and until when Slack wants no more of it."""

    tier: Tier | None
    times: deque[float] = field(default_factory=deque)
    closed_until: float = float("-inf")

    def wait(self, now: float, kept: int = 0) -> float:
        """Seconds until it may be called again with ``kept`` calls left free."""
        if self.tier is None:
            return max(self.closed_until - now, 0.0)
        while self.times and self.times[0] + self.tier.seconds <= now:
            self.times.popleft()
        most = max(self.tier.calls - kept, min(LEAST, self.tier.calls))
        over = len(self.times) - most
        until = self.times[over] + self.tier.seconds if over >= 0 else now
        return max(until - now, self.closed_until - now, 0.0)


class Pacer:
    """Lets calls go one by one. A place's own limit comes on top of the method's.

    Args:
        tiers: by method; a method without one is limited by Slack's answers alone.
        per_place: by method, for each channel.
        pace: how many times faster than slack.com the server is: a local workspace may be told to
            be.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        tiers: Mapping[str, Tier] = TIERS,
        per_place: Mapping[str, Tier] = PER_PLACE,
        *,
        pace: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tiers = {method: _slower(tier, pace) for method, tier in tiers.items()}
        self._per_place = {method: _slower(tier, pace) for method, tier in per_place.items()}
        self._pace = pace
        self._clock = clock
        # Every call waits here for its turn, the most urgent first
        self._changed = threading.Condition()
        self._uses: dict[tuple[str, str], _Uses] = {}
        self._waiting: defaultdict[str, list[tuple[Urgency, int, str]]] = defaultdict(list)
        self._numbers = itertools.count()
        self._reserved: dict[str, int] = {}

    def turn(self, method: str, place: str = "", urgency: Urgency = Urgency.FINAL) -> None:
        """Wait until the call may be made, and count it."""
        with self._changed:
            ticket = (urgency, next(self._numbers), place)
            self._waiting[method].append(ticket)
            try:
                while (wait := self._until(method, place, urgency)) > 0 or not self._first(
                    method, ticket
                ):
                    self._wait(wait or SOON)
                self._count(method, place, urgency)
            finally:
                self._waiting[method].remove(ticket)
                self._changed.notify_all()

    def take(self, method: str, place: str = "", urgency: Urgency = Urgency.FINAL) -> bool:
        """Count the call when it may be made at once; False when not."""
        with self._changed:
            if self._until(method, place, urgency) > 0:
                return False
            self._count(method, place, urgency)
            return True

    def until(self, method: str, place: str = "", urgency: Urgency = Urgency.FINAL) -> float:
        """Seconds until such a call could be made; 0: now."""
        with self._changed:
            return self._until(method, place, urgency)

    def closure(self, method: str) -> float:
        """Seconds for which Slack wants no call of the method; 0: it may be called."""
        with self._changed:
            return max(self._uses_of(method, "").closed_until - self._clock(), 0.0)

    def note_limit(self, method: str, seconds: float) -> None:
        """Slack has answered with Retry-After: nobody calls the method before."""
        with self._changed:
            uses = self._uses_of(method, "")
            uses.closed_until = max(uses.closed_until, self._clock() + seconds)
            self._changed.notify_all()

    def note_failure(self, method: str, pause: float) -> None:
        """Slack failed: everybody gives the method a rest."""
        self.note_limit(method, self.rest(pause))

    def rest(self, seconds: float) -> float:
        """A pause of our own, as long as it is at the server's pace."""
        return seconds / self._pace

    def reserve(self, method: str, calls: int) -> None:
        """Keep so many calls of the method free for what is final."""
        with self._changed:
            if self._reserved.get(method) != calls:
                self._reserved[method] = calls
                self._changed.notify_all()

    def _wait(self, seconds: float) -> None:
        self._changed.wait(seconds)

    def _until(self, method: str, place: str, urgency: Urgency) -> float:
        now = self._clock()
        kept = 0 if urgency is Urgency.FINAL else self._reserved.get(method, 0)
        apart = self._apart(method, place, urgency)
        return max(
            self._uses_of(method, "").wait(now, kept), *(each.wait(now) for each in apart), 0.0
        )

    def _apart(self, method: str, place: str, urgency: Urgency) -> list[_Uses]:
        """What else limits such a call."""
        found = [self._uses_of(method, place)] if place and method in self._per_place else []
        if method in self._reserved and urgency is not Urgency.FINAL:
            found.append(self._uses_of(method, NOT_FINAL))
        return found

    def _count(self, method: str, place: str, urgency: Urgency) -> None:
        now = self._clock()
        for each in (self._uses_of(method, ""), *self._apart(method, place, urgency)):
            each.times.append(now)

    def _first(self, method: str, ticket: tuple[Urgency, int, str]) -> bool:
        """Whether nobody more urgent, or as urgent and earlier, may go now."""
        ahead = (other for other in self._waiting[method] if other < ticket)
        return all(self._until(method, place, urgency) > 0 for urgency, _, place in ahead)

    def _uses_of(self, method: str, place: str) -> _Uses:
        uses = self._uses.get((method, place))
        if uses is None:
            # Channels and people of a year; whoever has not been written to says nothing
            if len(self._uses) > 1000:
                now = self._clock()
                self._uses = {
                    key: each
                    for key, each in self._uses.items()
                    if each.times or each.closed_until > now
                }
            tier = self._per_place.get(method) if place else self._tiers.get(method)
            tier = Tier(SPREAD.calls, SPREAD.seconds / self._pace) if place == NOT_FINAL else tier
            uses = self._uses[method, place] = _Uses(tier)
        return uses


def _slower(tier: Tier, pace: float) -> Tier:
    """A little less than Slack allows."""
    if tier.calls == 1:
        return Tier(1, tier.seconds * (1 + KEPT_FREE) / pace)
    return Tier(max(int(tier.calls * (1 - KEPT_FREE)), 1), tier.seconds / pace)
