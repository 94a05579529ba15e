"""The grammars, what is gathered through the port, the cards, and the plan of maintenance."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import click
import pytest

from bot import catalog
from bot.domain.card import Buttons, Card, Context, Section, Table
from bot.domain.errors import CatalogError, HypervisorError, UnknownNameError, UsageError
from bot.domain.message import Names, Words, words
from bot.domain.plan import Plan, Refused, Risk
from bot.domain.readiness import CommandResult, CpuBaseline, Finding, GuestCpu, HostReport, Severity
from bot.domain.steps import SetMaintenance
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from plugins.host_check import cards, handler, planner, probes
from plugins.host_check.findings import NO_SSH, BaselineResult, CheckResult, command
from plugins.host_check.planner import HostBaseline, HostCheck, HostMaintenance, HostPair
from plugins.host_check.settings import HostCheckSettings

SETTINGS = HostCheckSettings()
CLUSTER = """
    host-a 8cpu 64G | web-1 4G | db-1 8G off
    host-b 8cpu 64G
    host-c 8cpu 64G down
"""


def parsed(grammar: click.Command, *words: str) -> Any:
    return grammar.main(list(words), standalone_mode=False)


def machine(argv: Sequence[str]) -> CommandResult:
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
    return CommandResult(done.returncode, done.stdout, done.stderr)


def hosts() -> FakeHypervisor:
    return FakeHypervisor(draw_cluster(CLUSTER), TickingClock())


def test_the_words_of_each_command() -> None:
    assert parsed(planner.check_grammar()) == HostCheck()
    assert parsed(planner.check_grammar(), "host-a", "host-b", "host-a") == HostCheck(
        ("host-a", "host-b")
    )
    assert parsed(planner.check_grammar(), "host-a", "--all") == HostCheck()
    assert parsed(planner.baseline_grammar(), "--all") == HostBaseline()
    assert parsed(planner.pair_grammar(), "host-a", "host-b") == HostPair(("host-a", "host-b"))
    assert parsed(planner.pair_grammar(), "--all") == HostPair()
    wanted = HostMaintenance("host-a", on=True, reason="disk swap")
    assert parsed(planner.maintenance_grammar(), "host-a", "ON", "--reason", "disk swap") == wanted
    assert parsed(planner.maintenance_grammar(), "host-a", "off") == HostMaintenance(
        "host-a", on=False
    )


@pytest.mark.parametrize("words", [(), ("host-a",), ("host-a", "host-a")])
def test_a_pair_takes_two(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="Name at least two hosts"):
        parsed(planner.pair_grammar(), *words)


@pytest.mark.parametrize("words", [(), ("host-a",), ("host-a", "perhaps")])
def test_maintenance_takes_a_host_and_on_or_off(words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        parsed(planner.maintenance_grammar(), *words)


def test_the_catalog_takes_the_plugin_and_refuses_a_wrong_setting() -> None:
    found = catalog.load(["host_check"], {"host_check": {"certificate_days": 10}})
    assert {"host check", "host pair", "host baseline", "host maintenance"} <= set(found.commands)
    assert [watch.name for watch in found.watches] == ["readiness", "ageing"]
    with pytest.raises(CatalogError, match="certificate_day"):
        catalog.load(["host_check"], {"host_check": {"certificate_day": 10}})


def test_maintenance_is_one_low_step_with_the_guests_as_a_warning() -> None:
    made = planner.plan(HostMaintenance("host-a", on=True, reason="fan"), draw_cluster(CLUSTER), ())
    assert isinstance(made, Plan)
    assert made.steps == (SetMaintenance("host-a", on=True, reason="fan"),)
    assert made.risk is Risk.LOW
    assert made.blast.hosts == ("host-a",)
    (warning,) = made.warnings
    assert isinstance(warning.text, Words)
    # Db-1 is off
    assert (warning.code, warning.text.args["vms"]) == ("guests", Names(("web-1",), most=10))
    assert "`/kvm host drain host-a` moves it" in str(warning.text)
    silent = planner.plan(
        HostMaintenance("host-a", on=True), draw_cluster("host-a 8cpu 64G down | web-1 4G"), ()
    )
    assert isinstance(silent, Plan)
    assert "may still be running: web-1" in str(silent.warnings[0].text)
    assert "drain" not in str(silent.warnings[0].text)


def test_the_last_host_is_warned_of_and_taking_out_warns_of_nothing() -> None:
    alone = draw_cluster("host-a 8cpu 64G\nhost-b 8cpu 64G maintenance")
    made = planner.plan(HostMaintenance("host-a", on=True), alone, ())
    assert isinstance(made, Plan)
    assert [each.code for each in made.warnings] == ["last-host"]
    out = planner.plan(HostMaintenance("host-b", on=False), alone, ())
    assert isinstance(out, Plan)
    assert out.warnings == ()


@pytest.mark.parametrize(
    ("intent", "code"),
    [
        (HostMaintenance("host-b", on=True), "already"),
        (HostMaintenance("host-a", on=False), "already"),
        (HostMaintenance("host-x", on=True), "unknown-host"),
    ],
)
def test_what_is_so_already_or_is_no_host_is_refused(intent: HostMaintenance, code: str) -> None:
    cluster = draw_cluster("host-a 8cpu 64G\nhost-b 8cpu 64G maintenance")
    made = planner.plan(intent, cluster, ())
    assert isinstance(made, Refused)
    assert [each.code for each in made.objections] == [code]
    good = Plan("t", (), Risk.LOW)
    assert [each.code for each in planner.recheck(intent, good, cluster, ())] == [code]


def test_maintenance_is_still_good_though_guests_came_and_went() -> None:
    intent = HostMaintenance("host-a", on=True)
    before, after = (
        draw_cluster("host-a 8cpu 64G | web-1 1G\nhost-b 8cpu 8G"),
        draw_cluster("host-a 8cpu 64G\nhost-b 8cpu 8G"),
    )
    made = planner.plan(intent, before, ())
    assert isinstance(made, Plan)
    assert planner.recheck(intent, made, after, ()) == ()


def test_every_host_is_looked_at_and_one_that_is_down_holds_up_nobody() -> None:
    port = hosts()
    port.give_shell("host-a", machine)
    found = {
        each.host: each
        for each in handler.check(SETTINGS, HostCheck(), port.snapshot(), port).reports
    }
    assert list(found) == ["host-a", "host-b", "host-c"]
    told = {each.name: each for each in found["host-a"].findings}
    assert told["SSH"].severity is Severity.PASS
    assert told["clock"].severity is Severity.PASS
    assert {each.name: each for each in found["host-b"].findings}["SSH"].evidence == NO_SSH
    assert {each.name: each for each in found["host-c"].findings}[
        "libvirt"
    ].severity is Severity.FAIL


def test_ssh_that_is_configured_and_broken_is_said_with_its_reason() -> None:
    def broken(argv: Sequence[str]) -> CommandResult:
        raise HypervisorError(
            "No SSH to host-a as drover@host-a: Authentication failed.", "Put the key there."
        )

    port = hosts()
    port.give_shell("host-a", broken)
    (report,) = handler.check(SETTINGS, HostCheck(("host-a",)), port.snapshot(), port).reports
    told = {each.name: each for each in report.findings}
    assert "Authentication failed" in str(told["plain TCP"].evidence)
    assert told["plain TCP"].severity is Severity.UNKNOWN
    assert told["SSH"].fix == "Put the key there.", "not to set what is set already"


def test_a_shell_that_says_nonsense_is_not_believed() -> None:
    port = hosts()
    port.give_shell("host-a", lambda _: CommandResult(0, "This account is not available."))
    (report,) = handler.check(SETTINGS, HostCheck(("host-a",)), port.snapshot(), port).reports
    assert {each.name: each for each in report.findings}["SSH"].severity is Severity.UNKNOWN


def test_a_shell_that_hangs_half_way_is_given_up_and_says_where() -> None:
    def slow(argv: Sequence[str]) -> CommandResult:
        if argv[0] != "timeout":
            return machine(argv)
        words = probes.script((*probes.HOST_PROBES[:3], probes.Probe("os", "sleep 60")))
        return machine([*argv[:-1], words])

    port = hosts()
    port.give_shell("host-a", slow)
    quick = HostCheckSettings(survey_seconds=0.5)
    (report,) = handler.check(quick, HostCheck(("host-a",)), port.snapshot(), port).reports
    assert "stopped at" in str({each.name: each for each in report.findings}["SSH"].evidence)


def test_a_name_that_is_none_and_no_hosts_at_all_are_errors_that_say_what_to_do() -> None:
    port = hosts()
    with pytest.raises(UnknownNameError, match="host-d"):
        handler.check(SETTINGS, HostCheck(("host-d",)), port.snapshot(), port)
    with pytest.raises(UsageError, match="No host"):
        planner.hosts_asked(
            (), draw_cluster("host-a 1cpu 1G").__class__(port.snapshot().taken_at, (), ())
        )


def test_every_direction_is_judged_once() -> None:
    port = hosts()
    found = handler.pair(SETTINGS, HostPair(), port.snapshot(), port)
    assert len(found.reports) == 6
    assert len({(each.source, each.target) for each in found.reports}) == 6
    two = handler.pair(SETTINGS, HostPair(("host-b", "host-a")), port.snapshot(), port)
    assert [(each.source, each.target) for each in two.reports] == [
        ("host-b", "host-a"),
        ("host-a", "host-b"),
    ]


def test_the_baseline_leaves_out_who_does_not_tell_its_cpu_and_says_so() -> None:
    port = FakeHypervisor(
        draw_cluster("host-a 4cpu 8G\nhost-b 4cpu 8G\nhost-c 4cpu 8G"), TickingClock()
    )
    port.refuse("host_facts", "error 1")
    found = handler.baseline(HostBaseline(), port.snapshot(), port)
    assert found.baseline is not None
    assert found.baseline.hosts == ("host-b", "host-c")
    assert found.left_out == (("host-a", "error 1"),)
    assert "host-a" in repr(cards.baseline_card(found))


def test_the_baseline_leaves_out_who_is_silent_and_says_so() -> None:
    port = hosts()
    found = handler.baseline(HostBaseline(), port.snapshot(), port)
    assert found.baseline is not None
    assert found.baseline.hosts == ("host-a", "host-b")
    assert [host for host, _ in found.left_out] == ["host-c"]


def test_hosts_without_a_common_model_are_told_and_not_raised() -> None:
    port = hosts()
    port.change("host-b", cpu_model="Skylake")
    found = handler.baseline(HostBaseline(("host-a", "host-b")), port.snapshot(), port)
    assert found.baseline is None
    assert "No CPU model suits" in str(cards.baseline_card(found).text)


def guest(**different: Any) -> GuestCpu:
    return GuestCpu(
        **{
            "name": "web-1",
            "host": "host-a",
            "mode": "custom",
            "model": "EPYC",
            "virt_type": "kvm",
            **different,
        }
    )


@pytest.mark.parametrize(
    ("it", "why"),
    [
        (guest(), ""),
        (guest(beyond=("avx512f", "pku")), "it has avx512f, pku; the baseline has not"),
        (guest(mode="host-passthrough"), "host-passthrough: only on identical hosts"),
        (guest(virt_type="qemu"), "cannot tell: it runs with qemu, the baseline is for kvm"),
        (guest(problem="no such model"), "cannot tell: no such model"),
    ],
)
def test_who_keeps_from_the_baseline_and_why(it: GuestCpu, why: str) -> None:
    base = CpuBaseline(("host-a", "host-b"), "kvm", "EPYC", "AMD", ("svm",), (), "<cpu/>", (it,))
    assert str(cards.misfit(it, base)) == why
    shown = [
        each
        for each in cards.baseline_card(BaselineResult(base)).elements
        if isinstance(each, Table)
    ]
    assert bool(shown) is bool(why)


def report(host: str, *findings: Finding) -> HostReport:
    return HostReport(host, findings)


BAD = Finding("plain TCP", Severity.FAIL, "open", command("systemctl stop x", words("at once")))
OPEN = Finding("time sync", Severity.WARN, "<!channel>", "")


def rows(card: Card) -> list[tuple[str, ...]]:
    table = next(each for each in card.elements if isinstance(each, Table))
    return [tuple(map(str, row)) for row in table.rows]


def test_one_host_shows_the_worst_first_and_a_command_ready_to_copy() -> None:
    card = cards.check_card(
        CheckResult((report("host-a", OPEN, BAD, Finding("KSM", Severity.PASS, "off")),))
    )
    assert str(card.text) == "host-a: 1 FAIL, 1 WARN, 1 PASS"
    assert rows(card) == [
        ("FAIL", "plain TCP", "open", "`systemctl stop x`  (at once)"),
        ("WARN", "time sync", "<!channel>", ""),
    ]


def test_of_one_host_what_passed_is_a_count_and_shown_on_request() -> None:
    checked = CheckResult((report("host-a", BAD, Finding("KSM", Severity.PASS, "off")),))
    wanted = HostCheck(("host-a",))
    card = cards.check_card(checked, wanted.page, wanted.line)
    assert [str(each.lines[0]) for each in card.elements if isinstance(each, Context)] == [
        "1 check passed."
    ]
    (row,) = [each for each in card.elements if isinstance(each, Buttons)]
    assert [each.value for each in row.buttons] == [
        "host check host-a --verbose",
        "host check host-a --csv",
        "host check host-a --json",
    ]
    asked = parsed(planner.check_grammar(), "host-a", "--verbose")
    whole = cards.check_card(checked, asked.page, asked.line, verbose=asked.verbose)
    (passes,) = [str(each.lines[0]) for each in whole.elements if isinstance(each, Context)]
    assert passes == "PASS\n✓ KSM: off"
    assert card.export is not None
    assert len(card.export.rows) == 2


def test_many_hosts_share_the_row_of_what_they_share() -> None:
    card = cards.check_card(
        CheckResult((report("host-a", BAD), report("host-b", BAD, OPEN), report("host-c")))
    )
    assert str(card.text) == "3 hosts: 2 FAIL, 1 PASS"
    assert [row[0] for row in rows(card)] == ["host-a, host-b", "host-b"]


def test_a_host_with_nothing_wrong_says_so() -> None:
    card = cards.check_card(CheckResult((report("host-a", Finding("KSM", Severity.PASS, "off")),)))
    assert Section(cards.NOTHING_MORE) in card.elements


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        (command("modprobe tun"), "`modprobe tun`"),
        (command("virsh net-start lan", host="host-b"), "On host-b: `virsh net-start lan`"),
        (words("Switch on VT-x in the firmware."), "Switch on VT-x in the firmware."),
    ],
)
def test_commands_look_like_commands_and_sentences_like_sentences(fix: Words, shown: str) -> None:
    card = cards.check_card(CheckResult((report("host-a", Finding("x", Severity.WARN, "y", fix)),)))
    assert rows(card)[0][3] == shown


def test_findings_of_many_hosts_come_in_pages_with_what_is_not_known() -> None:
    reports = tuple(
        HostReport(f"host-{number:02}", (Finding(f"check {number}", severity, "found", "do"),))
        for number, severity in enumerate([Severity.UNKNOWN, *[Severity.FAIL] * 29])
    )
    checked = CheckResult(reports)
    wanted = HostCheck(page=2)
    card = cards.check_card(checked, wanted.page, wanted.line)
    (table,) = [each for each in card.elements if isinstance(each, Table)]
    assert len(table.rows) == 5
    assert table.rows[-1][0] == "host-00"
    (row,) = [each for each in card.elements if isinstance(each, Buttons)]
    assert [each.value for each in row.buttons][:2] == ["host check", "host check --csv"]
    assert card.export is not None
    assert len(card.export.rows) == 30
