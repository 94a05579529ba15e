"""Every sentence of the commands, plans and refusals that a person reads; the handler's are in ``told``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from bot.domain.backing import Fate
from bot.domain.card import Card, Section, words
from bot.domain.cluster import Disk, Host, Pool, StoredSize, Vm, VmState
from bot.domain.errors import DroverError, Remedy
from bot.domain.message import Code
from bot.domain.plan import Objection, Plan, Reason
from bot.domain.suggest import nearest
from bot.domain.words import bytes_text, command, duration_text, plural, version_text

# --- the commands' help
# -------------------------------------------------------------------------------------------

CREATE = "Make a new VM, or several alike, from an image of the catalogue."
CREATE_HELP = (
    "Make a new VM, or several alike, from an image of the catalogue.\n\nWithout --host the best host is chosen and "
    "the plan says why. Nothing is done before another person approves."
)
IMAGE_HELP = "An image of the catalogue."
SIZE_HELP = "A named size of the catalogue; --cpus, --memory and --disk win over it."
CPUS_HELP = "Virtual CPUs."
MEMORY_HELP = "Memory, such as 512M or 4G; a bare number is MiB."
DISK_HELP = "Size of its disk, such as 20G; a bare number is GiB."
NETWORK_HELP = "A libvirt network or a bridge of the host."
HOST_HELP = "Where; left out, the best host is chosen."
COUNT_HELP = "So many alike, named NAME-1, NAME-2…, spread over hosts."
TAG_HELP = (
    "Such as env=dev or owner=ana. ttl=7d: announced before its end, then shut down; apart=X, together=X, pin=HOST say "
    "where. May be repeated."
)
USER_HELP = "Its first user; left out, the image's."
SSH_HELP = "A public key that is let in. May be repeated."
ADDRESS_HELP = "A fixed address such as 10.0.0.5/24, counted up with --count; left out, DHCP."
GATEWAY_HELP = "The default gateway, with --address."
USER_DATA_HELP = "Your own cloud-init user data, beginning with #cloud-config or #!."
OFF_HELP = "Do not start it."
REASON_HELP = (
    'Why, for the approvers and the audit trail; several words in quotes: --reason "load test".'
)
WHY_HINT = "The approvers and the audit trail read this."
BULK_HELP = "All VMs with this tag instead of one; the plan lists them."
START = "Start a VM, after looking for it on every host."
LOSE_HELP = "Of a transient VM nothing is left when it ends; say that this is meant."
SHUTDOWN = "Ask a VM to shut down, and wait until it has."
REBOOT = "Shut a VM down and start it again."
FORCE_OFF = "Pull a VM's plug; what it has not written is lost."
PAUSE = "Let a VM stand still."
RESUME = "Let a paused VM go on."
UNDELETE = "Restore a deleted VM during its grace period."
PURGE = "Delete a deleted VM now and for good, before its grace period ends."
DISCARD_MEMORY = "Discard the saved memory of a VM that is off (managed save); it then boots anew."
RESIZE = "Change a VM's vCPUs or memory, at once where possible."
RENAME = "Give a VM that is off another name."
CLONE = "Clone a powered-off VM, with copies of its disks."
AUTOSTART = "Let a VM start with its host, or not."
DELETE = "Delete a powered-off VM; it can be restored during its grace period."
DELETE_HELP = (
    "Delete a powered-off VM. It can be restored until its grace period ends. Say what becomes of its disks: what "
    "other VMs need is never removed."
)
KEEP_HELP = "Keep its disks."
REMOVE_HELP = "Remove its disks when the grace period ends."
NOW_HELP = "No grace period: delete it at once. It cannot be restored."
TTL_SUMMARY = "Set when a VM is shut down, or that it never is."
TTL_HELP = "How long from now, such as 12h or 7d; off: it has no end."
TAG_SUMMARY = "Give a VM tags, or take them away."
UNTAG_HELP = "Take this tag away. May be repeated."
SNAPSHOT_CREATE = "Take a snapshot of a VM, memory included when it runs."
SNAPSHOT_LIST = "A VM's snapshots."
SNAPSHOT_REVERT = "Take a VM back to a snapshot; what happened since is lost."
SNAPSHOT_DELETE = "Remove a snapshot; the VM stays as it is."
DISK_ADD = "Add an empty disk to a VM."
DISK_GROW = "Make a VM's disk larger."
NIC_ADD = "Add a network card to a VM."
NIC_REMOVE = "Take a network card out of a VM."
EJECT = "Take the medium out of a VM's drive."
SHOW = "All about one VM: state, host, addresses, load, disks, snapshots, tags, and whether it could move."
SCREENSHOT = "A picture of a VM's screen."
CONSOLE = "The last lines of a VM's serial line."

# --- slips of the pen
# ---------------------------------------------------------------------------------------------

WHICH_DISKS = "Say what becomes of its disks: --keep-disks or --remove-disks."
NO_TAGS = "Which tags? For example env=dev, or --remove env."
NO_NEW_SIZE = "Which size? For example --cpus 4 or --memory 8G."
ONE_OR_TAG = "Name one VM, or all with a tag: --tag env=dev."


def no_size(value: str) -> str:
    """``--memory 0``."""
    return f"“{value}” is nothing; write for example 512M or 4G."


def no_ttl(value: str) -> str:
    """``vm ttl web-1 0s``."""
    return f"“{value}” is no time that a VM can have left; write for example 12h or 7d (1m to 3650d), or off."


def no_tag(value: str) -> str:
    """``--tag env``."""
    return f"“{value}” is no tag; write for example env=dev."


# --- creating
# -----------------------------------------------------------------------------------------------------


def create_title(names: Sequence[str], host: str = "") -> str:
    """What approvers read first."""
    if len(names) == 1:
        return f"Create {names[0]}{f' on {host}' if host else ''}"
    return f"Create {len(names)} VMs: {names[0]} to {names[-1]}"


def not_created(title: str) -> str:
    """Heads a list of objections."""
    return f"{title}: not possible now."


def bad_name(name: str, better: str) -> Objection:
    """RFC 1123."""
    remedy = (
        f"Use for example “{better}”." if better and better != name else "Use for example “web-1”."
    )
    return Objection(
        "bad-name",
        f"“{name}” cannot be a VM's name: a host name has small letters, digits and inner hyphens, 63 at most.",
        remedy,
    )


def name_taken(vm: Vm, host: Host) -> Objection:
    """Where it is."""
    state = f"{vm.state}" if host.up else f"{vm.state} when {host.name} was last seen"
    return Objection(
        "name-taken",
        f"{vm.name} exists already: {vm.uuid} on {vm.host} ({state}).",
        "Use another name.",
    )


def uuid_taken(vm: Vm) -> Objection:
    """As good as impossible, and yet."""
    return Objection(
        "uuid-taken", f"{vm.uuid} exists already: {vm.name} on {vm.host}.", "Ask again."
    )


def too_many(count: int, most: int) -> Objection:
    """A limit of the configuration."""
    return Objection(
        "too-many",
        f"{count} VMs at once are more than the {most} allowed.",
        f"Use --count {most} at most.",
    )


def bad_user(user: str) -> Objection:
    """What useradd takes."""
    return Objection(
        "bad-user", f"“{user}” cannot be a user's name.", "Use small letters, digits, “-” and “_”."
    )


def bad_user_data() -> Objection:
    """What cloud-init takes."""
    return Objection(
        "bad-user-data",
        "The user data begins with neither #cloud-config nor #!.",
        "Begin it with one of them.",
    )


def bad_address(address: str, count: int) -> Objection:
    """One address for each."""
    more = f", {count} times counted up," if count > 1 else ""
    return Objection(
        "bad-address",
        f"“{address}”{more} is no address with its network.",
        "Write for example 10.0.0.5/24.",
    )


def bad_gateway(gateway: str) -> Objection:
    """A plain address."""
    return Objection("bad-gateway", f"“{gateway}” is no address.", "Write for example 10.0.0.1.")


def no_image(name: str, known: Iterable[str]) -> Objection:
    """Not in the catalogue."""
    listed = ", ".join(sorted(known)) or "none: add some to [plugins.vm_lifecycle.images]"
    said = f"There is no image “{name}”." if name else "Which image?"
    return Objection(
        "no-image", f"{said} The catalogue has: {listed}.", nearest(name, known, "Use --image.")
    )


def no_named_size(name: str, known: Iterable[str]) -> Objection:
    """Not in the catalogue."""
    listed = ", ".join(sorted(known)) or "none"
    return Objection(
        "no-size",
        f"There is no size “{name}”; there are: {listed}.",
        nearest(name, known, "Use --memory."),
    )


def too_little(what: str, asked: int, least: int, image: str) -> Objection:
    """The image needs more."""
    return Objection(
        f"too-little-{what}",
        f"{bytes_text(asked)} of {what} is too little for {image}, which needs {bytes_text(least)}.",
        f"Use --{what} {-(-least // (1 << 20))}M or more.",
    )


def too_many_cpus(vm: Vm, host: Host) -> Objection:
    """More than the host has."""
    return Objection(
        "cpus",
        f"{host.name} has {plural(host.cpus, 'CPU')}, {vm.name} would have {vm.vcpus}.",
        "Use fewer with --cpus.",
    )


def pinned_elsewhere(vm: Vm, hosts: Iterable[str]) -> Objection:
    """Its tag names other hosts."""
    return Objection(
        "pinned",
        f"{vm.name} is pinned to {', '.join(sorted(hosts))}, not to {vm.host}.",
        "Leave out the tag pin.",
    )


def together_elsewhere(vm: Vm, hosts: Iterable[str]) -> Objection:
    """Its group is somewhere else."""
    group = vm.tags.get("together", "")
    return Objection(
        "together",
        f"The group {group} of {vm.name} is on {', '.join(sorted(hosts))}.",
        "Leave out the tag together.",
    )


def no_network(network: str, host: Host) -> Objection:
    """Unknown there."""
    there = sorted(host.networks | host.bridges)
    return Objection(
        "network",
        f"{host.name} has no network or bridge “{network}”; it has: {', '.join(there) or 'none'}.",
        nearest(
            network,
            there,
            f"Use `{command('--network={}', there[0])}`."
            if there
            else f"Define one on {host.name}.",
        ),
    )


def no_pool(pool: str, host: Host, *, inactive: bool) -> Objection:
    """Unknown or stopped there."""
    said = "is not active" if inactive else "does not exist"
    return Objection(
        "pool",
        f"Pool {pool} {said} on {host.name}.",
        f"On {host.name}: `virsh pool-{'start' if inactive else 'define'}`.",
    )


def no_base(base: str, host: Host, others: Sequence[str]) -> Objection:
    """The image is not there; who has it."""
    pool, _, name = base.partition("/")
    if others:
        remedy = (
            f"Use a host that has it (`{command('--host={}', others[0])}`; there are: {', '.join(others)}), "
            "or copy it there."
        )
    else:
        remedy = (
            f"No host that answers has it: put {name} into the pool {pool} there, then "
            f"`{command('virsh pool-refresh {}', pool)}`."
        )
    return Objection("no-base", f"{host.name} does not have the image {base}.", remedy)


def no_space(disk: int, pool: Pool, host: Host) -> Objection:
    """Too full."""
    return Objection(
        "disk-space",
        f"Pool {pool.name} of {host.name} has {bytes_text(pool.free)} left, the disk needs {bytes_text(disk)}.",
        "Use a smaller --disk, or make room there.",
    )


def no_network_anywhere(network: str, hosts: Iterable[Host]) -> Objection:
    """Unknown on every host."""
    there = sorted({name for host in hosts for name in host.networks | host.bridges})
    return Objection(
        "network",
        f"No host has a network or bridge “{network}”; there are: {', '.join(there) or 'none'}.",
        nearest(
            network,
            there,
            f"Use `{command('--network={}', there[0])}`." if there else "Define one on a host.",
        ),
    )


def no_base_anywhere(base: str) -> Objection:
    """The image is nowhere."""
    pool, _, name = base.partition("/")
    return Objection(
        "no-base",
        f"No host that answers has the image {base}.",
        f"Put {name} into the pool {pool} of a host, then `{command('virsh pool-refresh {}', pool)}`.",
    )


def more_hosts(count: int) -> Objection:
    """Of many hosts some are named."""
    return Objection("more-hosts", f"{plural(count, 'more host')} cannot take it either.", "")


def would_fit(most: Mapping[str, tuple[int, int]]) -> Objection:
    """What there is, where most is."""
    best = sorted(most.items(), key=lambda each: each[1], reverse=True)
    left = "; ".join(
        f"{host}: {bytes_text(memory)} and {bytes_text(disk)}" for host, (memory, disk) in best[:8]
    )
    left += f"; less on {len(best) - 8} more" if len(best) > 8 else ""
    return Objection(
        "would-fit", f"Left for a VM, memory and disk: {left or 'no host that can be used'}.", ""
    )


def asked_host(vm: Vm) -> Reason:
    """A person chose."""
    return Reason("asked", f"{vm.name}: {vm.host} was asked for, and nothing stands against it.")


def chosen(vm: Vm, full: float, legal: int, members: int) -> Reason:
    """The rules chose."""
    apart = "it has fewest of its group, and " if vm.tags.get("apart") else ""
    also = f", as the {members + 1}. of its group there" if members else ""
    of = f"of {plural(legal, 'host')} that could take it, {apart}it is the least full afterwards ({full:.0%} of memory)"
    return Reason("chosen", f"{vm.name}: {vm.host}, {of}{also}.")


def ruled_out(objection: Objection) -> Reason:
    """Why not another."""
    return Reason(f"not-{objection.code}", objection.text)


def never_seen(host: Host) -> Reason:
    """Its names are not known."""
    return Reason(
        "never-seen",
        f"{host.name} has not answered since the bot started: whether it has such a name is not known.",
    )


# --- every other wish
# ---------------------------------------------------------------------------------------------

_VERBS = {
    "VmVerb": "{verb}", "NewSize": "Resize", "NewName": "Rename", "NewClone": "Clone",
    "NewAutostart": "Autostart of", "NewTags": "Tag", "NewTtl": "Set the end of",
    "Deletion": "Delete", "SnapshotWish": "{verb} snapshot of", "DiskWish": "{verb} disk of",
    "NicWish": "{verb} card of", "Ejection": "Eject from",
}  # fmt: skip


_SPOKEN_STATES = {VmState.SUSPENDED: "asleep"}
_SPOKEN = {
    "shutdown": "shut down",
    "force-off": "force off",
    "discard-memory": "discard saved memory of",
}


def wish_title(intent: Any) -> str:
    """A wish as a heading, before it is known whether it can be had."""
    typed = getattr(intent, "verb", "")
    verb = _VERBS[type(intent).__name__].format(verb=_SPOKEN.get(typed, typed)).capitalize()
    return f"{verb} {intent.vm or 'VMs with ' + intent.tag}"


def refused_title(title: str) -> str:
    """Heads a list of objections."""
    return f"{title}: not possible now."


def many_title(title: str, touched: Sequence[Vm]) -> str:
    """Several guests, by name as far as they fit."""
    names = [vm.name for vm in touched]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"{title}: {plural(len(names), 'VM')} ({shown})" if len(names) > 1 else title


def listed(vm: Vm) -> Reason:
    """One of many."""
    tags = " ".join(own_tags(vm))
    return Reason("touches", f"{vm.name} on {vm.host}, {vm.state}{f', {tags}' if tags else ''}")


def own_tags(vm: Vm) -> list[str]:
    """The tags that people gave it, ``key=value``."""
    shown = {
        key: value
        for key, value in sorted(vm.tags.items())
        if not key.startswith("drover.") and key != "expires"
    }
    return [f"{key}={value}" for key, value in shown.items()]


def nothing_to_do(vm: Vm, title: str) -> Reason:
    """It is as wished."""
    return Reason(
        "nothing-to-do", f"{vm.name} is {vm.state} on {vm.host}: “{title}” would change nothing."
    )


def warnings_for(intent: Any, vm: Vm, grace: int = 0) -> Iterator[Reason]:
    """What approvers should know."""
    verb = getattr(intent, "verb", "")
    if verb == "force-off" and vm.state.active:
        yield Reason("data-loss", f"{vm.name} runs: what it has not written to disk is lost.")
    if verb in {"shutdown", "force-off"} and vm.state.active and not vm.persistent:
        yield Reason(
            "definition-lost",
            f"{vm.name} is transient: no definition is stored. When it ends, {vm.host} no longer knows it.",
        )
    if verb == "reboot" and vm.paused_by == "postcopy failed":
        yield Reason(
            "data-loss",
            f"{vm.name} lost a part of its memory when its post-copy migration broke off: it is "
            "forced off, and what it has not written to disk is lost.",
        )
    if vm.saved and verb == "start":
        yield Reason(
            "memory-saved",
            f"{vm.name} goes on from the memory saved on {vm.host}; it does not boot anew.",
        )
    if verb == "discard-memory":
        yield Reason(
            "data-loss",
            f"All that {vm.name} had in memory when it was saved is lost; it then boots anew.",
        )
    if vm.saved and verb not in {"start", "discard-memory"}:
        yield Reason(
            "memory-saved",
            f"{vm.name} is off with its memory saved on {vm.host}; "
            + (
                "that memory is lost when it is purged."
                if hasattr(intent, "remove_disks") or verb == "purge"
                else "a start goes on from it, with what was set before it was saved."
            ),
        )
    if verb == "revert":
        yield Reason("data-loss", f"All that {vm.name} did since that snapshot is lost.")
    yield from _ends_and_copies(intent, vm, grace)


def _ends_and_copies(intent: Any, vm: Vm, grace: int) -> Iterator[Reason]:
    """What a deletion removes, and what a clone does not get."""
    if getattr(intent, "verb", "") == "purge":
        yield from _deletion(intent, vm, remove=vm.tags.get("drover.disks") == "remove", grace=0)
    if hasattr(intent, "remove_disks"):
        yield from _deletion(
            intent, vm, remove=intent.remove_disks, grace=0 if intent.now else grace
        )
    if hasattr(intent, "unique") and vm.detail and vm.detail.tpm == "emulator":
        yield Reason(
            "new-tpm",
            f"{intent.to} gets an empty TPM: what is sealed with that of {vm.name} stays closed.",
        )
    if hasattr(intent, "unique") and vm.detail and vm.detail.nvram:
        yield Reason(
            "new-nvram",
            f"{intent.to} gets UEFI variables from the template, not those of {vm.name}.",
        )


_KEPT = {
    "no-pool": "it lies in no storage pool",
    "shared": "it is shared or read-only",
    "beneath": "a base image that was not the VM's own disk",
    "needed": "others need it",
}


def _deletion(intent: Any, vm: Vm, *, remove: bool, grace: int) -> Iterator[Reason]:
    """What is deleted, when, how to undelete it, and what is kept."""
    fates = [each for each in intent.fates if each.vm == vm.uuid]
    gone = [each.place for each in fates if not each.stays and (each.seed or remove)]
    kept = [each for each in fates if each.place not in gone]
    what = ", ".join(
        [
            "its definition, snapshot records and saved memory",
            *(_state_of(vm) if remove else ()),
            *gone,
        ]
    )
    if grace:
        when = f"Deleted after the grace period ({duration_text(grace)} after the approval)"
        yield Reason(
            "deleted",
            f"{vm.name}: {when}: {what}. Until then: `{command('vm undelete {}', vm.name)}`.",
        )
    else:
        yield Reason("no-grace", f"{vm.name}: deleted at once, and cannot be undeleted: {what}.")
    stay = [f"{each.place} ({why})" if (why := _why_kept(each)) else each.place for each in kept]
    stay += () if remove else _state_of(vm)
    if stay:
        yield Reason("kept", f"{vm.name}: kept: {', '.join(stay)}.")


def _state_of(vm: Vm) -> list[str]:
    """What its firmware remembers; disks may be sealed with it."""
    detail = vm.detail
    found = ["its UEFI variables"] if detail and detail.nvram else []
    return found + (["the state of its TPM"] if detail and detail.tpm == "emulator" else [])


def _why_kept(fate: Fate) -> str:
    named = f": {_named(fate.holders)}" if fate.holders else ""
    return f"{_KEPT[fate.stays]}{named}" if fate.stays else ""


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


_MOST_NAMED = 8


def disk_needed(vm: Vm, fate: Fate) -> Objection:
    """Removing it would take it from others."""
    name = vm.name
    redo = f"`{command('vm undelete {}', name)}`, then " if "drover.deleted" in vm.tags else ""
    return Objection(
        "disk-needed",
        f"{fate.place} of {vm.name} is needed by others: {_named(fate.holders)}.",
        f"Delete those first, or keep its disks: {redo}`{command('vm delete {} --keep-disks', name)}`.",
    )


def others_stand_on(vm: Vm, fate: Fate) -> Objection:
    """A template of linked clones that would write."""
    return Objection(
        "template",
        f"{fate.place} of {vm.name} is the base image of {_named(fate.holders)}; they break when it is written to.",
        f"Make a copy that can run: `{command('vm clone {} NEW-NAME', vm.name)}`.",
    )


def storage_not_read(vm: Vm) -> Objection:
    """Nobody knows who else uses its disks."""
    return Objection(
        "storage-unknown",
        f"The storage of {vm.host} could not be read, so it is not known who else uses the disks of {vm.name}.",
        f"Try again, or keep its disks: `{command('vm delete {} --keep-disks', vm.name)}`.",
    )


def not_known(what: str) -> str:
    """A user that cannot be ruled out."""
    return f"perhaps others (not known: {what.rstrip('.')})"


def writes(path: str) -> str:
    """The image changes while its VM is off."""
    return f"something that writes to {path} now"


def catalogue_image(name: str) -> str:
    """An image that VMs are made from."""
    return f"the image {name} of the catalogue"


def last_seen_with(vm: Vm) -> str:
    """A VM of a host that does not answer."""
    return f"{vm.name} on {vm.host} (as last seen)"


def perhaps_on(host: Host, why: str) -> str:
    """A host that sees the same pool and was not heard."""
    return f"perhaps VMs of {host.name}, which {why or 'does not answer'}"


def unknown(code: str, error: DroverError) -> Objection:
    """A name that is not in the cluster, in the words of the snapshot."""
    return Objection(code, error.text, error.advice)


def no_such_tag(tag: str) -> Objection:
    """Nobody has it."""
    return Objection("no-such-tag", f"No VM has the tag {tag}.", "See tags with `vms`.")


def changed_meanwhile(planned: Plan, now: Plan) -> Objection:
    """Another plan would come out."""
    before, after = (
        "; ".join(str(each.title) for each in planned.steps),
        "; ".join(str(each.title) for each in now.steps),
    )
    return Objection(
        "changed",
        f"The same wish now means: {after}. Approved was: {before}.",
        "Look at the new plan.",
    )


def unreachable(vm: Vm, host: Host) -> Objection:
    """The host that has it does not answer."""
    return Objection(
        "host-unreachable",
        f"{host.name}, where {vm.name} was last seen, does not answer: {host.problem or 'no connection'}.",
        "Unreachable is not dead. Check the host and its libvirtd.",
    )


def not_readable(vm: Vm) -> Objection:
    """Of which nothing but its name is known: its tags may ask for more votes."""
    typed = command("virsh dumpxml {}", vm.name)
    return Objection(
        "not-readable",
        words(
            "The definition of {vm} on {host} cannot be read, nor its tags: {why}",
            vm=vm.name,
            host=vm.host,
            why=vm.problem,
        ),
        words("Look at it on {host}: {command}.", host=vm.host, command=Code(typed)),
    )


def busy(vm: Vm) -> Objection:
    """A job holds it."""
    job = vm.detail.job if vm.detail and vm.detail.job else "a move"
    return Objection(
        "busy", f"{vm.name} has a job under way ({job}).", "Wait for its end, then ask again."
    )


def is_deleted(vm: Vm) -> Objection:
    """Within its grace."""
    return Objection(
        "deleted",
        f"{vm.name} is deleted; its grace period ends {until_text(vm.tags.get('drover.deleted', ''))}.",
        f"Restore it first: `{command('vm undelete {}', vm.name)}`.",
    )


def until_text(written: str) -> str:
    """A moment of a tag for people: ``29 Nov 15:00 UTC``; as it is written where it is none."""
    try:
        return f"{datetime.fromisoformat(written).astimezone(UTC):%-d %b %H:%M} UTC"
    except ValueError:
        return written


def not_deleted(vm: Vm) -> Objection:
    """Nothing to purge."""
    return Objection(
        "not-deleted",
        f"{vm.name} is not deleted.",
        f"Use `{command('vm delete {}', vm.name)}` first.",
    )


def maybe_there(vm: Vm, host: Host) -> Objection:
    """A silent host counts as having it."""
    return Objection(
        "maybe-elsewhere",
        f"{host.name} had {vm.name} when it last answered and is silent now; it may run there.",
        "Unreachable is not dead: bring it back, or prove that it is off.",
    )


def runs_there(vm: Vm, other: Vm) -> Objection:
    """It is on."""
    return Objection(
        "runs-elsewhere",
        f"{vm.name} is {other.state} on {other.host}.",
        "Look at both hosts first.",
    )


def never_heard(vm: Vm, host: Host) -> Objection:
    """Nobody knows."""
    return Objection(
        "maybe-elsewhere",
        f"{host.name} has not answered since the bot started; whether it runs {vm.name} is not known.",
        "Bring it back, or prove that it is off and take it out of the configuration.",
    )


def paused_not_off(vm: Vm) -> Objection:
    """Start is not resume."""
    return Objection(
        "paused", f"{vm.name} is paused on {vm.host}.", f"Use `{command('vm resume {}', vm.name)}`."
    )


def cannot_hear(vm: Vm) -> Objection:
    """Asked to shut down, it would not know before it goes on."""
    return Objection(
        "paused",
        f"{vm.name} is paused on {vm.host} and cannot hear that it is to shut down.",
        f"Use `{command('vm resume {}', vm.name)}` first, or `{command('vm force-off {}', vm.name)}`.",
    )


def not_running(vm: Vm) -> Objection:
    """It is off."""
    return Objection(
        "not-running",
        f"{vm.name} is {vm.state} on {vm.host}.",
        f"Use `{command('vm start {}', vm.name)}` first.",
    )


def half_moved(vm: Vm) -> Objection:
    """Left by a migration."""
    return Objection(
        "half-moved",
        f"{vm.name} is paused on {vm.host} by a migration that did not end well ({vm.paused_by}).",
        "Look at both hosts first; it may run on the other.",
    )


def no_room(vm: Vm, memory: int, room: int) -> Objection:
    """More memory than is left."""
    return Objection(
        "memory",
        f"{vm.host} has {bytes_text(max(0, room))} left, {vm.name} would need {bytes_text(memory - vm.memory)} more.",
        f"{bytes_text(vm.memory + max(0, room))} would fit; or move it to another host first.",
    )


def must_be_off(vm: Vm, done: str) -> Objection:
    """It runs. One that stands still must go on before it can shut down."""
    deaf = vm.state in {VmState.PAUSED, VmState.SUSPENDED}
    wake = f"`{command('vm resume {}', vm.name)}`, then " if deaf else ""
    return Objection(
        "runs",
        f"{vm.name} is {vm.state}; it can be {done} only when it is off.",
        f"{wake}`{command('vm shutdown {}', vm.name)}`",
    )


def not_in_a_pool(vm: Vm, sources: Iterable[str]) -> Objection:
    """Cannot be copied through the storage API."""
    return Objection(
        "no-pool",
        f"Disks of {vm.name} lie in no pool: {', '.join(sources)}.",
        "Define a pool for their directory.",
    )


def not_copyable(vm: Vm, found: Sequence[str]) -> Objection:
    """Both would use it, or one would not start."""
    return Objection(
        "not-copyable",
        f"{vm.name} cannot be cloned: two VMs cannot share {', '.join(found)}.",
        "Take that out of its definition first, or make a new VM with `vm create`.",
    )


def cannot_rename(vm: Vm, host: Host) -> Objection:
    """The hypervisor refuses."""
    return Objection(
        "snapshots",
        f"{vm.name} has snapshots: libvirt {version_text(host.libvirt_version)} on {host.name} cannot rename it, 6.10 "
        "and later can.",
        f"Update libvirt on {host.name}, or move the VM to a host that has it.",
    )


def memory_is_saved(vm: Vm) -> Objection:
    """It would go on from there, as it was."""
    name = vm.name
    return Objection(
        "memory-saved",
        f"{vm.name} is off with its memory saved on {vm.host} (managed save): its next start goes on from there, as it "
        "was saved.",
        f"Let it go on and ask again: `{command('vm start {}', name)}`. "
        f"Or lose what is in that memory: `{command('vm discard-memory {}', name)}`.",
    )


def no_saved_memory(vm: Vm) -> Objection:
    """Nothing to discard."""
    return Objection(
        "no-saved-memory", f"{vm.name} is {vm.state} and has no saved memory on {vm.host}.", ""
    )


def asleep(vm: Vm) -> Objection:
    """Its own system put it to sleep."""
    name = vm.name
    return Objection(
        "asleep",
        f"{vm.name} on {vm.host} is asleep (suspended to memory by its own system) and does not react.",
        f"Wake it with `{command('vm resume {}', name)}`, or end it with `{command('vm force-off {}', name)}`.",
    )


def mac_taken(mac: str, vm: Vm) -> Objection:
    """Somebody else got the address that was approved."""
    return Objection(
        "mac-taken",
        f"{mac} is an address of {vm.name} on {vm.host} now.",
        "Ask again for another one.",
    )


def fixed_size(vm: Vm, stored: StoredSize, vcpus: int, memory: int) -> Iterator[Objection]:
    """What the hypervisor will refuse, by what the definition fixes."""
    detail = vm.detail
    if detail is None:
        return
    edit = f"Change it in the definition, on {vm.host} and while the VM is off: `{command('virsh edit {}', vm.name)}`."
    if detail.topology and vcpus > max(stored.vcpus_max, stored.vcpus):
        yield Objection(
            "cpu-topology",
            f"{vm.name} has a fixed CPU topology of {plural(detail.topology, 'vCPU')}: {vcpus} do not fit it.",
            f"Use --cpus {detail.topology} at most. {edit}",
        )
    most = max(stored.memory_max, stored.memory)
    if detail.numa_cells and (memory > most or (memory < most and not detail.balloon)):
        yield Objection(
            "numa",
            f"{vm.name} has {plural(detail.numa_cells, 'NUMA cell')}, whose sizes fix its memory: {bytes_text(most)}.",
            edit if not detail.balloon else f"Use --memory {most >> 20}M at most. {edit}",
        )
    elif detail.memory_limit and memory > detail.memory_limit:
        yield Objection(
            "memory-limit",
            f"{vm.name} may have {bytes_text(detail.memory_limit)} at most (maxMemory), not {bytes_text(memory)}.",
            f"Use --memory {detail.memory_limit >> 20}M at most. {edit}",
        )


def transient(vm: Vm) -> Objection:
    """Nothing is stored of it."""
    return Objection(
        "transient", f"{vm.name} is transient: it has no stored definition.", "Define it first."
    )


def only_while_it_runs(vm: Vm, verb: str) -> Objection:
    """Its end is also the end of its definition."""
    name = vm.name
    return Objection(
        "definition-lost",
        f"{vm.name} is transient: it exists only while it runs. When it ends, its definition is lost.",
        f"If that is meant: `{command(f'vm {verb} {{}} --lose-definition', name)}`. To keep it, on {vm.host}: "
        f"`virsh dumpxml --inactive --security-info {quote(f'--domain={name}')} > {quote(vm.name + '.xml')}`, "
        "then `virsh define` that file.",
    )


def cannot_reboot(vm: Vm) -> Objection:
    """Drover reboots by a shutdown and a start; of a transient VM nothing would be left to start."""
    return Objection(
        "transient",
        f"{vm.name} is transient: after a shutdown nothing is left that could be started.",
        f"On {vm.host}, this reboots it without an end: `{command('virsh reboot {}', vm.name)}`.",
    )


def reserved_tag(key: str) -> Objection:
    """Drover's own."""
    return Objection(
        "reserved",
        f"Tags that begin with “drover.” are kept by Drover ({key}).",
        "Use another name.",
    )


