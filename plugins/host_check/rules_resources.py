"""What a host has to offer and whether it will be there after a reboot: storage, networks, memory, time, versions."""

from __future__ import annotations

from collections.abc import Iterator

from bot.domain.cluster import Pool, Unread
from bot.domain.readiness import Finding
from bot.domain.words import bytes_text, command, duration_text
from plugins.host_check.findings import Case, Seen, failed, passed, unknown, warned
from plugins.host_check.readings import Mode, is_loopback, mode, version_text
from plugins.host_check.settings import HostCheckSettings

_CHRONY = "apt-get install chrony && systemctl enable --now chrony"

ANSWERS = "libvirt"  # the check that a host answers at all


def answers(case: Case) -> Iterator[Finding]:
    """Whether libvirt, and the shell where one is configured, answer at all."""
    seen = case.seen
    if seen.facts is None:
        yield failed(ANSWERS, seen.trouble or "does not answer", "systemctl status libvirtd virtqemud")
    else:
        hardware = f" on {seen.facts.hardware}" if seen.facts.hardware else ""
        yield passed(ANSWERS, f"answers{hardware}")
    if seen.shell:
        yield passed("SSH", f"as {seen.text('user') or 'an unnamed user'}")
    else:
        fix = 'Set ssh = "user@host" for it under [[hosts]]; without it half of this cannot be told'
        yield unknown("SSH", seen.no_shell, fix)


_DAEMONS = {"interface": "virtinterfaced", "network": "virtnetworkd", "pool": "virtstoraged", "secret": "virtsecretd"}
_LOOKS = {"interface": "iface-dumpxml", "network": "net-dumpxml", "pool": "pool-dumpxml"}


def unread_parts(case: Case) -> Iterator[Finding]:
    """Parts of the host that libvirt cannot tell; everything else of the host is known all the same."""
    seen = case.seen
    for each in seen.facts.unread if seen.facts else ():
        name = f"reading {each.kind} {each.name}".rstrip() if each.name else f"reading all {each.kind}s"
        yield warned(name, each.why, _look_for(seen, each))
    for vm in seen.guests:
        if vm.problem:
            yield warned(f"reading VM {vm.name}", vm.problem, command("virsh dumpxml {}", vm.name))


def _look_for(seen: Seen, part: Unread) -> str:
    """The command that mends it or shows more, '' where there is none."""
    if part.name:
        return command(f"virsh {_LOOKS[part.kind]} {{}}", part.name) if part.kind in _LOOKS else ""
    daemon = _DAEMONS.get(part.kind, "")
    return f"systemctl enable --now {daemon}.socket" if daemon and mode(seen) is Mode.MODULAR else ""


def versions(case: Case) -> Iterator[Finding]:
    """Libvirt, QEMU and kernel."""
    seen = case.seen
    facts = seen.facts
    if facts is None:
        yield unknown("versions", seen.trouble)
        return
    libvirt, qemu = version_text(facts.libvirt_version), version_text(facts.hypervisor_version)
    kernel = seen.text("kernel")
    system = seen.text("os")
    told = (
        f"libvirt {libvirt}, QEMU {qemu}" + (f", Linux {kernel}" if kernel else "") + (f", {system}" if system else "")
    )
    old = facts.libvirt_version < case.settings.oldest_libvirt or facts.hypervisor_version < case.settings.oldest_qemu
    if old:
        yield warned(
            "versions", f"{told}: too old for some of what is done here", "apt-get update && apt-get full-upgrade"
        )
    else:
        yield passed("versions", told)


def identity(case: Case) -> Iterator[Finding]:
    """The name that a host gives itself, which it tells other hosts in a migration."""
    seen = case.seen
    facts, name = seen.facts, "host name"
    if facts is None:
        yield unknown(name, seen.trouble)
        return
    if facts.hostname.startswith("localhost") or not facts.hostname:
        yield failed(name, f"it calls itself “{facts.hostname}”", f"hostnamectl set-hostname {seen.host}")
        return
    own = {line.split()[0] for line in seen.text("own-address").splitlines() if line.split()}
    if own and all(is_loopback(address) for address in own):
        yield warned(
            name,
            f"{facts.hostname} resolves to {', '.join(sorted(own))} on the host itself",
            f"In /etc/hosts, give {facts.hostname} the host's own address instead of 127.0.1.1",
        )
    else:
        yield passed(name, facts.hostname)


def pools(case: Case) -> Iterator[Finding]:
    """Storage pools: running, started at boot, with room."""
    seen = case.seen
    if seen.facts is None:
        yield unknown("storage pools", seen.trouble)
        return
    if not seen.facts.pools:
        make = "virsh pool-define-as default dir --target /var/lib/libvirt/images && virsh pool-build default"
        yield warned("storage pools", "none", f"{make} && virsh pool-start default && virsh pool-autostart default")
    for pool in seen.facts.pools:
        yield _pool(pool, case.settings)


