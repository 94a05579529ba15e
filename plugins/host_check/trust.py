"""Whether one host's daemons let the other's in, and what a migration shows to who listens: two rules for a pair.

Texts of refusals as libvirt 9.0 and GnuTLS write them. Sources: libvirt's docs/kbase/tlscerts.rst and QEMU's
docs/system/tls.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from bot.domain.readiness import Finding
from plugins.host_check.findings import Seen, Way, failed, passed, unknown, warned
from plugins.host_check.readings import Certificate, certificates

_CLIENT, _AUTHORITY = "/etc/pki/libvirt/clientcert.pem", "/etc/pki/CA/cacert.pem"
_CHECKED = re.compile(r"Certificate check failed (.+)")

# What a refusal holds → what to do on the source ({here}) or the target ({there}), whose daemon goes by {name}.
_TLS_FIXES = {
    "Cannot read CA certificate": f"On {{here}}: copy the authority that signed {{there}}'s to {_AUTHORITY}",
    "clientcert.pem has expired": f"On {{here}}: renew {_CLIENT}",
    "Our own certificate": f"On {{here}}: {_CLIENT} must be signed by {_AUTHORITY}, which must be the one of {{there}}",
    "owner does not match the hostname": (
        "Renew {there}'s certificate with subjectAltName=DNS:{name}, or put a name that it has into migrate_uri"
    ),
    "known issuer": f"On {{here}}: {_AUTHORITY} must hold the authority that signed {{there}}'s certificate",
    "expired": "On {there}: renew /etc/pki/libvirt/servercert.pem",
    "nable to connect": "See that the daemon of {there} listens for TLS (16514): `host check {there}`",
}
_OTHERWISE = f"On {{here}}: put a client certificate of the authority that {{there}} trusts into {_CLIENT}"

_NEEDED = (("ca-cert.pem", "client-cert.pem"), ("ca-cert.pem", "server-cert.pem"))
"""QEMU's certificates: what a migration's source needs, and its target."""


def credentials(name: str, way: Way) -> Finding:
    """Whether the source's daemon gets in at the target, tried with its own keys."""
    here, there = way.here, way.there
    found = way.seen.answers.get("credentials")
    if found is None:
        return unknown(name, way.seen.no_shell)
    if found.ok:
        return passed(name, f"{here.host} connects to {way.pair.migrate_uri}")
    if found.code == 124:
        return failed(
            name,
            f"{way.pair.migrate_uri} does not answer {here.host}",
            f"Look at the firewall and the daemon of {there.host}",
        )
    if found.code == 127:
        return unknown(name, "virsh is not there", "apt-get install --no-install-recommends libvirt-clients")
    return failed(name, _refusal(found.out) or f"exit code {found.code}", _fix(way, found.out))


def _refusal(text: str) -> str:
    """What was said last, after what was found wrong with a certificate."""
    checked = _CHECKED.search(text)
    return f"{checked[1].rstrip('.')}: {last_line(text)}" if checked else last_line(text)


def last_line(text: str) -> str:
    """The last line with words in it, without ``error:``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""


def _fix(way: Way, said: str) -> str:
    here, there, uri = way.here.host, way.there.host, urlsplit(way.pair.migrate_uri)
    if "ssh" in uri.scheme:
        return f"On {here}, as root: ssh-keygen -t ed25519 && ssh-copy-id {uri.netloc or there}"
    if "tls" in uri.scheme:
        fix = next((fix for words, fix in _TLS_FIXES.items() if words in said), _OTHERWISE)
        return fix.format(here=here, there=there, name=uri.hostname or there)
    return f"Use qemu+tls:// or qemu+ssh:// in migrate_uri of {there}, and see that its daemon listens"


def encryption(name: str, way: Way) -> Finding:
    """Whether a guest's memory and disks cross the network readable, and whether QEMU has the certificates it takes."""
    if not way.pair.migrate_tls:
        return warned(
            name,
            "guests' memory and copied disks cross the network in the clear",
            "Set migrate_tls = true for the target in the configuration; both hosts need certificates in /etc/pki/qemu",
        )
    for seen, needed in zip((way.seen.source, way.seen.target), _NEEDED, strict=True):
        if not seen.shell:
            return unknown(name, seen.no_shell)
        wrong = next(_wrong(name, seen, needed, way), None)
        if wrong is not None:
            return wrong
    return passed(name, "QEMU encrypts what it sends")


def _wrong(name: str, seen: Seen, needed: tuple[str, ...], way: Way) -> Iterator[Finding]:
    """What is wrong with the certificates that a host's QEMU needs, the worst first."""
    there = {each.file: each for each in certificates(seen.text("certificates"))}
    lacking = [each for each in needed if each not in there]
    if lacking:
        fix = f"On {seen.host}: put {', '.join(lacking)} and the key into /etc/pki/qemu, readable for QEMU's user"
        yield failed(name, f"QEMU of {seen.host} has no {' and no '.join(lacking)}", fix)
    found = [there[each] for each in needed if each in there]
    yield from (failed(name, *said) for each in found for said in _broken(seen, each, way.now))
    for each in found:
        left = each.days(way.now)
        if left < way.settings.certificate_days:
            yield warned(name, f"{each.path} of {seen.host} ends in {left:.0f} days", _renew(seen, each))


def _broken(seen: Seen, found: Certificate, now: datetime) -> Iterator[tuple[str, str]]:
    if found.days(now) < 0:
        yield f"{found.path} of {seen.host} ended on {found.ends:%Y-%m-%d}", _renew(seen, found)
    if found.strange:
        yield f"{found.path} of {seen.host} is not of the authority beside it", _renew(seen, found)


def _renew(seen: Seen, found: Certificate) -> str:
    return f"On {seen.host}: renew {found.path}; the next migration uses it"
