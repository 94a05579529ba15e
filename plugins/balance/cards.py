"""Cards of this plugin, and what it says in more than one place.

Each rule's own sentences stand with the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.domain.card import Card, Context, Element, Line, Section, Table
from bot.domain.cluster import Host, Vm
from bot.domain.message import (
    Code,
    Duration,
    Message,
    Names,
    Number,
    Percent,
    Size,
    Words,
    join,
    nwords,
    words,
)
from bot.domain.plan import HostBar, Objection, Plan, Reason, Refused
from bot.domain.steps import MigrateVm
from bot.domain.words import command, virsh_name
from plugins.balance.solver.model import Cause, Floats, Move, Score, WhyNot

# --- the commands' help
# -------------------------------------------------------------------------------------------

BALANCE = words("Even out CPU and memory load with few moves.")
BALANCE_HELP = words(
    "Even out CPU and memory load with few moves.\n\n"
    "Each move has a reason and must be worth its cost; below the threshold (`band`) nothing is "
    "moved. `/kvm balance sim` shows the plan and proposes nothing; `/kvm balance why VM` explains "
    "one VM."
)
SIM = words("Show what a balance would do, also without a host or with one more; nothing is moved.")
WHY = words("Show why a VM is not moved by a balance, for each host.")
DRAIN = words("Put a host into maintenance and move every VM away from it.")
UNDRAIN = words(
    "Take a host out of maintenance and move back the VMs that its drain had moved away."
)
ROLLING = words(
    "Maintain hosts one at a time: drain each, run a command or wait for people, move its VMs back."
)
ROLLING_HELP = words(
    "Maintain hosts one at a time: drain each, run a command or wait for people, move its VMs "
    "back.\n\n"
    "With --run the command runs on each host once it is empty, and a person presses Continue "
    "before the next host. Without it, a person works on each host by hand and presses Continue "
    "when its VMs may come back."
)
SHARES = words(
    "Share out a host's CPU by its VMs' tags: priority=gold|silver|bronze, cpu-cap=150%."
)
SHARES_HELP = words(
    "Share out a host's CPU by its VMs' tags: priority=gold|silver|bronze and cpu-cap=150%.\n\n"
    "Priority matters only when VMs want more CPU than there is: gold then gets four times as much "
    "as silver, bronze a quarter of silver; a VM without the tag is silver. A cap always applies. "
    "Both are set on the running VM and for its next start."
)
LIMIT = words("Set or remove a VM's CPU limit.")
DRY_HELP = words("Only show what would be done, as `/kvm balance sim` does.")
EXPLAIN_HELP = words("Only say why this VM is not moved, as `/kvm balance why` does.")
MAX_HELP = words("Most moves of the plan. 0 = configured value.")
GAIN_HELP = words("Least fall of the imbalance for each move. 0 = configured value.")
ONLY_HELP = words(
    "One resource alone (cpu, mem), or only fix what is wrong (rules: maintenance, affinity, full "
    "hosts)."
)
SKIP_HELP = words("Leave this VM where it is; may be given more than once.")
COPY_HELP = words(
    "Copy the local disks of VMs that cannot be moved otherwise. The old files stay on the host."
)
OFF_HELP = words("Shut down VMs that cannot be moved. They are started again at the end.")
COPY_VM_HELP = words("Copy the local disks of this VM; may be given more than once.")
OFF_VM_HELP = words("Shut this VM down instead of moving it; may be given more than once.")
DRAIN_HELP = words(
    "Empty a host for maintenance: its VMs are moved away, and none is placed there.\n\nVMs that "
    "cannot be moved stay, unless their disks may be copied (`--copy-storage`) or they may be shut "
    "down (`--shutdown`)."
)
PICK_HELP = words(
    "Propose only these moves of the open proposal, by number; op-17:1,3 names which proposal."
)
REASON_HELP = words(
    'Why, for the approvers and the audit trail; several words in quotes: --reason "new rack".'
)
WITHOUT_HELP = words("As if this host were in maintenance; may be given more than once.")
ADD_HELP = words("As if there were one more host, such as cpus=32,memory=256G.")
ALL_HELP = words("Every host that is not in maintenance.")
RUN_HELP = words(
    "Command to run on each empty host, in its shell, as the user of its `ssh`, for example "
    "apt-get -y upgrade. Everyone who sees the proposal can read it. The configuration names what "
    "may be run."
)
REBOOTS_HELP = words("The command reboots the host; it is done when the host is back.")
UNDO_HELP = words("Restore what the last `/kvm balance shares` of this host had changed.")
CPU_HELP = words(
    "Percent of one core over all its vCPUs, or none. The limit always applies, even on an idle "
    "host."
)
LABELS = (
    words("cores used"),
    words("cores allowed"),
    words("rebooted"),
    words("last line"),
    words("shells"),
)
"""Names of the facts of steps, which are shown as they are stored."""

SHOWN = 40  # moves in a table
LISTED = 8  # lines in a list
NAMED = 8  # names in a sentence
EXPLAINED = 3  # reasons of which a sentence tells


def names_of(names: Iterable[str]) -> Names:
    """Names in a sentence, sorted; of many the first ones and how many more."""
    return Names(tuple(sorted(names)), most=NAMED)


def imbalance(score: Score) -> Number:
    """J as it is shown."""
    return Number(score.balance, 3)


def with_remedy(found: Objection) -> Message:
    """Text and remedy of an objection that is a warning of a plan."""
    return join((found.text, found.remedy))


# --- said in more than one place
# --------------------------------------------------------------------------------------------


def host_silent(host: Host) -> Objection:
    """Refuse work on a host that does not answer: unreachable is not dead."""
    why = host.problem or words("no connection")
    return Objection(
        "host-unreachable",
        words("{host} does not answer: {why}.", host=host.name, why=why),
        words("Check the host and its libvirtd; its VMs may still be running."),
    )


def unreadable_vms(vms: Sequence[Vm]) -> Objection:
    """Name VMs that are no part of a plan, each with its reason."""
    told = (
        words("{vm} on {host} ({problem})", vm=vm.name, host=vm.host, problem=vm.problem)
        for vm in vms
    )
    return Objection(
        "not-readable",
        words(
            "Not moved, because their definitions could not be read completely: {vms}.",
            vms=Names(tuple(told), most=EXPLAINED),
        ),
    )


def powered_off_stay(host: str, vms: Iterable[str]) -> Reason:
    """Say which VMs stay defined on a drained host."""
    return Reason(
        "off", words("Powered-off VMs stay on {host}: {vms}.", host=host, vms=names_of(vms))
    )


def no_gain(before: Score, after: Score) -> Objection:
    """Refuse a plan that no longer lowers the score."""
    return Objection(
        "no-gain",
        words(
            "The load has changed: the plan would now take the imbalance from {before} to {after}.",
            before=imbalance(before),
            after=imbalance(after),
        ),
    )


def vms_still_run(host: str, vms: Iterable[str]) -> Objection:
    """Refuse a command on a host on which VMs run: it could end them."""
    return Objection(
        "not-empty",
        words(
            "Not run on {host}, because VMs still run there: {vms}.", host=host, vms=names_of(vms)
        ),
        words("Drain it first: {command}.", command=Code(command("/kvm host drain {}", host))),
    )


def undrain_advice(host: str) -> Words:
    """Say how a host and its VMs come back after an operation that ended midway."""
    return words(
        "If {host} is still in maintenance, {command} restores it and its VMs.",
        host=host,
        command=Code(command("/kvm host undrain {}", host)),
    )


# --- reasons of moves
# --------------------------------------------------------------------------------------------


def summary(before: Score, after: Score, count: int, memory: int) -> Reason:
    """Tell the whole plan in one line, and what of the faults it changes."""
    head = nwords(
        "{n} migration, {memory}. Imbalance {before} → {after} (CPU {cpu_before} → {cpu_after}, "
        "memory {memory_before} → {memory_after}).",
        "{n} migrations, {memory}. Imbalance {before} → {after} (CPU {cpu_before} → {cpu_after}, "
        "memory {memory_before} → {memory_after}).",
        n=count,
        memory=Size(memory),
        before=imbalance(before),
        after=imbalance(after),
        cpu_before=Number(before.cpu, 3),
        cpu_after=Number(after.cpu, 3),
        memory_before=Number(before.memory, 3),
        memory_after=Number(after.memory, 3),
    )
    return Reason("summary", join((head, *_fault_changes(before, after))))


FAULTS = {
    "stranded": words("VMs that cannot leave their host: {was} → {now}."),
    "collisions": words("Anti-affinity violations: {was} → {now}."),
    "separated": words("Affinity violations: {was} → {now}."),
    "overfull": words("Hosts beyond their memory: {was} → {now}."),
    "crowded": words("VMs beyond their failure domain’s share: {was} → {now}."),
}
"""By the count of the score that they tell of."""


def _fault_changes(before: Score, after: Score) -> Iterable[Words]:
    for name, message in FAULTS.items():
        was, now = getattr(before, name), getattr(after, name)
        if was or now:
            yield Words(message.template, {"was": was, "now": now})


def because(vm: Vm, source: Host, target: Host, move: Move, share: Floats) -> Reason:
    """Give one move's reason.

    ``share``: load of each host (CPU, memory) just before it, by index.
    """
    here, there = share[move.source], share[move.target]
    return Reason(
        move.cause.value,
        words(
            "{vm} ({memory}): {source} → {target}, because {why}",
            vm=vm.name,
            memory=Size(vm.memory),
            source=source.name,
            target=target.name,
            why=_cause(source.name, target.name, move, (here, there)),
        ),
    )


def _cause(source: str, target: str, move: Move, shares: tuple[Floats, Floats]) -> Words:
    here, there = shares
    match move.cause:
        case Cause.MAINTENANCE:
            return words("{host} is being drained", host=source)
        case Cause.AFFINITY:
            return words("an affinity or anti-affinity tag is violated")
        case Cause.DOMAIN:
            return words("its failure domain holds more than its share of the anti-affinity group")
        case Cause.HOST_AT_RISK:
            return words("{host} holds more than it should", host=source)
        case Cause.CPU:
            return words(
                "CPU load is {here} on {source} and {there} on {target} ({gain})",
                here=Percent(float(here[0])),
                there=Percent(float(there[0])),
                source=source,
                target=target,
                gain=_gain(move),
            )
        case Cause.MEMORY:
            return words(
                "memory use is {here} on {source} and {there} on {target} ({gain})",
                here=Percent(float(here[1])),
                there=Percent(float(there[1])),
                source=source,
                target=target,
                gain=_gain(move),
            )


def _gain(move: Move) -> Words:
    if move.gain > 0:
        return words("gain {gain}", gain=Number(move.gain, 3))
    return words("frees capacity for another move")


def _why(reason: Line) -> Line:
    """Return what a move's reason says of why, for where the VM and the hosts stand beside it."""
    why = reason.args.get("why", "") if isinstance(reason, Words) else reason
    return why if isinstance(why, Words) else str(why)


