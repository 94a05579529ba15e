"""Who calls: the user by the kernel's word, the person by the configuration's.

A script by its token.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
from collections.abc import Mapping
from dataclasses import dataclass

from bot.domain.errors import NotAllowedError
from bot.domain.message import Code, words
from bot.domain.operation import SCRIPTS
from bot.domain.policy import AGENT
from bot.ports.chat import SCRIPT, TERMINAL
from bot.ports.terminal import Caller


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """An agent: the user id of its person, and how it is known.

    By the SHA-256 of a token in hexadecimal, or by users of this machine.
    """

    person: str
    sha256: str = ""
    users: tuple[str, ...] = ()


class Callers:
    """People, scripts and agents of the configuration.

    Args:
        people: by user name of this machine, the user id in the chat and the name to read.
        scripts: by name, the SHA-256 of the token in hexadecimal.
        agents: by name.
    """

    def __init__(
        self,
        people: Mapping[str, tuple[str, str]],
        scripts: Mapping[str, str] | None = None,
        agents: Mapping[str, KnownAgent] | None = None,
    ) -> None:
        self._people, self._scripts = people, dict(scripts or {})
        self._agents = dict(agents or {})
        self._agents_of = {
            user: name for name, agent in self._agents.items() for user in agent.users
        }

    def identify(self, uid: int, token: str) -> Caller:
        """Who calls; root is nobody unless the configuration names it.

        Raises:
            NotAllowedError: nobody that the configuration knows.
        """
        if token:
            return self._of_token(token)
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
        if user in self._agents_of:
            return self._agent(self._agents_of[user])
        if user not in self._people:
            raise NotAllowedError(
                words("The configuration does not say who the user {user} is.", user=user),
                words(
                    "Ask the bot's administrator to add {user} to {table}.",
                    user=user,
                    table=Code("[people.…] users"),
                ),
                code="nobody",
            )
        person, name = self._people[user]
        return Caller(person, name, via=TERMINAL)

    def _of_token(self, token: str) -> Caller:
        digest = hashlib.sha256(token.encode()).hexdigest()
        for name, own in self._scripts.items():
            if hmac.compare_digest(own, digest):
                return Caller(f"{SCRIPTS}{name}", name, via=SCRIPT)
        for name, agent in self._agents.items():
            if hmac.compare_digest(agent.sha256, digest):
                return self._agent(name)
        raise NotAllowedError(
            words("No script and no agent has this token."),
            words(
                "Check `DROVER_TOKEN`, and `[scripts]` and `[agents.known]` in the configuration."
            ),
            code="bad-token",
        )

    def _agent(self, name: str) -> Caller:
        return Caller(self._agents[name].person, name, via=AGENT)