def end_tag(key: str, vm: str, *, made: bool) -> Objection:
    """A VM's end is not an ordinary tag."""
    if made:
        return Objection("reserved", f"The tag “{key}” is set by Drover.", "Use `--tag ttl=7d`.")
    name = vm
    return Objection(
        "reserved",
        f"“{key}” decides when {vm} is shut down.",
        f"Use `{command('vm ttl {} 7d', name)}`, or `{command('vm ttl {} off', name)}`.",
    )


def unfit_text(what: str, mark: str) -> Objection:
    """Libvirt stores XML."""
    return Objection(
        "bad-text", f"The {what} has a character that cannot be stored ({mark}).", "Leave it out."
    )


def bad_snapshot_name(name: str) -> Objection:
    """What libvirt and people can type."""
    return Objection(
        "bad-name",
        f"“{name}” cannot name a new snapshot.",
        "Use letters, digits, “.”, “-” and “_”, 63 at most, beginning with a letter or digit.",
    )


def number_for_a_name(name: str) -> Objection:
    """QEMU would take it for the number of a snapshot."""
    return Objection(
        "number",
        f"“{name}” cannot name a new snapshot: QEMU also numbers snapshots, and would mix up the two.",
        f"Use a name with a letter, for example “v{name}”.",
    )


def snapshot_exists(vm: Vm, name: str) -> Objection:
    """Taken."""
    return Objection(
        "snapshot-exists", f"{vm.name} has a snapshot “{name}” already.", "Use another name."
    )


