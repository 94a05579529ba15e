"""The documentation as a site: it builds without a warning, and what is made from the code is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bot.domain import operation
from bot.factories import load_catalog
from bot.flow.commands.parse import parse
from bot.plugin_api import Command
from bot.settings import DroverSettings, FenceSection, RuleSection, SlackSection
from bot.setup import host_commands
from bot.setup.answers import host
from docsite import codes, commands, configuration, records
from docsite.hooks import MADE, TAKEN, linked
from tests.e2e import composed

ROOT = Path(__file__).parents[2]
CATALOG = load_catalog(DroverSettings())


@pytest.mark.parametrize("command", CATALOG.commands.values(), ids=lambda each: each.name)
def test_the_example_of_a_command_is_a_line_that_it_takes(command: Command) -> None:
    found = parse(CATALOG, "/kvm", command.example)
    assert (found.command.name, found.help) == (command.name, "")


def test_every_command_is_in_the_reference_with_every_option() -> None:
    page = commands.chat_page()
    parts = dict(re.findall(r"^### ([a-z -]+)\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(parts) == set(CATALOG.commands)
    for name, command in CATALOG.commands.items():
        options = [each for each in command.grammar.params if isinstance(each, click.Option)]
        for option in options:
            assert all(f"`{each}`" in parts[name] for each in option.opts), name
        assert f"Example: `/kvm {command.example}`" in parts[name]


def test_every_command_of_the_terminal_is_in_the_reference() -> None:
    page = commands.terminal_page()
    for words in ("run", "check", "plan", "manifest", "audit verify", "db upgrade", "health"):
        assert f"## drover {words}\n" in page
    assert "`--offline`" in page


def test_every_setting_is_in_the_reference() -> None:
    page = configuration.settings_page()
    secret = {"bot_token", "app_token", "signing_secret"}
    wanted = {*DroverSettings.model_fields, *SlackSection.model_fields, *RuleSection.model_fields}
    fields = DroverSettings.model_fields
    heads = {name for name, each in fields.items() if configuration._is_section(name, each)}
    for key in wanted - secret - heads:
        assert f"| `{key}` |" in page, key
    for section in (
        "[slack]",
        "[[windows]]",
        "[[hosts]]",
        "[[hosts.fence]]",
        "[[policy.rules]]",
        "[roles.NAME]",
        "[agents.known.NAME]",
    ):
        assert f"## {section}\n" in page
    for plugin in CATALOG.plugins:
        if plugin != "core":
            assert f"### [plugins.{plugin}]\n" in page
    assert not any(f"| `{key}` |" in page for key in secret)
    assert "| `reserve` | size | `0` | memory kept for the host itself |" in page
    assert "| `deadline` | duration | `20` |" in page
    assert FenceSection.model_fields["deadline"].default == 20


def test_what_the_example_says_of_a_key_goes_on_in_the_next_line() -> None:
    said = configuration.comments('[a]\nx = 1  # one\n        # and two\n# y = "z" # other\n')
    assert said == {("a", "x"): "one and two", ("a", "y"): "other"}


def test_the_reference_of_codes_has_what_the_code_says() -> None:
    errors = codes.kinds_of_errors()
    found = codes.coded()
    assert len({each.code for each in found if each.kind == "Objection"}) > 100
    stale = [each for each in found if each.code == "settings"]
    assert any(each.text == "There is no configuration file {path}." for each in stale)
    page = codes.codes_page()
    assert all(f"`{each.code}`" in page for each in errors.values())
    assert all(f"`{each.code}`" in page for each in found)


def test_the_reference_of_events_and_metrics_has_each() -> None:
    events = records.events_page()
    assert all(f"| `{each.__name__}` |" in events for each in operation.EVENTS)
    assert "| `proposed` | `Approved` | `approved` |" in events
    metrics = records.metrics_page()
    assert "| `drover_host_up` | gauge | `host` |" in metrics
    assert "| `drover_history_dropped_total` | counter |" in metrics


@pytest.mark.parametrize(
    ("source", "place", "before", "after"),
    [
        ("docs/style.md", "style.md", "[a](decisions/0001-x.md)", "[a](decisions/0001-x.md)"),
        ("docs/architecture.md", "architecture.md", "[p](../plugins/README.md#x)", "[p](explanation/plugins.md#x)"),
        ("SECURITY.md", "explanation/security.md", "[r](docs/reliability.md)", "[r](../reliability.md)"),
        ("CONTRIBUTING.md", "explanation/contributing.md", "![p](docs/images/top.png)", "![p](../images/top.png)"),
        ("plugins/README.md", "explanation/plugins.md", "[e](../examples/drover-quiet)", "e"),
        ("docs/x.md", "x.md", "[there](https://example.org/a)", "[there](https://example.org/a)"),
        ("docs/x.md", "x.md", "[here](#below)", "[here](#below)"),
    ],
)  # fmt: skip
def test_links_lead_to_pages_of_the_site(source: str, place: str, before: str, after: str) -> None:
    assert linked(before, source, place) == after


def test_every_code_that_troubleshooting_names_exists() -> None:
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    errors = codes.kinds_of_errors()
    known = {each.code for each in errors.values()} | {each.code for each in codes.coded()}
    cells = re.findall(r"\| `([a-z-]+)`", page) + re.findall(r"Code `([a-z-]+)`", page)
    assert {"settings", "host-unreachable", "fenced", "slack-refused"} <= set(cells)
    assert [each for each in cells if each not in known] == []


def test_the_guides_show_the_commands_that_init_prints() -> None:
    """Those are run on hosts, as they stand, by tests/e2e/test_setup.py."""
    ssh = (ROOT / "docs/how-to/connect-ssh.md").read_text(encoding="utf-8")
    (key,) = re.findall(r"restrict (ssh-ed25519 \w+)", ssh)
    assert host_commands.user_commands("drover", key) in ssh
    assert host_commands.POLKIT in ssh
    tls = (ROOT / "docs/how-to/connect-tls.md").read_text(encoding="utf-8")
    hosts = [host(name) for name in ("host-a", "host-b", "host-c")]
    assert host_commands.certificate_commands(hosts) in tls
    assert host_commands.UNPACK in tls
    assert host_commands.LISTEN in tls


def test_compose_gives_the_bot_what_the_image_reads() -> None:
    """What else it says is done by tests/e2e/test_image.py, which skips no key of a service."""
    compose = composed.document()
    bot, _ = composed.service("drover"), composed.service("db")
    secrets = {f"/run/secrets/{each}" for each in bot["secrets"]}
    assert set(bot["environment"].values()) == secrets
    assert set(compose["secrets"]) >= {each.rpartition("/")[2] for each in secrets}
    places = {each.split(":")[1] for each in bot["volumes"]}
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert places == {
        "/etc/drover/drover.toml",
        "/var/lib/drover/.ssh",
        "/opt/plugins",
        "/var/lib/drover",
    }
    assert "DROVER_CONFIG=/etc/drover/drover.toml" in image
    assert ":/opt/plugins" in image
    assert "--home-dir /var/lib/drover" in image


@pytest.mark.process
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors and the navigation are checked by MkDocs: `--strict` makes a warning an error."""
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for place in (*MADE, *TAKEN.values(), "architecture.md", "tutorial.pt-BR.md"):
        page = tmp_path / place.removesuffix(".md") / "index.html"
        assert "<h1" in page.read_text(encoding="utf-8"), place
    outside = re.findall(
        r"(?:src|href)=\"(https?://[^\"]+\.(?:js|css|woff2?))\"",
        (tmp_path / "index.html").read_text(encoding="utf-8"),
    )
    assert outside == [], "a page fetches nothing from elsewhere"
