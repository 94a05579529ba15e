"""A chat command in what people read begins with the slash command, so that it works as it stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from bot import catalog
from bot.flow.commands.decisions import DECISIONS
from bot.flow.commands.queries import Core
from tests.source import ROOT, calls, name_of

PLUGINS = ("migrate", "vm_lifecycle", "balance", "monitor", "failover", "host_check")
NOT_CHAT = ("bot/setup", "bot/terminal.py", "bot/__main__.py", "bot/check.py", "bot/settings.py",
            "bot/flow/commands/agents.py", "bot/flow/commands/agent_answers.py")  # fmt: skip
"""Where the reader sits at a terminal, or is an agent."""
CONSTANT = "constant "
MARKED = re.compile(r"`([^`]+)`")


def names() -> re.Pattern[str]:
    table = {"images": {"debian": {"base": "pool/debian.qcow2"}}, "network": "br0"}
    loaded = catalog.load(PLUGINS, {"vm_lifecycle": table}, extra=(Core(),))
    every = {*loaded.commands, *(each.name for each in DECISIONS)}
    groups = {each.split()[0] for each in every if " " in each}
    whole = "|".join(sorted(map(re.escape, every | groups), key=len, reverse=True))
    return re.compile(rf"(?:{whole})(?: |$)")


def shown(call: ast.Call) -> Iterator[str]:
    """Commands in code marks of a template, and one that is a value of its own."""
    texts = [
        each.value
        for argument in call.args
        for each in ast.walk(argument)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    if name_of(call) in ("Code", "as_code"):
        yield from texts[:1]
        yield from first_names(call)
    else:
        yield from (found for text in texts for found in MARKED.findall(text))


def first_names(call: ast.Call) -> Iterator[str]:
    """``{READMIT}`` of ``Code(f"{READMIT} host-a")``: a command's name comes in no other way."""
    first = call.args[0] if call.args else None
    part = first.values[0] if isinstance(first, ast.JoinedStr) else None
    name = part.value if isinstance(part, ast.FormattedValue) else None
    if isinstance(name, ast.Name) and name.id.isupper():
        yield f"{CONSTANT}{name.id}"


def test_every_chat_command_in_advice_begins_with_the_slash_command() -> None:
    command = names()
    bare = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {text}"
        for path, call in calls("Code", "as_code", "words", "nwords")
        if not str(path.relative_to(ROOT)).startswith(NOT_CHAT)
        for text in shown(call)
        if command.match(text) or text.startswith(CONSTANT)
    ]
    assert bare == []
