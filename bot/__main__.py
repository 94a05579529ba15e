"""The command line: run the bot, try it, check it, plan without touching anything."""

from __future__ import annotations

import gc
import json
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot import settings as configuration
from bot.domain import codec
from bot.domain.card import said_elsewhere
from bot.domain.cluster import Snapshot
from bot.domain.errors import DroverError, UsageError, word_too_many
from bot.domain.message import Code, Duration, Message, join, nwords, words
from bot.domain.plan import Plan, Refused
from bot.domain.steps import MigrateVm
from bot.domain.suggest import nearest
from bot.log_lines import configure_logging

if TYPE_CHECKING:
    from bot.adapters.sql.store import SqlStore
    from bot.plugin_api import Action

FENCED = 3
"""Exit code of a replica that another one replaced; its supervisor should start it again."""
_GIVES_WAY = b"\0"  # no signal has this number
_LONGEST_END = 9.5  # seconds from the signal to the end of the process


class Line(click.Group):
    """Everything that is typed behind ``drover``; what is wrong in it is told as our own errors."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # Any: as click declares it
    ) -> click.Context:
        """Read the options before the command."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            raise _in_own_words(error, list(args)) from None

    def invoke(self, ctx: click.Context) -> Any:  # Any: as click declares it
        """Read the command and run it."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _in_own_words(error, sys.argv[1:]) from None


def _in_own_words(error: click.ClickException, line: list[str]) -> Exception:
    """What is wrong with a line, and where its usage is told; help that was asked for stays."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) or not isinstance(
        error, click.UsageError
    ):
        return error
    from bot.flow.commands.parse import extra_word, slip

    context = error.ctx or click.Context(drover, info_name="drover")
    for name in context.command_path.split()[1:]:
        line = line[line.index(name) + 1 :] if name in line else line
    if isinstance(error, click.exceptions.NoSuchCommand):
        near = nearest(error.command_name, error.possibilities or ())
        said = join((words("There is no command “{name}”.", name=error.command_name), near))
    elif extra := extra_word(context.command, line, error):
        said = word_too_many(extra)
    else:
        said = slip(error, context.command)
    usage = Code(f"{context.command_path} --help")
    return UsageError(said, words("{usage} tells how it is used.", usage=usage))


@click.group(
    cls=Line,
    context_settings={"max_content_width": 100},
    help=str(words("Run a cluster of KVM hosts from chat, safely.")),
    epilog=str(
        words("From a checkout, `./drover test` runs all tests; it hands its arguments to pytest.")
    ),
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help=str(words("The TOML file (default: config/drover.toml).")),
)
@click.pass_context
def drover(context: click.Context, config: Path | None) -> None:
    """Run a cluster of KVM hosts from chat, safely."""
    context.obj = config


