"""The tools of agents, with the SDK's own client: in memory and over streamable HTTP on loopback.

The SDK is imported where it is used: half a second that only those pay who run these tests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import pytest

from bot.domain.errors import DroverError, NotAllowedError
from bot.flow.commands import agent_answers
from bot.flow.commands.agents import Agent, AgentLimits, Agents
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import until

if TYPE_CHECKING:
    import httpx2
    from mcp import Client

    from bot.adapters.mcp_server import Data

TOKENS = {"t" * 32: Agent("triage", "UANA"), "": Agent("", "UANA"), "g" * 32: Agent("g", "UGIL")}
T = TypeVar("T")


class NearBot:
    """The bot's socket without a socket."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self.agents = Agents(bot.services, AgentLimits())
        self.error: DroverError | None = None
        self.asked = 0

    def __call__(self, token: str, method: str, given: Mapping[str, Any]) -> Data:
        self.asked += 1
        assert method == "agent"
        if self.error is not None:
            raise self.error
        if token not in TOKENS:
            raise NotAllowedError("No agent has this token.", code="bad-token")
        known = TOKENS[token]
        agent = Agent(known.name or given.get("name", ""), known.person)
        return agent_answers.answer(self.agents, agent, given["ask"], given)


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return small_bot(tmp_path, plugins=("migrate", "balance", "monitor"))


@pytest.fixture
def near(bot: Bot) -> NearBot:
    return NearBot(bot)


def run(act: Callable[[Client], Awaitable[T]], near: NearBot) -> T:
    """Act as an agent over a connection in memory."""
    from mcp import Client

    from bot.adapters.mcp_server import Bridge

    async def session() -> T:
        async with Client(Bridge(near).server()) as client:
            return await act(client)

    return anyio.run(session)


async def called(client: Client, name: str, **arguments: Any) -> Data:
    """A tool's answer."""
    found = await client.call_tool(name, arguments)
    assert not found.is_error, found.content
    assert found.structured_content is not None
    return dict(found.structured_content)


def test_an_agent_sees_a_tool_for_each_command_that_looks_and_four_of_its_own(
    near: NearBot,
) -> None:
    async def act(client: Client) -> None:
        listed = {each.name: each for each in (await client.list_tools()).tools}
        assert {"commands", "plan", "propose", "follow", "hosts", "why", "show_host"} <= set(listed)
        assert "migrate" not in listed
        assert "approve" not in listed
        hints = listed["propose"].annotations, listed["hosts"].annotations
        assert [each.read_only_hint for each in hints if each] == [False, True]
        changes = await called(client, "commands")
        assert "migrate" in {each["name"] for each in changes["commands"]}

    run(act, near)


def test_an_agent_looks_plans_proposes_and_follows_while_a_person_approves(
    near: NearBot, bot: Bot
) -> None:
    async def act(client: Client) -> None:
        looked = await client.call_tool("why", {"arguments": "web-1"})
        assert "web-1" in str(looked.content)
        planned = await called(client, "plan", command="migrate web-1 to host-b")
        assert planned["votes_needed"] == 1
        made = await called(
            client, "propose", command="migrate web-1 to host-b", reason="host-a is hot"
        )
        operation = made["operation"]
        assert operation["state"] == "proposed"
        bot.clicks("op.approve", bot.value(), "UBRUNO")
        bot.works()
        end = await called(
            client, "follow", operation=operation["id"], version=operation["version"], wait=5
        )
        assert end["state"] == "done"

    run(act, near)
    assert bot.where("web-1") == ["host-b"]
    assert "Proposed by an agent for" not in text(bot.shown())  # it is over
    assert (bot.operation().origin.by, bot.operation().origin.via) == ("UANA", "agent")


