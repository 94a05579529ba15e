"""Answers that are posted for all, and those that stay up to date for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import structlog

from bot.domain.card import Card, Context
from bot.domain.errors import ChatError, DroverError
from bot.domain.message import words
from bot.flow.commands import queries
from bot.flow.context import Services, whisper
from bot.flow.monitoring import incident_cards
from bot.flow.monitoring.monitor import Monitor
from bot.flow.operations.operation_cards import who
from bot.plugin_api import Asker, Query
from bot.ports import MessageRef, Request

log = structlog.get_logger()

EVERY = 5.0  # seconds between two edits


def post(services: Services, query: Query, intent: object, person: Asker, request: Request) -> None:
    """Post the answer where it was asked for and, for a live one, keep it up to date.

    Only the asker sees it where the bot may not write.
    """
    monitor = services.monitor
    lives = query.live > 0 and monitor is not None and monitor.live_places.acquire(blocking=False)
    if monitor is not None and lives:
        monitor.sweep(older_than=EVERY)
    redraw = partial(_draw, services, query, intent, person)
    card = redraw()
    services.messages.answer(
        request.by, lambda: _post(services, request, query, redraw, card, lives=lives)
    )


def _draw(services: Services, query: Query, intent: object, person: Asker) -> Card:
    """The answer, with who asked for it: everybody in the channel sees it."""
    card = queries.answer(services, query, intent, person)
    asked = Context((words("asked by {who}", who=who(person.id)),))
    return replace(card, elements=(*card.elements, asked))


def _post(
    services: Services,
    request: Request,
    query: Query,
    redraw: Callable[[], Card],
    card: Card,
    *,
    lives: bool,
) -> None:
    monitor = services.monitor
    thread = MessageRef(request.channel, request.thread) if request.thread else None
    shown = incident_cards.live_card(card) if lives else card
    try:
        ref = services.chat.post(request.channel, shown, thread=thread, key=request.key)
    except ChatError as error:
        log.info("answered in private", channel=request.channel, error=str(error))
        if monitor is not None and lives:
            monitor.live_places.release()
        whisper(services, request, card)
        return
    if monitor is not None and lives:
        answer = _Live(
            services, monitor, query.live, redraw, f"{services.slash} {request.text}", ref
        )
        threading.Thread(target=answer.keep_up, name="live", daemon=True).start()


@dataclass(frozen=True, slots=True)
class _Live:
    """One answer that is brought up to date."""

    services: Services
    monitor: Monitor
    lasts: float
    redraw: Callable[[], Card]
    line: str
    ref: MessageRef

    def keep_up(self) -> None:
        """Edit the message until its time is over; the last edit says so."""
        clock, chat = self.services.clock, self.services.chat
        until = clock.now() + timedelta(seconds=self.lasts)
        try:
            while clock.now() < until:
                clock.sleep(EVERY)
                self.monitor.sweep(older_than=EVERY * 0.8)
                chat.later(self.ref, incident_cards.live_card(self.redraw()))
            chat.update(self.ref, incident_cards.ended_card(self.redraw(), self.line))
        except DroverError as error:
            log.warning("a live answer ended early", line=self.line, error=str(error))
        finally:
            self.monitor.live_places.release()
