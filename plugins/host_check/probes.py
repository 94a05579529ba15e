"""What is asked of a host's shell, as one script, and its answers taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.domain.readiness import CommandResult

_MARK = "@@drover"
_BEGIN = re.compile(rf"^{_MARK} begin (\S+)$", re.MULTILINE)

DRIVERS = ("interface", "network", "nodedev", "nwfilter", "secret", "storage")
"""What modular daemons do beside virtqemud, each ``virt…d``: libvirt's docs/daemons.rst."""
UNITS = (
    "libvirtd.service",
    "libvirtd.socket",
    "libvirtd-tcp.socket",
    "libvirtd-tls.socket",
    "virtqemud.service",
    "virtqemud.socket",
    "virtproxyd.service",
    "virtproxyd.socket",
    "virtproxyd-tcp.socket",
    "virtproxyd-tls.socket",
    "virtlockd.socket",
    "virtlogd.service",
    "virtlogd.socket",
    *(f"virt{each}d.{kind}" for each in DRIVERS for kind in ("service", "socket")),
)
CONF_FILES = ("libvirtd.conf", "virtqemud.conf", "virtproxyd.conf", "qemu.conf")
LENSES: Mapping[str, str] = {
    "libvirtd.conf": "libvirtd.aug",
    "virtqemud.conf": "virtqemud.aug",
    "virtproxyd.conf": "virtproxyd.aug",
    "qemu.conf": "libvirtd_qemu.aug",
}
# Where libvirt and QEMU look unless their configuration says otherwise: an authority, then what it
# signs.
_CERTIFICATE_PLACES = r"""
told() {
    key=$1; shift
    as_root cat "$@" 2>/dev/null |
        sed -n "s/^[[:space:]]*$key[[:space:]]*=[[:space:]]*[\"']\([^\"']*\)[\"'].*/\1/p" |
            head -n 1
}
daemons="/etc/libvirt/libvirtd.conf /etc/libvirt/virtproxyd.conf"
ca=$(told ca_file $daemons) server=$(told cert_file $daemons)
qemu=$(told migrate_tls_x509_cert_dir /etc/libvirt/qemu.conf)
: "${qemu:=$(told default_tls_x509_cert_dir /etc/libvirt/qemu.conf)}" "${qemu:=/etc/pki/qemu}"
signed "${ca:-/etc/pki/CA/cacert.pem}" "${server:-/etc/pki/libvirt/servercert.pem}" \
    /etc/pki/libvirt/clientcert.pem
signed "$qemu/ca-cert.pem" "$qemu/server-cert.pem" "$qemu/client-cert.pem"
"""
DEB_PACKAGES = ("qemu-system-x86", "libvirt-daemon-system", "libvirt-clients")
RPM_PACKAGES = ("qemu-kvm", "libvirt-daemon-kvm", "libvirt-client")

# A firmware of 64 KiB whose reset vector says `mov al, 16; out 0xf4, al; hlt`: QEMU's
# isa-debug-exit turns that into exit code 33, at once, if the accelerator runs guest code at all.
# No disk, no network, 16 MiB, gone after it.
_ACCELERATOR = r"""
firmware=$(mktemp) || exit 90
trap 'rm -f "$firmware"' EXIT
head -c 65520 /dev/zero >"$firmware"
printf '\260\020\346\364\364\364\364\364\364\364\364\364\364\364\364\364' >>"$firmware"
qemu=
for each in "qemu-system-$(uname -m)" /usr/libexec/qemu-kvm; do
    command -v "$each" >/dev/null && qemu=$each && break
done
[ -n "$qemu" ] || exit 127
chmod 644 "$firmware"
as_root timeout -k 1 5 "$qemu" -accel ACCELERATOR -machine pc -nodefaults -display none -m 16 \
    -bios "$firmware" \
    -device isa-debug-exit,iobase=0xf4,iosize=4
"""
RAN = 33
"""The exit code of QEMU after the accelerator ran the guest's instruction."""
HUNG = 124
"""That of ``timeout``."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One look: its name and the shell words that do it."""

    name: str
    words: str


def accelerator_script(accelerator: str) -> str:
    """The test run with one of QEMU's accelerators."""
    return _ACCELERATOR.replace("ACCELERATOR", accelerator)


def _each(files: Iterable[str], words: str) -> str:
    # no message: a line of shell
    return f"for f in {' '.join(files)}; do {words}; done"


# One that is signed by an intermediate carries it in its own file.
_SIGNED = r"""
signed() {
    ca=$1
    for f in "$@"; do
        as_root test -e "$f" || continue
        echo "file $f"
        as_root openssl x509 -in "$f" -noout -subject -enddate
        [ "$f" = "$ca" ] || as_root openssl verify -partial_chain -no_check_time \
            -CAfile "$ca" -untrusted "$f" "$f"
    done
    true
}
"""


def certificate_script(places: str = _CERTIFICATE_PLACES) -> str:
    """Subject, end and issuer's verdict of each certificate, after a line with its path.

    ``places`` calls ``signed AUTHORITY CERTIFICATE…``.
    """
    return _SIGNED + places


CERTIFICATES = Probe("certificates", certificate_script())


