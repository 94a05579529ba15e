"""Every sentence of this plugin that a person reads; translating the plugin is translating this file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.card import Card, Context, Element, Line, Person, Section, Table, words
from bot.domain.cluster import (
    CpuFit,
    Disk,
    Host,
    Inbound,
    Job,
    Lack,
    Listener,
    Nic,
    Pool,
    Scheduler,
    Sighting,
    Vm,
)
from bot.domain.errors import DroverError, HostUnreachableError, Remedy
from bot.domain.operation import BOT, Operation
from bot.domain.plan import Objection, Reason
from bot.domain.steps import Carried, MigrateVm, Policy
from bot.domain.words import bytes_text, command, duration_text, fill_advice, plural
from bot.ports.guests import Volume

# --- the command's help
# -------------------------------------------------------------------------------------------

MIGRATE = "Move a running VM to another host without stopping it."
MIGRATE_HELP = (
    "Move a running VM to another host without stopping it.\n\n"
    "Without HOST the best host is chosen and the plan says why. Nothing is done before another person approves."
)
POLICY_HELP = (
    "If the VM writes memory faster than the network carries it: safe gives up and leaves it where it runs; fast "
    "throttles it and may pause it at the end; postcopy moves it first and fetches its memory afterwards (a network "
    "failure then kills it)."
)
COPY_HELP = "Copy its local disks too, over the network; the target needs a pool at the same path."
BANDWIDTH_HELP = "Limit in MiB/s; 0 is as fast as it goes."
REASON_HELP = (
    'Why, for the approvers and the audit trail; several words in quotes: --reason "disk swap".'
)
WHY = "Why a VM is where it is: what moved it, and what speaks for or against other hosts."
WHERE = "Where a VM could move: every host with what stands in the way."


def no_host_after_to() -> str:
    """``migrate web-1 to``."""
    return "“to” which host? Leave it out to have the best one chosen."


def too_many_words(extra: str) -> str:
    """``migrate web-1 to host-b for repair``."""
    return f"“{extra}” is one word too many. Put a reason of several words in quotes."


# --- the plan
# -----------------------------------------------------------------------------------------------------


def plan_title(vm: Vm, target: str) -> str:
    """What approvers read first."""
    return f"Move {vm.name} from {vm.host} to {target}"


def refused_title(name: str, target: str = "") -> str:
    """Heads a list of objections."""
    return f"{name} cannot be moved{f' to {target}' if target else ''} now:"


def basis(vm: Vm, rate: float, storage: int, *, assumed: bool) -> str:
    """From what a prediction was made; ``rate`` in bytes/s."""
    copied = f" and {bytes_text(storage)} of disks" if storage else ""
    speed = f"{'an assumed ' if assumed else ''}{bytes_text(rate)}/s"
    return f"{bytes_text(vm.memory)} of memory{copied} at {speed}, {_written(vm)}"


def _written(vm: Vm) -> str:
    if vm.dirty_rate is None:
        return "how fast it writes memory not measured"
    return f"{bytes_text(vm.dirty_rate)}/s written"


# --- why a guest cannot move at all
# -------------------------------------------------------------------------------


def unknown(code: str, error: DroverError) -> Objection:
    """A name that is not in the cluster, in the words of the snapshot."""
    return Objection(code, error.text, error.advice)


def vm_off(vm: Vm) -> Objection:
    """Nothing runs, so nothing can move live."""
    return Objection(
        "vm-off",
        f"{vm.name} is {vm.state} on {vm.host}: there is no running VM to move.",
        "Start it first, or start it on the other host if that one sees its disks.",
    )


def vm_crashed(vm: Vm) -> Objection:
    """A crashed guest has no QEMU process."""
    return Objection(
        "vm-crashed",
        f"{vm.name} has crashed on {vm.host}.",
        "Find out why in its log, then start it; a crashed VM cannot be moved.",
    )


def state_unfit(vm: Vm) -> Objection:
    """A state in between."""
    return Objection(
        "vm-state",
        f"{vm.name} is “{vm.state}” on {vm.host}.",
        "Wait until it runs (wake it up if it sleeps), ask again.",
    )


def io_error(vm: Vm) -> Objection:
    """Paused by the hypervisor because its storage failed."""
    return Objection(
        "io-error",
        f"{vm.name} is paused because its storage failed on {vm.host}.",
        "Mend the storage (a full pool, a lost share) and resume it before it moves.",
    )


def half_moved(vm: Vm) -> Objection:
    """Left behind by a migration that failed."""
    return Objection(
        "half-moved",
        f"{vm.name} is paused on {vm.host} by a migration that did not end well ({vm.paused_by}).",
        "Look at both hosts first; do not resume it while another host may have it.",
    )


def broke_off(vm: Vm) -> Objection:
    """Left behind by a post-copy that failed, whatever libvirt calls its state."""
    return Objection(
        "post-copy-failed",
        f"{vm.name} is “{vm.state}” on {vm.host}, but its post-copy migration broke off: it has only a part of its "
        "memory.",
        "If the other host still has its half, resume that migration there. If not, "
        f"`{command('vm reboot {}', vm.name)}` forces it off and starts it anew.",
    )


def moving(vm: Vm, move: Inbound | None) -> Objection:
    """A move is under way or about to begin."""
    how = (
        f"{move.operation} moves it to {move.target}"
        if move
        else "a migration outside Drover is under way"
    )
    return Objection(
        "moving",
        f"{vm.name} is being moved already: {how}.",
        "Wait for its end, or cancel it, then ask.",
    )


def running_twice(vm: Vm, places: Iterable[str]) -> Objection:
    """The same UUID active on several hosts, as seen now or last."""
    return Objection(
        "running-twice",
        f"{vm.name} ({vm.uuid}) may be running in more than one place: {'; '.join(places)}.",
        "Look at each host at once: two running copies destroy their disks. Touch nothing before you know.",
    )


def seen_at(vm: Vm, host: Host) -> str:
    """One of those places."""
    return f"{host.name} ({vm.state}{'' if host.up else ', last seen: the host does not answer'})"


def source_unreachable(vm: Vm, host: Host) -> Objection:
    """The host that has it does not answer."""
    return Objection(
        "source-unreachable",
        f"{vm.host}, where {vm.name} was last seen, does not answer: {host.problem or 'no connection'}.",
        "Unreachable is not dead: the VM may well be running there. Check the host and its libvirtd; only after proof "
        "that the host is off may its VMs be restarted elsewhere.",
    )


def job_active(vm: Vm, job: str) -> Objection:
    """Another job holds the guest."""
    return Objection(
        "job-active",
        f"{vm.name} has a job under way ({job}).",
        f"Wait for it, or see `{command('virsh domjobinfo {}', vm.name)}`.",
    )


def block_job(vm: Vm, disks: Sequence[Disk]) -> Objection:
    """A disk is being copied, committed or backed up."""
    what = ", ".join(f"{disk.target} ({disk.busy})" for disk in disks)
    return Objection(
        "block-job",
        f"{vm.name} has disks at work: {what}.",
        f"Wait for it, or end it: `{command('virsh blockjob {} {} --abort', vm.name, disks[0].target)}`.",
    )


def host_devices(vm: Vm, devices: Sequence[str]) -> Objection:
    """Hardware of the host is plugged into the guest."""
    return Objection(
        "host-devices",
        f"{vm.name} uses devices of {vm.host}: {', '.join(devices)}.",
        "Detach them first (for an SR-IOV network card: give it a virtio card as failover partner), or shut it down.",
    )


def snapshots(vm: Vm, count: int) -> Objection:
    """Snapshots live in the source's libvirt and would be lost."""
    return Objection(
        "snapshots",
        f"{vm.name} has {plural(count, 'snapshot')}, and libvirt does not move a VM that has any.",
        f"See which are still needed: `{command('vm snapshot list {}', vm.name)}`.",
    )