def no_snapshot(vm: Vm, name: str, known: Sequence[str]) -> Objection:
    """A slip of the pen."""
    seen = f"`{command('vm snapshot list {}', vm.name)}` lists its snapshots."
    has = f"{vm.name} has no snapshot “{name}”." if known else f"{vm.name} has no snapshots."
    return Objection("no-snapshot", has, nearest(name, known, seen if known else ""))


def cannot_revert_external(vm: Vm, name: str, host: Host) -> Objection:
    """The hypervisor refuses; nothing needs to be deleted for it."""
    return Objection(
        "external-snapshot",
        f"“{name}” of {vm.name} is an external snapshot: libvirt {version_text(host.libvirt_version)} on {host.name} "
        "cannot go back to it, 9.9 and later can.",
        f"Update libvirt on {host.name}. By hand, its disks of then are the files below the present ones: "
        f"`{command('virsh domblklist {}', vm.name)}`, then `qemu-img info --backing-chain` of each.",
    )


def cannot_delete_external(vm: Vm, name: str, host: Host) -> Objection:
    """The hypervisor refuses."""
    return Objection(
        "external-snapshot",
        f"“{name}” of {vm.name} is an external snapshot: libvirt {version_text(host.libvirt_version)} on {host.name} "
        "cannot remove it, 9.0 and later can.",
        f"Update libvirt on {host.name}.",
    )


