"""Definitions that are read to be kept, from hosts that libvirt's own test driver plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.libvirt.read import kept_definitions
from bot.domain.definition import Definition, Unchanged
from bot.testing import TickingClock
from tests.waiting import PATIENCE

NAMES = ("app-1", "db-1", "web-1")


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[LibvirtHypervisor]:
    vms = "".join(
        f"<domain type='test'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
        for name in NAMES
    )
    file = tmp_path / "host.xml"
    file.write_text(f"<node>{vms}</node>")
    address = HostAddress("host-t", f"test://{file}", f"test://{file}")
    made = LibvirtHypervisor([address], clock=TickingClock(), deadline=PATIENCE)
    reader = made._reader("host-t")
    for line in (reader.look, reader.act, reader.storage._line):
        line.patience = PATIENCE  # however slow the machine is: another is opened for no wait
    yield made
    made.close()


@pytest.mark.parametrize("moment", [0.0, 3600.0])
def test_all_are_read_however_few_at_a_time_over_the_one_connection(
    moment: float, hypervisor: LibvirtHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    really = libvirt.open

    def counted(uri: str) -> libvirt.virConnect:
        opened.append(uri)
        return really(uri)

    monkeypatch.setattr(libvirt, "open", counted)
    monkeypatch.setattr(kept_definitions, "_A_MOMENT", moment)
    hypervisor.snapshot()
    found = hypervisor.definitions("host-t")
    assert {each.name for each in found if isinstance(each, Definition)} == set(NAMES)
    first, *others = found
    assert isinstance(first, Definition)
    again = hypervisor.definitions("host-t", [first.sha])
    assert [each.uuid for each in again if isinstance(each, Unchanged)] == [first.uuid]
    assert {each.uuid for each in again} == {first.uuid, *(each.uuid for each in others)}
    assert len(opened) == 1


def test_one_that_goes_away_meanwhile_is_left_out_and_one_that_comes_is_read(
    hypervisor: LibvirtHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_definitions, "_A_MOMENT", 0.0)
    readout = kept_definitions.Readout("host-t", TickingClock().now())
    connection = libvirt.open(hypervisor._reader("host-t").uri)
    assert not readout.go_on(connection)
    (first,) = readout.found.values()
    gone = next(each for each in connection.listAllDomains() if each.UUIDString() != first.uuid)
    gone.destroy()
    gone.undefine()
    connection.defineXML(
        "<domain type='test'><name>new</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    while not readout.go_on(connection):
        pass
    names = {each.name for each in readout.found.values() if isinstance(each, Definition)}
    assert names == {*NAMES, "new"} - {gone.name()}
    connection.close()
