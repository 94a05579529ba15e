"""Pure: plans for new VMs: what they are made of, where each goes and why, or all objections."""

from __future__ import annotations

import ipaddress
import re
import shlex
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

from bot.domain import machine_types, placement
from bot.domain.cluster import Host, Pool, Snapshot, Vm, VmState
from bot.domain.errors import UnknownNameError
from bot.domain.message import (
    Code,
    Join,
    Message,
    Names,
    Percent,
    Size,
    Value,
    join,
    nwords,
    words,
)
from bot.domain.placement import APART, TOGETHER, Rule, pin_hosts
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.state_names import VM_STATES
from bot.domain.suggest import nearest
from bot.domain.units import seconds_of
from bot.domain.words import reads_as_id
from plugins.vm_lifecycle import changes, cloud_init, texts
from plugins.vm_lifecycle.intents import NewVms
from plugins.vm_lifecycle.settings import CatalogueImage, VmLifecycleSettings
from plugins.vm_lifecycle.steps import CreateVm, CreateVms

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A label of a host name: RFC 1123, section 2.1."""
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_NAMESPACE = uuid.UUID("6f2c4a52-7a04-4f0e-9f63-6d9a3a0d9f1c")
# A writable disk must be qcow2, or the VM has no snapshots
_SEEDS = {"disk": "qcow2", "cdrom": "iso"}
_NAMED_HOSTS = 4  # hosts ruled out that a plan names
_MOST_FREE = 8  # hosts whose free memory and disk a refusal names


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all VMs of one command have in common.

    Sizes in bytes; ``bases`` as in the intent, by host.
    """

    image: CatalogueImage
    bases: Mapping[str, int]
    cpus: int
    memory: int
    disk: int
    network: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlacedVm:
    """Where one VM goes and why."""

    vm: Vm
    reasons: tuple[Reason, ...]


def plan(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The plan to create what ``intent`` asks for, or all objections at once."""
    rules = tuple(rules)
    refused = _refused_title(names(intent))
    slips = [*_slips(settings, intent, snapshot)]
    recipe = _recipe(settings, intent, snapshot)
    if slips or isinstance(recipe, tuple):
        against = (*slips, *(recipe if isinstance(recipe, tuple) else ()))
        return Refused(refused, against, sentence=True)
    placed: list[PlacedVm] = []
    so_far = snapshot
    for name in names(intent):
        found = _place(settings, intent, recipe, _draft(name, recipe, snapshot), so_far, rules)
        if isinstance(found, tuple):
            return Refused(refused, found, sentence=True)
        placed.append(found)
        so_far = _with(so_far, found.vm, settings.pool, recipe.disk)
    return _plan(settings, intent, recipe, placed, snapshot)


def _refused_title(vms: Sequence[str]) -> Message:
    if len(vms) == 1:
        return words("Cannot create {vm}", vm=vms[0])
    return nwords(
        "Cannot create {n} VM: {first} to {last}",
        "Cannot create {n} VMs: {first} to {last}",
        n=len(vms),
        first=vms[0],
        last=vms[-1],
    )


def _title(vms: Sequence[Vm]) -> Message:
    if len(vms) == 1:
        return words("Create {vm} on {host}", vm=vms[0].name, host=vms[0].host)
    return nwords(
        "Create {n} VM: {first} to {last}",
        "Create {n} VMs: {first} to {last}",
        n=len(vms),
        first=vms[0].name,
        last=vms[-1].name,
    )


def names(intent: NewVms) -> tuple[str, ...]:
    """``web`` or, of several, ``web-1``, ``web-2`` and so on."""
    if intent.count == 1:
        return (intent.name,)
    return tuple(f"{intent.name}-{number}" for number in range(1, intent.count + 1))


def still_good(
    settings: VmLifecycleSettings,
    intent: NewVms,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """Check that each VM may still go where it was planned to, with its name and UUID."""
    rules, against = tuple(rules), list(name_objections(names(intent), snapshot))
    so_far = snapshot
    for guest in guests(planned):
        against += [
            Objection(
                "uuid-taken",
                words(
                    "{uuid} already exists: {vm} on {host}.",
                    uuid=vm.uuid,
                    vm=vm.name,
                    host=vm.host,
                ),
                words("Ask again."),
            )
            for vm in snapshot.vms
            if vm.uuid == guest.uuid
        ]
        vm = _vm(guest.uuid, guest.name, guest.host, guest.vcpus, guest.memory, guest.tags)
        against += _host_objections(settings, guest.network, guest.capacity, vm, so_far, rules)
        against += _base_objections(
            guest.base, dict(intent.bases), guest.capacity, snapshot.host(guest.host)
        )
        so_far = _with(so_far, vm, settings.pool, guest.capacity)
    return tuple(dict.fromkeys(against))


def _with(seen: Snapshot, vm: Vm, pool: str, disk: int) -> Snapshot:
    """The cluster with this VM: less free memory, and less free space in the pool."""

    def less(host: Host, each: Pool) -> Pool:
        takes = each.name == pool and (host.name == vm.host or each.shared)
        return replace(each, free=each.free - disk) if takes else each

    hosts = tuple(
        replace(host, pools=tuple(less(host, each) for each in host.pools)) for host in seen.hosts
    )
    return replace(seen, hosts=hosts, vms=(*seen.vms, replace(vm, state=VmState.RUNNING)))


def guests(planned: Plan) -> tuple[CreateVm, ...]:
    """The VMs of a plan."""
    found = (step.guests if isinstance(step, CreateVms) else (step,) for step in planned.steps)
    return tuple(each for group in found for each in group if isinstance(each, CreateVm))


def name_slips(name: str) -> Iterator[Objection]:
    """Yield an objection to a name that is no host name, or that reads as another VM's id."""
    if NAME.fullmatch(name):
        if reads_as_id(name):
            yield Objection(
                "bad-name",
                words(
                    "“{name}” is not a valid VM name: tools such as virsh would read it as the id "
                    "or the UUID of another VM.",
                    name=name,
                ),
                words("Use for example “{better}”.", better=f"vm-{name}"[:63]),
            )
        return
    better = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63]
    better = better if better and better != name else "web-1"
    yield Objection(
        "bad-name",
        words(
            "“{name}” is not a valid VM name: use lower case letters, digits and inner hyphens, "
            "63 characters at most.",
            name=name,
        ),
        words("Use for example “{better}”.", better=better),
    )


