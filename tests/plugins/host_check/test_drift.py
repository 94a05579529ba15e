"""Clocks that drift and certificates that end, by looks at hosts whose shells say so."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from bot.domain.readiness import CommandResult, Finding, HostReport, Severity
from bot.plugin_api import Alert, History, Looked, Measured, WatchView
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from plugins.host_check import daily, drift, handler, probes
from plugins.host_check.drift import Ageing
from plugins.host_check.findings import CheckResult, Seen
from plugins.host_check.settings import HostCheckSettings
from tests.plugins.host_check.test_commands import machine

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = HostCheckSettings(clock_hold=600)
CLUSTER = draw_cluster("host-a 1cpu 1G\nhost-b 1cpu 1G\nhost-c 1cpu 1G")
ENDS = Finding(
    "certificate /etc/pki/libvirt/servercert.pem",
    Severity.WARN,
    "ends on 2026-01-20, in 15 days",
    "Renew",
)


def clock(host: str, ahead: float | None, *findings: Finding) -> Ageing:
    told = (
        () if ahead is None else (Finding("clock", Severity.WARN, f"{ahead} s ahead of the bot's"),)
    )
    return Ageing(host, ahead, (*told, *findings))


class Looks:
    """Looks one after another, with the memory in between."""

    def __init__(self) -> None:
        self.memory: Any = {}

    def at(self, minutes: float, *seen: Ageing) -> dict[str, bool]:
        """Key of each alert, and whether it is over."""
        history = cast("History", None)  # nothing here reads it
        view = WatchView(
            CLUSTER, (), history, Measured(), self.memory, NOW + timedelta(minutes=minutes), seen
        )
        looked = drift.watch(SETTINGS, view)
        self.memory = looked.memory
        return {each.key: each.over for each in looked.noticed if isinstance(each, Alert)}


def test_a_clock_is_told_when_it_stays_off_and_until_it_is_well_right() -> None:
    looks = Looks()
    assert looks.at(0, clock("host-a", 3.0), clock("host-b", 0.0)) == {}
    assert looks.at(10, clock("host-a", 3.0), clock("host-b", 0.0)) == {"clock:host-a": False}
    assert looks.at(20, clock("host-a", 0.4), clock("host-b", 0.0)) == {"clock:host-a": False}
    assert looks.at(30, clock("host-a", None), clock("host-b", 0.0)) == {}
    assert looks.at(40, clock("host-a", 0.1), clock("host-b", 0.0)) == {"clock:host-a": True}


def test_when_most_clocks_are_off_the_same_way_it_is_the_bots_own() -> None:
    looks = Looks()
    off = (clock("host-a", -7.0), clock("host-b", -7.1), clock("host-c", 0.0))
    looks.at(0, *off)
    assert looks.at(10, *off) == {"clock:bot": False}
    assert looks.at(20, clock("host-a", 0.0), clock("host-b", -9.0), clock("host-c", 0.0)) == {
        "clock:bot": True
    }


def test_hosts_that_are_off_each_in_its_own_way_are_told_each() -> None:
    looks = Looks()
    off = (clock("host-a", -7.0), clock("host-b", 7.0), clock("host-c", 0.0))
    looks.at(0, *off)
    assert looks.at(10, *off) == {"clock:host-a": False, "clock:host-b": False}


def test_certificates_that_end_are_one_alert_a_host_until_they_are_renewed() -> None:
    looks = Looks()
    other = Finding(
        "certificate /etc/pki/qemu/server-cert.pem", Severity.FAIL, "ended on 2026-01-01", "Renew"
    )
    assert looks.at(0, clock("host-a", 0.0, ENDS, other)) == {"certificates:host-a": False}
    assert looks.at(10, clock("host-a", None)) == {}
    assert looks.at(20, clock("host-a", 0.0)) == {"certificates:host-a": True}


def test_a_host_that_is_no_longer_configured_is_over() -> None:
    looks = Looks()
    looks.at(0, clock("host-a", 0.0, ENDS))
    assert looks.at(10, clock("host-b", 0.0)) == {"certificates:host-a": True}


def test_the_nightly_look_leaves_both_alone() -> None:
    good = tuple(
        replace(each, severity=Severity.PASS) for each in (ENDS, *clock("host-a", 0.0).findings)
    )
    bad = (ENDS, *clock("host-a", 9.0).findings)

    def night(memory: Any, findings: tuple[Finding, ...]) -> Looked:
        found = CheckResult(
            (HostReport("host-a", (Finding("pool", Severity.PASS, "runs"), *findings)),)
        )
        return daily.watch(
            WatchView(CLUSTER, (), cast("History", None), Measured(), memory, NOW, found)
        )

    again = night(night({}, good).memory, bad)
    assert [each.over for each in again.noticed if isinstance(each, Alert)] == [True]


@pytest.mark.process
def test_the_facts_come_from_the_hosts_shells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "servercert.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 10 -subj /CN=x -keyout {tmp_path}/key -out {path}"
    subprocess.run(words.split(), check=True, capture_output=True)
    asked = tuple(
        probes.Probe(each.name, probes.certificate_script(f"signed {path}"))
        if each.name == "certificates"
        else each
        for each in probes.AGEING_PROBES
    )
    monkeypatch.setattr(probes, "AGEING_PROBES", asked)

    def late(argv: Sequence[str]) -> CommandResult:
        return machine(["date", "-d", "-90 seconds", *argv[1:]] if argv[0] == "date" else argv)

    port = FakeHypervisor(CLUSTER, TickingClock())
    port.give_shell("host-a", late)
    port.give_shell("host-b", machine)
    found = {each.host: each for each in handler.read_ageing(SETTINGS, port.snapshot(), port)}
    assert found["host-a"].clock == pytest.approx(-90, abs=20)
    assert {each.name: each.severity for each in found["host-a"].findings} == {
        f"certificate {path}": Severity.WARN, "clock": Severity.FAIL,
    }  # fmt: skip
    assert found["host-b"].clock == 0
    assert found["host-c"] == Ageing("host-c", None, ())


def test_a_slow_answer_makes_no_clock_wrong() -> None:
    assert Seen("host-a", clock=1.4, clock_error=1.5).clock_off == 0
    assert Seen("host-a", clock=-1.4, clock_error=0.4).clock_off == pytest.approx(-1)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="would end at once"):
        HostCheckSettings(clock_clear_seconds=2)
