"""How libvirt runs on a host, who may connect to it and how, and settings that are not what people think.

Sources: libvirt's docs/daemons.rst (modes, socket activation), docs/uri.rst and docs/kbase/tlscerts.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bot.domain.readiness import Finding
from plugins.host_check import probes, virconf
from plugins.host_check.findings import Case, Seen, failed, passed, unknown, warned
from plugins.host_check.readings import (
    Certificate,
    Mode,
    active_units,
    certificates,
    is_loopback,
    known_keys,
    listeners,
    members,
    mode,
    programs,
    settings_in,
    socket_activated,
)

TCP, TLS = 16509, 16514
POLKIT, LOCKD = '"polkit"', '"lockd"'

# Options that guides tell people to set, and what there is instead.
_NO_SUCH: Mapping[str, str] = {
    "live_migration": "live migration needs no switch",
    "max_client_connections": "the limit is max_clients, of the daemon's own file",
    "migration_port": "the ports are migration_port_min and migration_port_max",
}


def daemon_mode(case: Case) -> Iterator[Finding]:
    """Monolithic, modular or socket-activated, by what runs."""
    seen = case.seen
    name = "daemon mode"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    found = mode(seen)
    if found is Mode.UNKNOWN:
        yield failed(
            name, "neither libvirtd nor virtqemud runs or is listened for", "systemctl enable --now libvirtd.socket"
        )
    elif found is Mode.BOTH:
        yield warned(
            name,
            found,
            "systemctl disable --now libvirtd.service libvirtd{,-ro,-admin,-tcp,-tls}.socket  (keeps the modular ones)",
        )
    elif socket_activated(seen):
        yield passed(name, f"{found}, socket-activated by systemd")
    else:
        command = programs(seen.text("processes")).get("libvirtd", "")
        yield passed(name, f"{found}, started {'with' if _listens(command) else 'without'} --listen")


def _listens(command: str) -> bool:
    return bool({"--listen", "-l"} & set(command.split()))


def plain_tcp(case: Case) -> Iterator[Finding]:
    """Nobody may reach libvirt by TCP without encryption: it is a root shell for whoever does."""
    seen = case.seen
    name = "plain TCP"
    if not seen.shell or (found := seen.answer("listening")) is None or not found.ok:
        yield unknown(name, seen.no_shell if not seen.shell else "ss is not there", _no_ss(seen))
        return
    open_to = [address for address, port in listeners(found.out) if port == TCP]
    wide = [address for address in open_to if not is_loopback(address)]
    if not open_to:
        yield passed(name, f"nothing listens on {TCP}")
        return
    auth = _daemon_settings(seen).get("auth_tcp", "sasl")
    if wide and auth == "none":
        where = ", ".join(f"{address}:{TCP}" for address in wide)
        yield failed(
            name, f"libvirt listens on {where} without password or encryption: root for all who reach it", _to_tls(seen)
        )
    else:
        where = ", ".join(f"{address}:{TCP}" for address in open_to)
        yield warned(
            name,
            f"libvirt listens on {where} (auth_tcp {auth}); guests' memory and consoles are readable on the way",
            _to_tls(seen),
        )


def _no_ss(seen: Seen) -> str:
    return "" if not seen.shell else "apt-get install iproute2"


def _to_tls(seen: Seen) -> str:
    """From TCP to TLS, as this host's mode wants it."""
    units = active_units(seen.text("units"))
    if mode(seen) is Mode.MODULAR:
        return _by_socket("virtproxyd", without_tcp=True)
    if "libvirtd-tcp.socket" in units or socket_activated(seen):
        return _by_socket("libvirtd", without_tcp=True)
    lines = [_set_line(seen, "libvirtd.conf", key, value) for key, value in (("listen_tcp", "0"), ("listen_tls", "1"))]
    return f"{' '.join(lines)} Then: systemctl restart libvirtd  (certificates first: see TLS certificates)"


def _set_line(seen: Seen, file: str, key: str, value: str) -> str:
    """A sentence that tells how to set a key: of two lines of a key libvirt would take the first, so never a second."""
    found = virconf.parse(seen.text(f"conf:{file}")).settings.get(key)
    where = f"Change line {found.line} of" if found else "Add to"
    return f"{where} /etc/libvirt/{file}: {key} = {value}."


def _by_socket(daemon: str, *, without_tcp: bool = False) -> str:
    """TLS by systemd's socket, which does not start beside a running daemon; guests run on meanwhile."""
    tcp = f"systemctl disable --now {daemon}-tcp.socket && " if without_tcp else ""
    return (
        f"systemctl stop {daemon} && {tcp}systemctl enable --now {daemon}-tls.socket && systemctl start {daemon}"
        "  (certificates first: see TLS certificates)"
    )


