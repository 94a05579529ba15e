"""A cluster drawn as text, for tests and for trying plans on a laptop.

One line is one host and, after each ``|``, one guest on it. Empty lines and what follows a ``#`` do
not count::

    # host  its CPUs and memory               guests
    host-a  16cpu 64G reserve 2G            | web-1 4G 2cpu load 0.5 [env=prod owner=ann] | db-1 8G
    off host-b  16cpu 64G load 1.5 [rack=2]     | app-1 2G paused host-c  8cpu 32G maintenance
    host-d  8cpu 32G down

Host: a name, CPUs as ``16cpu`` and memory as a size, then in any order ``reserve SIZE`` (kept for
the host itself), ``load CORES`` (busy cores; by default not measured), ``maintenance``, ``down``
(unreachable) or ``stale``, and tags in brackets. Guest: a name and its memory, then ``2cpu``
(default 1), ``load CORES`` (busy cores; by default not measured, 0 needs to be said), ``wait
CORES`` (wanted and not got; by default not measured), ``dirty SIZE`` (memory written a second),
``off`` or ``paused`` (by a person), ``autostart``, ``transient``, and tags. Sizes are powers of
1024: ``512M``, ``4G``, ``1.5T``. UUIDs are made from names and stay the same, see ``uuid_of``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from bot.domain.cluster import Health, Host, Nic, Snapshot, Vm, VmDetail, VmState
from bot.domain.errors import DroverError, UnitError
from bot.domain.message import Code, Message, words
from bot.domain.suggest import nearest
from bot.domain.units import size

TAKEN_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When drawn snapshots were taken, unless said otherwise."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CPUS = re.compile(r"(\d+)cpus?", re.IGNORECASE)
_SIZE = re.compile(r"\d+(\.\d+)?[KMGT](i?B)?", re.IGNORECASE)
_TAGS = re.compile(r"\[([^\[\]]*)\]")
_HOST_WORDS = ("reserve", "load", "maintenance", "down", "stale")
_GUEST_WORDS = ("load", "wait", "dirty", "off", "paused", "autostart", "transient")
_WITH_VALUE = frozenset({"reserve", "load", "wait", "dirty"})

# What an undescribed host and guest are like: all alike, so that nothing but the drawing decides.
_HARDWARE = Host(
    name="",
    health=Health.UP,
    cpu_model="EPYC",
    arch="x86_64",
    hypervisor_version=7_002_000,
    libvirt_version=9_000_000,
    machines=frozenset({"pc", "q35", "pc-q35-7.2", "pc-i440fx-7.2"}),
    bridges=frozenset({"br0"}),
    networks=frozenset({"default"}),
)
_DEFINITION = VmDetail(
    machine="pc-q35-7.2",
    emulator="/usr/bin/qemu-system-x86_64",
    cpu_mode="custom",
    nics=(Nic("bridge", "br0"),),
)


class DrawingError(DroverError):
    """The text is no drawing of a cluster.

    The error names the line, the word and what was expected.
    """

    code = "drawing"


def draw_cluster(text: str, taken_at: datetime = TAKEN_AT) -> Snapshot:
    """The cluster that ``text`` draws.

    Raises:
        DrawingError: the text cannot be read.
    """
    hosts: list[Host] = []
    vms: list[Vm] = []
    for line in _lines(text):
        host, guests = line.read(taken_at)
        _once(line, host.name, [each.name for each in hosts])
        for vm in guests:
            _once(line, vm.name, [each.name for each in vms])
            vms.append(vm)
        hosts.append(host)
    if not hosts:
        raise DrawingError(
            words("The drawing has no host."),
            words("Write one to a line, for example `host-a 16cpu 64G`."),
        )
    return Snapshot(taken_at, tuple(hosts), tuple(vms))


def uuid_of(name: str) -> str:
    """The UUID that a drawing gives to a host or guest of this name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.drawn.drover.dev"))


