"""What is built for libvirt: volumes that keep bitmaps, and copies that share nothing they must not."""

from __future__ import annotations

import pytest
from lxml import etree

from bot.adapters.libvirt.read.domain_xml import document
from bot.adapters.libvirt.write import copying, domain_build
from bot.ports.guests import Copy, GuestDisk


def test_a_new_qcow2_volume_is_of_version_3() -> None:
    made = document(domain_build.volume("a.qcow2", 1 << 20, base=("/pool/b.qcow2", "qcow2")))
    assert made.findtext("target/compat") == "1.1"
    assert made.findtext("backingStore/path") == "/pool/b.qcow2"
    assert (
        document(domain_build.volume("a.iso", 1 << 20, format="raw")).find("target/compat") is None
    )


# Copies

OLD, NEW = "11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555"
DEVICES = """
  <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='writeback'/><source file='/pool/a.qcow2'/>
    <backingStore type='file'><format type='qcow2'/><source file='/pool/golden.qcow2'/></backingStore>
    <target dev='vda' bus='virtio'/><serial>disk-1</serial><wwn>5000c50015ea71ac</wwn></disk>
  <disk type='file' device='disk'><source file='/pool/both'/><target dev='vdb' bus='virtio'/><shareable/>
    <serial>both</serial></disk>
  <disk type='file' device='cdrom'><source file='/iso/a.iso'/><target dev='sda' bus='sata'/></disk>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='tap-a'/>
    <virtualport type='openvswitch'><parameters interfaceid='11111111-0000-4333-8444-555555555555'/></virtualport>
  </interface>
  <serial type='file'><source path='/log/a.log'/><target port='0'/><log file='/pool/a-serial.log'/></serial>
  <serial type='unix'><source mode='bind' path='/run/a.sock'/><target port='1'/></serial>
  <console type='file'><source path='/log/a.log'/><target type='serial' port='0'/><log file='/pool/a-serial.log'/>
  </console>
  <channel type='unix'><source mode='bind' path='/run/agent.sock'/>
    <target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
  <graphics type='vnc' port='5907' autoport='no' websocket='5707' passwd='secret'><listen type='address'/></graphics>
  <graphics type='spice' port='5908' tlsPort='5909' autoport='no'/>
  <vsock model='virtio'><cid auto='no' address='7'/></vsock>
  <shmem name='ring'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
  <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  <pstore backend='acpi-erst'><path>/nvram/a_PSTORE.raw</path><size unit='KiB'>64</size></pstore>
"""


ADDRESS = "<address type='pci' domain='0x0' bus='0x1' slot='0x0' function='0x0'/>"


def definition(devices: str = DEVICES, more: str = "") -> str:
    return f"""
      <domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
        <name>a</name><uuid>{OLD}</uuid><genid>{OLD[:-1]}6</genid><title>A</title>
        <metadata><n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'><n:owner>{OLD}</n:owner></n:instance>
          <l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'><l:os id='debian'/></l:libosinfo>
        </metadata>
        <os><type>hvm</type><loader type='pflash'>/code.fd</loader><nvram template='/vars.fd'>/nvram/a.fd</nvram></os>
        <sysinfo type='smbios'>
          <system><entry name='manufacturer'>oVirt</entry><entry name='uuid'>{OLD}</entry>
            <entry name='serial'>{OLD}</entry></system>
          <baseBoard><entry name='serial'>host-serial</entry><entry name='asset'>42</entry></baseBoard>
        </sysinfo>{more}<devices>{devices}</devices>
      </domain>"""


def copy_of(xml: str) -> etree._Element:
    placed = domain_build.PlacedDisk(GuestDisk("pool", "b.qcow2", "vda"), "/pool/b.qcow2")
    wish = Copy(OLD, NEW, "b", (placed.disk,), ("52:54:00:99:99:99",), {"env": "qa"})
    return document(copying.copy_definition(document(xml), wish, {"vda": placed}))


