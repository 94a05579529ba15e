"""The main job, performed once as people would: typed, shown, approved, done on real hosts, then left open to try."""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from bot import tour
from bot.domain.errors import DroverError
from bot.factories import app_manifest
from bot.settings import DroverSettings, PluginsSection
from bot.stage import POLICY, BotProcess, config_for, hosts_for, image_for, with_power
from lab import Guest, Lab, LabError, missing
from lab.bmc import Bmcs
from lab.slack import Workspace
from lab.slack.shown import Message
from lab.sshd import Door, serve

GUESTS: Mapping[str, Mapping[str, Any]] = {
    "web-1": {
        "host": "host-a",
        "load": 0.2,
        "dirty_mib_s": 2.0,
        "tags": {"env": "dev", "failover": "first"},
    },
    # Two busy VMs on one host: `/kvm balance` has a move to propose
    "web-2": {"host": "host-a", "load": 0.1, "tags": {"env": "dev"}},
    "batch-1": {"host": "host-a", "load": 0.15, "tags": {"env": "dev"}},
    "mail-1": {"host": "host-b", "tags": {"env": "prod", "failover": "last"}},
    "db-1": {"host": "host-c", "disk": "local", "tags": {"env": "prod"}},
}
BALANCE: Mapping[str, Any] = {"cooldown_minutes": 0}
ON_HOST_B = ("web-1", "mail-1")
TWO_VOTES: Mapping[str, Any] = {
    "rules": [
        {
            "name": "dead hosts",
            "commands": ["host failover", "host readmit"],
            "votes": 2,
            "approvers": ["approver"],
            "expires": "1h",
        },
        *POLICY["rules"],
    ]
}
TRY = """
The workspace is open at {page}
  You are Ana, the engineer; switch to Bruno or Carla (approvers) or Gil (no rights) at the left. Try in #ops:
  · /kvm help                                        what you may do
  · /kvm status   /kvm hosts   /kvm vms   /kvm top   the cluster
  · /kvm migrate web-2                               Drover picks the host; approve it as Bruno in #approvals
  · /kvm migrate db-1 host-a                         refused, with what to do; try it with --copy-storage
  · /kvm vm create shop-1 --reason "to see it"       a VM from one line; then /kvm vm show shop-1, vm screenshot shop-1
  · /kvm balance   /kvm host drain host-a            even load, an empty host: one approval, a live checklist
  · /kvm host check host-b   /kvm host pair --all    is it ready, and what to type if not
  · /kvm failover status   /kvm failover drill host-a   what if host-a died now: who starts where, who cannot
  · /kvm host drain host-a --in 2m                   approved now, run then; /kvm ops --scheduled
  · /kvm audit op-1   /kvm why web-1                 everything that happened, and why it is where it is
The bot's log: {log}
Ctrl-C ends everything and leaves nothing behind."""


PEOPLE = {
    "U0ANA": "Ana",
    "U0BRUNO": "Bruno",
    "U0CARLA": "Carla",
    "U0GIL": "Gil",
    "U0DROVER": "Drover",
}
_MENTION = re.compile(r"<@(\w+)>(?P<column>(?=  ))?")
_DATE = re.compile(r"<!date\^(\d+)\^[^>]*>")


def readable(text: str) -> str:
    """A message's text as the page shows it: names for mentions, local times for dates, no markup."""
    text = _MENTION.sub(_name_of, text)
    text = _DATE.sub(
        lambda found: f"{datetime.fromtimestamp(int(found[1])).astimezone():%H:%M:%S}", text
    )
    return text.replace("*", "").replace("`", "")


def _name_of(found: re.Match[str]) -> str:
    """A mention's name; as wide as the mention was where a column of a table goes on behind it."""
    name = f"@{PEOPLE.get(found[1], found[1])}"
    return name if found["column"] is None else name.ljust(len(found[0]))


