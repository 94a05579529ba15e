"""Every sentence of this plugin that a person reads; translating the plugin is translating this file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bot.domain.card import Card, Context, Element, Line, Section, Table, words
from bot.domain.cluster import Host, Scheduler, Vm
from bot.domain.message import Number, Percent, Size, Words
from bot.domain.plan import HostBar, Objection, Plan, Reason, Refused
from bot.domain.steps import MigrateVm
from bot.domain.words import bytes_text, command, duration_text, plural
from plugins.balance.contention import WAITING, Want
from plugins.balance.solver.model import Floats, Move, Score, Why
from plugins.balance.solver.model import Reason as Cause

# --- the commands' help
# -------------------------------------------------------------------------------------------

BALANCE = "Even out CPU and memory load with few moves."
BALANCE_HELP = (
    "Even out CPU and memory load with few moves.\n\n"
    "Each move has a reason and must pay; inside the band nothing is moved. Look first with `balance sim`; ask about "
    "one VM with `balance why`."
)
SIM = "What a balance would do, also without a host or with one more; nothing is touched."
WHY = "Why a VM is not moved by a balance: one answer for each host."
DRAIN = "Put a host into maintenance and move every VM away from it."
UNDRAIN = "Take a host out of maintenance and bring home the VMs that its drain moved away."
DRY_HELP = "Only show what would be done, as `balance sim` does."
EXPLAIN_HELP = "Only say why this VM is not moved, as `balance why` does."
MAX_HELP = "At most so many moves; 0: as set."
GAIN_HELP = "Each move must lower the score by at least this; 0: as set."
ONLY_HELP = "Look at one resource alone, or only mend what is plainly wrong (maintenance, affinity, full hosts)."
SKIP_HELP = "Leave this VM where it is; may be given more than once."
PICK_HELP = "Propose only these moves of the open proposal instead of it, by number; op-17:1,3 names which one."
PICK_ALONE = "Give --pick alone: all else is as in the proposal that you pick of."
REASON_HELP = (
    'Why, for the approvers and the audit trail; several words in quotes: --reason "new rack".'
)
WITHOUT_HELP = "As if this host were in maintenance; may be given more than once."
ADD_HELP = "As if there were one more host, such as cpus=32,memory=256G."


def bad_host(said: str) -> str:
    """``--add 32``."""
    return f"“{said}” is not the size of a host; write for example --add cpus=32,memory=256G."


# --- the plan
# -----------------------------------------------------------------------------------------------------

NOTHING = "Nothing is to be moved."
MOST_AGAINST = 3  # hosts that a stuck guest's line tells of
MAKE_ROOM = "Make room elsewhere, or shut it down."
STUCK = "stuck:"  # begins the code of a warning about a guest that stays; its name follows
CUT_SHORT = Reason("cut-short", "The search ran out of time; a second balance may find more.")
CAUSES = {
    Cause.MAINTENANCE: "its host is in maintenance",
    Cause.AFFINITY: "a rule about VMs that belong apart or together",
    Cause.DOMAIN: "its failure domain holds more than its share of VMs that belong apart",
    Cause.HOST_AT_RISK: "its host holds more than it should",
    Cause.CPU: "CPU",
    Cause.MEMORY: "memory",
}


def plan_title(count: int) -> str:
    """What approvers read first."""
    return f"Balance the cluster with {plural(count, 'move')}"


def bad_pick(said: str) -> str:
    """``--pick some``."""
    return f"“{said}” names no moves; write for example --pick 1,3-5, or --pick op-17:1,3-5."


def pick_gone(uuid: str, target: str) -> Objection:
    """A picked guest or its host is away."""
    return Objection(
        "gone",
        f"A picked move to {target} is left out: VM {uuid} or the host does not answer any more.",
    )


def not_picked(found: Objection, waits_for: Sequence[str]) -> Objection:
    """A picked move that is not legal by itself."""
    needs = (
        f" It needs what was not picked: {_some(waits_for)} leaving there first."
        if waits_for
        else ""
    )
    return Objection("not-picked", f"Left out: {found.text}{needs}", found.remedy)


def asked_because(why: str) -> Reason:
    """The person's own reason."""
    return Reason("asked", f"Asked for: {why}")


def summary(before: Score, after: Score, count: int, memory: int) -> Reason:
    """The whole in one line."""
    text = f"{plural(count, 'move')}, {bytes_text(memory)}: unevenness {_even(before)} → {_even(after)}"
    return Reason("summary", f"{text} (CPU {before.cpu:.3f} → {after.cpu:.3f}, memory {before.memory:.3f} → "
                  f"{after.memory:.3f}){_faults(before, after)}.")  # fmt: skip


