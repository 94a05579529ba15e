"""A small bot with its socket, for tests: real workers, a real unix socket, peers that are invented."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.adapters.language import Languages
from bot.adapters.terminal import client
from bot.adapters.terminal.server import TerminalServer
from bot.domain.operation import SCRIPTS
from bot.flow.commands.dispatcher import RequestWorkers
from bot.flow.commands.terminal import Terminal
from bot.flow.context import Role, Services
from bot.ports.chat import SCRIPT, TERMINAL
from bot.ports.terminal import Caller
from tests.bot.flow.small_bot import ROLES, Bot, small_bot

PEOPLE = {"ana": "UANA", "bruno": "UBRUNO", "carla": "UCARLA"}


@dataclass
class AtTerminal:
    """A bot and its socket. In place of the kernel, the token says who calls: ``as:NAME``."""

    bot: Bot
    path: Path
    server: TerminalServer
    terminal: Terminal
    shown: list[Any] = field(default_factory=list)

    def call(self, name: str, method: str, **params: Any) -> dict[str, Any]:
        """A person or script calls; what was shown is kept, the result returned."""
        self.shown.clear()
        for said in client.call(self.path, method, params, token=f"as:{name}", silence=20.0):
            if "result" in said:
                found: dict[str, Any] = said["result"]
                return found
            self.shown.append(said)
        raise AssertionError("no result")

    def do(self, name: str, line: str, **more: Any) -> dict[str, Any]:
        return self.call(name, "do", line=line, **more)


def _invented(_: int, token: str) -> Caller:
    name = token.removeprefix("as:")
    if name in PEOPLE:
        return Caller(PEOPLE[name], name, via=TERMINAL)
    return Caller(f"{SCRIPTS}{name}", name, via=SCRIPT)


@contextmanager
def at_terminal(
    tmp_path: Path, over: Callable[[Services], Services] | None = None, **services_of: Any
) -> Iterator[AtTerminal]:
    """``over``: changes the bot's services before anything works with them."""
    roles = {
        **ROLES,
        "engineer": Role(ROLES["engineer"].users | {f"{SCRIPTS}nightly"}),
        **services_of.pop("roles", {}),
    }
    glass = services_of.pop("glass", None)
    bot = small_bot(tmp_path, roles=roles, **services_of)
    if over is not None:
        bot.services = over(bot.services)
    workers = RequestWorkers(bot.services, 2)
    workers.start()
    folder = Path(tempfile.mkdtemp(prefix="drover-"))  # a socket's path is short
    terminal = Terminal(
        bot.services,
        workers.accept,
        {person: name for name, person in PEOPLE.items()},
        per_minute=6000,
        glass=glass,
    )
    server = TerminalServer(folder / "s", _invented, terminal.methods, Languages())
    server.start()
    try:
        yield AtTerminal(bot, folder / "s", server, terminal)
    finally:
        server.stop()
        workers.stop()
        bot.store.close()
        shutil.rmtree(folder)
