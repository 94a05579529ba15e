"""Each command for a VM in each state: it is planned, or refused with what can be done in that state."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.domain.cluster import (
    OS_CRASHED,
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    STARTING_UP,
    Disk,
    VmSnapshot,
    VmState,
)
from bot.domain.pages import MORE
from bot.domain.plan import Plan
from bot.domain.vm_menu import vm_buttons
from bot.domain.vm_steps import PowerVerb, PowerVm
from plugins.vm_lifecycle import cards
from tests.plugins.vm_lifecycle.test_changes import (
    DISK,
    WEB,
    answer,
    cluster,
    planned,
    refused,
)

TOOLS = Disk("sda", "file", "/iso/tools.iso", device="cdrom", readonly=True)
DETAIL: dict[str, Any] = {"disks": (DISK, TOOLS), "snapshot_list": (VmSnapshot("clean"),)}


def paused(by: str, **other: Any) -> dict[str, Any]:
    return {"state": VmState.PAUSED, "paused_by": by, **other}


def busy(job: str) -> dict[str, Any]:
    return {"detail": {**DETAIL, "job": job}}


STATES: dict[str, dict[str, Any]] = {
    "running": {},
    "transient": {"persistent": False},
    "off": {"state": VmState.SHUT_OFF},
    "saved": {"state": VmState.SHUT_OFF, "saved": True},
    "deleted": {
        "state": VmState.SHUT_OFF,
        "tags": {"drover.deleted": "2026-01-08T09:00:00+00:00"},
    },
    "asleep": {"state": VmState.SUSPENDED},
    "transient and asleep": {"state": VmState.SUSPENDED, "persistent": False},
    "in shutdown": {"state": VmState.SHUTTING_DOWN},
    "crashed": paused(OS_CRASHED),
    "being moved": busy("migration"),
    "backed up": busy("backup"),
    "half moved": paused("migration"),
    "source in post-copy": paused(POSTCOPY_SOURCE, **busy("migration")),
    "target in post-copy": {"paused_by": POSTCOPY_INCOMING, **busy("migration in")},
    "lost, paused": paused(POSTCOPY_FAILED, **busy("migration")),
    "lost, running": {"paused_by": POSTCOPY_FAILED, **busy("migration in")},
    **{
        f"paused ({why})": paused(why)
        for why in ("user", "ioerror", "watchdog", "save", "dump", "snapshot", STARTING_UP)
    },
    "transient and paused": paused("user", persistent=False),
}
COMMANDS = (
    "start", "shutdown", "force-off", "reboot", "pause", "resume", "resize {} --cpus 1", "rename {} new",
    "clone {} new", "autostart {} on", "tag {} a=b", "ttl {} 1d", "delete {} --keep-disks",
    "delete {} --remove-disks --now", "undelete", "purge", "discard-memory", "snapshot create {} a",
    "snapshot revert {} clean", "snapshot delete {} clean", "disk add {} 1G", "disk grow {} vda 20G",
    "nic add {} br0", "nic remove {} 52:54:00:00:00:01", "eject",
)  # fmt: skip


def line(command: str) -> str:
    return f"vm {command.format('web') if '{}' in command else f'{command} web'}"


def web(state: str) -> Any:
    return cluster(**{"detail": DETAIL, **STATES[state]})


@pytest.mark.parametrize("state", STATES)
def test_what_is_advised_first_can_be_done(state: str) -> None:
    """Of several reasons the first is in the way of the others."""
    for command in COMMANDS:
        said = answer(line(command), web(state))
        if isinstance(said, Plan):
            continue
        advised = re.findall(r"`/kvm (vm [^`]*)`", str(said.objections[0].remedy))
        for each in advised[:1]:
            assert isinstance(answer(each, web(state)), Plan), (command, each)


@pytest.mark.parametrize("state", STATES)
def test_what_a_vm_is_offered_as_buttons_can_be_done(state: str) -> None:
    seen = web(state)
    changing = {"vm start", "vm resume", "vm shutdown", "vm force-off", "vm reboot"}
    lost = " --lose-definition" if "transient" in state else ""
    for button in vm_buttons(seen.vm("web"), changing):
        typed = button.value.removesuffix(f" {MORE}")
        said = answer(typed + lost * ("off" in typed or "shutdown" in typed), seen)
        busy_now = not isinstance(said, Plan) and said.objections[0].code == "busy"
        assert isinstance(said, Plan) or busy_now, (typed, said)


@pytest.mark.parametrize(
    "state", ["half moved", "lost, paused", "lost, running", f"paused ({STARTING_UP})"]
)
@pytest.mark.parametrize(
    "command",
    [
        "resize {} --cpus 1",
        "snapshot create {} a",
        "snapshot revert {} clean",
        "disk add {} 1G",
        "disk grow {} vda 20G",
        "nic add {} br0",
        "nic remove {} 52:54:00:00:00:01",
        "eject",
        "shutdown",
        "start",
        "resume",
    ],
)
def test_a_vm_that_a_migration_left_half_is_not_changed(state: str, command: str) -> None:
    assert refused(line(command), web(state))


def test_a_vm_whose_system_crashed_is_ended_or_started_anew() -> None:
    """Its QEMU is still there, with memory and disks (``on_crash`` is ``preserve``)."""
    seen = web("crashed")
    off, on = (PowerVm(*WEB, verb) for verb in (PowerVerb.FORCE_OFF, PowerVerb.START))
    plan = planned("vm reboot web", seen)
    assert plan.steps == (off, on)
    assert [each.code for each in plan.warnings] == ["data-loss"]
    assert planned("vm force-off web", seen).steps == (off,)
    for command in ("start", "shutdown"):
        assert "`/kvm vm reboot web`" in refused(f"vm {command} web", seen)["crashed"]
    for command in ("delete {} --remove-disks --now", "rename {} new", "clone {} new"):
        assert "`/kvm vm force-off web`" in refused(line(command), seen)["runs"]


def test_a_backup_or_dump_that_hangs_keeps_nobody_from_forcing_a_vm_off() -> None:
    """libvirt ends such a job with the VM; a migration it does not, nor a revert."""
    seen = cluster(detail={**DETAIL, "job": "backup", "local_job": True})
    plan = planned("vm force-off web", seen)
    assert [each.code for each in plan.warnings] == ["data-loss", "job-lost"]
    assert "busy" in refused("vm shutdown web", seen)
    assert "busy" in refused("vm force-off web", web("being moved"))


def test_a_vm_that_shuts_down_is_waited_for() -> None:
    seen = web("in shutdown")
    for command in ("shutdown", "reboot", "pause"):
        assert "Wait until it is off" in refused(f"vm {command} web", seen)["in-shutdown"]
    assert "Wait until it is off" in refused("vm clone web new", seen)["runs"]


def test_a_paused_vm_cannot_release_a_nic() -> None:
    told = refused("vm nic remove web 52:54:00:00:00:01", web("paused (user)"))
    assert "`/kvm vm resume web`" in told["paused"]


def test_a_transient_vm_goes_back_to_its_memory_only() -> None:
    taken = (VmSnapshot("off", state="shutoff"), VmSnapshot("live", state="running"))
    seen = cluster(persistent=False, detail={**DETAIL, "snapshot_list": taken})
    assert "virsh define" in refused("vm snapshot revert web off", seen)["transient"]
    assert planned("vm snapshot revert web live", seen).steps
    assert planned("vm snapshot revert web off", cluster(detail={"snapshot_list": taken})).steps


@pytest.mark.parametrize("command", ["rename {} new", "clone {} new", "delete {} --keep-disks"])
def test_a_transient_vm_is_not_told_to_shut_down_for_it(command: str) -> None:
    told = refused(line(command), web("transient"))["runs"]
    assert "virsh define" in told
    assert "shutdown" not in told


@pytest.mark.parametrize(
    "state", [name for name in STATES if "paused" in STATES[name].get("state", "")]
)
def test_what_the_end_of_a_ttl_offers_for_a_paused_vm_can_be_done(state: str) -> None:
    seen = web(state)
    for remedy in cards.out_of_pause(seen.vm("web")):
        said = answer(remedy.command, seen)
        busy_now = not isinstance(said, Plan) and said.objections[0].code == "busy"
        assert isinstance(said, Plan) or busy_now, (remedy.command, said)
