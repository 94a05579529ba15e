"""From a drawn cluster to a plan: what moves and why, what stays and why, and when a plan no longer holds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bot import catalog
from bot.domain import codec
from bot.domain.card import Card, Section, Table, Words
from bot.domain.cluster import GIB, Inbound, Snapshot, VmDetail
from bot.domain.errors import UnknownNameError, UsageError
from bot.domain.plan import Objection, Plan, Refused, Risk
from bot.domain.steps import MigrateVm
from bot.flow.commands.parse import parse
from bot.plugin_api import Action, PlacementRule, Query
from bot.testing import draw_cluster, uuid_of
from plugins.balance import drain, pick, planner, rolling
from plugins.balance.from_snapshot import Only
from plugins.balance.intents import About, Balance, Drain, Rolling, Simulate
from plugins.balance.settings import BalanceSettings, RollingSettings

SETTINGS = BalanceSettings()
UNEVEN = """
host-a 8cpu 32G reserve 2G | v1 4G load 1 | v2 4G load 1 | v3 4G load 1 | v4 4G load 1 | v5 4G load 1 | v6 4G load 1
host-b 8cpu 32G reserve 2G
"""
EVEN = """
host-a 8cpu 32G | v1 4G load 1 | v2 4G load 1
host-b 8cpu 32G | v3 4G load 1 | v4 4G load 1
"""


def planned(
    text: str | Snapshot, wish: Balance | None = None, **settings: object
) -> Plan | Refused:
    seen = draw_cluster(text) if isinstance(text, str) else text
    return planner.plan(BalanceSettings.model_validate(settings), wish or Balance(), seen, ())


def moves(found: Plan | Refused) -> list[tuple[str, str, str]]:
    assert isinstance(found, Plan), found
    return [
        (step.name, step.source, step.target) for step in found.steps if isinstance(step, MigrateVm)
    ]


def moved(found: Plan | Refused) -> set[str]:
    return {name for name, _, _ in moves(found)} if isinstance(found, Plan) else set()


def codes(found: object) -> list[str]:
    assert isinstance(found, Refused)
    return [each.code for each in found.objections]


def text_of(card: Card) -> str:
    lines = [each.line for each in card.elements if isinstance(each, Section)]
    return " ".join(
        line.template.format(**line.args) if isinstance(line, Words) else line for line in lines
    )


def rows(card: Card) -> list[tuple[object, ...]]:
    return next(list(each.rows) for each in card.elements if isinstance(each, Table))


def test_an_uneven_cluster_becomes_even_and_every_move_says_why() -> None:
    found = planned(UNEVEN)
    assert isinstance(found, Plan)
    assert len(moves(found)) == 3
    assert {(source, target) for _, source, target in moves(found)} == {("host-a", "host-b")}
    assert all(step.reason for step in found.steps if isinstance(step, MigrateVm))
    assert next(each.code for each in found.reasons) == "summary"
    assert len(found.reasons) == 4
    assert (found.risk, found.blast.memory, found.prediction.seconds) == (
        Risk.MEDIUM,
        12 * GIB,
        12 * 1024 / 100,
    )
    assert {(bar.host, bar.memory_after) for bar in found.bars} == {
        ("host-a", 0.4),
        ("host-b", 0.4),
    }


def test_what_must_travel_with_a_vm_is_in_its_step() -> None:
    found = planned(
        "host-a 4cpu 8G | a 2G load 1 autostart | b 2G load 1 autostart\nhost-b 4cpu 8G"
    )
    assert isinstance(found, Plan)
    assert [step.carried.autostart for step in found.steps if isinstance(step, MigrateVm)] == [True]


def test_inside_the_band_nothing_moves() -> None:
    assert codes(planned(EVEN)) == ["calm"]
    assert codes(planned(UNEVEN, band=2.0)) == ["calm"]


def test_outside_the_band_a_plan_that_does_not_pay_is_not_made() -> None:
    assert codes(planned(UNEVEN, Balance(min_gain=1.0))) == ["nothing-pays"]


def test_the_number_of_moves_can_be_limited() -> None:
    assert len(moves(planned(UNEVEN, Balance(max_moves=1)))) == 1
    assert len(moves(planned(UNEVEN, max_moves=2))) == 2


@pytest.mark.parametrize(
    ("tag", "stays"),
    [
        ("[pin=here]", True),
        ("[pin=host-a]", True),
        ("[pin=host-a+host-b]", False),
        ("[balance=off]", True),
    ],
)
def test_a_vm_stays_where_its_tags_say(tag: str, *, stays: bool) -> None:
    found = planned(
        f"host-a 8cpu 32G | big 8G load 4 {tag} | other 8G load 4 [balance=off]\nhost-b 8cpu 32G"
    )
    assert moved(found) == (set() if stays else {"big"})


def test_the_bots_own_vm_and_what_moved_lately_stay() -> None:
    assert "v1" not in moved(planned(UNEVEN, own_vm=["v1"]))
    seen = draw_cluster(UNEVEN)
    lately = tuple(
        (vm.uuid, seen.taken_at - timedelta(minutes=10)) for vm in seen.vms if vm.name != "v6"
    )
    assert moved(planned(UNEVEN, Balance(recent=lately))) == {"v6"}
    assert len(moved(planned(UNEVEN, Balance(recent=lately), cooldown_minutes=5))) == 3


def test_vms_apart_are_parted_and_a_vm_never_joins_one_it_must_be_apart_from() -> None:
    found = planned(
        "host-a 8cpu 32G | a 2G load 1 [apart=db] | b 2G load 1 [apart=db]\nhost-b 8cpu 32G",
        band=2.0,
    )
    assert len(moved(found)) == 1
    assert isinstance(found, Plan)
    assert [each.code for each in found.reasons] == ["summary", "affinity"]


def test_a_host_in_maintenance_takes_nobody_and_is_emptied() -> None:
    found = planned(
        "host-a 8cpu 32G maintenance | a 2G load 1\nhost-b 8cpu 32G\nhost-c 8cpu 32G maintenance"
    )
    assert moves(found) == [("a", "host-a", "host-b")]


def test_memory_promised_to_a_move_under_way_is_not_given_away() -> None:
    seen = draw_cluster("host-a 8cpu 16G | a 4G load 3 | b 4G load 3 | c 4G\nhost-b 8cpu 8G")
    assert len(moved(planned(seen))) >= 1
    coming = Inbound(uuid_of("c"), "host-a", "host-b", 6 * GIB, "op-1")
    assert codes(planned(replace(seen, inbound=(coming,)))) == ["nothing-pays"]


def test_a_vm_under_way_is_not_planned_again() -> None:
    seen = draw_cluster(UNEVEN)
    under_way = tuple(Inbound(uuid_of(f"v{i}"), "host-a", "host-b", 0, "op-1") for i in range(1, 6))
    assert moved(planned(replace(seen, inbound=under_way))) == {"v6"}


def test_vcpus_are_limited_by_the_ratio_and_a_hosts_tag_overrides_it() -> None:
    crowd = " | ".join(f"v{i} 1G 8cpu load 1" for i in range(6))
    assert not moved(planned(f"host-a 16cpu 32G | {crowd}\nhost-b 16cpu 32G [vcpu-ratio=0.25]"))
    assert len(moved(planned(f"host-a 16cpu 32G | {crowd}\nhost-b 16cpu 32G [vcpu-ratio=1]"))) == 2


def test_a_host_that_does_not_answer_is_left_out_with_its_vms() -> None:
    found = planned(UNEVEN + "host-c 8cpu 32G down | lost 4G load 8\n")
    assert "lost" not in moved(found)
    assert "host-c" not in {target for _, _, target in moves(found)}
    assert isinstance(found, Plan)
    assert "left-out" in [each.code for each in found.warnings]


def test_a_vm_whose_load_nobody_measured_is_named_and_spoils_nothing() -> None:
    found = planned(
        UNEVEN.replace("host-b 8cpu 32G reserve 2G", "host-b 8cpu 32G reserve 2G | dark 1G")
    )
    assert isinstance(found, Plan)
    assert "dark" in str(next(each.text for each in found.warnings if each.code == "unmeasured"))


CROWDED = "host-a 8cpu 32G [zone=x] | p 2G [apart=db]\nhost-b 8cpu 32G [zone=x] | q 2G [apart=db]\nhost-c 8cpu 32G [zone=y]"


def test_vms_apart_are_spread_over_failure_domains_and_the_move_says_so() -> None:
    found = planned(CROWDED, band=2.0)
    assert isinstance(found, Plan)
    assert [target for _, _, target in moves(found)] == ["host-c"]
    assert [each.code for each in found.reasons[1:]] == ["domain"]
    assert isinstance(planned(CROWDED, band=2.0, domains="off"), Refused)
    assert isinstance(planned(CROWDED, band=2.0, domain_tag="rack"), Refused)


def test_no_move_for_evenness_crowds_a_failure_domain() -> None:
    hot = "host-a 8cpu 32G [zone=x] | p 4G load 4 [apart=db] | s 4G load 4 [balance=off]"
    text = f"{hot}\nhost-b 8cpu 32G [zone=y] | q 1G [apart=db]\nhost-c 8cpu 32G [zone=y]"
    assert isinstance(planned(text), Refused)
    assert moves(planned(text, domains="off")) == [("p", "host-a", "host-c")]
    assert "failure domain" in str(rows(planner.why(SETTINGS, About("p"), draw_cluster(text), ())))


ONE_GAP = "host-a 8cpu 16G | big 11G\nhost-b 8cpu 16G\nhost-c 8cpu 16G | z 6G load 3 | w 6G load 3"


def test_room_that_the_loss_of_a_host_needs_is_not_spent_on_balance() -> None:
    found = planned(ONE_GAP)
    assert isinstance(found, Refused)
    assert [each.code for each in found.objections] == ["spare"]
    assert "keep_spare" in str(found.objections[0].remedy)
    spent = planned(ONE_GAP, keep_spare=False)
    assert isinstance(spent, Plan)
    assert [each.code for each in spent.warnings] == ["unmeasured", "no-spare"]
    assert still(ONE_GAP, spent) == ["spare"]
    assert "N+1" in str(rows(planner.why(SETTINGS, About("w"), draw_cluster(ONE_GAP), ())))


def test_a_cluster_that_could_lose_no_host_anyway_is_evened_out_and_told() -> None:
    found = planned("host-a 8cpu 16G | a 8G load 3 | b 6G load 3\nhost-b 8cpu 16G | c 6G")
    assert isinstance(found, Plan)
    assert "no-spare" in [each.code for each in found.warnings]


def test_a_vm_on_huge_pages_moves_only_when_asked_for() -> None:
    seen = draw_cluster(
        "host-a 8cpu 32G | v1 4G load 3 | v2 4G load 3 [balance=off]\nhost-b 8cpu 32G"
    )
    huge = replace(seen, vms=tuple(replace(vm, detail=VmDetail(hugepages=True)) for vm in seen.vms))
    assert isinstance(planned(seen), Plan)
    assert isinstance(planned(huge), Refused)
    assert "huge pages" in str(rows(planner.why(SETTINGS, About("v1"), huge, ())))
    assert len(moves(drain.drain(SETTINGS, Drain("host-a"), huge, ()))) == 2


def objecting(vm_name: str, text: str = "no such network there") -> PlacementRule:
    def rule(seen: object, vm: object, host: str) -> Objection | None:
        return (
            Objection("network", text)
            if getattr(vm, "name", "") == vm_name and host != "host-a"
            else None
        )

    return rule


def test_a_placement_rule_of_another_plugin_is_obeyed_and_the_others_move() -> None:
    every = {f"v{i}" for i in range(1, 7)}
    for odd in every:
        found = planner.plan(SETTINGS, Balance(), draw_cluster(UNEVEN), (objecting(odd),))
        assert moved(found) <= every - {odd}
        assert len(moved(found)) == 3


def test_rules_are_asked_about_what_moves_only() -> None:
    asked: list[str] = []

    def rule(seen: object, vm: object, host: str) -> Objection | None:
        asked.append(host)
        return None

    found = planner.plan(SETTINGS, Balance(), draw_cluster(UNEVEN), (rule,))
    assert len(asked) == len(moved(found)) == 3


def test_only_one_resource_or_only_what_is_wrong() -> None:
    lopsided = "host-a 8cpu 32G | a 1G load 3 | b 1G load 3\nhost-b 8cpu 32G | c 12G | d 12G"
    assert moved(planned(lopsided, Balance(only=Only.CPU))) & {"a", "b"}
    assert not moved(planned(lopsided, Balance(only=Only.CPU))) & {"c", "d"}
    assert moved(planned(lopsided, Balance(only=Only.MEMORY))) & {"c", "d"}
    assert codes(planned(lopsided, Balance(only=Only.RULES))) == ["calm"]
    assert moved(
        planned("host-a 8cpu 32G maintenance | a 1G\nhost-b 8cpu 32G", Balance(only=Only.RULES))
    ) == {"a"}


def still(text: str, found: Plan | Refused, rules: Sequence[PlacementRule] = ()) -> list[str]:
    assert isinstance(found, Plan)
    return [
        each.code
        for each in planner.still_good(SETTINGS, Balance(), found, draw_cluster(text), rules)
    ]


def test_a_plan_holds_while_load_moves_a_little() -> None:
    found = planned(UNEVEN)
    assert still(UNEVEN, found) == []
    assert still(UNEVEN.replace("load 1", "load 1.2"), found) == []


def test_a_plan_does_not_hold_when_it_would_make_things_worse() -> None:
    found = planned(UNEVEN)
    newcomers = " | ".join(f"new{i} 4G load 1" for i in range(4))
    assert still(UNEVEN.rstrip() + f" | {newcomers}", found) == ["no-gain"]


@pytest.mark.parametrize(
    ("was", "is_now", "code"),
    [
        ("host-b 8cpu 32G reserve 2G", "host-b 8cpu 32G reserve 2G maintenance", "drained"),
        ("host-b 8cpu 32G reserve 2G", "host-b 8cpu 32G reserve 2G down", "host-unreachable"),
        ("host-b 8cpu 32G reserve 2G", "host-b 8cpu 32G reserve 2G | new 27G load 0", "memory"),
        (
            "host-a 8cpu 32G reserve 2G | v1 4G load 1",
            "host-a 8cpu 32G reserve 2G | v1 5G load 1",
            "changed",
        ),
        (
            "host-a 8cpu 32G reserve 2G | v1 4G load 1",
            "host-a 8cpu 32G reserve 2G | v1 4G off",
            "gone",
        ),
        ("v1 4G load 1", "v1 4G load 1 [pin=here]", "fixed"),
    ],
)
def test_a_plan_does_not_hold_when_a_move_is_not_legal_any_more(
    was: str, is_now: str, code: str
) -> None:
    seen = draw_cluster(UNEVEN)
    others = tuple((uuid_of(f"v{i}"), seen.taken_at) for i in range(2, 7))
    found = planned(seen, Balance(recent=others))
    assert moved(found) == {"v1"}
    assert still(UNEVEN.replace(was, is_now), found) == [code]


def test_a_plan_does_not_hold_when_somebody_moved_the_vm_or_a_rule_now_objects() -> None:
    seen = draw_cluster(
        "host-a 8cpu 32G | a 2G load 2 | b 2G load 2\nhost-b 8cpu 32G\nhost-c 8cpu 32G | c 2G load 2"
    )
    found = planned(seen)
    (name, source, target), *rest = moves(found)
    assert not rest
    elsewhere = replace(
        seen, vms=tuple(replace(vm, host="host-c") if vm.name == name else vm for vm in seen.vms)
    )
    assert isinstance(found, Plan)
    assert [e.code for e in planner.still_good(SETTINGS, Balance(), found, elsewhere, ())] == [
        "moved"
    ]
    assert [
        e.code for e in planner.still_good(SETTINGS, Balance(), found, seen, (objecting(name),))
    ] == ["network"]
    assert (source, target) == ("host-a", "host-b")


def test_a_simulation_without_a_host_empties_it_and_with_one_more_fills_it() -> None:
    gone = planner.simulation(
        SETTINGS, Simulate(Balance(), without=("host-a",)), draw_cluster(EVEN), ()
    )
    assert {(row[2], row[3]) for row in rows(gone)} == {("host-a", "host-b")}
    assert "host-a" in str(gone.title)
    more = planner.simulation(
        SETTINGS, Simulate(Balance(), cpus=8, memory=32 * GIB), draw_cluster(EVEN), ()
    )
    assert {row[3] for row in rows(more)} == {"new-1"}
    calm = planner.simulation(SETTINGS, Simulate(Balance()), draw_cluster(EVEN), ())
    assert "within the threshold" in text_of(calm)
    with pytest.raises(UnknownNameError):
        planner.simulation(
            SETTINGS, Simulate(Balance(), without=("host-x",)), draw_cluster(EVEN), ()
        )


def test_why_answers_for_each_host() -> None:
    text = UNEVEN + "host-c 8cpu 32G maintenance\nhost-d 8cpu 4G reserve 2G\n"
    card = planner.why(SETTINGS, About("v1"), draw_cluster(text), (objecting("v1"),))
    assert [row[0] for row in rows(card)] == ["host-a", "host-b", "host-c", "host-d"]
    said = [str(row[1]) for row in rows(card)]
    assert said[0] == "it is here."
    assert said[1] == "no such network there"
    assert said[2] == "the host is in maintenance."
    pinned = planner.why(
        SETTINGS,
        About("v1"),
        draw_cluster(text.replace("v1 4G load 1", "v1 4G load 1 [pin=here]")),
        (),
    )
    assert "pin" in str(rows(pinned)[1][1])
    off = planner.why(
        SETTINGS, About("v1"), draw_cluster(text.replace("v1 4G load 1", "v1 4G off")), ()
    )
    assert "does not run" in text_of(off)


def loaded() -> catalog.Catalog:
    return catalog.load(["migrate", "balance"])


def test_what_it_declares_and_that_it_all_can_be_stored() -> None:
    names = {name for name, owner in loaded().owners.items() if owner == "balance"}
    looks, changes = (
        {"balance sim", "balance why"},
        {"balance", "balance shares", "host drain", "host rolling", "host undrain", "vm limit"},
    )
    assert names == looks | changes
    assert {name for name in names if isinstance(loaded().commands[name], Action)} == changes
    assert loaded().watches == ()
    seen = draw_cluster(UNEVEN)
    wish = Balance(3, 0.01, Only.CPU, "so", ((uuid_of("v1"), seen.taken_at),))
    found = loaded().action("balance").plan(wish, seen, loaded().rules)
    assert isinstance(found, Plan)
    picked = pick.pick_moves(wish, found, (0,))
    runs = BalanceSettings(rolling=RollingSettings(commands=("uname",)))
    rolls = rolling.rolling(
        runs,
        Rolling((), "uname", reboots=True),
        draw_cluster("host-a 8cpu 32G\nhost-b 8cpu 32G"),
        (),
    )
    assert isinstance(rolls, Plan)
    again = loaded().codec()
    assert again.loads(codec.text(wish)) == wish
    assert again.loads(codec.text(picked)) == picked
    assert again.loads(codec.text(rolls)) == rolls
    assert again.loads(codec.text(found)).digest == found.digest


def test_the_grammar() -> None:
    found = parse(
        loaded(), "/kvm", 'balance --max-moves 3 --only CPU --min-gain 0.01 --reason "new rack"'
    )
    assert isinstance(found.command, Action)
    assert found.intent == Balance(3, 0.01, Only.CPU, "new rack")
    sim = parse(
        loaded(), "/kvm", "balance sim --without host-a --without host-b --add cpus=32,memory=256G"
    )
    assert isinstance(sim.command, Query)
    assert sim.intent == Simulate(Balance(), ("host-a", "host-b"), 32, 256 * GIB)
    dry = parse(loaded(), "/kvm", "balance --dry-run --max-moves 3")
    assert (dry.command.name, dry.intent) == ("balance sim", Simulate(Balance(3)))
    explained = parse(loaded(), "/kvm", "balance --explain web-1")
    assert (explained.command.name, explained.intent) == ("balance why", About("web-1"))
    assert parse(loaded(), "/kvm", "balance sim").intent == Simulate(Balance())
    assert parse(loaded(), "/kvm", "balance why web-1").intent == About("web-1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("balance sim --add 32", "cpus=32,memory=256G"),
        ("balance sim --add cpus=0,memory=1G", "cpus=32,memory=256G"),
        ("balance --only disk", "mem"),
    ],
)
def test_a_slip_is_answered_with_what_to_write(line: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(loaded(), "/kvm", line)
    assert said in str(error.value)
