"""How libvirt runs on a host, who may connect to it, and settings that have no effect.

Sources: libvirt's docs/daemons.rst (modes, socket activation), docs/uri.rst and
docs/kbase/tlscerts.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from shlex import quote

from bot.domain.message import Code, Day, Message, Names, Words, join, nwords, words
from bot.domain.readiness import Finding
from plugins.host_check import probes, virconf
from plugins.host_check.findings import Case, Seen, command, failure, good, unknown, warning
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
_NO_SUCH: Mapping[str, Words] = {
    "live_migration": words("live migration needs no switch"),
    "max_client_connections": words("the limit is max_clients, of the daemon's own file"),
    "migration_port": words("the ports are migration_port_min and migration_port_max"),
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
        yield failure(
            name,
            words("neither libvirtd nor virtqemud runs or is listened for"),
            command("systemctl enable --now libvirtd.socket"),
        )
    elif found is Mode.BOTH:
        yield warning(
            name,
            MODES[found],
            command(
                "systemctl disable --now libvirtd.service libvirtd{,-ro,-admin,-tcp,-tls}.socket",
                words("keeps the modular ones"),
            ),
        )
    elif socket_activated(seen):
        yield good(name, words("{mode}, socket-activated by systemd", mode=MODES[found]))
    else:
        told = (
            words("{mode}, started with --listen", mode=MODES[found])
            if _listens(seen)
            else words("{mode}, started without --listen", mode=MODES[found])
        )
        yield good(name, told)


MODES: Mapping[Mode, Words] = {
    Mode.MONOLITHIC: words("monolithic libvirtd"),
    Mode.MODULAR: words("modular daemons"),
    Mode.BOTH: words("libvirtd and modular daemons side by side"),
}


def modular_daemons(case: Case) -> Iterator[Finding]:
    """Whether each daemon that virtqemud needs beside it can be reached, where they are modular.

    A client of virtqemud is led to the others by their sockets; without virtproxyd no other host
    and no client of ``libvirt-sock`` gets in. From libvirt's docs/daemons.rst and its units;
    no host that really runs so was at hand.
    """
    seen = case.seen
    if not seen.shell or mode(seen) is not Mode.MODULAR:
        return
    # no message: the name of a check, among `cards.LABELS`
    name = "modular daemons"
    running, units = programs(seen.text("processes")), active_units(seen.text("units"))
    wanted = ("virtqemud", *(f"virt{each}d" for each in probes.DRIVERS), "virtproxyd", "virtlogd")
    silent = [
        daemon
        for daemon in wanted
        if daemon not in running and not units & {f"{daemon}.socket", f"{daemon}.service"}
    ]
    if not silent:
        yield good(name, words("all are listened for"))
        return
    sockets = " ".join(f"{daemon}.socket" for daemon in silent)
    yield warning(
        name,
        words("nothing listens for {daemons}: what they do is missing there", daemons=silent),
        command(f"systemctl enable --now {sockets}"),
    )


def _listens(seen: Seen) -> bool:
    """Whether libvirtd was started with ``--listen``."""
    return bool(
        {"--listen", "-l"} & set(programs(seen.text("processes")).get("libvirtd", "").split())
    )


def plain_tcp(case: Case) -> Iterator[Finding]:
    """Nobody may reach libvirt by TCP without encryption: it is a root shell for whoever does."""
    seen = case.seen
    name = "plain TCP"
    if not seen.shell or (found := seen.answer("listening")) is None or not found.ok:
        yield unknown(
            name, seen.no_shell if not seen.shell else words("ss is not there"), _no_ss(seen)
        )
        return
    open_to = [address for address, port in listeners(found.out) if port == TCP]
    wide = [address for address in open_to if not is_loopback(address)]
    if not open_to:
        yield good(name, words("nothing listens on {port}", port=TCP))
        return
    auth = _daemon_settings(seen).get("auth_tcp", "sasl")
    if wide and auth == "none":
        where = Names(tuple(f"{address}:{TCP}" for address in wide))
        told = words(
            "libvirt listens on {addresses} without password or encryption: root for all who "
            "reach it",
            addresses=where,
        )
        yield failure(name, told, _to_tls(seen))
    else:
        told = words(
            "libvirt listens on {addresses} (`auth_tcp` {auth}); memory and consoles of VMs are "
            "readable on the way",
            addresses=Names(tuple(f"{address}:{TCP}" for address in open_to)),
            auth=auth,
        )
        yield warning(name, told, _to_tls(seen))


def _no_ss(seen: Seen) -> Message:
    return "" if not seen.shell else command("apt-get install iproute2")


def _to_tls(seen: Seen) -> Words:
    """From TCP to TLS, as this host's mode wants it."""
    units = active_units(seen.text("units"))
    if mode(seen) is Mode.MODULAR:
        return _by_socket("virtproxyd", without_tcp=True)
    if "libvirtd-tcp.socket" in units or socket_activated(seen):
        return _by_socket("libvirtd", without_tcp=True)
    lines = [
        _set_line(seen, "libvirtd.conf", key, value)
        for key, value in (("listen_tcp", "0"), ("listen_tls", "1"))
    ]
    return _and_then(join(lines), command("systemctl restart libvirtd", _CERTIFICATES_FIRST))


