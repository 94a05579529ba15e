"""Hosts of three releases, the newest Debian's unstable one: a VM moves by chat from the oldest to the newest and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.releases import next_release, tree
from lab.slack import Workspace
from tests.e2e.play import holds, play, runs_once

if TYPE_CHECKING:
    from lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1800)]

WAY = ("host-b", "host-c", "host-b", "host-a")
OLDER = {("host-c", "host-b"), ("host-b", "host-a")}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    from lab import Lab

    try:
        for each in (next_release(), "sid"):
            tree(each)
    except LabError as error:  # unstable cannot be installed on every day
        pytest.skip(str(error))
    with Lab(3, release={"host-b": next_release(), "host-c": "sid"}) as made:
        yield made


def test_a_vm_moves_through_three_releases_and_back_without_a_reboot(
    lab: Lab, workspace: Workspace, tmp_path: Path
) -> None:
    versions = {lab.virsh(host, "version").splitlines()[-1] for host in lab.hosts}
    assert len(versions) == 3, versions
    guest = lab.guest("traveller", host="host-a", memory_mib=96, load=0.1)
    stage = play(lab, workspace, tmp_path, plugins={"enabled": ["migrate"]})
    with stage.bot:
        workspace.wait_connected()
        here = "host-a"
        for there in WAY:
            stage.asks(f"migrate traveller to {there}")
            proposal = stage.proposal(f"Move traveller from {here}", timeout=120)
            assert holds(proposal, "is older than") == ((here, there) in OLDER)
            stage.approves("bruno", proposal)
            stage.ended("Done in", proposal, timeout=240)
            runs_once(lab, guest, there)
            here = there
