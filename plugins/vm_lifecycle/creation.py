"""Pure: planning new guests: what they are made of, where each goes and why, or everything that stands against it."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

from bot.domain import placement
from bot.domain.cluster import Host, Pool, Snapshot, Vm, VmState
from bot.domain.errors import UnknownNameError
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Reason, Refused, Risk
from bot.domain.units import seconds_of
from plugins.vm_lifecycle import cards, cloud_init, texts
from plugins.vm_lifecycle.intents import NewVms
from plugins.vm_lifecycle.settings import Image, VmLifecycleSettings
from plugins.vm_lifecycle.steps import CreateVm, CreateVms

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A label of a host name: RFC 1123, section 2.1."""
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
APART, TOGETHER, PIN = "apart", "together", "pin"
"""Tags: bearers of one value are spread over hosts, or kept on one; a guest stays on hosts (``host-a,host-b``)."""
_NAMESPACE = uuid.UUID("6f2c4a52-7a04-4f0e-9f63-6d9a3a0d9f1c")
# A writable disk must be qcow2, or the guest has no snapshots
_SEEDS = {"disk": "qcow2", "cdrom": "iso"}
_NAMED_HOSTS = 4  # hosts ruled out that a plan names


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every guest of one command has alike.

    Sizes in bytes; ``bases`` as in the intent, by host.
    """

    image: Image
    bases: Mapping[str, int]
    cpus: int
    memory: int
    disk: int
    network: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one guest goes and why."""

    vm: Vm
    reasons: tuple[Reason, ...]