def _and_then(edit: Message, restart: Words) -> Words:
    return words("{edit} Then: {command}", edit=edit, command=restart)


def _set_line(seen: Seen, file: str, key: str, value: str) -> Words:
    """How to set a key. Of two lines of a key libvirt takes the first, so there must be one."""
    found = virconf.parse(seen.text(f"conf:{file}")).settings.get(key)
    line = Code(f"{key} = {value}")
    path = f"/etc/libvirt/{file}"
    if found:
        return words(
            "Change line {number} of {file}: {line}.", number=found.line, file=path, line=line
        )
    return words("Add to {file}: {line}.", file=path, line=line)


_CERTIFICATES_FIRST = words("certificates first: see TLS certificates")


def _by_socket(daemon: str, *, without_tcp: bool = False) -> Words:
    """TLS by systemd's socket, which does not start beside a running daemon; VMs keep running."""
    tcp = f"systemctl disable --now {daemon}-tcp.socket && " if without_tcp else ""
    line = (
        f"systemctl stop {daemon} && {tcp}systemctl enable --now {daemon}-tls.socket"
        f" && systemctl start {daemon}"
    )
    return command(line, _CERTIFICATES_FIRST)


def _daemon_settings(seen: Seen) -> dict[str, str]:
    """What is set in the files that are read: with modular daemons, the proxy's and QEMU's."""
    if mode(seen) is not Mode.MODULAR:
        return settings_in(seen.text("conf:libvirtd.conf"))
    return settings_in(seen.text("conf:virtproxyd.conf")) | settings_in(
        seen.text("conf:virtqemud.conf")
    )


def listen_settings(case: Case) -> Iterator[Finding]:
    """``listen_tcp`` and ``listen_tls`` need --listen, and no socket activation."""
    seen = case.seen
    name = "listen settings"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    listen = {"listen_tcp", "listen_tls"}
    wanted = sorted(
        k
        for k, v in settings_in(seen.text("conf:libvirtd.conf")).items()
        if k in listen and v == "1"
    )
    settings = Names(tuple(wanted))
    if not wanted:
        yield good(name, words("none that would not be honoured"))
    elif socket_activated(seen) or not _listens(seen):
        by_systemd = words("systemd listens for libvirt")
        why = (
            by_systemd if socket_activated(seen) else words("libvirtd was started without --listen")
        )
        told = words("{settings} = 1 is not honoured: {why}", settings=settings, why=why)
        yield warning(name, told, _by_socket("libvirtd"))
    else:
        told = words(
            "{settings} = 1 is honoured: libvirtd was started with --listen", settings=settings
        )
        yield good(name, told)


