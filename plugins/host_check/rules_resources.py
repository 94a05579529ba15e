"""Storage, networks, memory, time and versions of a host, and whether they survive a reboot."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Pool
from bot.domain.message import Duration, Message, Names, Percent, Size, join, words
from bot.domain.readiness import Finding, Net
from bot.domain.unread import Unread
from bot.domain.words import command as quoted
from bot.domain.words import is_older, virsh_name
from plugins.host_check.findings import Case, Seen, command, failure, good, unknown, warning
from plugins.host_check.readings import Mode, is_loopback, mode, version_text
from plugins.host_check.settings import HostCheckSettings

_CHRONY = command("apt-get install chrony && systemctl enable --now chrony")

ANSWERS = "libvirt"  # the check that a host answers at all


def answers(case: Case) -> Iterator[Finding]:
    """Whether libvirt, and the shell where one is configured, answer at all."""
    seen = case.seen
    if seen.facts is None:
        yield failure(
            ANSWERS,
            seen.trouble or words("does not answer"),
            command("systemctl status libvirtd virtqemud"),
        )
    else:
        hardware = seen.facts.hardware
        yield good(
            ANSWERS,
            words("answers on {hardware}", hardware=hardware) if hardware else words("answers"),
        )
    if seen.shell:
        user = seen.text("user")
        yield good("SSH", words("as {user}", user=user) if user else words("as an unnamed user"))
    else:
        yield unknown("SSH", seen.no_shell, seen.shell_fix)


_DAEMONS = {
    "interface": "virtinterfaced",
    "network": "virtnetworkd",
    "pool": "virtstoraged",
    "secret": "virtsecretd",
}
_DRIVERS = {
    "interface": "libvirt-daemon-driver-interface",
    "network": "libvirt-daemon-driver-network",
    "pool": "libvirt-daemon-driver-storage",
    "secret": "libvirt-daemon-driver-secret",
}
_DRIVERS_APART = 10_000_000
"""Debian has them in packages of their own since 13 (libvirt 11); 12 (libvirt 9) had not."""
_LOOKS = {"interface": "iface-dumpxml", "network": "net-dumpxml", "pool": "pool-dumpxml"}


def unread_parts(case: Case) -> Iterator[Finding]:
    """Parts of the host that libvirt could not read; the rest of the host is known."""
    seen = case.seen
    for each in seen.facts.unread if seen.facts else ():
        name = f"reading {each.kind} {each.name or 'all'}"
        label = words("reading {part}", part=each.what)
        yield warning(name, each.why, _look_for(seen, each), label)
    for vm in seen.guests:
        if vm.problem:
            label = words("reading VM {vm}", vm=vm.name)
            yield warning(
                f"reading VM {vm.name}",
                vm.problem,
                command(quoted("virsh dumpxml {}", virsh_name(vm))),
                label,
            )


def _look_for(seen: Seen, part: Unread) -> Message:
    """The command that mends it or shows more, '' where there is none."""
    if part.name:
        return (
            command(quoted(f"virsh {_LOOKS[part.kind]} {{}}", part.name))
            if part.kind in _LOOKS
            else ""
        )
    daemon, driver = _DAEMONS.get(part.kind, ""), _DRIVERS.get(part.kind, "")
    if daemon and mode(seen) is Mode.MODULAR:
        return command(f"systemctl enable --now {daemon}.socket")
    if driver and seen.facts and seen.facts.libvirt_version >= _DRIVERS_APART:
        return command(f"apt-get install {driver} && systemctl restart libvirtd")
    return ""


def versions(case: Case) -> Iterator[Finding]:
    """Libvirt, QEMU and kernel."""
    seen = case.seen
    facts = seen.facts
    if facts is None:
        yield unknown("versions", seen.trouble)
        return
    named = (
        ("libvirt", version_text(facts.libvirt_version)),
        ("QEMU", version_text(facts.hypervisor_version)),
        ("Linux", seen.text("kernel")),
    )
    told = Names(
        (
            *(f"{name} {version}" for name, version in named if version),
            *filter(None, (seen.text("os"),)),
        )
    )
    old = is_older(facts.libvirt_version, case.settings.oldest_libvirt) or is_older(
        facts.hypervisor_version, case.settings.oldest_qemu
    )
    if why := facts.why_unread("libvirt-version") or facts.why_unread("qemu-version"):
        yield unknown("versions", why)
    elif old:
        yield warning(
            "versions",
            words("{versions}: too old for some of what is done here", versions=told),
            command("apt-get update && apt-get full-upgrade"),
        )
    else:
        yield good("versions", told.line)


def identity(case: Case) -> Iterator[Finding]:
    """The name that a host gives itself, which it tells other hosts in a migration."""
    seen = case.seen
    facts, name = seen.facts, "host name"
    if facts is None:
        yield unknown(name, seen.trouble)
        return
    if not facts.hostname and (why := facts.why_unread("host-name")):
        yield unknown(name, why)
        return
    if facts.hostname.startswith("localhost") or not facts.hostname:
        yield failure(
            name,
            words("it calls itself “{name}”", name=facts.hostname),
            command(f"hostnamectl set-hostname {seen.host}"),
        )
        return
    own = {line.split()[0] for line in seen.text("own-address").splitlines() if line.split()}
    if own and all(is_loopback(address) for address in own):
        yield warning(
            name,
            words(
                "{name} resolves to {addresses} on the host itself",
                name=facts.hostname,
                addresses=sorted(own),
            ),
            words(
                "In `/etc/hosts`, give {name} the host's own address instead of `127.0.1.1`.",
                name=facts.hostname,
            ),
        )
    else:
        yield good(name, facts.hostname)


def pools(case: Case) -> Iterator[Finding]:
    """Storage pools: running, started at boot, with room."""
    seen = case.seen
    if seen.facts is None:
        yield unknown("storage pools", seen.trouble)
        return
    if not seen.facts.pools and not seen.facts.why_unread("pool"):
        make = (
            "virsh pool-define-as default dir --target /var/lib/libvirt/images"
            " && virsh pool-build default"
        )
        fix = command(f"{make} && virsh pool-start default && virsh pool-autostart default")
        yield warning("storage pools", words("none"), fix)
    for pool in seen.facts.pools:
        yield _pool(pool, case.settings)


def _pool(pool: Pool, settings: HostCheckSettings) -> Finding:
    name, label = f"pool {pool.name}", words("pool {pool}", pool=pool.name)
    kind = (
        words("{kind}, shared", kind=pool.kind)
        if pool.shared
        else words("{kind}, local", kind=pool.kind)
    )
    if not pool.active:
        fix = command(quoted("virsh pool-start {}", pool.name))
        return warning(name, words("{pool}, not running", pool=kind), fix, label)
    share = pool.free / pool.capacity if pool.capacity else 1.0
    told = words(
        "{pool}, {free} of {size} free ({share})",
        pool=kind,
        free=Size(pool.free),
        size=Size(pool.capacity),
        share=Percent(share),
    )
    note = words("move volumes, or make the pool larger")
    room = command(quoted("virsh vol-list {} --details", pool.name), note)
    if share < settings.pool_free_fail:
        return failure(name, told, room, label)
    if share < settings.pool_free_warn:
        return warning(name, told, room, label)
    if not pool.persistent:
        told = words("{pool}, transient: it is gone after a restart of the host", pool=told)
        return warning(name, told, command(_store("pool", pool.name)), label)
    if not pool.autostart:
        fix = command(quoted("virsh pool-autostart {}", pool.name))
        return warning(name, words("{pool}, not started at boot", pool=told), fix, label)
    return good(name, told, label)


def _store(kind: str, name: str) -> str:
    """The line that stores the definition of a transient pool or network and starts it at boot."""
    file = f"{kind}.xml"
    return " && ".join(
        (
            f"{quoted(f'virsh {kind}-dumpxml {{}}', name)} > {file}",
            f"virsh {kind}-define {file}",
            quoted(f"virsh {kind}-autostart {{}}", name),
        )
    )


def networks(case: Case) -> Iterator[Finding]:
    """Networks running and started at boot; bridges to plug guests into."""
    seen = case.seen
    facts = seen.facts
    if facts is None:
        yield unknown("networks", seen.trouble)
        return
    for net in facts.networks:
        yield _network(net)
    if facts.bridges:
        yield good("bridges", ", ".join(sorted(facts.bridges)))
    elif not (facts.networks or facts.why_unread("interface") or facts.why_unread("network")):
        define = "virsh net-define /usr/share/libvirt/networks/default.xml"
        yield warning(
            "bridges",
            words(
                "neither a network nor a bridge that libvirt sees: VMs have nothing to plug into"
            ),
            command(f"{define} && virsh net-start default && virsh net-autostart default"),
        )


def _network(net: Net) -> Finding:
    name, label = f"network {net.name}", words("network {network}", network=net.name)
    if not net.active:
        return warning(
            name, words("not running"), command(quoted("virsh net-start {}", net.name)), label
        )
    if not net.persistent:
        told = words("runs, but is transient: it is gone after a restart of the host")
        return warning(name, told, command(_store("net", net.name)), label)
    if not net.autostart:
        fix = command(quoted("virsh net-autostart {}", net.name))
        return warning(name, words("runs, but is not started at boot"), fix, label)
    return good(
        name, words("runs on {bridge}", bridge=net.bridge) if net.bridge else words("runs"), label
    )


def overcommit(case: Case) -> Iterator[Finding]:
    """Memory promised to running guests against what the host has, and the kernel's own limit."""
    seen = case.seen
    name, facts = "memory allocated", seen.facts
    if facts is None:
        yield unknown(name, seen.trouble)
        return
    promised = sum(vm.memory for vm in seen.guests if vm.state.active)
    usable = max(1, facts.memory - seen.reserve)
    told = words(
        "{allocated} to running VMs, {usable} usable ({share})",
        allocated=Size(promised),
        usable=Size(usable),
        share=Percent(promised / usable),
    )
    if promised / usable > case.settings.overcommit_warn:
        yield warning(name, told, words("Move VMs away: `/kvm balance`, or `/kvm migrate VM`."))
    else:
        yield good(name, told)
    if seen.text("overcommit").strip() == "2":
        yield warning(
            "vm.overcommit_memory",
            words("2: the kernel may refuse memory that a starting or arriving VM needs"),
            command(
                "sysctl -w vm.overcommit_memory=0"
                " && echo vm.overcommit_memory=0 > /etc/sysctl.d/90-kvm.conf"
            ),
        )