def invtsc(vm: Vm) -> Objection:
    """The guest was promised a clock that only this host has."""
    return Objection(
        "invtsc",
        f"{vm.name} requires the CPU feature invtsc, which ties it to {vm.host}'s clock.",
        "Give its clock a fixed frequency (`<timer name='tsc' frequency='…'/>`) or leave the feature out "
        f"(`{command('virsh edit {}', vm.name)}`), then `{command('vm reboot {}', vm.name)}`.",
    )


def disk_cache(vm: Vm, disks: Sequence[Disk]) -> Objection:
    """The source's page cache would hide writes from the target."""
    what = ", ".join(f"{disk.target} (cache {disk.cache or 'default'})" for disk in disks)
    return Objection(
        "disk-cache",
        f"{vm.name} has shared disks that are cached on the host: {what}.",
        f"Upgrade libvirt to 5.6 and QEMU to 4.0 on {vm.host}, or set cache='none' and restart it; moving it otherwise "
        "can corrupt its data.",
    )


def local_media(vm: Vm, disks: Sequence[Disk]) -> Objection:
    """An ISO or a seed image that only the source has."""
    what = ", ".join(f"{disk.target} ({disk.source})" for disk in disks)
    return Objection(
        "local-media",
        f"{vm.name} has media that only {vm.host} has: {what}.",
        f"Eject first: `{command('vm eject {} {}', vm.name, disks[0].target)}`.",
    )


def local_disks(vm: Vm, disks: Sequence[Disk], there: Sequence[str] = ()) -> Objection:
    """Disks that the target cannot see, and nobody asked to copy them; ``there``: hosts with a file in their place."""
    what = ", ".join(f"{disk.target} ({disk.source}{_of_size(disk)})" for disk in disks)
    if there:
        found = (
            f" {', '.join(there)} {'has' if len(there) == 1 else 'have'} a file at the same place."
        )
        return Objection(
            "local-disk",
            f"{vm.name} has disks that are not known to be shared: {what}.{found}",
            _declare(disks),
        )
    return Objection(
        "local-disk",
        f"{vm.name} has disks that only {vm.host} has: {what}.",
        f"Copy them: `{command('migrate {} --copy-storage', vm.name)}`. {_declare(disks)}",
    )


def _declare(disks: Sequence[Disk]) -> str:
    """How people say that hosts share what Drover takes for local."""
    where = disks[0].source.rpartition("/")[0] or disks[0].source
    # JSON's strings are TOML's
    which = f"{'name' if disks[0].kind == 'volume' else 'path'} = {json.dumps(where)}"
    return f"If hosts share that storage, declare it in the configuration: `[[pools]]`, `{which}`, `shared = true`."


def already_there(vm: Vm, target: Host, disks: Sequence[Disk], *, same: bool) -> Objection:
    """A copy would be written over a file; over the very disk itself when it is shared."""
    what = ", ".join(f"{disk.target} ({disk.source})" for disk in disks)
    if same:
        return Objection(
            "same-file",
            f"{target.name} sees the very disks of {vm.name} ({what}): a copy would overwrite them with themselves.",
            f"Leave out the copy: `{command('migrate {} to {}', vm.name, target.name)}`.",
        )
    return Objection(
        "file-there",
        f"{target.name} already has a file where the copy of a disk of {vm.name} would go: {what}.",
        f"Nothing is copied over a file that is there. {_declare(disks)} Otherwise choose another host.",
    )


def explicit_bases(vm: Vm, target: Host, bases: Sequence[str]) -> Objection:
    """A definition that names what is beneath its disks makes the target look for those files."""
    disk = (
        next((each.target for each in vm.detail.disks if each.device == "disk"), "vda")
        if vm.detail
        else "vda"
    )
    return Objection(
        "backing-file",
        f"The definition of {vm.name} names files beneath its disks: {', '.join(bases)}. QEMU on {target.name} would "
        "look for them there, although the copy is complete.",
        f"Make its disk independent first: `{command('virsh blockpull {} {} --wait', vm.name, disk)}`.",
    )


def taken_for_shared(target: Host, disks: Sequence[Disk]) -> Reason:
    """By the moments of its last changes, which no copy has."""
    what = ", ".join(disk.target for disk in disks)
    return Reason(
        "taken-for-shared",
        f"{target.name} shows the very same files for {what}, so they are taken for shared. Where libvirt doubts it, "
        "Drover first writes a small file beside them, and moves the VM only if the other host reads it.",
    )


def not_looked_at(target: Host, disks: Sequence[Disk]) -> Reason:
    """The target did not say in time."""
    what = ", ".join(disk.target for disk in disks)
    return Reason(
        "there-unknown",
        f"Whether {target.name} has files where the copies of {what} would go is looked at again just before.",
    )


