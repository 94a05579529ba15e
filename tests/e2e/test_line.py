"""The whole line on real parts: typed in chat, approved by another, done on real hosts, told in the same message."""

from __future__ import annotations

import pytest

from lab import Guest
from tests.e2e.play import Play, narrow_wire, other_host, runs_once

pytestmark = pytest.mark.lab


def test_a_person_types_another_approves_and_the_guest_has_moved(stage: Play, mover: Guest) -> None:
    target = other_host(stage.lab, mover)
    stage.asks(f"migrate mover to {target}")
    proposal = stage.proposal("mover")
    assert "1 VM" in proposal.plain()
    stage.approves("bruno", proposal)
    stage.ended("Done:", proposal)
    runs_once(stage.lab, mover, target)
    stage.told("ana", "Done:", "mover")
    stage.asks("audit op-1")
    stage.told("ana", "op-1", "Audit trail intact")
    stage.asks("why mover")
    stage.told("ana", "mover", target)


def test_everyone_is_answered_and_only_one_effect_follows(stage: Play, mover: Guest) -> None:
    target = other_host(stage.lab, mover)
    stage.asks("migrate mover", by="gil")
    stage.told("gil", "may not use")
    stage.asks(f"migrate mover to {target}")
    proposal = stage.proposal("mover")
    stage.approves("ana", proposal)
    stage.told("ana", "does not count")
    stage.approves("gil", proposal)
    stage.told("gil", "may not approve")
    stage.workspace.fault.duplicate_next(1)
    stage.approves("bruno", proposal)
    stage.approves("carla", proposal)
    stage.told("carla", "op-1")
    stage.ended("Done:", proposal)
    runs_once(stage.lab, mover, target)
    assert len(stage.operations_shown()) == 1


def test_autostart_pause_and_cpu_share_travel_with_the_guest(stage: Play) -> None:
    lab = stage.lab
    guest = lab.guest("carried", host="host-a", load=0.9, autostart=True)
    lab.virsh("host-a", "schedinfo", "carried", "--live", "--config", "--set", "vcpu_quota=30000")
    stage.asks("migrate carried to host-b")
    proposal = stage.proposal("carried")
    stage.approves("bruno", proposal)
    stage.ended("Done:", proposal)
    runs_once(lab, guest, "host-b")
    assert "Autostart:      enable" in lab.virsh("host-b", "dominfo", "carried")
    assert "30000" in lab.virsh("host-b", "schedinfo", "carried")
    assert "carried" not in lab.virsh("host-a", "list", "--all", "--name")
    lab.kill_guest("carried")


def test_a_cancel_in_the_middle_leaves_the_guest_running_where_it_was(
    stage: Play, mover: Guest
) -> None:
    (home,) = stage.lab.where("mover")
    target = other_host(stage.lab, mover)
    with narrow_wire(stage.lab, home, 1):
        stage.asks(f"migrate mover to {target}")
        proposal = stage.proposal("mover")
        stage.approves("bruno", proposal)
        running = stage.ended("left", proposal)
        stage.workspace.person("ana").click(running, "op.cancel")
        stage.ended("Cancelled:", proposal)
    runs_once(stage.lab, mover, home)


def test_a_cluster_that_changed_means_nothing_is_done_and_a_new_plan_is_offered(
    stage: Play, mover: Guest
) -> None:
    (home,) = stage.lab.where("mover")
    target = other_host(stage.lab, mover)
    stage.asks(f"migrate mover to {target}")
    proposal = stage.proposal("mover")
    stage.lab.virsh(home, "autostart", "mover")
    stage.approves("bruno", proposal)
    stage.ended("Not done, the cluster changed:", proposal)
    assert stage.lab.where("mover") == [home]
    again = stage.message("#approvals", "Approve?", "replaces op-1")
    assert again.ts != proposal.ts
    stage.lab.virsh(home, "autostart", "--disable", "mover")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("migrate moverr", "Did you mean “mover”?"),
        ("migrate mover to host-x", "There is no host “host-x”"),
        ("migrat mover", "Did you mean `/kvm migrate mover`?"),
    ],
)
def test_a_slip_is_answered_with_the_next_step(
    stage: Play, mover: Guest, line: str, said: str
) -> None:
    stage.asks(line)
    stage.told("ana", said)


def test_a_frozen_host_is_told_and_the_bot_goes_on(stage: Play, mover: Guest) -> None:
    target = other_host(stage.lab, mover)
    stage.lab.freeze(target)
    try:
        stage.asks(f"migrate mover to {target}")
        stage.told("ana", target, "does not answer")
        stage.asks("hosts")
        stage.told("ana", "2 of 3 hosts up", target)
    finally:
        stage.lab.thaw(target)
