"""Asks everybody who can hear a host.

It only looks, but for the bond of a controller that names the host's machine.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime

from bot.domain.cluster import Host, Snapshot, VmState
from bot.domain.errors import DroverError, HypervisorError
from bot.domain.power import (
    Binding,
    Bound,
    Device,
    LastSeen,
    Power,
    Reading,
    Round,
    wrong_controllers,
)
from bot.domain.storage import is_medium
from bot.ports import Hypervisor, PowerAccess, Shell
from plugins.failover.candidates import definitions_elsewhere, running_elsewhere
from plugins.failover.evidence import Evidence, Expected, Heard, OwnView, Statement, Witness
from plugins.failover.intents import Bind, Drill, Failover, PowerTest, Readmit, Status
from plugins.failover.sight import Sight
from plugins.failover.whatif import Shown

SWEEP = 15.0  # seconds between two sweeps of the bot
_PATIENCE = 8.0  # seconds that all of them together are waited for
_DEADLINE = 5.0  # seconds that a witness has for its word
_AT_ONCE = 16  # asked side by side; each takes a thread
_MOST_PEERS = 4  # hosts that are asked, so that all are heard within the deadline
_MOST_DISKS = 8  # looked at for writes, within the deadline
_MOST_VMS = 6  # asked over the network, within the deadline
_FRESH = 20.0  # seconds: what a host wrote so lately, it wrote alive


def survey(sight: Sight, intent: Failover, snapshot: Snapshot, hypervisor: Hypervisor) -> Failover:
    """The wish with everything that is known of the host now."""
    found = gather(sight, snapshot.host(intent.host), snapshot, hypervisor)
    came = definitions_elsewhere(snapshot, intent.host, intent.kept, hypervisor.power.definition)
    kept = (*intent.kept, *(replace(each, xml="") for each in came))
    return replace(intent, evidence=found, kept=kept)


def of_drill(sight: Sight, about: Drill, snapshot: Snapshot, hypervisor: Hypervisor) -> Evidence:
    """The evidence of a host, for a look at what a failover would do."""
    return gather(sight, snapshot.host(about.host), snapshot, hypervisor)


def of_bind(intent: Bind, snapshot: Snapshot, hypervisor: PowerAccess) -> Bind:
    """The wish with what the host's controllers read now."""
    power = hypervisor.power
    devices = power.devices(snapshot.host(intent.host).name)
    return replace(intent, readings=tuple(power.read(each) for each in devices))


def of_test(intent: PowerTest, snapshot: Snapshot, hypervisor: PowerAccess) -> PowerTest:
    """The wish with what the host's controllers read now."""
    power = hypervisor.power
    devices = power.devices(snapshot.host(intent.host).name)
    return replace(intent, readings=tuple(power.read(each) for each in devices))


def of_readmit(
    sight: Sight, intent: Readmit, snapshot: Snapshot, hypervisor: Hypervisor
) -> Readmit:
    """The wish with what the host's controllers read now, and whether other hosts hear it."""
    host = snapshot.host(intent.host)
    readings, bound = read_bound(hypervisor, host)
    (peers,) = trustworthy(sight, host, (_peers(host, snapshot, hypervisor),))
    return replace(intent, readings=readings, bound=bound, unheard=peers.said is Heard.SILENT)


def of_status(about: Status, snapshot: Snapshot, hypervisor: PowerAccess) -> Shown:  # noqa: ARG001
    """What the power controllers of all hosts show."""
    names = [host.name for host in snapshot.hosts]
    with ThreadPoolExecutor(min(_AT_ONCE, len(names)), thread_name_prefix="power") as pool:
        found = dict(
            zip(
                names,
                pool.map(lambda host: read_bound(hypervisor, host)[0], snapshot.hosts),
                strict=True,
            )
        )
    power = hypervisor.power
    holds = {name: hold for name in names if (hold := power.hold(name)) is not None}
    return Shown(
        found,
        {name: power.bonds(name) for name in names},
        holds,
        {name: frozenset(each.device for each in power.wrong_bonds(name)) for name in names},
    )