def ksm(case: Case) -> Iterator[Finding]:
    """Whether equal memory pages of guests are merged."""
    seen = case.seen
    shared = seen.facts.shared_pages if seen.facts else None
    run = seen.text("ksm").strip()
    merged = "" if shared is None else words("{size} merged", size=Size(shared * 4096))
    if not run:
        yield unknown(
            "KSM",
            join((seen.no_shell if not seen.shell else words("the kernel has none"), merged), ", "),
        )
    elif run == "1":
        risk = words("VMs can guess at each other's memory, so not for those of strangers")
        yield good("KSM", join((words("on"), merged, risk), ", "))
    else:
        yield good("KSM", join((words("off"), merged), ", "))


def clock(case: Case) -> Iterator[Finding]:
    """The clock is synchronized, and right: a migration between clocks apart makes VMs jump."""
    seen = case.seen
    told = dict(line.partition("=")[::2] for line in seen.text("timedatectl").splitlines())
    tracking = seen.text("chrony").split(",")
    if not seen.shell:
        yield unknown("time sync", seen.no_shell)
        return
    if told.get("NTPSynchronized") == "yes":
        yield good("time sync", words("the kernel's clock is synchronised"))
    elif len(tracking) > 4:
        state = tracking[-1].strip()
        yield (
            good("time sync", words("chrony follows {source}", source=tracking[1]))
            if state == "Normal"
            else failure(
                "time sync",
                words("chrony has no time source ({state})", state=state),
                command("chronyc sources"),
            )
        )
    elif told:
        yield failure("time sync", words("no time service sets the clock"), _CHRONY)
    else:
        yield unknown("time sync", words("neither systemd nor chrony answers"), _CHRONY)
    if seen.clock is not None and seen.clock_off is not None:
        yield _offset(seen.clock, abs(seen.clock_off), seen.clock_error, case.settings)


def _offset(ahead: float, off: float, error: float, settings: HostCheckSettings) -> Finding:
    by, give = Duration(abs(ahead)), Duration(error)
    told = (
        words("{by} ahead of the bot's, ± {error}", by=by, error=give)
        if ahead > 0
        else words("{by} behind the bot's, ± {error}", by=by, error=give)
    )
    if off > settings.clock_fail_seconds:
        return failure("clock", told, command("chronyc makestep"))
    if off > settings.clock_warn_seconds:
        return warning("clock", told, command("chronyc makestep"))
    return good(
        "clock",
        words("within {time} of the bot's", time=Duration(settings.clock_warn_seconds + error)),
    )