def name_objections(wanted: Sequence[str], snapshot: Snapshot) -> Iterator[Objection]:
    """Yield an objection for each VM that has one of the wanted names."""
    for vm in snapshot.vms:
        if vm.name not in wanted:
            continue
        args = {"vm": vm.name, "uuid": vm.uuid, "host": vm.host, "state": VM_STATES[vm.state]}
        yield Objection(
            "name-taken",
            words("{vm} already exists: {uuid} on {host} ({state}).", **args)
            if snapshot.host(vm.host).up
            else words(
                "{vm} already exists: {uuid} on {host} ({state} when the host was last seen).",
                **args,
            ),
            words("Use another name."),
        )


def network_kind(host: Host, network: str) -> str:
    """``network``, ``bridge``, or '' when the host has none of that name.

    What is no network of a host whose bridges cannot be listed is taken for one of them.
    """
    if network in host.networks:
        return "network"
    return "bridge" if network in host.bridges or host.why_unread("interface") else ""


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range from a UUID."""
    return f"52:54:00:{identity[:2]}:{identity[2:4]}:{identity[4:6]}"


def identity(name: str, snapshot: Snapshot) -> str:
    """A new UUID; the same for the same name at the same moment, so that planning stays pure."""
    return str(uuid.uuid5(_NAMESPACE, f"{name} {snapshot.taken_at.isoformat()}"))


def with_end(tags: Iterable[tuple[str, str]], snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """The tags; beside a ``ttl`` stands the moment it ends."""
    found = dict(tags)
    if "ttl" in found:
        ends = snapshot.taken_at + timedelta(seconds=seconds_of(found["ttl"]))
        found["expires"] = ends.isoformat(timespec="seconds")
    return tuple(sorted(found.items()))


def _slips(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot
) -> Iterator[Objection]:
    yield from texts.slips(intent)
    yield from texts.reserved_tags(dict(intent.tags), intent.name, made=True)
    yield from texts.pin_slips(dict(intent.tags), snapshot)
    yield from texts.schedule_slips(dict(intent.tags), settings.snapshots)
    yield from name_slips(names(intent)[-1])
    yield from name_objections(names(intent), snapshot)
    if intent.count > settings.most:
        yield Objection(
            "too-many",
            nwords(
                "{n} VM at once is more than the {most} allowed.",
                "{n} VMs at once are more than the {most} allowed.",
                n=intent.count,
                most=settings.most,
            ),
            words("Use {option} at most.", option=Code(f"--count {settings.most}")),
        )
    if intent.user and not USER.fullmatch(intent.user):
        yield Objection(
            "bad-user",
            words("“{user}” is not a valid user name.", user=intent.user),
            words("Use lower case letters, digits, hyphens and underscores."),
        )
    if intent.user_data and not intent.user_data.startswith("#"):
        yield Objection(
            "bad-user-data",
            words("The user data begins with neither `#cloud-config` nor `#!`."),
            words("Begin it with `#cloud-config` or `#!`."),
        )
    yield from _address_slips(intent)
    if any(not _is_public_key(each) for each in intent.ssh_keys):
        yield Objection(
            "bad-key",
            words("`--ssh-key` is not a public SSH key: nobody could log in with it."),
            words(
                'Give the whole line of its `.pub` file: `--ssh-key "ssh-ed25519 AAAA… ana@pc"`.'
            ),
        )
    if intent.host:
        try:
            snapshot.host(intent.host)
        except UnknownNameError as error:
            yield Objection("unknown-host", error.text, error.advice)


def _address_slips(intent: NewVms) -> Iterator[Objection]:
    if intent.address and not _addresses(intent):
        text = (
            words(
                "“{address}” is not an IP address with a network that holds {count} addresses "
                "from it on.",
                address=intent.address,
                count=intent.count,
            )
            if intent.count > 1
            else words("“{address}” is not an IP address with its network.", address=intent.address)
        )
        yield Objection("bad-address", text, words("Use for example `10.0.0.5/24`."))
    if intent.gateway and not intent.address:
        yield Objection(
            "bad-gateway",
            words("A gateway is set only together with a fixed address."),
            words("Add for example `--address 10.0.0.5/24`, or leave out `--gateway`."),
        )
    elif intent.gateway and not _is_address(intent.gateway):
        yield Objection(
            "bad-gateway",
            words("“{address}” is not an IP address.", address=intent.gateway),
            words("Use for example `10.0.0.1`."),
        )


def _image_name(settings: VmLifecycleSettings, intent: NewVms) -> str:
    only = next(iter(settings.images)) if len(settings.images) == 1 else ""
    return intent.image or settings.default_image or only


def example(settings: VmLifecycleSettings) -> str:
    """A line that can be typed, with an image that there is."""
    name = settings.default_image or next(iter(settings.images), "debian")
    return f"vm create web-2 --image {shlex.quote(name)}"


def image(settings: VmLifecycleSettings, intent: NewVms) -> CatalogueImage | None:
    """The image that is asked for; None when the configuration has none of that name."""
    return settings.images.get(_image_name(settings, intent))


def _recipe(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot
) -> Recipe | tuple[Objection, ...]:
    chosen, found, size = (
        _image_name(settings, intent),
        image(settings, intent),
        settings.sizes.get(intent.size),
    )
    against = []
    if found is None:
        against.append(_no_image(chosen, sorted(settings.images)))
    if intent.size and size is None:
        against.append(_no_size(intent.size, sorted(settings.sizes)))
    if found is None or against:
        return tuple(against)
    recipe = Recipe(
        found,
        dict(intent.bases),
        intent.cpus or (size.cpus if size else settings.default_cpus),
        intent.memory or (size.memory if size else settings.default_memory),
        intent.disk or (size.disk if size else settings.default_disk),
        intent.network or settings.network,
        _tags(intent, chosen, snapshot),
    )
    return tuple(_too_little(recipe, chosen)) or recipe


def _too_little(recipe: Recipe, chosen: str) -> Iterator[Objection]:
    """Yield an objection for memory and disk that are too little for the image."""
    image_ = recipe.image
    if recipe.memory < image_.least_memory:
        yield Objection(
            "too-little-memory",
            words(
                "{asked} of memory is too little for {image}, which needs {least}.",
                asked=Size(recipe.memory),
                image=chosen,
                least=Size(image_.least_memory),
            ),
            words("Use {option} or more.", option=_at_least("--memory", image_.least_memory)),
        )
    if recipe.disk < image_.least_disk:
        yield _too_little_disk(recipe.disk, image_.least_disk, chosen)


def _no_image(name: str, known: Sequence[str]) -> Objection:
    if not known:
        return Objection(
            "no-image",
            words("No images are configured."),
            words("Add some to `[plugins.vm_lifecycle.images]`."),
        )
    there = words("The configured images are: {images}.", images=known)
    if not name:
        use = words("Name one with `--image`.")
        return Objection("no-image", join((words("Which image?"), there)), use)
    return Objection(
        "no-image",
        join((words("There is no image “{image}”.", image=name), there)),
        nearest(name, known, words("Name one with `--image`.")),
    )


def _no_size(name: str, known: Sequence[str]) -> Objection:
    text: Message = words("There is no size “{size}”.", size=name)
    if known:
        text = join((text, words("The configured sizes are: {sizes}.", sizes=known)))
    remedy = words("Use `--cpus`, `--memory` and `--disk`.")
    return Objection("no-size", text, nearest(name, known, remedy))


def _too_little_disk(asked: int, least: int, image: str) -> Objection:
    return Objection(
        "too-little-disk",
        words(
            "A disk of {asked} is too small for {image}, which needs {least}.",
            asked=Size(asked),
            image=image,
            least=Size(least),
        ),
        words("Use {option} or more.", option=_at_least("--disk", least)),
    )


def _at_least(option: str, least: int) -> Code:
    return Code(f"{option} {-(-least // (1 << 20))}M")


def _tags(intent: NewVms, image: str, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """The tags of the request, the image, and for several VMs the group that spreads them."""
    apart = {APART: intent.name} if intent.count > 1 else {}
    return with_end({"image": image, **apart, **dict(intent.tags)}.items(), snapshot)


def _draft(name: str, recipe: Recipe, snapshot: Snapshot) -> Vm:
    return _vm(identity(name, snapshot), name, "", recipe.cpus, recipe.memory, recipe.tags)


def _vm(  # noqa: PLR0917 - what a placement rule looks at
    identity: str, name: str, host: str, vcpus: int, memory: int, tags: tuple[tuple[str, str], ...]
) -> Vm:
    """A new VM for the rules; off, so that no rule asks whether it can be migrated."""
    tagged = MappingProxyType(dict(tags))
    return Vm(identity, name, host, VmState.SHUT_OFF, vcpus, memory, memory_max=memory, tags=tagged)


def _place(  # noqa: PLR0917 - one VM among hosts and rules
    settings: VmLifecycleSettings,
    intent: NewVms,
    recipe: Recipe,
    vm: Vm,
    snapshot: Snapshot,
    rules: tuple[Rule, ...],
) -> PlacedVm | tuple[Objection, ...]:
    """The best host that may take a VM, or why none may and what would fit."""
    hosts = [intent.host] if intent.host else sorted(host.name for host in snapshot.hosts)
    objections = {
        name: (
            *_host_objections(
                settings, recipe.network, recipe.disk, replace(vm, host=name), snapshot, rules
            ),
            *_base_objections(recipe.image.base, recipe.bases, recipe.disk, snapshot.host(name)),
        )
        for name in hosts
    }
    legal = sorted(
        (name for name in hosts if not objections[name]),
        key=lambda name: (_members(vm, name, snapshot), placement.preference(snapshot, vm, name)),
    )
    if not legal:
        return (*_nowhere(recipe, objections, snapshot), _would_fit(_most(settings, snapshot)))
    best = replace(vm, host=legal[0])
    out = [objections[name][0] for name in hosts if objections[name]]
    reasons = [_reason_asked(best) if intent.host else _reason_chosen(best, legal, snapshot)]
    reasons += [Reason(f"not-{each.code}", each.text) for each in out[:_NAMED_HOSTS]]
    return PlacedVm(best, tuple(reasons))


def _reason_asked(vm: Vm) -> Reason:
    return Reason(
        "asked", words("{vm}: {host}, as requested; it is possible.", vm=vm.name, host=vm.host)
    )


def _would_fit(most: Mapping[str, tuple[int, int]]) -> Objection:
    """How much memory and disk is free, first where most is."""
    best = sorted(most.items(), key=lambda each: each[1], reverse=True)
    if not best:
        return Objection("would-fit", words("No host can be used."))
    free = tuple(
        words("{host} {memory} and {disk}", host=host, memory=Size(memory), disk=Size(disk))
        for host, (memory, disk) in best
    )
    return Objection(
        "would-fit",
        words("Free memory and disk for a VM: {hosts}.", hosts=Names(free, most=_MOST_FREE)),
    )


def _nowhere(
    recipe: Recipe, objections: Mapping[str, tuple[Objection, ...]], snapshot: Snapshot
) -> Iterator[Objection]:
    """Yield the objections: once what is the same everywhere, then those of the first hosts."""
    up = [snapshot.host(name) for name in objections if snapshot.host(name).up]
    everywhere = _common_codes([objections[host.name] for host in up])
    if "network" in everywhere:
        yield _no_network_anywhere(recipe.network, up)
    if "no-base" in everywhere:
        pool, _, name = recipe.image.base.partition("/")
        yield Objection(
            "no-base",
            words("No reachable host has the image {base}.", base=recipe.image.base),
            words(
                "Put {name} into the pool {pool} of a host, then {command}.",
                name=name,
                pool=pool,
                command=texts.shell("virsh pool-refresh {}", pool),
            ),
        )
    said = everywhere & {"network", "no-base"}
    own = {
        name: [each for each in found if each.code not in said]
        for name, found in objections.items()
    }
    named = [name for name in own if own[name]]
    yield from dict.fromkeys(each for name in named[:_NAMED_HOSTS] for each in own[name])
    if len(named) > _NAMED_HOSTS:
        yield Objection(
            "more-hosts",
            nwords(
                "{n} more host cannot take it either.",
                "{n} more hosts cannot take it either.",
                n=len(named) - _NAMED_HOSTS,
            ),
        )


def _common_codes(objections: Sequence[tuple[Objection, ...]]) -> set[str]:
    """The codes of what several hosts all object; none where one host alone is asked."""
    codes = [{each.code for each in found} for found in objections]
    return set.intersection(*codes) if len(codes) > 1 else set()


def _no_network_anywhere(network: str, hosts: Iterable[Host]) -> Objection:
    there = sorted({name for host in hosts for name in host.networks | host.bridges})
    text: Message = words("No host has a network or bridge “{network}”.", network=network)
    if not there:
        return Objection("network", text, words("Define one on a host."))
    use = words("Use {option}.", option=texts.shell("--network={}", there[0]))
    return Objection(
        "network",
        join((text, words("There are: {networks}.", networks=there))),
        nearest(network, there, use),
    )


def _reason_chosen(vm: Vm, legal: Sequence[str], snapshot: Snapshot) -> Reason:
    """Why this host, and what of its anti-affinity group is there already."""
    members = _members(vm, vm.host, snapshot)
    full = placement.fullness(snapshot, snapshot.host(vm.host), vm.memory)
    args: dict[str, Value] = {"vm": vm.name, "host": vm.host, "full": Percent(full)}
    if len(legal) == 1:
        text: Message = words(
            "{vm}: {host}, the only possible host ({full} of memory used afterwards).", **args
        )
    elif vm.tags.get(APART):
        text = words(
            "{vm}: {host}, of {count} possible hosts the one with the fewest VMs of its group, and "
            "then the least full ({full} of memory used afterwards).",
            **args,
            count=len(legal),
        )
    else:
        text = words(
            "{vm}: {host}, of {count} possible hosts the least full "
            "({full} of memory used afterwards).",
            **args,
            count=len(legal),
        )
    if not members:
        return Reason("chosen", text)
    also = nwords(
        "{n} VM of its group is there already.",
        "{n} VMs of its group are there already.",
        n=members,
    )
    return Reason("chosen", join((text, also)))


def _members(vm: Vm, host: str, snapshot: Snapshot) -> int:
    """How many VMs of its anti-affinity group the host has."""
    group = vm.tags.get(APART)
    return sum(1 for each in snapshot.on(host) if group and each.tags.get(APART) == group)


def _host_objections(  # noqa: PLR0917 - one VM on one host
    settings: VmLifecycleSettings,
    network: str,
    disk: int,
    vm: Vm,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    host = snapshot.host(vm.host)
    found = list(
        placement.objections(snapshot, vm, vm.host, dict.fromkeys((*placement.CORE_RULES, *rules)))
    )
    if not host.up:
        return tuple(found)
    if vm.vcpus > host.cpus:
        found.append(too_many_cpus(vm, host))
    if not network_kind(host, network):
        found.append(no_network(network, host))
    new = image_objections(settings.pool, disk, host, SET_POOL)
    return (*found, *_tag_objections(vm, snapshot), *new)


def too_many_cpus(vm: Vm, host: Host) -> Objection:
    """The objection to more vCPUs than the host has CPUs."""
    return Objection(
        "cpus",
        nwords(
            "{host} has {n} CPU, {vm} would have {vcpus} vCPUs.",
            "{host} has {n} CPUs, {vm} would have {vcpus} vCPUs.",
            n=host.cpus,
            host=host.name,
            vm=vm.name,
            vcpus=vm.vcpus,
        ),
        words("Use fewer with `--cpus`."),
    )


def no_network(network: str, host: Host, vm: str = "") -> Objection:
    """The objection to a network that the host does not have.

    ``vm``: of a NIC that is to be added to it; '': of a new VM.
    """
    there = sorted(host.networks | host.bridges)
    text: Message = words(
        "{host} has no network or bridge “{network}”.", host=host.name, network=network
    )
    if not there:
        return Objection("network", text, words("Define one on {host}.", host=host.name))
    option = texts.shell("--network={}", there[0])
    line = texts.chat("vm nic add {} {}", vm, there[0]) if vm else option
    use = words("Use {option}.", option=line)
    return Objection(
        "network",
        join((text, words("It has: {devices}.", devices=there))),
        nearest(network, there, use),
    )


def _tag_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """Yield what a VM's own tags say against a host.

    Spreading (``apart``) is only preferred: there may be fewer hosts than VMs.
    """
    yield from _pin_objections(vm, snapshot)
    yield from _group_objections(vm, snapshot)


def _pin_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    pinned = pin_hosts(vm, {host.name for host in snapshot.hosts})
    if pinned and vm.host not in pinned:
        yield Objection(
            "pinned",
            words(
                "{vm} is pinned to {hosts}, not to {host}.",
                vm=vm.name,
                hosts=Names(tuple(sorted(pinned)), Join.OR),
                host=vm.host,
            ),
            words("Leave out the tag `pin`."),
        )


def _group_objections(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    group = vm.tags.get(TOGETHER)
    homes = {each.host for each in snapshot.vms if group and each.tags.get(TOGETHER) == group}
    if homes and vm.host not in homes:
        yield Objection(
            "together",
            words(
                "The group {group} of {vm} is on {hosts}.",
                group=group or "",
                vm=vm.name,
                hosts=sorted(homes),
            ),
            words("Leave out the tag `together`."),
        )


def image_objections(wanted: str, disk: int, host: Host, remedy: Message) -> Iterator[Objection]:
    """Yield objections to a new qcow2 image of ``disk`` bytes in a pool of a host."""
    yield from pool_objections(wanted, disk, host)
    pool = next((each for each in host.pools if each.name == wanted), None)
    if pool is not None and pool.active and not pool.holds_files:
        # libvirt would make a raw device of it, or nothing, after the vote
        yield Objection(
            "pool-kind",
            words(
                "Pool {pool} of {host} ({kind}) holds no image files, and new disks are qcow2 "
                "files.",
                pool=wanted,
                host=host.name,
                kind=Code(pool.kind),
            ),
            remedy,
        )


SET_POOL = words(
    "Set {setting} to a pool of the kind `dir`, `fs` or `netfs`.",
    setting=Code("plugins.vm_lifecycle.pool"),
)


def pool_objections(wanted: str, disk: int, host: Host) -> Iterator[Objection]:
    """Yield objections to ``disk`` more bytes in a pool of a host."""
    pool = next((each for each in host.pools if each.name == wanted), None)
    args = {"pool": wanted, "host": host.name}
    if pool is None:
        yield Objection(
            "pool",
            words("Pool {pool} does not exist on {host}.", **args),
            words("Define it on {host}, with `virsh pool-define`.", host=host.name),
        )
    elif not pool.active:
        yield Objection(
            "pool",
            words("Pool {pool} is not active on {host}.", **args),
            words(
                "Start it on {host}: {command}.",
                host=host.name,
                command=texts.shell("virsh pool-start {}", wanted),
            ),
        )
    elif disk > pool.free:
        yield Objection(
            "disk-space",
            words(
                "Pool {pool} of {host} has {free} free, the disk needs {disk}.",
                **args,
                free=Size(pool.free),
                disk=Size(disk),
            ),
            words("Use a smaller disk, or free space there."),
        )


def _base_objections(
    base: str, sizes: Mapping[str, int], disk: int, host: Host
) -> Iterator[Objection]:
    """Yield objections to a disk made from the image there; a host that was not asked has none."""
    there = sizes.get(host.name)
    if there == 0:
        yield _no_base(base, host, [name for name, found in sizes.items() if found])
    elif there is not None and there > disk:
        yield _too_little_disk(disk, there, base)


def _no_base(base: str, host: Host, others: Sequence[str]) -> Objection:
    text = words("{host} does not have the image {base}.", host=host.name, base=base)
    if others:
        remedy = words(
            "Use a host that has it ({option}): {hosts}; or copy it to {host}.",
            option=texts.shell("--host={}", others[0]),
            hosts=Names(tuple(others), Join.OR),
            host=host.name,
        )
    else:
        pool, _, name = base.partition("/")
        remedy = words(
            "No reachable host has it: put {name} into the pool {pool} there, then {command}.",
            name=name,
            pool=pool,
            command=texts.shell("virsh pool-refresh {}", pool),
        )
    return Objection("no-base", text, remedy)


def _most(settings: VmLifecycleSettings, snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Free bytes of memory and disk of each host that can be used."""
    found = {}
    for host in snapshot.hosts:
        pool = next(
            (each for each in host.pools if each.name == settings.pool and each.active), None
        )
        if host.up and not host.maintenance:
            found[host.name] = (max(0, snapshot.room(host.name)), pool.free if pool else 0)
    return found