def gather(sight: Sight, host: Host, snapshot: Snapshot, hypervisor: Hypervisor) -> Evidence:
    """Everything that is known of a host: all witnesses and its controllers, side by side."""
    sight.note(snapshot)
    with ThreadPoolExecutor(2 + len(sight.anchors), thread_name_prefix="evidence") as pool:
        powers = pool.submit(read_bound, hypervisor, host)
        anchors = [pool.submit(_hears, each, hypervisor) for each in sight.anchors]
        places = places_of(sight, host, snapshot)
        statements = trustworthy(sight, host, ask(host, snapshot, hypervisor, places))
        readings, bound = powers.result()
        anchors_heard = sum(each.result() for each in anchors)
    last = hypervisor.power.last_seen(host.name) or LastSeen(host.name, snapshot.taken_at)
    shell = any(each.witness is Witness.SHELL and each.said is Heard.WELL for each in statements)
    boots = (
        last.boot or sight.boots.get(host.name, ""),
        boot_id(host.name, hypervisor) if shell and not host.up else "",
    )
    heard = host.seen_at or sight.silent.get(host.name)
    silent = max(0.0, (snapshot.taken_at - heard).total_seconds()) if heard else 0.0
    view = OwnView(
        len(snapshot.hosts),
        sum(not each.up for each in snapshot.hosts),
        sight.started_at or snapshot.taken_at,
        len(anchors),
        anchors_heard,
        storm_at=sight.storm_at,
    )
    return Evidence(
        host.name,
        snapshot.taken_at,
        heard,
        max(sight.looks.get(host.name, 0), int(silent // SWEEP)),
        statements,
        readings,
        view,
        bound=bound,
        expected=Expected("maintenance") if host.maintenance else None,
        boots=boots,
        refuted=frozenset(each.device for each in hypervisor.power.wrong_bonds(host.name)),
        before=last.readings,
        own=tuple(
            vm.name
            for vm in snapshot.on(host.name)
            if vm.state.active and {vm.name, vm.uuid.lower()} & sight.own
        ),
    )


def _hears(anchor: str, hypervisor: Shell) -> bool:
    place, _, port = anchor.rpartition(":")
    return hypervisor.answers(place.strip("[]"), int(port))


def gather_all(
    sight: Sight, hosts: Sequence[Host], snapshot: Snapshot, hypervisor: Hypervisor
) -> tuple[Evidence, ...]:
    """The evidence of several hosts, side by side."""
    if not hosts:
        return ()
    with ThreadPoolExecutor(min(_AT_ONCE, len(hosts)), thread_name_prefix="evidence") as pool:
        return tuple(pool.map(lambda host: gather(sight, host, snapshot, hypervisor), hosts))


def trustworthy(sight: Sight, host: Host, statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements, but the silence of peers that never heard this host while it answered.

    They may never hear it.
    """
    return tuple(
        replace(each, said=Heard.UNASKED)
        if each.witness is Witness.PEERS
        and each.said is Heard.SILENT
        and host.name not in sight.heard_by_peers
        else each
        for each in statements
    )


def listen(
    sight: Sight, snapshot: Snapshot, hypervisor: Hypervisor, hosts: Sequence[Host] | None = None
) -> None:
    """Note which hosts that answer, and which of their VMs, are heard by others too.

    Their silence says something later.

    ``hosts``: these alone.
    """
    up = [host for host in (snapshot.hosts if hosts is None else hosts) if host.up]
    if not up:
        return

    def hear(host: Host) -> bool:
        _find_places(sight, host, snapshot, hypervisor)
        return _peers(host, snapshot, hypervisor).said.alive

    with ThreadPoolExecutor(min(_AT_ONCE, len(up)), thread_name_prefix="peers") as pool:
        heard = {host.name for host, alive in zip(up, pool.map(hear, up), strict=True) if alive}
    sight.heard_by_peers = (sight.heard_by_peers - {host.name for host in up}) | heard


def _find_places(sight: Sight, host: Host, snapshot: Snapshot, hypervisor: Hypervisor) -> None:
    """Note which VMs of a host answer another host, and where."""
    peers = [each.name for each in snapshot.hosts if each.up and each.name != host.name]
    vms = [vm for vm in snapshot.on(host.name) if vm.state is VmState.RUNNING][:_MOST_VMS]
    known = {vm.uuid: _address(host.name, vm.uuid, hypervisor) for vm in vms}
    asked = [place for place in known.values() if place]
    answered = (answering(peers, asked, hypervisor) if peers and asked else None) or frozenset()
    for uuid, place in known.items():
        if place in answered:
            sight.places[uuid] = place
        else:
            sight.places.pop(uuid, None)


def _address(host: str, uuid: str, hypervisor: Hypervisor) -> str:
    """One IPv4 address of a VM; '' when nobody tells one."""
    try:
        found = hypervisor.addresses(host, uuid)
    except DroverError:
        return ""
    return next((each.ip for each in found if "." in each.ip), "")


def boot_id(host: str, hypervisor: Shell) -> str:
    """The id of the host's present boot; '' when no shell tells it."""
    try:
        told = hypervisor.run(host, ["cat", "/proc/sys/kernel/random/boot_id"], deadline=_DEADLINE)
    except DroverError:
        return ""
    return told.out.strip() if told is not None and not told.code else ""


def read_boots(
    sight: Sight, snapshot: Snapshot, hypervisor: Shell, *, everyone: bool = False
) -> frozenset[str]:
    """Read the boot ids of hosts of which none is known or that were silent.

    Of the latter those that answer again.

    ``everyone``: of all hosts, for one may start anew between two sweeps.
    """
    up = {host.name for host in snapshot.hosts if host.up}
    back = sight.back & up
    sight.back -= back
    names = sorted(up if everyone else (up - set(sight.boots)) | back)
    if names:
        with ThreadPoolExecutor(min(_AT_ONCE, len(names)), thread_name_prefix="boots") as pool:
            found = pool.map(lambda name: boot_id(name, hypervisor), names)
            sight.boots |= dict(zip(names, found, strict=True))
    return frozenset(back)


def read_bound(hypervisor: PowerAccess, host: Host) -> tuple[tuple[Reading, ...], frozenset[str]]:
    """The power by each of the host's controllers, and those that were shown to be its own.

    One that names the machine's UUID as the host's libvirt does is bound by that; one that names
    another machine is not the host's, whatever was shown before.
    """
    power = hypervisor.power
    devices = power.devices(host.name)
    with ThreadPoolExecutor(max(1, len(devices)), thread_name_prefix="power") as pool:
        readings = tuple(pool.map(power.read, devices))
    for reading in readings:
        _bind(hypervisor, host, reading)
    return readings, frozenset(each.device for each in power.bonds(host.name))


def read_all(sight: Sight, snapshot: Snapshot, hypervisor: PowerAccess) -> None:
    """Read the controllers of all hosts that answer, and note those that do not.

    What they read is kept, with the host's boot id; of a host on hold stays what was read before.
    """
    up = [host for host in snapshot.hosts if host.up]
    if not up:
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(up)), thread_name_prefix="power") as pool:
        found = list(pool.map(lambda host: read_bound(hypervisor, host)[0], up))
    hypervisor.power.put_last_seen(
        [
            LastSeen(host.name, snapshot.taken_at, sight.boots.get(host.name, ""), readings)
            for host, readings in zip(up, found, strict=True)
            if not host.held and (readings or sight.boots.get(host.name))
        ]
    )
    for reading in (each for readings in found for each in readings):
        key = (reading.host, reading.device)
        if reading.power is not Power.UNKNOWN:
            sight.mute.pop(key, None)
        else:
            since, _ = sight.mute.get(key, (reading.at, ""))
            sight.mute[key] = (since, reading.problem)


def refute(snapshot: Snapshot, hypervisor: Hypervisor) -> dict[str, tuple[str, ...]]:
    """The controllers that proved a host off which never was off, by host.

    They prove nothing from now on.

    Those that were shown anew since then stay trusted.
    """
    found: dict[str, tuple[str, ...]] = {}
    for host in snapshot.hosts:
        if host.up and host.held:
            _refute(host.name, snapshot.taken_at, hypervisor)
            if wrong := hypervisor.power.wrong_bonds(host.name):
                found[host.name] = tuple(each.device for each in wrong)
    return found


def _refute(host: str, now: datetime, hypervisor: Hypervisor) -> None:
    power = hypervisor.power
    hold, last = power.hold(host), power.last_seen(host)
    proof = hold and (hold.proof or hold.void)
    if hold is None or proof is None or last is None:
        return
    wrong = wrong_controllers(hold, last.boot, boot_id(host, hypervisor))
    for bond in power.bonds(host):
        if bond.device in wrong and bond.at <= proof.since:
            power.bind(replace(bond, by=Binding.REFUTED, at=now))


def _bind(hypervisor: PowerAccess, host: Host, reading: Reading) -> None:
    if not reading.identity or not host.uuid:
        return
    same = reading.identity.lower() == host.uuid.lower()
    bonds = {each.device: each for each in hypervisor.power.bonds(host.name)}
    known = bonds.get(reading.device)
    if same and (
        known is None or known.by is not Binding.UUID or known.identity != reading.identity
    ):
        by = Binding.UUID
    elif not same and known is not None:
        by = Binding.NONE
    else:
        return
    hypervisor.power.bind(Bound(host.name, reading.device, by, reading.at, reading.identity))


def devices_bound(hypervisor: PowerAccess, host: str, level: int) -> tuple[Device, ...]:
    """The host's controllers of one level; 0: the first level of which all are bound."""
    power = hypervisor.power
    bound = {each.device for each in power.bonds(host)}
    devices = power.devices(host)
    for each in sorted({device.level for device in devices}) if level == 0 else (level,):
        mine = tuple(device for device in devices if device.level == each)
        if mine and all(device.name in bound for device in mine):
            return mine
    return ()


def round_of(host: str, hypervisor: Hypervisor) -> Round:
    """Ask every witness once more."""
    snapshot = hypervisor.snapshot()
    said = ask(snapshot.host(host), snapshot, hypervisor)
    asked = tuple(each.witness.value for each in said if each.said is not Heard.UNASKED)
    heard = tuple(each.witness.value for each in said if each.said.alive)
    return Round(host, snapshot.taken_at, asked, heard)


def places_of(sight: Sight, host: Host, snapshot: Snapshot) -> tuple[str, ...]:
    """Addresses of VMs that ran on the host when it was last seen, and run nowhere else."""
    found = (
        sight.places.get(vm.uuid, "")
        for vm in snapshot.on(host.name)
        if vm.state.active and not running_elsewhere(vm, snapshot)
    )
    return tuple(filter(None, found))[:_MOST_VMS]


def ask(
    host: Host, snapshot: Snapshot, hypervisor: Shell, places: Sequence[str] = ()
) -> tuple[Statement, ...]:
    """What each witness says of a host, side by side; ``places``: addresses of its VMs."""
    at = snapshot.taken_at
    questions: dict[Witness, Callable[[], Statement]] = {
        Witness.LIBVIRT: lambda: _libvirt(host, at),
        Witness.SHELL: lambda: _shell(host, at, hypervisor),
        Witness.PEERS: lambda: _peers(host, snapshot, hypervisor),
        Witness.STORAGE: lambda: _storage(host, snapshot, hypervisor),
        Witness.VMS: lambda: _vms(host, snapshot, hypervisor, places),
    }
    # Not a `with`: one that hangs, as a login to a frozen host does, is not waited for.
    pool = ThreadPoolExecutor(len(questions), thread_name_prefix="witness")
    asked = {witness: pool.submit(question) for witness, question in questions.items()}
    wait(asked.values(), timeout=_PATIENCE)
    pool.shutdown(wait=False)
    return tuple(
        answer.result() if answer.done() else _late(witness, at)
        for witness, answer in asked.items()
    )


def _late(witness: Witness, at: datetime) -> Statement:
    """The host's own shell that does not answer in time is no sign of life.

    Of others it is no word at all.
    """
    said = Heard.SILENT if witness is Witness.SHELL else Heard.UNASKED
    return Statement(witness, said, at)


def _libvirt(host: Host, at: datetime) -> Statement:
    said = Heard.WELL if host.up else Heard.SILENT
    return Statement(Witness.LIBVIRT, said, at, "" if host.up else host.problem)


def _shell(host: Host, at: datetime, hypervisor: Shell) -> Statement:
    """The bot's own way to the machine.

    Its shell, and a port that opens or refuses, which takes a kernel that lives.
    """
    try:
        told = hypervisor.run(host.name, ["true"], deadline=_DEADLINE)
    except HypervisorError as error:
        said, why = Heard.SILENT, error.text
    else:
        if told is not None:
            return Statement(Witness.SHELL, Heard.WELL, at)
        said, why = Heard.UNASKED, ""
    answers = hypervisor.knock(host.name)
    if answers:
        return Statement(Witness.SHELL, Heard.LIFE, at, why)
    return Statement(Witness.SHELL, said if answers is None else Heard.SILENT, at, why)


# A name that does not resolve there is asked about by nobody.
# It says "alive" for a ping that is answered, and for a port that is open or refused: both take a
# kernel that lives.
_HEAR = """
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
place={place}
getent ahosts "$place" >/dev/null 2>&1 || exit 0
asked=
for ping in ping "busybox ping"; do
    if command -v ${{ping%% *}} >/dev/null 2>&1; then
        asked=yes
        ($ping -c 2 -W 1 "$place" >/dev/null 2>&1 && echo alive ping) &
        break
    fi
done
if command -v bash >/dev/null 2>&1; then
    asked=yes
    for port in 22 16509 16514; do
        (
            said=$(timeout -k 1 1 bash --norc -c 'exec 3<>"/dev/tcp/$1/$2"' sh "$place" $port 2>&1)
            code=$?
            if [ $code = 0 ]; then echo alive port $port
            else case "$said" in *refused*) echo alive refused $port;; esac
            fi
        ) &
    done
fi
wait
echo asked $asked
"""


def _peers(host: Host, snapshot: Snapshot, hypervisor: Shell) -> Statement:
    """Other hosts ping it and connect to it."""
    place, at = host.migrate_address or host.hostname, snapshot.taken_at
    peers = [each.name for each in snapshot.hosts if each.up and each.name != host.name][
        :_MOST_PEERS
    ]
    if not place or not peers:
        return Statement(Witness.PEERS, Heard.UNASKED, at)
    script = _HEAR.format(place=shlex.quote(place))
    answers = [
        each
        for each in _side_by_side(peers, lambda name: _out(name, script, hypervisor))
        if "asked yes" in each
    ]
    if not answers:
        return Statement(Witness.PEERS, Heard.UNASKED, at)
    heard = sum("alive" in each for each in answers)
    said = Heard.LIFE if heard else Heard.SILENT
    if any("alive port" in each for each in answers):
        said = Heard.WELL
    return Statement(Witness.PEERS, said, at, f"{heard}/{len(answers)}", heard, len(answers))


_PING = """
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
for ping in ping "busybox ping"; do
    if command -v ${{ping%% *}} >/dev/null 2>&1; then
        for place in {places}; do
            ($ping -c 2 -W 1 "$place" >/dev/null 2>&1 && echo alive "$place") &
        done
        wait
        echo asked yes
        break
    fi
done
"""


def _vms(host: Host, snapshot: Snapshot, hypervisor: Shell, places: Sequence[str]) -> Statement:
    """Another host pings its VMs, at addresses that answered while the host did."""
    at = snapshot.taken_at
    peers = [each.name for each in snapshot.hosts if each.up and each.name != host.name]
    answered = answering(peers, places, hypervisor) if peers and places else None
    if answered is None:
        return Statement(Witness.VMS, Heard.UNASKED, at)
    said = Heard.WELL if answered else Heard.SILENT
    detail = f"{len(answered)}/{len(places)}"
    return Statement(Witness.VMS, said, at, detail, len(answered), len(places))


def answering(
    peers: Sequence[str], places: Sequence[str], hypervisor: Shell
) -> frozenset[str] | None:
    """Which of these addresses answer a ping from the first host that can be asked.

    None: none can.
    """
    script = _PING.format(places=" ".join(shlex.quote(place) for place in places))
    for peer in peers[:_MOST_PEERS]:
        lines = _out(peer, script, hypervisor).splitlines()
        if "asked yes" in lines:
            return frozenset(line.split()[1] for line in lines if line.startswith("alive "))
    return None


def _storage(host: Host, snapshot: Snapshot, hypervisor: Shell) -> Statement:
    """Another host sees that the host writes a shared disk of a VM. Not writing says nothing."""
    at = snapshot.taken_at
    peers = [each.name for each in snapshot.hosts if each.up and each.name != host.name]
    paths = [
        disk.source
        for vm in snapshot.on(host.name)
        if vm.state.active and vm.detail
        for disk in vm.detail.disks
        if disk.source.startswith("/") and not is_medium(disk) and not disk.readonly
    ][:_MOST_DISKS]
    if not peers or not paths:
        return Statement(Witness.STORAGE, Heard.UNASKED, at)
    words = " ".join(shlex.quote(path) for path in paths)
    # no message: a line of shell
    script = f'date +%s; for f in {words}; do stat -c %Y "$f" 2>/dev/null; done'
    lines = _out(peers[0], script, hypervisor).split()
    if not lines or not all(each.isdigit() for each in lines):
        return Statement(Witness.STORAGE, Heard.UNASKED, at)
    now, *written = map(int, lines)
    fresh = sum(now - each <= _FRESH for each in written)
    said = Heard.WELL if fresh else Heard.UNASKED
    return Statement(Witness.STORAGE, said, at, heard=fresh, asked=len(written))


def _out(host: str, script: str, hypervisor: Shell) -> str:
    """What a script on a host says; '' when it cannot be asked."""
    try:
        told = hypervisor.run(host, ["timeout", "-k", "1", "6", "sh", "-c", script], deadline=7.0)
    except DroverError:
        return ""
    return told.out if told is not None else ""


def _side_by_side(names: Sequence[str], call: Callable[[str], str]) -> Iterable[str]:
    with ThreadPoolExecutor(min(_AT_ONCE, len(names)), thread_name_prefix="peers") as pool:
        return list(pool.map(call, names))