def _of_size(disk: Disk) -> str:
    return f", {bytes_text(disk.capacity)}" if disk.capacity else ""


def nothing_to_copy(vm: Vm) -> Objection:
    """Every disk is on shared storage; copying would write them over themselves."""
    return Objection(
        "nothing-to-copy",
        f"{vm.name} has no local disk to copy; --copy-storage would write its shared disks over themselves.",
        "Leave out `--copy-storage`.",
    )


def tpm_fixed(vm: Vm, kind: str) -> Objection:
    """A TPM that libvirt does not move: the host's own, or one that somebody else runs."""
    what = "the host's own TPM" if kind == "passthrough" else "a TPM that is run outside libvirt"
    return Objection(
        "tpm",
        f"{vm.name} uses {what} ({vm.host}).",
        "It can move with an emulated TPM (`<backend type='emulator'/>`); but a new TPM opens no disk that is sealed "
        "to the old one.",
    )


def tpm_too_old(vm: Vm, host: Host) -> Objection:
    """An emulated TPM's state travels from libvirt 7.1 on."""
    return Objection(
        "tpm",
        f"libvirt on {host.name} ({_number(host.libvirt_version)}) cannot move the emulated TPM of {vm.name}; 7.1 can.",
        f"Upgrade libvirt on {host.name}.",
    )


def shared_memory(vm: Vm, names: Sequence[str]) -> Objection:
    """QEMU refuses a peer of shared memory."""
    return Objection(
        "shmem",
        f"{vm.name} shares memory with other programs on {vm.host}: {', '.join(names)}.",
        f"Take the device out before the move: `{command('virsh detach-device-alias {} ALIAS', vm.name)}` "
        f"(`{command('virsh dumpxml {}', vm.name)}` shows its alias).",
    )


def encrypted_memory(vm: Vm, kind: str) -> Objection:
    """Confidential VMs stay."""
    return Objection(
        "launch-security",
        f"{vm.name} has memory that only {vm.host}'s CPU can read ({kind}); QEMU does not move it.",
        f"Shut it down and start it on the other host: `{command('vm shutdown {}', vm.name)}`.",
    )


def transient_disks(vm: Vm, disks: Sequence[Disk]) -> Objection:
    """What is written to them is dropped at the VM's end."""
    what = ", ".join(disk.target for disk in disks)
    return Objection(
        "transient-disk",
        f"{vm.name} has disks whose changes are dropped when it ends ({what}); libvirt does not move them.",
        f"Shut it down (`{command('vm shutdown {}', vm.name)}`) and start it on the other host.",
    )


def shared_directories(vm: Vm, directories: Sequence[str]) -> Objection:
    """Virtiofs or 9p."""
    return Objection(
        "shared-dirs",
        f"{vm.name} has directories of {vm.host} mounted: {', '.join(directories)}.",
        "Unmount and detach them first.",
    )


# --- why a guest cannot move to one host
# --------------------------------------------------------------------------


def no_other_host(vm: Vm) -> Objection:
    """A cluster of one."""
    return Objection(
        "no-other-host",
        f"There is no host besides {vm.host}.",
        "Add one to [hosts] in the configuration.",
    )


def same_host(vm: Vm) -> Objection:
    """It is there already."""
    return Objection(
        "same-host",
        f"{vm.name} is already on {vm.host}.",
        "Name another host, or none to have one chosen.",
    )


def same_uuid(source: Host, target: Host) -> Objection:
    """Libvirt would say: attempt to migrate guest to the same host."""
    return Objection(
        "same-host-uuid",
        f"{source.name} and {target.name} have the same host UUID ({target.uuid}); libvirt takes them for one host.",
        f"Set a host_uuid of its own in /etc/libvirt/libvirtd.conf of {target.name} and restart its daemon.",
    )


def same_hostname(source: Host, target: Host) -> Objection:
    """Libvirt compares host names too."""
    return Objection(
        "same-hostname",
        f"{source.name} and {target.name} both call themselves “{target.hostname}”; libvirt takes them for one host.",
        f"Give {target.name} a host name of its own (`hostnamectl set-hostname …`) and restart its daemon.",
    )


def localhost(target: Host, said: str) -> Objection:
    """The source would connect to itself."""
    return Objection(
        "localhost",
        f"{target.name} tells other hosts to reach it at “{said}”, which is themselves.",
        f"Correct /etc/hosts on {target.name} so that its name is not localhost, or set `migrate_data_uri` for it.",
    )


def lacking(vm: Vm, target: Host, lack: Lack) -> Objection:
    """Something that the target was asked for and does not have."""
    what, remedy = _LACKS.get(lack.kind, ("{name}", "Choose another host."))
    names = {"name": lack.name, "target": target.name}
    return Objection(
        lack.kind,
        f"{target.name} has no {what.format(**names)}, which {vm.name} needs.",
        remedy.format(**names),
    )


_LACKS = {
    "emulator": ("emulator {name}", "Install it at that path on {target}, or choose another host."),
    "tpm-emulator": ("TPM emulator", "Install swtpm and swtpm-tools on {target}."),
    "secret": (
        "secret {name}",
        "Define the same secret on {target}, with the same UUID: `virsh secret-define`, `virsh secret-set-value`.",
    ),
    "folder": (
        "folder {name}",
        "Make it there: QEMU opens a socket or a file in it for a serial line or a channel.",
    ),
    "network-device": (
        "network device {name}",
        "Choose a host that has it, or connect the VM to a bridge.",
    ),
}


def graphics_address(vm: Vm, target: Host, listener: Listener) -> Objection:
    """QEMU would have to listen at another host's address."""
    return Objection(
        "graphics-address",
        f"{vm.name} has its {listener.kind.upper()} screen at {listener.address}, an address that {target.name} lacks.",
        f"Let it listen on 0.0.0.0 or on 127.0.0.1 (`{command('virsh edit {}', vm.name)}`), then "
        f"`{command('vm reboot {}', vm.name)}`.",
    )


def graphics_port(vm: Vm, other: Vm, port: int) -> Objection:
    """A fixed port that is in use there."""
    return Objection(
        "graphics-port",
        f"{vm.name} has its screen at the fixed port {port}, which {other.name} uses on {other.host}.",
        f"Give it `autoport='yes'` (`{command('virsh edit {}', vm.name)}`), then "
        f"`{command('vm reboot {}', vm.name)}`; or choose another host.",
    )