GUARD = Probe(
    "guard",
    """
hook=/etc/libvirt/hooks/qemu.d/drover
[ -e "$hook" ] || exit 66
[ -x "$hook" ] && echo executable
cmp -s /run/drover-admitted /proc/sys/kernel/random/boot_id && echo admitted
daemon=$(pidof libvirtd virtqemud | cut -d' ' -f1)
[ "$(stat -c %Y "/proc/$daemon")" -ge "$(stat -c %Z "$hook")" ] && echo read
""",
)
"""The hook of ``failover guard``: whether libvirt runs it, and whether it lets VMs start now.

libvirt's daemon looks for hooks when it starts, and never again.
"""


HOST_PROBES: tuple[Probe, ...] = (
    Probe("user", "id -un"),
    Probe("os", '. /etc/os-release && echo "$PRETTY_NAME"'),
    Probe("kernel", "uname -r"),
    Probe("flags", "grep -m1 -o -w -E 'vmx|svm' /proc/cpuinfo | head -n1"),
    Probe(
        "devices",
        'for d in /dev/kvm /dev/vhost-net /dev/net/tun; do [ -e "$d" ] && echo "$d"; done; true',
    ),
    Probe("validate", "as_root virt-host-validate qemu"),
    Probe("accelerator", accelerator_script("kvm")),
    Probe(
        "nested",
        "cat /sys/module/kvm_intel/parameters/nested /sys/module/kvm_amd/parameters/nested "
        "2>/dev/null",
    ),
    Probe("cgroup-mounts", "grep -E ' cgroup2? ' /proc/mounts"),
    Probe("cgroup-controllers", "cat /sys/fs/cgroup/cgroup.controllers"),
    Probe(
        "iommu-tables",
        "ls /sys/firmware/acpi/tables/DMAR /sys/firmware/acpi/tables/IVRS 2>/dev/null",
    ),
    Probe("iommu-groups", "ls /sys/kernel/iommu_groups | wc -l"),
    Probe(
        "deb",
        "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' " + " ".join(DEB_PACKAGES),
    ),
    Probe(
        "rpm",
        f"rpm -q --qf 'installed %{{NAME}} %{{VERSION}}-%{{RELEASE}}\\n' {' '.join(RPM_PACKAGES)}",
    ),
    Probe("processes", "ps -e -o args="),
    Probe(
        "units",
        "[ -d /run/systemd/system ] || exit 3\n"
        + _each(UNITS, 'echo "$f $(systemctl is-active "$f" 2>/dev/null)"'),
    ),
    Probe("listening", "ss -Hltn"),
    *(
        Probe(
            f"conf:{name}",
            f"[ -e /etc/libvirt/{name} ] || exit 66\nas_root cat /etc/libvirt/{name}",
        )
        for name in CONF_FILES
    ),
    *(
        Probe(
            f"lens:{name}",
            f"cat /usr/share/augeas/lenses/{lens} || cat /usr/share/augeas/lenses/dist/{lens}",
        )
        for name, lens in LENSES.items()
    ),
    Probe("socket", "stat -c %a /run/libvirt/libvirt-sock"),
    Probe("libvirt-group", "getent group libvirt"),
    GUARD,
    Probe("user", "id -un"),
    Probe("timedatectl", "timedatectl show -p NTP -p NTPSynchronized"),
    Probe("chrony", "chronyc -c tracking"),
    Probe("ksm", "cat /sys/kernel/mm/ksm/run"),
    Probe("meminfo", "cat /proc/meminfo"),
    Probe("overcommit", "cat /proc/sys/vm/overcommit_memory"),
    CERTIFICATES,
    Probe("openssl", "command -v openssl"),
    Probe("own-address", 'getent ahosts "$(hostname)"'),
)


AGEING_PROBES = tuple(
    each
    for each in HOST_PROBES
    if each.name in {"certificates", "openssl", "processes", "units", "listening"}
)
"""What the rules of ``ageing`` ask for."""


def pair_probes(migrate_uri: str, address: str, port: int = 49152) -> tuple[Probe, ...]:
    """What a migration's source is asked about its way to the target.

    Args:
        migrate_uri: what the source's daemon is given as destination.
        address: where the guest's memory goes: a name or an address.
        port: any of the migration ports, on which nobody listens between migrations.
    """
    uri, host = shlex.quote(migrate_uri), shlex.quote(address)
    return (
        Probe("credentials", f"as_root timeout -k 1 6 virsh -q -c {uri} version </dev/null"),
        Probe("resolves", f"getent ahostsv4 {host} || getent ahosts {host}"),
        Probe("port", f"timeout -k 1 3 bash --norc -c 'exec 3<>\"/dev/tcp/$1/{port}\"' sh {host}"),
    )


_HEAD = """\
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif sudo -n true 2>/dev/null; then sudo -n "$@"
    else "$@"; fi
}
"""


def script(probes: Iterable[Probe]) -> str:
    """One shell script that runs all probes, each in its own shell, and prints their exit codes."""
    parts = [
        f"printf '\\n{_MARK} begin %s\\n' {shlex.quote(probe.name)}\n"
        f"(\n{probe.words}\n) 2>&1 </dev/null\nprintf '\\n{_MARK} end %s\\n' $?\n"
        for probe in probes
    ]
    return _HEAD + "".join(parts) + "exit 0\n"


def parse_answers(out: str) -> dict[str, CommandResult]:
    """Each probe's answer by its name, of what the script wrote; cut off ones are left out."""
    pieces = _BEGIN.split(out)
    found: dict[str, CommandResult] = {}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        body, mark, code = text.rpartition(f"\n{_MARK} end ")
        if mark:
            found[name] = CommandResult(int(code.split()[0]), body.strip("\n"))
    return found