def cannot_revert_number(vm: Vm, name: str) -> Objection:
    """QEMU takes the name for a snapshot's number first."""
    return Objection(
        "number",
        f"The snapshot “{name}” of {vm.name} is named by a number: QEMU would go back to another one that has this "
        "number, or it is not known whether it would.",
        f"While {vm.name} is off, on {vm.host}, for each of its disks: `qemu-img snapshot -l DISK` shows the ID beside "
        f"the tag {name}; `qemu-img snapshot -a ID DISK` goes back to it, if no other snapshot has that ID as its tag.",
    )


def cannot_snapshot_uefi(vm: Vm, host: Host, *, off: bool) -> Objection:
    """The NVRAM would not be part of it; ``off``: it can have one while it is off."""
    name, version = vm.name, version_text(host.libvirt_version)
    what = "with its memory " if vm.state.active else ""
    said = f"{vm.name} has UEFI firmware: libvirt {version} on {host.name} takes no snapshot of it {what}".rstrip()
    copy = f"A copy that can be started instead: `{command('vm clone {} {}', name, f'{name}-copy')}`, while the VM is off."
    first = (
        f"Take it while the VM is off: `{command('vm shutdown {}', name)}`."
        if off
        else "libvirt 9.3 and later can, while it is off."
    )
    return Objection("uefi-snapshot", f"{said}.", first if off else f"{first} {copy}")