def _plan(
    settings: VmLifecycleSettings,
    intent: NewVms,
    recipe: Recipe,
    placed: Sequence[PlacedVm],
    snapshot: Snapshot,
) -> Plan:
    steps = tuple(
        _step(settings, intent, recipe, each.vm, number, snapshot)
        for number, each in enumerate(placed)
    )
    vms = [each.vm for each in placed]
    unseen = [host for host in snapshot.hosts if not host.up and host.seen_at is None]
    return Plan(
        title=_title(vms),
        steps=steps if len(steps) == 1 else (CreateVms(steps),),
        risk=Risk.MEDIUM,
        blast=Blast(
            tuple(vm.name for vm in vms),
            tuple(dict.fromkeys(vm.host for vm in vms)),
            memory=sum(vm.memory for vm in vms),
            storage=sum(step.capacity for step in steps),
        ),
        reasons=tuple(
            dict.fromkeys(
                (
                    *(reason for each in placed for reason in each.reasons),
                    *_older_machines(settings, recipe, placed, snapshot),
                )
            )
        ),
        warnings=(
            *(_unknown_host(host) for host in unseen),
            *_unknown_bridges(recipe.network, vms, snapshot),
        ),
        bars=placement.bars(snapshot, [(replace(vm, host=""), vm.host) for vm in vms]),
        tags=tuple(f"{key}={value}" for key, value in recipe.tags),
        changes=changes.of(steps if len(steps) == 1 else (CreateVms(steps),), ()),
    )