def other_arch(source: Host, target: Host) -> Objection:
    """x86_64 to aarch64."""
    return Objection(
        "arch",
        f"{target.name} is {target.arch}, {source.name} is {source.arch}.",
        "Choose a host of the same kind.",
    )


def missing_network(vm: Vm, target: Host, nics: Sequence[Nic]) -> Objection:
    """Bridges and networks that the target lacks."""
    what = ", ".join(dict.fromkeys(f"{nic.kind} {nic.source}" for nic in nics))
    return Objection(
        "network",
        f"{target.name} lacks what {vm.name} is plugged into: {what}.",
        f"Create or start it on {target.name}{_start_network(nics)}.",
    )


def _start_network(nics: Sequence[Nic]) -> str:
    name = next((nic.source for nic in nics if nic.kind == "network"), "")
    return f": `{command('virsh net-start {}', name)}`" if name else ""


def pools_unread(vm: Vm, target: Host, wanted: Sequence[str], why: str) -> Objection:
    """Whether the target has the pools is not known."""
    return Objection(
        "pools-unread",
        f"The storage pools of {target.name} cannot be read, so whether it has {', '.join(wanted)} (for {vm.name}) is "
        f"not known: {why}.",
        "Ask again when they can be read.",
    )


def missing_pool(vm: Vm, target: Host, wanted: Sequence[str], *, copying: bool) -> Objection:
    """Storage pools that the target lacks."""
    why = "to copy the disks into" if copying else "that the disks are on"
    return Objection(
        "pool",
        f"{target.name} has no active pool {why}: {', '.join(wanted)} (for {vm.name}).",
        f"Define and start it on {target.name} (`virsh pool-define-as`, `pool-start`, `pool-autostart`).",
    )


def not_copyable(vm: Vm, disks: Sequence[Disk]) -> Objection:
    """Block devices have no pool to be created in; what several VMs share is never copied."""
    what = ", ".join(f"{disk.target} ({disk.kind} {disk.source})" for disk in disks)
    return Objection(
        "not-copyable",
        f"libvirt cannot copy these disks of {vm.name} to another host: {what}.",
        "Move them to files or pool volumes first, or shut it down and copy them by hand.",
    )


def pool_full(vm: Vm, target: Host, pool: Pool, needed: int) -> Objection:
    """No room for the copies."""
    return Objection(
        "pool-full",
        f"Pool {pool.name} on {target.name} has {bytes_text(pool.free)} free, the disks of {vm.name} take "
        f"{bytes_text(needed)}.",
        "Free space there or choose another host.",
    )


def cpu_unfit(vm: Vm, fit: CpuFit) -> Objection:
    """The target's libvirt said no."""
    return Objection(
        "cpu",
        f"The CPU {vm.name} sees does not exist on {fit.host}: {fit.why or 'its libvirt says incompatible'}.",
        "Give it a CPU model that all hosts have (`virsh hypervisor-cpu-baseline`) and restart it.",
    )


def cpu_passthrough(vm: Vm, mode: str, source: Host, target: Host) -> Objection:
    """The guest sees the very CPU of its host."""
    return Objection(
        "cpu-passthrough",
        f"{vm.name} has CPU mode {mode}: it may only move between equal hosts, and {source.name} has "
        f"{source.cpu_model}, {target.name} {target.cpu_model}.",
        "Choose a host with the same CPU, or give it a named CPU model and restart it.",
    )


def missing_machine(vm: Vm, target: Host, machine: str) -> Objection:
    """The machine type is not known there."""
    return Objection(
        "machine",
        f"QEMU on {target.name} does not know machine type {machine}, which {vm.name} has.",
        f"Upgrade QEMU on {target.name}, or choose another host.",
    )


def older_qemu(source: Host, target: Host) -> Objection:
    """State of a newer QEMU may not load in an older one."""
    return Objection(
        "older-qemu",
        f"QEMU on {target.name} is older ({_version(target)}) than on {source.name} ({_version(source)}).",
        f"Upgrade QEMU on {target.name}, or choose a host with at least {_version(source)}.",
    )


def _version(host: Host) -> str:
    return _number(host.hypervisor_version)


def _number(version: int) -> str:
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def name_taken(vm: Vm, other: Vm) -> Objection:
    """Another guest of the same name."""
    return Objection(
        "name-taken",
        f"Another VM called {vm.name} is on {other.host} ({other.uuid}, {other.state}).",
        f"Rename one of them (`virsh domrename` while it is off), or choose another host than {other.host}.",
    )


def leftover(vm: Vm, other: Vm) -> Objection:
    """An old definition of the same guest."""
    return Objection(
        "leftover",
        f"{other.host} still has an old, {other.state} definition of {vm.name} (same UUID).",
        f"Compare both; if that one is old, remove the definition there: `virsh undefine {vm.uuid}` (its disks stay).",
    )


