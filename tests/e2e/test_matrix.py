"""What may go wrong around one migration, row by row: no effect lost or doubled, the truth told, one message.

The table in docs/reliability.md is made of these rows: ``python -m tests.e2e.test_matrix`` prints
it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.stage import PACE
from lab import Guest, Lab
from lab.slack import Command, Workspace
from tests.e2e.play import Play, holds, play
from tests.e2e.scene import Scene
from tests.waiting import until

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


# Slack


def too_many_requests_at_the_proposal(scene: Scene) -> None:
    scene.play.workspace.fault.rate_limit("chat.postMessage", times=3)
    scene.proposed()
    scene.approved()
    scene.moved()


def too_many_requests_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.workspace.fault.rate_limit("chat.update", times=4)
    scene.moved()


def errors_at_the_proposal(scene: Scene) -> None:
    scene.play.workspace.fault.server_error("chat.postMessage", times=2)
    scene.proposed()
    scene.approved()
    scene.moved()


def errors_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.workspace.fault.server_error("chat.update", times=6)
    scene.moved()


def answers_lost_at_the_proposal(scene: Scene) -> None:
    scene.play.workspace.fault.drop_response("chat.postMessage", times=1)
    scene.proposed()
    scene.approved()
    scene.moved()


def answers_lost_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.workspace.fault.drop_response("chat.update", times=3)
    scene.play.workspace.fault.drop_response("chat.postMessage", times=1)
    scene.moved()


def told_to_reconnect(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.workspace.fault.disconnect()
    scene.moved()
    scene.play.workspace.wait_connected(60)
    scene.answered()


def connection_lost(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.workspace.fault.disconnect(abrupt=True)
    scene.moved()
    until(
        lambda: scene.play.workspace.person("ana").command("/kvm help", "#ops").ok,
        "it never reconnected",
    )
    scene.answered()


# the clock


def clock_jumps_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle(bandwidth=16)
    with scene.clock_jumped(hours=5):
        scene.moved()


def clock_jumps_past_the_expiry(scene: Scene) -> None:
    scene.proposed()
    with scene.clock_jumped(hours=5):
        scene.approved()
        scene.play.told("bruno", scene.operation, "expired")
        scene.stayed("Expired")
    assert "VotedFor" not in scene.kinds()


# deliveries


def command_delivered_twice(scene: Scene) -> None:
    scene.play.workspace.fault.duplicate_next(1)
    scene.proposed()
    scene.approved()
    scene.moved()


def click_delivered_twice(scene: Scene) -> None:
    scene.proposed()
    scene.play.workspace.fault.duplicate_next(1, retry_headers=False, new_event_id=True)
    scene.approved()
    scene.moved()


def click_delivered_late(scene: Scene) -> None:
    scene.proposed()
    fault = scene.play.workspace.fault
    fault.delay_next(2.5)
    late = threading.Thread(target=scene.approved)
    late.start()
    until(lambda: not fault._delays, "the click was not sent")
    scene.play.workspace.person("ana").click(scene.message, "op.withdraw")
    late.join(60)
    scene.play.told("bruno", scene.operation, "is withdrawn", "Nothing was changed")
    scene.stayed("Withdrawn")
    assert "VotedFor" not in scene.kinds()


# the database


def database_locked_at_the_click(scene: Scene) -> None:
    scene.proposed()
    with scene.database_locked():
        scene.approved()
        scene.play.told("bruno", "could not store", "locked")
    assert "VotedFor" not in scene.kinds()
    scene.approved()
    scene.moved()


def database_locked_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle()
    since = scene.log_end()
    with scene.database_locked():
        scene.logged("database is locked", since)
    scene.moved()


def disk_full_in_the_middle(scene: Scene) -> None:
    scene.in_the_middle()
    since = scene.log_end()
    with scene.disk_full():
        scene.logged("is full", since)
    scene.moved()


# the hosts


def daemon_killed_on_the_target(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.kill_libvirtd(scene.target)
    scene.play.lab.start_libvirtd(scene.target)
    the_truth(scene)


def network_cut_between_and_healed(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.cut_between(scene.home, scene.target)
    scene.play.lab.heal_between(scene.home, scene.target)
    the_truth(scene)


def network_cut_between_for_good(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.cut_between(scene.home, scene.target)
    try:
        scene.stayed("Failed")
    finally:
        scene.play.lab.heal_between(scene.home, scene.target)


def target_silent_for_a_while(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.freeze(scene.target)
    try:
        scene.asks("--reason probe")  # it takes the deadline until the silence is noticed
        scene.play.told("ana", scene.target, "does not answer")
    finally:
        scene.play.lab.thaw(scene.target)
    the_truth(scene)


def cables_of_the_source_pulled(scene: Scene) -> None:
    """Until the target gives up.

    QEMU holds the guest still while its stream is stuck, so the cables come back.
    """
    scene.in_the_middle()
    scene.play.lab.cut_network(scene.home)
    try:
        until(
            lambda: scene.play.lab.where(scene.guest.name) == [scene.home],
            "the target never gave up",
            90,
        )
    finally:
        scene.play.lab.heal_network(scene.home)
    the_truth(scene)


def guest_dies_on_the_way(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.kill_guest(scene.guest.name)
    scene.ends("Failed")
    assert scene.play.lab.where(scene.guest.name) == []
    scene.told_once("Failed:")


def target_loses_power(scene: Scene) -> None:
    scene.in_the_middle()
    scene.play.lab.power_off(scene.target)
    try:
        until(
            lambda: scene.play.lab.where(scene.guest.name) == [scene.home], "it is not at home", 120
        )
    finally:
        scene.play.lab.power_on(scene.target)
    scene.stayed("Failed")


def the_truth(scene: Scene) -> None:
    """It may have moved or stayed; what is told is what is so, and it runs once."""
    ended = scene.play.ended(
        "Details", scene.play.ended(f": Move {scene.guest.name}", scene.message, 150)
    )
    until(lambda: len(scene.play.lab.where(scene.guest.name)) == 1, "two copies are left")
    if scene.play.lab.where(scene.guest.name) == [scene.target]:
        scene.moved()
    else:
        assert not holds(ended, "Done:")
        scene.stayed("Failed")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that goes wrong. ``act`` plays it here; otherwise ``test`` says where it is played."""

    where: str
    fault: str
    seen: str
    act: Callable[[Scene], None] | None = None
    test: str = ""
    slow: bool = False


