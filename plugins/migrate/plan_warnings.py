"""Pure: what approvers of a migration should know: its risks, and what could not be checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from bot.domain.cluster import Disk, Host, Nic, Seen
from bot.domain.message import Argument, Duration, Message, Names, Rate, Size, nwords, words
from bot.domain.plan import Reason
from bot.domain.steps import MigrationPolicy
from bot.domain.storage import local_disks
from plugins.migrate.case import MigrationCase, disk_targets, version_text
from plugins.migrate.forecast import Forecast
from plugins.migrate.target_checks import MOST_CPUS, has, network_names

OLD_FILES = "old-files"  # the code of what stays on the source


def list_warnings(
    case: MigrationCase,
    target: Host,
    policy: MigrationPolicy,
    predicted: Forecast,
    given_up_after: float,
) -> Iterator[Reason]:
    """Yield each risk of a migration; ``given_up_after``: seconds until the policy's next step."""
    vm = case.vm
    if predicted.converges is False:
        yield Reason("no-convergence", _no_convergence(case, policy, given_up_after))
    if predicted.converges is None:
        yield Reason(
            "dirty-unknown",
            words(
                "How fast {vm} writes memory could not be measured. The prediction assumes one "
                "pass; it may take longer.",
                vm=vm.name,
            ),
        )
    if policy is MigrationPolicy.POSTCOPY:
        yield Reason(
            "postcopy",
            words(
                "After the switch to post-copy {vm} depends on both hosts. If the network fails "
                "then, it crashes.",
                vm=vm.name,
            ),
        )
    if not vm.persistent:
        yield Reason(
            "transient",
            words(
                "{vm} is transient: it has no stored definition and cannot start at boot.",
                vm=vm.name,
            ),
        )
    if case.detail.checkpoints:
        yield Reason(
            "checkpoints",
            nwords(
                "{vm} has {n} backup checkpoint, which a migration drops: its next backup must be "
                "a full one.",
                "{vm} has {n} backup checkpoints, which a migration drops: its next backup must "
                "be a full one.",
                n=case.detail.checkpoints,
                vm=vm.name,
            ),
        )
    yield from _devices(case, target)
    yield from _older_qemu(case, target)
    yield from _pins(case, target)
    yield from _unchecked_definition(case, target)
    yield from _unchecked_places(case, target)
    yield from _unchecked_memory(case, target)
    yield from _unchecked_disks(case, target)
    yield from _other_servers(case, target)


def _no_convergence(case: MigrationCase, policy: MigrationPolicy, after: float) -> Message:
    given: dict[str, Argument] = {
        "vm": case.vm.name,
        "rate": Rate(case.vm.dirty_rate or 0),
        "time": Duration(after),
    }
    if policy is MigrationPolicy.FAST:
        return words(
            "{vm} writes {rate}, too fast for the network. After {time} it is paused until the "
            "rest is copied.",
            **given,
        )
    if policy is MigrationPolicy.POSTCOPY:
        return words(
            "{vm} writes {rate}, too fast for the network. After {time} it is switched to "
            "post-copy.",
            **given,
        )
    return words(
        "{vm} writes {rate}, too fast for the network. After {time} the migration is given up and "
        "the VM stays where it is. `--policy fast` or a quieter hour would help.",
        **given,
    )