# --- reasons and warnings
# -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """One host as a place for a guest; fullness as a share of its memory (0..1); no objections: it may go there.

    ``stuck``: something keeps the VM where it is, whatever the host. ``copying``: it may go there
    if its disks are copied, which is the only way.
    """

    host: str
    objections: tuple[Objection, ...]
    before: float = 0.0
    after: float = 0.0
    cpu: float | None = None
    stuck: bool = False
    copying: bool = False

    @property
    def legal(self) -> bool:
        """Whether nothing stands against it."""
        return not (self.objections or self.stuck)


def chosen(verdict: Verdict, among: int) -> Reason:
    """Why this host."""
    only = (
        "the only host that can take it"
        if among == 1
        else f"the least full of {among} hosts that can take it"
    )
    return Reason("chosen", f"{verdict.host} is {only}: {_change(verdict)}.")


def asked_for(verdict: Verdict) -> Reason:
    """The person named it."""
    return Reason(
        "asked-for",
        f"{verdict.host} was asked for and nothing stands against it: {_change(verdict)}.",
    )


def runner_up(verdict: Verdict) -> Reason:
    """The second choice."""
    return Reason("runner-up", f"Next best would be {verdict.host}: {_change(verdict)}.")


def ruled_out(verdict: Verdict) -> Reason:
    """Why not another host."""
    more = len(verdict.objections) - 1
    return Reason(
        "ruled-out",
        f"Not {verdict.host}: {verdict.objections[0].text}{f' (and {more} more)' if more else ''}",
    )


def others_out(count: int) -> Reason:
    """When there are too many to name."""
    return Reason(
        "ruled-out", f"{plural(count, 'further host')} cannot take it; see all with `where`."
    )


def _change(verdict: Verdict) -> str:
    busy = "" if verdict.cpu is None else f", CPU {verdict.cpu:.0%} busy"
    return f"memory allocated {verdict.before:.0%} → {verdict.after:.0%}{busy}"


def not_read(vm: Vm) -> Reason:
    """No detail in the snapshot."""
    return Reason(
        "not-read",
        f"The definition of {vm.name} could not be read: its disks and devices were not checked.",
    )


def dirty_unknown(vm: Vm) -> Reason:
    """The rate was not measured."""
    return Reason(
        "dirty-unknown",
        f"How fast {vm.name} writes memory could not be measured: time is for one pass, it may take longer.",
    )


def cpu_unknown(vm: Vm, target: Host) -> Reason:
    """Nobody answered for the CPU."""
    return Reason(
        "cpu-unknown",
        f"{target.name} did not say whether it has the CPU {vm.name} sees; libvirt will check.",
    )


def network_unknown(vm: Vm, target: Host, nics: Sequence[Nic]) -> Reason:
    """Connections that cannot be looked at from outside."""
    what = ", ".join(dict.fromkeys(f"{nic.kind} {nic.source}".strip() for nic in nics))
    return Reason(
        "network-unknown", f"Whether {target.name} has {what} for {vm.name} could not be checked."
    )


def secrets(vm: Vm, target: Host) -> Reason:
    """Secrets are private to each libvirt."""
    return Reason(
        "secrets",
        f"{vm.name} opens its disks with libvirt secrets; {target.name} must have the same (not readable).",
    )


def hugepages(vm: Vm, target: Host) -> Reason:
    """Free huge pages are not counted."""
    return Reason(
        "hugepages",
        f"{vm.name} uses huge pages: {target.name} needs {bytes_text(vm.memory)} of free ones (not checked).",
    )


def memory_locked(vm: Vm) -> Reason:
    """Locked memory cannot be swapped or fetched later."""
    return Reason(
        "memory-locked",
        f"{vm.name} has its memory locked: all of it must be free there, and no post-copy.",
    )


def size_unknown(disks: Sequence[Disk]) -> Reason:
    """A disk that did not say how big it is."""
    return Reason(
        "size-unknown",
        f"How big {', '.join(disk.target for disk in disks)} is, is not known: it may take longer.",
    )


def no_convergence(vm: Vm, policy: Policy, after: float) -> Reason:
    """The guest writes faster than the network carries; ``after`` in seconds."""
    then = {
        Policy.SAFE: "it is given up and the VM stays where it is. `--policy fast` or a quieter hour would help.",
        Policy.FAST: "it is paused until the rest has been copied.",
        Policy.POSTCOPY: "it is switched to post-copy.",
    }[policy]
    return Reason(
        "no-convergence",
        f"{vm.name} writes {bytes_text(vm.dirty_rate or 0)}/s, too fast for the network; after "
        f"{duration_text(after)} {then}",
    )


def postcopy_risk(vm: Vm) -> Reason:
    """What post-copy puts at stake."""
    return Reason(
        "postcopy",
        f"After the switch to post-copy {vm.name} depends on both hosts; if the network fails, it is lost.",
    )


def checkpoints(vm: Vm) -> Reason:
    """Backup checkpoints stay in the source's libvirt."""
    return Reason(
        "checkpoints",
        f"{vm.name} has {plural(vm.detail.checkpoints if vm.detail else 0, 'backup checkpoint')}, which a move leaves "
        "behind: its next backup must be a full one.",
    )


def folders_unknown(vm: Vm, target: Host, folders: Sequence[str]) -> Reason:
    """Folders of sockets and logs cannot be looked at through libvirt."""
    return Reason(
        "folders-unknown",
        f"Whether {target.name} has the folders of {vm.name}'s serial lines and channels could not be checked: "
        f"{', '.join(folders)}.",
    )


def graphics_unknown(vm: Vm, target: Host, ports: Sequence[int]) -> Reason:
    """A program that is no VM may use the port."""
    listed = ", ".join(str(port) for port in ports)
    return Reason(
        "ports-unknown",
        f"{vm.name} needs the port {listed} on {target.name}; no other VM uses it there.",
    )


def transient(vm: Vm) -> Reason:
    """It has no stored definition."""
    return Reason(
        "transient",
        f"{vm.name} is transient: it has no stored definition, and cannot start at boot.",
    )


# --- what changed between the plan and its approval
# ---------------------------------------------------------------


def gone(step: MigrateVm) -> Objection:
    """No host has it any more."""
    return Objection(
        "gone", f"{step.name} is no longer on any host.", "Find out who removed it; see `why`."
    )


def moved_meanwhile(step: MigrateVm, vm: Vm) -> Objection:
    """Somebody was faster."""
    return Objection(
        "moved",
        f"{step.name} is on {vm.host} now; the plan moves it from {step.source}.",
        "Look at the new plan.",
    )


def renamed(step: MigrateVm, vm: Vm) -> Objection:
    """Approvers read another name."""
    return Objection("renamed", f"{step.name} is called {vm.name} now.", "Look at the new plan.")


def memory_changed(step: MigrateVm, vm: Vm) -> Objection:
    """More or less to move than approved."""
    return Objection(
        "memory-changed",
        f"{step.name} has {bytes_text(vm.memory)} of memory now, the plan says {bytes_text(step.memory)}.",
        "Look at the new plan.",
    )


def carried_changed(step: MigrateVm, now: Carried) -> Objection:
    """Settings that would be carried over wrongly."""
    then = step.carried
    changes = [
        f"{label} {_shown(old)} → {_shown(new)}"
        for label, old, new in (
            ("start at boot", then.autostart, now.autostart),
            ("paused", then.paused, now.paused),
            ("persistent", then.persistent, now.persistent),
            ("CPU scheduling", then.scheduler, now.scheduler),
        )
        if old != new
    ]
    return Objection(
        "carried-changed",
        f"{step.name} was changed meanwhile: {'; '.join(changes)}.",
        "Look at the new plan.",
    )


