"""The configuration: one TOML file, environment variables over it, checked whole at start."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariableError

from bot.domain import policy as policies
from bot.domain.errors import SettingsError, UnfitError
from bot.domain.message import Code, words
from bot.domain.metrics import AlertSeverity
from bot.domain.plan import Risk
from bot.domain.storage import Declared
from bot.setting_values import Bytes, Seconds, Zone, complaints, shape

DEFAULT_FILE = "config/drover.toml"


_COMMAND = shape(
    r"/[a-z0-9_-]{1,31}",
    words("write a slash and up to 31 lower-case letters, digits, `-` and `_`, such as `/kvm`"),
)
_APP = shape(r"[\w .-]{1,35}", words("write up to 35 letters, digits, spaces, `.`, `-` and `_`"))
_ADDRESS = shape(r"(https?://\S+)?", words("write an address that begins with https://"))
_SSH = shape(r"([^@\s:]+@)?[^@\s:]+(:\d{1,5})?", words("write host, user@host or user@host:port"))
_AGENT = shape(
    r"[a-z0-9_]{1,40}", words("write redfish, or the name of an agent such as `fence_ipmilan`")
)
_NAME = words("write up to 40 letters, digits, `.`, `-` and `_`, a letter or a digit first")
_DEVICE = shape(r"([a-zA-Z0-9][a-zA-Z0-9._-]{0,62})?", _NAME)
_WINDOW = shape(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,40}", _NAME)
_HOST = shape(
    r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?",
    words("write up to 63 letters, digits, `.` and `-`, a letter or a digit first and last"),
)
_PATH = shape(r"(/.*)?", words("write a path that begins with /"))
_PLACE = shape(
    r"(/.*|[a-z]+://.*)?",
    words("write a path that begins with /, or where a network disk is, such as `nbd://localhost`"),
)
_MEMBER = shape(
    r"[UW][A-Z0-9]{2,}",
    words("write the person's member ID, such as U0123ABCD: Slack's profile has it under ⋮"),
)
_DIGEST = words("write a SHA-256 as 64 digits of 0 to 9 and a to f")
_SHA256, _MAYBE_SHA256 = shape(r"[0-9a-f]{64}", _DIGEST), shape(r"([0-9a-f]{64})?", _DIGEST)
_WAY = shape(r"[\w. -]{1,40}", words("write up to 40 letters, digits, spaces, `.`, `-` and `_`"))
_CALLER = shape(
    r"[a-z0-9][a-z0-9_-]{0,39}",
    words("write up to 40 lower-case letters, digits, `-` and `_`, a letter or a digit first"),
)
_LOCALE = shape(
    r"[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*", words("write a language such as `en` or `pt_BR`")
)


class Section(BaseModel):
    """A table of the file; a key nobody knows is an error.

    So that a typing slip is not a silent default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class SlackSection(Section):
    """The workspace. Tokens come from the environment or from files, never from the TOML file.

    ``name``: the app's, for the manifest: people mention it.
    ``request_url``: where Slack reaches the proxy in front of HTTP mode, for the manifest.
    ``pace``: how many times faster than slack.com's the server's rate limits are; more than 1 only
    for a local workspace that was told so too.
    """

    command: Annotated[str, _COMMAND] = "/kvm"
    name: Annotated[str, _APP] = "Drover"
    mode: Literal["socket", "http"] = "socket"
    team: str = ""
    ops_channel: str = ""
    approvals_channel: str = ""
    api_url: str = "https://slack.com/api/"
    http_host: str = "127.0.0.1"
    http_port: int = 3000
    request_url: Annotated[str, _ADDRESS] = ""
    requests_per_minute: int = 30
    group_cache: Seconds = 300
    pace: Annotated[float, Field(gt=0)] = 1.0
    bot_token: SecretStr = SecretStr("")
    app_token: SecretStr = SecretStr("")
    signing_secret: SecretStr = SecretStr("")


class DatabaseSection(Section):
    """Where operations live: SQLite by default, PostgreSQL for several replicas."""

    url: str = "sqlite:///var/drover.sqlite"


class SshSection(Section):
    """How a host's shell is reached, for what libvirt does not tell.

    ``to`` is ``user@host`` or ``user@host:port``.

    ``key_file`` '' tries the agent and the user's keys; ``known_hosts`` '' is the user's own;
    unknown keys are refused.
    """

    to: Annotated[str, _SSH]
    key_file: str = ""
    known_hosts: str = ""
    proxy_command: str = ""


