"""Definitions read to be kept, and stored again on another host."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.stats import state_of
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.parts import Parts, count, name_of
from bot.domain.definition import (
    Definition,
    MaybeUnchanged,
    Unchanged,
    Unreadable,
    sha_of,
    state_to_keep,
)

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_A_MOMENT = 0.1  # seconds, less than who else asks waits before one more connection is opened
_VNC_MOST = 8  # characters that the protocol takes of a password


@dataclass(slots=True)
class Readout:
    """The definitions of all VMs of a host, read a few at a time.

    One that goes away meanwhile is left out, one that cannot be read is told as such. Those whose
    ``sha`` is ``known`` are told to be unchanged. For one thread.
    """

    host: str
    at: datetime
    known: Collection[str] = ()
    found: dict[str, MaybeUnchanged] = field(default_factory=dict)  # by UUID
    _tried: set[str] = field(default_factory=set)

    def go_on(self, connection: Connection) -> bool:
        """Read on for a moment, over any connection to the host; return whether all are read.

        Handles of VMs belong to their connection, so VMs are listed anew each time.
        """
        until = time.monotonic() + _A_MOMENT
        for domain in connection.listAllDomains():
            uuid = domain.UUIDString()
            if uuid in self._tried:
                continue
            self._read(connection, domain, uuid)
            if time.monotonic() >= until:
                return False
        return True

    def _read(self, connection: Connection, domain: Domain, uuid: str) -> None:
        parts, name = Parts(connection), name_of(domain)
        read = parts.read(
            "definition", name, lambda: _definition(domain, self.host, self.at, self.known)
        )
        if read is not None:
            self.found[uuid] = read
        elif why := parts.why("definition", name):
            self.found[uuid] = Unreadable(uuid, name, self.host, why)
        self._tried.add(uuid)


def _definition(domain: Domain, host: str, at: datetime, known: Collection[str]) -> MaybeUnchanged:
    persistent = bool(domain.isPersistent())
    # The stored one is what its next start is by; a transient VM has none. Never
    # VIR_DOMAIN_XML_MIGRATABLE: that tells passwords too.
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if persistent else 0
    xml = str(domain.XMLDesc(flags))
    sha = sha_of(xml)
    state = state_to_keep(*state_of(*map(count, domain.state())))
    password = _has_password(domain, xml, flags)
    if sha in known:
        return Unchanged(domain.UUIDString(), host, sha, at, state, persistent, password)
    found = parse(xml)
    return Definition(
        uuid=domain.UUIDString(),
        name=found.name or name_of(domain),
        host=host,
        xml=xml,
        sha=sha,
        taken_at=at,
        seen_at=at,
        state=state,
        vcpus=found.vcpus,
        memory=found.memory,
        detail=found.detail,
        tags=dict(found.tags),
        persistent=persistent,
        password=password,
    )


def _has_password(domain: Domain, xml: str, flags: int) -> bool:
    """Whether a screen has a password. It is looked at here and goes nowhere."""
    if "<graphics" not in xml:  # texts are searched before they are parsed, which costs far more
        return False
    whole = str(domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE))
    if "passwd=" not in whole:
        return False
    return any(each.get("passwd") for each in document(whole).iterfind("devices/graphics"))


def define(connection: Connection, kept: Definition, *, reset_nvram: bool) -> None:
    """Store a kept definition; see the port."""
    root = document(kept.xml)
    root.attrib.pop("id", "")
    if kept.password:
        for screen in root.iterfind("devices/graphics"):
            screen.set("passwd", secrets.token_urlsafe(_VNC_MOST)[:_VNC_MOST])
    variables = root.find("os/nvram")
    if reset_nvram and variables is not None:
        variables.text = None  # libvirt names the file anew and fills it from the template
    connection.defineXML(etree.tostring(root, encoding="unicode"))
