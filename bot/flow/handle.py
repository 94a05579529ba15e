"""Takes stored requests from the listeners, answers each once, and picks up after a crash."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError
from bot.domain.message import Message
from bot.flow import cards, command, decide, incidents, late, look, pause, pick, propose
from bot.flow.world import BUSY, OPEN, World
from bot.ports import Request

log = structlog.get_logger()

RUN, ALERT = "run", "alert."  # buttons that type a command for whoever presses them, and those under alerts
LATELY = timedelta(minutes=10)  # an end since then may not have been told before the crash
RECENT = 20  # operations that ended lately, whose messages are brought up to date after a restart


def handled(world: World, request: Request) -> None:
    """Answer one request and mark it handled; whatever goes wrong is told to the person and logged."""
    request = replace(request, locale=request.locale or world.chat.locale_of(request.by))
    try:
        _answer(world, request)
    except DroverError as error:
        log.warning("request failed", key=request.key, error=str(error))
        _apologise(world, request, error.text, error.advice)
    except Exception as error:
        log.exception("request failed", key=request.key)
        _apologise(world, request, f"Something unforeseen went wrong: {error}.", "The bot's log has the details.")
    world.store.handled(request.key)


def _answer(world: World, request: Request) -> None:
    if request.kind == "command":
        command.answer(world, request)
    elif request.kind == "home":
        look.home(world, request)
    elif request.action.startswith(command.FORM):
        command.from_form(world, request)
    elif request.action == RUN:
        channel = request.channel or request.by  # a home tab has no channel
        command.answer(world, replace(request, kind="command", text=request.value, channel=channel))
    elif request.action.startswith(ALERT):
        _whispered(world, request, incidents.pressed(world, request))
    elif request.action in _PRESSED:
        _whispered(world, request, _PRESSED[request.action](world, request))
    else:
        decide.pressed(world, request)
        if request.kind == "click" and not request.channel:  # in the home tab, which nobody else brings up to date
            look.home(world, request)


_PRESSED: Mapping[str, Callable[[World, Request], Card | None]] = {cards.PICK: pick.pressed, cards.GO_ON: pause.pressed}


def _whispered(world: World, request: Request, card: Card | None) -> None:
    if card is not None:
        world.chat.whisper(request.channel or request.by, request.by, card)


def _apologise(world: World, request: Request, text: Message, advice: Message) -> None:
    try:
        world.chat.whisper(request.channel or request.by, request.by, error_card(text, advice))
    except DroverError as error:
        log.error("the person could not be told", key=request.key, by=request.by, error=str(error))  # noqa: TRY400 - expected kind


def picked_up(world: World) -> None:
    """After a start: answer what was accepted but not handled, and see every open operation on its way."""
    _quietly("", lambda _: late.hold(world))
    for operation in world.store.operations(states=OPEN, limit=1000):
        _quietly(operation.id, lambda found: propose.lay_out(world, world.store.operation(found)))
        if operation.state in BUSY:
            world.work.enqueue(operation)
    for operation in world.store.operations(limit=RECENT):
        _quietly(operation.id, world.screen.show)
        if operation.state.over and world.clock.now() - operation.changed_at < LATELY:
            decide.tell_end(world, operation)


def _quietly(operation_id: str, act: Callable[[str], object]) -> None:
    """One operation whose message fails must not keep the others from being picked up."""
    try:
        act(operation_id)
    except DroverError as error:
        log.warning("not shown after the start", operation=operation_id, error=str(error))


class Desk:
    """A few threads that handle requests in the order they came.

    Args:
        world: what they work with.
        count: how many requests are handled at once.
        replica: this one's name when there are several; '': it is the only one.
    """

    def __init__(self, world: World, count: int, replica: str = "") -> None:
        self._world = world
        self._replica = replica
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._arrived: collections.deque[Request] = collections.deque()
        self._threads = [
            threading.Thread(target=self._work, name=f"desk-{number}", daemon=True) for number in range(count)
        ]

    def start(self) -> None:
        """Begin, with what a crash left unhandled."""
        self.take_over(self._replica)
        for thread in self._threads:
            thread.start()

    def take_over(self, replica: str) -> None:
        """Handle what a replica accepted and no longer will ('': what anybody did).

        Raises:
            StoreError: nothing was taken over.
        """
        for request in self._world.store.take_over(replica):
            log.info("request taken over", key=request.key, of=replica)
            if not late.refused(self._world, request):
                self._queue.put(request)

    def accept(self, request: Request) -> bool:
        """Store a request, before its ack; False for a duplicate.

        Raises:
            StoreError: it is not stored, and will not be handled.
        """
        fresh = self._world.store.accept(request)
        if fresh:
            self._arrived.append(request)
        return fresh

    def wake(self) -> None:
        """Handle what has arrived; called after the ack."""
        while self._arrived:
            self._queue.put(self._arrived.popleft())

    def stop(self, timeout: float = 30.0) -> None:
        """Finish what is queued, then end; what is not done in time stays stored and is handled at the next start."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _work(self) -> None:
        while (request := self._queue.get()) is not None:
            try:
                handled(self._world, request)
            except Exception:  # the database failed while marking it; it stays stored and is handled at the next start
                log.exception("request not marked handled", key=request.key)
