"""Whether VMs can migrate from one host to another: the rules for a pair, and their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from bot.domain.cluster import Pool
from bot.domain.message import Code, Duration, Names, Words, words
from bot.domain.readiness import CpuOrder, Finding, HostFacts, PairFacts
from bot.domain.words import command as quoted
from plugins.host_check import tls_rules
from plugins.host_check.findings import (
    PairReport,
    SeenPair,
    Way,
    command,
    failure,
    good,
    unknown,
    warning,
)
from plugins.host_check.readings import is_loopback, version_text
from plugins.host_check.settings import HostCheckSettings

MIGRATION_PORTS = "49152-49215"
_FIRST_PORT = MIGRATION_PORTS.partition("-")[0]
_BRIDGES = ("interface", "")  # the part of a host whose reading lists its bridges
_NAMED = 3  # of many missing things, so many are named


PairRule = Callable[[str, Way], Finding]


def report(seen: SeenPair, settings: HostCheckSettings, now: datetime) -> PairReport:
    """One direction judged by every rule; UNKNOWN throughout when a side does not answer."""
    here, there, pair = seen.source.facts, seen.target.facts, seen.facts
    if here is None or there is None or pair is None:
        why = seen.trouble or seen.source.trouble or seen.target.trouble
        findings = tuple(unknown(name, why) for name, _ in RULES)
    else:
        findings = tuple(
            rule(name, Way(seen, pair, here, there, settings, now)) for name, rule in RULES
        )
    return PairReport(seen.source.host, seen.target.host, findings)


def _cpu(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if way.pair.cpu is CpuOrder.IDENTICAL:
        return good(name, words("identical"))
    if way.pair.cpu is CpuOrder.SUPERSET:
        told = words(
            "{target} has all of {source}'s and more: VMs started there may not come back",
            target=there.host,
            source=here.host,
        )
        return good(name, told)
    if way.pair.cpu is CpuOrder.UNKNOWN:
        return unknown(name, way.pair.cpu_why)
    why = way.pair.cpu_why or words(
        "{target} lacks features of {source}", target=there.host, source=here.host
    )
    fix = words(
        "Give VMs the model of `/kvm host baseline` at their next start; host-passthrough cannot "
        "move."
    )
    return failure(name, why, fix)


def _machines(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    missing = sorted(here.machines - there.machines)
    if why := here.why_unread("capabilities") or there.why_unread("capabilities"):
        return unknown(name, why)
    if not missing:
        return good(
            name, words("all {count} of {source}", count=len(here.machines), source=here.host)
        )
    used = {vm.detail.machine for vm in way.seen.source.guests if vm.detail} & set(missing)
    told = _few(sorted(used) or missing)
    newer = words("QEMU {version} or newer", version=version_text(here.hypervisor_version))
    fix = command("apt-get install --only-upgrade qemu-system-x86", newer, host=there.host)
    if used:
        return failure(
            name,
            words("{target} lacks what VMs use: {machines}", target=there.host, machines=told),
            fix,
        )
    return warning(
        name,
        words("{target} lacks {machines}; no VM uses them now", target=there.host, machines=told),
        fix,
    )


def _ports(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    found = way.seen.answers.get("port")
    address = memory_address(way.pair, there)
    if found is None:
        return unknown(name, way.seen.no_shell)
    if found.ok or "refused" in found.out:
        told = words(
            "{address} answers on {port} (nothing listens there between migrations)",
            address=address,
            port=_FIRST_PORT,
        )
        return good(name, told)
    if found.code == 124:
        reload = (
            f"firewall-cmd --permanent --add-port={MIGRATION_PORTS}/tcp && firewall-cmd --reload"
        )
        return failure(
            name,
            words(
                "{address} does not answer on {port}: a firewall, or no route",
                address=address,
                port=_FIRST_PORT,
            ),
            command(
                f"nft insert rule inet filter input tcp dport {MIGRATION_PORTS} accept",
                words("or: {command}", command=Code(reload)),
                host=there.host,
            ),
        )
    fix = words("Look at the route from {source} to {address}.", source=here.host, address=address)
    return failure(
        name, tls_rules.last_line(found.out) or words("exit code {code}", code=found.code), fix
    )


def _names(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    rename = command(quoted("hostnamectl set-hostname {}", there.host), host=there.host)
    if here.hostname == there.hostname:
        return failure(name, words("both call themselves “{name}”", name=here.hostname), rename)
    address = memory_address(way.pair, there)
    if address.startswith("localhost") or is_loopback(address):
        told = words(
            "{target} tells others to reach it at “{address}”", target=there.host, address=address
        )
        return failure(name, told, rename)
    found = way.seen.answers.get("resolves")
    if found is None:
        return unknown(name, way.seen.no_shell)
    addresses = _first_words(found.out) if found.ok else []
    if not addresses:
        told = words("{source} cannot resolve “{name}”", source=here.host, name=address)
        return failure(
            name, told, command(f"echo 'ADDRESS {address}' >> /etc/hosts", host=here.host)
        )
    if any(is_loopback(each) for each in addresses):
        told = words(
            "on {source}, “{name}” is {addresses}: itself",
            source=here.host,
            name=address,
            addresses=addresses,
        )
        return failure(
            name,
            told,
            words("On {source}: correct “{name}” in `/etc/hosts`.", source=here.host, name=address),
        )
    told = words(
        "“{name}” is {addresses} on {source}", name=address, addresses=addresses, source=here.host
    )
    return good(name, told)


def memory_address(pair: PairFacts, there: HostFacts) -> str:
    """Where a guest's memory flows: the configured address, else what the target calls itself."""
    return urlsplit(pair.migrate_data_uri).hostname or there.hostname


