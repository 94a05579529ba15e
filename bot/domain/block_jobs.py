"""Pure: the block jobs of a VM's disks, which keep libvirt from other work with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.domain.cluster import Disk, Vm
from bot.domain.message import Code, Names, words
from bot.domain.plan import Objection
from bot.domain.words import command, virsh_name


def objections(vm: Vm, disks: Iterable[Disk]) -> Iterator[Objection]:
    """Yield an objection to what libvirt refuses while one of these disks has a block job.

    Nobody is told to abort one: a backup would be lost, and who began a copy counts on it.
    """
    busy = [disk for disk in disks if disk.busy]
    if not busy:
        return
    parts = (words("{disk} ({job})", disk=each.target, job=Code(each.busy)) for each in busy)
    shown = command("virsh blockjob {} {} --info", virsh_name(vm), busy[0].target)
    yield Objection(
        "block-job",
        words(
            "{vm} has disks with an active block job: {disks}.",
            vm=vm.name,
            disks=Names(tuple(parts)),
        ),
        words(
            "Wait until it ends: {command} shows how far it is. A copy or an active commit that is "
            "ready waits for whoever began it, to end it with `--pivot` or `--abort`.",
            command=Code(shown),
        ),
    )
