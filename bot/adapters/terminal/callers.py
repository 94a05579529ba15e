"""Who calls: the user by the kernel's word, the person by the configuration's.

A script by its token.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
from collections.abc import Mapping

from bot.domain.errors import NotAllowedError
from bot.domain.message import Code, words
from bot.domain.operation import SCRIPTS
from bot.ports.chat import SCRIPT, TERMINAL
from bot.ports.terminal import Caller


class Callers:
    """People and scripts of the configuration.

    Args:
        people: by user name of this machine, the user id in the chat and the name to read.
        scripts: by name, the SHA-256 of the token in hexadecimal.
    """

    def __init__(
        self, people: Mapping[str, tuple[str, str]], scripts: Mapping[str, str] | None = None
    ) -> None:
        self._people, self._scripts = people, dict(scripts or {})

    def identify(self, uid: int, token: str) -> Caller:
        """Who calls; root is nobody unless the configuration names it.

        Raises:
            NotAllowedError: nobody that the configuration knows.
        """
        if token:
            return self._script(token)
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
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

    def _script(self, token: str) -> Caller:
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = [name for name, own in self._scripts.items() if hmac.compare_digest(own, digest)]
        if not found:
            raise NotAllowedError(
                words("No script has this token."),
                words("Check `DROVER_TOKEN`, and `[scripts]` in the configuration."),
                code="bad-token",
            )
        return Caller(f"{SCRIPTS}{found[0]}", found[0], via=SCRIPT)
