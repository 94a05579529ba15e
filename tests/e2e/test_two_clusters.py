"""Two clusters, each with a bot and an app of its own, as docs/how-to/several-clusters.md says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE, hosts_for
from lab import Guest, Lab
from lab.slack import Workspace
from tests.e2e.play import Play, play, runs_once

pytestmark = pytest.mark.lab

SOUTH = "/kvm-south"


@pytest.fixture
def clusters(lab: Lab, tmp_path: Path) -> Iterator[tuple[Play, Play]]:
    """The north has two hosts, the south one; the bots share the machine and nothing else."""
    hosts = hosts_for(lab, {})
    with ExitStack() as stack:
        made = []
        for name, command, own in (("north", "/kvm", hosts[:2]), ("south", SOUTH, hosts[2:])):
            space = Workspace(manifest=manifest(command, name=f"Drover {name}"), pace=PACE)
            folder = tmp_path / name
            folder.mkdir()
            one = play(lab, stack.enter_context(space), folder, command=command, hosts=own)
            stack.enter_context(one.bot)
            space.wait_connected()
            made.append(one)
        north, south = made
        yield north, south


def test_each_sees_and_moves_its_own_vms_and_names_its_own_command(
    lab: Lab, clusters: tuple[Play, Play], mover: Guest
) -> None:
    north, south = clusters
    there = lab.guest("southerner", host="host-c", load=0.0)
    (home,) = lab.where(mover.name)
    for one, own, other in ((north, mover, there), (south, there, mover)):
        one.asks("vms")
        shown = one.told("ana", own.name).plain()
        assert other.name not in shown
    south.asks(f"migrate {mover.name}")
    refused = south.told("ana", "There is no VM", mover.name).plain()
    assert f"{SOUTH} vms" in refused
    assert "/kvm vms" not in refused
    north.asks(f"migrate {there.name}")
    assert "/kvm vms" in north.told("ana", "There is no VM", there.name).plain()
    target = "host-b" if home == "host-a" else "host-a"
    north.asks(f"migrate {mover.name} to {target}")
    proposal = north.proposal(mover.name)
    south.asks(f"vm shutdown {there.name}")
    waiting = south.proposal(there.name)
    assert "op-1" in proposal.plain()
    assert "op-1" in waiting.plain(), "each counts its own"
    north.approves("bruno", proposal)
    north.ended("Done in", proposal, timeout=150)
    runs_once(lab, mover, target)
    south.ended("Approve?", waiting)
    lab.kill_guest(there.name)
