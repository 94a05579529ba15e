"""Rolling maintenance: one host at a time, a person in between, commands run once, and nobody is left behind."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import Snapshot, VmState
from bot.domain.errors import HypervisorError
from bot.domain.message import words
from bot.domain.operation import Ask, Continued, State, StepBegan
from bot.domain.plan import Plan, Refused, Risk
from bot.domain.readiness import CommandResult
from bot.domain.steps import MigrateVm, SetMaintenance, Step, WaitForPerson
from bot.flow.operations import overdue, perform
from bot.plugin_api import Underway
from bot.testing import draw_cluster, uuid_of
from plugins.balance import remote_command, rolling
from plugins.balance.drain import turn_of
from plugins.balance.intents import Rolling, rolling_grammar
from plugins.balance.remote_command import CommandStage, CommandVerdict, MarkState
from plugins.balance.settings import BalanceSettings, RollingSettings
from plugins.balance.steps import ReachShells, RunOnHost
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.plugins.balance.test_planner_laws import picky, snapshots, wrong
from tests.waiting import until

SETTINGS = BalanceSettings(rolling=RollingSettings(commands=("uname", "apt-get *", "a && b")))
CLUSTER = """
host-a 8cpu 32G reserve 2G | a1 8G load 1 dirty 1M | a2 4G load 1 dirty 1M | old 2G off
host-b 8cpu 32G reserve 2G | b1 8G load 1 dirty 1M
host-c 8cpu 32G reserve 2G | c1 8G load 1 dirty 1M
"""
EVERY = Rolling(())
RUN = Rolling((), "uname")


def rolled(intent: Rolling = EVERY, cluster: str = CLUSTER) -> Plan:
    found = rolling.rolling(SETTINGS, intent, draw_cluster(cluster), ())
    assert isinstance(found, Plan), found
    return found


def told(steps: Sequence[Step]) -> list[str]:
    """The steps in short: ``+a`` and ``-a`` maintenance, ``a1>b`` moves, ``run a``, ``wait a``."""
    short = {
        SetMaintenance: lambda each: f"{'+' if each.on else '-'}{each.host[-1]}",
        MigrateVm: lambda each: f"{each.name}>{each.target[-1]}",
        RunOnHost: lambda each: f"run {each.host[-1]}",
        WaitForPerson: lambda each: f"wait {each.host[-1]}",
        ReachShells: lambda each: f"shells {len(each.on)}",
    }
    return [short[type(each)](each) for each in steps]


# --- the plan
# ---------------------------------------------------------------------------------------------------------


def test_each_host_is_emptied_worked_on_and_filled_again_before_the_next() -> None:
    steps = told(rolled().steps)
    assert steps[:4] == ["+a", *steps[1:3], "wait a"]
    assert {each[:2] for each in steps[1:3]} == {"a1", "a2"}
    assert steps[4:7] == ["-a", f"{steps[2][:2]}>a", f"{steps[1][:2]}>a"]
    assert [each for each in steps if each[0] in "+-w"] == [
        "+a",
        "wait a",
        "-a",
        "+b",
        "wait b",
        "-b",
        "+c",
        "wait c",
        "-c",
    ]


def test_vms_whose_machine_type_older_hosts_lack_are_named_before_an_upgrade_begins() -> None:
    seen = draw_cluster(CLUSTER)
    new = frozenset({"pc-q35-10.0", "pc-q35-7.2"})
    hosts = tuple(
        each if each.name == "host-a" else replace(each, machines=new) for each in seen.hosts
    )
    vms = tuple(
        replace(vm, detail=replace(vm.detail, machine="pc-q35-10.0"))
        if vm.detail and vm.name in {"b1", "c1"}
        else vm
        for vm in seen.vms
    )
    plan = rolling.rolling(SETTINGS, EVERY, replace(seen, hosts=hosts, vms=vms), ())
    assert isinstance(plan, Plan)
    (told,) = [str(each.text) for each in plan.warnings if each.code == "machine-types"]
    assert "2 VMs cannot come back to host-a" in told
    assert "b1 (pc-q35-10.0), c1 (pc-q35-10.0)" in told
    assert not [each for each in rolled().warnings if each.code == "machine-types"]


def test_with_a_command_a_person_is_asked_between_hosts_and_shells_are_tried_first() -> None:
    plan = rolled(RUN)
    steps = [each for each in told(plan.steps) if ">" not in each]
    assert steps == [
        "shells 3",
        "+a",
        "run a",
        "-a",
        "wait a",
        "+b",
        "run b",
        "-b",
        "wait b",
        "+c",
        "run c",
        "-c",
    ]
    assert (plan.risk, rolled().risk) == (Risk.HIGH, Risk.MEDIUM)
    keys = [step.key for step in plan.steps if isinstance(step, RunOnHost)]
    assert len(set(keys)) == 3
    assert set(plan.blast.vms) == {"a1", "a2", "b1", "c1"}
    assert set(plan.blast.hosts) == {"host-a", "host-b", "host-c"}


def test_hosts_are_taken_as_they_are_named() -> None:
    assert [
        each for each in told(rolled(Rolling(("host-c", "host-a"))).steps) if each[0] == "+"
    ] == ["+c", "+a"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("a1 8G load 1", "a1 26G load 1"), "stuck:a1", "a1 stays on host-a"),
        (
            ("c1 8G load 1 dirty 1M", "c1 8G load 1 dirty 1M [pin=here]"),
            "stuck:c1",
            "Remove the tag",
        ),
        (
            ("host-b 8cpu 32G reserve 2G |", "host-b 8cpu 32G reserve 2G down |"),
            "host-unreachable",
            "does not answer",
        ),
    ],
)
def test_it_is_refused_when_a_host_cannot_be_emptied_with_who_is_stuck_and_why(
    change: tuple[str, str], code: str, said: str
) -> None:
    found = rolling.rolling(SETTINGS, EVERY, draw_cluster(CLUSTER.replace(*change)), ())
    assert isinstance(found, Refused)
    assert code in [each.code for each in found.objections]
    assert any(said in f"{each.text} {each.remedy}" for each in found.objections)


@pytest.mark.parametrize(("command", "allowed"), [
    ("uname", True), ("apt-get upgrade", True), ("uname -a", False), ("apt-get", False), ("rm -rf /; uname", False),
    ("apt-get -y upgrade", False), ("apt-get -o Invoke=x update", False), ("apt-get --x=y", False),
    ("apt-get -y upgrade; reboot", False), ("apt-get $(reboot)", False), ("apt-get\nreboot", False), ("a && b", True),
])  # fmt: skip
def test_only_what_the_configuration_names_is_run_on_hosts(command: str, *, allowed: bool) -> None:
    found = rolling.rolling(SETTINGS, Rolling((), command), draw_cluster(CLUSTER), ())
    assert isinstance(found, Plan) is allowed
    if isinstance(found, Refused):
        assert [each.code for each in found.objections] == ["command"]
        assert "`uname`, `apt-get *`, `a && b`" in str(found.objections[0].text)


def test_by_default_nothing_is_run_on_hosts() -> None:
    found = rolling.rolling(BalanceSettings(), RUN, draw_cluster(CLUSTER), ())
    assert isinstance(found, Refused)
    assert "`commands`" in str(found.objections[0].remedy)


def test_a_host_in_maintenance_is_left_out_of_all_and_refused_by_name() -> None:
    resting = CLUSTER.replace(
        "host-b 8cpu 32G reserve 2G |", "host-b 8cpu 32G reserve 2G maintenance |"
    )
    assert "+b" not in told(rolled(cluster=resting).steps)
    found = rolling.rolling(SETTINGS, Rolling(("host-b",)), draw_cluster(resting), ())
    assert isinstance(found, Refused)
    assert found.objections[0].code == "maintenance"


@pytest.mark.parametrize("line", [[], ["--all", "host-a"], ["host-a", "--reboots"]])
def test_what_makes_no_sense_is_not_read(line: list[str]) -> None:
    with pytest.raises(Exception, match=r"Name hosts|--reboots"):
        rolling_grammar().main(line, prog_name="rolling", standalone_mode=False)


@given(snapshots(), st.integers(0, 5))
def test_every_move_is_legal_in_its_turn_and_all_are_home_in_the_end(
    seen: Snapshot, seed: int
) -> None:
    rule = picky(seed)
    found = rolling.rolling(SETTINGS, EVERY, seen, (rule,))
    if isinstance(found, Refused):
        return
    where = {vm.uuid: vm.host for vm in seen.vms if vm.state.active}
    home = dict(where)
    for index, step in enumerate(found.steps):
        if isinstance(step, MigrateVm):
            assert where[step.uuid] == step.source
            where[step.uuid] = step.target
        if isinstance(step, WaitForPerson):
            up = turn_of(found.steps, index)
            assert up not in where.values(), "people would work on a host on which a guest runs"
    assert where == home
    for name in {step.host for step in found.steps if isinstance(step, SetMaintenance)}:
        turn = (
            each for index, each in enumerate(found.steps) if turn_of(found.steps, index) == name
        )
        away = [each for each in turn if isinstance(each, MigrateVm) and each.target != name]
        assert wrong(seen, replace(found, steps=tuple(away)), rule) == []


# --- what changes meanwhile
# -------------------------------------------------------------------------------------------


def at_turn(plan: Plan, short: str) -> Underway:
    index = told(plan.steps).index(short)
    return Underway(plan, frozenset(range(index)), tuple(range(index, len(plan.steps))), (index,))


def test_a_turn_that_still_holds_is_left_as_it_was_planned() -> None:
    plan = rolled()
    assert (
        rolling.next_rolls(SETTINGS, EVERY, at_turn(plan, "+b"), draw_cluster(CLUSTER), ()).rest
        is None
    )


def test_a_new_vm_is_planned_in_when_its_hosts_turn_comes() -> None:
    now = CLUSTER.replace("| b1 8G", "| new 4G load 1 | b1 8G")
    verdict = rolling.next_rolls(SETTINGS, EVERY, at_turn(rolled(), "+b"), draw_cluster(now), ())
    assert verdict.rest is not None
    steps = told(verdict.rest)
    assert steps[0] == "+b"
    assert {each[:-2] for each in steps[1:3]} == {"new", "b1"}
    assert [each for each in steps if each[0] in "+w"] == ["+b", "wait b", "+c", "wait c"]
    again = Underway(
        replace(rolled(), steps=verdict.rest), frozenset(), tuple(range(len(steps))), (0,)
    )
    assert rolling.next_rolls(SETTINGS, EVERY, again, draw_cluster(now), ()).rest is None


def test_a_host_that_cannot_be_emptied_in_its_turn_is_left_out_and_the_next_one_comes() -> None:
    now = CLUSTER.replace("| b1 8G load 1", "| b1 8G load 1 [pin=here]")
    verdict = rolling.next_rolls(SETTINGS, EVERY, at_turn(rolled(), "+b"), draw_cluster(now), ())
    assert verdict.rest is not None
    assert [each for each in told(verdict.rest) if each[0] in "+w"] == ["+c", "wait c"]
    assert "without host-b" in str(verdict.why)
    assert "b1 stays on host-b" in str(verdict.why)


def test_those_who_left_come_home_from_where_they_are_and_as_they_are_now() -> None:
    plan = rolled()
    ends = {step.name: step.target for step in plan.steps[1:3] if isinstance(step, MigrateVm)}
    seen = draw_cluster(CLUSTER)
    there = replace(
        seen, vms=tuple(replace(vm, host=ends.get(vm.name, vm.host)) for vm in seen.vms)
    )
    assert told(
        rolling.next_rolls(SETTINGS, EVERY, at_turn(plan, "-a"), there, ()).rest or ()
    ) == told(plan.steps[4:])
    other = {"host-b": "host-c", "host-c": "host-b"}[ends["a1"]]
    changed = replace(there, vms=tuple(
        replace(vm, host=other, autostart=True) if vm.name == "a1" else vm for vm in there.vms if vm.name != "a2"
    ))  # fmt: skip
    rest = rolling.next_rolls(SETTINGS, EVERY, at_turn(plan, "-a"), changed, ()).rest
    assert rest is not None
    assert told(rest)[:3] == ["-a", "a1>a", "+b"]
    (home,) = (step for step in rest[:2] if isinstance(step, MigrateVm))
    assert (home.source, home.carried.autostart) == (other, True)


def test_no_command_is_run_where_a_vm_runs() -> None:
    plan = rolled(RUN)
    verdict = rolling.next_rolls(SETTINGS, RUN, at_turn(plan, "run a"), draw_cluster(CLUSTER), ())
    ((index, why),) = verdict.skip.items()
    assert (told(plan.steps)[index], why.code) == ("run a", "not-empty")
    moved = CLUSTER.replace("a1 8G load 1 dirty 1M | a2 4G load 1 dirty 1M | ", "")
    assert (
        rolling.next_rolls(SETTINGS, RUN, at_turn(plan, "run a"), draw_cluster(moved), ()).skip
        == {}
    )


# --- commands on hosts, in a real shell
# -------------------------------------------------------------------------------


@dataclass
class Box:
    """A host's shell: the machine's own, whose boot is what a file says.

    ``gone``: so many calls are not answered.
    """

    folder: Path
    gone: int = 0
    calls: int = 0
    on_call: Callable[[Box], None] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        self.boot("first")

    def boot(self, name: str) -> None:
        (self.folder / "boot").write_text(f"{name}\n")

    def __call__(self, argv: Sequence[str]) -> CommandResult:
        self.calls += 1
        self.on_call(self)
        if self.gone:
            self.gone -= 1
            raise HypervisorError("No SSH to host-a: connection refused.")
        words = [
            each.replace("/proc/sys/kernel/random/boot_id", str(self.folder / "boot"))
            for each in argv
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    table = {
        "balance": {"rolling": {"marks": str(tmp_path), "return_minutes": 1, "commands": ["*"]}}
    }
    made = small_bot(tmp_path, CLUSTER, ("migrate", "balance"), table)
    yield made
    made.store.close()


@pytest.fixture
def boxes(bot: Bot, tmp_path: Path) -> dict[str, Box]:
    made = {}
    for host in ("host-a", "host-b", "host-c"):
        (tmp_path / host).mkdir()
        made[host] = Box(tmp_path / host)
        bot.hypervisor.give_shell(host, made[host])
    real = bot.clock.sleep

    def sleep(seconds: float) -> None:
        time.sleep(0.01)  # the machine's own shell needs time that the bot's clock does not
        real(seconds)

    bot.clock.sleep = sleep  # type: ignore[method-assign]
    return made


def goes_on(bot: Bot, by: str = "UBRUNO", most: int = 9) -> list[str]:
    """Let somebody press Continue whenever the operation waits for a person; what it waited for."""
    waited: list[str] = []
    sleep = bot.clock.sleep

    def pressing(seconds: float) -> None:
        operation = bot.operation()
        index = operation.waiting
        if index is not None and len(waited) < most:
            waited.append(told(operation.plan.steps)[index])
            assert "op.continue" in bot.buttons()
            bot.clicks("op.continue", f"op-1:{index}", by)
        sleep(seconds)

    bot.clock.sleep = pressing  # type: ignore[method-assign]
    return waited


def approved(bot: Bot, line: str) -> None:
    said = bot.types(line)
    assert bot.store.operations(), text(said)
    for voter in ("UBRUNO", "UCARLA")[: bot.operation().ruling.votes]:
        bot.clicks("op.approve", bot.value(), voter)


def where(bot: Bot) -> dict[str, list[str]]:
    return {name: bot.where(name) for name in ("a1", "a2", "b1", "c1")}


@pytest.mark.process
def test_all_hosts_have_their_turn_and_everyone_is_home_in_the_end(
    bot: Bot, boxes: dict[str, Box], tmp_path: Path
) -> None:
    home, waited = where(bot), goes_on(bot)
    approved(bot, f'host rolling --all --run "echo ran on a host; echo x >>{tmp_path}/ran"')
    bot.works()
    operation = bot.operation()
    assert operation.state is State.DONE, operation.outcome
    assert waited == ["wait a", "wait b"]
    assert where(bot) == home
    assert bot.store.maintenance() == frozenset()
    assert (tmp_path / "ran").read_text() == "x\n" * 3
    facts = [
        each.facts
        for each in operation.ended
        if isinstance(operation.plan.steps[each.index], RunOnHost)
    ]
    assert (
        facts == [{"exit": words("exit code {code}", code="0"), "last_line": "ran on a host"}] * 3
    )
    assert [event.by for event in bot.store.events("op-1") if isinstance(event, Continued)] == [
        "UBRUNO"
    ] * 2
    notes = [text(card) for ref, card in bot.chat.messages.items() if ref in bot.chat.threads]
    assert sum("waits for a person" in note for note in notes) == 2
    assert sum("waits for a person" in text(card) for card in bot.chat.cards_for("UANA")) == 2


def test_while_people_work_by_hand_the_host_is_empty_and_its_vms_can_be_used_by_others(
    bot: Bot,
) -> None:
    seen: list[object] = []
    sleep = bot.clock.sleep

    def looking(seconds: float) -> None:
        index = bot.operation().waiting
        if index is not None:
            seen.append((bot.store.maintenance(), where(bot)["a1"] == ["host-a"]))
            assert "is proposed" in text(bot.types("migrate b1 to host-c"))
            bot.clicks("op.continue", f"op-1:{index}", "UANA")
        sleep(seconds)

    bot.clock.sleep = looking  # type: ignore[method-assign]
    approved(bot, "host rolling host-a")
    bot.works()
    assert bot.operation().state is State.DONE
    assert seen == [({"host-a"}, False)]
    assert where(bot)["a1"] == ["host-a"]


def test_shells_are_tried_before_anything_is_moved(bot: Bot) -> None:
    approved(bot, "host rolling --all --run true")
    bot.works()
    assert bot.operation().state is State.FAILED
    assert "no SSH is configured" in str(bot.operation().outcome)
    assert [call for call in bot.hypervisor.calls if call[0] == "migrate"] == []
    assert bot.store.maintenance() == frozenset()


@pytest.mark.process
def test_a_command_that_fails_ends_it_with_its_words_and_undrain_brings_the_vms_home(
    bot: Bot, boxes: dict[str, Box]
) -> None:
    home = where(bot)
    approved(bot, 'host rolling --all --run "echo no room left >&2; exit 3"')
    bot.works()
    operation = bot.operation()
    assert operation.state is State.FAILED
    assert "ended with code 3 on host-a: no room left" in str(operation.outcome)
    assert "host undrain host-a" in str(operation.advice)
    assert bot.store.maintenance() == {"host-a"}
    bot.types("host undrain host-a")
    bot.clicks("op.approve", bot.value(2), "UBRUNO")
    bot.works()
    assert where(bot) == home


class Died(BaseException):
    """The process is gone."""


@pytest.mark.process
@pytest.mark.parametrize("call", range(3, 9))
def test_a_crash_anywhere_in_a_command_does_not_run_it_twice(
    bot: Bot, boxes: dict[str, Box], tmp_path: Path, call: int
) -> None:
    def dies(box: Box) -> None:
        if box.calls == call:
            raise Died

    boxes["host-a"].on_call = dies
    approved(bot, f'host rolling host-a --run "echo x >>{tmp_path}/ran; sleep 0.05"')
    try:
        bot.works()
    except Died:
        bot.work.ids.append("op-1")
        bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    assert (tmp_path / "ran").read_text() == "x\n"


@pytest.mark.process
def test_a_host_that_reboots_is_waited_for(bot: Bot, boxes: dict[str, Box], tmp_path: Path) -> None:
    box = boxes["host-a"]

    def reboots(box: Box) -> None:
        if (tmp_path / "down").exists() and not (tmp_path / "up").exists():
            (tmp_path / "up").touch()
            box.gone = 4
            box.boot("second")

    box.on_call = reboots
    approved(
        bot, f'host rolling host-a --run "touch {tmp_path}/down; kill -9 $PPID; sleep 1" --reboots'
    )
    bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    (ended,) = [
        e
        for e in bot.operation().ended
        if isinstance(bot.operation().plan.steps[e.index], RunOnHost)
    ]
    assert ended.facts["rebooted"] is True


def test_a_mark_that_is_still_being_made_is_of_a_running_command_and_an_old_one_of_one_cut_off(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "mark"

    def look() -> MarkState:
        done = subprocess.run(
            remote_command.look(str(mark)), capture_output=True, text=True, check=True
        )
        return remote_command.read(done.stdout)

    assert look().stage is CommandStage.ABSENT
    mark.mkdir()
    assert (look().stage, look().rebooted) == (CommandStage.RUNNING, False)
    (mark / "boot").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    assert look().stage is CommandStage.RUNNING
    os.utime(mark, (time.time() - 300,) * 2)
    assert (look().stage, look().rebooted) == (CommandStage.CUT, False)
    (mark / "rc").write_text("0\n")
    assert (look().stage, look().code) == (CommandStage.ENDED, 0)


@pytest.mark.process
def test_a_command_cut_off_without_a_reboot_that_was_meant_is_for_people(
    bot: Bot, boxes: dict[str, Box], tmp_path: Path
) -> None:
    approved(bot, 'host rolling host-a --run "kill -9 $PPID"')
    bot.works()
    assert bot.operation().state is State.FAILED
    assert "How far it came is not known" in str(bot.operation().outcome)


@pytest.mark.process
def test_a_host_that_never_comes_back_is_a_failure(bot: Bot, boxes: dict[str, Box]) -> None:
    def away(box: Box) -> None:
        if box.calls > 4:
            box.gone = 1

    boxes["host-a"].on_call = away
    approved(bot, 'host rolling host-a --run "sleep 1" --reboots')
    bot.works()
    assert bot.operation().state is State.FAILED
    assert "did not come back within 1 min" in str(bot.operation().outcome)


@pytest.mark.process
def test_a_vm_that_appears_at_the_last_moment_keeps_the_command_from_running(
    bot: Bot, boxes: dict[str, Box], tmp_path: Path
) -> None:
    like = bot.hypervisor.snapshot().vm("a2")

    def appears(box: Box) -> None:
        if box.calls == 3:  # after the recheck, just before the command begins
            bot.hypervisor.put(
                replace(like, uuid=uuid_of("late"), name="late", state=VmState.RUNNING)
            )

    boxes["host-a"].on_call = appears
    approved(bot, f'host rolling host-a --run "touch {tmp_path}/ran"')
    bot.works()
    assert not (tmp_path / "ran").exists()
    assert "late" in text(bot.shown())


def test_a_mark_that_belongs_to_somebody_else_is_not_believed() -> None:
    assert remote_command.read("up same absent\n").stage is CommandStage.ABSENT
    for script in (remote_command.BEGIN, remote_command.LOOK):
        assert "-O" in script


@pytest.mark.parametrize(
    ("said", "reboots", "wanted"),
    [
        ("up same running\n", False, CommandVerdict.NOT_YET),
        ("up same ended 0\n", False, CommandVerdict.GOOD),
        ("stopping same ended 0\n", False, CommandVerdict.NOT_YET),
        ("up other ended 0\n", False, CommandVerdict.GOOD),
        ("up same ended 0\n", True, CommandVerdict.NOT_YET),
        ("up other ended 0\n", True, CommandVerdict.GOOD),
        ("up other ended 143\n", True, CommandVerdict.GOOD),
        ("up other cut\n", True, CommandVerdict.GOOD),
        ("up other cut\n", False, CommandVerdict.UNKNOWN),
        ("up same cut\n", True, CommandVerdict.UNKNOWN),
        ("up same ended 3\n", True, CommandVerdict.FAILED),
        ("up other ended 3\n", True, CommandVerdict.FAILED),
    ],
)
def test_what_a_mark_means(said: str, reboots: bool, wanted: CommandVerdict) -> None:  # noqa: FBT001
    assert remote_command.verdict(remote_command.read(said), reboots=reboots) is wanted


def test_output_is_read_to_its_last_line() -> None:
    assert remote_command.read("up same ended 0\none\ntwo\n\n") == MarkState(
        CommandStage.ENDED, output="one\ntwo\n\n"
    )
    assert remote_command.read("up same ended 0\none\ntwo\n\n").last_line == "two"
    with pytest.raises(ValueError, match="nonsense"):
        remote_command.read("up same nonsense\n")


# --- the pause
# --------------------------------------------------------------------------------------------------------


def paused(bot: Bot) -> int:
    """Bring the operation to its first pause, and let the process end there."""
    sleep = bot.clock.sleep

    def dies(seconds: float) -> None:
        if bot.store.operations() and bot.operation().waiting is not None:
            raise Died
        sleep(seconds)

    bot.clock.sleep = dies  # type: ignore[method-assign]
    approved(bot, "host rolling host-a")
    with pytest.raises(Died):
        bot.works()
    bot.clock.sleep = sleep  # type: ignore[method-assign]
    index = bot.operation().waiting
    assert index is not None
    return index


def test_a_pause_survives_a_restart_and_goes_on_where_it_was(bot: Bot) -> None:
    index = paused(bot)
    bot.clicks("op.continue", f"op-1:{index}", "UBRUNO")
    bot.work.ids.append("op-1")
    bot.works()
    assert bot.operation().state is State.DONE
    begun = [event.index for event in bot.store.events("op-1") if isinstance(event, StepBegan)]
    assert begun.count(index) == 1


def test_only_somebody_with_the_right_lets_it_go_on_and_only_at_this_very_step(bot: Bot) -> None:
    index = paused(bot)
    assert "may not steer" in text(bot.clicks("op.continue", f"op-1:{index}", "UNOBODY"))
    assert "does not wait there" in text(bot.clicks("op.continue", "op-1:0", "UBRUNO"))
    assert bot.operation().continued == frozenset()
    assert bot.clicks("op.continue", f"op-1:{index}", "UBRUNO") is None
    assert "does not wait there" in text(bot.clicks("op.continue", f"op-1:{index}", "UCARLA"))
    assert "let step" in text(bot.types("audit op-1"))


def test_when_nobody_comes_it_ends_and_says_how_the_host_is_brought_back(bot: Bot) -> None:
    paused(bot)
    bot.clock.turn(25 * 3600)
    bot.work.ids.append("op-1")
    bot.works()
    operation = bot.operation()
    assert operation.state is State.FAILED
    assert "Nobody let it go on within" in str(operation.outcome)
    assert "host undrain host-a" in str(operation.advice)


def test_a_pause_can_be_cancelled_and_is_no_reason_to_worry(bot: Bot) -> None:
    paused(bot)
    bot.clock.turn(3 * 3600)
    overdue.remind(bot.services)
    assert not any("for long" in str(note) for note in bot.operation().notes)
    bot.clicks("op.cancel", bot.value(), "UANA")
    assert Ask.CANCEL in bot.operation().asked
    bot.work.ids = ["op-1"]
    bot.works()
    assert bot.operation().state is State.CANCELLED


def test_two_operations_never_work_on_one_vm_at_once(bot: Bot) -> None:
    """What was free while people worked may be under way when the operation goes on: it waits for it."""
    index = paused(bot)
    (there,) = bot.where("a1")
    other = "host-c" if there == "host-b" else "host-b"
    bot.types(f"migrate a1 to {other}")
    bot.clicks("op.approve", bot.value(2), "UBRUNO")
    threads: list[threading.Thread] = []

    def during(step: MigrateVm, job: object) -> None:
        if threads or bot.operation(2).state is not State.RUNNING:
            return
        bot.clicks("op.continue", f"op-1:{index}", "UBRUNO")
        threads.append(threading.Thread(target=perform.perform, args=(bot.services, "op-1")))
        threads[0].start()
        until(lambda: "Waiting for op-2 to end: it works on the same VM" in text(bot.shown()))

    bot.hypervisor.during = during
    perform.perform(bot.services, "op-2")
    threads[0].join(60)
    assert {bot.operation(number).state for number in (1, 2)} == {State.DONE}
    assert bot.where("a1") == [other]
    assert [each.why.code for each in bot.operation().skipped] == ["moved"]


# --- what people see before they vote


def test_a_command_that_cannot_be_shown_whole_is_not_proposed(bot: Bot) -> None:
    said = text(bot.types(f"host rolling --all --run 'true {'x' * 11_000}; harm'"))
    assert "can be shown to approvers" in said
    assert bot.store.operations() == ()


def test_a_long_command_is_attached_whole_and_the_message_says_so(bot: Bot) -> None:
    command = f"true {'x' * 3_000}; harm"
    bot.types(f"host rolling --all --run '{command}'")
    attached = [text(card) for ref, card in bot.chat.messages.items() if ref in bot.chat.threads]
    assert any(command in each for each in attached)
    assert "Read the whole plan in the thread" in text(bot.shown())


def test_the_question_before_a_vote_names_the_command(bot: Bot) -> None:
    bot.types('host rolling --all --run "rm -rf /var/cache"')
    assert "Risk high. " in text(bot.shown())
    assert "rm -rf /var/cache" in text(bot.shown())
