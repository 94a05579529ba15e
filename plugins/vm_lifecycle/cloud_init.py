"""Pure: the NoCloud files of a new VM for cloud-init; JSON, which is YAML too."""

from __future__ import annotations

import json
from dataclasses import dataclass

HEADER = "#cloud-config\n"


@dataclass(frozen=True, slots=True)
class VmIdentity:
    """The identity of a new VM.

    ``address`` is ``ADDRESS/BITS``, '' for DHCP; ``user`` '' adds nobody.
    """

    uuid: str
    name: str
    mac: str
    user: str = ""
    ssh_keys: tuple[str, ...] = ()
    address: str = ""
    gateway: str = ""


def meta_data(who: VmIdentity) -> str:
    """The instance's id and name."""
    return _json({"instance-id": who.uuid, "local-hostname": who.name})


def cloud_config(who: VmIdentity) -> str:
    """A user who may log in by key alone, and the name."""
    config: dict[str, object] = {"hostname": who.name, "preserve_hostname": False}
    if who.user:
        person: dict[str, object] = {"name": who.user, "lock_passwd": True, "shell": "/bin/bash"}
        person |= {"sudo": "ALL=(ALL) NOPASSWD:ALL"}
        config["users"] = [
            person | ({"ssh_authorized_keys": list(who.ssh_keys)} if who.ssh_keys else {})
        ]
    elif who.ssh_keys:
        config["ssh_authorized_keys"] = list(who.ssh_keys)
    return HEADER + _json(config)


def network_config(who: VmIdentity) -> str:
    """Version 2; the NIC is found by its MAC address, whatever the VM calls it."""
    card: dict[str, object] = {"match": {"macaddress": who.mac}}
    card |= {"addresses": [who.address]} if who.address else {"dhcp4": True}
    if who.gateway:
        card["routes"] = [{"to": "0.0.0.0/0", "via": who.gateway}]
    return _json({"version": 2, "ethernets": {"primary": card}})


def files(who: VmIdentity, given: str) -> tuple[str, str]:
    """User data and vendor data: where a person gave user data, ours becomes vendor data."""
    return (given, cloud_config(who)) if given else (cloud_config(who), "")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
