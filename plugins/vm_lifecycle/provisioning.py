"""Make VMs on hosts: volume, seed, definition, start; part of the handler, and as impure."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bot.domain.cluster import Sighting, Snapshot, VmState
from bot.domain.errors import (
    VOLUME_BUSY,
    DroverError,
    HostUnreachableError,
    HypervisorError,
    StepLostError,
)
from bot.domain.message import (
    Code,
    Duration,
    Join,
    Member,
    Message,
    Names,
    Size,
    join,
    nwords,
    words,
)
from bot.domain.operation import Facts
from bot.domain.state_names import VM_STATES
from bot.domain.steps import OnVm
from bot.ports import ClusterReader, Hypervisor, Progress, VmLookup, Volumes
from bot.ports.guests import Blueprint, Copy, GuestDisk, GuestNic, Seed, Volume
from plugins.vm_lifecycle import texts
from plugins.vm_lifecycle.steps import CloneVm, CreateVm, CreateVms

MADE = "made"
"""The mark of a VM that was made whole; until it is there, a repeated step goes on with it."""

_BUSY_LOOK = 2.0  # seconds between looks at a volume that is being copied
_BUSY_SECONDS = 7200.0  # a copy of 1 TB at 150 MB/s takes that long; then people must look


def place(volume: str) -> tuple[str, str]:
    """Pool and name of ``pool/volume``."""
    pool, _, name = volume.partition("/")
    return pool, name


def is_made(step: OnVm, hypervisor: VmLookup) -> bool:
    """Whether the VM is there, whole."""
    found = hypervisor.find(step.host, step.uuid)
    return found is not None and found.mark == MADE


def make(step: CreateVm, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Make one VM; safe to repeat.

    Raises:
        DroverError: it could not be made, and what was made of it is gone again; the text says so.
        HostUnreachableError: the host fell silent; the step is repeated when it answers.
        StepLostError: it could not be made, and what was made could not be removed.
    """
    try:
        _make(step, hypervisor, progress)
    except (HostUnreachableError, StepLostError):
        raise
    except DroverError as error:
        removed = _unmake(step, _volumes(step), hypervisor, progress, error)
        raise clean_failure(error, removed) from error
    return {}


def clean_failure(error: DroverError, removed: Sequence[Member]) -> DroverError:
    """The error of a step of which nothing is left, with what was removed again."""
    what = (
        words("What had been made was removed again: {parts}.", parts=Names(tuple(removed)))
        if removed
        else words("Nothing had been made.")
    )
    return DroverError(join((error.text, what)), error.advice, code=error.code)


def make_many(step: CreateVms, hypervisor: Hypervisor, progress: Progress, parallel: int) -> Facts:
    """Make VMs side by side, ``parallel`` at a time on each host.

    Those that fail are removed, the others stay.

    Raises:
        DroverError: some could not be made; the text names them and what is there.
    """
    todo = [each for each in step.guests if not is_made(each, hypervisor)]
    pools = {
        host: ThreadPoolExecutor(parallel, thread_name_prefix=f"make-{host}") for host in step.hosts
    }
    try:
        started = [
            (each, pools[each.host].submit(make, each, hypervisor, _Quiet(progress)))
            for each in todo
        ]
        failed: dict[str, DroverError] = {}
        for number, (each, future) in enumerate(started, 1):
            try:
                future.result()
            except HostUnreachableError:
                raise
            except DroverError as error:
                failed[each.name] = error
            progress.say(
                nwords(
                    "{done} of {n} VM processed.",
                    "{done} of {n} VMs processed.",
                    n=len(started),
                    done=number,
                )
            )
    finally:
        for pool in pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        first = next(iter(failed.values()))
        text = nwords(
            "{count} of {n} VM could not be made.",
            "{count} of {n} VMs could not be made; the others exist.",
            n=len(step.guests),
            count=len(failed),
        )
        causes = (words("{vm}: {why}", vm=name, why=error.text) for name, error in failed.items())
        raise DroverError(join((text, *causes)), first.advice, code=first.code) from first
    return {"created": len(step.guests)}