@drover.command(help=str(words("Run the bot until SIGTERM or Ctrl-C.")))
@click.pass_obj
def run(config: Path | None) -> None:
    """Run the bot until SIGTERM or Ctrl-C."""
    # A start makes much and drops little: looking for garbage meanwhile is a sixth of its time
    gc.disable()
    from bot.adapters.service_manager import READY, notify
    from bot.app import Drover
    from bot.garbage import collect_old_by_the_clock

    # Python hands a signal to its main thread alone; the system may interrupt another one, and the
    # main thread would sleep on. What the system writes to a socket wakes it in any case.
    woken, wakes = socket.socketpair()
    wakes.settimeout(0)
    signal.set_wakeup_fd(wakes.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    os.umask(0o077)  # whatever file the bot makes is for its own user
    settings = _settings_of(config)
    for name in [
        each
        for each in os.environ
        if each.startswith("SLACK_") and each.endswith(("_TOKEN", "_SECRET"))
    ]:
        del os.environ[name]  # read by now; no child process, such as ssh, has a use for them

    def give_way() -> None:
        wakes.send(_GIVES_WAY)

    bot = Drover(settings, on_fenced=give_way)
    bot.start()
    gc.freeze()
    collect_old_by_the_clock()
    gc.enable()
    notify(READY)
    _echo(words("Drover is running. Stop it with Ctrl-C."))
    if _end_of(woken) == _GIVES_WAY:
        _echo(
            words(
                "drover: another process took over from this one, the replica “{replica}”. "
                "This one did not report for too long, or two use the same name. "
                "Start it again under a name of its own.",
                replica=settings.replica,
            ),
            err=True,
        )
        os._exit(FENCED)  # what it was at must not go on beside its successor
    _end_for_sure()
    bot.stop()
    logging.shutdown()
    sys.stdout.flush()
    # Python's own end would wait for a thread that follows a migration or asks a host that hangs,
    # and close the connections to such hosts. The migration goes on, and so will the next start.
    os._exit(0)


def _end_of(woken: socket.socket) -> bytes:
    """Wait for what ends the bot; other signals that are handled arrive here too."""
    ends = (_GIVES_WAY, bytes((signal.SIGTERM,)), bytes((signal.SIGINT,)))
    while (told := woken.recv(1)) not in ends:
        pass
    return told


def _end_for_sure() -> None:
    """End the process in ten seconds whatever hangs: what is left, the next start takes up."""
    last = threading.Timer(_LONGEST_END, os._exit, (0,))
    last.daemon = True
    last.start()


@drover.command(
    help=str(
        words(
            "Start a real cluster, a local workspace and the bot on this machine, "
            "and do the main job once."
        )
    )
)
@click.option(
    "--exit",
    "leave",
    is_flag=True,
    help=str(words("Stop after the transcript. The exit code is 0 only if every step happened.")),
)
@click.option(
    "--hosts",
    default=3,
    show_default=True,
    type=click.IntRange(2, 6),
    help=str(words("Number of real hosts to start.")),
)
@click.option(
    "--port", default=0, help=str(words("Port of the workspace's page (default: any free port)."))
)
@click.option(
    "--locale",
    default="en",
    show_default=True,
    help=str(words("Language of the people in it: en or pt_BR.")),
)
@click.option(
    "--plugin",
    "plugins",
    metavar="NAME",
    multiple=True,
    help=str(words("Load this plugin too: an entry point, or a module on PYTHONPATH. Repeatable.")),
)
def demo(*, leave: bool, hosts: int, port: int, locale: str, plugins: tuple[str, ...]) -> None:
    """Start the demo."""
    try:
        from bot.demo import perform
    except ModuleNotFoundError as error:
        # The wheel holds neither the lab nor what the lab needs
        raise DroverError(
            words(
                "The demo needs a checkout of Drover: the module {module} is not installed.",
                module=Code(str(error.name)),
            ),
            words("Clone the repository, then run `./drover demo` there."),
        ) from error

    perform(leave=leave, hosts=hosts, port=port, locale=locale, plugins=plugins)


@drover.command(
    help=str(
        words(
            "Set up: ask for hosts, channels and people, try every connection, and write "
            "the configuration.\n\n"
            "What an option gives is not asked for. It prints the least commands that the hosts "
            "need, and the manifest of the Slack app."
        )
    )
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help=str(
        words(
            "A host: `host-a`, `drover@host-a:22`, `host-a=10.0.0.1` or `host-a=qemu+tls://…`. "
            "May be repeated."
        )
    ),
)
@click.option(
    "--approvals-channel",
    default="",
    metavar="C…",
    help=str(words("Id of the channel for proposals.")),
)
@click.option(
    "--ops-channel",
    default="",
    metavar="C…",
    help=str(words("Id of the channel for alerts and digests.")),
)
@click.option(
    "--engineer",
    "engineers",
    multiple=True,
    metavar="U…",
    help=str(words("Who may ask: a person or a user group. May be repeated.")),
)
@click.option(
    "--approver",
    "approvers",
    multiple=True,
    metavar="U…",
    help=str(words("Who may approve: a person or a user group. May be repeated.")),
)
@click.option(
    "--key",
    "key_file",
    default="",
    metavar="FILE",
    help=str(words("The SSH key of the bot (default: the usual one; it is made if needed).")),
)
@click.option(
    "--zone",
    default="UTC",
    show_default=True,
    help=str(words("Time zone of digests and schedules.")),
)
@click.option(
    "--locale",
    default="en",
    show_default=True,
    help=str(words("Language of the channels: en or pt_BR.")),
)
@click.option(
    "--trust-host-keys",
    is_flag=True,
    help=str(words("Take the SSH keys that the hosts show now for theirs, without asking.")),
)
@click.option(
    "--force", is_flag=True, help=str(words("Replace a configuration that exists already."))
)
@click.pass_obj
def init(config: Path | None, /, **given: Any) -> None:
    """Set up; exit with 1 when a connection failed."""
    from bot.setup.dialog import Given, Setup

    file = config or Path(os.environ.get("DROVER_CONFIG", configuration.DEFAULT_FILE))
    if not Setup(Given(**given), file, _translate).run():
        sys.exit(1)


@drover.command(
    help=str(
        words(
            "Check the configuration, explain the policy, and try every connection. "
            "The exit code is 1 when something is wrong."
        )
    )
)
@click.option("--json", "as_json", is_flag=True, help=str(words("Print JSON, for scripts.")))
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    help=str(words("Write the current state of the cluster to this file.")),
)
@click.option(
    "--offline", is_flag=True, help=str(words("Check only the configuration; connect to nothing."))
)
@click.option(
    "--verbose", is_flag=True, help=str(words("Show also what passed, and every command by name."))
)
@click.pass_obj
def check(
    config: Path | None, *, as_json: bool, save: Path | None, offline: bool, verbose: bool
) -> None:
    """Print what is checked; exit with 1 when something is wrong."""
    from bot import check as checks

    settings = _settings_of(config)
    findings = checks.offline(settings) + ([] if offline else checks.online(settings, save))
    if as_json:
        told = [each.data for each in findings]
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        say = partial(_translate, folders=_translations(settings))
        click.echo(checks.report(findings, verbose=verbose, say=say))
    if not all(each.ok for each in findings):
        sys.exit(1)


