"""A guest's whole life on real hosts, each part asked for in chat, approved by another person, and seen with virsh."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot import catalog
from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.sql.store import SqlStore
from bot.domain.card import Card, Picture
from bot.domain.operation import Operation, State
from bot.domain.policy import Policy, Rule
from bot.flow.commands import dispatcher
from bot.flow.commands.queries import Core
from bot.flow.context import Places, Role, Services
from bot.flow.operations import operation_cards, perform
from bot.flow.operations.operation_messages import OperationMessages
from bot.ports import Request
from bot.stage import image_for
from bot.testing.chat import FakeChat
from lab import lan
from lab.image import cloud_image
from tests.bot.flow.small_bot import text
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

pytestmark = pytest.mark.lab

POOL = "local"
POLICY = Policy(
    {"engineer": ("*",), "approver": ("*",)}, ("help",), (Rule("default", votes=1, expires=600),)
)


class Queue:
    def __init__(self) -> None:
        self.ids: list[str] = []

    def enqueue(self, operation: Operation) -> None:
        if operation.id not in self.ids:
            self.ids.append(operation.id)


class Bot:
    """The bot's whole line from a typed command to the hosts; only the chat is in memory."""

    def __init__(self, lab: Lab, directory: Path, *, deadline: float = 15) -> None:
        table = image_for(lab)
        tiny = {**table["images"]["tiny"], "user": "ana"}
        table["images"] = {
            "tiny": tiny,
            "gone": {"base": f"{POOL}/gone.qcow2"},
            "lone": {**tiny, "base": f"{POOL}/lone.qcow2"},
            # No kernel, and nothing to boot on its disk: it stays in its firmware
            "blank": {"base": tiny["base"]},
            "agent": {**tiny, "initrd": str(cloud_image(agent=True).initrd)},
            "broken": {**tiny, "kernel": "/nowhere/vmlinuz"},
        }
        loaded = catalog.load(
            ("migrate", "vm_lifecycle"),
            {"vm_lifecycle": {**table, "poll_seconds": 0.1, "shutdown_seconds": 60}},
            extra=(Core(),),
        )
        addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
        self.lab, self.clock, self.chat, self.work = lab, RealClock(), FakeChat(), Queue()
        self.hypervisor = LibvirtHypervisor(addresses, clock=self.clock, deadline=deadline)
        self.store = SqlStore(
            f"sqlite:///{directory}/drover.sqlite", loaded.codec(), clock=self.clock
        )
        roles = {"engineer": Role(frozenset({"UANA"})), "approver": Role(frozenset({"UBRUNO"}))}
        screen = OperationMessages(self.store, self.chat, operation_cards.operation_card)
        self.services = Services(
            loaded, self.store, self.chat, self.hypervisor, self.clock, self.work, screen, POLICY,
            Places("CAPPROVALS", "COPS"), roles,
        )  # fmt: skip
        self._keys = itertools.count(1)
        self._operations = 0

    def says(self, text: str, by: str = "UANA") -> Card:
        """A person types; the card they alone see."""
        self._does(
            Request(f"key-{next(self._keys)}", "command", by, self.clock.now(), "COPS", text)
        )
        return self.chat.whispers[-1].card

    def does(self, text: str) -> Operation:
        """A person types, another approves, the bot performs; the operation as it ended."""
        told = self.says(text)
        newest = self.store.operations(limit=1)
        assert newest, told
        (operation,) = newest
        assert operation.state is State.PROPOSED, told
        return self.approves(operation)

    def approves(self, operation: Operation) -> Operation:
        """Another person approves, the bot performs; the operation as it ended."""
        self._does(Request(f"key-{next(self._keys)}", "click", "UBRUNO", self.clock.now(), "CAPPROVALS",
                           action="op.approve", value=operation_cards.value_of(operation)))  # fmt: skip
        while self.work.ids:
            perform.perform(self.services, self.work.ids.pop(0))
        return self.store.operation(operation.id)

    def done(self, text: str) -> Operation:
        operation = self.does(text)
        assert operation.state is State.DONE, self.store.events(operation.id)[-1]
        return operation

    def virsh(self, host: str, *words: str) -> str:
        return self.lab.virsh(host, *words)

    def serial(self, host: str, uuid: str) -> str:
        path = self.lab.hosts[host].directory / "lib" / "images" / f"{uuid}-serial.log"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    def _does(self, request: Request) -> None:
        assert self.store.accept(request)
        dispatcher.handle(self.services, request)


