"""kill -9 of the bot at any moment of a migration: the true outcome, the guest exactly once, the same message."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Guest, Lab
from lab.slack import Workspace
from tests.e2e.play import Play, holds, narrow_wire, other_host, play, runs_once
from tests.waiting import until

pytestmark = pytest.mark.lab

PLUGINS = {"enabled": ["migrate", "tests.e2e.dying"]}
AFTER = ("Proposed", "VotedFor", "Approved", "Began", "StepBegan", "StepEnded", "Finished")
# Next to nothing follows these at once: played with --slow
QUIET = ("VotedFor", "Approved", "Finished")


def one_true_end(stage: Play, mover: Guest, target: str) -> None:
    """One operation, one message, its end shown in it, and the guest once on the target."""
    (message,) = stage.operations_shown()
    stage.ended("Done:", message)
    runs_once(stage.lab, mover, target)
    assert len(stage.operations_shown()) == 1
    trail = stage.bot.command("db", "verify")
    assert "is intact" in trail.stdout, trail.stderr


@pytest.mark.parametrize(
    "event",
    [pytest.param(each, marks=[pytest.mark.slow] if each in QUIET else []) for each in AFTER],
)
def test_killed_right_after(
    event: str, lab: Lab, workspace: Workspace, tmp_path: Path, mover: Guest
) -> None:
    stage = play(lab, workspace, tmp_path, plugins=PLUGINS)
    target = other_host(lab, mover)
    stage.bot.start(DIE_AFTER=event)
    try:
        workspace.wait_connected()
        stage.asks(f"migrate mover to {target}")
        if event != "Proposed":
            stage.approves("bruno", stage.proposal("mover"))
        assert stage.bot.wait(60) == -9
        stage.bot.start()
        workspace.wait_connected()
        if event == "Proposed":
            stage.approves("bruno", stage.proposal("mover"))
        one_true_end(stage, mover, target)
    finally:
        stage.bot.stop()


@pytest.mark.slow
def test_killed_in_the_middle_of_the_migration(
    lab: Lab, workspace: Workspace, tmp_path: Path, mover: Guest
) -> None:
    stage = play(lab, workspace, tmp_path)
    (home,) = lab.where("mover")
    target = other_host(lab, mover)
    with stage.bot:
        workspace.wait_connected()
        with narrow_wire(lab, home, 4):
            stage.asks(f"migrate mover to {target}")
            proposal = stage.proposal("mover")
            stage.approves("bruno", proposal)
            stage.ended("left", proposal)
            stage.bot.kill()
            assert len(lab.where("mover")) == 2
        stage.bot.start()
        one_true_end(stage, mover, target)


def test_killed_between_the_arrival_and_its_record(
    lab: Lab, workspace: Workspace, tmp_path: Path, mover: Guest
) -> None:
    stage = play(lab, workspace, tmp_path)
    target = other_host(lab, mover)
    with stage.bot:
        workspace.wait_connected()
        stage.asks(f"migrate mover to {target}")
        stage.approves("bruno", stage.proposal("mover"))
        until(lambda: lab.where("mover") == [target], "it never arrived")
        stage.bot.kill()
        stage.bot.start()
        one_true_end(stage, mover, target)


def test_libvirtd_killed_on_the_source_in_the_middle(stage: Play, mover: Guest) -> None:
    (home,) = stage.lab.where("mover")
    target = other_host(stage.lab, mover)
    with narrow_wire(stage.lab, home, 2):
        stage.asks(f"migrate mover to {target}")
        proposal = stage.proposal("mover")
        stage.approves("bruno", proposal)
        stage.ended("left", proposal)
        stage.lab.kill_libvirtd(home)
    stage.lab.start_libvirtd(home)
    ended = stage.ended("Details", stage.ended(": Move mover", proposal))
    until(lambda: len(stage.lab.where("mover")) == 1, "two copies are left")
    (now,) = stage.lab.where("mover")
    assert holds(ended, "Done:") is (now == target)
    runs_once(stage.lab, mover, now)
