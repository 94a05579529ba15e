"""The parts of the bot, each built from the configuration.

A vendor is imported when its part is wanted.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import catalog as catalogs
from bot.adapters.private import read_private, write_private
from bot.domain.errors import SettingsError, StoreError
from bot.domain.message import Duration, Message, words
from bot.flow.commands.queries import Core
from bot.settings import DroverSettings, HostSection, SshSection

if TYPE_CHECKING:  # each takes long to import, and no command line needs them all
    from bot.adapters.fence import FenceAddress
    from bot.adapters.language import Languages
    from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
    from bot.adapters.prometheus import MetricsServer, PrometheusPast
    from bot.adapters.slack.chat import Identity
    from bot.adapters.sql.same_file import OnlyOne
    from bot.adapters.sql.series import SqlSeries
    from bot.adapters.sql.store import SqlStore
    from bot.adapters.ssh.address import SshAddress
    from bot.adapters.terminal.server import TerminalServer
    from bot.adapters.web_server import WebServer
    from bot.flow.commands.terminal import Accept, Status
    from bot.flow.context import Role, Services
    from bot.flow.monitoring.monitor import Monitor
    from bot.flow.monitoring.other_ways import Way
    from bot.flow.monitoring.outside_alerts import OutsideRules
    from bot.flow.operations.break_glass import BreakGlass
    from bot.ports import Hypervisor
    from bot.ports.power import Holds, PowerControl
    from bot.ports.series import Sampler

HEALTHY = 60.0  # seconds


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def load_catalog(settings: DroverSettings) -> catalogs.Catalog:
    """The catalog of a configuration, with the core's own commands."""
    return catalogs.load(settings.plugins.enabled, settings.plugins.tables(), extra=(Core(),))


def open_store(settings: DroverSettings, catalog: catalogs.Catalog | None = None) -> SqlStore:
    """The database, brought up to date; a SQLite file's folder is made.

    Without a catalog plugins' values are kept.

    Raises:
        StoreError: it cannot be opened, or the folder cannot be made.
    """
    from bot.adapters.sql.store import SqlStore

    url = settings.database.url
    if (file := database_file(settings)) is not None:
        _make_folder(file.parent)
    codec = catalogs.core_codec() if catalog is None else catalog.codec()
    return SqlStore(url, codec, clock=SystemClock(), replica=settings.replica)


def database_file(settings: DroverSettings) -> Path | None:
    """The SQLite file; None with PostgreSQL."""
    url = settings.database.url
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def only_bot(settings: DroverSettings) -> OnlyOne | None:
    """The right to be the one bot on a SQLite file; None with PostgreSQL, which several share.

    Raises:
        StoreError: another bot has it.
    """
    from bot.adapters.sql.same_file import OnlyOne

    file = database_file(settings)
    return None if file is None else OnlyOne(file)


def existing_store(
    settings: DroverSettings, catalog: catalogs.Catalog | None = None
) -> SqlStore | None:
    """Return the database, brought up to date.

    None where none has been made yet: nothing is made then.

    Raises:
        StoreError: it cannot be opened.
    """
    from bot.adapters.sql.engine import exists

    return open_store(settings, catalog) if exists(settings.database.url) else None


def no_store(settings: DroverSettings) -> StoreError:
    """Return what to say where a database is needed and none has been made."""
    from bot.adapters.sql.engine import without_password

    return StoreError(
        words("There is no database at {url}.", url=without_password(settings.database.url)),
        words(
            "Correct `database.url` in the configuration. The first `drover run` "
            "creates the database."
        ),
    )


def _address(settings: DroverSettings) -> dict[str, str]:
    """Where Slack is to deliver, when it is configured."""
    return {"request_url": settings.slack.request_url} if settings.slack.request_url else {}


def app_manifest(settings: DroverSettings) -> dict[str, Any]:
    """The Slack app's manifest for what is loaded."""
    from bot.adapters.slack.manifest import manifest

    names = " | ".join(dict.fromkeys(name.split()[0] for name in load_catalog(settings).commands))
    return manifest(
        settings.slack.command,
        names,
        name=settings.slack.name,
        socket_mode=settings.slack.mode == "socket",
        **_address(settings),
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            words(
                "The folder {folder} of the database cannot be created: {reason}.",
                folder=str(folder),
                reason=str(error.strerror),
            ),
            words("Correct `database.url`, or give the user of the bot write permission there."),
        ) from error


