"""Takes stored requests from the listeners, answers each once, and picks up after a crash."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.domain.card import Card, error_card
from bot.domain.errors import DroverError
from bot.domain.message import words
from bot.domain.operation import MOST_OPEN
from bot.flow.commands import buttons, command, decisions, late_requests, queries
from bot.flow.commands.buttons import ButtonAction, Lane
from bot.flow.context import BUSY, OPEN, Services, whisper
from bot.flow.operations import break_glass, decide, notify, operation_cards, propose, scheduled
from bot.ports import Request

log = structlog.get_logger()

LATELY = timedelta(minutes=10)  # an end since then may not have been told before the crash
RECENT = 100  # operations of which one may have ended in the moment of the crash


def handle(services: Services, request: Request) -> None:
    """Answer one request; whatever goes wrong is told to the person and logged.

    It is marked when that was said.
    """
    if not request.via:
        request = replace(request, locale=request.locale or services.chat.locale_of(request.by))
    try:
        _answer(services, request)
    except DroverError as error:
        log.warning("request failed", key=request.key, error=str(error))
        _say(services, request, error_card(error.text, error.advice))
    except Exception as error:
        log.exception("request failed", key=request.key)
        said = words("Something unforeseen went wrong: {error}.", error=str(error))
        _say(services, request, error_card(said, words("The bot's log has the details.")))
    if request.via:  # nothing of it waits for the chat
        services.store.mark_handled(request.key)
        services.answers.end(request.key)
        return
    services.messages.afterwards(request.by, lambda: services.store.mark_handled(request.key))


def _answer(services: Services, request: Request) -> None:
    if request.kind == "command":
        command.answer(services, request)
    elif request.kind == "home":
        queries.home(services, request)
    else:
        _press(services, request)


def find(action: str) -> ButtonAction | None:
    """Return what a button's or a dialog's id stands for; behind a colon stands its argument."""
    head, colon, _ = action.partition(":")
    return buttons.ACTIONS.get(head + colon) or command.ACTIONS.get(head + colon)


def _press(services: Services, request: Request) -> None:
    """Answer a click or a dialog's answers, as the table of buttons says."""
    action = find(request.action)
    if action is None:
        unknown = words("The button “{button}” is not known.", button=request.action)
        advice = words("It may be of an older version; type `/kvm help`.")
        _say(services, request, error_card(unknown, advice))
        return
    card = action.handler(services, request)
    lane = lane_of(services, request)
    opened_dialog = request.kind == "click" and card is None and lane is Lane.DIALOG
    if request.at_home and not opened_dialog:
        queries.home(services, request, card or _home_result(services, request))
    elif card is not None:
        whisper(services, request, card, instead=action.replaces)


def _home_result(services: Services, request: Request) -> Card | None:
    """What a button of the home tab did: the message that it changed is elsewhere."""
    if request.action not in decisions.SAID:
        return None
    operation_id, _ = decide.ids_of(request)
    return decisions.done_card(services.store.operation(operation_id), request.action)


def _say(services: Services, request: Request, card: Card) -> None:
    """Answer a person where they are: on the home tab, at its top."""
    if request.at_home:
        queries.home(services, request, card)
    else:
        whisper(services, request, card)


def pick_up(services: Services, replica: str = "") -> None:
    """Take up what is left after a start, or when another replica is gone.

    Say what was left to say, see every open operation on its way.
    """
    _quietly("", lambda _: late_requests.hold(services))
    services.messages.take_over(replica)
    for operation in services.store.operations(states=OPEN, limit=MOST_OPEN):
        _quietly(
            operation.id, lambda found: propose.lay_out(services, services.store.operation(found))
        )
        _quietly(operation.id, services.messages.show)
        break_glass.tell(services, operation)
        if why := services.catalog.unable(operation):
            _quietly(operation.id, lambda found: _tell_unable(services, found))
            log.warning("left alone", operation=operation.id, why=why)
        elif operation.state in BUSY:
            scheduled.hand_over(services, operation)
    for operation in services.store.operations(limit=RECENT):
        lately = services.clock.now() - operation.changed_at < LATELY
        if operation.state.over and lately and not operation.unreadable:
            _quietly(operation.id, services.messages.show)
            break_glass.tell(services, operation)
            notify.tell_end(services, operation)


