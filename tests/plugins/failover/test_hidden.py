"""What a definition carries for its guest alone is not shown to who may read definitions."""

from __future__ import annotations

import pytest

from plugins.failover.hidden import HIDDEN, hide

PLAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web-token-1</name>
  <os><cmdline>console=ttyS0 root=/dev/vda1</cmdline></os>
  <devices>
    <disk type='network'><auth username='drover'>
      <secret type='ceph' uuid='11111111-2222-3333-4444-555555555555'/></auth>
      <source protocol='rbd' name='pool/secret-disk'/></disk>
    <graphics type='vnc' port='-1' autoport='yes'/>
  </devices>
  <qemu:commandline><qemu:arg value='-cpu'/><qemu:arg value='host,+vmx'/></qemu:commandline>
</domain>"""


@pytest.mark.parametrize(
    "line",
    [
        "<graphics type='vnc' passwd='HUNTER2'/>",
        '<graphics type="spice" password="HUNTER2"/>',
        "<cmdline>console=ttyS0 rd.luks.passphrase=HUNTER2 quiet</cmdline>",
        "<cmdline>join_token=HUNTER2</cmdline>",
        "<qemu:arg value='secret,id=sec0,format=raw,data=HUNTER2'/>",
        '<qemu:arg value="user,id=n0,api-key=HUNTER2,net=10.0.0.0/8"/>',
        "<qemu:env name='VAULT_TOKEN' value='HUNTER2'/>",
        '<qemu:env name="DB_PASSWORD" value="HUNTER2 with blanks"/>',
        "<sysinfo type='fwcfg'>\n<entry name='opt/com.coreos/config'>{\"HUNTER2\": 1}</entry>\n</sysinfo>",
        "<oemStrings>\n<entry>io.systemd.credential:passwd.hashed=HUNTER2</entry>\n</oemStrings>",
        "<oemStrings><entry>one</entry><entry>HUNTER2\nof lines</entry></oemStrings>",
    ],
)
def test_a_value_that_is_the_guests_alone_is_hidden(line: str) -> None:
    shown = hide(PLAIN.replace("<devices>", f"{line}\n<devices>"))
    assert "HUNTER2" not in shown
    assert HIDDEN in shown


def test_a_definition_without_one_is_shown_to_the_letter() -> None:
    assert hide(PLAIN) == PLAIN
    file = "<sysinfo type='fwcfg'><entry name='opt/x' file='/srv/x.ign'/></sysinfo>"
    assert hide(file) == file