def cannot_grow_off(vm: Vm, disk: Disk) -> Objection:
    """Only a pool, or the running QEMU, can do it."""
    return Objection(
        "no-pool",
        f"{disk.target} of {vm.name} ({disk.source}) lies in no storage pool of {vm.host}, and the VM is off.",
        f"Ask again while it runs: `{command('vm start {}', vm.name)}`. Or define a pool for that directory.",
    )


def cannot_grow_with_snapshots(vm: Vm, disk: Disk, host: Host) -> Objection:
    """QEMU refuses."""
    if disk.compat == "0.10":
        return Objection(
            "snapshots",
            f"{disk.target} of {vm.name} has snapshots and is a qcow2 file of the old version 2: QEMU cannot grow it.",
            f"While {vm.name} is off, on {host.name}: "
            f"`{command('qemu-img amend -f qcow2 -o compat=1.1 {}', disk.source)}`.",
        )
    return Objection(
        "snapshots",
        f"{disk.target} of {vm.name} has snapshots: QEMU {version_text(host.hypervisor_version)} on {host.name} cannot "
        "grow it, 5.1 and later can.",
        f"Update QEMU on {host.name}, and restart the VM with it.",
    )


def cannot_snapshot(vm: Vm, formats: Iterable[str]) -> Objection:
    """Only qcow2 keeps them."""
    return Objection(
        "format",
        f"{vm.name} has disks that keep no snapshots ({', '.join(sorted(formats))}).",
        "Convert them to qcow2.",
    )