def _daemon_settings(seen: Seen) -> dict[str, str]:
    """What is set in the files that are read: with modular daemons, the proxy's and QEMU's."""
    if mode(seen) is not Mode.MODULAR:
        return settings_in(seen.text("conf:libvirtd.conf"))
    return settings_in(seen.text("conf:virtproxyd.conf")) | settings_in(seen.text("conf:virtqemud.conf"))


def listen_honoured(case: Case) -> Iterator[Finding]:
    """``listen_tcp`` and ``listen_tls`` do nothing under socket activation, nor without --listen."""
    seen = case.seen
    name = "listen settings"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    told = {k: v for k, v in settings_in(seen.text("conf:libvirtd.conf")).items() if k in {"listen_tcp", "listen_tls"}}
    wanted = sorted(key for key, value in told.items() if value == "1")
    command = programs(seen.text("processes")).get("libvirtd", "")
    if not wanted:
        yield passed(name, "none that would not be honoured")
    elif socket_activated(seen) or not _listens(command):
        why = "systemd listens for libvirt" if socket_activated(seen) else "libvirtd was started without --listen"
        yield warned(name, f"{', '.join(wanted)} = 1 is not honoured: {why}", _by_socket("libvirtd"))
    else:
        yield passed(name, f"{', '.join(wanted)} = 1 is honoured: libvirtd was started with --listen")


def unknown_keys(case: Case) -> Iterator[Finding]:
    """Keys that libvirt does not know and silently ignores, by its own Augeas lenses."""
    seen = case.seen
    for file in probes.CONF_FILES:
        name = f"keys of {file}"
        if not seen.shell:
            yield unknown(name, seen.no_shell)
            continue
        conf, lens = seen.answer(f"conf:{file}"), seen.text(f"lens:{file}")
        if conf is None or conf.code == 66:
            continue  # no such file: the defaults hold
        if not conf.ok:
            yield unknown(
                name, f"cannot read it as {seen.text('user') or 'this user'}", "Let that user run `sudo -n cat`."
            )
        elif problem := virconf.parse(conf.out).problem:
            yield failed(
                name,
                f"libvirt refuses the whole file: {problem}",
                f"Mend that line of /etc/libvirt/{file}; its daemon does not start with it.",
            )
        elif not lens:
            yield unknown(name, "no list of the known keys (libvirt's Augeas lens) on the host")
        else:
            yield _keys(name, file, sorted(settings_in(conf.out).keys() - known_keys(lens)), unread=_unread(seen, file))


def _keys(name: str, file: str, strangers: list[str], *, unread: bool) -> Finding:
    if strangers:
        hints = "; ".join(f"{key}: {_NO_SUCH[key]}" for key in strangers if key in _NO_SUCH)
        evidence = f"no such option, and so ignored: {', '.join(strangers)}{f' ({hints})' if hints else ''}"
        return warned(name, evidence, f"sed -i -E '/^[ \\t]*({'|'.join(strangers)})[ \\t]*=/d' /etc/libvirt/{file}")
    if unread:
        return warned(
            name,
            "the daemons that run do not read this file",
            "Move what it sets to virtqemud.conf and virtproxyd.conf",
        )
    return passed(name, "libvirt knows every key that is set")


def _unread(seen: Seen, file: str) -> bool:
    return file == "libvirtd.conf" and mode(seen) is Mode.MODULAR and bool(settings_in(seen.text(f"conf:{file}")))


def who_may(case: Case) -> Iterator[Finding]:
    """Who may use the read-write socket: that is as good as root."""
    seen = case.seen
    name = "who may connect"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    perms = seen.text("socket").strip()
    if re.fullmatch(r"[0-7]*[2367]", perms) and _daemon_settings(seen).get("auth_unix_rw") == "none":
        file, daemon = ("virtqemud.conf", "virtqemud") if mode(seen) is Mode.MODULAR else ("libvirtd.conf", "libvirtd")
        yield failed(
            name,
            f"everybody on the host may write to libvirt's socket ({perms}), and auth_unix_rw is none: all are root",
            f"{_set_line(seen, file, 'auth_unix_rw', POLKIT)} Then: systemctl restart {daemon}",
        )
        return
    people = members(seen.text("libvirt-group"))
    if people:
        who = ", ".join(people)
        yield warned(
            name,
            f"the group libvirt has {who}: its read-write socket equals a root shell",
            f"gpasswd -d {people[0]} libvirt  (for those who need no root; to watch, the read-only socket is enough)",
        )
    else:
        yield passed(name, "root only: nobody is in the group libvirt")