def _even(score: Score) -> str:
    return f"{score.balance:.3f}"


def _faults(before: Score, after: Score) -> str:
    names = ("stranded", "collisions", "separated", "overfull", "crowded")
    found = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return "".join(f"; {name} {was} → {now}" for name, was, now in found if was or now)


def because(vm: Vm, source: Host, target: Host, move: Move, share: Floats) -> Reason:
    """One move's reason; ``share``: load of each host (CPU, memory) just before it, by index."""
    why: Line = CAUSES[move.reason]
    # The others mend what is wrong, and their gain is a weight
    if move.reason in (Cause.CPU, Cause.MEMORY):
        column = 0 if move.reason is Cause.CPU else 1
        gain = words("gain {gain}", gain=Number(move.gain, 3))
        why = words(
            "{cause}, {here} against {there} ({gain})",
            cause=why,
            here=Percent(float(share[move.source, column])),
            there=Percent(float(share[move.target, column])),
            gain=gain if move.gain > 0 else words("it makes room for a move that gains"),
        )
    return Reason(
        move.reason.value,
        words(
            "{vm} ({memory}) from {source} to {target}: {why}",
            vm=vm.name,
            memory=Size(vm.memory),
            source=source.name,
            target=target.name,
            why=why,
        ),
    )


def _why(reason: Line) -> Line:
    """What a move's reason says of why, for where the VM and the hosts stand beside it."""
    why = reason.args.get("why", "") if isinstance(reason, Words) else reason
    return why if isinstance(why, Words) else str(why)


def basis(sent: float, rate: float, count: int) -> str:
    """From what the time was foretold; bytes and bytes/s."""
    return f"{plural(count, 'move')} one after another, {bytes_text(sent)} at an assumed {bytes_text(rate)}/s"


def unmeasured(names: Sequence[str]) -> Reason:
    """Guests without a measured load."""
    return Reason("unmeasured", f"Not measured yet, so counted as idle: {_some(names)}.")


def left_out(hosts: Sequence[str]) -> Reason:
    """Hosts that do not answer."""
    return Reason(
        "left-out", f"Left out with their VMs, because they do not answer: {_some(hosts)}."
    )


def no_spare(hosts: Sequence[str]) -> Reason:
    """No N+1."""
    return Reason(
        "no-spare",
        f"Should one of these fail, the others lack the room for its VMs: {_some(hosts)}.",
    )


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


# --- why nothing is planned
# ---------------------------------------------------------------------------------------


def calm(score: Score, band: float) -> Objection:
    """Inside the band."""
    return Objection(
        "calm",
        f"The cluster is even enough: unevenness {_even(score)} (CPU {score.cpu:.3f}, memory {score.memory:.3f}), and "
        f"up to {band:g} nothing is moved.",
        "Set a lower `band` in [plugins.balance] if that is not even enough for you.",
    )


def spare_first(score: Score) -> Objection:
    """What would even it out would spend the room that N+1 needs."""
    return Objection(
        "spare",
        f"Unevenness is {_even(score)}, but moves that would lower it spend the room that the loss of a host needs.",
        "Add memory or stop what nobody needs; or set keep_spare = false to balance all the same.",
    )


def nothing_pays(score: Score) -> Objection:
    """Outside the band, and yet."""
    return Objection(
        "nothing-pays",
        f"Unevenness is {_even(score)}, but no legal move lowers it by what a move costs.",
        "Ask `balance why VM` about one that you would move, or try a smaller --min-gain.",
    )


def stuck_here(names: Sequence[str]) -> Objection:
    """On hosts in maintenance."""
    return Objection(
        "stuck",
        f"On hosts in maintenance, with nowhere to go: {_some(names)}.",
        "Ask `balance why VM` about each.",
    )


# --- what changed since it was planned
# ----------------------------------------------------------------------------


def gone(step: MigrateVm) -> Objection:
    """No such guest runs any more, or its host does not answer."""
    return Objection("gone", f"{step.name} does not run any more, or its host does not answer.", "")


def host_away(step: MigrateVm) -> Objection:
    """The target does not answer."""
    return Objection(
        "host-unreachable", f"{step.target}, where {step.name} was to go, does not answer.", ""
    )