def no_free_target(vm: Vm) -> Objection:
    """Vda to vdz are disks, or volumes of former disks."""
    return Objection(
        "no-target",
        f"{vm.name} has no free target from vda to vdz.",
        "Remove a disk, or a volume of one.",
    )


def no_disk(vm: Vm, target: str, known: Iterable[str]) -> Objection:
    """Unknown target."""
    return Objection(
        "no-disk",
        f"{vm.name} has no disk “{target}”; it has: {', '.join(known) or 'none'}.",
        "Use one.",
    )


def cannot_shrink(vm: Vm, target: str, capacity: int) -> Objection:
    """Only growth."""
    return Objection(
        "shrink",
        f"{target} of {vm.name} has {bytes_text(capacity)} already.",
        "Give a larger size.",
    )


def no_card(vm: Vm, mac: str, known: Iterable[str]) -> Objection:
    """Unknown address."""
    listed = ", ".join(sorted(known)) or "none"
    return Objection(
        "no-card", f"{vm.name} has no card “{mac}”; it has: {listed}.", "Use one of them."
    )


def no_drive(vm: Vm, target: str, known: Iterable[str]) -> Objection:
    """Unknown target."""
    listed = ", ".join(known) or "none"
    return Objection(
        "no-drive", f"{vm.name} has no drive “{target}”; it has: {listed}.", "Use one of them."
    )