def lock_manager(case: Case) -> Iterator[Finding]:
    """Without one, nothing but care keeps two hosts from opening one disk."""
    seen = case.seen
    name = "lock manager"
    conf = seen.answer("conf:qemu.conf")
    if not seen.shell or conf is None or conf.code not in {0, 66}:
        yield unknown(name, seen.no_shell if not seen.shell else "cannot read qemu.conf")
        return
    chosen = settings_in(seen.text("conf:qemu.conf")).get("lock_manager", "nop")
    if chosen in {"lockd", "sanlock"}:
        yield passed(name, chosen)
        return
    daemon = "virtqemud" if mode(seen) is Mode.MODULAR else "libvirtd"
    yield warned(
        name,
        "none: nothing stops two hosts from writing to one disk",
        f"{_set_line(seen, 'qemu.conf', 'lock_manager', LOCKD)} Then: systemctl enable --now virtlockd.socket && "
        f"systemctl restart {daemon}",
    )


def tls_certificates(case: Case) -> Iterator[Finding]:
    """When the certificates of libvirt and QEMU end."""
    seen = case.seen
    name = "TLS certificates"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    there = list(certificates(seen.text("certificates")))
    if not there:
        serves = any(port == TLS for _, port in listeners(seen.text("listening")))
        yield (
            failed(name, f"libvirt serves TLS on {TLS} and has no certificate in /etc/pki/libvirt")
            if serves
            else passed(name, "none, and none needed: libvirt serves no TLS")
        )
    for each in there:
        yield _certificate(each, case)


def _certificate(found: Certificate, case: Case) -> Finding:
    path, end = found.path, found.ends
    name, seen = f"certificate {path}", case.seen
    if end is None:
        missing = "" if seen.text("openssl") else "apt-get install openssl"
        return unknown(name, "cannot be read" + (": no openssl" if missing else ""), missing)
    daemon = "virtproxyd" if mode(seen) is Mode.MODULAR else "libvirtd"
    fix = f"Renew {path}, then: virt-admin -c {daemon}:///system server-update-tls {daemon}"
    days = found.days(case.now)
    if days < 0:
        return failed(name, f"ended on {end:%Y-%m-%d}", fix)
    if days < case.settings.certificate_days:
        return warned(name, f"ends on {end:%Y-%m-%d}, in {days:.0f} days", fix)
    if found.strange:
        return failed(name, "not signed by the authority that this host trusts: nobody who trusts it connects", fix)
    return passed(name, f"good until {end:%Y-%m-%d}")


def security_driver(case: Case) -> Iterator[Finding]:
    """Whether guests are kept apart by AppArmor or SELinux."""
    seen = case.seen
    name = "guest confinement"
    if seen.facts is None:
        yield unknown(name, seen.trouble)
        return
    strong = [each for each in seen.facts.security if each in {"apparmor", "selinux"}]
    if strong:
        yield passed(name, strong[0])
        return
    off = settings_in(seen.text("conf:qemu.conf")).get("security_driver") == "none"
    fix = (
        'Remove security_driver = "none" from /etc/libvirt/qemu.conf and restart libvirt'
        if off
        else ("apt-get install apparmor && systemctl enable --now apparmor, then restart libvirt")
    )
    yield warned(name, "neither AppArmor nor SELinux: a guest that breaks out of QEMU meets no second wall", fix)


def packages(case: Case) -> Iterator[Finding]:
    """The packages that a host needs, with their versions."""
    seen = case.seen
    name = "packages"
    deb, rpm = seen.answer("deb"), seen.answer("rpm")
    if not seen.shell:
        yield unknown(name, seen.no_shell)
    elif deb is not None and deb.code != 127:
        yield _installed(name, deb.out, probes.DEB_PACKAGES, "apt-get install --no-install-recommends")
    elif rpm is not None and rpm.code != 127:
        yield _installed(name, rpm.out, probes.RPM_PACKAGES, "dnf install")
    else:
        yield unknown(name, "neither dpkg nor rpm is there")


def _installed(name: str, told: str, wanted: tuple[str, ...], install: str) -> Finding:
    words = (line.split() for line in told.splitlines())
    there = {line[1]: line[2] for line in words if len(line) == 3 and line[0] == "installed"}
    missing = [each for each in wanted if each not in there]
    if missing:
        return failed(name, f"not installed: {', '.join(missing)}", f"{install} {' '.join(missing)}")
    return passed(name, ", ".join(f"{each} {there[each]}" for each in wanted))