@dataclass
class Transcript:
    """Prints what happens with the seconds since the start."""

    began: float = field(default_factory=time.monotonic)

    def say(self, who: str, text: str) -> None:
        """One line with its time; further lines are indented."""
        first, *rest = text.splitlines() or [""]
        click.echo(
            f"{time.monotonic() - self.began:7.1f} s  {click.style(who, bold=True)}  {first}"
        )
        for line in rest:
            click.echo(f"{'':11}{'':{len(who)}}  {line}")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP all interrupt, once, however the demo was started.

    A shell starts what it runs in the background with SIGINT ignored. A second signal must not
    break the tidying off.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def perform(
    *, leave: bool, hosts: int, port: int, locale: str = "en", plugins: Sequence[str] = ()
) -> None:
    """Run the demo.

    Ended by a signal before the workspace is open, the exit code is 130; after it, 0.

    Args:
        leave: end after the transcript rather than stay open.
        hosts: how many real hosts.
        port: of the page; 0 takes any free one.
        locale: what the workspace's people, and so its channels, read.
        plugins: further plugins to load: names of entry points, or of modules on PYTHONPATH.

    Raises:
        DroverError: the machine cannot, or a step did not happen; nothing is left behind.
    """
    if lacking := missing():
        # no message: the transcript of the demo
        raise DroverError("This machine cannot run the demo: " + " ".join(lacking))
    told = Transcript()
    with ended_by_signals(), _tell_signal(told), ExitStack() as stack:
        try:
            stage = _set_up(stack, told, Wish(hosts, port, locale, plugins))
            _main_job(stage, told)
            _dead_host(stage, told)
        except (TimeoutError, LabError) as error:
            raise DroverError(
                # no message: the transcript of the demo
                # no message: the transcript of the demo
                f"The demo stopped: {error}",
                # no message: the transcript of the demo
                "The machine may be very busy; try again.",
            ) from error
        if leave:
            told.say(
                "demo",
                "asked, approved, moved, verified; a host died, and its VMs run again. "
                "To try it yourself: ./drover demo, without --exit",
            )
            return
        workspace = stage.workspace
        tour.post(workspace.bot_token, workspace.web_api, "C0OPS", locale)
        click.echo(TRY.format(page=workspace.page, log=stage.bot.log))
        _until_interrupted()


@contextmanager
def _tell_signal(told: Transcript) -> Iterator[None]:
    """Tell that a signal ended the demo, when all is tidied up."""
    try:
        yield
    except KeyboardInterrupt:
        # no message: the transcript of the demo
        told.say("demo", "ended before it was ready; nothing is left behind")
        sys.exit(130)


@dataclass(frozen=True, slots=True)
class DemoStage:
    """What the demo plays on."""

    lab: Lab
    workspace: Workspace
    bot: BotProcess
    guests: Mapping[str, Guest]
    powers: Bmcs


@dataclass(frozen=True, slots=True)
class Wish:
    """What the demo was started with; see ``perform``."""

    hosts: int
    port: int
    locale: str
    plugins: Sequence[str]


def _set_up(stack: ExitStack, told: Transcript, wish: Wish) -> DemoStage:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drover-demo-")))
    told.say(
        "demo",
        # no message: the transcript of the demo
        f"starting {wish.hosts} hosts: libvirtd and QEMU, each in namespaces of its own",
    )
    lab = stack.enter_context(Lab(hosts=wish.hosts))
    guests = {name: _boot(lab, told, name, each) for name, each in GUESTS.items()}
    powers = stack.enter_context(Bmcs(lab))
    # no message: the transcript of the demo
    told.say("demo", "each host has a power controller (Redfish), which can switch it off")
    workspace = stack.enter_context(
        Workspace(
            wish.port,
            manifest=app_manifest(DroverSettings()),
            locales=dict.fromkeys(PEOPLE, wish.locale.replace("_", "-")),
        )
    )
    _build_page(told)
    hosts = with_power(hosts_for(lab, _doors(lab, told)), powers, directory)
    bot = stack.enter_context(
        BotProcess(workspace, directory, _config(lab, workspace, directory, hosts, wish))
    )
    workspace.wait_connected()
    # no message: the transcript of the demo
    told.say("demo", "the bot is connected to the local workspace")
    return DemoStage(lab, workspace, bot, guests, powers)


def _doors(lab: Lab, told: Transcript) -> Mapping[str, Door]:
    """A shell on every host, for the checks; a machine that cannot have an sshd goes on without."""
    try:
        return {name: serve(lab, name) for name in lab.hosts}
    except LabError as error:
        # no message: the transcript of the demo
        told.say("demo", f"the hosts get no SSH, so `host check` can tell less: {error}")
        return {}


