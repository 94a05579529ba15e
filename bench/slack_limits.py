"""30 operations at once under Slack's documented rate limits: who waits for Slack, and who does not.

The real app runs over the local workspace and hosts in memory, once without limits and once with
them. 30 people's migrations are proposed; when all are shown, all are approved in the same moment,
and three are cancelled while they run. Measured are: from a click to the stored vote, from Cancel
to the stored cancellation, from the approval to the end of the work, from that end to the message
that says so, and the calls that Slack answered with 429.

    ./drover bench slack_limits [--operations 30]

Posts are one a second a channel: proposals and the notes in threads take that long, and are told
for comparison.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.goals import Goal, conclude
from bot import app
from bot.adapters.slack.manifest import manifest
from bot.adapters.sql.store import SqlStore
from bot.domain.operation import Approved, Asked, Event, Finished, State, VotedFor
from bot.factories import SystemClock, load_catalog
from bot.settings import DroverSettings
from bot.testing import FakeHypervisor, draw_cluster
from lab.slack import Workspace

MIB = 1 << 20
MEMORY_GIB, NETWORK = 4, 200 * MIB  # one move takes about 20 s
CANCELLED = 3
PATIENCE = 300.0
VOTE, CANCEL, LAST_WORD = 1.0, 1.0, 10.0  # goals, in seconds
SLOWER = 1.1  # how much longer the work may take than without limits, at most; and two seconds


def cluster(count: int) -> str:
    """So many pairs of hosts, a VM on each first one."""
    lines = []
    for number in range(count):
        lines.append(
            f"from-{number}  16cpu 64G reserve 2G load 1 | vm-{number} {MEMORY_GIB}G 2cpu load 0.5 dirty 1M"
        )
        lines.append(f"to-{number}  16cpu 64G reserve 2G load 1")
    return "\n".join(lines) + "\n"


def settings(api: str, pace: float, directory: Path, count: int) -> DroverSettings:
    """The bot's configuration."""
    names = [f"{side}-{number}" for number in range(count) for side in ("from", "to")]
    table: dict[str, Any] = {
        "slack": {
            "team": "T0LAB",
            "ops_channel": "C0OPS",
            "approvals_channel": "C0APPROVALS",
            "api_url": api,
            "requests_per_minute": 6000,
            "pace": pace or 1000.0,
            "bot_token": "xoxb-lab-drover",
            "app_token": "xapp-1-lab-drover",
        },
        "database": {"url": f"sqlite:///{directory}/drover.sqlite"},
        "hosts": [{"name": name, "uri": "qemu+unix:///system?socket=/nowhere"} for name in names],
        "roles": {
            "engineer": {"users": ["U0ANA"], "may": ["*"]},
            "approver": {"users": ["U0BRUNO"], "may": ["*"]},
        },
        "policy": {
            "rules": [{"name": "default", "votes": 1, "approvers": ["approver"], "expires": "1h"}]
        },
        "plugins": {"enabled": ["migrate"]},
        "monitor": {"every": 86_400},
        "log_level": "error",
    }
    return DroverSettings(**table)


def waited(what: str, look: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.05)


