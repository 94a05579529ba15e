"""The nightly look tells changes, each once, and never what stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.readiness import Finding, HostReport, Severity
from bot.plugin_api import Alert, History, Looked, Measured, WatchView
from bot.testing import draw_cluster
from plugins.host_check import daily
from plugins.host_check.findings import CheckResult

NOW = datetime(2026, 1, 5, tzinfo=UTC)
P, W, F, U = Severity.PASS, Severity.WARN, Severity.FAIL, Severity.UNKNOWN


def look(memory: Any, **checks: Severity) -> Looked:
    findings = tuple(
        Finding(name, severity, f"seen at {severity}") for name, severity in checks.items()
    )
    report = HostReport("host-a", findings)
    history = cast("History", None)  # a look at readiness reads none
    return daily.watch(
        WatchView(
            draw_cluster("host-a 1cpu 1G"),
            (),
            history,
            Measured(),
            memory,
            NOW + timedelta(),
            CheckResult((report,)),
        )
    )


def changes(looked: Looked) -> list[str]:
    assert {each.about for each in looked.changes} <= {"Readiness"}
    return [str(each.text) for each in looked.changes]


def test_changes_either_way_are_for_the_digest_and_each_but_once() -> None:
    first = look({}, SSH=P, tcp=F, pool=P)
    assert changes(first) == []
    worse = look(first.memory, SSH=P, tcp=W, pool=W)
    assert changes(worse) == [
        "host-a: tcp FAIL → WARN (seen at WARN)",
        "host-a: pool PASS → WARN (seen at WARN)",
    ]
    assert changes(look(worse.memory, SSH=P, tcp=W, pool=W)) == []
    dark = look(worse.memory, SSH=U, tcp=U, pool=U)
    assert changes(dark) == []
    assert changes(look(dark.memory, SSH=P, tcp=W, pool=P)) == [
        "host-a: pool WARN → PASS (seen at PASS)"
    ]


def test_a_host_that_does_not_answer_is_looked_at_another_night() -> None:
    first = look({}, SSH=P, libvirt=P)
    assert look(first.memory, SSH=U, libvirt=F) == Looked((), first.memory)


def open_ones(looked: Looked) -> list[str]:
    return [
        str(each.card.text) for each in looked.noticed if isinstance(each, Alert) and not each.over
    ]


def test_the_first_look_says_nothing_whatever_it_finds() -> None:
    assert look({}, SSH=P, tcp=F, pool=W).noticed == ()


def test_nothing_is_said_of_what_stays_as_it_is() -> None:
    first = look({}, SSH=P, tcp=F, pool=W)
    again = look(first.memory, SSH=P, tcp=F, pool=W)
    assert open_ones(again) == []
    assert again.memory == first.memory


def test_what_gets_worse_is_one_incident_until_it_is_as_it_was() -> None:
    good = look({}, SSH=P, pool=P, tcp=W)
    bad = look(good.memory, SSH=P, pool=F, tcp=W)
    assert open_ones(bad) == ["host-a is less ready than it was: pool"]
    still = look(bad.memory, SSH=P, pool=W, tcp=W)
    assert open_ones(still) == ["host-a is less ready than it was: pool"]
    (over,) = look(still.memory, SSH=P, pool=P, tcp=W).noticed
    assert isinstance(over, Alert)
    assert (over.key, over.over) == ("readiness:host-a", True)


def test_what_got_better_must_not_get_worse_again_unseen() -> None:
    first = look({}, SSH=P, tcp=F)
    better = look(first.memory, SSH=P, tcp=P)
    assert open_ones(better) == []
    assert open_ones(look(better.memory, SSH=P, tcp=F)) == ["host-a is less ready than it was: tcp"]


def test_a_new_check_that_is_bad_is_a_change_and_a_good_one_is_not() -> None:
    first = look({}, SSH=P)
    assert open_ones(look(first.memory, SSH=P, pool=P)) == []
    assert open_ones(look(first.memory, SSH=P, pool=W)) == [
        "host-a is less ready than it was: pool"
    ]


def test_a_night_without_ssh_is_silent_and_so_is_the_morning_after() -> None:
    first = look({}, SSH=P, tcp=F, row=W)
    dark = look(first.memory, SSH=U, tcp=U)
    assert open_ones(dark) == []
    assert open_ones(look(dark.memory, SSH=P, tcp=F, row=W)) == []


def test_the_first_night_with_ssh_is_a_first_look() -> None:
    blind = look({}, SSH=U, tcp=U)
    assert open_ones(look(blind.memory, SSH=P, tcp=F, row=W)) == []


NIGHT = st.fixed_dictionaries(
    {"tcp": st.sampled_from([P, W, F, U]), "pool": st.sampled_from([P, W, F, U])}
)


@given(st.lists(NIGHT, min_size=1, max_size=8))
def test_a_check_is_told_exactly_while_it_is_worse_than_it_was_ever_known(
    nights: list[dict[str, Severity]],
) -> None:
    rank = {P: 0, W: 1, F: 2}
    memory: Any = {}
    best: dict[str, int] = {}
    for checks in nights:
        looked = look(memory, SSH=P, **checks)
        memory = looked.memory
        told = {name for text in open_ones(looked) for name in text.rpartition(": ")[2].split(", ")}
        seen = {name: rank[severity] for name, severity in checks.items() if severity is not U}
        assert told == {name for name, severity in seen.items() if severity > best.get(name, 2)}
        best |= {name: min(severity, best.get(name, 2)) for name, severity in seen.items()}