def _uuids(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if not (here.uuid and there.uuid):
        why = here.why_unread("capabilities") or there.why_unread("capabilities")
        return unknown(name, why or words("libvirt tells no host UUID"))
    if here.uuid != there.uuid:
        return good(name, words("each its own"))
    conf = "/etc/libvirt/libvirtd.conf && systemctl restart libvirtd"
    fix = command(f'echo "host_uuid = \\"$(uuidgen)\\"" >> {conf}', host=there.host)
    return failure(
        name, words("both are {uuid}: libvirt takes them for one host", uuid=here.uuid), fix
    )


def _first_words(out: str) -> list[str]:
    return sorted({line.split()[0] for line in out.splitlines() if line.split()})


def _storage(name: str, way: Way) -> Finding:
    here = way.here
    active = [pool for pool in here.pools if pool.active]
    worst = (
        _shared_pools(name, way, active) or _secrets(name, way) or _local_pools(name, way, active)
    )
    if worst is not None:
        return worst
    shared = [pool.name for pool in active if pool.shared]
    if shared:
        return good(name, words("shared: {pools}", pools=_few(shared)))
    return good(name, words("only local pools, at the same paths: `--copy-storage`"))


def _shared_pools(name: str, way: Way, active: Sequence[Pool]) -> Finding | None:
    """That the target lacks shared pools of the source."""
    here, there = way.here, way.there
    lost = [pool for pool in active if pool.shared and not _has_pool(there, pool)]
    if not lost:
        return None
    if why := there.why_unread("pool"):
        return unknown(name, why)
    pool = lost[0].name
    start, boot = quoted("virsh pool-start {}", pool), quoted("virsh pool-autostart {}", pool)
    told = words(
        "{target} lacks the shared {pools}",
        target=there.host,
        pools=_few([each.name for each in lost]),
    )
    show = quoted("virsh pool-dumpxml {}", pool)
    fix = _definition_copy(here, show, there, f"virsh pool-define FILE && {start} && {boot}")
    return failure(name, told, fix)


def _secrets(name: str, way: Way) -> Finding | None:
    """That the target lacks secrets, where VMs have encrypted disks."""
    here, there = way.here, way.there
    keys = sorted(set(here.secrets) - set(there.secrets))
    if not keys or not any(vm.detail and vm.detail.secrets for vm in way.seen.source.guests):
        return None
    if why := there.why_unread("secret"):
        return unknown(name, why)
    value = quoted("virsh secret-set-value {} --file=VALUE", keys[0])
    told = words(
        "{target} lacks {secrets}, and VMs have encrypted disks",
        target=there.host,
        secrets=_few(keys),
    )
    show = quoted("virsh secret-dumpxml {}", keys[0])
    fix = _definition_copy(here, show, there, f"virsh secret-define FILE && {value}")
    return failure(name, told, fix)


def _local_pools(name: str, way: Way, active: Sequence[Pool]) -> Finding | None:
    """That the target has no pool at the paths of the source's local ones."""
    there = way.there
    paths = {other.path for other in there.pools if other.active}
    apart = [pool for pool in active if not pool.shared and pool.path not in paths]
    if not apart:
        return None
    if why := there.why_unread("pool"):
        return unknown(name, why)
    pool, path = apart[0].name, apart[0].path
    told = words(
        "{target} has no pool at {paths}: not even copies of local disks fit",
        target=there.host,
        paths=_few([each.path for each in apart]),
    )
    lines = (
        quoted("virsh pool-define-as {} dir --target={}", pool, path),
        quoted("virsh pool-build {}", pool),
        quoted("virsh pool-start {}", pool),
    )
    return warning(name, told, command(" && ".join(lines), host=there.host))


def _definition_copy(here: HostFacts, show: str, there: HostFacts, define: str) -> Words:
    """What one host has is defined on the other."""
    return words(
        "On {source}: {show}; on {target}: {define}",
        source=here.host,
        show=Code(show),
        target=there.host,
        define=Code(define),
    )


def _has_pool(there: HostFacts, pool: Pool) -> bool:
    return any(
        (each.name, each.kind, each.active) == (pool.name, pool.kind, True) for each in there.pools
    )


def _bridges(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if why := next((each.why for each in there.unread if (each.kind, each.name) == _BRIDGES), ""):
        return unknown(name, why)
    if lost := _lacking(way):
        kind, source = lost[0]
        if kind == "network" and (why := there.why_unread("network")):
            return unknown(name, why)
        add = quoted("ip link add {} type bridge", source)
        bridge = f"{add} && {quoted('ip link set {} up', source)}"
        line = quoted("virsh net-start {}", source) if kind == "network" else bridge
        fix = command(line, words("and make it last"), host=there.host)
        told = words(
            "{target} lacks what VMs are plugged into: {lacking}",
            target=there.host,
            lacking=_few([" ".join(each) for each in lost]),
        )
        return failure(name, told, fix)
    idle = sorted(here.bridges - there.bridges)
    if idle:
        told = words(
            "{target} lacks {bridges}; no VM is plugged into it now",
            target=there.host,
            bridges=_few(idle),
        )
        return warning(
            name, told, command(quoted("ip link add {} type bridge", idle[0]), host=there.host)
        )
    both = sorted(here.bridges & there.bridges)
    return good(name, _few(both).line if both else words("nothing to share"))


def _lacking(way: Way) -> list[tuple[str, str]]:
    """Kind and name of the bridges and networks of VMs that the target has not."""
    nets = {net.name for net in way.there.networks if net.active}
    lost_bridges = way.here.bridges - way.there.bridges
    used = {(kind, source) for kind, source in way.seen.nics if source}
    return sorted(
        (kind, source)
        for kind, source in used
        if (kind == "bridge" and source in lost_bridges)
        or (kind == "network" and source not in nets)
    )


def _versions(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    qemu = f"{version_text(here.hypervisor_version)} → {version_text(there.hypervisor_version)}"
    libvirt = f"{version_text(here.libvirt_version)} → {version_text(there.libvirt_version)}"
    told = f"QEMU {qemu}, libvirt {libvirt}"
    if here.arch != there.arch:
        return failure(
            name, f"{here.arch} → {there.arch}", words("VMs cannot move between architectures.")
        )
    if why := here.why_unread("qemu-version") or there.why_unread("qemu-version"):
        return unknown(name, why)
    if there.hypervisor_version < here.hypervisor_version:
        line = (
            "apt-get update && apt-get install --only-upgrade qemu-system-x86 libvirt-daemon-system"
        )
        why = words("{versions}: migration to an older version may fail", versions=told)
        return warning(name, why, command(line, host=there.host))
    return good(name, told)


def _clocks(name: str, way: Way) -> Finding:
    one, other = way.seen.source.clock, way.seen.target.clock
    if one is None or other is None:
        return unknown(name, way.seen.source.no_shell if one is None else way.seen.target.no_shell)
    error = way.seen.source.clock_error + way.seen.target.clock_error
    apart = max(0.0, abs(one - other) - error)
    both = command("chronyc makestep", words("on both"))
    if apart > way.settings.clock_fail_seconds:
        return failure(name, words("{time} apart", time=Duration(apart)), both)
    if apart > way.settings.clock_warn_seconds:
        return warning(name, words("{time} apart", time=Duration(apart)), both)
    return good(
        name, words("within {time}", time=Duration(way.settings.clock_warn_seconds + error))
    )


RULES: tuple[tuple[str, PairRule], ...] = (
    ("CPU", _cpu),
    ("machine types", _machines),
    ("migration ports", _ports),
    ("names", _names),
    ("UUIDs", _uuids),
    ("storage", _storage),
    ("bridges", _bridges),
    ("versions", _versions),
    ("clocks", _clocks),
    ("credentials", tls_rules.credentials),
    ("encryption", tls_rules.encryption),
)


def _few(names: list[str]) -> Names:
    return Names(tuple(names), most=_NAMED)