def which_drive(vm: Vm, full: Sequence[str]) -> Objection:
    """More than one."""
    return Objection(
        "which-drive",
        f"{vm.name} has media in {', '.join(full)}.",
        f"Say which: `{command('vm eject {} {}', vm.name, full[0])}`.",
    )


# --- what the clock says
# ------------------------------------------------------------------------------------------

TTL_OVER = "Its time (ttl) is over."
GRACE_OVER = "It was deleted, and its grace is over."


def ttl_ends(vm: Vm, ends: datetime) -> Card:
    """The announcement."""
    owner = vm.tags.get("owner", "not named")
    line = words(
        "*{vm}* on {host} is shut down at {ends}; owner: {owner}.",
        vm=vm.name, host=vm.host, ends=ends, owner=owner,
    )  # fmt: skip
    return Card(f"The time of {vm.name} ends soon.", elements=(Section(line),))


def ttl_paused(vm: Vm, ends: datetime) -> Card:
    """It cannot be shut down as it is."""
    line = words(
        "The time of *{vm}* on {host} ended at {ends}, but it is {state} and cannot hear that it is to shut down.",
        vm=vm.name, host=vm.host, ends=ends, state=_SPOKEN_STATES.get(vm.state, str(vm.state)),
    )  # fmt: skip
    return Card(
        f"The time of {vm.name} is over, and it is {_SPOKEN_STATES.get(vm.state, str(vm.state))}.",
        elements=(Section(line),),
    )