# --- why one VM does not go to one host
# ------------------------------------------------------------------------

FIXED_TEXT = {
    "not-readable": words("its definition could not be read completely."),
    "moving": words("it is being moved, or runs on two hosts."),
    "pinned": words("its tag `pin` keeps it on its host."),
    "own": words("Drover runs in it."),
    "left-out": words("its tag `balance=off` excludes it."),
    "cooldown": words("it moved only a short time ago (cooldown)."),
    "not-asked": words("this request moves other VMs only."),
    "huge-pages": words("it uses huge pages, and how many are free elsewhere is not known."),
}
WHY_TEXT = {
    WhyNot.HERE: words("it is here."),
    WhyNot.FIXED: words("it may not move."),
    WhyNot.DRAINED: words("the host is in maintenance."),
    WhyNot.NOT_ALLOWED: words("a placement rule forbids it."),
    WhyNot.MEMORY: words("not enough memory there."),
    WhyNot.VCPUS: words("too many vCPUs for its cores there."),
    WhyNot.ANTI_AFFINITY: words("a VM of its anti-affinity group is there."),
    WhyNot.DOMAIN: words("its failure domain already holds its share of the anti-affinity group."),
    WhyNot.SPARE: words("it would use the spare capacity needed to survive a host failure (N+1)."),
    WhyNot.HELD_TOGETHER: words("it stays with the VMs of its affinity group."),
    WhyNot.CALM: words("the imbalance is within the threshold."),
    WhyNot.TOO_LITTLE_GAIN: words("it would reduce the imbalance too little."),
    WhyNot.WORTHWHILE: words("worthwhile, but other moves help more."),
}


