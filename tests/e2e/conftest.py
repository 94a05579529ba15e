"""A bot, a workspace and a guest to move for the e2e tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE
from lab import Guest, Lab
from lab.boot import UP
from lab.slack import Workspace
from tests.e2e.play import Play, play


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace(manifest=manifest(), pace=PACE) as space:
        yield space


@pytest.fixture
def stage(lab: Lab, workspace: Workspace, tmp_path: Path) -> Iterator[Play]:
    """A started bot."""
    made = play(lab, workspace, tmp_path)
    with made.bot:
        workspace.wait_connected()
        yield made


@pytest.fixture(scope="session")
def moving(lab: Lab) -> Guest:
    """A small guest for all tests that move one from host to host.

    It burns no CPU: it runs until the session ends, and every other test would pay for it.
    """
    return lab.guest("mover", host="host-a", tags={"env": "dev"})


@pytest.fixture
def mover(moving: Guest) -> Guest:
    """The guest to move.

    Each test sees to it that it never reboots; if it did, the next test begins a new count.
    """
    if moving.boots() > 1:
        said = moving.serial_log()
        moving.serial.write_text(said[said.rindex(f"{UP} mover up") :])
    return moving