def unknown_keys(case: Case) -> Iterator[Finding]:
    """Keys that libvirt does not know and silently ignores, by its own Augeas lenses."""
    seen = case.seen
    for file in probes.CONF_FILES:
        name, label = f"keys of {file}", words("keys of {file}", file=file)
        if not seen.shell:
            yield unknown(name, seen.no_shell, "", label)
            continue
        conf, lens = seen.answer(f"conf:{file}"), seen.text(f"lens:{file}")
        if conf is None or conf.code == 66:
            continue  # no such file: the defaults hold
        if not conf.ok:
            user = seen.text("user")
            told = (
                words("cannot read it as {user}", user=user)
                if user
                else words("cannot read it as this user")
            )
            yield unknown(name, told, words("Let that user run `sudo -n cat`."), label)
        elif problem := virconf.parse(conf.out).problem:
            told = words("libvirt refuses the whole file: {problem}", problem=problem)
            path = f"/etc/libvirt/{file}"
            fix = words(
                "Correct that line of {file}; its daemon does not start with it.", file=path
            )
            yield failure(name, told, fix, label)
        elif not lens:
            yield unknown(
                name,
                words("no list of the known keys (libvirt's Augeas lens) on the host"),
                "",
                label,
            )
        else:
            strangers = sorted(settings_in(conf.out).keys() - known_keys(lens))
            yield replace(_keys(name, file, strangers, unread=_unread(seen, file)), label=label)


def _keys(name: str, file: str, strangers: list[str], *, unread: bool) -> Finding:
    if strangers:
        hints = tuple(
            words("{key}: {hint}", key=key, hint=_NO_SUCH[key])
            for key in strangers
            if key in _NO_SUCH
        )
        evidence = words("no such option, and so ignored: {keys}", keys=strangers)
        if hints:
            evidence = words("{ignored} ({hints})", ignored=evidence, hints=Names(hints))
        fix = command(f"sed -i -E '/^[ \\t]*({'|'.join(strangers)})[ \\t]*=/d' /etc/libvirt/{file}")
        return warning(name, evidence, fix)
    if unread:
        return warning(
            name,
            words("the daemons that run do not read this file"),
            words("Move what it sets to `virtqemud.conf` and `virtproxyd.conf`."),
        )
    return good(name, words("libvirt knows every key that is set"))


def _unread(seen: Seen, file: str) -> bool:
    return (
        file == "libvirtd.conf"
        and mode(seen) is Mode.MODULAR
        and bool(settings_in(seen.text(f"conf:{file}")))
    )


def who_may(case: Case) -> Iterator[Finding]:
    """Who may use the read-write socket: that is as good as root."""
    seen = case.seen
    # no message: the name of a check, among `cards.LABELS`
    name = "who may connect"
    if not seen.shell:
        yield unknown(name, seen.no_shell)
        return
    perms = seen.text("socket").strip()
    if (
        re.fullmatch(r"[0-7]*[2367]", perms)
        and _daemon_settings(seen).get("auth_unix_rw") == "none"
    ):
        file, daemon = (
            ("virtqemud.conf", "virtqemud")
            if mode(seen) is Mode.MODULAR
            else ("libvirtd.conf", "libvirtd")
        )
        told = words(
            "everybody on the host may write to libvirt's socket ({mode}), and `auth_unix_rw` is "
            "none: all are root",
            mode=perms,
        )
        fix = _and_then(
            _set_line(seen, file, "auth_unix_rw", POLKIT), command(f"systemctl restart {daemon}")
        )
        yield failure(name, told, fix)
        return
    mine = seen.text("user").strip()
    everyone = members(seen.text("libvirt-group"))
    people = [each for each in everyone if each != mine]
    if people:
        note = words("for those who need no root; to watch, the read-only socket is enough")
        yield warning(
            name,
            words(
                "the group libvirt has {users}: its read-write socket equals a root shell",
                users=tuple(people),
            ),
            command(f"gpasswd -d {quote(people[0])} libvirt", note),
        )
    elif mine in everyone:
        yield good(name, words("root, and the bot's own user {user}", user=mine))
    else:
        yield good(name, words("root only: nobody is in the group libvirt"))


