"""Agents at the bot's socket: who they are, what they are let do, and `drover mcp` in front of it."""

from __future__ import annotations

import getpass
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from bot.adapters.language import Languages
from bot.adapters.terminal import client
from bot.adapters.terminal.callers import Callers, KnownAgent
from bot.adapters.terminal.client import RemoteError
from bot.adapters.terminal.server import TerminalServer
from bot.flow.commands import agent_answers
from bot.flow.commands.agents import AgentLimits, Agents
from bot.flow.commands.terminal import Terminal
from bot.stage import ROOT
from tests.bot.flow.small_bot import Bot, small_bot, text

TOKEN = "t" * 32
PERSON = {getpass.getuser(): ("UANA", "ana")}


def known(**users: str) -> dict[str, KnownAgent]:
    sha256 = hashlib.sha256(TOKEN.encode()).hexdigest()
    return {
        "triage": KnownAgent("UANA", sha256),
        **{name: KnownAgent("UEVA", "", (user,)) for name, user in users.items()},
    }


@dataclass
class Desk:
    """A small bot behind a socket."""

    bot: Bot
    path: Path

    def asks(self, method: str, token: str = "", **given: Any) -> Mapping[str, Any]:
        return client.result(self.path, method, given, token=token)


def served(bot: Bot, path: Path, callers: Callers) -> TerminalServer:
    terminal = Terminal(bot.services, lambda request: False, {})
    agents = Agents(bot.services, AgentLimits())
    return TerminalServer(
        path,
        callers.identify,
        agent_answers.with_agents(terminal.methods, agents),
        Languages(),
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.fixture
def desk(tmp_path: Path, folder: Path) -> Iterator[Desk]:
    bot = small_bot(tmp_path, plugins=("migrate", "balance"))
    server = served(bot, folder / "s", Callers(PERSON, {}, known()))
    server.start()
    yield Desk(bot, folder / "s")
    server.stop()


def test_a_token_says_which_agent_it_is_and_for_whom(desk: Desk) -> None:
    said = desk.asks("agent", TOKEN, ask="hello", name="somebody else")
    assert said == {"agent": "triage", "person": "UANA"}
    with pytest.raises(RemoteError) as told:
        desk.asks("agent", "x" * 32, ask="hello")
    assert told.value.code == "bad-token"


def test_a_person_at_the_socket_may_let_an_agent_ask_which_names_itself(desk: Desk) -> None:
    said = desk.asks("agent", ask="hello", name="my-editor")
    assert said == {"agent": "my-editor", "person": "UANA"}


def test_an_agents_token_opens_nothing_that_is_a_persons(desk: Desk) -> None:
    methods = Terminal(desk.bot.services, lambda request: False, {}).methods
    assert {"do", "follow", "status"} <= set(methods)
    for method in methods:  # breaking glass is one of them
        with pytest.raises(RemoteError) as told:
            desk.asks(method, TOKEN, line="hosts", operation="op-1")
        assert told.value.code == "agent", method


def test_a_user_of_the_machine_that_is_an_agent_is_nothing_else(
    tmp_path: Path, folder: Path
) -> None:
    bot = small_bot(tmp_path)
    server = served(bot, folder / "s", Callers({}, {}, known(robot=getpass.getuser())))
    server.start()
    desk = Desk(bot, folder / "s")
    try:
        assert desk.asks("agent", ask="hello", name="x") == {"agent": "robot", "person": "UEVA"}
        with pytest.raises(RemoteError) as told:
            desk.asks("do", line="hosts")
        assert told.value.code == "agent"
    finally:
        server.stop()


def test_a_proposal_over_the_socket_waits_for_people(desk: Desk) -> None:
    made = desk.asks(
        "agent", TOKEN, ask="propose", command="migrate web-1 to host-b", reason="it is hot"
    )
    assert made["operation"]["state"] == "proposed"
    assert "the agent “triage” for UANA" in text(desk.bot.shown())
    with pytest.raises(RemoteError):
        desk.asks("agent", TOKEN, ask="approve", operation="op-1")


def drover(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", "mcp", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """As if it were not installed: a module of this name that cannot be imported stands before it."""
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text("raise ModuleNotFoundError(name='mcp')\n")
    said = drover("--socket", str(tmp_path / "s"), PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert said.returncode != 0
    assert "kvm-drover[mcp]" in said.stderr
    assert "Traceback" not in said.stderr
    assert said.stdout == ""


@pytest.mark.process
def test_drover_mcp_over_standard_input_and_output(desk: Desk) -> None:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "bot", "mcp", "--socket", str(desk.path)],
        env={"PYTHONPATH": str(ROOT), "DROVER_TOKEN": TOKEN},
        cwd=ROOT,
    )

    async def act() -> None:
        async with Client(stdio_client(server)) as agent:
            names = {each.name for each in (await agent.list_tools()).tools}
            assert {"hosts", "why", "plan", "propose", "follow", "commands"} <= names
            given = {"command": "migrate web-1 to host-b", "reason": "it is hot"}
            made = await agent.call_tool("propose", given)
            assert not made.is_error, made.content
            desk.bot.clicks("op.approve", desk.bot.value(), "UBRUNO")
            desk.bot.works()
            end = await agent.call_tool("follow", {"operation": "op-1", "version": 1})
            assert end.structured_content is not None
            assert end.structured_content["state"] == "done"

    anyio.run(act)
    assert (desk.bot.operation().origin.by, desk.bot.operation().origin.agent) == ("UANA", "triage")
