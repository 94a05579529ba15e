"""Making guests on hosts: volume, seed, definition, start; part of the handler, and as impure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from bot.domain.cluster import Snapshot
from bot.domain.errors import DroverError, HostUnreachableError, StepLostError
from bot.domain.message import Message
from bot.ports import ClusterReader, Hypervisor, Progress, VmLookup, Volumes
from bot.ports.guests import Blueprint, Copy, GuestDisk, GuestNic, Seed, Volume
from plugins.vm_lifecycle import messages
from plugins.vm_lifecycle.steps import CloneVm, CreateVm, CreateVms, OnGuest

Facts = Mapping[str, str | int | float | bool]

MADE = "made"
"""The mark of a guest that was made whole; until it is there, a repeated step goes on with it."""

Say = Callable[[Message], None]


def place(volume: str) -> tuple[str, str]:
    """Pool and name of ``pool/volume``."""
    pool, _, name = volume.partition("/")
    return pool, name


def made(step: OnGuest, hypervisor: VmLookup) -> bool:
    """Whether the guest is there, whole."""
    found = hypervisor.found(step.host, step.uuid)
    return found is not None and found.mark == MADE


def make(step: CreateVm, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Make one guest; safe to repeat.

    Raises:
        DroverError: it could not be made, and what was made of it is gone again; the text says so.
        HostUnreachableError: the host fell silent; the step is repeated when it answers.
        StepLostError: it could not be made, and what was made could not be removed.
    """
    try:
        _make(step, hypervisor, progress.say)
    except (HostUnreachableError, StepLostError):
        raise
    except DroverError as error:
        removed = _unmade(step, _volumes(step), hypervisor, error)
        raise DroverError(messages.undone(error.text, removed), error.advice) from error
    return {messages.HOST: step.host}


def make_many(step: CreateVms, hypervisor: Hypervisor, progress: Progress, parallel: int) -> Facts:
    """Make guests side by side, some at a time on each host; those that fail are unmade, the others stay.

    Raises:
        DroverError: some could not be made; the text names them and what is there.
    """
    todo = [each for each in step.guests if not made(each, hypervisor)]
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
            progress.say(messages.so_many(number, len(started)))
    finally:
        for pool in pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        first = next(iter(failed.values()))
        raise DroverError(messages.some_failed(failed, len(step.guests)), first.advice) from first
    return {messages.MADE: len(step.guests)}


def clone(step: CloneVm, hypervisor: Hypervisor, progress: Progress) -> Facts:
    """Make one guest like another; safe to repeat. Raises as ``make`` does."""
    try:
        _clone(step, hypervisor, progress.say)
    except (HostUnreachableError, StepLostError):
        raise
    except DroverError as error:
        removed = _unmade(step, _volumes(step), hypervisor, error)
        raise DroverError(messages.undone(error.text, removed), error.advice) from error
    return {messages.HOST: step.host}


def _clone(step: CloneVm, hypervisor: Hypervisor, say: Say) -> None:
    _nobody_has_it(step, hypervisor)
    name_is_free(step, step.name, hypervisor)
    if hypervisor.found(step.host, step.uuid) is None:
        _source_is_off(step, hypervisor)
        if found := hypervisor.not_copyable(step.host, step.source):
            raise DroverError(messages.not_copyable(step, found), messages.NOT_COPYABLE_ADVICE)
        disks = [_copied(step, each, hypervisor, say) for each in step.disks]
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
        raise DroverError(messages.source_runs(step, running[0]), messages.source_runs_advice(step))
    nowhere_else(step, hypervisor, step.source)
    source = hypervisor.found(step.host, step.source)
    if source is not None and source.saved:
        raise DroverError(messages.source_is_saved(step), messages.source_is_saved_advice(step))


def _copied(step: CloneVm, disk: tuple[str, str, str], hypervisor: Volumes, say: Say) -> GuestDisk:
    target, source, wanted = disk
    say(messages.copies_disk(step, target))
    base = hypervisor.volume(step.host, *place(source))
    if base is None:
        raise DroverError(messages.no_volume(step, source), messages.GONE_ADVICE)
    hypervisor.delete_volume(step.host, *place(wanted))
    hypervisor.create_volume(step.host, *place(wanted), base.capacity, base=base, copy=True)
    return GuestDisk(*place(wanted), target)