def clone(step: CloneVm, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Clone a VM; safe to repeat. Raises as ``make`` does."""
    try:
        _clone(step, hypervisor, progress)
    except (HostUnreachableError, StepLostError):
        raise
    except DroverError as error:
        removed = _unmake(step, _volumes(step), hypervisor, progress, error)
        raise clean_failure(error, removed) from error
    return {}


def _clone(step: CloneVm, hypervisor: Hypervisor, progress: Progress) -> None:
    _nobody_has_it(step, hypervisor)
    name_is_free(step, step.name, hypervisor)
    if hypervisor.find(step.host, step.uuid) is None:
        _source_is_off(step, hypervisor)
        if found := hypervisor.not_copyable(step.host, step.source):
            raise DroverError(
                words(
                    "{vm} has what two VMs cannot share: {parts}. Nothing was copied.",
                    vm=step.source_name,
                    parts=Names(tuple(found)),
                ),
                words(
                    "Remove that from its definition first, or make a new VM with `/kvm vm create`."
                ),
                code="not-copyable",
            )
        disks = [_copy_disk(step, each, hypervisor, progress) for each in step.disks]
        if step.seed[0]:
            seed = Seed(step.meta_data, "", "", step.network_config)
            cdrom = step.seed[1].endswith(".iso")
            form = "raw" if cdrom else "qcow2"
            hypervisor.upload_seed(step.host, *place(step.seed[1]), seed, form=form)
            disks.append(
                GuestDisk(*place(step.seed[1]), step.seed[0], form, "cdrom" if cdrom else "disk")
            )
        copy = Copy(step.source, step.uuid, step.name, tuple(disks), step.macs, dict(step.tags))
        hypervisor.define_copy(step.host, copy)
    hypervisor.leave_mark(step.host, step.uuid, MADE)


def _source_is_off(step: CloneVm, hypervisor: Hypervisor) -> None:
    running = [
        each
        for each in hypervisor.sightings(step.source)
        if each.state is not None and each.state.active
    ]
    if running:
        raise DroverError(
            words(
                "{vm} is {state} on {host}. Copies of its disks would be inconsistent.",
                vm=step.source_name,
                state=_state(running[0]),
                host=running[0].host,
            ),
            words(
                "Shut it down with {command}, then ask again.",
                command=texts.chat("vm shutdown {}", step.source_name),
            ),
            code="running",
        )
    nowhere_else(step, hypervisor, step.source)
    source = hypervisor.find(step.host, step.source)
    if source is not None and source.saved:
        # Its disks hold only a part of what it knows; the rest is in the saved memory
        raise DroverError(
            words(
                "{vm} is now powered off with its memory saved on {host}. Nothing was copied.",
                vm=step.source_name,
                host=step.host,
            ),
            words(
                "Start it with {start} and shut it down first; or discard that memory with "
                "{discard}.",
                start=texts.chat("vm start {}", step.source_name),
                discard=texts.chat("vm discard-memory {}", step.source_name),
            ),
            code="memory-saved",
        )


def _copy_disk(
    step: CloneVm, disk: tuple[str, str, str], hypervisor: Volumes, progress: Progress
) -> GuestDisk:
    target, source, wanted = disk
    progress.say(
        words(
            "{vm}: copying {disk} of {source} on {host}.",
            vm=step.name,
            disk=target,
            source=step.source_name,
            host=step.host,
        )
    )
    base = hypervisor.volume(step.host, *place(source))
    if base is None:
        raise DroverError(
            words("{host} has no volume {volume} any more.", host=step.host, volume=source),
            words("It was moved or removed in the meantime: ask again."),
            code="gone",
        )
    delete_when_free(step.host, wanted, hypervisor, progress)
    hypervisor.create_volume(step.host, *place(wanted), base.capacity, base=base, copy=True)
    return GuestDisk(*place(wanted), target)


def delete_when_free(host: str, volume: str, hypervisor: Volumes, progress: Progress) -> bool:
    """Remove what an earlier attempt left of a volume; whether there was anything.

    libvirt goes on copying for a bot that has ended, and does not stop for another.

    Raises:
        StepLostError: it went on for too long.
    """
    waited = 0.0
    while True:
        try:
            there = hypervisor.volume(host, *place(volume)) is not None
            hypervisor.delete_volume(host, *place(volume))
        except HypervisorError as error:
            if error.code != VOLUME_BUSY:
                raise
            if waited >= _BUSY_SECONDS:
                raise _still_busy(host, volume, waited) from error
        else:
            return there
        progress.say(
            words(
                "Waiting: {host} still makes or copies {volume}.",
                host=host,
                volume=volume,
            )
        )
        progress.sleep(_BUSY_LOOK)
        waited += _BUSY_LOOK


def _still_busy(host: str, volume: str, waited: float) -> StepLostError:
    return StepLostError(
        words(
            "{host} has been making or copying {volume} for {time}.",
            host=host,
            volume=volume,
            time=Duration(waited),
        ),
        words("Look at its storage and at qemu-img there, then ask again."),
    )


class _Quiet:
    """Progress of one VM among many: that of the whole is shown instead."""

    def __init__(self, progress: Progress) -> None:
        self.report, self.note, self.asks, self.sleep = (
            progress.report, progress.note, progress.asks, progress.sleep,
        )  # fmt: skip

    def say(self, text: Message) -> None:
        """Drop the line: those of several VMs would overwrite each other."""


def _make(step: CreateVm, hypervisor: Hypervisor, progress: Progress) -> None:
    _nobody_has_it(step, hypervisor)
    name_is_free(step, step.name, hypervisor)
    if hypervisor.find(step.host, step.uuid) is None:
        _define(step, hypervisor, progress)
        name_is_free(step, step.name, hypervisor)
    if step.start:
        progress.say(words("{vm}: starting it on {host}.", vm=step.name, host=step.host))
        hypervisor.start(step.host, step.uuid)
    hypervisor.leave_mark(step.host, step.uuid, MADE)


def name_is_free(step: OnVm, name: str, hypervisor: ClusterReader) -> None:
    """Refuse a name that another VM of the cluster has.

    Each host refuses a name that it has itself. For two operations at once on two hosts the cluster
    is read before and after the definition: both then fail, and neither VM stays.

    Raises:
        DroverError: another VM has the name.
    """
    other = next(
        (vm for vm in hypervisor.snapshot().vms if vm.name == name and vm.uuid != step.uuid), None
    )
    if other is not None:
        raise DroverError(
            words(
                "{vm} was made or renamed in the meantime: {uuid} on {host} ({state}).",
                vm=other.name,
                uuid=other.uuid,
                host=other.host,
                state=VM_STATES[other.state],
            ),
            words("Use another name."),
            code="name-taken",
        )


def nowhere_else(step: OnVm, hypervisor: ClusterReader, uuid: str = "") -> None:
    """Refuse to touch what may run on another host: the step's VM, or the one of ``uuid``.

    Raises:
        StepLostError: it runs there, or a host that had it last, or that nobody has heard of, does
            not answer.
    """
    uuid = uuid or step.uuid
    seen = [each for each in hypervisor.sightings(uuid) if each.host != step.host]
    running = [each for each in seen if each.state is not None and each.state.active]
    if running:
        raise _runs_elsewhere(step, running[0])
    silent = [each.host for each in seen if not each.reachable]
    doubtful = _had_it(uuid, silent, hypervisor.snapshot()) if silent else []
    if doubtful:
        raise StepLostError(
            nwords(
                "{vm} may run on {hosts}, which does not answer. Nothing was done on {host}.",
                "{vm} may run on {hosts}, which do not answer. Nothing was done on {host}.",
                n=len(doubtful),
                vm=step.name,
                hosts=Names(tuple(doubtful), Join.OR),
                host=step.host,
            ),
            words(
                "An unreachable host may still run VMs. Bring it back, or make sure that it is off "
                "and remove it from the configuration."
            ),
        )


def _runs_elsewhere(step: OnVm, there: Sighting) -> StepLostError:
    return StepLostError(
        words(
            "{vm} is {state} on {other}. Nothing was done on {host}.",
            vm=step.name,
            state=_state(there),
            other=there.host,
            host=step.host,
        ),
        words(
            "Check both hosts at once and change nothing until you know: "
            "two running copies destroy data."
        ),
    )


def _state(there: Sighting) -> Message:
    return VM_STATES[there.state or VmState.UNKNOWN]


def _had_it(uuid: str, silent: list[str], snapshot: Snapshot) -> list[str]:
    """The unreachable hosts that had the VM when last seen, and those never seen."""
    last = {vm.host for vm in snapshot.vms if vm.uuid == uuid}
    return [name for name in silent if name in last or snapshot.host(name).seen_at is None]


def _nobody_has_it(step: OnVm, hypervisor: ClusterReader) -> None:
    """Refuse a new UUID that another host has: somebody restored or moved something there."""
    there = [
        each
        for each in hypervisor.sightings(step.uuid)
        if each.host != step.host and each.state is not None
    ]
    if there:
        raise _runs_elsewhere(step, there[0])


def _define(step: CreateVm, hypervisor: Hypervisor, progress: Progress) -> None:
    base = _base(step, hypervisor)
    args = {"vm": step.name, "base": step.base, "host": step.host}
    progress.say(
        words("{vm}: copying {base} on {host}.", **args)
        if step.full_copy
        else words(
            "{vm}: making its disk of {size} on {host}, based on {base}.",
            **args,
            size=Size(step.capacity),
        )
    )
    # A volume of this name bears this VM's UUID: an earlier attempt left it, perhaps half copied
    delete_when_free(step.host, step.disk, hypervisor, progress)
    hypervisor.create_volume(
        step.host, *place(step.disk), step.capacity, base=base, copy=step.full_copy
    )
    seed = Seed(step.meta_data, step.user_data, step.vendor_data, step.network_config)
    hypervisor.upload_seed(step.host, *place(step.seed), seed, form=_seed_form(step))
    progress.say(words("{vm}: defining it on {host}.", vm=step.name, host=step.host))
    hypervisor.define(step.host, _blueprint(step))


def _base(step: CreateVm, hypervisor: Hypervisor) -> Volume:
    base = hypervisor.volume(step.host, *place(step.base))
    if base is None:
        hosts = _hosts_with(step.base, hypervisor)
        advice = (
            words(
                "Copy it there, or use a host that has it ({option}): {hosts}.",
                option=texts.shell("--host={}", hosts[0]),
                hosts=Names(tuple(hosts), Join.OR),
            )
            if hosts
            else words(
                "No reachable host has it: put it into the pool {pool} of {host}.",
                pool=place(step.base)[0],
                host=step.host,
            )
        )
        raise DroverError(
            words("{host} does not have the image {base}.", host=step.host, base=step.base),
            advice,
            code="no-base",
        )
    if base.capacity > step.capacity:
        raise DroverError(
            words(
                "A disk of {size} is smaller than the image {base} ({least}).",
                size=Size(step.capacity),
                base=step.base,
                least=Size(base.capacity),
            ),
            words(
                "Use {option} or more.", option=Code(f"--disk {-(-base.capacity // (1 << 30))}G")
            ),
            code="too-little-disk",
        )
    return base


def _hosts_with(base: str, hypervisor: Hypervisor) -> list[str]:
    up = [host.name for host in hypervisor.snapshot().hosts if host.up]
    return [host for host in up if hypervisor.volume(host, *place(base)) is not None]


def _blueprint(step: CreateVm) -> Blueprint:
    cdrom = step.seed_as == "cdrom"
    seed = GuestDisk(
        *place(step.seed), "sda" if cdrom else "vdb", _seed_form(step), "cdrom" if cdrom else "disk"
    )
    return Blueprint(
        uuid=step.uuid, name=step.name, vcpus=step.vcpus, vcpus_max=step.vcpus_max,
        memory=step.memory, disks=(GuestDisk(*place(step.disk), "vda"), seed),
        nics=(GuestNic(step.network_kind, step.network, step.mac),), tags=dict(step.tags),
        machine=step.machine, arch=step.arch, accelerator=step.accelerator, kernel=step.kernel,
        initrd=step.initrd, cmdline=step.cmdline, os_id=step.os_id, log_pool=place(step.disk)[0],
    )  # fmt: skip


def _seed_form(step: CreateVm) -> str:
    return "raw" if step.seed_as == "cdrom" else "qcow2"


def _volumes(step: CreateVm | CloneVm) -> list[str]:
    """Every volume that only this new VM has."""
    if isinstance(step, CreateVm):
        return [step.disk, step.seed, f"{place(step.disk)[0]}/{step.uuid}-serial.log"]
    return [*(wanted for _, _, wanted in step.disks), *((step.seed[1],) if step.seed[0] else ())]


def _unmake(
    step: OnVm, volumes: list[str], hypervisor: Hypervisor, progress: Progress, cause: DroverError
) -> list[Member]:
    """Remove what there is of the VM and return what was removed.

    Raises:
        StepLostError: something is left.
    """
    removed: list[Member] = []
    try:
        if hypervisor.find(step.host, step.uuid) is not None:
            hypervisor.force_off(step.host, step.uuid)
            hypervisor.undefine(step.host, step.uuid)
            removed.append(words("its definition"))
        removed += [
            each for each in volumes if delete_when_free(step.host, each, hypervisor, progress)
        ]
    except DroverError as error:
        raise StepLostError(
            words(
                "{why} What had been made of {vm} could not all be removed: {then}",
                why=cause.text,
                vm=step.name,
                then=error.text,
            ),
            words(
                "Check {host} for the VM {vm} ({uuid}) and the volumes {volumes}.",
                host=step.host,
                vm=step.name,
                uuid=step.uuid,
                volumes=volumes,
            ),
        ) from error
    return removed