def _config(
    lab: Lab,
    workspace: Workspace,
    directory: Path,
    hosts: list[dict[str, Any]],
    wish: Wish,
) -> dict[str, Any]:
    """Every plugin, with an image to make VMs from.

    Measured often, and a host counts as dead after seconds, since people try things for minutes
    only. What the transcript moved may be moved again at once.
    """
    failover = {"silence": 10, "start_cooldown": 0, "confirm_every": 1}
    return config_for(
        lab,
        workspace,
        directory,
        hosts=hosts,
        plugins={
            "enabled": [*PluginsSection().enabled, *wish.plugins],
            "vm_lifecycle": image_for(lab),
            "failover": failover,
            "balance": BALANCE,
        },
        policy=TWO_VOTES,
        monitor={"every": "5s"},
        locale=wish.locale,
    )


def _boot(lab: Lab, told: Transcript, name: str, wish: Mapping[str, Any]) -> Guest:
    host = wish["host"] if wish["host"] in lab.hosts else "host-b"
    guest = lab.guest(name, **{**wish, "host": host})
    # no message: the transcript of the demo
    told.say("demo", f"{name} has booted on {host}")
    return guest


def _build_page(told: Transcript) -> None:
    """The page is for people; the job itself does not need it, so a machine without npm's registry goes on."""
    from lab.slack.build import PageBuildError, built_page

    try:
        built_page()
    except PageBuildError as error:
        # no message: the transcript of the demo
        told.say("demo", f"the web page could not be built, going on without: {error}")


def _main_job(stage: DemoStage, told: Transcript) -> None:
    ana, bruno = stage.workspace.person("ana"), stage.workspace.person("bruno")
    ticks = stage.guests["web-1"].ticks()
    line = '/kvm migrate web-1 to host-b --reason "disk swap on host-a"'
    told.say("Ana in #ops", line)
    ana.command(line, "#ops")
    proposal = _await_message(stage, told, "#approvals", _is_open)
    # no message: the transcript of the demo
    told.say("Bruno in #approvals", "clicks Approve and confirms")
    bruno.click(proposal, "op.approve")
    done = _await_message(stage, told, "#approvals", _is_over, timeout=120)
    if "op.again" in _buttons(done):
        # no message: the transcript of the demo
        raise DroverError("The migration failed.", done.plain())
    _prove(stage, told, ticks)
    told.say("Ana in #ops", "/kvm audit op-1")
    ana.command("/kvm audit op-1", "#ops")
    _await_message(stage, told, "#ops", _is_trail, seen_by="ana")


def _buttons(message: Message) -> set[str]:
    """What can be pressed under a message, whatever language it is in."""
    rows = [block for block in message.blocks if block["type"] == "actions"]
    return {str(each.get("action_id")) for row in rows for each in row["elements"]}


def _is_over(message: Message) -> bool:
    """Whether an operation's message is at its end: nothing is left to stop or decide."""
    return "op.details" in _buttons(message) and not {"op.cancel", "op.approve"} & _buttons(message)


def _is_trail(message: Message) -> bool:
    """Whether it tells everything that happened to the operation."""
    return "op-1" in message.plain() and any(block["type"] == "table" for block in message.blocks)


def _await_message(
    stage: DemoStage,
    told: Transcript,
    channel: str,
    wanted: Callable[[Message], bool],
    *,
    timeout: float = 30,
    seen_by: str | None = None,
) -> Message:
    found = stage.workspace.wait_message(channel, wanted, timeout, seen_by=seen_by)
    told.say(f"Drover in {channel}", readable(found.plain()))
    return found


def _prove(stage: DemoStage, told: Transcript, ticks: int) -> None:
    """Ask the machine, not the bot: one QEMU process, on the target, and the guest went on counting."""
    where = stage.lab.where("web-1")
    if where != ["host-b"]:
        # no message: the transcript of the demo
        raise DroverError(f"The message says done, but web-1's QEMU processes are on: {where}.")
    deadline = time.monotonic() + 20
    guest = stage.guests["web-1"]
    while guest.ticks() <= ticks:
        if time.monotonic() > deadline:
            # no message: the transcript of the demo
            raise DroverError("web-1 stands still after the migration.")
        time.sleep(0.1)
    told.say(
        "demo",
        # no message: the transcript of the demo
        "checked on the machine itself: web-1's one QEMU process runs on host-b, and the guest goes on",
    )


