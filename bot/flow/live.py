"""Answers that are posted for all, and those that stay up to date for a while."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from bot.declare import Asker, Query
from bot.domain.card import Card
from bot.domain.errors import ChatError, DroverError
from bot.flow import look, notices
from bot.flow.monitor import Monitor
from bot.flow.world import World
from bot.ports import MessageRef, Request

log = structlog.get_logger()

EVERY = 5.0  # seconds between two edits


def posted(world: World, query: Query, intent: Any, person: Asker, request: Request) -> Card | None:
    """Post the answer in the channel and, for a live one, keep it up to date; a card when only the asker can see it.

    The bot may not be in the channel where it is asked.
    """
    monitor = world.monitor
    lives = query.live > 0 and monitor is not None and monitor.live_places.acquire(blocking=False)
    if monitor is not None and lives:
        monitor.sweep(older_than=EVERY)
    card = look.answer(world, query, intent, person)
    try:
        ref = world.chat.post(request.channel, notices.live_card(card) if lives else card, key=request.key)
    except ChatError as error:
        log.info("answered in private", channel=request.channel, error=str(error))
        if monitor is not None and lives:
            monitor.live_places.release()
        return card
    if monitor is not None and lives:
        answer = _Live(world, monitor, query, intent, person, f"{world.slash} {request.text}", ref)
        threading.Thread(target=answer.keep_up, name="live", daemon=True).start()
    return None


@dataclass(frozen=True, slots=True)
class _Live:
    """One answer that is brought up to date."""

    world: World
    monitor: Monitor
    query: Query
    intent: Any
    person: Asker
    line: str
    ref: MessageRef

    def keep_up(self) -> None:
        """Edit the message until its time is over; the last edit says so."""
        clock, chat = self.world.clock, self.world.chat
        until = clock.now() + timedelta(seconds=self.query.live)
        try:
            while clock.now() < until:
                clock.sleep(EVERY)
                self.monitor.sweep(older_than=EVERY * 0.8)
                chat.later(self.ref, notices.live_card(self._card()))
            chat.update(self.ref, notices.ended_card(self._card(), self.line))
        except DroverError as error:
            log.warning("a live answer ended early", line=self.line, error=str(error))
        finally:
            self.monitor.live_places.release()

    def _card(self) -> Card:
        return look.answer(self.world, self.query, self.intent, self.person)
