"""Faults a test can ask the workspace for.

Limits, errors, lost answers, disconnects, lost acks, late and double deliveries.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ANY_METHOD = "*"


@dataclass(frozen=True, slots=True)
class ApiFault:
    """What to do to one Web API call instead of answering it.

    For "drop" and "garble" after doing what it asks.
    """

    kind: Literal["rate_limit", "server_error", "drop", "garble", "error"]
    retry_after: int | str = 1
    error: str = ""
    body: bytes = b""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Repeat:
    """How a payload is to be delivered once more: as Slack's retry, and under a new event id."""

    retry_headers: bool = True
    new_event_id: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the connection breaks under the ack of a payload, and whether it is delivered again."""

    at: Literal["before", "middle"]
    again: bool


class Faults:
    """Switchboard of faults; every method may be called from any thread and holds.

    For what comes next.
    """

    def __init__(self, disconnect: Callable[[str, bool], None]) -> None:
        self._lock = threading.Lock()
        self._api: dict[str, deque[ApiFault]] = {}
        self._repeats: deque[Repeat] = deque()
        self._delays: deque[float] = deque()
        self._cuts: deque[Cut] = deque()
        self._disconnect = disconnect
        self.redeliver_unacked = False
        """When true, an event not acked in time is sent again, up to 3 times, as Slack does."""

    def _add(self, method: str, fault: ApiFault, times: int) -> None:
        with self._lock:
            self._api.setdefault(method, deque()).extend([fault] * times)

    def rate_limit(self, method: str, times: int = 1, retry_after: int | str = 1) -> None:
        """Answer the next `times` calls of `method` ("*": any) with 429 and Retry-After (seconds).

        Nothing is done.
        """
        self._add(method, ApiFault("rate_limit", retry_after=retry_after), times)

    def server_error(self, method: str, times: int = 1) -> None:
        """Answer the next `times` calls of `method` with HTTP 500; nothing is done."""
        self._add(method, ApiFault("server_error"), times)

    def error(self, method: str, error: str, times: int = 1) -> None:
        """Answer the next `times` calls of `method` with Slack's error of this name.

        Nothing is done.
        """
        self._add(method, ApiFault("error", error=error), times)

    def drop_response(self, method: str, times: int = 1) -> None:
        """Do what the next `times` calls of `method` ask.

        Then break the connection before answering.
        """
        self._add(method, ApiFault("drop"), times)

    def garble(self, method: str, body: bytes, times: int = 1, status: int = 200) -> None:
        """Do what the next `times` calls of `method` ask, and answer with these bytes instead."""
        self._add(method, ApiFault("garble", body=body, status=status), times)

    def disconnect(self, reason: str = "refresh_requested", *, abrupt: bool = False) -> None:
        """Send every socket a disconnect frame and close it.

        `abrupt` breaks the connections without a frame.
        """
        self._disconnect(reason, abrupt)

    def duplicate_next(
        self, n: int = 1, *, retry_headers: bool = True, new_event_id: bool = False
    ) -> None:
        """Deliver each of the next `n` payloads twice at once.

        In two envelopes (on two sockets if there are two).
        """
        with self._lock:
            self._repeats.extend([Repeat(retry_headers, new_event_id)] * n)

    def delay_next(self, seconds: float, n: int = 1) -> None:
        """Deliver each of the next `n` payloads this late; a trigger id grows old meanwhile."""
        with self._lock:
            self._delays.extend([seconds] * n)

    def cut_ack(
        self, at: Literal["before", "middle"] = "before", n: int = 1, *, again: bool = True
    ) -> None:
        """Break the connection under the ack of each of the next `n` payloads (Socket Mode).

        "before": once the app has read the payload, and none of the ack is taken. "middle": half
        of the ack's frame is taken. With `again` the same payload is delivered in a new envelope,
        as soon as the app has a connection.
        """
        with self._lock:
            self._cuts.extend([Cut(at, again)] * n)

    def take_api(self, method: str) -> ApiFault | None:
        """Take the fault for this call, if one was asked for."""
        with self._lock:
            for name in (method, ANY_METHOD):
                if self._api.get(name):
                    return self._api[name].popleft()
        return None

    def take_repeat(self) -> Repeat | None:
        """Take the order to deliver this payload twice, if there is one."""
        with self._lock:
            return self._repeats.popleft() if self._repeats else None

    def take_delay(self) -> float:
        """Take the seconds by which this payload is late; 0 when none was asked for."""
        with self._lock:
            return self._delays.popleft() if self._delays else 0.0

    def take_cut(self) -> Cut | None:
        """Take the order to break the connection under this payload's ack, if there is one."""
        with self._lock:
            return self._cuts.popleft() if self._cuts else None