def _shown(value: bool | Scheduler) -> str:  # noqa: FBT001 - it is the value to show
    return scheduler_text(value) if isinstance(value, Scheduler) else ("yes" if value else "no")


def scheduler_text(scheduler: Scheduler) -> str:
    """``shares 1024, cap 30 %``."""
    parts = [] if scheduler.cpu_shares is None else [f"shares {scheduler.cpu_shares}"]
    if scheduler.capped and scheduler.vcpu_quota:
        parts.append(f"cap {scheduler.vcpu_quota / (scheduler.vcpu_period or 100_000):.0%} a vCPU")
    else:
        parts.append("no cap")
    return ", ".join(parts)


def riskier(step: MigrateVm, vm: Vm) -> Objection:
    """It would no longer converge."""
    rate = f" ({bytes_text(vm.dirty_rate)}/s)" if vm.dirty_rate is not None else ""
    return Objection(
        "riskier",
        f"{step.name} now writes memory too fast for the network{rate}: more is at risk than was approved.",
        "Look at the new plan.",
    )


# --- while it runs
# ------------------------------------------------------------------------------------------------


def starting(step: MigrateVm) -> str:
    """Before libvirt reports a job."""
    return f"Starting: {step.title}…"


def attached(step: MigrateVm) -> str:
    """After a restart of the bot."""
    return f"Found the migration of {step.name} to {step.target} already under way; following it."


def waiting_for(step: MigrateVm, sightings: Iterable[Sighting]) -> str:
    """A host is silent."""
    return f"Waiting for a host to answer. {step.name}: {sightings_text(sightings)}"


def both_have_it(step: MigrateVm) -> str:
    """Copying is over, the hosts have not agreed yet."""
    return f"Copying is over; waiting for {step.source} and {step.target} to agree."


def cancel_refused(step: MigrateVm) -> str:
    """In post-copy nobody can stop it."""
    return f"Cancel is not possible any more: {step.name} runs on {step.target} already and fetches its memory."


def cancel_too_late(step: MigrateVm) -> str:
    """It was asked, and it arrived all the same."""
    return f"Cancel came too late: {step.name} had arrived on {step.target}."


def request_failed(what: str, error: DroverError) -> str:
    """A request to a running migration that was refused."""
    return f"{what}: {error}"


CANCEL, POSTCOPY, DOWNTIME, PAUSE = (
    "Cancel",
    "Switch to post-copy",
    "Allow a longer pause",
    "Pause the VM",
)
STATISTICS = "The statistics of the migration"


def switched(step: MigrateVm) -> str:
    """Post-copy began."""
    return f"Switched to post-copy: {step.name} goes on running on {step.target}."


def downtime_raised(milliseconds: int) -> str:
    """A rung of the ladder."""
    return f"It does not converge; allowing a pause of {duration_text(milliseconds / 1000)} at the end."


def paused_to_finish(step: MigrateVm) -> str:
    """The last rung of ``fast``."""
    return f"It does not converge; pausing {step.name} until the rest has been copied."


def given_up(step: MigrateVm, job: Job, *, stalled: bool) -> str:
    """The policy's end."""
    why = (
        "what remains has not become less for too long"
        if stalled
        else "it took longer than its time"
    )
    rate = f"; the VM writes {bytes_text(job.dirty_rate)}/s, the network carries {bytes_text(job.rate)}/s"
    return (
        f"Gave up moving {step.name} after {duration_text(job.elapsed)}: {why} ({bytes_text(job.remaining)} left"
        f"{rate if job.dirty_rate and job.rate else ''}). It stays on {step.source}."
    )


def given_up_advice(policy: Policy) -> str:
    """What to try next."""
    if policy is Policy.SAFE:
        return "Try again when it is quieter, without a bandwidth limit, or with `--policy fast` (it may be paused)."
    return "Try again when it is quieter, or raise the bandwidth limit or the times in [plugins.migrate]."


def cancelled_before(step: MigrateVm) -> str:
    """Nothing had begun."""
    return f"Nothing had begun; {step.name} is on {step.source} as before."


def cancelled(step: MigrateVm, job: Job | None) -> str:
    """How far it had come."""
    share = f" at {job.fraction:.0%}" if job and job.total else ""
    return f"The migration was stopped{share}; {step.name} is on {step.source} as before."


def failed(step: MigrateVm, error: DroverError | None) -> str:
    """Libvirt said no, or the job ended by itself."""
    said = (
        f": {error.text}"
        if error
        else "; the migration ended without a word, or was stopped outside Drover."
    )
    return f"{step.name} was not moved, it is on {step.source} as before{said}"


def would_overwrite(step: MigrateVm, there: Sequence[Volume]) -> str:
    """A volume came there since the plan was made."""
    return f"{step.name} was not moved: {step.target} already has {volumes_text(there)}."


WOULD_OVERWRITE_ADVICE = "Nothing is copied over a file that is there. It may be of an earlier try, or another VM's: look at it first."


def volumes_text(volumes: Sequence[Volume]) -> str:
    """``pool/name (64 MiB)``."""
    return ", ".join(f"{each.pool}/{each.name} ({bytes_text(each.capacity)})" for each in volumes)


def made_for_copy(step: MigrateVm, volumes: Sequence[Volume]) -> str:
    """What a failed copy left."""
    return f"{step.target} keeps what was made for the copy, which is not whole: {volumes_text(volumes)}."


def copies_unknown(step: MigrateVm, host: str, error: DroverError) -> str:
    """Nobody could look."""
    return f"What the copy of {step.name} left on {host} could not be looked at: {error.text}"


LEFT_ON = "old disks left on {source}"


def failed_advice(step: MigrateVm, error: DroverError | None) -> Line:
    """Where to look."""
    if error and error.advice and not isinstance(error, HostUnreachableError):
        # One that lost the connection does not know what both hosts have said since
        return error.advice
    return f"See the libvirt logs of {step.source} and {step.target}; check that {step.source} reaches {step.target}."


def resumed(step: MigrateVm, host: str) -> str:
    """It was left paused by the migration."""
    return f"{step.name} was left paused by the migration; resumed on {host}."


def still_paused(step: MigrateVm, host: str) -> str:
    """It must not be resumed by the bot."""
    return f"{step.name} is paused on {host} and was not resumed, because {step.target} also knows this VM."