def test_a_copy_has_nothing_that_only_one_vm_may_have() -> None:
    xml = definition()
    assert copying.obstacles(document(xml)) == ()
    made, old = copy_of(xml), document(xml)
    assert (made.findtext("name"), made.findtext("uuid")) == ("b", NEW)
    text = domain_build.text(made)
    owned = [
        OLD,
        "/pool/a.qcow2",
        "golden",
        "disk-1",
        "5000c50015ea71ac",
        "/iso/",
        "00:00:01",
        "tap-a",
        "interfaceid",
    ]
    owned += [
        "/log/a.log",
        "a-serial.log",
        "a.sock",
        "agent.sock",
        "590",
        "5707",
        "'7'",
        "host-serial",
        "asset",
        "a_PSTORE",
    ]
    for own in (*owned, "/nvram/a.fd", ">A<", "nova"):
        assert own not in text, own
    for kept in (
        "oVirt",
        "/pool/both",
        ">both<",
        "passwd",
        "libosinfo",
        "ivshmem-plain",
        "/vars.fd",
        'type="emulator"',
    ):
        assert kept in text, kept
    assert made.find("genid") is not None
    assert not made.findtext("genid")
    assert {each.text for each in made.findall("sysinfo/*/entry[@name='serial']")} == {NEW}
    assert made.findtext("sysinfo/system/entry[@name='uuid']") == NEW
    serial, console = made.find("devices/serial/source"), made.find("devices/console/source")
    assert serial is not None
    assert console is not None
    assert serial.get("path") == console.get("path")
    logs = {each.get("file") for each in made.findall("devices/*/log")}
    assert logs == {f"/pool/{NEW}-serial.log"}
    assert (
        len(
            {
                serial.get("path"),
                *logs,
                *(each.get("path") for each in made.findall("devices/serial/source")),
            }
        )
        == 3
    )
    assert made.find("devices/shmem[@name='ring']") is None
    disk = made.find("devices/disk")
    assert disk is not None
    assert len(disk.findtext("serial", "")) == 20
    assert len(disk.findtext("wwn", "")) == 16
    assert len(made.findall("devices/*")) == len(old.findall("devices/*"))


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        (f"<hostdev mode='subsystem' type='pci'><source>{ADDRESS}</source></hostdev>", "PCI 0000:01:00.0"),
        (f"<interface type='hostdev'><source>{ADDRESS}</source></interface>", "the host device"),
        ("<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sdb'/></disk>", "LUN sdb"),
        ("<disk type='file'><source file='/a'><encryption format='luks'/></source><target dev='vdc'/></disk>", "vdc"),
        ("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", "TPM of the host"),
        ("<serial type='dev'><source path='/dev/ttyS0'/></serial>", "/dev/ttyS0"),
        ("<serial type='tcp'><source mode='bind' host='0.0.0.0' service='4555'/></serial>", "port 4555"),
        (f"<channel type='unix'><source mode='connect' path='/run/{OLD}'/></channel>", "connects to"),
        ("<interface type='vhostuser'><source type='unix' path='/v.sock' mode='client'/></interface>", "/v.sock"),
        ("<interface type='direct'><source dev='eth1' mode='passthrough'/></interface>", "all of eth1"),
        ("<interface type='ethernet'><target dev='tap7' managed='no'/></interface>", "tap7"),
        ("<memory model='nvdimm'><source><path>/srv/nv</path></source></memory>", "/srv/nv"),
        ("<filesystem><source socket='/run/fs.sock'/><target dir='x'/></filesystem>", "/run/fs.sock"),
        ("<input type='evdev'><source dev='/dev/input/event1'/></input>", "/dev/input/event1"),
        (f"<filesystem><source dir='/srv/{OLD}'/><target dir='x'/></filesystem>", "names the VM's UUID"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_anew_is_told_before_anything_is_copied(
    devices: str, says: str
) -> None:
    assert says in " ".join(map(str, copying.obstacles(document(definition(devices)))))


def test_firmware_that_a_vm_writes_to_is_its_own() -> None:
    """One flash chip with code and variables; libvirt makes only variables anew."""
    writable = definition().replace("<loader type", "<loader readonly='no' type")
    assert list(map(str, copying.obstacles(document(writable)))) == [
        "the firmware that it writes to (/code.fd)"
    ]
    store = definition().replace(
        "</os>", "<varstore template='/t.json' path='/nvram/a.json'/></os>"
    )
    made = copy_of(store).find("os/varstore")
    assert made is not None
    assert (made.get("template"), made.get("path")) == ("/t.json", None)


def test_arguments_for_qemu_alone_are_told_when_they_name_files_or_ports() -> None:
    def found(value: str) -> tuple[str, ...]:
        argument = f"<qemu:commandline><qemu:arg value='{value}'/></qemu:commandline>"
        return tuple(map(str, copying.obstacles(document(definition(more=argument)))))

    assert "hostfwd" in found("user,hostfwd=tcp::2222-:22")[0]
    assert found("-no-hpet") == ()