def _devices(case: MigrationCase, target: Host) -> Iterator[Reason]:
    """Warn of what only QEMU can judge, and of USB devices that change with the host."""
    if undecided := (*case.detail.bound_devices, *case.detail.shared_dirs):
        yield Reason(
            "devices-tried",
            words(
                "{vm} has {devices}, and the tag device-migration=try: QEMU decides whether they "
                "can be migrated. If not, the move fails at once and {vm} continues to run on "
                "{source}.",
                vm=case.vm.name,
                devices=undecided,
                source=case.source.name,
            ),
        )
    kept = tuple(each.name for each in case.detail.ties.usb if each.needed)
    if kept:
        yield Reason(
            "usb-devices",
            words(
                "{vm} changes its USB devices for those of {target}: {devices}. Its system sees "
                "them unplugged and plugged in again.",
                vm=case.vm.name,
                target=target.name,
                devices=kept,
            ),
        )
    spare = tuple(each.name for each in case.detail.ties.usb if not each.needed)
    if spare:
        yield Reason(
            "usb-left-out",
            words(
                "Where {target} does not have them, {vm} loses USB devices: {devices}.",
                vm=case.vm.name,
                target=target.name,
                devices=spare,
            ),
        )


def _pins(case: MigrationCase, target: Host) -> Iterator[Reason]:
    if cpus := case.detail.ties.unknown_cpus(target):
        yield Reason(
            "cpu-pins",
            words(
                "{vm} is also pinned to CPUs that {target} does not have ({cpus}): its libvirt may "
                "refuse it, and {vm} then continues to run on {source}.",
                vm=case.vm.name,
                target=target.name,
                cpus=Names(tuple(str(each) for each in sorted(cpus)), most=MOST_CPUS),
                source=case.source.name,
            ),
        )


def _older_qemu(case: MigrationCase, target: Host) -> Iterator[Reason]:
    """Warn of the way back in an upgrade; without the machine type it is refused."""
    source = case.source
    if 0 < target.hypervisor_version < source.hypervisor_version:
        yield Reason(
            "older-qemu",
            words(
                "QEMU on {target} ({target_version}) is older than on {source} ({source_version}). "
                "It has the machine type of {vm}, so libvirt allows the move; should QEMU there "
                "not understand a device's state, the move fails and {vm} continues to run on "
                "{source}.",
                target=target.name,
                target_version=version_text(target.hypervisor_version),
                source=source.name,
                source_version=version_text(source.hypervisor_version),
                vm=case.vm.name,
            ),
        )


def _unchecked_definition(case: MigrationCase, target: Host) -> Iterator[Reason]:
    """What cannot be checked from outside; libvirt itself refuses if it is wrong."""
    vm, detail = case.vm, case.detail
    if vm.detail is None:
        yield Reason(
            "not-read",
            words(
                "The definition of {vm} could not be read: its disks and devices were not checked.",
                vm=vm.name,
            ),
        )
    elif case.snapshot.cpu_fit(vm.uuid, target.name) is None:
        yield Reason(
            "cpu-unknown",
            words(
                "{target} did not say whether it can provide the CPU of {vm}; libvirt will check.",
                target=target.name,
                vm=vm.name,
            ),
        )
    looked = case.snapshot.target_look(vm.uuid, target.name) is not None
    if unseen := [nic for nic in detail.nics if _unseen(case.source, target, nic, looked=looked)]:
        yield Reason(
            "network-unknown",
            words(
                "Could not check that {target} has {networks} for {vm}.",
                target=target.name,
                networks=network_names(unseen),
                vm=vm.name,
            ),
        )
    if detail.secrets and not looked:
        yield Reason(
            "secrets",
            words(
                "{vm} opens its disks with libvirt secrets; {target} must have the same ones (not "
                "checked).",
                vm=vm.name,
                target=target.name,
            ),
        )


def _unseen(source: Host, target: Host, nic: Nic, *, looked: bool) -> bool:
    """Check that no host lists it: a bridge that libvirt cannot see, or a kind never listed."""
    if nic.kind in ("user", "ethernet", "null", "internal") or (looked and nic.kind == "direct"):
        return False
    there = has(target, nic)
    return there is None or (not there and not has(source, nic))