def lock_manager(case: Case) -> Iterator[Finding]:
    """Without one, nothing but care keeps two hosts from opening one disk."""
    seen = case.seen
    name = "lock manager"
    conf = seen.answer("conf:qemu.conf")
    if not seen.shell or conf is None or conf.code not in {0, 66}:
        yield unknown(name, seen.no_shell if not seen.shell else words("cannot read `qemu.conf`"))
        return
    chosen = settings_in(seen.text("conf:qemu.conf")).get("lock_manager", "nop")
    if chosen in {"lockd", "sanlock"}:
        yield good(name, chosen)
        return
    daemon = "virtqemud" if mode(seen) is Mode.MODULAR else "libvirtd"
    line = f"systemctl enable --now virtlockd.socket && systemctl restart {daemon}"
    yield warning(
        name,
        words("none: nothing stops two hosts from writing to one disk"),
        _and_then(_set_line(seen, "qemu.conf", "lock_manager", LOCKD), command(line)),
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
            failure(
                name,
                words(
                    "libvirt serves TLS on {port} and has no certificate in `/etc/pki/libvirt`",
                    port=TLS,
                ),
            )
            if serves
            else good(name, words("none, and none needed: libvirt serves no TLS"))
        )
    for each in there:
        yield _certificate(each, case)


def _certificate(found: Certificate, case: Case) -> Finding:
    path, end = found.path, found.ends
    name, label, seen = f"certificate {path}", words("certificate {file}", file=path), case.seen
    if end is None:
        if seen.text("openssl"):
            return unknown(name, words("cannot be read"), "", label)
        return unknown(
            name, words("cannot be read: no openssl"), command("apt-get install openssl"), label
        )
    daemon = "virtproxyd" if mode(seen) is Mode.MODULAR else "libvirtd"
    fix = words(
        "Renew {file}, then: {command}",
        file=path,
        command=Code(f"virt-admin -c {daemon}:///system server-update-tls {daemon}"),
    )
    days = found.days(case.now)
    if days < 0:
        return failure(name, words("ended on {date}", date=Day(end.date())), fix, label)
    if days < case.settings.certificate_days:
        told = nwords(
            "ends on {date}, in {n} day",
            "ends on {date}, in {n} days",
            n=round(days),
            date=Day(end.date()),
        )
        return warning(name, told, fix, label)
    if found.strange:
        told = words(
            "not signed by the authority that this host trusts: nobody who trusts it connects"
        )
        return failure(name, told, fix, label)
    return good(name, words("good until {date}", date=Day(end.date())), label)


def security_driver(case: Case) -> Iterator[Finding]:
    """Whether AppArmor or SELinux confines VMs."""
    seen = case.seen
    name = "guest confinement"
    if seen.facts is None:
        yield unknown(name, seen.trouble)
        return
    strong = [each for each in seen.facts.security if each in {"apparmor", "selinux"}]
    if strong:
        yield good(name, strong[0])
        return
    if why := seen.facts.why_unread("capabilities"):
        yield unknown(name, why)
        return
    off = settings_in(seen.text("conf:qemu.conf")).get("security_driver") == "none"
    fix = (
        words(
            'Remove `security_driver = "none"` from `/etc/libvirt/qemu.conf` and restart libvirt.'
        )
        if off
        else command(
            "apt-get install apparmor && systemctl enable --now apparmor",
            words("then restart libvirt"),
        )
    )
    told = words(
        "neither AppArmor nor SELinux: a VM that breaks out of QEMU meets no second barrier"
    )
    yield warning(name, told, fix)


def packages(case: Case) -> Iterator[Finding]:
    """The packages that a host needs, with their versions."""
    seen = case.seen
    name = "packages"
    deb, rpm = seen.answer("deb"), seen.answer("rpm")
    if not seen.shell:
        yield unknown(name, seen.no_shell)
    elif deb is not None and deb.code != 127:
        yield _install_finding(
            name, deb.out, probes.DEB_PACKAGES, "apt-get install --no-install-recommends"
        )
    elif rpm is not None and rpm.code != 127:
        yield _install_finding(name, rpm.out, probes.RPM_PACKAGES, "dnf install")
    else:
        yield unknown(name, words("neither dpkg nor rpm is there"))


def _install_finding(name: str, told: str, wanted: tuple[str, ...], install: str) -> Finding:
    fields = (line.split() for line in told.splitlines())
    there = {line[1]: line[2] for line in fields if len(line) == 3 and line[0] == "installed"}
    missing = [each for each in wanted if each not in there]
    if missing:
        fix = command(f"{install} {' '.join(missing)}")
        return failure(name, words("not installed: {packages}", packages=missing), fix)
    return good(name, ", ".join(f"{each} {there[each]}" for each in wanted))