def moved_meanwhile(step: MigrateVm, host: str) -> Objection:
    """It is elsewhere."""
    return Objection("moved", f"{step.name} is on {host} now, not on {step.source}.", "")


def changed(step: MigrateVm) -> Objection:
    """Another name, size, or what must travel with it."""
    return Objection(
        "changed", f"{step.name} has been renamed, resized or set up differently since.", ""
    )


def no_gain(before: Score, after: Score) -> Objection:
    """The load has changed."""
    return Objection(
        "no-gain",
        f"The load has changed: the plan would now take unevenness from {_even(before)} to {_even(after)}.",
        "",
    )


def no_longer_pays(before: Score, after: Score) -> Objection:
    """The rest is not worth its price any more."""
    return Objection(
        "enough",
        f"The rest no longer pays: it would take unevenness from {_even(before)} to {_even(after)}.",
        "Nothing to do; a new balance plans from here.",
    )


def pointless(now: Score) -> Objection:
    """One move brings nothing any more."""
    return Objection(
        "pointless",
        f"It brings nothing any more: unevenness is {_even(now)}, and no less with it.",
        "",
    )


# --- why one guest does not go to one host
# ------------------------------------------------------------------------

FIXED_TEXT = {
    "not-readable": "it cannot be read whole",
    "moving": "it is being moved, or runs in two places",
    "pinned": "its tag `pin` keeps it here",
    "own": "the bot runs in it",
    "left-out": "its tag `balance=off` leaves it out",
    "cooldown": "it moved only lately",
    "not-asked": "only other VMs are asked to move",
    "huge-pages": "it uses huge pages, and how many of them are free elsewhere is not known",
}
REMEDIES = {
    "pinned": "Take the tag away.",
    "own": "Move it by hand, with `migrate`.",
    "moving": "Wait until it has arrived.",
    "huge-pages": "Move it with `migrate`, to a host that has them.",
}
WHY_TEXT = {
    Why.HERE: "it is here",
    Why.FIXED: "it does not move",
    Why.DRAINED: "the host is in maintenance",
    Why.NOT_ALLOWED: "a rule forbids it",
    Why.MEMORY: "not enough memory there",
    Why.VCPUS: "too many vCPUs for its cores there",
    Why.ANTI_AFFINITY: "one of the VMs it must be apart from is there",
    Why.DOMAIN: "its failure domain holds its share of that group already",
    Why.SPARE: "the loss of a host could then no longer be taken (N+1)",
    Why.HELD_TOGETHER: "it stays with the VMs it belongs to",
    Why.CALM: "the cluster is even enough",
    Why.TOO_LITTLE_GAIN: "it would gain too little",
    Why.WORTHWHILE: "alone it would pay; better moves come first",
}


def not_readable(problem: str) -> str:
    """A VM of which a part is not known."""
    return f"it cannot be read whole ({problem})"


def unreadable_vms(vms: Sequence[Vm]) -> Objection:
    """VMs that are no part of a plan, each with its reason."""
    told = "; ".join(f"{vm.name} on {vm.host} ({vm.problem})" for vm in vms[:MOST_AGAINST])
    more = f"; and {len(vms) - MOST_AGAINST} more" if len(vms) > MOST_AGAINST else ""
    return Objection(
        "not-readable", f"Left as they are, because they cannot be read whole: {told}{more}.", ""
    )


def pinned_to(said: str) -> str:
    """A pin that names hosts."""
    return f"its tag pin={said} names other hosts"


def _reason(why: Why, behind: str) -> str:
    return (behind or WHY_TEXT[why]).removesuffix(".")


def forbidden(vm: Vm, host: Host, why: Why, behind: str, fixed: str = "") -> Objection:
    """A move that is not legal; ``fixed``: the code of what keeps the VM where it is, '' when nothing does."""
    remedy = REMEDIES.get(fixed, "")
    if why is Why.FIXED and vm.problem:
        remedy = f"Look at it on {vm.host}: `{command('virsh dumpxml {}', vm.name)}`."
    return Objection(
        why.value, f"{vm.name} cannot go to {host.name}: {_reason(why, behind)}.", remedy
    )


