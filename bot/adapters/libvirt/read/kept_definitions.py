"""Definitions read to be kept, and stored again on another host."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TypeAlias

import libvirt
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import document, parse
from bot.adapters.libvirt.read.stats import state_of
from bot.adapters.libvirt.transport.connections import Connection
from bot.adapters.libvirt.transport.parts import count
from bot.domain.definition import Definition, MaybeUnchanged, Unchanged, sha_of, state_to_keep

Domain: TypeAlias = libvirt.virDomain
"""A ``libvirt.virDomain``; the vendor publishes no types."""

_VNC_MOST = 8  # characters that the protocol takes of a password


def definitions(
    connection: Connection, host: str, at: datetime, known: Collection[str] = ()
) -> tuple[MaybeUnchanged, ...]:
    """The definitions of all VMs of a host; one that goes away meanwhile is left out.

    Those whose ``sha`` is ``known`` are told to be unchanged.
    """
    return tuple(_all(connection, host, at, known))


def _all(
    connection: Connection, host: str, at: datetime, known: Collection[str]
) -> Iterator[MaybeUnchanged]:
    for domain in connection.listAllDomains():
        try:
            yield _definition(domain, host, at, known)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise


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
        uuid=found.uuid,
        name=found.name,
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
