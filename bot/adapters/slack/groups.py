"""User groups: who is in which, asked of Slack at most once in a while."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog
from slack_sdk import WebClient

from bot.adapters.slack.web import call
from bot.domain.errors import ChatError

log = structlog.get_logger()

AFTER_FAILURE = 60.0


class Groups:
    """The workspace's user groups, cached.

    A workspace without them (they need a paid plan), a missing scope or an outage means nobody is in any group:
    rights are never taken from a list that cannot be checked. It is logged once, until it works again.

    Args:
        client: with the scope ``usergroups:read``.
        keep: seconds for which an answer holds.
        clock: seconds, monotonic.
    """

    def __init__(self, client: WebClient, keep: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._members: Mapping[str, frozenset[str]] = {}
        self._until = float("-inf")
        self._failing = False

    def of(self, user: str) -> frozenset[str]:
        """Ids and handles of the groups a person is in."""
        with self._lock:
            if self._clock() >= self._until:
                self._refresh()
            return self._members.get(user, frozenset())

    def _refresh(self) -> None:
        try:
            self._members = self._asked()
        except ChatError as error:
            self._members = {}
            self._until = self._clock() + min(self._keep, AFTER_FAILURE)
            if not self._failing:
                log.warning("user groups unknown: roles by group are empty", error=str(error))
            self._failing = True
            return
        self._failing = False
        self._until = self._clock() + self._keep

    def _asked(self) -> Mapping[str, frozenset[str]]:
        groups = call(self._client.usergroups_list, include_users=True)["usergroups"]
        members: defaultdict[str, set[str]] = defaultdict(set)
        for group in groups:
            users = group.get("users")
            if users is None:
                users = call(self._client.usergroups_users_list, usergroup=group["id"])["users"]
            for user in users:
                members[user] |= {group["id"], group["handle"]}
        return {user: frozenset(names) for user, names in members.items()}
