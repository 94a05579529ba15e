"""Whether guests can migrate from one host to another: the rules for a pair, and their names as columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from bot.domain.cluster import Pool
from bot.domain.readiness import CpuOrder, Finding, HostFacts, PairFacts
from bot.domain.words import command, duration_text
from plugins.host_check import trust
from plugins.host_check.findings import PairReport, SeenPair, Way, failed, passed, unknown, warned
from plugins.host_check.readings import is_loopback, version_text
from plugins.host_check.settings import HostCheckSettings

MIGRATION_PORTS = "49152-49215"
_FIRST_PORT = MIGRATION_PORTS.partition("-")[0]
_NAMED = 3  # of many missing things, so many are named


PairRule = Callable[[str, Way], Finding]


def report(seen: SeenPair, settings: HostCheckSettings, now: datetime) -> PairReport:
    """One direction judged by every rule; UNKNOWN throughout when a side does not answer."""
    here, there, pair = seen.source.facts, seen.target.facts, seen.facts
    if here is None or there is None or pair is None:
        why = seen.trouble or seen.source.trouble or seen.target.trouble
        findings = tuple(unknown(name, why) for name, _ in RULES)
    else:
        findings = tuple(rule(name, Way(seen, pair, here, there, settings, now)) for name, rule in RULES)
    return PairReport(seen.source.host, seen.target.host, findings)


def _cpu(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if way.pair.cpu is CpuOrder.IDENTICAL:
        return passed(name, "identical")
    if way.pair.cpu is CpuOrder.SUPERSET:
        return passed(name, f"{there.host} has all of {here.host}'s and more: guests started there may not come back")
    if way.pair.cpu is CpuOrder.UNKNOWN:
        return unknown(name, way.pair.cpu_why)
    why = way.pair.cpu_why or f"{there.host} lacks features of {here.host}"
    return failed(
        name, why, "Give guests the model of `host baseline` at their next start; host-passthrough cannot move"
    )


def _machines(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    missing = sorted(here.machines - there.machines)
    if not missing:
        return passed(name, f"all {len(here.machines)} of {here.host}")
    used = {vm.detail.machine for vm in way.seen.source.guests if vm.detail} & set(missing)
    told = _few(sorted(used) or missing)
    newer = f"QEMU {version_text(here.hypervisor_version)} or newer"
    fix = f"On {there.host}: apt-get install --only-upgrade qemu-system-x86  ({newer})"
    if used:
        return failed(name, f"{there.host} lacks what guests use: {told}", fix)
    return warned(name, f"{there.host} lacks {told}; no guest uses them now", fix)


def _ports(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    found = way.seen.answers.get("port")
    address = memory_address(way.pair, there)
    if found is None:
        return unknown(name, way.seen.no_shell)
    if found.ok or "refused" in found.out:
        return passed(name, f"{address} answers on {_FIRST_PORT} (nobody listens there between migrations)")
    if found.code == 124:
        return failed(
            name,
            f"{address}:{_FIRST_PORT} is silent: a firewall, or no way there",
            f"On {there.host}: nft insert rule inet filter input tcp dport {MIGRATION_PORTS} accept  (or: firewall-cmd "
            f"--permanent --add-port={MIGRATION_PORTS}/tcp && firewall-cmd --reload)",
        )
    return failed(
        name,
        trust.last_line(found.out) or f"exit code {found.code}",
        f"Look at the route from {here.host} to {address}",
    )


def _names(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if here.hostname == there.hostname:
        return failed(
            name, f"both call themselves “{here.hostname}”", f"On {there.host}: hostnamectl set-hostname {there.host}"
        )
    address = memory_address(way.pair, there)
    if address.startswith("localhost") or is_loopback(address):
        return failed(
            name,
            f"{there.host} tells others to reach it at “{address}”",
            f"On {there.host}: hostnamectl set-hostname {there.host}",
        )
    found = way.seen.answers.get("resolves")
    if found is None:
        return unknown(name, way.seen.no_shell)
    addresses = sorted({line.split()[0] for line in found.out.splitlines() if line.split()}) if found.ok else []
    if not addresses:
        return failed(
            name, f"{here.host} cannot resolve “{address}”", f"On {here.host}: echo 'ADDRESS {address}' >> /etc/hosts"
        )
    if any(is_loopback(each) for each in addresses):
        return failed(
            name,
            f"on {here.host}, “{address}” is {', '.join(addresses)}: itself",
            f"On {here.host}: correct “{address}” in /etc/hosts",
        )
    return passed(name, f"“{address}” is {', '.join(addresses)} on {here.host}")


def memory_address(pair: PairFacts, there: HostFacts) -> str:
    """Where a guest's memory flows: the configured address, else what the target calls itself."""
    return urlsplit(pair.migrate_data_uri).hostname or there.hostname