def forbidden(vm: Vm, host: Host, why: WhyNot, detail: Message, remedy: Message = "") -> Objection:
    """Refuse a move that is not possible.

    ``detail`` says more than the answer itself, '' for nothing.
    """
    return Objection(
        why.value,
        words(
            "{vm} cannot move to {host}: {why}",
            vm=vm.name,
            host=host.name,
            why=detail or WHY_TEXT[why],
        ),
        remedy,
    )


def why_nowhere(against: Iterable[Objection]) -> Message:
    """Say what forbids a VM the hosts: each reason once, with the hosts that it holds for."""
    hosts: dict[Message, list[str]] = {}
    for each in against:
        why, host = _reason_and_host(each)
        hosts.setdefault(why, []).extend([host] if host else [])
    return join(
        words("It cannot move to {hosts}: {why}", hosts=names_of(names), why=why) if names else why
        for why, names in list(hosts.items())[:EXPLAINED]
    )


def _reason_and_host(objection: Objection) -> tuple[Message, str]:
    """The parts of what ``forbidden`` says; of another objection all of it, and no host."""
    args = objection.text.args if isinstance(objection.text, Words) else {}
    why, host = args.get("why"), args.get("host")
    if isinstance(why, str | Words) and isinstance(host, str):
        return why, host
    return objection.text, ""