def _ssh(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class FenceSection(Section):
    """A power controller of a host: a fence agent's name, or ``redfish``; ``options`` are its own.

    Controllers of one ``level`` must all read off before the host is off; levels are tried in
    order.
    ``shares_power``: it has no power when its host has none, as a BMC; a PDU has its own.
    The password is in ``password_file``, or in the environment variable that ``password_env``
    names.
    """

    agent: Annotated[str, _AGENT]
    name: Annotated[str, _DEVICE] = ""
    level: Annotated[int, Field(ge=1, le=9)] = 1
    options: dict[str, str] = Field(default_factory=dict)
    password_file: str = ""
    password_env: str = ""
    shares_power: bool = True
    deadline: Annotated[Seconds, Field(ge=1, le=120)] = 20

    def password(self) -> str:
        """The password; '' when none is configured.

        Raises:
            SettingsError: the file cannot be read, or the variable is not set.
        """
        if self.password_file:
            # no message: beside the English of pydantic
            return _read_secret(self.password_file, "password_file of a power controller")
        if not self.password_env:
            return ""
        if self.password_env not in os.environ:
            raise SettingsError(
                words(
                    "The environment variable {name} of a power controller is not set.",
                    name=Code(self.password_env),
                ),
                words("Set it, or use `password_file`."),
            )
        return os.environ[self.password_env]


class HostSection(Section):
    """One hypervisor: how the bot reaches it, and how other hosts reach it for a migration."""

    name: Annotated[str, _HOST]
    uri: str
    migrate_uri: str = ""
    migrate_data_uri: str = ""
    migrate_tls: bool = False
    ssh: Annotated[SshSection | None, BeforeValidator(_ssh)] = None
    reserve: Bytes = 0
    tags: dict[str, str] = Field(default_factory=dict)
    fence: tuple[FenceSection, ...] = ()


class PoolSection(Section):
    """Whether hosts share a storage.

    A pool by its ``name``, or every path that is, or lies below, ``path``.

    ``path`` may have wildcards, such as ``/dev/drbd*``, and may be where a network disk is, such as
    ``nbd://localhost``, which hosts take for their own. ``hosts``: on which hosts; empty means on
    all.
    """

    name: str = ""
    path: Annotated[str, _PLACE] = ""
    shared: bool
    hosts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> PoolSection:
        if bool(self.name) is bool(self.path):
            raise UnfitError(words("give the name of a pool or a path, one of the two"))
        return self

    def as_declared(self) -> Declared:
        """The domain's value."""
        return Declared(self.name, self.path, self.shared, frozenset(self.hosts))


class RoleSection(Section):
    """People with a role: user ids, user groups (ids or handles).

    Also the commands they may use (patterns).
    """

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


class TerminalSection(Section):
    """The bot's own socket for `drover do` and the like; ``socket`` '': none.

    Members of ``group`` may connect beside the bot's own user.
    """

    socket: Annotated[str, _PATH] = ""
    group: str = ""
    requests_per_minute: Annotated[int, Field(ge=1)] = 120


class PersonSection(Section):
    """One person on both surfaces: the user id in Slack, and the users of the bot's machine."""

    slack: Annotated[str, _MEMBER]
    users: tuple[str, ...] = ()


class ScriptSection(Section):
    """A script that asks with a token: the token's SHA-256 in hexadecimal, and its roles."""

    sha256: Annotated[str, _SHA256]
    roles: tuple[str, ...] = ()


class BreakGlassSection(Section):
    """Who may act with fewer votes while Slack does not answer, for which commands (patterns).

    ``people``: names of [people]; nobody: it is off. ``after``: so long Slack must have been out of
    reach. ``lasts``: so long it holds.
    """

    people: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    votes: Annotated[int, Field(ge=0, le=10)] = 1
    after: Annotated[Seconds, Field(ge=60)] = 300
    lasts: Annotated[Seconds, Field(ge=60, le=86400)] = 3600


class WindowSection(Section):
    """Times of the week."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    start: time = time(0)
    end: time = time(0)
    zone: Zone = "UTC"


class MaintenanceWindowSection(Section):
    """A maintenance window: ``--window NAME`` runs an approved operation in it.

    ``zone`` left out: that of the site.
    """

    name: Annotated[str, _WINDOW]
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    start: time
    end: time
    zone: Zone = ""

    def window(self, zone: str) -> policies.Window:
        """The domain's value."""
        return policies.Window(self.days, self.start, self.end, self.zone or zone)


class RuleSection(Section):
    """One rule of the policy; the first rule whose conditions all hold decides.

    Conditions: ``commands`` (patterns), ``risks``, ``tags``, ``hosts``, sizes of the plan
    (``min_vms``, ``min_memory``, ``max_vms``, ``max_memory``), ``window``, and ``automatic``: what
    a watch means to do by itself. It asks for ``votes`` of people with a role of ``approvers``
    within ``expires``; people of ``fallback`` count too after ``fallback_after``. ``freeze``
    refuses instead, because of ``why``.
    """

    name: str
    commands: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    tags: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    min_vms: int = 0
    min_memory: Bytes = 0
    max_vms: Annotated[int, Field(ge=0)] = 0
    max_memory: Bytes = 0
    automatic: bool = False
    via: Literal["", "agent", "script", "terminal"] = ""
    window: WindowSection | None = None
    votes: Annotated[int, Field(ge=0, le=10)] = 1
    approvers: tuple[str, ...] = ("approver",)
    expires: Annotated[Seconds, Field(ge=10)] = 3600
    fallback: tuple[str, ...] = ()
    fallback_after: Seconds = 0
    freeze: bool = False
    why: str = ""

    def rule(self) -> policies.Rule:
        """The domain's value."""
        window = policies.Window(**self.window.model_dump()) if self.window else None
        fields: dict[str, Any] = self.model_dump(exclude={"window"})
        return policies.Rule(**fields, window=window)


class PolicySection(Section):
    """Who may ask, and what it takes.

    ``approval_lasts``: so long after the approval an operation may begin. ``scheduled_grace``: so
    long after its time one with a time of its own. ``remind_before``: so long before its time
    people are reminded that votes are missing; 0: never.

    ``hold_after``: when no bot ran for so long, operations that were running wait for a person.
    """

    everyone: tuple[str, ...] = ("help",)
    approval_lasts: Annotated[Seconds, Field(ge=60)] = 3600
    hold_after: Annotated[Seconds, Field(ge=60)] = 600
    scheduled_grace: Annotated[Seconds, Field(ge=60)] = 900
    remind_before: Annotated[Seconds, Field(ge=0)] = 1800
    rules: tuple[RuleSection, ...] = (RuleSection(name="default"),)


class LimitsSection(Section):
    """How much at once, and how long to wait."""

    host_deadline: float = 5.0
    handlers: Annotated[int, Field(ge=1, le=64)] = 4
    moves_per_host: Annotated[int, Field(ge=1, le=16)] = 1
    unreachable_patience: Seconds = 600
    progress_every: float = 2.0


class MonitorSection(Section):
    """What is measured, how often, and how long it is kept.

    ``every``: seconds between sweeps; of more than 2000 VMs every second one is left out.
    ``slow_every``: sweeps between looks at memory and I/O.
    ``inventory_every``: how often it is looked which VMs are on which hosts, and who answers.

    ``settle``: how long after a move until the load that it brought is measured.
    ``queries``: PromQL instead of the usual, by what it is asked for, such as ``host:cpu``.
    """

    every: Annotated[Seconds, Field(ge=1)] = 15
    slow_every: Annotated[int, Field(ge=1)] = 4
    inventory_every: Annotated[Seconds, Field(ge=2)] = 15
    settle: Annotated[Seconds, Field(ge=1)] = 60
    source: Literal["libvirt", "prometheus"] = "libvirt"
    prometheus_url: str = "http://127.0.0.1:9090"
    keep_raw: Annotated[Seconds, Field(ge=7200)] = 2 * 86400
    keep: Annotated[Seconds, Field(ge=86400)] = 365 * 86400
    pressure_every: Annotated[Seconds, Field(ge=10)] = 60
    queries: dict[str, str] = Field(default_factory=dict)
    digest_channel: str = ""


class MetricsSection(Section):
    """Drover's own ``/metrics`` and ``/healthz``; port 0 serves none."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class TellSection(Section):
    """Another way than the chat by which people are told: addresses as apprise writes them.

    The addresses are secrets: they stand, a line each, in ``urls_file``, or in the environment
    variable that ``urls_env`` names. ``severities``: of the alerts that are told always; all alerts
    and proposals are told while the chat is out of reach. ``proposals_after``: how long a proposal
    may wait for votes before it is told; 0: for ever.
    """

    name: Annotated[str, _WAY]
    urls_file: str = ""
    urls_env: str = ""
    severities: tuple[AlertSeverity, ...] = (AlertSeverity.CRITICAL,)
    proposals_after: Annotated[Seconds, Field(ge=0)] = 900

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, given: object) -> object:
        if isinstance(given, Mapping) and {"url", "urls"} & set(given):
            raise UnfitError(
                words(
                    "addresses are secrets and do not belong into this file; name a file that "
                    "holds them with urls_file, or an environment variable with urls_env"
                )
            )
        return given

    def urls(self) -> tuple[str, ...]:
        """The addresses.

        Raises:
            SettingsError: they cannot be read, or there is none.
        """
        found = secret_of("tell.urls", self.urls_file, self.urls_env)
        return tuple(line.strip() for line in found.splitlines() if line.strip())


class FixSection(Section):
    """A command that is offered under alerts whose name fits the shell pattern ``alert``.

    ``{host}`` and ``{vm}`` in ``command`` stand for what the alert's labels name.
    """

    alert: str
    text: Annotated[str, Field(min_length=1, max_length=60)]
    command: str


class AlertmanagerSection(Section):
    """A webhook by which a site's Alertmanager makes incidents; port 0: none.

    The token that it must send is in ``token_file``, or in the environment variable that
    ``token_env`` names. ``host_labels`` and ``vm_labels``: those that name a host or a VM.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    token_file: str = ""
    token_env: str = ""
    requests_per_minute: Annotated[int, Field(ge=1)] = 60
    host_labels: tuple[str, ...] = ("host", "node", "instance", "hostname")
    vm_labels: tuple[str, ...] = ("vm", "domain", "guest")
    fixes: tuple[FixSection, ...] = ()

    def token(self) -> str:
        """The token.

        Raises:
            SettingsError: it cannot be read, or there is none.
        """
        return secret_of("alertmanager.token", self.token_file, self.token_env)


class AgentSection(Section):
    """An agent and the user id of its person; its name stands on its proposals.

    It is known by a token, of which the SHA-256 in hexadecimal stands here, or by a user of the
    bot's machine who then is that agent and nothing else.
    """

    person: Annotated[str, _MEMBER]
    sha256: Annotated[str, _MAYBE_SHA256] = ""
    users: tuple[str, ...] = ()


class AgentsSection(Section):
    """What agents may do for people: see ``docs/how-to/agents.md``.

    ``may``: patterns of commands, of those that the person may use; empty: agents may do nothing.
    """

    may: tuple[str, ...] = ("*",)
    requests_per_minute: Annotated[int, Field(ge=1)] = 60
    proposals_per_hour: Annotated[int, Field(ge=1)] = 20
    open_proposals: Annotated[int, Field(ge=1, le=100)] = 3
    known: dict[Annotated[str, _CALLER], AgentSection] = Field(default_factory=dict)


class PluginsSection(BaseModel):
    """Which plugins to load, and a table for each, checked by the plugin's own model."""

    model_config = ConfigDict(extra="allow", frozen=True)
    enabled: tuple[str, ...] = (
        "host_check",
        "vm_lifecycle",
        "migrate",
        "balance",
        "monitor",
        "failover",
    )

    def tables(self) -> Mapping[str, Any]:
        """The plugins' raw tables by name."""
        return dict(self.model_extra or {})


class DroverSettings(BaseSettings):
    """Everything the bot is told from outside."""

    model_config = SettingsConfigDict(
        env_prefix="DROVER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
    )

    slack: SlackSection = SlackSection()
    database: DatabaseSection = DatabaseSection()
    hosts: tuple[HostSection, ...] = ()
    pools: tuple[PoolSection, ...] = ()
    roles: dict[str, RoleSection] = Field(default_factory=dict)
    policy: PolicySection = PolicySection()
    windows: tuple[MaintenanceWindowSection, ...] = ()
    limits: LimitsSection = LimitsSection()
    plugins: PluginsSection = PluginsSection()
    monitor: MonitorSection = MonitorSection()
    metrics: MetricsSection = MetricsSection()
    agents: AgentsSection = AgentsSection()
    tell: tuple[TellSection, ...] = ()
    alertmanager: AlertmanagerSection = AlertmanagerSection()
    terminal: TerminalSection = TerminalSection()
    break_glass: BreakGlassSection = BreakGlassSection()
    people: dict[str, PersonSection] = Field(default_factory=dict)
    scripts: dict[Annotated[str, _CALLER], ScriptSection] = Field(default_factory=dict)
    zone: Zone = "UTC"
    locale: Annotated[str, _LOCALE] = "en"
    replica: str = "drover-1"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the shape pydantic-settings calls
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file (the file arrives as init values)."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> DroverSettings:
        for name in _twice(each.name for each in self.tell):
            raise UnfitError(words("two tables of tell are called “{name}”", name=name))
        for name in _twice(host.name for host in self.hosts):
            raise UnfitError(words("two hosts are called “{name}”", name=name))
        for name in _twice(window.name for window in self.windows):
            raise UnfitError(words("two windows are called “{name}”", name=name))
        # Without any role there is nothing to check against: `plugins` and `manifest` need no
        # configuration at all.
        for rule in self.policy.rules if self.roles else ():
            _check_rule(rule, set(self.roles), self.roles)
        for name in (each for each in self.break_glass.people if each not in self.people):
            raise UnfitError(
                words("break_glass names “{name}”, and [people] has nobody of that name", name=name)
            )
        _check_callers(self.people, self.scripts, self.roles)
        _check_agents(self.people, self.agents.known)
        return self

    def maintenance_windows(self) -> Mapping[str, policies.Window]:
        """The maintenance windows by name, as the domain's values."""
        return {each.name: each.window(self.zone) for each in self.windows}

    def domain_policy(self) -> policies.Policy:
        """Roles and rules as the domain's value."""
        grants = {name: role.may for name, role in self.roles.items()}
        rules = tuple(rule.rule() for rule in self.policy.rules)
        return policies.Policy(grants, self.policy.everyone, rules, self.policy.approval_lasts)


def _twice(names: Iterable[str]) -> tuple[str, ...]:
    """The names that stand there more than once."""
    found = list(names)
    return tuple(each for each in dict.fromkeys(found) if found.count(each) > 1)


def _check_callers(
    people: Mapping[str, PersonSection],
    scripts: Mapping[str, ScriptSection],
    roles: Mapping[str, RoleSection],
) -> None:
    """Refuses a user of the machine, or of Slack, that would be two people."""
    users = [user for person in people.values() for user in person.users]
    ids = [person.slack for person in people.values()]
    for same in _twice((*users, *ids)):
        raise UnfitError(words("two of [people] are “{who}”", who=same))
    for name, script in scripts.items():
        for role in (each for each in script.roles if each not in roles):
            raise UnfitError(
                words(
                    "script “{script}” has the role “{role}”, and [roles] has no such role",
                    script=name,
                    role=role,
                )
            )


def _check_agents(people: Mapping[str, PersonSection], known: Mapping[str, AgentSection]) -> None:
    """Refuses an agent that nobody could tell from another, or from a person."""
    users = [user for each in people.values() for user in each.users]
    users += [user for each in known.values() for user in each.users]
    for same in _twice(users):
        raise UnfitError(
            words("the user “{user}” is two of [people] and [agents.known]", user=same)
        )
    for same in _twice(each.sha256 for each in known.values() if each.sha256):
        raise UnfitError(words("two agents have the token {start}…", start=same[:8]))
    for name, agent in known.items():
        if not agent.sha256 and not agent.users:
            raise UnfitError(words("the agent “{agent}” has neither sha256 nor users", agent=name))


def _check_rule(rule: RuleSection, known: set[str], roles: Mapping[str, RoleSection]) -> None:
    """Refuses rules that can never be met, at start rather than at two in the morning."""
    if rule.freeze or not rule.votes:
        return
    unknown = [role for role in (*rule.approvers, *rule.fallback) if role not in known]
    if unknown:
        raise UnfitError(
            words(
                "rule “{rule}” asks for the role “{role}”, and [roles] has no such role",
                rule=rule.name,
                role=unknown[0],
            )
        )
    wanted = (*rule.approvers, *rule.fallback)
    people = {user for role in wanted for user in roles[role].users}
    if not any(roles[role].groups for role in wanted) and len(people) < rule.votes:
        raise UnfitError(
            words(
                "rule “{rule}” asks for more votes ({votes}) than people have its roles ({people})",
                rule=rule.name,
                votes=rule.votes,
                people=len(people),
            )
        )
    if rule.fallback and not rule.fallback_after:
        raise UnfitError(
            words("rule “{rule}” names fallback approvers but no fallback_after", rule=rule.name)
        )


def load(path: Path | None = None, *, needed: bool = False) -> DroverSettings:
    """The checked configuration.

    Args:
        path: the TOML file; None: ``$DROVER_CONFIG`` or ``config/drover.toml`` where it exists.
        needed: that it does not exist is an error, even when nobody named it.

    Raises:
        SettingsError: with the first things that are wrong, each by its key.
    """
    chosen = path or Path(os.environ.get("DROVER_CONFIG", DEFAULT_FILE))
    if not chosen.exists():
        if needed or path or "DROVER_CONFIG" in os.environ:
            raise SettingsError(
                words("There is no configuration file {path}.", path=str(chosen)),
                words(
                    "`drover init` asks for all it needs and writes it. `drover demo` needs none."
                ),
            )
        table: dict[str, Any] = {}
    else:
        table = _table(chosen)
    url = _secret("DATABASE_URL")
    try:
        settings = DroverSettings(**_with_secrets(table))
        # `DROVER_DATABASE__URL` is a default too: the image and the unit set it
        given = {"database": DatabaseSection(url=url)} if url else {}
        return settings.model_copy(update=given)
    except UnreadableVariableError as error:
        # Its text names the field; what is behind it holds the value
        raise SettingsError(
            words("A variable of the environment is wrong: {reason}.", reason=str(error)),
            words("Write what it sets in {path} instead.", path=str(chosen)),
        ) from None
    except ValidationError as error:
        raise SettingsError(
            words(
                "{path} is wrong: {complaints}.",
                path=str(chosen),
                complaints=complaints(error, DroverSettings, words("the file")),
            ),
            words("`config/drover.example.toml` shows every key."),
        ) from error


def _table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            words("{path} cannot be read: {reason}.", path=str(path), reason=str(error)),
            words("See `config/drover.example.toml`."),
        ) from error
    written = [
        key for key in ("bot_token", "app_token", "signing_secret") if key in table.get("slack", {})
    ]
    if written:
        raise SettingsError(
            words(
                "{path} contains the secret {name}.",
                path=str(path),
                name=Code(f"slack.{written[0]}"),
            ),
            words(
                "Remove it from the file, and set {variable} or {file} instead.",
                variable=Code(f"SLACK_{written[0].upper()}"),
                file=Code(f"SLACK_{written[0].upper()}_FILE"),
            ),
        )
    return table


