"""What a line may mean that a command does not take: by the names of the VMs and hosts in it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import click

from bot.catalog import Catalog, is_operation
from bot.domain.errors import NO_SUBCOMMAND, UNKNOWN, UsageError
from bot.domain.message import Code, Join, Message, Names, words
from bot.flow.commands.parse import is_whole, several
from bot.plugin_api import Command, Query


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was refused; ``may`` tells whether its person may use a command.

    ``vms``, ``hosts``: names, of what was measured last. No host is asked because of a slip.
    """

    text: str
    catalog: Catalog
    slash: str
    vms: Collection[str]
    hosts: Collection[str]
    may: Callable[[Command], bool]

    def guess(self, error: UsageError) -> Message:
        """Ask for the command that may be meant, with its words; '' where none is known."""
        typed = several(self.text)
        if error.code == UNKNOWN:
            lines = list(self._about_first(typed))
        elif error.code == NO_SUBCOMMAND:  # ``vm web-1``
            lines = list(self._about_first(typed[1:])) or list(self._with_verb(typed[1:]))
        else:
            lines = list(self._about_other(typed))
        if not lines:
            return ""
        return words("Did you mean {commands}?", commands=Names(tuple(map(Code, lines)), Join.OR))

    def _about_first(self, typed: Sequence[str]) -> Iterator[str]:
        """Yield lines for a name that stands before what is to be done, as ``web-1 stop``."""
        shown = self._shows(typed[0]) if typed else None
        if shown is None:
            return
        name, rest = typed[0], typed[1:]
        found = list(self._with_verb([*rest[:1], name, *rest[1:]])) if rest else []
        yield from found or [f"{self.slash} {shown}"]

    def _with_verb(self, typed: Sequence[str]) -> Iterator[str]:
        for command, rest in self.catalog.guesses(typed):
            if self.may(command):
                yield f"{self.slash} {shlex.join([*command.name.split(), *rest])}"

    def _about_other(self, typed: Sequence[str]) -> Iterator[str]:
        """Yield the option for a host that was named without, or what shows a name to a query."""
        try:
            command, rest = self.catalog.find(typed)
        except UsageError:  # a quote is not closed
            return
        found = list(self._with_host(command, rest))
        if not found and isinstance(command, Query) and not _takes_names(command.grammar):
            shown = (self._shows(word) for word in rest)
            found = [line for line in shown if line is not None]
        yield from (f"{self.slash} {line}" for line in found)

    def _with_host(self, command: Command, rest: Sequence[str]) -> Iterator[str]:
        for at, word in enumerate(rest):
            for option in _options_for_hosts(command.grammar) if word in self.hosts else ():
                line = [*rest[:at], option, *rest[at:]]
                if is_whole(command.grammar, line):
                    yield shlex.join([*command.name.split(), *line])

    def _shows(self, name: str) -> str | None:
        """The command that shows a VM, a host or an operation; None where it is neither."""
        for command, known in (
            ("details", is_operation(name)),
            ("vm show", name in self.vms),
            ("show host", name in self.hosts),
        ):
            found = self.catalog.commands.get(command) if known else None
            if found is not None and self.may(found):
                return shlex.join([*command.split(), name])
        return None


def _takes_names(grammar: click.Command) -> bool:
    arguments = (each for each in grammar.params if isinstance(each, click.Argument))
    return any("VM" in (each.metavar or "") or "HOST" in (each.metavar or "") for each in arguments)


def _options_for_hosts(grammar: click.Command) -> Iterator[str]:
    options = (each for each in grammar.params if isinstance(each, click.Option))
    yield from (each.opts[0] for each in options if each.metavar == "HOST")
