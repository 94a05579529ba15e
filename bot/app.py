"""The composition root: builds the services of its parts, starts and stops it in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from bot import garbage
from bot.adapters.durable import DurableWork
from bot.adapters.language import Languages
from bot.adapters.linked_chat import LinkedChat
from bot.adapters.schedule import Schedule
from bot.adapters.seen_head import SeenHead
from bot.adapters.service_manager import ALIVE, STOPPING, notify
from bot.adapters.slack import api
from bot.adapters.slack.chat import Identity, SlackChat
from bot.adapters.slack.listeners import Credentials, Listeners
from bot.adapters.slack.pacer import Pacer
from bot.adapters.translated_chat import TranslatedChat
from bot.domain import policy as policies
from bot.domain.admission import Limits
from bot.domain.card import error_card
from bot.domain.errors import (
    DroverError,
    FencedError,
    SettingsError,
    StoreGoneError,
)
from bot.domain.message import Code, words
from bot.domain.personal import Personal
from bot.factories import (
    SystemClock,
    connect_hypervisor,
    glass_of,
    head_file,
    load_catalog,
    measuring,
    only_bot,
    open_store,
    other_ways,
    outside_rules,
    roles_of_settings,
    say_well,
    serve_alertmanager,
    serve_metrics,
    serve_terminal,
)
from bot.flow import personal_settings
from bot.flow.commands import late_requests
from bot.flow.commands.autocomplete import Inventory
from bot.flow.commands.command import problems
from bot.flow.commands.dispatcher import RequestWorkers, pick_up
from bot.flow.context import Places, Services
from bot.flow.monitoring import outside_alerts, watch
from bot.flow.monitoring.definitions import KeptDefinitions
from bot.flow.monitoring.other_ways import OtherWays
from bot.flow.operations import overdue, perform, restored
from bot.flow.operations.operation_cards import operation_card
from bot.flow.operations.operation_messages import OperationMessages
from bot.log_lines import configure_logging
from bot.plugin_api import Report
from bot.settings import DroverSettings
from bot.slack_link import SlackLink

log = structlog.get_logger()

TICK = timedelta(seconds=5)
OTHER_WAYS = timedelta(seconds=15)
HISTORY = timedelta(seconds=20)
ENDING = 8.0  # seconds in which the bot ends; what is not done by then is done at the next start
WORKING_AFTER = 0.8  # seconds without an answer after which who asked is told that it takes longer
TIDY = timedelta(hours=6)
PROVE = timedelta(hours=6)
OWN_DIGESTS = "0 8 * * *"  # when people are sent the digests of their own VMs
GONE = "database-gone"


class Drover:
    """The bot as one process.

    Args:
        settings: checked.
        on_fenced: told when another replica took this one for dead and does its work: the process
            has to end.

    Raises:
        DroverError: something can be told to be wrong before anything is started.
    """

    def __init__(
        self, settings: DroverSettings, on_fenced: Callable[[], None] = lambda: None
    ) -> None:
        configure_logging(settings.log_level)
        _require(settings)
        self._settings = settings
        self._clock = SystemClock()
        catalog = load_catalog(settings)
        for command in policies.without_rule(settings.domain_policy(), catalog.automatic):
            raise SettingsError(
                words("{command}: {reason}.", command=Code(command), reason=policies.NOT_AUTOMATIC),
                words("`drover check` explains the policy."),
            )
        self._store = open_store(settings, catalog)
        self._client = api.client(
            settings.slack.bot_token.get_secret_value(), settings.slack.api_url
        )
        languages = Languages(settings.locale, catalog.translations, settings.slack.command)
        self._chat = SlackChat(
            self._client,
            group_cache=settings.slack.group_cache,
            progress_every=settings.limits.progress_every,
            pacer=Pacer(pace=settings.slack.pace),
            languages=languages,
        )
        self._translated = TranslatedChat(
            self._chat,
            languages,
            lambda user: personal_settings.read_from(self._series, user).language,
        )
        linked = LinkedChat(self._translated, self._store)
        self._hypervisor = connect_hypervisor(settings, self._store)
        self._work = DurableWork(
            lambda operation_id: perform.perform(self.services, operation_id),
            database_url=_work_url(settings),
            executor_id=settings.replica,
            replicas=self._store if _is_shared(settings) else None,
            on_silent=self._take_over,
            on_fenced=on_fenced,
            per_host=settings.limits.moves_per_host,
        )
        self._monitor, self._series = measuring(settings, self._hypervisor)
        self.services = Services(
            catalog=catalog,
            store=self._store,
            chat=linked,
            hypervisor=self._hypervisor,
            clock=self._clock,
            work=self._work,
            messages=OperationMessages(
                self._store,
                linked,
                partial(operation_card, pickable=catalog.pickable),
                settings.slack.command,
                self._wishes_of,
            ),
            policy=settings.domain_policy(),
            places=Places(
                settings.slack.approvals_channel,
                settings.slack.ops_channel,
                settings.monitor.digest_channel,
            ),
            roles=roles_of_settings(settings),
            slash=settings.slack.command,
            patience=settings.limits.unreachable_patience,
            limits=Limits(settings.limits.moves_per_host, settings.limits.moves_per_host),
            silence=settings.policy.hold_after,
            windows=settings.maintenance_windows(),
            zone=settings.zone,
            grace=settings.policy.scheduled_grace,
            remind_before=settings.policy.remind_before,
            settle=settings.monitor.settle,
            monitor=self._monitor,
            working_after=WORKING_AFTER,
            notes=self._series,
            languages=languages.available,
        )
        self._inventory = Inventory(self._hypervisor)
        self._definitions = KeptDefinitions(self._hypervisor, self._store, self._clock)
        self._workers = RequestWorkers(
            self.services,
            settings.limits.handlers,
            settings.replica if _is_shared(settings) else "",
            self._work.expect,
        )
        self._slack = SlackLink(
            settings.slack, self._chat, self._listen, self.services.messages.catch_up
        )
        self._terminal = serve_terminal(
            settings,
            self.services,
            self._workers.accept,
            languages,
            status=self._status,
            glass=glass_of(settings, self._slack.silence, self._slack.answers),
        )
        self._schedule = Schedule()
        self._told_gone = False
        self._on_fenced = on_fenced
        self._head = SeenHead(head_file(settings))
        self._other_ways = OtherWays(
            self.services, self._monitor, other_ways(settings, languages), self._slack.silence
        )
        self._outside = serve_alertmanager(settings, self._monitor)
        self._metrics = serve_metrics(settings, self._monitor, self._slack.silence)

    def start(self) -> None:
        """Sign in, take up what a crash left, then listen."""
        self._alone = only_bot(self._settings)
        self.services.messages.start()
        self._distrust_restored()
        late_requests.hold(self.services)  # before the work queue resumes what a crash left
        self._work.start()
        self._workers.start()
        pick_up(self.services, self._settings.replica if _is_shared(self._settings) else "")
        self._schedule.every("tick", TICK, self._tick)
        self._schedule.every("sweep", self._looks_every(), self._inventory.sweep)
        self._plan_watching()
        if self._metrics is not None:
            self._metrics.start()
        if self._outside is not None:
            self._outside.start()
        self._schedule.start()
        if self._terminal is not None:
            self._terminal.start()
        self._slack.open()
        self._tick()
        log.info(
            "running",
            replica=self._settings.replica,
            plugins=self.services.catalog.plugins,
            mode=self._settings.slack.mode,
        )

    def stop(self) -> tuple[str, ...]:
        """Take nothing new, finish what is quick, leave the rest to the next start.

        The ids of what is left.
        """
        log.info("stopping")
        notify(STOPPING)
        until = time.monotonic() + ENDING
        self._slack.close()
        if self._outside is not None:
            self._outside.close()
        if self._terminal is not None:
            self._terminal.stop()
        self._stop_schedule(until)
        if self._metrics is not None:
            self._metrics.stop()
        self._monitor.close()
        self._workers.stop(_share(until))
        left = self._work.stop()
        self.services.messages.stop(_share(until))
        self._chat.close(_share(until))
        if not left:
            self._hypervisor.close()
            self._series.close()
            self._store.close()
            if self._alone is not None:
                self._alone.release()
        return left

    def _stop_schedule(self, until: float) -> None:
        """Call nothing by the clock any more; what is being called is not waited for long."""
        ending = threading.Thread(target=self._schedule.stop, name="schedule-end", daemon=True)
        ending.start()
        ending.join(_share(until))

    def _looks_every(self) -> timedelta:
        """How often it is looked which VMs are where."""
        return timedelta(seconds=self._settings.monitor.inventory_every)

    def _plan_watching(self) -> None:
        """Sweeps with the watches behind them, the history.

        Also the reports with what was missed of them.
        """
        latest, monitor = self._inventory.latest, self._monitor
        every = timedelta(seconds=self._settings.monitor.every)
        # A new alert is posted before the next look; measuring goes on meanwhile, however long
        # Slack takes.
        self._schedule.every("measure", every, lambda: watch.measure(monitor, self._fresh()))
        self._schedule.every(
            "watch", every, lambda: watch.tick(self.services, monitor, latest, self._fresh())
        )
        self._schedule.every("other-ways", OTHER_WAYS, self._tell_otherwise)
        if self._outside is not None:
            self._schedule.every("outside", every, self._show_outside)
        self._schedule.every("history", HISTORY, lambda: watch.keep(monitor, latest))
        self._schedule.every("definitions", self._looks_every(), self._keep_definitions)
        self._schedule.every("tidy", TIDY, lambda: watch.tidy(monitor, self._clock.now()))
        self._schedule.every("garbage", garbage.EVERY, garbage.collect)
        self._schedule.every("prove", PROVE, lambda: watch.prove(self.services, monitor))
        for report in self.services.catalog.reports:
            self._schedule.cron(
                report.name, report.cron, self._settings.zone, partial(self._report, report)
            )
        self._schedule.cron("my-vms", OWN_DIGESTS, self._settings.zone, self._own_digests)
        threading.Thread(target=self._first_look, name="first-look", daemon=True).start()

    def _fresh(self) -> float:
        """Seconds for which a sweep is new enough for the next one to be left out."""
        seen = self._inventory.latest()
        vms = len(seen.vms) if seen is not None else 0
        return watch.fresh_for(self._settings.monitor.every, vms)

    def _show_outside(self) -> None:
        """Show what a site's Alertmanager sent, in whose names the cluster is looked up."""
        seen = self._inventory.latest()
        if seen is not None and watch.leads(self.services, self._monitor):
            rules = outside_rules(self._settings)
            outside_alerts.show(self.services, self._monitor, seen, rules)

    def _tell_otherwise(self) -> None:
        if self._other_ways.ways and watch.leads(self.services, self._monitor):
            self._other_ways.tick()

    def _wishes_of(self, user: str) -> tuple[Personal, float]:
        """What a person wants of direct messages, and how many seconds their quiet hours last."""
        mine = personal_settings.read_from(self._series, user)
        return mine, mine.quiet_seconds(self._clock.now(), self._settings.zone)

    def _own_digests(self, slot: datetime) -> None:
        """Send the digests of people's own VMs."""
        if (seen := self._inventory.latest()) is not None:
            personal_settings.send_digests(self.services, slot, seen)

    def _keep_definitions(self) -> None:
        self._definitions.keep(self._inventory.latest())

    def _report(self, wanted: Report, slot: datetime) -> None:
        if self._inventory.latest() is None:
            self._inventory.sweep()
        if (seen := self._inventory.latest()) is not None:
            watch.report(self.services, self._monitor, wanted, slot, seen)

    def _first_look(self) -> None:
        """What a start owes: a first sweep, and the reports that nobody was there to post."""
        self._inventory.sweep()
        self._say_who_is_silent()
        self._monitor.sweep()
        for report in self.services.catalog.reports:
            slot = self._schedule.last_due(
                report.name, report.cron, self._settings.zone, watch.REACH
            )
            try:
                watch.post_missed(
                    self.services, self._monitor, report, slot, self._inventory.latest
                )
                watch.begin(self.services, self._monitor, report, self._inventory.latest)
            except DroverError as error:  # noted as due; a later tick posts it
                log.warning("missed report not posted yet", report=report.name, error=str(error))
        try:
            watch.prove(self.services, self._monitor)
        except DroverError as error:  # the next time comes
            log.warning("audit trail not checked", error=str(error))

    def _say_who_is_silent(self) -> None:
        """Whoever starts the bot at a terminal sees no alert.

        The bot goes on without these hosts until they answer.
        """
        seen = self._inventory.latest()
        for host in () if seen is None else seen.hosts:
            if not host.up:
                log.warning(
                    "host does not answer",
                    host=host.name,
                    problem=str(host.problem),
                    next_step="drover check",
                )

    def _take_over(self, silent: str) -> None:
        """See to what a replica that fell silent accepted, proposed or approved.

        Also did not see through.
        """
        self._workers.take_over(silent)
        pick_up(self.services, silent)

    def _tick(self) -> None:
        try:
            self._store.mark_alive()
        except StoreGoneError as error:
            self._tell_gone(error)
            notify(ALIVE)  # a start would make an empty database, and hide that the old one is gone
            return
        except FencedError as error:
            log.error("fenced off", error=str(error))  # noqa: TRY400 - expected kind
            self._on_fenced()
            return
        self._keep_head()
        overdue.expire(self.services)
        overdue.remind(self.services)
        notify(ALIVE)  # whether Slack is there or not: a start would not bring it back
        self._slack.look()
        say_well(self._settings, str(self._slack.trouble()))

    def _distrust_restored(self) -> None:
        """Before anything is taken up: whether this is the database that the bot left."""
        lost = self._head.loss(self._store)
        if lost is not None:
            log.error("the database was restored from a backup", lost=lost.events)
            restored.distrust(self.services, lost.position, lost.events)

    def _keep_head(self) -> None:
        try:
            self._head.keep(self._store)
        except OSError as error:
            log.warning("where the audit trail ends is not kept", error=str(error))

    def _tell_gone(self, error: StoreGoneError) -> None:
        """Tell people once that the database is gone: what is decided from now on is lost."""
        log.error("the database is gone", error=str(error))
        if self._told_gone:
            return
        self._told_gone = True
        services = self.services
        place = services.places.ops or services.places.approvals
        card = error_card(error.text, error.advice)
        # A lane of its own: what waits in the channel's may need the database
        services.messages.say(GONE, lambda: services.chat.post(place, card, key=GONE))

    def _listen(self, identity: Identity) -> Listeners:
        """The listeners of the bot that the token signs in as."""
        slack = self._settings.slack
        return Listeners(
            Credentials(
                slack.bot_token.get_secret_value(),
                slack.app_token.get_secret_value(),
                slack.signing_secret.get_secret_value(),
                slack.api_url,
            ),
            team=identity.team,
            bot_user=identity.user,
            command=slack.command,
            accept=self._workers.accept,
            choices=self._inventory.choices,
            chat=self.services.chat,
            per_minute=slack.requests_per_minute,
            enterprise=identity.enterprise,
            belongs=lambda user: self._chat.belongs(user, identity),
            in_words=self._translated.in_words,
            problems=partial(problems, self.services),
        )

    def _status(self) -> dict[str, object]:
        """How the bot is, for who asks at the terminal."""
        trouble = self._slack.trouble()
        return {
            "chat": {
                "state": "away" if trouble else "well",
                "why": str(trouble),
                "seconds": round(self._slack.silence()),
                "waiting": self.services.messages.waiting(),
            },
            "replica": self._settings.replica,
        }