def sign_in(settings: DroverSettings) -> Identity:
    """Whom Slack takes the bot token for; the channels can be read too.

    Raises:
        ChatError: Slack refuses it, does not answer, or the bot is not in a channel.
    """
    from bot.adapters.slack import api
    from bot.adapters.slack.chat import SlackChat

    client = api.client(settings.slack.bot_token.get_secret_value(), settings.slack.api_url)
    chat = SlackChat(client)
    try:
        who = chat.identity()
        for channel in filter(None, (settings.slack.approvals_channel, settings.slack.ops_channel)):
            chat.readable(channel)
            chat.writable(channel, who)
    finally:
        chat.close()
    return who


def measuring(settings: DroverSettings, hypervisor: Hypervisor) -> tuple[Monitor, SqlSeries]:
    """What measures, and the history it fills; no host is asked yet."""
    from bot.adapters.libvirt import LibvirtHypervisor
    from bot.adapters.libvirt.read.sampling import GAP, LibvirtSampler
    from bot.adapters.sql.series import SqlSeries
    from bot.flow.monitoring.divided_sampler import DividedSampler
    from bot.flow.monitoring.monitor import Monitor
    from bot.flow.monitoring.pressure import Pressures, over_ssh

    wanted = settings.monitor
    # A host must have answered, or be found silent, well before the next sweep.
    deadline = min(settings.limits.host_deadline, wanted.every * 0.8)
    libvirt_sampler = LibvirtSampler(
        addresses(settings),
        clock=SystemClock(),
        deadline=deadline,
        slow_every=wanted.slow_every,
        gap=max(GAP, 3 * wanted.every),
        wires=hypervisor.wires if isinstance(hypervisor, LibvirtHypervisor) else {},
    )
    series = SqlSeries(
        settings.database.url,
        keep_raw=timedelta(seconds=wanted.keep_raw),
        keep=timedelta(seconds=wanted.keep),
    )
    sampler: Sampler = libvirt_sampler
    if database_file(settings) is None:  # several replicas may share PostgreSQL
        sampler = DividedSampler(
            libvirt_sampler,
            series.leases(settings.replica),
            SystemClock(),
            settings.replica,
            tuple(host.name for host in settings.hosts),
            wanted.every,
        )
    past = _prometheus(settings) if wanted.source == "prometheus" else None
    shells = [host.name for host in settings.hosts if host.ssh]
    read = (
        past.pressures
        if past is not None
        else partial(over_ssh, hypervisor, shells)
        if shells
        else None
    )
    pressures = Pressures(read, wanted.pressure_every) if read is not None else None
    made = Monitor(
        sampler,
        series,
        series,
        SystemClock(),
        replica=settings.replica,
        past=past,
        pressures=pressures,
    )
    return made, series


def _prometheus(settings: DroverSettings) -> PrometheusPast:
    from bot.adapters.prometheus import PrometheusPast

    return PrometheusPast(settings.monitor.prometheus_url, settings.monitor.queries)


def serve_metrics(
    settings: DroverSettings, monitor: Monitor, silence: Callable[[], float] = lambda: 0.0
) -> MetricsServer | None:
    """The server of ``/metrics`` and ``/healthz``; None when it is not wanted."""
    where = settings.metrics
    if not where.port:
        return None
    from bot.adapters.prometheus import MetricsServer

    return MetricsServer(
        where.host,
        where.port,
        monitor.measures,
        lambda: str(health_problem(settings)),
        silence=silence,
        trouble=lambda: chat_trouble(settings),
    )


def other_ways(settings: DroverSettings, languages: Languages) -> tuple[Way, ...]:
    """The ways other than the chat by which people are told; nothing is sent yet.

    Raises:
        SettingsError: an address cannot be read, or apprise does not understand it.
    """
    if not settings.tell:
        return ()
    from bot.adapters.apprise_notifier import AppriseNotifier
    from bot.flow.monitoring.other_ways import Way

    return tuple(
        Way(
            name,
            AppriseNotifier(name, url, languages),
            frozenset(section.severities),
            float(section.proposals_after),
        )
        for section in settings.tell
        for number, url in enumerate(section.urls(), 1)
        for name in [section.name if number == 1 else f"{section.name}/{number}"]
    )


def outside_rules(settings: DroverSettings) -> OutsideRules:
    """What is made of the alerts of a site's Alertmanager."""
    from bot.flow.monitoring.outside_alerts import Fix, OutsideRules

    wanted = settings.alertmanager
    fixes = tuple(Fix(each.alert, each.text, each.command) for each in wanted.fixes)
    return OutsideRules(wanted.host_labels, wanted.vm_labels, fixes)