def _with_secrets(table: dict[str, Any]) -> dict[str, Any]:
    """The table with secrets from the environment or from files it names."""
    slack = dict(table.get("slack", {}))
    for key in ("bot_token", "app_token", "signing_secret"):
        if value := _secret(f"SLACK_{key.upper()}"):
            slack[key] = value
    return {**table, "slack": slack}


def token() -> str:
    """The token with which this process calls the bot: ``DROVER_TOKEN``, or a file it names.

    Raises:
        SettingsError: the file cannot be read.
    """
    return _secret("DROVER_TOKEN")


def _secret(name: str) -> str:
    if file := os.environ.get(f"{name}_FILE"):
        return _read_secret(file, f"{name}_FILE")
    return os.environ.get(name, "")


def secret_of(what: str, file: str, variable: str) -> str:
    """A secret from the file, or from the environment variable, that a table names.

    Args:
        what: its key, for messages, such as ``tell.urls``.
        file: a path, or ''.
        variable: a name, or ''.

    Raises:
        SettingsError: neither names one, it cannot be read, or it is empty.
    """
    found = _read_secret(file, what) if file else os.environ.get(variable, "").strip()
    if not found:
        raise SettingsError(
            words("The secret of {key} is missing.", key=Code(what)),
            words("Name a file or an environment variable that holds it."),
        )
    return found


def _read_secret(file: str, name: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        # Without the path: whoever put the secret itself there must not read it in a log
        reason = (isinstance(error, OSError) and error.strerror) or words("it is no file of text")
        raise SettingsError(
            words("{path} cannot be read: {reason}.", path=name, reason=reason),
            words("It is the path of a file that holds the secret, not the secret."),
        ) from None