def remedy_for(vm: Vm, fixed: str) -> Message:
    """Say what to do about a VM that may not move at all; '' when nothing helps or is needed."""
    if vm.problem:
        return words(
            "Check it on {host}: {command}.",
            host=vm.host,
            command=Code(command("virsh dumpxml {}", virsh_name(vm))),
        )
    match fixed:
        case "pinned":
            typed = command("/kvm vm tag {} --remove=pin", vm.name)
            return words("Remove the tag: {command}.", command=Code(typed))
        case "own" | "huge-pages":
            return words(
                "Migrate it yourself: {command}.",
                command=Code(f"{command('/kvm migrate {} to', vm.name)} HOST"),
            )
        case "moving":
            return words("Wait until its migration ends.")
    return ""


def why_card(
    vm: Vm, rows: Iterable[tuple[Host, WhyNot, Message]], score: Score, band: float
) -> Card:
    """Show one answer for each host."""
    table: list[tuple[Line, ...]] = [
        (host.name, detail or WHY_TEXT[answer]) for host, answer, detail in rows
    ]
    title = words("Why {vm} is not moved", vm=vm.name)
    now = words(
        "Imbalance is {now}; up to the threshold of {threshold} nothing is moved for balance.",
        now=imbalance(score),
        threshold=band,
    )
    elements: list[Element] = [
        Section(_use_of(vm)),
        Table((words("Host"), words("Main reason not to move it there")), tuple(table)),
    ]
    return Card(title, title, (*elements, Context((now,))))


def _use_of(vm: Vm) -> Words:
    if vm.cpu is None:
        return words(
            "*{vm}* on {host}: {memory}, CPU use not measured.",
            vm=vm.name,
            host=vm.host,
            memory=Size(vm.memory),
        )
    return words(
        "*{vm}* on {host}: {memory}, {cores} cores in use.",
        vm=vm.name,
        host=vm.host,
        memory=Size(vm.memory),
        cores=Number(vm.cpu, 2),
    )


def not_balanced(vm: Vm, host: Host) -> Card:
    """Say why a VM is no part of a balance at all."""
    if host.up:
        text = words(
            "{vm} does not run on {host}: a balance moves only running VMs.",
            vm=vm.name,
            host=host.name,
        )
    else:
        text = words(
            "{vm} is on {host}, which does not answer: a balance moves only VMs on hosts that "
            "answer.",
            vm=vm.name,
            host=host.name,
        )
    return Card(text, "", (Section(text),))


# --- a simulation
# -------------------------------------------------------------------------------------------------