def _unknown_host(host: Host) -> Reason:
    return Reason(
        "never-seen",
        words(
            "{host} has not answered since the bot started: it is not known whether it has a VM "
            "of this name.",
            host=host.name,
        ),
    )


def _unknown_bridges(network: str, vms: Iterable[Vm], snapshot: Snapshot) -> Iterator[Reason]:
    for host in (snapshot.host(name) for name in dict.fromkeys(vm.host for vm in vms)):
        if network not in host.networks | host.bridges:
            yield Reason(
                "network-unknown",
                words(
                    "Could not check that {host} has the bridge {network}: {why}.",
                    host=host.name,
                    network=network,
                    why=host.why_unread("interface"),
                ),
            )


def _step(  # noqa: PLR0917 - everything a step holds comes from these
    settings: VmLifecycleSettings,
    intent: NewVms,
    recipe: Recipe,
    vm: Vm,
    number: int,
    snapshot: Snapshot,
) -> CreateVm:
    image, host = recipe.image, snapshot.host(vm.host)
    stem, mac = f"{vm.name}-{vm.uuid[:8]}", mac_of(vm.uuid)
    address = _addresses(intent)[number] if intent.address else ""
    keys = (*settings.ssh_keys, *intent.ssh_keys)
    who = cloud_init.VmIdentity(
        vm.uuid, vm.name, mac, intent.user or image.user, keys, address, intent.gateway
    )
    user_data, vendor_data = cloud_init.files(who, intent.user_data)
    return CreateVm(
        uuid=vm.uuid,
        name=vm.name,
        host=vm.host,
        vcpus=vm.vcpus,
        vcpus_max=max(vm.vcpus, min(2 * vm.vcpus, host.cpus)),
        memory=vm.memory,
        disk=f"{settings.pool}/{stem}.qcow2",
        capacity=recipe.disk,
        base=image.base,
        full_copy=image.clone == "copy",
        seed=f"{settings.pool}/{stem}-seed.{_SEEDS[settings.seed_as]}",
        seed_as=settings.seed_as,
        meta_data=cloud_init.meta_data(who),
        user_data=user_data,
        vendor_data=vendor_data,
        network_config=cloud_init.network_config(who),
        network_kind=network_kind(host, recipe.network),
        network=recipe.network,
        mac=mac,
        machine=_machine(settings, image, host, snapshot),
        arch=image.arch,
        accelerator=settings.accelerator,
        kernel=image.kernel,
        initrd=image.initrd,
        cmdline=image.cmdline,
        os_id=image.os,
        tags=tuple(sorted((*recipe.tags, *((("address", address),) if address else ())))),
        start=intent.start,
    )


