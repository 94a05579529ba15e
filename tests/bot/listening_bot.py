"""A bot in memory that listens and speaks in the local workspace: what a test of both is about it adds itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.listeners import Credentials, Listeners
from bot.adapters.slack.pacer import Pacer
from bot.flow.commands.command import problems
from bot.flow.commands.dispatcher import RequestWorkers
from bot.flow.context import Places, Role
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from bot.ports import Request
from lab.slack import Workspace
from tests.bot.flow.small_bot import Bot, small_bot

PACE = 200.0
ROLES = {"engineer": Role(frozenset({"U0ANA"})), "approver": Role(frozenset({"U0BRUNO"}))}


class ListeningBot:
    """Connected once it is made."""

    def __init__(
        self, workspace: Workspace, folder: Path, plugins: tuple[str, ...] = ("migrate",)
    ) -> None:
        self.workspace = workspace
        self.bot: Bot = small_bot(folder, plugins=plugins, roles=ROLES)
        client = api.client(workspace.bot_token, workspace.web_api)
        self.chat = SlackChat(client, progress_every=0.05, pacer=Pacer(pace=PACE))
        screen = OperationMessages(
            self.bot.store, self.chat, partial(operation_cards.operation_card)
        )
        screen.start()
        places = Places("C0APPROVALS", "C0OPS")
        self.bot.services = replace(
            self.bot.services, chat=self.chat, messages=screen, places=places
        )
        self.workers = RequestWorkers(self.bot.services, 2)
        self.workers.start()
        me = self.chat.identity()
        self.listeners = Listeners(
            Credentials(
                workspace.bot_token,
                workspace.app_token,
                workspace.signing_secret,
                workspace.web_api,
            ),
            team=me.team,
            bot_user=me.user,
            command="/kvm",
            accept=self.accept,
            choices=lambda source, typed: [(typed, typed)] if source else [],
            chat=self.chat,
            per_minute=6000,
            problems=partial(problems, self.bot.services),
        )
        self.listeners.connect()
        workspace.wait_connected()

    def accept(self, request: Request) -> bool:
        """Store a request; a test may hold it up."""
        return self.workers.accept(request)

    def close(self) -> None:
        self.listeners.close()
        self.workers.stop()
        self.bot.services.messages.stop()
        self.chat.close()
        self.bot.store.close()
