"""What `host check` says of a host's power controllers, and of VMs that would start twice after a failover."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.cluster import Vm, VmState
from bot.domain.power import Power, Reading
from bot.domain.readiness import CommandResult, Finding, Severity
from plugins.host_check.findings import Seen
from tests.plugins.host_check.test_rules import NOW, found, host

NAME = "power by bmc-a"


def seen(
    reading: Reading | None = None, *guests: Vm, bound: str = "", silent: bool = False
) -> Seen:
    made = host({"uuid": "uuid-a"}, guests=guests)
    readings = () if reading is None else (reading,)
    made = replace(made, readings=readings, bound=frozenset({bound}))
    return replace(made, facts=None) if silent else made


def reads(power: Power, identity: str = "", problem: str = "") -> Reading:
    return Reading("host-a", "bmc-a", 1, power, NOW, identity, problem)


def test_a_host_without_controllers_has_no_row() -> None:
    names = set(found(seen()))
    assert not {each for each in names if "power" in each or each == "autostart"}


@pytest.mark.parametrize(
    ("reading", "severity", "says"),
    [
        (reads(Power.ON, "UUID-A"), Severity.PASS, "on, the same machine (uuid-a)"),
        (reads(Power.ON, "uuid-b"), Severity.FAIL, "it controls another machine (uuid-b)"),
        (reads(Power.UNKNOWN, "", "no route"), Severity.FAIL, "it does not answer: no route"),
        (reads(Power.OFF, "uuid-a"), Severity.FAIL, "it reads off, and host-a answers"),
        (reads(Power.ON), Severity.WARN, "never shown to be this host's"),
    ],
)
def test_what_a_controller_reads(reading: Reading, severity: Severity, says: str) -> None:
    row = found(seen(reading))[NAME]
    assert (row.severity, says in str(row.evidence)) == (severity, True), row.evidence
    assert bool(row.fix) is (severity is not Severity.PASS)


def test_a_controller_that_was_bound_is_good_without_an_identity() -> None:
    row = found(seen(reads(Power.ON), bound="bmc-a"))[NAME]
    assert (row.severity, str(row.evidence)) == (Severity.PASS, "on, shown to be this host's")


def test_a_controller_that_proved_the_host_off_wrongly_is_red_whatever_it_names() -> None:
    made = replace(seen(reads(Power.ON, "uuid-a")), refuted=frozenset({"bmc-a"}))
    row = found(made)[NAME]
    assert (row.severity, "it read off before" in str(row.evidence)) == (Severity.FAIL, True)
    assert "failover drill host-a --real" in str(row.fix)


def test_a_host_that_is_off_and_silent_reads_off_rightly() -> None:
    assert found(seen(reads(Power.OFF), bound="bmc-a", silent=True))[NAME].severity is Severity.PASS


def autostarting(name: str, **tags: str) -> Vm:
    return Vm(name, name, "host-a", VmState.RUNNING, 1, 1 << 30, autostart=True, tags=tags)


def test_vms_that_libvirt_would_start_again_are_told() -> None:
    row: Finding = found(
        seen(
            reads(Power.ON, "uuid-a"), autostarting("web-1"), autostarting("test-1", failover="off")
        )
    )["autostart"]
    assert row.severity is Severity.WARN
    assert "web-1" in str(row.evidence)
    assert "test-1" not in str(row.evidence)
    assert "failover protect" in str(row.fix)


@pytest.mark.parametrize(
    ("told", "severity", "says"),
    [
        (CommandResult(66, ""), Severity.PASS, "none"),
        (CommandResult(1, "admitted\n"), Severity.WARN, "not executable"),
        (CommandResult(1, "executable\nadmitted\n"), Severity.WARN, "daemon was started before"),
        (CommandResult(0, "executable\nread\n"), Severity.WARN, "the host is not admitted"),
        (CommandResult(0, "executable\nadmitted\nread\n"), Severity.PASS, "it works"),
    ],
)
def test_the_guard_against_old_copies(told: CommandResult, severity: Severity, says: str) -> None:
    made = replace(host({"uuid": "uuid-a"}, guard=told), readings=(reads(Power.ON, "uuid-a"),))
    row = found(made)["guard"]
    assert (row.severity, says in str(row.evidence)) == (severity, True), row.evidence
    assert "guard" not in found(replace(made, readings=()))  # without controllers no failover
