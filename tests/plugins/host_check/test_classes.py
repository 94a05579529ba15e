"""Which directions between many hosts are tried, and that they stand for all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.readiness import HostFacts
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from plugins.host_check import cards, classes, handler
from plugins.host_check.findings import PairReport, PairResult, Seen, failure, warning
from plugins.host_check.planner import HostPair
from plugins.host_check.settings import HostCheckSettings
from tests.bot.flow.small_bot import text
from tests.examples import examples

SETTINGS = HostCheckSettings()


def seen(name: str, kind: int) -> Seen:
    return Seen(name, facts=HostFacts(name, cpu=frozenset({f"feature {kind}"})))


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.integers(0, 40), min_size=2, max_size=120))
def test_every_host_is_tried_both_ways_and_no_more_than_a_few_times(kinds: list[int]) -> None:
    hosts = [seen(f"host-{number}", kind) for number, kind in enumerate(kinds)]
    names = [each.host for each in hosts]
    groups = classes.groups_of(hosts)
    ways = classes.directions(names, groups)
    assert {source for source, _ in ways} == {target for _, target in ways} == set(names)
    assert all(source != target for source, target in ways)
    if len(names) > classes.WHOLE:
        assert len(ways) <= 4 * len(names)
    else:
        assert len(ways) == len(names) * (len(names) - 1)


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.integers(0, 3), min_size=16, max_size=60))
def test_few_groups_are_tried_with_each_other(kinds: list[int]) -> None:
    hosts = [seen(f"host-{number}", kind) for number, kind in enumerate(kinds)]
    kind_of = {each.host: kind for each, kind in zip(hosts, kinds, strict=True)}
    ways = classes.directions([each.host for each in hosts], classes.groups_of(hosts))
    tried = {(kind_of[source], kind_of[target]) for source, target in ways}
    assert {(a, b) for a in kinds for b in kinds if a != b} <= tried


def test_a_host_that_does_not_answer_is_like_no_other() -> None:
    silent = [Seen("host-a", trouble="gone"), Seen("host-b", trouble="gone")]
    assert classes.groups_of(silent) == (("host-a",), ("host-b",))


def test_many_hosts_are_answered_by_groups_and_say_how_far_it_is() -> None:
    port = FakeHypervisor(
        draw_cluster("\n".join(f"host-{number} 8cpu 32G" for number in range(40))), TickingClock()
    )
    told: list[tuple[int, int]] = []
    found = handler.pair(
        SETTINGS, HostPair(), port.snapshot(), port, lambda done, of: told.append((done, of))
    )
    assert len(found.reports) == 40
    assert [len(group) for group in found.groups] == [40]
    assert told[-1] == (80, 80)
    assert all(done <= of for done, of in told)
    card = cards.pair_card(found, None)
    assert "40 of 1560 directions were tried" in text(card)
    assert "host pair A B" in text(card)


def test_of_very_many_findings_the_worst_are_shown_and_the_rest_counted() -> None:
    reports = tuple(
        PairReport(f"host-{number}", "host-x", (judged("ports", f"number {number}"),))
        for number in range(300)
        for judged in (failure if number == 299 else warning,)
    )
    shown = text(cards.pair_card(PairResult(reports, (("host-x",),), 301), None))
    assert "number 299" in shown
    assert "and 260 more findings, less severe" in shown