def _uuids(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    if here.uuid != there.uuid:
        return passed(name, "each its own")
    conf = "/etc/libvirt/libvirtd.conf && systemctl restart libvirtd"
    fix = f'On {there.host}: echo "host_uuid = \\"$(uuidgen)\\"" >> {conf}'
    return failed(name, f"both are {here.uuid}: libvirt takes them for one host", fix)


def _storage(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    active = [pool for pool in here.pools if pool.active]
    lost = [pool for pool in active if pool.shared and not _has_pool(there, pool)]
    if lost:
        pool = lost[0].name
        return failed(
            name,
            f"{there.host} lacks the shared {_few([each.name for each in lost])}",
            f"{command('virsh pool-dumpxml {}', pool)} on {here.host}; there: virsh pool-define FILE && "
            f"{command('virsh pool-start {}', pool)} && {command('virsh pool-autostart {}', pool)}",
        )
    keys = sorted(set(here.secrets) - set(there.secrets))
    if keys and any(vm.detail and vm.detail.secrets for vm in way.seen.source.guests):
        return failed(
            name,
            f"{there.host} lacks {_few(keys)}, and guests have encrypted disks",
            f"{command('virsh secret-dumpxml {}', keys[0])} on {here.host}; there: virsh secret-define FILE && "
            f"{command('virsh secret-set-value {} --file=VALUE', keys[0])}",
        )
    apart = [
        pool
        for pool in active
        if not pool.shared and not any(other.path == pool.path and other.active for other in there.pools)
    ]
    if apart:
        pool, path = apart[0].name, apart[0].path
        return warned(
            name,
            f"{there.host} has no pool at {_few([each.path for each in apart])}: not even copies of local disks fit",
            f"On {there.host}: {command('virsh pool-define-as {} dir --target={}', pool, path)} && "
            f"{command('virsh pool-build {}', pool)} && {command('virsh pool-start {}', pool)}",
        )
    shared = [pool.name for pool in active if pool.shared]
    return passed(name, f"shared: {_few(shared)}" if shared else "only local pools, at the same paths: --copy-storage")


def _has_pool(there: HostFacts, pool: Pool) -> bool:
    return any((each.name, each.kind, each.active) == (pool.name, pool.kind, True) for each in there.pools)


def _bridges(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    nets = {net.name for net in there.networks if net.active}
    used = [(kind, source) for kind, source in way.seen.nics if source]
    lost = sorted(
        {
            f"{kind} {source}"
            for kind, source in used
            if (kind == "bridge" and source in here.bridges and source not in there.bridges)
            or (kind == "network" and source not in nets)
        }
    )
    if lost:
        kind, _, source = lost[0].partition(" ")
        fix = (
            command("virsh net-start {}", source)
            if kind == "network"
            else f"{command('ip link add {} type bridge', source)} && {command('ip link set {} up', source)}"
        )
        return failed(
            name,
            f"{there.host} lacks what guests are plugged into: {_few(lost)}",
            f"On {there.host}: {fix}  (and make it last)",
        )
    idle = sorted(here.bridges - there.bridges)
    if idle:
        return warned(
            name,
            f"{there.host} lacks {_few(idle)}; no guest is plugged into it now",
            f"On {there.host}: ip link add {idle[0]} type bridge",
        )
    return passed(name, _few(sorted(here.bridges & there.bridges)) or "nothing to share")


def _versions(name: str, way: Way) -> Finding:
    here, there = way.here, way.there
    told = f"QEMU {version_text(here.hypervisor_version)} → {version_text(there.hypervisor_version)}, libvirt "
    told += f"{version_text(here.libvirt_version)} → {version_text(there.libvirt_version)}"
    if here.arch != there.arch:
        return failed(name, f"{here.arch} → {there.arch}", "Guests cannot move between architectures")
    if there.hypervisor_version < here.hypervisor_version:
        fix = f"On {there.host}: apt-get update && apt-get install --only-upgrade qemu-system-x86 libvirt-daemon-system"
        return warned(name, f"{told}: to an older one is not promised to work", fix)
    return passed(name, told)


def _clocks(name: str, way: Way) -> Finding:
    one, other = way.seen.source.clock, way.seen.target.clock
    if one is None or other is None:
        return unknown(name, way.seen.source.no_shell if one is None else way.seen.target.no_shell)
    error = way.seen.source.clock_error + way.seen.target.clock_error
    apart = max(0.0, abs(one - other) - error)
    if apart > way.settings.clock_fail_seconds:
        return failed(name, f"{duration_text(apart)} apart", "chronyc makestep  (on both)")
    if apart > way.settings.clock_warn_seconds:
        return warned(name, f"{duration_text(apart)} apart", "chronyc makestep  (on both)")
    return passed(name, f"within {duration_text(way.settings.clock_warn_seconds + error)}")


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
    ("credentials", trust.credentials),
    ("encryption", trust.encryption),
)


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