@pytest.fixture(scope="module")
def bot(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    made = Bot(lab, tmp_path_factory.mktemp("bot"))
    yield made
    for vm in made.hypervisor.snapshot().vms:
        if vm.name.startswith("e2e"):
            made.hypervisor.force_off(vm.host, vm.uuid)
            made.hypervisor.undefine(vm.host, vm.uuid)
    made.hypervisor.close()
    made.store.close()


def ticks(text: str) -> int:
    found = re.findall(r"^tick (\d+)$", text, re.MULTILINE)
    return int(found[-1]) if found else 0


def test_a_life(bot: Bot) -> None:
    uuid = boots_as_told(bot)
    moves_with_its_disks(bot, uuid)
    changes(bot)
    ends(bot, uuid)


def boots_as_told(bot: Bot) -> str:
    """Its name, user and address are its own, and the card says what virsh says."""
    bot.done(
        "vm create e2e-web --host host-a --address 10.78.0.21/24 --tag env=dev --tag owner=ana"
    )
    uuid = bot.virsh("host-a", "domuuid", "e2e-web")
    assert bot.virsh("host-a", "domstate", "e2e-web") == "running"
    said = until(lambda: "drover-guest" in (log := bot.serial("host-a", uuid)) and log, "it boots")
    expected = {
        "image: tiny",
        "seed: /dev/vdb",
        "name: e2e-web",
        "user: ana",
        "address: 10.78.0.21/24",
    }
    assert expected <= set(said.splitlines())

    bot.lab.run("host-a", "ip", "addr", "add", "10.78.0.1/24", "dev", "br0")
    bot.lab.run("host-a", "busybox", "ping", "-c", "1", "-W", "5", "10.78.0.21")
    bot.lab.run("host-a", "ip", "addr", "del", "10.78.0.1/24", "dev", "br0")
    shown = text(bot.says("vm show e2e-web"))
    assert "10.78.0.21/24 (set at its creation)" in shown
    assert "env=dev image=tiny owner=ana" in shown
    assert "1 vCPU, 112 MiB" in shown
    assert uuid in shown
    assert "48 MiB" in shown
    picture = next(
        each for each in bot.says("vm screenshot e2e-web").elements if isinstance(each, Picture)
    )
    assert picture.png.startswith(b"\x89PNG")
    assert b"IDAT" in picture.png
    assert "name: e2e-web" in text(bot.says("vm console e2e-web --lines 90"))

    return uuid


def moves_with_its_disks(bot: Bot, uuid: str) -> None:
    """A live migration takes disk and seed along, and the guest goes on where it was."""
    before = ticks(bot.serial("host-a", uuid))
    bot.done("migrate e2e-web host-b --copy-storage")
    assert "e2e-web" not in bot.virsh("host-a", "list", "--all", "--name").split()
    after = until(lambda: ticks(bot.serial("host-b", uuid)), "it goes on over there")
    assert after > before
    assert "drover-guest" not in bot.serial("host-b", uuid), "it did not boot again"


def changes(bot: Bot) -> None:
    """Each change is seen on the host."""
    bot.done("vm pause e2e-web")
    assert bot.virsh("host-b", "domstate", "e2e-web") == "paused"
    bot.done("vm resume e2e-web")
    bot.done("vm shutdown e2e-web")
    assert bot.virsh("host-b", "domstate", "e2e-web") == "shut off"
    assert "Only a powered-off VM" not in text(bot.says("vm show e2e-web"))
    bot.done("vm rename e2e-web e2e-shop")
    bot.done("vm resize e2e-shop --memory 120M")
    assert f"{120 * 1024}" in bot.virsh("host-b", "dumpxml", "e2e-shop")
    bot.done("vm snapshot create e2e-shop clean")
    assert bot.virsh("host-b", "snapshot-list", "e2e-shop", "--name").split() == ["clean"]
    bot.done("vm snapshot revert e2e-shop clean")
    bot.done("vm snapshot delete e2e-shop clean")
    bot.done("vm disk add e2e-shop 1G")
    bot.done("vm disk grow e2e-shop vdc 2G")
    bot.done("vm clone e2e-shop e2e-copy")
    assert bot.virsh("host-b", "domstate", "e2e-copy") == "shut off"
    bot.done("vm delete e2e-copy --remove-disks --now")
    bot.done("vm autostart e2e-shop on")
    bot.done("vm tag e2e-shop env=prod --remove owner")
    bot.done("vm ttl e2e-shop 1h")
    metadata = bot.virsh("host-b", "metadata", "e2e-shop", "https://drover.dev/tags/1")
    assert 'key="env" value="prod"' in metadata
    assert 'key="owner"' not in metadata


def ends(bot: Bot, uuid: str) -> None:
    """Deleted, restored, deleted at once."""
    bot.done("vm delete e2e-shop --remove-disks")
    assert "is deleted" in text(bot.says("vm start e2e-shop"))
    bot.done("vm undelete e2e-shop")
    volumes = bot.virsh("host-b", "vol-list", POOL)
    assert f"-{uuid[:8]}.qcow2" in volumes
    bot.done("vm delete e2e-shop --remove-disks --now")
    assert "e2e-shop" not in bot.virsh("host-b", "list", "--all", "--name").split()
    assert uuid[:8] not in bot.virsh("host-b", "vol-list", POOL)


def test_addresses_and_file_systems_are_told_by_who_knows_and_the_agent_is_asked_to_shut_down(
    bot: Bot,
) -> None:
    lan.serve(bot.lab, "host-a")
    try:
        for name, image in (("e2e-agent", "agent"), ("e2e-lease", "tiny")):
            bot.done(f"vm create {name} --host host-a --network {lan.NETWORK} --image {image}")
        by_lease = leased(bot, "e2e-lease")
        until(
            lambda: f"{by_lease} (lease)" in text(bot.says("vm show e2e-lease")),
            "the lease is shown",
        )
        by_agent = leased(bot, "e2e-agent")
        shown = until(
            lambda: "(agent)" in (card := text(bot.says("vm show e2e-agent"))) and card,
            "the agent answers",
        )
        assert f"{by_agent} (agent)" in shown
        assert "'/seed', 'iso9660', 'vdb'" in shown
        bot.done("vm shutdown e2e-agent")
        bot.done("vm force-off e2e-lease")
    finally:
        lan.close(bot.lab, "host-a")
    uuid = bot.virsh("host-a", "domuuid", "e2e-agent")
    assert "asked by the agent: shutdown" in bot.serial("host-a", uuid)


@pytest.mark.slow
def test_a_guest_that_does_not_listen_is_asked_about_and_its_plug_is_pulled_by_the_button(
    bot: Bot,
) -> None:
    bot.done("vm create e2e-deaf --host host-a --image blank")
    asked = bot.does("vm shutdown e2e-deaf")
    assert asked.state is State.FAILED
    assert "did not shut down within" in str(asked.outcome)
    assert bot.virsh("host-a", "domstate", "e2e-deaf") == "running"
    (choice,) = asked.remedies
    operation = bot.done(choice.command)
    assert operation.action == "vm force-off"
    assert bot.virsh("host-a", "domstate", "e2e-deaf") == "shut off"


def leased(bot: Bot, name: str) -> str:
    """The address that dnsmasq gave to a guest's card, as virsh tells it."""
    (mac,) = re.findall(r"52:54:00:\S+", bot.virsh("host-a", "domiflist", name))
    found: str = until(
        lambda: bot.virsh("host-a", "net-dhcp-leases", lan.NETWORK, "--mac", mac),
        f"{name} gets a lease",
    )
    (address,) = re.findall(r"10\.79\.0\.\d+", found)
    return str(address)


def test_what_cannot_be_made_leaves_nothing(bot: Bot) -> None:
    told = text(bot.says("vm create e2e-none --image gone"))
    assert f"No reachable host has the image {POOL}/gone.qcow2" in told
    lone = bot.lab.hosts["host-c"].directory / "lib" / "images" / "lone.qcow2"
    lone.write_bytes((lone.parent / "tiny.qcow2").read_bytes())

    def lone_is_found() -> str:
        """A pool that was just read is not read again at once, so a new file shows a moment later."""
        said = text(bot.says("vm create e2e-none --image lone --host host-a"))
        return said if "--host=host-c" in said else ""

    told = until(lone_is_found, "the image that only host-c has is found")
    assert "host-a does not have the image" in told
    told = text(bot.says("vm create e2e-none --host host-a --disk 999999G"))
    assert "the disk needs" in told
    assert "Free memory and disk for a VM" in told
    bot.lab.remove_bridge("host-c")
    try:
        told = text(bot.says("vm create e2e-none --host host-c"))
        assert "no network or bridge “br0”" in told
    finally:
        bot.lab.restore_bridge("host-c")
    operation = bot.does("vm create e2e-none --image broken")
    assert operation.state is State.FAILED
    assert "removed again: its definition" in str(operation.outcome), (
        "it was defined, and only then found not to start"
    )
    for host in bot.lab.hosts:
        assert "e2e-none" not in bot.virsh(host, "vol-list", POOL)
        assert "e2e-none" not in bot.virsh(host, "list", "--all", "--name")


class Killed(BaseException):
    """The bot's process ends."""


def test_a_bot_killed_half_way_finishes_what_it_began(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(host: str, uuid: str) -> None:
        raise Killed(uuid)

    monkeypatch.setattr(bot.hypervisor, "start", killed)
    with pytest.raises(Killed):
        bot.does("vm create e2e-cut --host host-a")
    assert bot.virsh("host-a", "domstate", "e2e-cut") == "shut off", "defined, not started"
    monkeypatch.undo()
    (operation,) = bot.store.operations(limit=1)
    assert operation.state is State.RUNNING
    perform.perform(bot.services, operation.id)
    assert bot.store.operation(operation.id).state is State.DONE
    assert bot.virsh("host-a", "domstate", "e2e-cut") == "running"
    bot.done("vm force-off e2e-cut")


def test_several_are_spread_and_stopped_together(bot: Bot) -> None:
    bot.done("vm create e2e-many --count 3 --off --tag env=e2e")
    placed = {
        vm.name: vm.host for vm in bot.hypervisor.snapshot().vms if vm.name.startswith("e2e-many")
    }
    assert placed.keys() == {"e2e-many-1", "e2e-many-2", "e2e-many-3"}
    assert len(set(placed.values())) == 3
    taken = text(bot.says("vm create e2e-many-2"))
    assert f"on {placed['e2e-many-2']} (powered off)" in taken
    operation = bot.done("vm delete --tag env=e2e --remove-disks --now")
    assert len(operation.plan.steps) == 6
    assert not any(vm.name.startswith("e2e-many") for vm in bot.hypervisor.snapshot().vms)


def test_nothing_starts_that_may_run_elsewhere(bot: Bot, tmp_path: Path) -> None:
    bot.done("vm create e2e-twin --host host-a --off")
    bot.lab.kill_libvirtd("host-b")
    try:
        until(lambda: not bot.hypervisor.snapshot().host("host-b").up, "host-b is missed")
        bot.done("vm start e2e-twin")  # host-b did not have it when it was last heard
    finally:
        bot.lab.start_libvirtd("host-b")
    bot.done("vm force-off e2e-twin")
    assert bot.virsh("host-a", "domstate", "e2e-twin") == "shut off"
    there = tmp_path / "twin.xml"
    there.write_text(bot.virsh("host-a", "dumpxml", "e2e-twin"))
    bot.virsh("host-b", "define", str(there))
    bot.hypervisor.snapshot()
    bot.lab.kill_libvirtd("host-b")
    try:
        until(lambda: not bot.hypervisor.snapshot().host("host-b").up, "host-b is missed")
        assert "host-b had e2e-twin when it was last seen" in text(bot.says("vm start e2e-twin"))
    finally:
        bot.lab.start_libvirtd("host-b")
    until(lambda: bot.hypervisor.snapshot().host("host-b").up, "host-b is back")
    assert bot.virsh("host-a", "domstate", "e2e-twin") == "shut off"