def why(vm: Vm, rows: Iterable[tuple[Host, Why, str]], score: Score, band: float) -> Card:
    """One answer for each host."""
    table: list[tuple[Line, ...]] = [
        (host.name, _reason(answer, behind)) for host, answer, behind in rows
    ]
    head = words(
        "*{vm}* on {host}, {memory}, {cpu}.",
        vm=vm.name,
        host=vm.host,
        memory=bytes_text(vm.memory),
        cpu="load not measured" if vm.cpu is None else f"{vm.cpu:.2f} cores in use",
    )
    now = words(
        "Unevenness now {now}; up to {band} nothing is moved for balance.",
        now=_even(score),
        band=f"{band:g}",
    )
    elements: list[Element] = [
        Section(head),
        Table(("Host", "What speaks first against moving it there"), tuple(table)),
    ]
    return Card(
        f"Why {vm.name} is not moved", f"Why {vm.name} is not moved", (*elements, Context((now,)))
    )


def not_in_it(vm: Vm, host: Host) -> Card:
    """A guest that is no part of a balance."""
    text = f"{vm.name} is {vm.state} on {host.name}" + (
        "" if host.up else ", which does not answer"
    )
    line = words("{text}: a balance moves only VMs that run on hosts that answer.", text=text)
    return Card(f"{text}.", "", (Section(line),))


# --- drain and undrain
# --------------------------------------------------------------------------------------------


def drain_title(host: str) -> str:
    """What approvers read first."""
    return f"Drain {host} for maintenance"


def undrain_title(host: str) -> str:
    """What approvers read first."""
    return f"Take {host} back into service"


def silent(host: Host) -> Objection:
    """Unreachable is not dead."""
    return Objection(
        "host-unreachable",
        f"{host.name} does not answer: {host.problem or 'no connection'}.",
        "Check the host and its libvirtd; its VMs may well be running.",
    )


def empty_already(host: Host) -> Objection:
    """Nothing to do."""
    return Objection(
        "empty", f"{host.name} is in maintenance and no VM runs there.", "Nothing is left to do."
    )


def all_home(host: Host) -> Objection:
    """Nothing to do."""
    return Objection(
        "all-home",
        f"{host.name} is in service, and no VM is known to be away from it.",
        "Nothing to do.",
    )


def stay_off(host: str, names: Sequence[str]) -> Reason:
    """Guests that do not run stay where they are defined."""
    return Reason("off", f"Switched off, so they stay defined on {host}: {_some(names)}.")


def stuck(vm: Vm, host: str, against: Sequence[Objection]) -> Objection:
    """A guest that would stay, and what it needs."""
    said = (
        " ".join(dict.fromkeys(str(each.text) for each in against[:MOST_AGAINST]))
        or "there is no other host."
    )
    remedies = [each.remedy for each in against if each.remedy]
    return Objection(
        f"{STUCK}{vm.name}", f"{vm.name} stays on {host}: {said}", next(iter(remedies), MAKE_ROOM)
    )


def sizeless(host: str) -> Objection:
    """A host that answers and yet tells too little to plan with."""
    return Objection(
        "sizeless",
        f"{host} does not tell how many CPUs and how much memory it has.",
        "Look at its libvirtd.",
    )


def arrived(host: str, names: Sequence[str]) -> Objection:
    """Somebody came meanwhile."""
    return Objection(
        "arrived", f"Since it was planned there are more VMs on {host}: {_some(names)}.", ""
    )


def coming_home(count: int, host: str) -> Reason:
    """The plan's reason."""
    if not count:
        return Reason(
            "home",
            f"No VM that a drain of {host} moved away can come home; the host is back in service.",
        )
    return Reason(
        "home",
        f"{plural(count, 'VM')} that the drain of {host} moved away {'comes' if count == 1 else 'come'} home.",
    )


def home_again(host: str) -> str:
    """One move's reason."""
    return f"The drain of {host} had moved it away."


def not_found(uuid: str, names: Sequence[str]) -> Objection:
    """It does not run any more."""
    return Objection(
        "not-home",
        f"{names[0] if names else uuid} does not run on a host that answers; it is not brought home.",
    )


def not_home(vm: Vm, found: Objection) -> Objection:
    """It cannot come."""
    return Objection("not-home", f"{vm.name} stays on {vm.host}: {found.text}", found.remedy)


# --- rolling maintenance
# ------------------------------------------------------------------------------------------

