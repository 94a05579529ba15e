"""The reference of the commands: those of chat, and those of the terminal."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from bot import terminal
from bot.__main__ import drover
from bot.factories import load_catalog
from bot.flow.commands.parse import usage
from bot.plugin_api import Action, Command, Decision
from bot.settings import DroverSettings
from docsite.tables import parameters

SLASH = "/kvm"
terminal.add_to(drover)


def chat_page() -> str:
    """Each command of chat, by plugin."""
    catalog = load_catalog(DroverSettings())
    parts = ["# Commands in chat\n", _INTRODUCTION]
    for plugin in sorted(set(catalog.owners.values())):
        parts.append(f"## {plugin}\n")
        mine = [each for name, each in catalog.commands.items() if catalog.owners[name] == plugin]
        parts += [_chat_command(each) for each in mine]
    return "\n".join(parts)


_INTRODUCTION = """\
Made from the code. The slash command is the configured one (`slack.command`); here it is `/kvm`.
A command marked *changes* is proposed first, and the policy says whose votes it takes: `/kvm
policy COMMAND`. In a thread, where Slack has no slash commands, write `@Drover COMMAND`.
"""


def _chat_command(command: Command) -> str:
    kind = "reads only"
    if isinstance(command, Action):
        kind = f"changes; usual risk {command.risk.value}"
    if isinstance(command, Decision):
        kind = "as the button of an operation"
    lines = [
        f"### {command.name}\n",
        f"{command.summary} *({kind})*\n",
        f"```text\n{usage(command, SLASH)}\n```\n",
        _described(command.grammar),
        parameters(command.grammar),
        f"Example: `{SLASH} {command.example}`\n" if command.example else "",
    ]
    return "\n".join(each for each in lines if each)


def _described(grammar: click.Command) -> str:
    """What its help says beyond the summary."""
    said = inspect.cleandoc(grammar.help or "").partition("\n\n")[2]
    return f"{said}\n" if said else ""


def terminal_page() -> str:
    """Each command of the terminal."""
    parts = ["# Commands in the terminal\n", _TERMINAL, parameters(drover)]
    for name, command in _leaves(drover, ""):
        parts += [
            f"## drover {name}\n",
            f"{inspect.cleandoc(command.help or '')}\n",
            parameters(command),
        ]
    return "\n".join(parts)


_TERMINAL = """\
Made from the code. In a checkout write `./drover`, in the container image only what follows
`drover`. The checkout alone has `./drover test`, `./drover bench` and `./drover docs`. These
stand before any command:
"""


def _leaves(group: click.Group, before: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{before}{name} ")
        elif not command.hidden:
            yield f"{before}{name}", command