def serve_alertmanager(settings: DroverSettings, monitor: Monitor) -> WebServer | None:
    """The webhook for a site's Alertmanager; None when it is not wanted.

    Raises:
        SettingsError: there is no token, or the address cannot be had.
    """
    wanted = settings.alertmanager
    if not wanted.port:
        return None
    from bot.adapters.alertmanager import AlertmanagerHook, serve
    from bot.flow.commands.rate_limit import Pace, Paces
    from bot.flow.monitoring import outside_alerts

    paces, clock = Paces(wanted.requests_per_minute), SystemClock()

    def take(payload: object) -> None:
        outside_alerts.keep(monitor.notes, outside_alerts.read(payload, clock.now()))

    hook = AlertmanagerHook(wanted.token(), take, lambda: paces.ask("") is Pace.FINE)
    try:
        return serve(hook, wanted.host, wanted.port)
    except OSError as error:
        raise SettingsError(
            words(
                "Cannot listen on {host}:{port}: {reason}.",
                host=wanted.host,
                port=str(wanted.port),
                reason=str(error),
            ),
            words("Choose another `alertmanager.host` or `alertmanager.port`."),
        ) from error


def roles_of_settings(settings: DroverSettings) -> dict[str, Role]:
    """Who has which role: people by id and by group, scripts by their own id."""
    from bot.domain.operation import SCRIPTS
    from bot.flow.context import Role

    return {
        name: Role(
            frozenset(
                (
                    *role.users,
                    *(
                        f"{SCRIPTS}{script}"
                        for script, each in settings.scripts.items()
                        if name in each.roles
                    ),
                )
            ),
            frozenset(role.groups),
        )
        for name, role in settings.roles.items()
    }


def serve_terminal(
    settings: DroverSettings,
    services: Services,
    accept: Accept,
    languages: Languages,
    *,
    status: Status = dict,
    glass: BreakGlass | None = None,
) -> TerminalServer | None:
    """The bot's own socket; None when it is not wanted."""
    if not settings.terminal.socket:
        return None
    from bot.adapters.terminal.callers import Callers, KnownAgent
    from bot.adapters.terminal.server import TerminalServer
    from bot.flow.commands import agent_answers
    from bot.flow.commands.agents import AgentLimits, Agents
    from bot.flow.commands.terminal import Terminal

    users = {
        user: (person.slack, name)
        for name, person in settings.people.items()
        for user in person.users
    }
    scripts = {name: script.sha256 for name, script in settings.scripts.items()}
    wanted = settings.agents
    known = {
        name: KnownAgent(each.person, each.sha256, each.users)
        for name, each in wanted.known.items()
    }
    limits = AgentLimits(
        wanted.may, wanted.requests_per_minute, wanted.proposals_per_hour, wanted.open_proposals
    )
    agents = Agents(services, limits)
    terminal = Terminal(
        services,
        accept,
        {person.slack: name for name, person in settings.people.items()},
        status=status,
        per_minute=settings.terminal.requests_per_minute,
        glass=glass,
    )
    return TerminalServer(
        Path(settings.terminal.socket),
        Callers(users, scripts, known).identify,
        agent_answers.with_agents(terminal.methods, agents),
        languages,
        group=settings.terminal.group,
    )


def glass_of(
    settings: DroverSettings, silence: Callable[[], float], answers: Callable[[], bool]
) -> BreakGlass | None:
    """What may be done with fewer votes while Slack does not answer; None: nothing."""
    wanted = settings.break_glass
    if not wanted.people:
        return None
    from bot.flow.operations.break_glass import BreakGlass

    people = frozenset(settings.people[name].slack for name in wanted.people)
    return BreakGlass(
        people, wanted.commands, wanted.votes, wanted.after, wanted.lasts, silence, answers
    )


def addresses(settings: DroverSettings) -> list[HostAddress]:
    """How each configured host is reached."""
    from bot.adapters.libvirt import HostAddress

    return [
        HostAddress(
            name=host.name,
            uri=host.uri,
            migrate_uri=host.migrate_uri or host.uri,
            migrate_data_uri=host.migrate_data_uri,
            migrate_tls=host.migrate_tls,
            reserve=host.reserve,
            tags=host.tags,
            storage=tuple(each.as_declared() for each in settings.pools),
        )
        for host in settings.hosts
    ]