ROLLING = "Maintain hosts one at a time: empty each, run a command or let people work, and bring its VMs home."
ROLLING_HELP = (
    "Maintain hosts one at a time: empty each, run a command or let people work, and bring its VMs home.\n\n"
    "With --run the command runs on each host once it is empty, and a person presses Continue before the next host's "
    "turn. Without it, a person works on each host by hand and presses Continue when it may be filled again."
)
ALL_HELP = "Every host that is not in maintenance."
RUN_HELP = (
    "What to run on each empty host, in its shell, as the user of its `ssh`; in quotes, such as "
    '--run "apt-get -y upgrade". Whoever sees the proposal reads it. The configuration names what may be run.'
)
REBOOTS_HELP = "The command takes the host down; it is done when the host is back."
ALL_OR_SOME = "Name hosts, or write --all."
REBOOTS_WHAT = "--reboots says what the command of --run does; give one."
PLANNED_ANEW = Reason(
    "anew",
    "When a host's turn comes and its moves no longer hold, they are planned anew: its own VMs leave, and come home.",
)
NO_SSH = "no SSH is configured for it"


def rolling_title(hosts: Sequence[str]) -> str:
    """What approvers read first."""
    return f"Rolling maintenance of {_some(hosts) or 'no host'}"


def turn_reason(host: str, moves: Sequence[MigrateVm], command: str) -> Reason:
    """One host's turn."""
    guests = len({move.uuid for move in moves})
    to = f" to {_some(sorted({move.target for move in moves} - {host}))}" if moves else ""
    work = f"`{command}` runs there" if command else "people work on it"
    return Reason(
        "turn",
        f"{host}: {plural(guests, 'VM')} {'leaves' if guests == 1 else 'leave'}{to}; {work}; then home.",
    )


def for_turn(host: str) -> str:
    """A move's reason."""
    return f"{host} is being maintained."


def home_from_turn(host: str) -> str:
    """A move's reason."""
    return f"The maintenance of {host} is over."


def may_not_run(command: str, allowed: Sequence[str]) -> Objection:
    """Chat reaches a host's shell only where the configuration opens it."""
    patterns = ", ".join(f"`{each}`" for each in allowed)
    return Objection(
        "command",
        f"`{command}` may not be run on hosts: the configuration names {patterns or 'no command that may'}.",
        "Leave --run out and work by hand while it waits, or have `commands` in [plugins.balance.rolling] extended.",
    )


def resting_already(host: Host) -> Objection:
    """Somebody put it there for a reason."""
    return Objection(
        "maintenance",
        f"{host.name} is in maintenance already.",
        f"End it with `host undrain {host.name}`, or leave it out.",
    )


def left_resting(hosts: Sequence[str]) -> Reason:
    """Not part of --all."""
    return Reason("left-out", f"Left out, because they are in maintenance already: {_some(hosts)}.")


def no_host_left() -> Objection:
    """All in maintenance, or none."""
    return Objection("no-host", "No host is left to maintain.", "See them with `hosts`.")


def other_hosts() -> Objection:
    """The choice of --all is another one by now."""
    return Objection("hosts", "Other hosts are in service than when it was planned.", "")


def by_hand(host: str) -> str:
    """What people are asked to do."""
    return f"Work on {host}: it is empty and in maintenance"


def go_on_with(host: str, following: str) -> str:
    """What people are asked to do."""
    return f"Look at {host}, which is back; then go on with {following}"


def after_pause(host: str) -> str:
    """What to do when nobody came."""
    return (
        f"If {host} is still in maintenance, bring it and its VMs back with `host undrain {host}`."
    )


def not_empty(host: str, names: Sequence[str]) -> Objection:
    """A command on a host on which guests run could end them."""
    return Objection(
        "not-empty",
        f"Not run on {host}, because VMs still run there: {_some(names)}.",
        "Drain it first.",
    )


def turn_anew(host: str) -> str:
    """Why the rest was planned anew."""
    return f"because the VMs of {host} or the room for them have changed:"


def home_anew(host: str) -> str:
    """Why the way home was planned anew."""
    return f"because VMs that left {host} have changed or moved meanwhile:"


def turn_left_out(host: str, stuck: Sequence[Objection]) -> str:
    """Why a host's turn does not come."""
    return f"without {host}, which cannot be emptied now ({' '.join(str(each.text) for each in stuck[:MOST_AGAINST])}):"


def reach_shells(hosts: Sequence[str]) -> str:
    """A step as one sentence."""
    return f"Reach the shells of {_some(hosts)}"


def run_on_host(host: str, command: str, *, reboots: bool) -> str:
    """A step as one sentence."""
    shown = command if len(command) <= MOST_COMMAND else f"{command[:MOST_COMMAND]}…"
    return f"Run “{shown}” on {host}" + (" and wait until it is back" if reboots else "")


MOST_COMMAND = 80  # characters of a command in a line


