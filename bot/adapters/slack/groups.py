"""User groups: who is in which, asked of Slack at most once in a while."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog
from slack_sdk import WebClient

from bot.adapters.slack.api import SlackRefusedError, call
from bot.adapters.slack.pacer import Pacer
from bot.domain.errors import ChatError
from bot.domain.message import Message, join, words

log = structlog.get_logger()

ADVICE = words("Roles by group cannot be checked until it does. Try again in a minute.")
NO_GROUPS = frozenset(
    {"missing_scope", "paid_teams_only", "plan_upgrade_required", "team_not_eligible"}
)
LONGEST = 30.0
"""Seconds that somebody waits when nothing is known at all."""
AFTER_FAILURE = 30.0  # seconds: a Slack that is away is not asked at every click
GRACE = 900.0  # seconds for which what was known counts while Slack does not answer
PATIENCE = 1.0  # seconds that a click waits when older members are known


class Groups:
    """The workspace's user groups, cached.

    They are asked for in the background, so that nobody's vote waits for Slack. While Slack does
    not tell them, what
    was last known of them holds for a while, and then nothing is known: an operation waits, and
    people are told so. A workspace without groups (they need a paid plan), or an app without the
    scope, has nobody in any group.

    Args:
        client: with the scope ``usergroups:read``.
        pacer: how often it may be asked.
        keep: seconds for which an answer is fresh.
        grace: seconds after that for which it still holds while Slack does not answer.
        patience: seconds that somebody waits for a fresh answer while an older one would hold.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        client: WebClient,
        pacer: Pacer,
        keep: float = 300.0,
        *,
        grace: float = GRACE,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._keep = keep
        self._grace = grace
        self._patience = patience
        self._clock = clock
        # One thread asks Slack; the others wait a little for its answer
        self._changed = threading.Condition()
        self._members: Mapping[str, frozenset[str]] | None = None
        self._fresh_until = self._good_until = self._ask_after = float("-inf")
        self._asking = False
        self._why: Message = ""

    def of(self, user: str) -> frozenset[str]:
        """Ids and handles of the groups a person is in.

        Raises:
            ChatError: they cannot be known now.
        """
        with self._changed:
            now = self._clock()
            if now >= self._fresh_until:
                self._ask(now)
                held = self._members is not None and now < self._good_until
                self._changed.wait_for(
                    lambda: not self._asking, self._patience if held else LONGEST
                )
            if self._members is None or self._clock() >= self._good_until:
                raise ChatError(
                    join((words("Slack does not tell the user groups now."), self._why)), ADVICE
                )
            return self._members.get(user, frozenset())

    def _ask(self, now: float) -> None:
        if self._asking or now < self._ask_after:
            return
        self._asking = True
        threading.Thread(target=self._refresh, name="slack-groups", daemon=True).start()

    def _refresh(self) -> None:
        found: Mapping[str, frozenset[str]] | None = None
        why: Message = ""
        try:
            found = self._fetch()
        except SlackRefusedError as error:
            why = error.text
            if error.code in NO_GROUPS and self._members is None:
                log.warning("no user groups here: nobody has a role by group", error=str(error))
                found = {}
        except ChatError as error:
            why = error.text
        except Exception as error:  # nobody waits for this thread's error; those who wait are told
            log.exception("user groups not read")
            why = f"{type(error).__name__}."
        with self._changed:
            now = self._clock()
            if found is not None:
                self._members, self._why = found, ""
                self._fresh_until = now + self._keep
                self._good_until = now + self._keep + self._grace
            else:
                self._why = why
                self._ask_after = now + self._pacer.rest(AFTER_FAILURE)
                log.warning(
                    "user groups not told: what was known of them holds for a while", error=str(why)
                )
            self._asking = False
            self._changed.notify_all()

    def _fetch(self) -> Mapping[str, frozenset[str]]:
        groups = call(self._client.usergroups_list, pacer=self._pacer, include_users=True)[
            "usergroups"
        ]
        members: defaultdict[str, set[str]] = defaultdict(set)
        for group in groups:
            # Another organisation's may have our group's handle, and one that was turned off no say
            if group.get("is_external") or group.get("date_delete"):
                continue
            users = group.get("users")
            if users is None:
                answer = call(
                    self._client.usergroups_users_list, pacer=self._pacer, usergroup=group["id"]
                )
                users = answer["users"]
            for user in users:
                members[user] |= {group["id"], group["handle"]}
        return {user: frozenset(names) for user, names in members.items()}