def out_of_pause(vm: Vm) -> tuple[Remedy, ...]:
    """What there is to choose from."""
    name, lost = vm.name, "" if vm.persistent else " --lose-definition"
    return (
        Remedy("Resume it", command("vm resume {}", name)),
        Remedy("Force it off…", command(f"vm force-off {{}}{lost}", name)),
    )


def ttl_transient(vm: Vm, ends: datetime) -> Card:
    """Its end is the end of its definition: a person must agree."""
    line = words(
        "The time of *{vm}* on {host} ended at {ends}. It is transient: a shutdown would lose its definition, "
        "so it is not shut down unless somebody says so.",
        vm=vm.name, host=vm.host, ends=ends,
    )  # fmt: skip
    return Card(f"The time of {vm.name} is over, and it is transient.", elements=(Section(line),))


def end_transient(vm: Vm) -> tuple[Remedy, ...]:
    """What there is to choose from."""
    return (
        Remedy("Shut it down for good…", command("vm shutdown {} --lose-definition", vm.name)),
        longer(vm),
    )


def ttl_doubtful(vm: Vm, ends: datetime, why: Objection) -> Card:
    """It may run on two hosts, or on one that does not answer."""
    line = words(
        "The time of *{vm}* on {host} ended at {ends}, but it is not shut down now: {why}",
        vm=vm.name, host=vm.host, ends=ends, why=f"{why.text} {why.remedy}".strip(),
    )  # fmt: skip
    return Card(
        f"The time of {vm.name} is over, and it may run elsewhere.", elements=(Section(line),)
    )


def ttl_changed(name: str) -> Card:
    """It was given more time, went off or was deleted."""
    line = words("*{vm}* does not end then any more: its `ttl` was changed, or it is off.", vm=name)
    return Card(f"{name} does not end then any more.", elements=(Section(line),))


def longer(vm: Vm) -> Remedy:
    """A week from now on."""
    return Remedy("Keep it for 7 more days", command("vm ttl {} 7d", vm.name))


def ttl_over(vm: Vm, ends: datetime) -> Card:
    """The end of the announcement."""
    line = words(
        "The time of *{vm}* on {host} ended at {ends}.", vm=vm.name, host=vm.host, ends=ends
    )
    return Card(f"The time of {vm.name} is over.", elements=(Section(line),))
