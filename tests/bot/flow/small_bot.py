"""A whole bot in memory: a drawn cluster, a chat that records, a clock that ticks, a real SQLite database."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bot import catalog
from bot.adapters.sql.store import SqlStore
from bot.domain.card import Button, Buttons, Card
from bot.domain.codec import Codec
from bot.domain.message import Names, Person, Words
from bot.domain.operation import Operation
from bot.domain.plan import Risk
from bot.domain.policy import Policy, Rule
from bot.flow.commands import dispatcher
from bot.flow.commands.queries import Core
from bot.flow.context import Places, Role, Services
from bot.flow.operations import operation_cards, perform
from bot.flow.operations.operation_messages import OperationMessages
from bot.ports import Request
from bot.testing import FakeHypervisor, TickingClock, draw_cluster
from bot.testing.chat import FakeChat

CLUSTER = """
host-a  16cpu 64G reserve 2G load 4 | web-1 4G 2cpu load 0.5 dirty 8M [env=prod] | db-1 8G 2cpu load 1 dirty 8M
host-b  16cpu 64G reserve 2G load 1 | app-1 2G load 0.2 dirty 8M | off-1 2G off
host-c  16cpu 64G reserve 2G load 1
"""
POLICY = Policy(
    grants={"engineer": ("*",), "approver": ("*",)},
    everyone=("help",),
    rules=(
        Rule("careful", risks=(Risk.HIGH,), votes=2, expires=600),
        Rule("default", votes=1, expires=600),
    ),
)
ROLES = MappingProxyType({
    "engineer": Role(frozenset({"UANA", "UEVA"})),
    "approver": Role(frozenset({"UBRUNO", "UCARLA"})),
})  # fmt: skip


@dataclass
class QueuedWork:
    """The work port as a list, run when the test says so; a repeated id is kept once, as the real one does."""

    ids: list[str] = field(default_factory=list)

    def enqueue(self, operation: Operation) -> None:
        if operation.id not in self.ids:
            self.ids.append(operation.id)


@dataclass
class Bot:
    """The bot and what a test does with it."""

    services: Services
    hypervisor: FakeHypervisor
    chat: FakeChat
    clock: TickingClock
    store: SqlStore
    work: QueuedWork
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def types(self, text: str, by: str = "UANA", key: str = "") -> Card | None:
        """A person types a command; the last thing they alone saw of it."""
        return self._does(
            Request(
                key or f"key-{next(self.numbers)}", "command", by, self.clock.now(), "COPS", text
            )
        )

    def clicks(self, action: str, value: str, by: str, key: str = "") -> Card | None:
        """A person clicks; the last thing they alone saw of it."""
        key = key or f"key-{next(self.numbers)}"
        return self._does(
            Request(
                key,
                "click",
                by,
                self.clock.now(),
                "CAPPROVALS",
                action=action,
                value=value,
                trigger=key,
            )
        )

    def answers(self, action: str, value: str, by: str, **answers: str) -> Card | None:
        """A person submits a form."""
        key = f"key-{next(self.numbers)}"
        given = tuple(answers.items())
        return self._does(
            Request(
                key,
                "form",
                by,
                self.clock.now(),
                "CAPPROVALS",
                action=action,
                value=value,
                answers=given,
            )
        )

    def works(self) -> None:
        """Let the workers run dry."""
        while self.work.ids:
            perform.perform(self.services, self.work.ids.pop(0))

    def operation(self, number: int = 1) -> Operation:
        return self.store.operation(f"op-{number}")

    def value(self, number: int = 1) -> str:
        return operation_cards.value_of(self.operation(number))

    def shown(self, number: int = 1) -> Card:
        """The operation's message as it now stands."""
        (ref, *_) = self.store.copies(f"op-{number}")
        return self.chat.messages[ref]

    def buttons(self, number: int = 1) -> list[str]:
        rows = [each for each in self.shown(number).elements if isinstance(each, Buttons)]
        return [
            button.action for row in rows for button in row.buttons if isinstance(button, Button)
        ]

    def forgets(self) -> None:
        """What the process knew is gone, as after a kill; what is stored, and what the chat shows, is there."""
        loaded = self.services.catalog
        screen = OperationMessages(
            self.store, self.chat, partial(operation_cards.operation_card, pickable=loaded.pickable)
        )
        self.services = replace(self.services, messages=screen)

    def unsaid(self) -> set[str]:
        """What the outbox still has to say something about."""
        lanes = self.services.messages._outbox._lanes.values()
        return {item.subject for lane in lanes for item in lane.items}

    def where(self, name: str) -> list[str]:
        """The hosts on which a guest is active."""
        return [
            vm.host for vm in self.hypervisor.snapshot().vms if vm.name == name and vm.state.active
        ]

    def _does(self, request: Request) -> Card | None:
        if not self.store.accept(request):
            return None
        before = len(self.chat.whispers)
        dispatcher.handle(self.services, request)
        mine = [each.card for each in self.chat.whispers[before:] if each.user == request.by]
        return mine[-1] if mine else None


def text(card: Card | None) -> str:
    """Everything a card says, roughly as read."""
    assert card is not None, "nothing was said"
    return repr(_as_read(card))


def _as_read(shown: Any) -> Any:
    """A card whose messages are their English sentences; a person is left to be seen by id."""
    if isinstance(shown, Words):
        return str(replace(shown, args={name: _as_read(each) for name, each in shown.args.items()}))
    if isinstance(shown, Person):
        return shown.id
    if isinstance(shown, Names):
        return replace(shown, items=_as_read(shown.items))
    if isinstance(shown, tuple):
        return tuple(_as_read(each) for each in shown)
    if is_dataclass(shown) and not isinstance(shown, type):
        return replace(
            shown, **{each.name: _as_read(getattr(shown, each.name)) for each in fields(shown)}
        )
    return shown


@cache
def empty_database() -> bytes:
    """A new database as the store makes it: making one costs more than most tests do with it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drover.sqlite"
        SqlStore(f"sqlite:///{file}", Codec(()), clock=TickingClock()).close()
        return file.read_bytes()


_drawn = cache(draw_cluster)
"""Most tests have the same few clusters, and a snapshot is a value that nothing changes."""


def small_bot(
    tmp_path: Path,
    cluster: str = CLUSTER,
    plugins: tuple[str, ...] = ("migrate",),
    tables: Mapping[str, Any] | None = None,
    extra: tuple[object, ...] = (),
    *,
    clock: TickingClock | None = None,
    **services_of: Any,
) -> Bot:
    """``tables``: the plugins' settings; ``extra``: more plugins; ``clock``: another than the usual.

    ``services_of``: fields of the services that differ.
    """
    clock = clock or TickingClock()
    hypervisor = FakeHypervisor(_drawn(cluster), clock)
    chat = FakeChat()
    loaded = catalog.load(plugins, tables, extra=(Core(), *extra))
    file = tmp_path / "drover.sqlite"
    if not file.exists():
        file.write_bytes(empty_database())
    store = SqlStore(f"sqlite:///{file}", loaded.codec(), clock=clock)
    work = QueuedWork()
    usual: dict[str, Any] = {"policy": POLICY, "roles": ROLES, "patience": 30.0}
    services = Services(
        catalog=loaded,
        store=store,
        chat=chat,
        hypervisor=hypervisor,
        clock=clock,
        work=work,
        messages=OperationMessages(
            store, chat, partial(operation_cards.operation_card, pickable=loaded.pickable)
        ),
        places=Places("CAPPROVALS", "COPS"),
        **{**usual, **services_of},
    )
    return Bot(services, hypervisor, chat, clock, store, work)