def _dead_host(stage: DemoStage, told: Transcript) -> None:
    """A host loses its power; two people agree; its VMs run again elsewhere; it is admitted again."""
    ana = stage.workspace.person("ana")
    told.say("Ana in #ops", "/kvm failover status")
    _status(stage, told)
    boots = {name: stage.guests[name].boots() for name in ON_HOST_B}
    # no message: the transcript of the demo
    told.say("demo", f"somebody pulls the plug of host-b, with {' and '.join(ON_HOST_B)} on it")
    stage.lab.power_off("host-b")
    proposal = _await_message(stage, told, "#approvals", _is_open, timeout=180)
    done = _both_approve(stage, told, proposal)
    if "op.again" in _buttons(done):
        # no message: the transcript of the demo
        raise DroverError("The failover failed.", done.plain())
    _prove_failover(stage, told, boots)
    told.say("Ana in #ops", "/kvm failover report")
    ana.command("/kvm failover report", "#ops")
    _await_message(stage, told, "#ops", _is_report, seen_by="ana")
    # no message: the transcript of the demo
    told.say("demo", "host-b is repaired and switched on; nothing on it starts by itself")
    stage.lab.power_on("host-b")
    _doors(stage.lab, told)
    _await_message(stage, told, "#ops", _offers("host readmit host-b"), timeout=120)
    told.say("Ana in #ops", "/kvm host readmit host-b")
    ana.command("/kvm host readmit host-b", "#ops")
    _both_approve(stage, told, _await_message(stage, told, "#approvals", _is_open))


def _status(stage: DemoStage, told: Transcript) -> None:
    """Asked until the bot, which has just started, has kept the definitions of both VMs."""
    deadline = time.monotonic() + 120
    while True:
        stage.workspace.person("ana").command("/kvm failover status", "#ops")
        try:
            found = stage.workspace.wait_message("#ops", _both_could_start, 5, seen_by="ana")
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
        else:
            told.say("Drover in #ops", readable(found.plain()))
            return


def _both_could_start(message: Message) -> bool:
    """Whether a table says that both VMs of host-b could start elsewhere."""
    lines = message.plain().splitlines()
    return any("bmc-host-b" in line and line.rstrip().endswith("2/2") for line in lines)


def _both_approve(stage: DemoStage, told: Transcript, proposal: Message) -> Message:
    """Two people click; the same message at the end of its operation."""
    for name in ("bruno", "carla"):
        # no message: the transcript of the demo
        told.say(f"{name.title()} in #approvals", "clicks Approve and confirms")
        stage.workspace.person(name).click(proposal, "op.approve")
    return _await_message(
        stage,
        told,
        "#approvals",
        lambda each: each.ts == proposal.ts and _is_over(each),
        timeout=240,
    )


def _is_open(message: Message) -> bool:
    """Whether an operation waits for votes."""
    return "op.approve" in _buttons(message)


def _is_report(message: Message) -> bool:
    """Whether it tells how long each VM was away."""
    tables = [block for block in message.blocks if block["type"] == "table"]
    return bool(tables) and len(tables[0]["rows"][0]) == 9


def _offers(command: str) -> Callable[[Message], bool]:
    """Whether a button of a message types this."""
    return lambda message: any(command in value for _, _, value in message.buttons())


def _prove_failover(stage: DemoStage, told: Transcript, boots: Mapping[str, int]) -> None:
    """Ask the machine, not the bot: each VM has one QEMU process, not on host-b, and has booted once more."""
    for name, before in boots.items():
        where = stage.lab.where(name)
        if len(where) != 1 or where == ["host-b"]:
            # no message: the transcript of the demo
            raise DroverError(f"{name}'s QEMU processes are on: {where}.")
        deadline = time.monotonic() + 120
        while stage.guests[name].boots() <= before:
            if time.monotonic() > deadline:
                # no message: the transcript of the demo
                raise DroverError(f"{name} did not boot again.")
            time.sleep(0.2)
        told.say(
            "demo",
            # no message: the transcript of the demo
            f"checked on the machine itself: {name} runs once, on {where[0]}, and has booted",
        )


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(1)  # a signal that the system gives to another thread does not wake this one
    except KeyboardInterrupt:
        sys.stdout.write("\n")