MOVED = "moved once; done, in the same message"
STAYED = "runs on where it was; failed, with the next step"
TRUTH = "moved or stayed; what is told is what the hosts show"
CRASHES, REPLICAS, LINE = (
    "tests/e2e/test_crashes.py",
    "tests/e2e/test_replicas.py",
    "tests/e2e/test_line.py",
)
MOVES, STEPS = (
    "tests/plugins/migrate/test_handler.py",
    "tests/plugins/vm_lifecycle/test_handler.py",
)
LIVES, BESIDE = "tests/bot/flow/test_lives.py", "tests/bot/flow/test_side_by_side.py"
STORE, ENGINE = (
    "tests/bot/domain/test_operation_machine.py",
    "tests/bot/adapters/sql/test_engine.py",
)
SAME = "performed once; the same message goes on to the end"

ROWS = (
    *(
        Row("Bot", f"kill -9 right after `{event}` is stored, before anything follows", SAME, test=CRASHES)
        for event in ("Proposed", "VotedFor", "Approved", "Began", "StepBegan", "StepEnded", "Finished")
    ),
    Row("Bot", "kill -9 in the middle of a migration", MOVED, test=CRASHES),
    Row("Bot", "kill -9 between the arrival and its record", "found done, not repeated", test=CRASHES),
    Row("Bot", "kill -9 at any statement of a transaction", "all of it or nothing", test=STORE),
    Row("Bot", "a replica killed in the middle", "seen through by another within 30 s", test=REPLICAS),
    Row("Bot", "a replica killed with a request accepted", "answered by another, once", test=REPLICAS),
    Row("Bot", "a replica frozen, replaced, and woken", "it gives way; one outcome", slow=True, test=REPLICAS),
    Row("Bot", "two replicas decide in the same moment", "one move out of a host begins", test=BESIDE),
    Row("Bot", "killed with several steps under way", "each settled again, none repeated", test=BESIDE),
    Row("Bot", "killed before libvirt removes the source's definition", MOVED, test=MOVES),
    Row("Bot", "kill -9 while a host copies a disk", "waited for, and copied anew", test=STEPS),
    Row("Bot", "kill -9 while a snapshot is taken or a VM starts", "not done before it is", test=STEPS),
    Row("Bot", "the clock jumps in the middle, and back", MOVED, clock_jumps_in_the_middle),
    Row("Bot", "the clock jumps past the expiry, and back", "no vote; told so", clock_jumps_past_the_expiry),
    Row("Bot", "the clock jumps at any moment, forwards or back", "nothing is done twice", test=LIVES),
    Row("Slack", "429 when the proposal is posted", MOVED, too_many_requests_at_the_proposal),
    Row("Slack", "429 on edits in the middle", MOVED, too_many_requests_in_the_middle, slow=True),
    Row("Slack", "500 when the proposal is posted", MOVED, errors_at_the_proposal, slow=True),
    Row("Slack", "500 on edits in the middle", MOVED, errors_in_the_middle, slow=True),
    Row("Slack", "the answer to the posting is lost", "one message; " + MOVED, answers_lost_at_the_proposal),
    Row("Slack", "answers to edits and to the last word are lost", MOVED, answers_lost_in_the_middle, slow=True),
    Row("Slack", "told to reconnect in the middle", MOVED, told_to_reconnect, slow=True),
    Row("Slack", "connection lost without a word", MOVED + "; answers again", connection_lost, slow=True),
    Row("Slack", "the command delivered twice", "one proposal; " + MOVED, command_delivered_twice),
    Row("Slack", "the click delivered twice, under a new id", "one vote; " + MOVED, click_delivered_twice),
    Row("Slack", "the click delivered after the withdrawal", "nothing is done; told so", click_delivered_late),
    Row("Database", "locked at the click", "no vote, told so; the next click counts", database_locked_at_the_click),
    Row("Database", "locked in the middle", MOVED, database_locked_in_the_middle),
    Row("Database", "disk full for a while", MOVED, disk_full_in_the_middle),
    Row("Database", "fails at any statement, or its file is damaged", "told; nothing half stored", test=ENGINE),
    Row("Hosts", "libvirtd killed on the source in the middle", TRUTH, test=CRASHES),
    Row("Hosts", "libvirtd killed on the target in the middle", TRUTH, daemon_killed_on_the_target),
    Row("Hosts", "network between the two cut and healed", TRUTH, network_cut_between_and_healed, slow=True),
    Row("Hosts", "network between the two cut", STAYED, network_cut_between_for_good, slow=True),
    Row("Hosts", "all cables of the source pulled for a while", TRUTH, cables_of_the_source_pulled, slow=True),
    Row("Hosts", "the target falls silent for a while", "waited for; " + TRUTH, target_silent_for_a_while, slow=True),
    Row("Hosts", "the target loses power", STAYED, target_loses_power, slow=True),
    Row("Hosts", "the guest dies on the way", "failed, told that it runs nowhere", guest_dies_on_the_way, slow=True),
    Row("Hosts", "the cluster changed between vote and start", "nothing is done; a new plan is offered", test=LINE),
)  # fmt: skip


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A disk that is quickly full.

    Not under pytest's directories: a killed run would leave them undeletable.
    """
    directory = Path(tempfile.mkdtemp(prefix="drover-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        directory.rmdir()


@pytest.fixture(scope="module")
def bot(lab: Lab, small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """One bot for all rows, its database on a small disk, its log elsewhere."""
    with Workspace(commands=(Command("/kvm", "Run the cluster", "help"),), pace=PACE) as space:
        database = {"url": f"sqlite:///{small_disk}/drover.sqlite"}
        plugins = {"enabled": ["migrate", "tests.e2e.jumping"]}
        made = play(lab, space, tmp_path_factory.mktemp("bot"), database=database, plugins=plugins)
        with made.bot:
            space.wait_connected()
            yield made


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.act.__name__, marks=[pytest.mark.slow] if row.slow else [])
        for row in ROWS
        if row.act is not None
    ],
)
def test_whatever_goes_wrong(row: Row, bot: Play, small_disk: Path, lab: Lab, mover: Guest) -> None:
    guest = lab.guest("mortal") if row.act is guest_dies_on_the_way else mover
    assert row.act is not None
    row.act(Scene(bot, guest, small_disk / "drover.sqlite"))


def test_after_all_of_it_the_trail_holds(bot: Play) -> None:
    trail = bot.bot.command("db", "verify")
    assert "is intact" in trail.stdout, trail.stderr


def table() -> str:
    """The rows as a table for people."""
    lines = ["| Where | What goes wrong | What is so in the end | Played in |", "|---|---|---|---|"]
    for row in ROWS:
        name = f"`test_matrix.py::{row.act.__name__}`" if row.act else f"`{row.test}`"
        lines.append(
            f"| {row.where} | {row.fault} | {row.seen} | {name}{' (slow)' if row.slow else ''} |"
        )
    return "\n".join(lines)


def test_the_page_shows_these_rows() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), (
        "print it anew: python -m tests.e2e.test_matrix"
    )


@pytest.mark.parametrize("test", sorted({row.test for row in ROWS if row.test}))
def test_every_row_that_is_played_elsewhere_is(test: str) -> None:
    assert (ROOT / test).is_file()


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