def _share(until: float) -> float:
    """Seconds that one part may take of the time until then: half, so that others have some too."""
    return max(0.2, (until - time.monotonic()) / 2)


def _require(settings: DroverSettings) -> None:
    """What ``check`` would call missing is refused at start, by its key."""
    if not settings.hosts:
        raise SettingsError(
            words("No `[[hosts]]` are configured."),
            words("Copy `config/drover.example.toml` and add your hosts."),
        )
    if not settings.slack.approvals_channel:
        raise SettingsError(
            words("`slack.approvals_channel` is missing."),
            words("Set it to the id of the channel (C…)."),
        )
    if not settings.roles:
        raise SettingsError(
            words("No `[roles]` are configured, so nobody can use Drover."),
            words("See `config/drover.example.toml`."),
        )
    needed = (
        ("bot_token", "app_token")
        if settings.slack.mode == "socket"
        else ("bot_token", "signing_secret")
    )
    for name in needed:
        if not getattr(settings.slack, name).get_secret_value():
            variable = f"SLACK_{name.upper()}"
            raise SettingsError(
                words("The secret {name} is missing.", name=name),
                words(
                    "Set {variable}, or {file} to the path of a file.",
                    variable=Code(variable),
                    file=Code(f"{variable}_FILE"),
                ),
            )


def _is_shared(settings: DroverSettings) -> bool:
    """Whether other replicas may use the same database."""
    return not settings.database.url.startswith("sqlite")


def _work_url(settings: DroverSettings) -> str:
    """DBOS keeps its own tables: beside the SQLite file, or in the same PostgreSQL database."""
    url = settings.database.url
    return f"{url}-work" if url.startswith("sqlite") else url
