"""Hypervisors upgraded one by one, as one operation: each host truly changes its Debian release, and no VM notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from bot.stage import hosts_for
from lab.errors import LabError
from lab.releases import next_release
from lab.slack import Workspace
from lab.sshd import serve
from tests.e2e.play import Play, holds, play, runs_once
from tests.waiting import until

if TYPE_CHECKING:
    from lab import Lab

# Every VM moves twice, and every host is started anew
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 300.0


class Upgrader:
    """What an upgrade does to a host: it ends, and comes back as another boot with the next release.

    It begins when the command of the rolling maintenance has written the host's name into a file,
    as a host reboots when told to.
    """

    def __init__(self, lab: Lab, asked: Path) -> None:
        self._lab, self._asked = lab, asked
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.upgraded: list[str] = []
        self.error: LabError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert self.error is None, self.error

    def _watch(self) -> None:
        try:
            while not self._end.wait(0.2):
                named = self._asked.read_text().split() if self._asked.exists() else []
                for host in named[len(self.upgraded) :]:
                    self._upgrade(host)
        except LabError as error:
            self.error = error

    def _upgrade(self, host: str) -> None:
        self._lab.power_off(host)
        self._lab.install_release(host, next_release())
        self._lab.power_on(host)
        serve(self._lab, host)
        self.upgraded.append(host)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    from lab import Lab

    with Lab(2) as made:
        yield made


@pytest.fixture
def line(tmp_path: Path) -> str:
    """The command on each host: it asks for the upgrade, and is cut off when the host goes down."""
    return f"hostname >>{tmp_path}/asked && sleep 600"


@pytest.fixture
def stage(lab: Lab, line: str, workspace: Workspace, tmp_path: Path) -> Iterator[Play]:
    doors = {host: serve(lab, host) for host in lab.hosts}
    run = {"marks": str(tmp_path), "commands": [line]}
    plugins = {
        "enabled": ["migrate", "balance"],
        "balance": {"cooldown_minutes": 0, "rolling": run},
    }
    made = play(lab, workspace, tmp_path, plugins=plugins, hosts=hosts_for(lab, doors))
    with made.bot:
        workspace.wait_connected()
        yield made


def versions(lab: Lab) -> dict[str, str]:
    """The line of `virsh version` that names the running QEMU, by host."""
    return {host: lab.virsh(host, "version").splitlines()[-1] for host in lab.hosts}


def test_every_host_gets_the_next_release_and_every_vm_comes_home_without_a_reboot(
    stage: Play, line: str, tmp_path: Path
) -> None:
    lab = stage.lab
    home = {"web": "host-a", "app": "host-a", "db": "host-b"}
    guests = [lab.guest(name, host=host, memory_mib=96, load=0.1) for name, host in home.items()]
    before = versions(lab)
    assert len(set(before.values())) == 1
    with Upgrader(lab, tmp_path / "asked") as upgrader:
        stage.asks(f'host rolling --all --reboots --run "{line}"')
        proposal = stage.proposal("Rolling maintenance of host-a, host-b")
        assert holds(proposal, "predicted") or holds(proposal, "about"), proposal.plain()
        stage.approves("bruno", proposal)
        waiting = stage.ended("to press Continue", proposal, timeout=PATIENCE)
        assert upgrader.upgraded == ["host-a"]
        middle = versions(lab)
        assert middle["host-a"] != before["host-a"]
        assert middle["host-b"] == before["host-b"]
        for guest in guests:
            runs_once(lab, guest, home[guest.name])
        assert stage.workspace.person("bruno").click(waiting, "op.continue").ok
        done = stage.ended("Done in", proposal, timeout=PATIENCE)
    assert upgrader.upgraded == ["host-a", "host-b"]
    assert len({*versions(lab).values()} - {*before.values()}) == 1
    assert holds(done, "6 migrations took", "predicted")
    for guest in guests:
        runs_once(lab, guest, home[guest.name])
    until(lambda: len(lab.where("db")) == 1, "db is on one host")
