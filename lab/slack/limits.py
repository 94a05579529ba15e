"""Slack's rate limits: so many calls of a method a minute, and one message a second a channel.

Sources: docs.slack.dev/apis/web-api/rate-limits, and the tier on each method's page. The table
stands here on its own: an app that is tried against it must not bring the limits with it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

T1, T2, T3, T4, HUNDREDS = 1, 20, 50, 100, 300

PER_MINUTE: Mapping[str, int] = {
    # Tier 1, and "a small amount of burst": an app opens several sockets
    "apps.connections.open": T1 * 20,
    "auth.test": HUNDREDS,
    "bots.info": T3,
    "chat.delete": T3,
    "chat.getPermalink": HUNDREDS,
    "chat.postEphemeral": T4,
    "chat.postMessage": HUNDREDS,
    "chat.update": T3,
    "conversations.history": T3,
    "conversations.info": T3,
    "conversations.list": T2,
    "conversations.members": T4,
    "conversations.open": T3,
    "conversations.replies": T3,
    "files.completeUploadExternal": T4,
    "files.delete": T3,
    "files.getUploadURLExternal": T4,
    "files.info": T4,
    "pins.add": T2,
    "pins.list": T2,
    "pins.remove": T2,
    "reactions.add": T3,
    "reactions.get": T3,
    "reactions.remove": T2,
    "usergroups.list": T2,
    "usergroups.users.list": T2,
    "users.conversations": T3,
    "users.info": T4,
    "users.list": T2,
    "views.open": T4,
    "views.publish": T4,
    "views.push": T4,
    "views.update": T4,
}

BURST = 2
"""Messages at once in a channel: "short bursts >1 allowed" besides the one a second."""


class RateLimits:
    """Counts calls and says when there are too many.

    Args:
        pace: how many times faster than at Slack a minute passes.
        clock: seconds.
    """

    def __init__(self, pace: float, clock: Callable[[], float]) -> None:
        self.pace = pace
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}
        self._posts: dict[str, tuple[float, float]] = {}

    def refused(self, method: str, channel: str) -> str:
        """Count a call; the value of Retry-After when it is one too many, else ''."""
        now = self._clock()
        calls = self._calls.setdefault(method, deque())
        minute = 60.0 / self.pace
        while calls and calls[0] + minute <= now:
            calls.popleft()
        most = PER_MINUTE.get(method)
        if most is not None and len(calls) >= most:
            return self._seconds(calls[0] + minute - now)
        if method == "chat.postMessage" and (wait := self._post(channel, now)):
            return self._seconds(wait)
        calls.append(now)
        return ""

    def _post(self, channel: str, now: float) -> float:
        """A bucket a channel, one message a second.

        The seconds until there is room for the next.
        """
        left, at = self._posts.get(channel, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * self.pace)
        if left < 1:
            self._posts[channel] = (left, now)
            return (1 - left) / self.pace
        self._posts[channel] = (left - 1, now)
        return 0.0

    def _seconds(self, wait: float) -> str:
        """Whole seconds, as Slack says them; at a faster pace they may be parts of one."""
        return str(max(math.ceil(wait), 1)) if self.pace == 1 else f"{max(wait, 0.001):.3f}"
