"""Commands in advice as the reader types them: with the configured slash, or at the terminal.

Messages name a command as the chat has it by default, `` `/kvm vms` ``, in their templates and in
``Code``. Where another slash command is configured, or the reader sits at a terminal, it is that
form which works as it stands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from bot.domain.message import Code, Value, Words
from bot.domain.said_parts import change_parts

SLASH = "/kvm"
"""What messages write."""

T = TypeVar("T")
Typing = Callable[[str], str]
"""From what follows the slash command, '' for nothing, to the whole of what is typed."""

_WITHIN = re.compile(r"`(?:/kvm|\{slash\})(?: ([^`]*))?`")
_PLAIN = frozenset('"$`\\!')


def with_slash(slash: str) -> Typing:
    """In a chat that has another slash command."""
    return lambda rest: f"{slash} {rest}".rstrip()


def at_terminal(rest: str) -> str:
    """As an argument of ``drover do``, in double quotes where that keeps every character."""
    if not rest:
        return "drover"
    return f"drover do {shlex.quote(rest)}" if _PLAIN & set(rest) else f'drover do "{rest}"'


class Retype(Generic[T]):
    """Writes the commands of a card or a message in another way.

    Args:
        slash: the configured one, which some messages have already.
        typing: how they are written instead.
    """

    def __init__(self, slash: str, typing: Typing) -> None:
        self._slashes = (SLASH, slash)
        self._typing = typing

    def __call__(self, said: T) -> T:
        """The same with other commands."""
        return cast("T", self._change(said))

    def _change(self, said: object) -> object:
        if isinstance(said, Words):
            return self._words(said)
        if isinstance(said, Code):
            return Code(self._command(said.command))
        return change_parts(said, self._change)

    def _words(self, said: Words) -> Words:
        return Words(
            self._template(said.template),
            {name: cast("Value", self._change(each)) for name, each in said.args.items()},
            self._template(said.many),
        )

    def _template(self, template: str) -> str:
        return _WITHIN.sub(lambda found: f"`{self._typing(found[1] or '')}`", template)

    def _command(self, command: str) -> str:
        first, _, rest = command.partition(" ")
        return self._typing(rest) if first in self._slashes else command
