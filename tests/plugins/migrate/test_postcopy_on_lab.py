"""A source that dies in post-copy, on real hosts: the rest on the target is told as dead, never as moved."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from bot import catalog
from bot.adapters.libvirt import LibvirtHypervisor
from bot.domain.cluster import MIB
from bot.domain.errors import StepLostError
from bot.domain.plan import Plan
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, Settled
from lab.guests import processes
from plugins.migrate import handler
from plugins.vm_lifecycle import handler as lifecycle
from plugins.vm_lifecycle.settings import VmLifecycleSettings
from tests.bot.adapters.libvirt.test_on_lab import begin

# A fixture
from tests.plugins.migrate.test_freezes_on_lab import SETTINGS, A, B, RecordedProgress, hypervisor  # noqa: F401
from tests.waiting import until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab


def carry_out(hosts: LibvirtHypervisor, name: str, command: str) -> None:
    """Plan a command of the plugin ``vm_lifecycle``, and do what it plans."""
    found = parse(catalog.load(("vm_lifecycle",)), "/kvm", command)
    assert isinstance(found.command, Action)
    plan = found.command.plan(found.intent, hosts.snapshot({name}), ())
    assert isinstance(plan, Plan), plan
    for each in plan.steps:
        lifecycle.run(VmLifecycleSettings(), each, hosts, RecordedProgress(0, "never"))


@pytest.mark.parametrize(("name", "hung"), [("dead-postcopy", False), ("hung-postcopy", True)])
def test_a_source_that_dies_in_postcopy_leaves_a_vm_that_is_reported_as_dead_and_started_anew(
    lab: Lab,
    hypervisor: LibvirtHypervisor,  # noqa: F811
    name: str,
    hung: bool,  # noqa: FBT001
) -> None:
    """Libvirt says that it failed, unless QEMU itself hangs in memory that has not arrived.

    QEMU then tells libvirt nothing. It may always happen; stopped by hand it always does.
    """
    guest = lab.guest(name, host=A, memory_mib=192, dirty_mib_s=20)
    step = MigrateVm(
        guest.uuid, guest.name, A, B, 192 * MIB, policy=MigrationPolicy.POSTCOPY, bandwidth=8
    )
    lab.limit_bandwidth(A, 4)  # so that most of its memory is still on the source when that dies
    try:
        thread, _ = begin(hypervisor, step)
        hypervisor.start_postcopy(A, guest.uuid)
        until(
            lambda: lab.virsh(B, "domstate", guest.name).strip() == "running",
            "it runs on the target",
        )
        if hung:
            for pid in processes(lab._rooms[B], guest.name):
                os.kill(pid, signal.SIGSTOP)
        for pid in processes(lab._rooms[A], guest.name):
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: handler.settle(SETTINGS, lambda _: None, step, hypervisor) is Settled.NOT_YET,
            "it is lost",
        )
        with pytest.raises(StepLostError, match="is dead") as error:
            handler.run(SETTINGS, step, hypervisor, RecordedProgress(0, "never"))
        (remedy,) = error.value.remedies
        said = str(error.value.text)
        if remedy.command == f"vm force-off {guest.name}":
            assert "host-b: running (post-copy: its memory is still arriving)" in said
            carry_out(hypervisor, guest.name, remedy.command)
            carry_out(hypervisor, guest.name, f"vm start {guest.name}")
        else:
            assert not hung
            assert "host-b: running (post-copy failed)" in said
            carry_out(hypervisor, guest.name, remedy.command)
        until(lambda: guest.boots() == 2, "it is started anew")
        assert len(guest.where()) == 1
        thread.join(60)
        assert not thread.is_alive()
    finally:
        lab.limit_bandwidth(A, None)
        for host in (A, B):
            lab.virsh(host, "destroy", guest.name, check=False)
            lab.virsh(host, "undefine", guest.name, check=False)