def no_shells(found: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Before anything was moved."""
    said = "; ".join(f"{host}: {why}" for host, why in found)
    return (
        f"No command can be run on {said}",
        "Give these hosts `ssh` in the configuration, or leave out --run.",
    )


def mark_refused(host: str, said: str) -> tuple[str, str]:
    """The mark cannot be left."""
    return (
        f"{host} would not take the command: {said or 'no reason given'}.",
        "Look at `marks` in [plugins.balance.rolling].",
    )


def strange_answer(host: str, said: str) -> str:
    """The shell speaks otherwise."""
    return f"{host} answered strangely when asked for the command: {said!r}."


def command_runs(host: str, seconds: float, last: str) -> str:
    """While it runs."""
    return f"The command runs on {host} for {duration_text(seconds)}" + (
        f": {last[:200]}" if last else ""
    )


def host_away_for(host: str, seconds: float) -> str:
    """While the host is down, or on its way."""
    return f"Waiting for {host} to come back, for {duration_text(seconds)}"


def command_facts(code: int, last: str, *, rebooted: bool) -> Mapping[str, str]:
    """What stands beside the step, and in the trail: words, for none of it is a measure."""
    facts = {"exit": str(code), "host": "rebooted" if rebooted else "", "said": last[:200]}
    return {key: value for key, value in facts.items() if value}


def command_goes_on(host: str, mark: str) -> str:
    """A command cannot be taken back."""
    return f"The command goes on on {host}; its output is in {mark}/out there."


def command_failed(host: str, code: int, output: str, mark: str) -> tuple[str, str]:
    """It says so itself."""
    tail = " ".join(output.split())[-300:]
    return (
        f"The command ended with {code} on {host}" + (f": {tail}" if tail else "."),
        f"Its output is in {mark}/out there. {after_pause(host)}",
    )


def command_cut_off(host: str, mark: str, *, rebooted: bool) -> tuple[str, str]:
    """No end, and no process."""
    how = "the host rebooted meanwhile" if rebooted else "its process is gone"
    return (
        f"The command on {host} was cut off: {how}. Nobody knows how far it came.",
        f"Look at {mark}/out there. A command that is meant to reboot its host needs --reboots. {after_pause(host)}",
    )


def command_too_long(host: str, minutes: float, mark: str) -> tuple[str, str]:
    """It may still run."""
    return (
        f"The command on {host} has not done what it should within {duration_text(60 * minutes)}.",
        f"It may still run; its output is in {mark}/out there. {after_pause(host)}",
    )


def not_back(host: str, minutes: float, said: Line) -> tuple[str, str]:
    """It stays away."""
    return (
        f"{host} did not come back within {duration_text(60 * minutes)}: {said}",
        f"Look at it. {after_pause(host)}",
    )


# --- a simulation
# -------------------------------------------------------------------------------------------------

SHOWN = 40  # moves in a table


def simulated(found: Plan | Refused, without: Sequence[str], cpus: int, memory: int) -> Card:
    """What would be done; nothing is."""
    supposed = [*(f"without {host}" for host in without)]
    supposed += [f"with one more host of {cpus} CPUs and {bytes_text(memory)}"] if cpus else []
    title = f"If balanced {' and '.join(supposed) or 'now'}"
    small = Context(("Nothing was touched or proposed.",))
    if isinstance(found, Refused):
        lines = "\n".join(f"{each.text} {each.remedy}".strip() for each in found.objections)
        return Card(
            f"{title}: {found.title}",
            title,
            (Section(words("*{t}*\n{lines}", t=found.title, lines=lines)), small),
        )
    moves = [step for step in found.steps if isinstance(step, MigrateVm)]
    rows: list[tuple[Line, ...]] = [(str(n), step.name, step.source, step.target, _why(step.reason))
                                    for n, step in enumerate(moves[:SHOWN], 1)]  # fmt: skip
    head = next(each.text for each in found.reasons if each.code == "summary")
    elements: list[Element] = [
        Section(head),
        Table(("#", "VM", "from", "to", "why"), tuple(rows), frozenset({0})),
    ]
    if len(moves) > SHOWN:
        elements.append(Section(f"… and {len(moves) - SHOWN} more."))
    elements += [_bars(found.bars)] if found.bars else []
    elements += (
        [Section("\n".join(f"• {each.text}" for each in found.warnings[:8]))]
        if found.warnings
        else []
    )
    took = words(
        "Foretold: {time}, {basis}.",
        time=duration_text(found.prediction.seconds or 0),
        basis=found.prediction.basis,
    )
    return Card(f"{title}: {head}", title, (*elements, Context((took,)), small))


def _bars(bars: Sequence[HostBar]) -> Table:
    rows: list[tuple[Line, ...]] = [
        (bar.host, f"{bar.memory_before:.0%} → {bar.memory_after:.0%}", _cpu(bar))
        for bar in bars[:30]
    ]
    return Table(("Host", "Memory allocated", "CPU busy"), tuple(rows))


def _cpu(bar: HostBar) -> str:
    if bar.cpu_before is None or bar.cpu_after is None:
        return "not measured"
    return f"{bar.cpu_before:.0%} → {bar.cpu_after:.0%}"


# --- CPU inside a host
# --------------------------------------------------------------------------------------------

SHARES = "Give the VMs of a host CPU by their tags: priority=gold|silver|bronze, cpu-cap=150%."
SHARES_HELP = (
    "Give the VMs of a host CPU by their tags: priority=gold|silver|bronze and cpu-cap=150%.\n\n"
    "Priority matters only when VMs want more CPU than there is: gold then gets four times what silver gets, bronze a "
    "quarter of it; a VM without the tag is silver. A cap always holds. Both are set live and for the next start."
)
LIMIT = "Set or lift the ceiling of a VM's CPU use."
UNDO_HELP = "Back to what the last `balance shares` of this host had changed."
CPU_HELP = "Percent of one core over all its vCPUs, or none; a ceiling always holds, also when the host is idle."
AS_BEFORE = "as it was before"
AT_ONCE = "set at once, no VM stops"


def bad_percent(said: str) -> str:
    """``--cpu much``."""
    return f"“{said}” is no ceiling; write for example --cpu 150% (one and a half cores) or --cpu none."


def set_scheduler(name: str, wanted: Scheduler, vcpus: int) -> str:
    """A step as one sentence."""
    parts = [f"priority {wanted.cpu_shares}"] if wanted.cpu_shares is not None else []
    if wanted.vcpu_quota is not None:
        cores = vcpus * wanted.vcpu_quota / (wanted.vcpu_period or 100_000)
        parts.append(f"a ceiling of {cores:.3g} cores" if wanted.capped else "no CPU ceiling")
    return f"Give {name} {' and '.join(parts)}"


def shares_title(host: str, *, undo: bool) -> str:
    """What approvers read first."""
    return (
        f"Undo the CPU shares of {host}"
        if undo
        else f"Set the CPU shares of {host} by its VMs' tags"
    )


def limit_title(name: str, percent: float) -> str:
    """What approvers read first."""
    return (
        f"Limit {name} to {percent:g}% of a core" if percent else f"Lift the CPU ceiling of {name}"
    )


def least_cpu(priority: str, cores: float) -> str:
    """What a priority is worth."""
    return f"{priority}; at least {cores:.2f} cores when every VM of the host wants all it can get"


def likely_cpu(want: Want, likely: float) -> str:
    """What was measured of a guest, and what it is likely to get."""
    waits = f" and waits for {want.waits:.2f} more" if want.waits > WAITING else ""
    held = want.used + want.waits - want.most
    ceiling = f" (its ceiling keeps {held:.2f} from it)" if held > WAITING else ""
    return f"; it uses {want.used:.2f}{waits}, and will get about {likely:.2f}{ceiling}"


def contended(host: str, waiting: Sequence[Vm]) -> Reason:
    """Priorities matter now."""
    said = ", ".join(f"{vm.name} for {vm.wait or 0.0:.2f} cores" for vm in waiting[:8])
    return Reason("contended", f"On {host} VMs wait for CPU now: {said}.")


def nobody_waits(host: str) -> Reason:
    """Priorities do not matter now."""
    return Reason(
        "calm",
        f"Nobody waits for CPU on {host} now: priorities change nothing until its VMs want more than there is.",
    )


def steal_unknown(host: str) -> Reason:
    """No sweep has told it."""
    return Reason(
        "unmeasured",
        f"How long VMs of {host} wait for CPU is not measured; what they get is foretold by use.",
    )


def suggested(waiting: Vm, hog: Vm) -> Objection:
    """Who waits, and for whom."""
    text = f"{waiting.name} waits for {waiting.wait or 0.0:.2f} cores that it does not get"
    if hog.uuid == waiting.uuid:
        return Objection("waits", f"{text}.", "Give it `priority=gold`, or let `balance` move it.")
    return Objection(
        "waits", f"{text}; {hog.name} uses the most, {hog.cpu or 0.0:.2f}.",
        f"Give {waiting.name} the tag priority=gold, or {hog.name} priority=bronze or a cpu-cap.",
    )  # fmt: skip


def ceiling_reason(vm: Vm, percent: float) -> str:
    """What a ceiling means."""
    now = "not measured" if vm.cpu is None else f"{vm.cpu:.2f} cores"
    return (
        f"at most {percent / 100:.2f} cores from now on; it uses {now}"
        if percent
        else f"no ceiling; it uses {now}"
    )


def nothing_to_undo(host: str) -> Objection:
    """No such operation, or all is as before."""
    return Objection(
        "nothing-to-undo", f"Nothing that `balance shares` set on {host} is left to undo.", ""
    )


def bad_tag(name: str, key: str, value: str) -> Objection:
    """A tag that says nothing."""
    return Objection(
        "bad-tag",
        f"{name} has the tag {key}={value}.",
        "Write priority=gold|silver|bronze, cpu-cap=150%.",
    )


def no_tags(host: str) -> Objection:
    """Nobody has a wish."""
    return Objection(
        "no-tags",
        f"No running VM of {host} has a tag `priority` or `cpu-cap`.",
        "Tag them, for example priority=gold, and ask again.",
    )


def as_tagged(host: str) -> Objection:
    """Nothing to do."""
    return Objection(
        "as-tagged",
        f"Every running VM of {host} has the CPU share that its tags say.",
        "Nothing to do.",
    )


def not_running(vm: Vm) -> Objection:
    """No process to limit."""
    return Objection("not-running", f"{vm.name} is {vm.state} on {vm.host}.", "Start it first.")


def more_than_all(vm: Vm) -> Objection:
    """A ceiling that limits nothing."""
    return Objection(
        "no-limit", f"{vm.name} has {plural(vm.vcpus, 'vCPU')}, so it never uses more than {vm.vcpus * 100}%.",
        "Write --cpu none, or less.",
    )  # fmt: skip


def as_wanted(vm: Vm) -> Objection:
    """Nothing to do."""
    return Objection("as-wanted", f"{vm.name} has that ceiling already.", "Nothing to do.")


def not_as_planned(name: str, host: str) -> Objection:
    """It moved, stopped or was resized."""
    return Objection(
        "changed", f"{name} does not run on {host} any more as it did when this was planned.", ""
    )


def measuring(name: str) -> str:
    """While it waits."""
    return f"Measuring the CPU that {name} uses"


def does_not_hold(name: str, used: float, cap: float) -> tuple[str, str]:
    """The kernel does not do what libvirt says."""
    return (
        f"{name} uses {used:.2f} cores although its ceiling of {cap:.2f} is reported as set.",
        "Look at the cgroup of its machine slice on the host; a restart of the VM sets it anew.",
    )


# --- what the watch says
# ------------------------------------------------------------------------------------------

BALANCE_BUTTON = "Plan a balance"
LOOK_BUTTON = "Look at the moves"


AUTO_HALTED = "Nothing is moved by itself: the last automatic balance failed or was cancelled. Plan one to see to it."
AUTO_NOT_ENOUGH = (
    "Nothing is moved by itself: what may be moved without asking would not help enough."
)


def auto_used_up(moves: int, hours: float) -> str:
    """The limit of the window."""
    return f"Nothing is moved by itself: {plural(moves, 'move')} in {duration_text(hours * 3600)} are used up."


def uneven(found: Plan, minutes: float, held: str = "") -> Card:
    """An alert with the plan in short; ``held``: why it is not carried out by itself."""
    moves = [step for step in found.steps if isinstance(step, MigrateVm)]
    head = next(each.text for each in found.reasons if each.code == "summary")
    text = f"The cluster has been uneven for {duration_text(minutes * 60)}. {head} {held}".strip()
    lines = "\n".join(f"• {step.reason}" for step in moves[:8])
    return Card(text, "The cluster is uneven", (Section(text), Section(lines)))


def even_again(score: Score) -> Card:
    """The alert's end."""
    text = f"The cluster is even enough again: {_even(score)}."
    return Card(text, "The cluster is even again", (Section(text),))


def why_proposed(minutes: float) -> str:
    """The reason that stands beside what the bot proposes by itself."""
    return f"uneven for {duration_text(minutes * 60)}"