def test_a_refusal_is_a_result_that_says_what_to_do(near: NearBot) -> None:
    async def act(client: Client) -> None:
        for name, arguments in (
            ("plan", {"command": "approve op-1"}),
            ("propose", {"command": "approve op-1", "reason": "please"}),
            ("approve", {"arguments": "op-1"}),
            ("migrate", {"arguments": "web-1 to host-b"}),
            ("no_such_tool", {}),
            ("follow", {"operation": "op-99"}),
        ):
            found = await client.call_tool(name, arguments)
            assert found.is_error, name
            assert found.structured_content is not None
            assert found.structured_content["error"]["code"]

    run(act, near)
    assert near.bot.store.operations() == ()


def test_the_bot_that_is_away_is_told(near: NearBot) -> None:
    near.error = DroverError("No bot answers.", "Start it.", code="no-bot")

    async def act(client: Client) -> None:
        found = await client.call_tool("hosts", {})
        assert found.is_error
        assert "No bot answers. Start it." in str(found.content)

    run(act, near)


@pytest.mark.parametrize(
    "command", ["hosts", "vm show", "snapshot list", "vm force-off", "a_b c", "plan", "follow"]
)
def test_the_name_of_a_tool_leads_back_to_its_command(command: str) -> None:
    from bot.adapters import mcp_server

    assert mcp_server.command_of(mcp_server.tool_name(command)) == command


# over HTTP


@pytest.fixture
def url(near: NearBot) -> Iterator[str]:
    from bot.adapters import mcp_server

    listening = mcp_server.listen(0)
    port = listening.getsockname()[1]
    server = mcp_server.serve_http(near)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until(lambda: server.started, "the web server listens")
    yield f"http://127.0.0.1:{port}/mcp"
    server.should_exit = True
    thread.join(60)
    listening.close()


@asynccontextmanager
async def over_http(url: str, token: str) -> Any:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def test_over_http_the_token_says_who_the_agent_is_and_for_whom(url: str, bot: Bot) -> None:
    async def act() -> None:
        async with over_http(url, "t" * 32) as client:
            assert "hosts" in {each.name for each in (await client.list_tools()).tools}
            await called(
                client, "propose", command="migrate web-1 to host-b", reason="host-a is hot"
            )
        async with over_http(url, "g" * 32) as client:
            found = await client.call_tool("hosts", {})
            assert found.is_error

    anyio.run(act)
    origin = bot.operation().origin
    assert (origin.by, origin.agent, origin.via) == ("UANA", "triage", "agent")
    assert "the agent “triage” for UANA" in text(bot.shown())


def post(
    url: str, headers: Mapping[str, str] | Mapping[bytes, bytes], body: bytes = b"{}"
) -> httpx2.Response:
    import httpx2

    with httpx2.Client() as client:
        return client.post(url, headers=headers, content=body)


@pytest.mark.parametrize("token", ["", "x", "t" * 31, "t" * 33, "é", "t" * 5000])
def test_over_http_nobody_comes_in_without_a_known_token(
    url: str, near: NearBot, token: str
) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()} if token else {}
    answer = post(url, headers)
    assert answer.status_code == 401
    assert near.bot.store.operations() == ()


def test_over_http_a_page_in_a_browser_comes_not_in(url: str) -> None:
    known = {"Authorization": f"Bearer {'t' * 32}", "Content-Type": "application/json",
             "Accept": "application/json, text/event-stream"}  # fmt: skip
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
    assert post(url, known | {"Host": "evil.example"}, call).status_code == 421
    assert post(url, known | {"Origin": "http://evil.example"}, call).status_code == 403


def test_over_http_a_body_that_is_too_big_is_refused(url: str) -> None:
    from bot.adapters import mcp_server

    known = {"Authorization": f"Bearer {'t' * 32}", "Content-Type": "application/json",
             "Accept": "application/json, text/event-stream"}  # fmt: skip
    assert post(url, known, b" " * (mcp_server.BIGGEST_BODY + 1)).status_code == 413


def test_over_http_a_bot_that_is_away_is_no_wrong_token(url: str, near: NearBot) -> None:
    near.error = DroverError("No bot answers.", code="no-bot")
    assert post(url, {"Authorization": f"Bearer {'t' * 32}"}).status_code == 503
    near.error = None
    assert post(url, {"Authorization": f"Bearer {'t' * 32}"}).status_code != 401