def connect_hypervisor(settings: DroverSettings, holds: Holds | None = None) -> LibvirtHypervisor:
    """All configured hosts; nothing is opened before the first question.

    Args:
        settings: checked.
        holds: what is known of hosts that failed; None: nothing, and no power controller is used.

    Raises:
        PowerError: a power controller's configuration cannot work.
        SettingsError: a controller's password cannot be read.
    """
    from bot.adapters.libvirt import LibvirtHypervisor
    from bot.adapters.ssh.hosts import SshHosts

    shells = SshHosts({host.name: _ssh_address(host.ssh) for host in settings.hosts if host.ssh})
    powers = None
    if holds is not None:
        from bot.adapters.powers import ProvenPowers

        powers = ProvenPowers(power_control(settings), holds, SystemClock())
    return LibvirtHypervisor(
        addresses(settings),
        clock=SystemClock(),
        deadline=settings.limits.host_deadline,
        shells=shells,
        powers=powers,
    )


def power_control(settings: DroverSettings) -> PowerControl:
    """The power controllers of all hosts; none is asked yet.

    Raises:
        PowerError: a controller's configuration cannot work.
        SettingsError: a password cannot be read.
    """
    from bot.adapters.fence import FenceControl

    return FenceControl(
        [each for host in settings.hosts for each in _fence_addresses(host)], SystemClock()
    )


def _fence_addresses(host: HostSection) -> Iterator[FenceAddress]:
    from bot.adapters.fence import FenceAddress
    from bot.domain.power import Device

    for number, each in enumerate(host.fence, 1):
        name = each.name or f"{host.name}-{each.agent}-{number}"
        device = Device(host.name, name, each.level, each.shares_power)
        yield FenceAddress(device, each.agent, each.options, each.password(), float(each.deadline))


def _ssh_address(ssh: SshSection) -> SshAddress:
    from bot.adapters.ssh.address import SshAddress

    user, _, place = ssh.to.rpartition("@")
    host, _, port = place.partition(":")
    return SshAddress(host, user, int(port or 22), ssh.key_file, ssh.known_hosts, ssh.proxy_command)


def health_file(settings: DroverSettings) -> Path:
    """Where a running bot says that it is well, for ``drover health``: beside its SQLite file.

    With PostgreSQL it is in ``$RUNTIME_DIRECTORY`` or ``$XDG_RUNTIME_DIR``, else in a folder of the
    user's own.

    Raises:
        StoreError: that folder belongs to somebody else.
    """
    name = f"drover-{settings.replica}.health"
    if (database := database_file(settings)) is not None:
        return database.with_name(f"{database.name}-{settings.replica}.health")
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or os.environ.get(
        "XDG_RUNTIME_DIR", ""
    )
    return Path(given) / name if given else _own_folder() / name


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"drover-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreError(
            words("Other users can write in {folder}.", folder=str(folder)),
            words(
                "Set `RUNTIME_DIRECTORY` to a folder that only the user of the bot can write in."
            ),
        )
    return folder


def head_file(settings: DroverSettings) -> Path:
    """Where it is kept how the audit trail ended, apart from the database.

    Beside the SQLite file. With PostgreSQL in ``$STATE_DIRECTORY``, else where the health file is.

    Raises:
        StoreError: that folder belongs to somebody else.
    """
    if (database := database_file(settings)) is not None:
        return database.with_name(f"{database.name}.head")
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    name = f"drover-{settings.replica}.head"
    return Path(given) / name if given else health_file(settings).with_name(name)


def say_well(settings: DroverSettings, trouble: str = "") -> None:
    """Write down that the bot is well now; ``trouble``: but for this, with the chat.

    Raises:
        StoreError: it cannot be written.
    """
    file = health_file(settings)
    try:
        write_private(file, f"{time.time()}\n{trouble}")
    except OSError as error:
        raise StoreError(
            words(
                "The health file {file} cannot be written: {reason}.",
                file=str(file),
                reason=str(error.strerror),
            ),
            words("Give the user of the bot write permission there."),
        ) from error


def health_problem(settings: DroverSettings) -> Message:
    """Why no healthy bot is running here; '' when one is."""
    file = health_file(settings)
    try:
        said = float(read_private(file).partition("\n")[0])
    except FileNotFoundError:
        return words("No bot has started here: there is no file {file}.", file=str(file))
    except (OSError, ValueError) as error:
        return words(
            "The health file {file} cannot be read: {reason}.", file=str(file), reason=str(error)
        )
    age = time.time() - said
    if age <= HEALTHY:
        return ""
    return words("The last sign of health of the bot is {age} old.", age=Duration(round(age)))


def chat_trouble(settings: DroverSettings) -> str:
    """Why the running bot cannot reach the chat, in English; '' while it can, or none runs here."""
    try:
        return read_private(health_file(settings)).partition("\n")[2].strip()
    except (OSError, ValueError):
        return ""