def _tell_unable(services: Services, operation_id: str) -> None:
    """Tell once, where alerts go, that an open operation is left alone here."""
    operation = services.store.operation(operation_id)
    if services.places.ops and services.store.claim(f"unable:{operation_id}"):
        card = operation_cards.unable_card(operation, services.catalog.unable(operation))
        services.messages.afterwards(
            services.places.ops, lambda: _post(services, card, f"unable:{operation_id}")
        )


def _post(services: Services, card: Card, key: str) -> None:
    services.chat.post(services.places.ops, card, key=key)


def _quietly(operation_id: str, act: Callable[[str], object]) -> None:
    """One operation whose message fails must not keep the others from being picked up."""
    try:
        act(operation_id)
    except DroverError as error:
        log.warning("not shown after the start", operation=operation_id, error=str(error))


QUICK = 2  # threads of each quick lane


def lane_of(services: Services, request: Request) -> Lane:
    """The lane of a request."""
    if request.kind == "command":
        usual = Lane.DIALOG if command.opens_form(services, request) else Lane.WORK
        return decisions.lane(request.text) or usual
    action = find(request.action)
    if action is None:
        return Lane.WORK
    if command.asks_more(services, request):
        return Lane.DIALOG
    return action.form if request.kind == "form" else action.click


class Turns:
    """Requests that wait, the people taking turns.

    Who asks for much waits behind who asks for little.
    """

    def __init__(self) -> None:
        # Listeners put, workers take; no two take requests of one person at once
        self._changed = threading.Condition()
        self._waiting: collections.OrderedDict[str, collections.deque[Request]] = (
            collections.OrderedDict()
        )
        self._ending = False

    def put(self, request: Request) -> None:
        """Queue behind what the same person asked for."""
        with self._changed:
            self._waiting.setdefault(request.by, collections.deque()).append(request)
            self._changed.notify()

    def get(self) -> Request | None:
        """The next; None when there is nothing left and nothing more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            if not self._waiting:
                return None
            person, theirs = self._waiting.popitem(last=False)
            request = theirs.popleft()
            if theirs:
                self._waiting[person] = theirs  # behind everybody else
            return request

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()


class RequestWorkers:
    """Threads that handle requests.

    Dialogs and decisions on lanes of their own, within each the people in turn.

    Args:
        services: what they work with.
        count: how many requests are handled at once, beside dialogs and decisions.
        replica: this one's name when there are several; '': it is the only one.
        on_request: called for each request that is queued; waits for nothing.
    """

    def __init__(
        self,
        services: Services,
        count: int,
        replica: str = "",
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._on_request = on_request
        self._replica = replica
        self._lanes = {lane: Turns() for lane in Lane}
        self._threads = [
            threading.Thread(
                target=self._work, args=(turns,), name=f"workers-{lane}-{number}", daemon=True
            )
            for lane, turns in self._lanes.items()
            for number in range(count if lane is Lane.WORK else QUICK)
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
        for request in self._services.store.take_over(replica):
            log.info("request taken over", key=request.key, of=replica)
            if not late_requests.refuse(self._services, request):
                self._put(request)

    def accept(self, request: Request) -> bool:
        """Store a request, before its ack, and queue it; False for a duplicate.

        Raises:
            StoreError: it is not stored, and will not be handled.
        """
        fresh = self._services.store.accept(request)
        # The chat delivers a message anew for hours when it was not taken. Other requests cannot be
        # late: what allows them ends within minutes
        written = request.kind == "command" and request.message
        late = fresh and written and late_requests.refuse(self._services, request, by_chat=True)
        if fresh and not late:
            self._put(request)
        return fresh

    def stop(self, timeout: float = 30.0) -> None:
        """Finish what is queued, then end.

        What is not done in time stays stored and is handled at the next start.
        """
        for turns in self._lanes.values():
            turns.end()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _put(self, request: Request) -> None:
        self._on_request()
        self._lanes[lane_of(self._services, request)].put(request)

    def _work(self, turns: Turns) -> None:
        while (request := turns.get()) is not None:
            try:
                handle(self._services, request)
            # The database failed; it stays stored and is handled at the next start
            except Exception:
                log.exception("request not handled", key=request.key)