def simulation_card(found: Plan | Refused, without: Sequence[str], cpus: int, memory: int) -> Card:
    """Show what would be done; nothing is."""
    title = _simulation_title(without, cpus, memory)
    small = Context((words("Nothing was moved or proposed."),))
    if isinstance(found, Refused):
        lines = join((with_remedy(each) for each in found.objections), "\n")
        return Card(
            words("{title}: {found}", title=title, found=found.heading),
            title,
            (Section(words("*{title}*\n{lines}", title=found.heading, lines=lines)), small),
        )
    head = next(each.text for each in found.reasons if each.code == "summary")
    elements = [Section(head), *_move_table(found)]
    elements += [_bars(found.bars)] if found.bars else []
    if found.warnings:
        elements.append(Section(_bullets(each.text for each in found.warnings[:LISTED])))
    took = words(
        "Predicted: {time}; {basis}.",
        time=Duration(found.prediction.seconds or 0),
        basis=found.prediction.basis,
    )
    text = words("{title}: {found}", title=title, found=head)
    return Card(text, title, (*elements, Context((took,)), small))


def _simulation_title(without: Sequence[str], cpus: int, memory: int) -> Words:
    """Name what is supposed: hosts gone, one more host, both, or nothing."""
    hosts, size = Names(tuple(without)), Size(memory)
    if without and cpus:
        return words(
            "Balance without {hosts} and with one more host of {cpus} CPUs and {memory}",
            hosts=hosts,
            cpus=cpus,
            memory=size,
        )
    if without:
        return words("Balance without {hosts}", hosts=hosts)
    if cpus:
        return words(
            "Balance with one more host of {cpus} CPUs and {memory}", cpus=cpus, memory=size
        )
    return words("Balance as of now")


def _move_table(found: Plan) -> list[Element]:
    moves = [step for step in found.steps if isinstance(step, MigrateVm)]
    rows: list[tuple[Line, ...]] = [
        (str(number), step.name, step.source, step.target, _why(step.reason))
        for number, step in enumerate(moves[:SHOWN], 1)
    ]
    columns = ("#", words("VM"), words("from"), words("to"), words("why"))
    elements: list[Element] = [Table(columns, tuple(rows), frozenset({0}))]
    if len(moves) > SHOWN:
        rest = len(moves) - SHOWN
        elements.append(Section(nwords("… and {n} more move.", "… and {n} more moves.", n=rest)))
    return elements


def _bullets(lines: Iterable[Message]) -> Message:
    return join((Words("• {line}", {"line": line}) for line in lines), "\n")


def _bars(bars: Sequence[HostBar]) -> Table:
    rows: list[tuple[Line, ...]] = [
        (bar.host, _change(bar.memory_before, bar.memory_after), _cpu(bar)) for bar in bars[:30]
    ]
    return Table((words("Host"), words("Memory allocated"), words("CPU busy")), tuple(rows))


def _cpu(bar: HostBar) -> Line:
    if bar.cpu_before is None or bar.cpu_after is None:
        return words("not measured")
    return _change(bar.cpu_before, bar.cpu_after)


def _change(before: float, after: float) -> Words:
    return Words("{before} → {after}", {"before": Percent(before), "after": Percent(after)})


# --- what the watch says
# ------------------------------------------------------------------------------------------

BALANCE_BUTTON = words("Plan a balance")
SIM_BUTTON = words("Show the moves")


def uneven_card(found: Plan, minutes: float, held: Message = "") -> Card:
    """Alert of a lasting imbalance, with the plan in short.

    ``held``: why it is not carried out automatically.
    """
    moves = [step for step in found.steps if isinstance(step, MigrateVm)]
    head = next(each.text for each in found.reasons if each.code == "summary")
    since = words(
        "The imbalance has been above the threshold for {time}.", time=Duration(minutes * 60)
    )
    text = join((since, head, held))
    lines = _bullets(step.reason for step in moves[:LISTED])
    return Card(text, words("The cluster is unbalanced"), (Section(text), Section(lines)))


def even_card(score: Score) -> Card:
    """End the alert."""
    text = words(
        "The imbalance is within the threshold again: {imbalance}.", imbalance=imbalance(score)
    )
    return Card(text, words("The cluster is balanced again"), (Section(text),))