def _pool(pool: Pool, settings: HostCheckSettings) -> Finding:
    name, kind = f"pool {pool.name}", f"{pool.kind}, {'shared' if pool.shared else 'local'}"
    if not pool.active:
        return warned(name, f"{kind}, not running", command("virsh pool-start {}", pool.name))
    share = pool.free / pool.capacity if pool.capacity else 1.0
    told = f"{kind}, {bytes_text(pool.free)} of {bytes_text(pool.capacity)} free ({share:.0%})"
    room = f"{command('virsh vol-list {} --details', pool.name)}  (move volumes, or make the pool larger)"
    if share < settings.pool_free_fail:
        return failed(name, told, room)
    if share < settings.pool_free_warn:
        return warned(name, told, room)
    if not pool.autostart:
        return warned(name, f"{told}, not started at boot", command("virsh pool-autostart {}", pool.name))
    return passed(name, told)


def networks(case: Case) -> Iterator[Finding]:
    """Networks running and started at boot; bridges to plug guests into."""
    seen = case.seen
    facts = seen.facts
    if facts is None:
        yield unknown("networks", seen.trouble)
        return
    for net in facts.networks:
        name = f"network {net.name}"
        if not net.active:
            yield warned(name, "not running", command("virsh net-start {}", net.name))
        elif not net.autostart:
            yield warned(name, "runs, but is not started at boot", command("virsh net-autostart {}", net.name))
        else:
            yield passed(name, f"runs{f' on {net.bridge}' if net.bridge else ''}")
    if facts.bridges:
        yield passed("bridges", ", ".join(sorted(facts.bridges)))
    elif not facts.networks:
        define = "virsh net-define /usr/share/libvirt/networks/default.xml"
        fix = f"{define} && virsh net-start default && virsh net-autostart default"
        yield warned(
            "bridges", "neither a network nor a bridge that libvirt sees: guests have nothing to plug into", fix
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
    told = f"{bytes_text(promised)} to running guests, {bytes_text(usable)} usable ({promised / usable:.0%})"
    if promised / usable > case.settings.overcommit_warn:
        yield warned(name, told, "Move guests away: `balance`, or `migrate VM`")
    else:
        yield passed(name, told)
    if seen.text("overcommit").strip() == "2":
        yield warned(
            "vm.overcommit_memory",
            "2: the kernel may refuse memory that a starting or arriving guest needs",
            "sysctl -w vm.overcommit_memory=0 && echo vm.overcommit_memory=0 > /etc/sysctl.d/90-kvm.conf",
        )


def ksm(case: Case) -> Iterator[Finding]:
    """Whether equal memory pages of guests are merged."""
    seen = case.seen
    shared = seen.facts.shared_pages if seen.facts else None
    run = seen.text("ksm").strip()
    merged = "" if shared is None else f", {bytes_text(shared * 4096)} merged"
    if not run:
        yield unknown("KSM", (seen.no_shell if not seen.shell else "the kernel has none") + merged)
    elif run == "1":
        yield passed("KSM", f"on{merged}; it lets guests guess at each other's memory, so not between strangers")
    else:
        yield passed("KSM", f"off{merged}")


def clock(case: Case) -> Iterator[Finding]:
    """The clock is kept by somebody, and is right: a migration with clocks apart makes guests jump."""
    seen = case.seen
    told = dict(line.partition("=")[::2] for line in seen.text("timedatectl").splitlines())
    tracking = seen.text("chrony").split(",")
    if not seen.shell:
        yield unknown("time sync", seen.no_shell)
        return
    if told.get("NTPSynchronized") == "yes":
        yield passed("time sync", "the kernel's clock is synchronised")
    elif len(tracking) > 4:
        good = tracking[-1].strip() == "Normal"
        yield (
            passed("time sync", f"chrony follows {tracking[1]}")
            if good
            else failed("time sync", f"chrony follows nobody ({tracking[-1].strip()})", "chronyc sources")
        )
    elif told:
        yield failed("time sync", "nobody keeps the clock right", _CHRONY)
    else:
        yield unknown("time sync", "neither systemd nor chrony answers", _CHRONY)
    if seen.clock is not None and seen.clock_off is not None:
        yield _offset(seen.clock, abs(seen.clock_off), seen.clock_error, case.settings)


def _offset(ahead: float, off: float, error: float, settings: HostCheckSettings) -> Finding:
    told = f"{duration_text(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the bot's, ± {duration_text(error)}"
    if off > settings.clock_fail_seconds:
        return failed("clock", told, "chronyc makestep")
    if off > settings.clock_warn_seconds:
        return warned("clock", told, "chronyc makestep")
    return passed("clock", f"within {duration_text(settings.clock_warn_seconds + error)} of the bot's")