def _unchecked_places(case: MigrationCase, target: Host) -> Iterator[Reason]:
    """Directories and ports, which libvirt does not show of another host."""
    vm, ties = case.vm, case.detail.ties
    if ties.folders and case.snapshot.target_look(vm.uuid, target.name) is None:
        yield Reason(
            "folders-unknown",
            words(
                "Could not check that {target} has the directories of the serial ports and "
                "channels of {vm}: {folders}.",
                target=target.name,
                vm=vm.name,
                folders=ties.folders,
            ),
        )
    if ports := sorted({port for each in ties.listeners if each.fixed for port in each.ports}):
        yield Reason(
            "ports-unknown",
            nwords(
                "{vm} needs port {ports} on {target}; no other VM uses it there.",
                "{vm} needs ports {ports} on {target}; no other VM uses them there.",
                n=len(ports),
                vm=vm.name,
                ports=Names(tuple(str(port) for port in ports)),
                target=target.name,
            ),
        )


def _unchecked_memory(case: MigrationCase, target: Host) -> Iterator[Reason]:
    vm, detail = case.vm, case.detail
    if detail.hugepages and target.huge_pages is None:  # else the placement rules count them
        yield Reason(
            "hugepages",
            words(
                "{vm} uses huge pages: {target} needs {memory} of free ones (not checked).",
                vm=vm.name,
                target=target.name,
                memory=Size(vm.memory),
            ),
        )
    if detail.memory_locked:
        yield Reason(
            "memory-locked",
            words(
                "The memory of {vm} is locked: all of it must be free on {target}, and post-copy "
                "is not possible.",
                vm=vm.name,
                target=target.name,
            ),
        )


def _unchecked_disks(case: MigrationCase, target: Host) -> Iterator[Reason]:
    local = local_disks(case.source, case.detail)
    seen = case.files_on(target.name, local)
    if case.copy_storage:
        yield from _copies(case, target, local, seen)
    elif local and seen == {Seen.SAME}:
        yield Reason(
            "taken-for-shared",
            words(
                "{target} shows the same files for {disks}, so they are taken for shared. Where "
                "libvirt doubts it, Drover first writes a small file beside them, and moves the VM "
                "only if the other host reads it.",
                target=target.name,
                disks=disk_targets(local),
            ),
        )


def _other_servers(case: MigrationCase, target: Host) -> Iterator[Reason]:
    """Warn of a pool whose server is called otherwise on the target: it may be another one."""
    for pool, other in case.shared_pools(target):
        known = pool.servers and other.servers and not (pool.declared and other.declared)
        if known and set(pool.servers).isdisjoint(other.servers):
            yield Reason(
                "other-server",
                words(
                    "Pool {pool} is on {here} for {source} and on {there} for {target}: {vm} "
                    "finds its disks there only if that is the same storage.",
                    pool=pool.name,
                    here=Names(pool.servers),
                    source=case.source.name,
                    there=Names(other.servers),
                    target=target.name,
                    vm=case.vm.name,
                ),
            )


def _copies(
    case: MigrationCase, target: Host, local: Sequence[Disk], seen: Collection[Seen]
) -> Iterator[Reason]:
    """Yield what copies of local disks leave behind, and what is not known of them."""
    looked = case.snapshot.target_look(case.vm.uuid, target.name) is not None
    if looked and Seen.UNKNOWN in seen:
        yield Reason(
            "there-unknown",
            words(
                "Whether {target} already has files where the copies of {disks} would go is "
                "checked again just before the migration.",
                target=target.name,
                disks=disk_targets(local),
            ),
        )
    if local:
        yield Reason(
            OLD_FILES,
            words(
                "The old files of {vm} stay on {source}: {files}. Delete them there when the "
                "copies have proved good; until then {vm} cannot be copied back.",
                vm=case.vm.name,
                source=case.vm.host,
                files=Names(tuple(disk.source for disk in local)),
            ),
        )
    unsized = [disk for disk in local if disk.capacity is None]
    if unsized:
        yield Reason(
            "size-unknown",
            words(
                "The size of {disks} is unknown: copying may take longer than predicted.",
                disks=disk_targets(unsized),
            ),
        )
