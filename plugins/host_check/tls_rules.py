"""Whether one host's daemon accepts the other's, and whether a migration is encrypted.

Texts of refusals as libvirt 9.0 and GnuTLS write them. Sources: libvirt's docs/kbase/tlscerts.rst
and QEMU's docs/system/tls.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from shlex import quote
from urllib.parse import urlsplit

from bot.domain.message import Code, Names, Words, nwords, words
from bot.domain.readiness import Finding
from plugins.host_check.findings import Seen, Way, command, failure, good, unknown, warning
from plugins.host_check.readings import Certificate, certificates

_CHECKED = re.compile(r"Certificate check failed (.+)")

# What a refusal holds → what to do on the source ({here}) or the target ({there}), whose daemon
# goes by {name}.
_TLS_FIXES = {
    "Cannot read CA certificate": words(
        "On {here}: copy the authority that signed the certificate of {there} to "
        "`/etc/pki/CA/cacert.pem`."
    ),
    "clientcert.pem has expired": words("On {here}: renew `/etc/pki/libvirt/clientcert.pem`."),
    "Our own certificate": words(
        "On {here}: `/etc/pki/libvirt/clientcert.pem` must be signed by `/etc/pki/CA/cacert.pem`, "
        "which must be the one of {there}."
    ),
    "owner does not match the hostname": words(
        "Renew the certificate of {there} with `subjectAltName=DNS:`{name}, or put a name that it "
        "has "
        "into `migrate_uri`."
    ),
    "known issuer": words(
        "On {here}: `/etc/pki/CA/cacert.pem` must hold the authority that signed the certificate "
        "of {there}."
    ),
    "expired": words("On {there}: renew `/etc/pki/libvirt/servercert.pem`."),
    "nable to connect": words("See that the daemon of {there} listens for TLS (16514): {check}"),
}
_OTHERWISE = words(
    "On {here}: put a client certificate of the authority that {there} trusts into "
    "`/etc/pki/libvirt/clientcert.pem`."
)

_NEEDED = (("ca-cert.pem", "client-cert.pem"), ("ca-cert.pem", "server-cert.pem"))
"""QEMU's certificates: what a migration's source needs, and its target."""


def credentials(name: str, way: Way) -> Finding:
    """Whether the source's daemon gets in at the target, tried with its own keys."""
    here, there = way.here, way.there
    found = way.seen.answers.get("credentials")
    if found is None:
        return unknown(name, way.seen.no_shell)
    if found.ok:
        return good(
            name, words("{source} connects to {uri}", source=here.host, uri=way.pair.migrate_uri)
        )
    if found.code == 124:
        return failure(
            name,
            words("{uri} does not answer {source}", uri=way.pair.migrate_uri, source=here.host),
            words("Look at the firewall and the daemon of {target}.", target=there.host),
        )
    if found.code == 127:
        fix = command("apt-get install --no-install-recommends libvirt-clients")
        return unknown(name, words("virsh is not there"), fix)
    return failure(
        name,
        _refusal(found.out) or words("exit code {code}", code=found.code),
        _fix(way, found.out),
    )


def _refusal(text: str) -> str:
    """What was said last, after what was found wrong with a certificate."""
    checked = _CHECKED.search(text)
    return f"{checked[1].rstrip('.')}: {last_line(text)}" if checked else last_line(text)


def last_line(text: str) -> str:
    """The last line with words in it, without ``error:``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""


def _fix(way: Way, said: str) -> Words:
    here, there, uri = way.here.host, way.there.host, urlsplit(way.pair.migrate_uri)
    if "ssh" in uri.scheme:
        line = f"ssh-keygen -t ed25519 && ssh-copy-id {quote(uri.netloc or there)}"
        return words("On {source}, as root: {command}", source=here, command=Code(line))
    if "tls" in uri.scheme:
        fix = next((fix for refusal, fix in _TLS_FIXES.items() if refusal in said), _OTHERWISE)
        names = {"here": here, "there": there, "name": uri.hostname or there}
        return replace(fix, args={**names, "check": Code(f"/kvm host check {quote(there)}")})
    return words(
        "Use `qemu+tls://` or `qemu+ssh://` in `migrate_uri` of {target}, and see that its daemon "
        "listens.",
        target=there,
    )


def encryption(name: str, way: Way) -> Finding:
    """Whether memory and disks of VMs cross the network encrypted, with certificates for QEMU."""
    if not way.pair.migrate_tls:
        return warning(
            name,
            words("memory and copied disks of VMs cross the network in the clear"),
            words(
                "Set `migrate_tls = true` for the target in the configuration; both hosts need "
                "certificates "
                "in `/etc/pki/qemu`."
            ),
        )
    for seen, needed in zip((way.seen.source, way.seen.target), _NEEDED, strict=True):
        if not seen.shell:
            return unknown(name, seen.no_shell)
        wrong = next(_wrong(name, seen, needed, way), None)
        if wrong is not None:
            return wrong
    return good(name, words("QEMU encrypts what it sends"))


def _wrong(name: str, seen: Seen, needed: tuple[str, ...], way: Way) -> Iterator[Finding]:
    """What is wrong with the certificates that a host's QEMU needs, the worst first."""
    there = {each.file: each for each in certificates(seen.text("certificates"))}
    lacking = [each for each in needed if each not in there]
    if lacking:
        files = Names(tuple(lacking))
        fix = words(
            "On {host}: put {files} and the key into `/etc/pki/qemu`, readable for QEMU's user.",
            host=seen.host,
            files=files,
        )
        yield failure(name, words("QEMU of {host} lacks {files}", host=seen.host, files=files), fix)
    found = [there[each] for each in needed if each in there]
    yield from (failure(name, *said) for each in found for said in _faults(seen, each, way.now))
    for each in found:
        left = each.days(way.now)
        if left < way.settings.certificate_days:
            told = nwords(
                "{file} of {host} ends in {n} day",
                "{file} of {host} ends in {n} days",
                n=round(left),
                file=each.path,
                host=seen.host,
            )
            yield warning(name, told, _renew(seen, each))


def _faults(seen: Seen, found: Certificate, now: datetime) -> Iterator[tuple[Words, Words]]:
    if found.ends is not None and found.days(now) < 0:
        ended = words(
            "{file} of {host} ended on {date}",
            file=found.path,
            host=seen.host,
            date=found.ends.date(),
        )
        yield ended, _renew(seen, found)
    if found.strange:
        strange = words(
            "{file} of {host} is not of the authority beside it", file=found.path, host=seen.host
        )
        yield strange, _renew(seen, found)


def _renew(seen: Seen, found: Certificate) -> Words:
    return words(
        "On {host}: renew {file}; the next migration uses it.", host=seen.host, file=found.path
    )