class _DrawingLine:
    """One line of a drawing and where it is, for errors."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text

    def read(self, taken_at: datetime) -> tuple[Host, list[Vm]]:
        """The host of this line and its guests."""
        first, *rest = self.text.split("|")
        host = _host(_Drawn(self, first, _HOST_WORDS), taken_at)
        guests = [_guest(_Drawn(self, each, _GUEST_WORDS), host.name) for each in rest]
        used = sum(vm.memory for vm in guests if vm.state.active)
        return replace(host, memory_free=max(0, host.memory - used)), guests

    def error(self, text: Message, advice: Message) -> DrawingError:
        """An error about this line."""
        return DrawingError(words("Line {number}: {text}", number=self.number, text=text), advice)


class _Drawn:
    """The words of one host or guest, taken apart: name, CPUs, size, words of the list and tags."""

    def __init__(self, line: _DrawingLine, text: str, known: Sequence[str]) -> None:
        self.line = line
        self.cpus: int | None = None
        self.size: int | None = None
        self.said: dict[str, str] = {}
        self.tags = MappingProxyType(dict(self._tags(text)))
        rest = iter(_TAGS.sub(" ", text).split())
        self.name = next(rest, "")
        if not _NAME.fullmatch(self.name):
            raise line.error(
                words("“{name}” is no name.", name=self.name or text.strip()),
                _example("web-1 4G 2cpu"),
            )
        for word in rest:
            self._take(word, rest, known)

    def number(self, word: str) -> float | None:
        """The number after ``word``; None when the word is not there."""
        if word not in self.said:
            return None
        try:
            return float(self.said[word])
        except ValueError as error:
            raise self.line.error(
                words("“{part}” has no number.", part=f"{word} {self.said[word]}"),
                _example(f"{word} 0.5"),
            ) from error

    def bytes(self, word: str) -> int | None:
        """The size after ``word``; None when the word is not there."""
        if word not in self.said:
            return None
        try:
            return size(self.said[word])
        except UnitError as error:
            raise self.line.error(
                words("“{part}”: {reason}.", part=f"{word} {self.said[word]}", reason=error.clause),
                _example(f"{word} 2G"),
            ) from error

    def _take(self, word: str, rest: Iterator[str], known: Sequence[str]) -> None:
        if match := _CPUS.fullmatch(word):
            self._once(word, already=self.cpus is not None)
            self.cpus = int(match[1])
        elif _SIZE.fullmatch(word):
            self._once(word, already=self.size is not None)
            self.size = size(word)
        elif word in known:
            self._once(word, already=word in self.said)
            self.said[word] = self._value(word, rest) if word in _WITH_VALUE else ""
        else:
            every = words("Known words: {known}; CPUs are `4cpu`, memory is `8G`.", known=known)
            raise self.line.error(
                words("“{word}” is not understood.", word=word), nearest(word, known, every)
            )

    def _value(self, word: str, rest: Iterator[str]) -> str:
        value = next(rest, None)
        if value is None:
            raise self.line.error(
                words("“{word}” needs a value after it.", word=word), _example(f"{word} 2")
            )
        return value

    def _once(self, word: str, *, already: bool) -> None:
        if already:
            raise self.line.error(
                words("“{word}” is one too many for {name}.", word=word, name=self.name),
                words("Say each thing once."),
            )

    def _tags(self, text: str) -> Iterator[tuple[str, str]]:
        if _TAGS.sub("", text).count("[") or _TAGS.sub("", text).count("]"):
            raise self.line.error(
                words("a bracket is not closed."), _example("[env=prod owner=ann]")
            )
        for word in re.split(r"[\s,]+", " ".join(_TAGS.findall(text)).strip()):
            key, equals, value = word.partition("=")
            if word and not (key and equals):
                raise self.line.error(
                    words("“{word}” is no tag.", word=word), _example("[env=prod owner=ann]")
                )
            if word:
                yield key, value


def _lines(text: str) -> Iterator[_DrawingLine]:
    for number, raw in enumerate(text.splitlines(), 1):
        content = raw.partition("#")[0].strip()
        if content:
            yield _DrawingLine(number, content)


def _host(drawn: _Drawn, taken_at: datetime) -> Host:
    if drawn.cpus is None or drawn.size is None:
        raise drawn.line.error(
            words("{name} needs CPUs and memory.", name=drawn.name),
            _example(f"{drawn.name} 16cpu 64G reserve 2G"),
        )
    if "down" in drawn.said and "stale" in drawn.said:
        raise drawn.line.error(
            words("{name} cannot be both `down` and `stale`.", name=drawn.name),
            words("Choose one."),
        )
    host = replace(
        _HARDWARE,
        name=drawn.name,
        hostname=drawn.name,
        uuid=uuid_of(drawn.name),
        seen_at=taken_at,
        cpus=drawn.cpus,
        memory=drawn.size,
        reserve=drawn.bytes("reserve") or 0,
        cpu=drawn.number("load"),
        maintenance="maintenance" in drawn.said,
        tags=drawn.tags,
    )
    return _with_trouble(host, drawn)


def _with_trouble(host: Host, drawn: _Drawn) -> Host:
    if "down" in drawn.said:
        return replace(host, health=Health.UNREACHABLE, problem="no connection")
    if "stale" in drawn.said:
        return replace(host, health=Health.STALE, problem="it did not answer in time")
    return host


def _guest(drawn: _Drawn, host: str) -> Vm:
    if drawn.size is None:
        raise drawn.line.error(
            words("{name} needs memory.", name=drawn.name), _example(f"{drawn.name} 4G 2cpu")
        )
    if "off" in drawn.said and "paused" in drawn.said:
        raise drawn.line.error(
            words("{name} cannot be both `off` and `paused`.", name=drawn.name),
            words("Choose one."),
        )
    paused = "paused" in drawn.said
    state = (
        VmState.SHUT_OFF if "off" in drawn.said else VmState.PAUSED if paused else VmState.RUNNING
    )
    return Vm(
        uuid=uuid_of(drawn.name),
        name=drawn.name,
        host=host,
        state=state,
        vcpus=drawn.cpus or 1,
        memory=drawn.size,
        memory_max=drawn.size,
        cpu=drawn.number("load"),
        persistent="transient" not in drawn.said,
        autostart="autostart" in drawn.said,
        paused_by="user" if paused else "",
        tags=drawn.tags,
        detail=_DEFINITION,
        dirty_rate=drawn.bytes("dirty"),
        wait=drawn.number("wait"),
    )


def _once(line: _DrawingLine, name: str, known: Sequence[str]) -> None:
    if name in known:
        raise line.error(
            words("“{name}” is there twice.", name=name), words("Give each its own name.")
        )


def _example(line: str) -> Message:
    return words("Write for example {line}.", line=Code(line))