class _Quiet:
    """Progress of one guest among many: the whole is told elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self.report, self.note, self.asked, self.sleep = (
            progress.report, progress.note, progress.asked, progress.sleep,
        )  # fmt: skip

    def say(self, text: Message) -> None:
        """Nothing: lines of several guests would overwrite each other."""


def _make(step: CreateVm, hypervisor: Hypervisor, say: Say) -> None:
    _nobody_has_it(step, hypervisor)
    name_is_free(step, step.name, hypervisor)
    if hypervisor.found(step.host, step.uuid) is None:
        _define(step, hypervisor, say)
        name_is_free(step, step.name, hypervisor)
    if step.start:
        say(messages.starts(step))
        hypervisor.start(step.host, step.uuid)
    hypervisor.leave_mark(step.host, step.uuid, MADE)


def name_is_free(step: OnGuest, name: str, hypervisor: ClusterReader) -> None:
    """Each host refuses a name that it has; what two operations do at once on two hosts only a look at all can tell.

    It is looked before and after the definition: two that are made at the same moment both step
    back, and none stays.

    Raises:
        DroverError: another guest has the name.
    """
    other = next(
        (vm for vm in hypervisor.snapshot().vms if vm.name == name and vm.uuid != step.uuid), None
    )
    if other is not None:
        raise DroverError(messages.name_taken(other), messages.NAME_TAKEN_ADVICE)


def nowhere_else(step: OnGuest, hypervisor: ClusterReader, uuid: str = "") -> None:
    """Refuse to touch what may run on another host: the step's VM, or the one of ``uuid``.

    Raises:
        StepLostError: it runs there, or a host that had it last, or that nobody has heard of, does
            not answer.
    """
    uuid = uuid or step.uuid
    seen = [each for each in hypervisor.sightings(uuid) if each.host != step.host]
    running = [each for each in seen if each.state is not None and each.state.active]
    if running:
        raise StepLostError(
            messages.runs_elsewhere(step, running[0]), messages.RUNS_ELSEWHERE_ADVICE
        )
    silent = [each.host for each in seen if not each.reachable]
    doubtful = _had_it(uuid, silent, hypervisor.snapshot()) if silent else []
    if doubtful:
        raise StepLostError(
            messages.maybe_elsewhere(step, doubtful), messages.MAYBE_ELSEWHERE_ADVICE
        )


def _had_it(uuid: str, silent: list[str], snapshot: Snapshot) -> list[str]:
    """The silent hosts that had the VM when they were last heard, and those never heard."""
    last = {vm.host for vm in snapshot.vms if vm.uuid == uuid}
    return [name for name in silent if name in last or snapshot.host(name).seen_at is None]


def _nobody_has_it(step: OnGuest, hypervisor: ClusterReader) -> None:
    """A new UUID is on no other host; if it is, somebody restored or moved something, and people must look."""
    there = [
        each
        for each in hypervisor.sightings(step.uuid)
        if each.host != step.host and each.state is not None
    ]
    if there:
        raise StepLostError(messages.runs_elsewhere(step, there[0]), messages.RUNS_ELSEWHERE_ADVICE)


def _define(step: CreateVm, hypervisor: Hypervisor, say: Say) -> None:
    base = _base(step, hypervisor)
    say(messages.copies(step) if step.full_copy else messages.makes_disk(step))
    # A volume of this name carries this guest's UUID: an attempt that was cut short has left it,
    # perhaps half copied.
    hypervisor.delete_volume(step.host, *place(step.disk))
    hypervisor.create_volume(
        step.host, *place(step.disk), step.capacity, base=base, copy=step.full_copy
    )
    seed = Seed(step.meta_data, step.user_data, step.vendor_data, step.network_config)
    hypervisor.upload_seed(step.host, *place(step.seed), seed, form=_seed_form(step))
    say(messages.defines(step))
    hypervisor.define(step.host, _blueprint(step))


def _base(step: CreateVm, hypervisor: Hypervisor) -> Volume:
    base = hypervisor.volume(step.host, *place(step.base))
    if base is None:
        raise DroverError(
            messages.no_base(step),
            messages.no_base_advice(step, _hosts_with(step.base, hypervisor)),
        )
    if base.capacity > step.capacity:
        raise DroverError(
            messages.disk_too_small(step, base.capacity),
            messages.disk_too_small_advice(base.capacity),
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
        uuid=step.uuid, name=step.name, vcpus=step.vcpus, vcpus_max=step.vcpus_max, memory=step.memory,
        disks=(GuestDisk(*place(step.disk), "vda"), seed), nics=(GuestNic(step.network_kind, step.network, step.mac),),
        tags=dict(step.tags), machine=step.machine, arch=step.arch, accelerator=step.accelerator, kernel=step.kernel,
        initrd=step.initrd, cmdline=step.cmdline, os_id=step.os_id, log_pool=place(step.disk)[0],
    )  # fmt: skip


def _seed_form(step: CreateVm) -> str:
    return "raw" if step.seed_as == "cdrom" else "qcow2"


def _volumes(step: CreateVm | CloneVm) -> list[str]:
    """Every volume that only this new guest has."""
    if isinstance(step, CreateVm):
        return [step.disk, step.seed, f"{place(step.disk)[0]}/{step.uuid}-serial.log"]
    return [*(wanted for _, _, wanted in step.disks), *((step.seed[1],) if step.seed[0] else ())]


def _unmade(
    step: OnGuest, volumes: list[str], hypervisor: Hypervisor, cause: DroverError
) -> list[str]:
    """Remove what there is of the guest; what was removed, in words.

    Raises:
        StepLostError: something is left.
    """
    removed: list[str] = []
    try:
        if hypervisor.found(step.host, step.uuid) is not None:
            hypervisor.force_off(step.host, step.uuid)
            hypervisor.undefine(step.host, step.uuid)
            removed.append(messages.DEFINITION)
        for volume in volumes:
            if hypervisor.volume(step.host, *place(volume)) is not None:
                hypervisor.delete_volume(step.host, *place(volume))
                removed.append(volume)
    except DroverError as error:
        raise StepLostError(
            messages.not_undone(step, cause.text, error.text),
            messages.not_undone_advice(step, volumes),
        ) from error
    return removed
