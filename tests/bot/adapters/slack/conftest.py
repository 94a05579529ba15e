"""A workspace with our manifest, and the bot's chat in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.manifest import manifest
from bot.adapters.slack.pacer import Pacer
from lab.slack import Workspace


class NappingPacer(Pacer):
    """The real pace on a clock of its own: waiting takes no time, and is written down."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.naps: list[float] = []
        super().__init__(clock=lambda: self.at)

    def _wait(self, seconds: float) -> None:
        self.naps.append(round(seconds, 3))
        self.at += seconds


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace(manifest=manifest(), pace=0) as found:
        yield found


@pytest.fixture
def pacer() -> NappingPacer:
    return NappingPacer()


@pytest.fixture
def naps(pacer: NappingPacer) -> list[float]:
    """How long calls have waited for their turn, without waiting."""
    return pacer.naps


@pytest.fixture
def chat(workspace: Workspace, pacer: NappingPacer) -> Iterator[SlackChat]:
    client = api.client(workspace.bot_token, workspace.web_api)
    found = SlackChat(client, progress_every=0.05, pacer=pacer)
    yield found
    found.close()
