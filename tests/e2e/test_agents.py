"""An agent over MCP on the real line: it looks, plans, proposes; a person approves in chat; it follows to the end."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bot.stage import ROOT
from lab import Guest, Lab
from lab.slack import Workspace
from lab.slack.shown import Message
from tests.e2e.play import Play, other_host, play, runs_once

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def agents_of(lab: Lab, workspace: Workspace, directory: Path) -> Play:
    """A bot with a socket, on which the user of this process is an agent of Ana."""
    return play(
        lab,
        workspace,
        directory,
        terminal={"socket": str(directory / "drover.sock")},
        agents={
            "known": {
                "triage": {"person": workspace.person("ana").user_id, "users": [getpass.getuser()]}
            }
        },
    )


async def answer(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    found = await client.call_tool(name, arguments)
    assert not found.is_error, found.content
    assert found.structured_content is not None
    return dict(found.structured_content)


def test_an_agent_asks_why_plans_proposes_and_follows_while_a_person_approves(
    lab: Lab, workspace: Workspace, tmp_path: Path, mover: Guest
) -> None:
    stage = agents_of(lab, workspace, tmp_path)
    target = other_host(lab, mover)
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "bot", "mcp", "--socket", str(tmp_path / "drover.sock")],
        env={"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )

    def approve() -> Message:
        proposal = stage.proposal("mover")
        assert "proposed by an agent for" in proposal.plain().lower()
        stage.approves("bruno", proposal)
        return proposal

    async def act() -> Message:
        async with Client(stdio_client(server)) as client:
            tools = {each.name for each in (await client.list_tools()).tools}
            assert {"why", "top", "plan", "propose", "follow"} <= tools
            assert "mover" in (await answer(client, "why", arguments="mover"))["text"]
            assert (await answer(client, "top"))["text"]
            command = f"migrate mover to {target}"
            planned = await answer(client, "plan", command=command)
            assert planned["possible"], planned
            refused = await client.call_tool("plan", {"command": "approve op-1"})
            assert refused.is_error
            made = await answer(client, "propose", command=command, reason="its host is hot")
            operation = made["operation"]
            proposal = await anyio.to_thread.run_sync(approve)
            while not operation["over"]:
                operation = await answer(
                    client, "follow", operation=operation["id"], version=operation["version"]
                )
            assert operation["state"] == "done", operation
            return proposal

    with stage.bot:
        workspace.wait_connected()
        with anyio.from_thread.start_blocking_portal() as portal:
            proposal = portal.call(act)
        stage.ended("Done:", proposal)
    runs_once(lab, mover, target)