def plan(
    settings: VmLifecycleSettings, intent: NewVms, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The guests that ``intent`` asks for, or everything that stands against them at once."""
    rules = tuple(rules)
    title = cards.create_title(names(intent))
    slips = [*_slips(settings, intent, snapshot)]
    recipe = _recipe(settings, intent, snapshot)
    if slips or isinstance(recipe, tuple):
        return Refused(
            cards.not_created(title), (*slips, *(recipe if isinstance(recipe, tuple) else ()))
        )
    placed: list[Placed] = []
    so_far = snapshot
    for name in names(intent):
        found = _place(settings, intent, recipe, _draft(name, recipe, snapshot), so_far, rules)
        if isinstance(found, tuple):
            return Refused(cards.not_created(title), found)
        placed.append(found)
        so_far = _with(so_far, found.vm, settings.pool, recipe.disk)
    return _plan(settings, intent, recipe, placed, snapshot)


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
    """Each guest may still go where it was planned to, and nobody has taken its name or UUID."""
    rules, against = tuple(rules), list(_taken(names(intent), snapshot))
    so_far = snapshot
    for guest in guests(planned):
        against += [cards.uuid_taken(vm) for vm in snapshot.vms if vm.uuid == guest.uuid]
        vm = _vm(guest.uuid, guest.name, guest.host, guest.vcpus, guest.memory, guest.tags)
        against += _against(settings, guest.network, guest.capacity, vm, so_far, rules)
        against += _base_objections(
            guest.base, dict(intent.bases), guest.capacity, snapshot.host(guest.host)
        )
        so_far = _with(so_far, vm, settings.pool, guest.capacity)
    return tuple(dict.fromkeys(against))


def _with(seen: Snapshot, vm: Vm, pool: str, disk: int) -> Snapshot:
    """The cluster once this guest is there too: less memory, and less room in the pool."""

    def less(host: Host, each: Pool) -> Pool:
        takes = each.name == pool and (host.name == vm.host or each.shared)
        return replace(each, free=each.free - disk) if takes else each

    hosts = tuple(
        replace(host, pools=tuple(less(host, each) for each in host.pools)) for host in seen.hosts
    )
    return replace(seen, hosts=hosts, vms=(*seen.vms, replace(vm, state=VmState.RUNNING)))


def guests(planned: Plan) -> tuple[CreateVm, ...]:
    """The guests of a plan."""
    found = (step.guests if isinstance(step, CreateVms) else (step,) for step in planned.steps)
    return tuple(each for group in found for each in group if isinstance(each, CreateVm))


def name_slips(name: str) -> Iterator[Objection]:
    """What is wrong with a name."""
    if not NAME.fullmatch(name):
        yield cards.bad_name(name, re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:63])


def _taken(wanted: Sequence[str], snapshot: Snapshot) -> Iterator[Objection]:
    for vm in snapshot.vms:
        if vm.name in wanted:
            yield cards.name_taken(vm, snapshot.host(vm.host))


name_taken = _taken


def network_kind(host: Host, network: str) -> str:
    """``network``, ``bridge``, or '' when the host has none of that name."""
    if network in host.networks:
        return "network"
    return "bridge" if network in host.bridges else ""


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range from a UUID."""
    return f"52:54:00:{identity[:2]}:{identity[2:4]}:{identity[4:6]}"


def identity(name: str, snapshot: Snapshot) -> str:
    """A new UUID; the same for the same name at the same moment, so that planning stays a function."""
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
    yield from texts.reserved(dict(intent.tags), intent.name, made=True)
    yield from name_slips(names(intent)[-1])
    yield from _taken(names(intent), snapshot)
    if intent.count > settings.most:
        yield cards.too_many(intent.count, settings.most)
    if intent.user and not USER.fullmatch(intent.user):
        yield cards.bad_user(intent.user)
    if intent.user_data and not intent.user_data.startswith("#"):
        yield cards.bad_user_data()
    if intent.address and not _addresses(intent):
        yield cards.bad_address(intent.address, intent.count)
    if intent.gateway and not _is_address(intent.gateway):
        yield cards.bad_gateway(intent.gateway)
    if intent.host:
        try:
            snapshot.host(intent.host)
        except UnknownNameError as error:
            yield cards.unknown("unknown-host", error)


def _image_name(settings: VmLifecycleSettings, intent: NewVms) -> str:
    only = next(iter(settings.images)) if len(settings.images) == 1 else ""
    return intent.image or settings.default_image or only


def image(settings: VmLifecycleSettings, intent: NewVms) -> Image | None:
    """The image of the catalogue that is asked for; None when there is none of that name."""
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
        against.append(cards.no_image(chosen, settings.images))
    if intent.size and size is None:
        against.append(cards.no_named_size(intent.size, settings.sizes))
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
    if recipe.memory < found.least_memory:
        against.append(cards.too_little("memory", recipe.memory, found.least_memory, chosen))
    if recipe.disk < found.least_disk:
        against.append(cards.too_little("disk", recipe.disk, found.least_disk, chosen))
    return tuple(against) or recipe


def _tags(intent: NewVms, image: str, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """What was asked for; the image; of several the group that spreads them."""
    apart = {APART: intent.name} if intent.count > 1 else {}
    return with_end({"image": image, **apart, **dict(intent.tags)}.items(), snapshot)


def _draft(name: str, recipe: Recipe, snapshot: Snapshot) -> Vm:
    return _vm(identity(name, snapshot), name, "", recipe.cpus, recipe.memory, recipe.tags)


def _vm(  # noqa: PLR0917 - what a placement rule looks at
    identity: str, name: str, host: str, vcpus: int, memory: int, tags: tuple[tuple[str, str], ...]
) -> Vm:
    """A guest that does not exist yet, for the rules; it is off, so nobody asks whether it can move."""
    tagged = MappingProxyType(dict(tags))
    return Vm(identity, name, host, VmState.SHUT_OFF, vcpus, memory, memory_max=memory, tags=tagged)


def _place(  # noqa: PLR0917 - one guest among hosts and rules
    settings: VmLifecycleSettings,
    intent: NewVms,
    recipe: Recipe,
    vm: Vm,
    snapshot: Snapshot,
    rules: tuple[Rule, ...],
) -> Placed | tuple[Objection, ...]:
    """The best host that may take it, or why none may and what would fit."""
    hosts = [intent.host] if intent.host else sorted(host.name for host in snapshot.hosts)
    objections = {
        name: (
            *_against(
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
        return (*_nowhere(recipe, objections, snapshot), cards.would_fit(_most(settings, snapshot)))
    best = replace(vm, host=legal[0])
    out = [objections[name][0] for name in hosts if objections[name]]
    reasons = [cards.asked_host(best) if intent.host else _why(best, legal, snapshot)]
    reasons += [cards.ruled_out(each) for each in out[:_NAMED_HOSTS]]
    return Placed(best, tuple(reasons))


def _nowhere(
    recipe: Recipe, objections: Mapping[str, tuple[Objection, ...]], snapshot: Snapshot
) -> Iterator[Objection]:
    """What stands against every host: what is the same everywhere once, then the first hosts' own."""
    up = [snapshot.host(name) for name in objections if snapshot.host(name).up]
    everywhere: set[str] = set()
    if len(up) > 1:
        everywhere = set.intersection(
            *({each.code for each in objections[host.name]} for host in up)
        )
    if "network" in everywhere:
        yield cards.no_network_anywhere(recipe.network, up)
    if "no-base" in everywhere:
        yield cards.no_base_anywhere(recipe.image.base)
    said = everywhere & {"network", "no-base"}
    own = {
        name: [each for each in found if each.code not in said]
        for name, found in objections.items()
    }
    named = [name for name in own if own[name]]
    yield from dict.fromkeys(each for name in named[:_NAMED_HOSTS] for each in own[name])
    if len(named) > _NAMED_HOSTS:
        yield cards.more_hosts(len(named) - _NAMED_HOSTS)


def _why(vm: Vm, legal: Sequence[str], snapshot: Snapshot) -> Reason:
    full = placement.fullness(snapshot, snapshot.host(vm.host), vm.memory)
    return cards.chosen(vm, full, len(legal), _members(vm, vm.host, snapshot))


def _members(vm: Vm, host: str, snapshot: Snapshot) -> int:
    """How many of its anti-affinity group the host has."""
    group = vm.tags.get(APART)
    return sum(1 for each in snapshot.on(host) if group and each.tags.get(APART) == group)


def _against(  # noqa: PLR0917 - one guest on one host
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
        found.append(cards.too_many_cpus(vm, host))
    if not network_kind(host, network):
        found.append(cards.no_network(network, host))
    return (*found, *_bound(vm, snapshot), *pool_objections(settings.pool, disk, host))


def _bound(vm: Vm, snapshot: Snapshot) -> Iterator[Objection]:
    """What its own tags say against a host.

    Spreading (``apart``) is a wish; there may be fewer hosts than guests.
    """
    pinned = {name.strip() for name in vm.tags.get(PIN, "").replace("+", ",").split(",")} - {""}
    # Other words pin a guest to where it is, wherever that will be
    known = {host.name for host in snapshot.hosts}
    if pinned and pinned <= known and vm.host not in pinned:
        yield cards.pinned_elsewhere(vm, pinned)
    group = vm.tags.get(TOGETHER)
    homes = {each.host for each in snapshot.vms if group and each.tags.get(TOGETHER) == group}
    if homes and vm.host not in homes:
        yield cards.together_elsewhere(vm, homes)


def pool_objections(wanted: str, disk: int, host: Host) -> Iterator[Objection]:
    """What keeps ``disk`` bytes from being made in a pool of a host."""
    pool = next((each for each in host.pools if each.name == wanted), None)
    if pool is None or not pool.active:
        yield cards.no_pool(wanted, host, inactive=pool is not None)
    elif disk > pool.free:
        yield cards.no_space(disk, pool, host)


def _base_objections(
    base: str, sizes: Mapping[str, int], disk: int, host: Host
) -> Iterator[Objection]:
    """What keeps a disk from being made of the image there; hosts that were not asked are given the benefit."""
    there = sizes.get(host.name)
    if there == 0:
        yield cards.no_base(base, host, [name for name, found in sizes.items() if found])
    elif there is not None and there > disk:
        yield cards.too_little("disk", disk, there, base)


def _most(settings: VmLifecycleSettings, snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Bytes of memory and disk that each host that could be used has left."""
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
    placed: Sequence[Placed],
    snapshot: Snapshot,
) -> Plan:
    steps = tuple(
        _step(settings, intent, recipe, each.vm, number, snapshot)
        for number, each in enumerate(placed)
    )
    vms = [each.vm for each in placed]
    unseen = [host for host in snapshot.hosts if not host.up and host.seen_at is None]
    return Plan(
        title=cards.create_title([vm.name for vm in vms], vms[0].host if len(vms) == 1 else ""),
        steps=steps if len(steps) == 1 else (CreateVms(steps),),
        risk=Risk.MEDIUM,
        blast=Blast(
            tuple(vm.name for vm in vms), tuple(dict.fromkeys(vm.host for vm in vms)),
            storage=sum(step.capacity for step in steps),
        ),
        reasons=tuple(dict.fromkeys(reason for each in placed for reason in each.reasons)),
        warnings=tuple(cards.never_seen(host) for host in unseen),
        bars=placement.bars(snapshot, [(replace(vm, host=""), vm.host) for vm in vms]),
        tags=tuple(f"{key}={value}" for key, value in recipe.tags),
    )  # fmt: skip


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
    who = cloud_init.Identity(
        vm.uuid, vm.name, mac, intent.user or image.user, keys, address, intent.gateway
    )
    user_data, vendor_data = cloud_init.files(who, intent.user_data)
    return CreateVm(
        uuid=vm.uuid, name=vm.name, host=vm.host, vcpus=vm.vcpus, memory=vm.memory,
        vcpus_max=max(vm.vcpus, min(2 * vm.vcpus, host.cpus)),
        disk=f"{settings.pool}/{stem}.qcow2", capacity=recipe.disk, base=image.base, full_copy=image.clone == "copy",
        seed=f"{settings.pool}/{stem}-seed.{_SEEDS[settings.seed_as]}", seed_as=settings.seed_as,
        meta_data=cloud_init.meta_data(who), user_data=user_data, vendor_data=vendor_data,
        network_config=cloud_init.network_config(who),
        network_kind=network_kind(host, recipe.network), network=recipe.network, mac=mac, machine=image.machine,
        arch=image.arch, accelerator=settings.accelerator, kernel=image.kernel, initrd=image.initrd,
        cmdline=image.cmdline, os_id=image.os,
        tags=tuple(sorted((*recipe.tags, *((("address", address),) if address else ())))), start=intent.start,
    )  # fmt: skip


def _addresses(intent: NewVms) -> tuple[str, ...]:
    """One address for each guest, counted up from the first; none when they make no sense."""
    try:
        first = ipaddress.ip_interface(intent.address)
        found = [first.ip + number for number in range(intent.count)]
    except ValueError:
        return ()
    if any(each not in first.network for each in found):
        return ()
    return tuple(f"{each}/{first.network.prefixlen}" for each in found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
