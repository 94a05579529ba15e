"""A workspace with our manifest, and the bot's chat in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.adapters.slack import web
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.manifest import manifest
from lab.slack import Workspace


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace(manifest=manifest()) as found:
        yield found


@pytest.fixture
def naps() -> list[float]:
    """How long the chat has waited, without waiting."""
    return []


@pytest.fixture
def chat(workspace: Workspace, naps: list[float]) -> Iterator[SlackChat]:
    client = web.client(workspace.bot_token, workspace.web_api)
    found = SlackChat(client, progress_every=0.05, sleep=naps.append)
    yield found
    found.close()