@drover.command(
    context_settings={"ignore_unknown_options": True},
    help=str(
        words(
            "Plan a COMMAND as chat would, without doing anything.\n\n"
            "For example `drover plan migrate web-1 to host-b`, or, without any host, "
            "`drover plan balance --cluster config/clusters/uneven.txt`."
        )
    ),
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--cluster",
    type=click.Path(exists=True, path_type=Path),
    help=str(words("Read the cluster from a file: saved by `check --save`, or drawn.")),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=str(words("Write the moves to this file, one line `vm target` each.")),
)
@click.option("--json", "as_json", is_flag=True, help=str(words("Print the whole plan as JSON.")))
@click.pass_obj
def plan(
    config: Path | None,
    command: tuple[str, ...],
    cluster: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Plan a command, and print the plan."""
    from bot.cluster_files import snapshot_from
    from bot.factories import load_catalog
    from bot.flow.commands.parse import parse
    from bot.plugin_api import Action

    settings = configuration.load(config) if cluster else _settings_of(config)
    catalog = load_catalog(settings)
    found = parse(catalog, "drover plan", shlex.join(command))
    if found.help:
        click.echo(found.help)
        return
    if not isinstance(found.command, Action):
        raise UsageError(
            words("`{command}` only reads: there is nothing to plan.", command=found.command.name),
            words("While the bot runs, type {do}.", do=Code(f"drover do {found.command.name}")),
        )
    intent = found.intent
    if cluster:
        seen = snapshot_from(cluster, catalog.codec())
    else:
        seen, intent = _live(settings, found.command, intent)
    began = time.monotonic()
    planned = found.command.plan(intent, seen, catalog.rules)
    took = time.monotonic() - began
    if out:
        from bot.cluster_files import write_file

        write_file(out, _move_lines(planned))
    if as_json:
        click.echo(json.dumps(codec.data(planned), indent=1, ensure_ascii=False))
    else:
        _print_plan(planned, partial(_translate, folders=catalog.translations))
        _echo(words("  planned in {time}", time=Duration(took)))
    if isinstance(planned, Refused):
        sys.exit(1)


@drover.command(
    help=str(words("Print the manifest of the Slack app, made from the loaded plugins."))
)
@click.pass_obj
def manifest(config: Path | None) -> None:
    """Print the Slack app's manifest, generated from what is loaded."""
    from bot.factories import app_manifest

    click.echo(json.dumps(app_manifest(configuration.load(config)), indent=2, ensure_ascii=False))


@drover.command(help=str(words("List the loaded plugins and their commands.")))
@click.pass_obj
def plugins(config: Path | None) -> None:
    """List the loaded plugins and their commands."""
    from bot.factories import load_catalog

    catalog = load_catalog(configuration.load(config))
    for plugin in catalog.plugins:
        click.echo(plugin)
        for name, command in catalog.commands.items():
            if catalog.owners[name] == plugin:
                click.echo(f"  {name:20} {_translate(command.summary, catalog.translations)}")


@drover.command(
    help=str(
        words(
            "Exit with 0 while a bot runs here and answers (for the health check of a container)."
        )
    )
)
@click.option(
    "--chat",
    is_flag=True,
    help=str(words("Exit with 1 also while Slack is out of reach of a bot that runs.")),
)
@click.pass_obj
def health(config: Path | None, *, chat: bool) -> None:
    """Exit with 0 while a bot runs here and answers."""
    from bot.factories import chat_trouble, health_problem

    settings = _settings_of(config)
    if problem := health_problem(settings):
        raise DroverError(problem, words("See the bot's log."))
    if trouble := chat_trouble(settings):
        _echo(words("The bot runs without Slack. {trouble}", trouble=trouble))
        sys.exit(1 if chat else 0)
    _echo(words("healthy"))


@drover.command(
    help=str(
        words(
            "Send a test message by every way of `tell` in the configuration. "
            "The exit code is 1 when one was not taken."
        )
    )
)
@click.pass_obj
def tell(config: Path | None) -> None:
    """Send a test message by every way other than the chat."""
    from bot.adapters.language import Languages
    from bot.domain.card import Card, Section
    from bot.factories import load_catalog, other_ways

    settings = _settings_of(config)
    languages = Languages(
        settings.locale, load_catalog(settings).translations, settings.slack.command
    )
    ways = other_ways(settings, languages)
    if not ways:
        raise DroverError(
            words("No `[[tell]]` is configured."),
            words("`config/drover.example.toml` shows one."),
        )
    said = words("This is a test. Drover can tell you of alerts here.")
    failed = False
    for way in ways:
        try:
            way.notifier.send(Card(said, words("Test message"), (Section(said),)), None)
            _echo(words("“{name}” took the message.", name=way.name))
        except DroverError as error:
            failed = True
            _echo(join((error.text, error.advice)), err=True)
    if failed:
        sys.exit(1)


@drover.command(
    "mcp",
    help=str(
        words(
            "Let an agent ask, over the Model Context Protocol: at standard input and output, or "
            "with --http on this machine alone. It looks, plans and proposes; people decide."
        )
    ),
)
@click.option(
    "--http",
    "port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help=str(words("Serve HTTP at 127.0.0.1 and this port; each agent has a token.")),
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help=str(words("The bot's socket (default: that of the configuration).")),
)
@click.pass_obj
def mcp(config: Path | None, *, port: int | None, socket: Path | None) -> None:
    """Serve agents; everything they ask goes to the bot's own socket."""
    try:
        from bot.adapters import mcp_server
    except ModuleNotFoundError as error:
        raise DroverError(
            words("The module {module} is not installed.", module=Code(str(error.name))),
            words(
                "Install Drover with it: {command}.", command=Code("pip install 'kvm-drover[mcp]'")
            ),
        ) from error
    from bot.adapters.terminal import client

    path = socket or Path(_settings_of(config).terminal.socket)
    if path == Path():
        raise DroverError(
            words("The bot has no socket."), words("Set `terminal.socket` in the configuration.")
        )

    def ask(token: str, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        return client.result(path, method, params, token=token)

    if port is None:
        mcp_server.serve_stdio(ask, configuration.token())
        return
    try:
        listening = mcp_server.listen(port)
    except OSError as error:
        raise DroverError(
            words(
                "Cannot listen at port {port}: {reason}.",
                port=str(port),
                reason=str(error.strerror),
            ),
            words("Choose another one."),
        ) from error
    mcp_server.serve_http(ask).run(sockets=[listening])


@drover.group(help=str(words("Manage the database.")))
def db() -> None:
    """The database."""


@db.command(help=str(words("Upgrade the database to this version (`run` does it too).")))
@click.pass_obj
def upgrade(config: Path | None) -> None:
    """Bring the database to this version (`run` does it too)."""
    from bot.factories import open_store

    open_store(_settings_of(config)).close()
    _echo(words("The database is up to date."))


@db.command("verify", help=str(words("Do the same as `audit verify`.")))
@click.pass_obj
def db_verify(config: Path | None) -> None:
    """Check the hash chain; exit with 2 when it is broken."""
    _verify(config)


@drover.group(help=str(words("Check or export the audit trail.")))
def audit() -> None:
    """The audit trail."""


@audit.command(
    "verify",
    help=str(
        words(
            "Check the hash chain of the audit trail. "
            "The exit code is 2 when it was tampered with, and the event is named."
        )
    ),
)
@click.pass_obj
def audit_verify(config: Path | None) -> None:
    """Check the hash chain; exit with 2 when it is broken."""
    _verify(config)


@audit.command(help=str(words("Print every event of the audit trail with its hash, oldest first.")))
@click.option(
    "--format", "form", type=click.Choice(("jsonl", "csv")), default="jsonl", show_default=True
)
@click.option(
    "--after",
    default=0,
    help=str(words("Only events after this position: those that an earlier export did not have.")),
)
@click.pass_obj
def export(config: Path | None, form: str, after: int) -> None:
    """Print every event of the audit trail, oldest first, with its hash."""
    from bot import audit as trails

    store = _existing_store(config)
    write = trails.csv_lines if form == "csv" else trails.json_lines
    for line in write(store.trail(after)):
        click.echo(line)
    store.close()


def _only_in_checkout(name: str) -> click.Command:
    """A command that the launcher of a checkout has, and an installed Drover has not."""

    def refuse() -> None:
        raise DroverError(
            words("{command} needs a checkout of Drover.", command=Code(name)),
            words(
                "Clone the repository, then run {command} there.", command=Code(f"./drover {name}")
            ),
            code="needs-checkout",
        )

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, hidden=True, context_settings=settings)


for _name in ("test", "bench", "docs"):
    drover.add_command(_only_in_checkout(_name))


def _settings_of(config: Path | None) -> configuration.DroverSettings:
    """The configuration of a command that needs one.

    Raises:
        SettingsError: there is none.
    """
    return configuration.load(config, needed=True)


def _existing_store(config: Path | None) -> SqlStore:
    """The database that is there already; a look never makes one.

    Raises:
        StoreError: there is none.
    """
    from bot.factories import existing_store, no_store

    settings = _settings_of(config)
    store = existing_store(settings)
    if store is None:
        raise no_store(settings)
    return store


def _verify(config: Path | None) -> None:
    store = _existing_store(config)
    broken, (position, end) = store.broken_link(), store.head()
    store.close()
    if broken:
        raise DroverError(
            words("The audit trail is not intact: {broken}", broken=broken),
            words("Compare the database with a backup."),
            code="trail-broken",
        )
    _echo(
        nwords(
            "The audit trail is intact: {n} event; the last hash is {hash}.",
            "The audit trail is intact: {n} events; the last hash is {hash}.",
            n=position,
            hash=end or words("(none)"),
        )
    )


def _move_lines(planned: Plan | Refused) -> str:
    """One line `vm target` for each move, in order; nothing when nothing is planned."""
    steps = () if isinstance(planned, Refused) else planned.steps
    return "".join(f"{step.name} {step.target}\n" for step in steps if isinstance(step, MigrateVm))


def _live(
    settings: configuration.DroverSettings, action: Action, intent: object
) -> tuple[Snapshot, Any]:
    """The hosts as they are, and the intent with what the action looks for on them."""
    from bot.factories import connect_hypervisor
    from bot.flow.operations.propose import survey

    hypervisor = connect_hypervisor(settings)
    try:
        seen = hypervisor.snapshot(action.focus(intent), partial(action.chosen, intent))
        return seen, survey(hypervisor, action, intent, seen)
    finally:
        hypervisor.close()


def _print_plan(planned: Any, say: Callable[[Message], str]) -> None:
    from bot.flow.operations import operation_cards

    if isinstance(planned, Refused):
        click.echo(say(planned.heading))
        click.echo(say(operation_cards.objections_text(planned.objections)))
        return
    click.echo(say(planned.title))
    for index, step in enumerate(planned.steps, 1):
        click.echo(f"  {index}. {say(step.title)}")
    for reason in (*planned.reasons, *planned.warnings):
        click.echo(f"  • {say(reason.text)}")
    end = words(
        "  {blast}; {prediction}; plan hash {hash}",
        blast=operation_cards.blast_text(planned),
        prediction=operation_cards.prediction_text(planned.prediction),
        hash=planned.digest,
    )
    click.echo(say(end))


def _translate(message: Message, folders: Sequence[Path] = ()) -> str:
    """A message in the terminal's language; ``folders``: translations of the plugins."""
    if isinstance(message, str):
        return message
    from bot.adapters.language import Languages

    return str(Languages(folders=folders).of_terminal().translate(message))


def _echo(message: Message, *, err: bool = False) -> None:
    """Print a message of the bot's own in the terminal's language."""
    click.echo(_translate(message), err=err)


def _translate_help(command: click.Command) -> None:
    """Put the help of a command, and of all below it, into the terminal's language."""
    command.help, command.epilog = _help(command.help), _help(command.epilog)
    for each in command.params:
        if isinstance(each, click.Option):
            each.help = _help(each.help)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _translate_help(below)


def _help(text: str | None) -> str | None:
    return _translate(said_elsewhere(text)) if text else text


def _translations(settings: configuration.DroverSettings) -> Sequence[Path]:
    """Where the plugins keep their translations; none when they cannot be loaded."""
    from bot.factories import load_catalog

    try:
        return load_catalog(settings).translations
    except DroverError:
        return ()  # `check` tells why


def main() -> None:
    """Run the command line; our own errors are two sentences on stderr and exit code 2."""
    # The planner's matrices are thin: at 100 hosts a second BLAS thread quadruples the CPU time and
    # brings nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    configure_logging("warning")  # until a bot's settings say; stdout is for what was asked
    named = sys.argv[3:4] if sys.argv[1:2] == ["--config"] else sys.argv[1:2]
    if named not in (["run"], ["check"], ["health"]):  # a start loads nothing for terminals
        from bot import terminal

        terminal.add_to(drover)
    if "--help" in sys.argv or len(sys.argv) < 2:
        _translate_help(drover)
    try:
        drover(prog_name="drover")
    except DroverError as error:
        click.echo(f"drover: {_translate(error.text)} {_translate(error.advice)}".strip(), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