def _machine(
    settings: VmLifecycleSettings, image: CatalogueImage, host: Host, snapshot: Snapshot
) -> str:
    """The machine type of a new VM; what libvirt chooses is the newest that its own host knows."""
    if settings.machine_version == "newest":
        return image.machine
    alike = [each for each in snapshot.hosts if each.arch == host.arch]
    return machine_types.newest_common(image.machine, alike)


def _older_machines(
    settings: VmLifecycleSettings, recipe: Recipe, placed: Sequence[PlacedVm], snapshot: Snapshot
) -> Iterator[Reason]:
    """Say why VMs get an older machine type than their hosts have."""
    for host in dict.fromkeys(each.vm.host for each in placed):
        there = snapshot.host(host)
        machine = _machine(settings, recipe.image, there, snapshot)
        own = machine_types.newest(recipe.image.machine, there.machines)
        if own and machine not in {recipe.image.machine, own}:
            yield Reason(
                "machine",
                words(
                    "Machine type {machine}, the newest that all hosts know: with {newest} of "
                    "{host} it could not move to the others.",
                    machine=machine,
                    newest=own,
                    host=host,
                ),
            )


def _addresses(intent: NewVms) -> tuple[str, ...]:
    """One address for each VM, counted up from the first; none when the network has too few.

    None either where the network is not said: it would be that one address alone.
    """
    if "/" not in intent.address:
        return ()
    try:
        first = ipaddress.ip_interface(intent.address)
        found = [first.ip + number for number in range(intent.count)]
    except ValueError:
        return ()
    if any(each not in first.network for each in found):
        return ()
    return tuple(f"{each}/{first.network.prefixlen}" for each in found)


def _is_public_key(text: str) -> bool:
    """Whether a line holds a key: in base64 each begins with the length of its kind's name."""
    return any(word.startswith("AAAA") for word in text.split())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