def not_resumed(step: MigrateVm, error: DroverError) -> str:
    """It stayed paused after a failed migration."""
    return f"{step.name} was not moved, and is left paused on {step.source}: {error.text}"


def not_resumed_advice(step: MigrateVm) -> str:
    """Only there, and only after a look."""
    where = command("where {}", step.name)
    return f"See that {step.target} does not have it (`{where}`), then resume it on {step.source}."


def off_on(step: MigrateVm, host: str) -> str:
    """It ended on the way."""
    where = "it was not moved" if host == step.source else f"it had arrived on {host}"
    return f"{step.name} is shut off on {host}: it ended or was ended meanwhile; {where}."


OFF_ADVICE = "Find out why in its log; start it when you want it to run."


def sightings_text(sightings: Iterable[Sighting]) -> str:
    """``host-a: paused (post-copy failed); host-b: running; host-c: does not answer``."""
    return "; ".join(f"{each.host}: {_sighting(each)}" for each in sightings) + "."


def _sighting(each: Sighting) -> str:
    if not each.reachable:
        return "does not answer"
    if each.state is None:
        return "not there"
    return f"{each.state}{f' ({each.paused_by})' if each.paused_by else ''}"


def advice(step: MigrateVm, template: str) -> str:
    """Fill one of the advices below."""
    return fill_advice(template, vm=step.name, source=step.source, target=step.target)


def lost(step: MigrateVm, what: str, sightings: Iterable[Sighting]) -> str:
    """People must look."""
    return f"{what.format(vm=step.name, source=step.source, target=step.target)} {sightings_text(sightings)}"


TWICE = "{vm} seems to run in more than one place."
TWICE_ADVICE = (
    "Look at each host at once: two running copies destroy their disks. The bot touches neither."
)
ELSEWHERE = "{vm} is on neither {source} nor {target}, but elsewhere."
ELSEWHERE_ADVICE = "Somebody else moved it. Check that this is meant; its CPU cap and autostart were not carried over."
NOWHERE = "{vm} is on no host that answers."
NOWHERE_ADVICE = (
    "Look at the hosts that do not answer before you start it anywhere: unreachable is not dead. Its last definition "
    "and log are on {source}."
)
STUCK = "{vm} is half moved: both {source} and {target} have it, and no migration is active."
STUCK_ADVICE = (
    "If it runs on {source}, remove the paused copy on {target} with `virsh destroy`; never resume it there, and never "
    "destroy the one that runs."
)
POSTCOPY_FAILED = (
    "Post-copy of {vm} from {source} to {target} broke off: each host has a part of its memory."
)
POSTCOPY_FAILED_ADVICE = (
    "Neither resume nor destroy it on either host. Mend the network, then on {source}: `virsh migrate --live --p2p "
    "--postcopy --postcopy-resume {vm} URI-of-{target}` with the flags it had."
)
DEAD = "{vm} is dead: its post-copy from {source} to {target} broke off, and a part of its memory is gone."
DEAD_ADVICE = (
    "It can never run on, whatever libvirt calls its state. Force it off and start it anew; its disks are as after a "
    "power failure."
)
SILENT = "Whether {vm} was moved from {source} to {target} cannot be known, a host does not answer."
SILENT_ADVICE = "Unreachable is not dead. Bring the host back and ask `where {vm}`; start it nowhere before you know."


LOST_MEMORY = "a failed post-copy migration left it without a part of its memory"


def start_anew(step: MigrateVm) -> Remedy:
    """Propose the only thing that helps a VM whose memory is gone; `vm reboot` forces such a VM off."""
    return Remedy(
        f"Force off and start {step.name}…",
        command("vm reboot {} --reason={}", step.name, LOST_MEMORY),
    )


STILL = "The migration of {vm} from {source} to {target} makes no progress, and Drover no longer follows it."
STILL_ADVICE = (
    "On {source}, `virsh domjobabort {vm}` ends the migration and {vm} goes on there: that is safe. Destroy or resume "
    "neither copy by hand. If it should go on instead, check the network and the libvirt of both hosts."
)
STILL_POSTCOPY_ADVICE = (
    "It runs on {target} already and needs memory from {source}: cancel, destroy and resume nothing. Mend the network "
    "between the two hosts."
)
STOOD_STILL = "The migration showed no progress for long; people were told what both hosts show."


def stands_still(step: MigrateVm, seconds: float, sightings: Iterable[Sighting]) -> str:
    """Shown while it goes on standing still; Cancel is offered beside it."""
    return (
        f"No progress for {duration_text(seconds)}. {step.name}: {sightings_text(sightings)} Cancel ends the "
        f"migration; {step.name} then goes on running on {step.source}."
    )


def look_at(step: MigrateVm) -> Remedy:
    """A look at all hosts."""
    return Remedy(f"Where is {step.name}?", command("where {}", step.name))


def answer_despite(step: MigrateVm, error: BaseException) -> str:
    """Libvirt reported an error, and yet it moved."""
    return f"libvirt answered with an error, but {step.name} runs on {step.target}: {error}"


# --- after it arrived
# ---------------------------------------------------------------------------------------------


def arrived_paused(step: MigrateVm, by: str) -> str:
    """A person paused it on the target, or its storage failed there."""
    return f"{step.name} is paused on {step.target} ({by or 'no reason given'}) and was left so."


def leftover_note(step: MigrateVm) -> str:
    """The source kept a definition."""
    return (
        f"{step.source} still has a shut-off definition of {step.name}; its start at boot was switched off. Remove it "
        f"there: `virsh undefine {step.uuid}`."
    )


def problem(what: str, said: Line) -> str:
    """One thing that could not be carried over."""
    return f"{what}: {said}"


def cap_broken(used: float, cap: float) -> str:
    """Measured far above the cap, after it was applied twice; in cores."""
    return f"the cap does not hold, {used:.2f} cores used and {cap:.2f} allowed"


# Labels of the facts that a finished move leaves in the audit trail.
TOOK, SENT, PASSES, THROTTLE, PAUSE = "took", "sent", "passes", "throttle", "pause"
CORES_USED, CORES_ALLOWED = "cores_used", "cores_allowed"
FACTS = (
    words("took"), words("sent"), words("passes"), words("throttle"), words("pause"), words("cores used"),
    words("cores allowed"),
)  # fmt: skip
"""The labels, which are the names, for translation."""

