"""L21: the hook by which a host that has started anew starts no protected VM before it is admitted."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.domain.card import Listing
from bot.domain.errors import HypervisorError
from bot.domain.readiness import CommandResult
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from plugins.failover import guard
from plugins.failover.sight import Sight
from plugins.failover.watch import Gatherer
from plugins.host_check.probes import GUARD
from tests.bot.flow.small_bot import small_bot, text

OURS = '<drover:tag key="failover.autostart" value="on"/>'
BOOT = "/proc/sys/kernel/random/boot_id"


@pytest.mark.parametrize(
    ("phase", "definition", "admitted", "starts"),
    [
        ("prepare", OURS, "", False),
        ("prepare", OURS.replace('"', "'"), "", False),
        ("prepare", OURS, "another", False),
        ("prepare", OURS, "same", True),
        ("prepare", "<domain/>", "", True),
        ("prepare", OURS.replace("on", "off"), "", True),
        ("release", OURS, "", True),
    ],
)
def test_what_the_hook_lets_start(
    tmp_path: Path, phase: str, definition: str, admitted: str, *, starts: bool
) -> None:
    mark = tmp_path / "admitted"
    if admitted:
        mark.write_text(Path(BOOT).read_text() if admitted == "same" else f"{admitted}\n")
    script = guard.SCRIPT.replace(guard.ADMITTED, str(mark))
    told = subprocess.run(
        ["sh", "-c", script, "hook", "web-1", phase, "begin", "-"],
        input=f"<metadata>{definition}</metadata>",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode == 0) is starts, told.stderr
    assert ("web-1 may run elsewhere" in told.stderr) is not starts
    assert ("cp /proc/sys/kernel/random/boot_id" in told.stderr) is not starts


class Shells:
    """Shells of the hosts, which note what each was told."""

    def __init__(self, hypervisor: FakeHypervisor, *hosts: str) -> None:
        self.told: list[tuple[str, str]] = []
        self.code = 0
        for host in hosts:
            hypervisor.give_shell(host, partial(self.answer, host))

    def answer(self, host: str, argv: Sequence[str]) -> CommandResult:
        assert guard.ADMITTED in argv[2]
        self.told.append((host, argv[-1]))
        if self.code < 0:
            raise HypervisorError("The login was refused.")
        return CommandResult(self.code, "")


def admitted(hypervisor: FakeHypervisor, sight: Sight, *anew: str) -> None:
    guard.admit(sight, hypervisor.snapshot(), hypervisor, anew=anew)


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor(draw_cluster("host-a 8cpu 16G\nhost-b 8cpu 16G"), TickingClock())


def test_a_host_is_admitted_once_for_each_boot_unless_it_is_on_hold(
    hypervisor: FakeHypervisor,
) -> None:
    shells = Shells(hypervisor, "host-a", "host-b")
    sight = Sight(boots={"host-a": "boot-1", "host-b": ""})
    admitted(hypervisor, sight)
    admitted(hypervisor, sight)
    assert shells.told == [("host-a", "boot-1")]  # nobody knows the boot of host-b
    sight.boots["host-a"] = "boot-2"
    held = hypervisor.snapshot()
    held = replace(held, hosts=tuple(replace(each, held=True) for each in held.hosts))
    guard.admit(sight, held, hypervisor)
    assert len(shells.told) == 1  # L22
    admitted(hypervisor, sight)
    assert shells.told[1:] == [("host-a", "boot-2")]
    admitted(hypervisor, sight, "host-a")  # the hook may have been put there meanwhile
    assert len(shells.told) == 3


@pytest.mark.parametrize("code", [1, -1])
def test_a_host_that_could_not_be_admitted_is_told_again(
    hypervisor: FakeHypervisor, code: int
) -> None:
    shells = Shells(hypervisor, "host-a")
    shells.code = code
    sight = Sight(boots={"host-a": "boot-1"})
    admitted(hypervisor, sight)
    shells.code = 0
    admitted(hypervisor, sight)
    admitted(hypervisor, sight)
    assert len(shells.told) == 2


def test_a_host_that_is_back_is_admitted_while_another_one_is_still_silent(
    hypervisor: FakeHypervisor,
) -> None:
    """Both lost their power. Its VMs are proposed to start there: its guard must let them."""
    told: list[str] = []

    def answer(argv: Sequence[str]) -> CommandResult:
        if any(guard.ADMITTED in each for each in argv):
            told.append(argv[-1])
        return CommandResult(0, "boot-2" if argv[-1] == BOOT else "")

    hypervisor.give_shell("host-a", answer)
    gatherer = Gatherer(Sight(boots={"host-a": "boot-1"}, admitted={"host-a": "boot-1"}))
    for host in ("host-a", "host-b"):
        hypervisor.down(host, "no route to host")
    gatherer(hypervisor.snapshot(), hypervisor)
    hypervisor.up("host-a")
    gatherer(hypervisor.snapshot(), hypervisor)
    assert told == ["boot-2"]


def test_a_silent_host_is_not_admitted(hypervisor: FakeHypervisor) -> None:
    shells = Shells(hypervisor, "host-a")
    hypervisor.down("host-a", "no route to host")
    admitted(hypervisor, Sight(boots={"host-a": "boot-1"}))
    assert shells.told == []


def test_what_is_shown_is_the_hook_that_host_check_looks_for(tmp_path: Path) -> None:
    bot = small_bot(tmp_path, plugins=("failover", "host_check"))
    card = bot.types("failover guard")
    assert card is not None
    assert Listing(guard.SCRIPT.strip()) in card.elements
    assert "/kvm host check HOST" in text(card)
    assert guard.HOOK in GUARD.words
    assert guard.ADMITTED in GUARD.words
    bot.store.close()