class Run:
    """One bot in one workspace; ``store`` is the bot's own database, read from here."""

    def __init__(self, workspace: Workspace, store: SqlStore, count: int) -> None:
        self._workspace = workspace
        self._store = store
        self._ids = [f"op-{number}" for number in range(1, count + 1)]
        self._clicks: dict[str, float] = {}
        self._cancels: dict[str, float] = {}

    def result(self) -> Mapping[str, Any]:
        """Let it all happen; seconds of each kind, and the calls that were refused."""
        ana, bruno = self._workspace.person("ana"), self._workspace.person("bruno")
        asked = time.time()
        for number in range(len(self._ids)):
            ana.command(f"/kvm migrate vm-{number} to to-{number}")
        waited("every proposal is shown", lambda: len(self._shown("Approve?")) == len(self._ids))
        proposed = time.time() - asked
        self._together(
            self._ids, lambda each: self._clicked(bruno, each, "op.approve", self._clicks)
        )
        waited("work has begun", lambda: not self._in(State.PROPOSED, State.APPROVED))
        waited("Cancel buttons are shown", lambda: len(self._cancellable()) >= CANCELLED)
        running = self._cancellable()[:CANCELLED]
        self._together(running, lambda each: self._clicked(bruno, each, "op.cancel", self._cancels))
        waited("all is over", lambda: not self._in(State.PROPOSED, State.APPROVED, State.RUNNING))
        waited(
            "every message says so",
            lambda: not self._shown("Running") and not self._shown("Approve"),
        )
        waited("everybody is told", lambda: len(self._workspace.messages("@ana")) >= len(self._ids))
        return self._measured(proposed)

    def _in(self, *states: State) -> bool:
        return bool(self._store.operations(states=states, limit=1))

    def _shown(self, beginning: str) -> list[str]:
        """What stands in the channel and begins so after its id, with the sign of its state or not."""
        begins = re.compile(rf"\S+: (?:\S+ )?{re.escape(beginning)}")
        found = self._workspace.messages("#approvals")
        return [each.text for each in found if not each.thread_ts and begins.match(each.text)]

    def _cancellable(self) -> list[str]:
        found = self._workspace.messages("#approvals")
        return [
            each.text.partition(":")[0]
            for each in found
            if any(row[1] == "op.cancel" for row in each.buttons())
        ]

    def _together(self, ids: Sequence[str], act: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(len(ids)) as pool:
            list(pool.map(act, ids))

    def _clicked(self, person: Any, operation: str, button: str, at: dict[str, float]) -> None:
        found = self._workspace.messages("#approvals")
        message = next(each for each in found if each.text.startswith(f"{operation}: "))
        at[operation] = time.time()
        person.click(message, button)

    def _measured(self, proposed: float) -> Mapping[str, Any]:
        votes, cancels, works, words = [], [], [], []
        calls = list(self._workspace.calls)
        for operation in self._ids:
            events = self._store.events(operation)
            votes.append(_at(events, VotedFor) - self._clicks[operation])
            end = events[-1].at.timestamp()
            if operation in self._cancels:
                cancels.append(_at(events, Asked) - self._cancels[operation])
            elif isinstance(events[-1], Finished):
                works.append(end - _at(events, Approved))
            final = [
                call.time
                for call in calls
                if call.method == "chat.update" and call.status == 200 and call.answer.get("ok")
                and str(call.args.get("text", "")).startswith(f"{operation}: ")
            ]  # fmt: skip
            words.append(final[-1] - end)
        refused = [call.method for call in calls if call.status == 429]
        notes = [
            float(each.ts) for each in self._workspace.messages("#approvals") if each.thread_ts
        ]
        return {
            "votes": votes,
            "cancels": cancels,
            "works": works,
            "words": words,
            "proposed": proposed,
            "notes": max(notes)
            - max(self._store.events(each)[-1].at.timestamp() for each in self._ids),
            "refused": refused,
            "edits": sum(call.method == "chat.update" for call in calls),
            "calls": len(calls),
        }


def _at(events: Sequence[Event], kind: type[Event]) -> float:
    return next(each.at for each in events if isinstance(each, kind)).timestamp()


def bot_process(api: str, pace: float, directory: Path, count: int) -> None:
    """The bot, until it is ended."""
    hosts = FakeHypervisor(draw_cluster(cluster(count)), SystemClock(), network=NETWORK)
    with mock.patch.object(app, "connect_hypervisor", return_value=hosts):
        bot = app.Drover(settings(api, pace, directory, count))
    bot.start()
    signal.pause()


def phase(pace: float, count: int) -> None:
    """One run; its result as JSON. The bot is a process of its own, as the workspace is at Slack."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Workspace(manifest=manifest(), pace=pace) as workspace,
    ):
        command = [
            sys.executable,
            __file__,
            "--bot",
            workspace.web_api,
            "--phase",
            str(pace),
            "--folder",
            folder,
        ]
        bot = subprocess.Popen([*command, "--operations", str(count)])
        try:
            workspace.wait_connected(60)
            wanted = settings(workspace.web_api, pace, Path(folder), count)
            store = SqlStore(wanted.database.url, load_catalog(wanted).codec(), clock=SystemClock())
            print(json.dumps(Run(workspace, store, count).result()), flush=True)
            store.close()
        finally:
            bot.kill()
            bot.wait()


def measured(pace: float, count: int) -> Mapping[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--phase", str(pace), "--operations", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, free: Sequence[float], limited: Sequence[float], goal: str) -> str:
    """One line of the table: median and most, without and with limits."""
    shown = [f"{median(each):8.2f} {max(each):8.2f}" for each in (free, limited)]
    return f"{name:<38} {shown[0]}    {shown[1]}    {goal}"


def main() -> None:
    """Measure, print the table and what became of the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=30)
    parser.add_argument("--phase", type=float, default=-1.0, help=argparse.SUPPRESS)
    parser.add_argument("--bot", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.bot:
        bot_process(asked.bot, asked.phase, asked.folder, asked.operations)
        return
    if asked.phase >= 0:
        phase(asked.phase, asked.operations)
        return
    free, limited = measured(0, asked.operations), measured(1, asked.operations)
    slowest = max(free["works"]) * SLOWER + 2
    print(
        f"{asked.operations} operations at once; seconds     without limits       with Slack's limits"
    )
    print(f"{'':<38} {'median':>8} {'most':>8}    {'median':>8} {'most':>8}    goal")
    print(line("click -> vote stored", free["votes"], limited["votes"], f"< {VOTE:g}"))
    print(line("Cancel -> stored", free["cancels"], limited["cancels"], f"< {CANCEL:g}"))
    print(
        line("approved -> work finished", free["works"], limited["works"], f"at most {slowest:.1f}")
    )
    print(line("end -> its message says so", free["words"], limited["words"], f"< {LAST_WORD:g}"))
    for name, key in (
        ("all proposals posted (1/s a channel)", "proposed"),
        ("last end -> last note in a thread", "notes"),
    ):
        print(f"{name:<38} {'':8} {free[key]:8.2f}    {'':8} {limited[key]:8.2f}")
    print(
        f"{'edits; calls':<38} {free['edits']:8} {free['calls']:8}    {limited['edits']:8} {limited['calls']:8}"
    )
    refused = limited["refused"]
    print(
        f"{'calls answered with 429':<38} {'':8} {len(free['refused']):8}    {'':8} {len(refused):8}    0"
    )
    conclude([
        Goal("seconds from a click to the stored vote", max(limited["votes"]), most=VOTE),
        Goal("seconds from Cancel to the stored cancellation", max(limited["cancels"]), most=CANCEL),
        Goal("seconds from the approval to the end of the work", max(limited["works"]), most=slowest),
        Goal("seconds from that end to the message that says so", max(limited["words"]), most=LAST_WORD),
        Goal("calls answered with 429", len(refused), most=0),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