AUTOSTART, SCHEDULER, STATE = "start at boot", "CPU scheduling", "paused or running"


def reads_otherwise(wanted: str, found: str) -> str:
    """Set, and yet it reads differently."""
    return f"set to {wanted}, but it reads {found}"


def arrived_but(step: MigrateVm, problems: Sequence[str]) -> str:
    """It moved, but not everything came along."""
    return f"{step.name} runs on {step.target}, but not everything could be carried over: {'; '.join(problems)}."


def arrived_but_advice(step: MigrateVm) -> str:
    """What to mend."""
    return f"Set it by hand on {step.target}; the VM itself needs nothing."


def over_cap(step: MigrateVm, used: float, cap: float, *, again: bool) -> str:
    """The cap reads right and does not hold; in cores."""
    end = "applied once more and still so; look at its cgroup" if again else "applying it once more"
    return f"{step.name} used {used:.2f} cores under a cap of {cap:.2f} on {step.target}: {end}."


# --- why and where
# ------------------------------------------------------------------------------------------------

SHOWN_OPERATIONS = 8


def why_card(
    vm: Vm,
    operations: Sequence[Operation],
    immovable: Sequence[Objection],
    verdicts: Sequence[Verdict],
) -> Card:
    """Why a guest is where it is; ``immovable`` holds for every host."""
    elements: list[Element] = [Section(_because(vm, operations))]
    if operations:
        elements.append(_operations(operations[:SHOWN_OPERATIONS]))
    if tags := ", ".join(f"{key}={value}" for key, value in sorted(vm.tags.items())):
        elements.append(Section(words("Tags: `{tags}`", tags=tags)))
    elements += _in_the_way(immovable)
    elements.append(_verdicts(vm, verdicts))
    return Card(
        text=f"{vm.name} is on {vm.host} ({vm.state}).",
        title=f"Why {vm.name} is on {vm.host}",
        elements=tuple(elements),
    )


def _in_the_way(immovable: Sequence[Objection]) -> list[Element]:
    if not immovable:
        return []
    lines = "\n".join(f"• {each.text} {each.remedy}" for each in immovable)
    return [Section(words("*In the way, whatever the host:*\n{lines}", lines=lines))]


def _because(vm: Vm, operations: Sequence[Operation]) -> Line:
    for operation in operations:
        for step in operation.plan.steps:
            if isinstance(step, MigrateVm) and step.uuid == vm.uuid and _ended(operation, step):
                return _moved_by(vm, operation, step)
    return words(
        "*{vm}* is {state} on *{host}*. Drover has not moved it.",
        vm=vm.name,
        state=vm.state,
        host=vm.host,
    )


def _ended(operation: Operation, step: MigrateVm) -> bool:
    return any(operation.plan.steps[each.index] == step for each in operation.ended)


def _moved_by(vm: Vm, operation: Operation, step: MigrateVm) -> Line:
    since = (
        ""
        if step.target == vm.host
        else f" to {step.target}; since then it was moved outside Drover"
    )
    reason = (
        step.reason
        or operation.origin.reason
        or "; ".join(str(each.text) for each in operation.plan.reasons[:1])
    )
    return words(
        "*{vm}* is {state} on *{host}*. {op} moved it from {source}{since}, asked by {who}, {at}. {reason}",
        vm=vm.name,
        state=vm.state,
        host=vm.host,
        op=operation.id,
        source=step.source,
        since=since,
        who=_who(operation.origin.by),
        at=operation.changed_at,
        reason=f"Reason: {reason}" if reason else "No reason was given.",
    )


def _who(user: str) -> Person | str:
    return "Drover" if user == BOT else Person(user)


def _operations(operations: Sequence[Operation]) -> Table:
    rows = tuple(
        (
            operation.id,
            words("{at}", at=operation.changed_at),
            operation.plan.title,
            words("{who}", who=_who(operation.origin.by)),
            str(operation.state),
        )
        for operation in operations
    )
    return Table(("Operation", "When", "What", "Asked by", "State"), rows)


def _verdicts(vm: Vm, verdicts: Sequence[Verdict]) -> Table:
    rows = tuple(
        (each.host, _share(each.before), _share(each.after), *_verdict(vm, each))
        for each in verdicts[:100]
    )
    return Table(
        ("Host", "Memory now", "With it", "Verdict", "What to do"), rows, numeric=frozenset({1, 2})
    )


def _share(value: float) -> str:
    return f"{value:.0%}"


def _verdict(vm: Vm, verdict: Verdict) -> tuple[str, str]:
    if verdict.host == vm.host:
        return "it is here", ""
    if verdict.legal:
        return "could take it", f"`{command('migrate {} to {}', vm.name, verdict.host)}`"
    if verdict.copying:
        how = command("migrate {} to {} --copy-storage", vm.name, verdict.host)
        return "could take it if its disks are copied", f"`{how}`"
    if verdict.stuck and not verdict.objections:
        return "not now: see what is in the way of the VM itself", ""
    texts = " ".join(str(each.text) for each in verdict.objections)
    return texts, " ".join(dict.fromkeys(str(each.remedy) for each in verdict.objections))


def where_card(vm: Vm, immovable: Sequence[Objection], verdicts: Sequence[Verdict]) -> Card:
    """Where a guest could go; ``immovable`` holds for every host."""
    legal = [each.host for each in verdicts if each.legal and each.host != vm.host]
    copying = [each.host for each in verdicts if each.copying]
    summary = _where_summary(vm, immovable, legal, copying)
    elements: list[Element] = [Section(summary), *_in_the_way(immovable)]
    elements.append(_verdicts(vm, verdicts))
    elements.append(Context(("Best first. Memory: allocated share of what VMs may use.",)))
    return Card(text=summary, title=f"Where {vm.name} could go", elements=tuple(elements))


def _where_summary(
    vm: Vm, immovable: Sequence[Objection], legal: Sequence[str], copying: Sequence[str]
) -> str:
    if copying and not legal:
        return f"{vm.name} is on {vm.host}; it could go to {', '.join(copying)} if its disks are copied."
    if immovable:
        return f"{vm.name} is on {vm.host} and cannot be moved now."
    if not legal:
        return f"{vm.name} is on {vm.host}; no other host can take it now."
    return f"{vm.name} is on {vm.host}; it could go to {', '.join(legal)}."
