"""What `drover check` says and how, and a start with a configuration that contradicts itself about acting by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot import app, check
from bot.adapters.language import Languages
from bot.domain.errors import SettingsError
from bot.domain.message import Message, words
from bot.domain.power import Power, Reading
from bot.factories import load_catalog
from bot.settings import DroverSettings, load
from bot.testing import draw_cluster

HOST_CHECK = Path(__file__).parents[2] / "plugins" / "host_check" / "locale"
CONFIG = """
[slack]
approvals_channel = "C1"
ops_channel = "C2"
[[hosts]]
name = "host-a"
uri = "test:///default"
[roles.approver]
users = ["UA", "UB", "UC"]
may = ["*"]
{rule}
[[policy.rules]]
name = "default"
[plugins]
enabled = ["migrate", "balance"]
[plugins.balance.watch]
mode = "{mode}"
"""
RULE = """
[[policy.rules]]
name = "small"
commands = ["balance"]
automatic = true
max_vms = 3
max_memory = "64G"
votes = 0
"""


def configured(tmp_path: Path, mode: str, rule: str = "") -> DroverSettings:
    file = tmp_path / "drover.toml"
    file.write_text(CONFIG.format(mode=mode, rule=rule), encoding="utf-8")
    return load(file)


def faults(settings: DroverSettings) -> list[str]:
    return [
        f"{each.what}: {each.text}"
        for each in check.offline(settings)
        if not each.ok and "policy" in str(each.what)
    ]


def test_auto_without_a_rule_that_lets_it_is_told_and_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"):
        monkeypatch.setenv(variable, "xoxb-not-a-real-one")
    settings = configured(tmp_path, "auto")
    assert any("no rule allows that" in each for each in faults(settings))
    with pytest.raises(SettingsError, match="no rule allows that"):
        app.Drover(settings)


def test_auto_with_its_rule_is_explained(tmp_path: Path) -> None:
    settings = configured(tmp_path, "auto", RULE)
    assert faults(settings) == []
    said = [
        str(each.text)
        for each in check.offline(settings)
        if str(each.what) == "policy rule “small”"
    ]
    assert said[0].startswith("balance: what a watch does by itself, at most 3 VMs, at most 64")
    assert "no vote" in said[0]


def test_a_rule_for_what_nothing_is_set_to_do_is_told(tmp_path: Path) -> None:
    assert any(
        "small" in each and "can never match" in each
        for each in faults(configured(tmp_path, "propose", RULE))
    )


def test_commands_of_the_same_people_are_told_together_and_those_of_nobody_are_a_fault(
    tmp_path: Path,
) -> None:
    settings = configured(tmp_path, "off")
    told = {
        str(each.what): each
        for each in check.offline(settings)
        if str(each.what).startswith("may be asked by ")
    }
    assert list(told) == ["may be asked by approver", "may be asked by everyone"]
    assert told["may be asked by everyone"].text == "help"
    assert {"audit", "migrate", "balance"} <= set(told["may be asked by approver"].commands)
    few = settings.model_copy(
        update={"roles": {"approver": settings.roles["approver"].model_copy(update={"may": ()})}}
    )
    nobodys = [each for each in check.offline(few) if each.what == check.NOBODY]
    assert [each.ok for each in nobodys] == [False]


def secrets(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET"):
        monkeypatch.setenv(f"SLACK_{name}", values.get(name.lower(), ""))


def of_secrets(settings: DroverSettings) -> dict[str, str]:
    return {
        str(each.what): f"{each.severity} {each.text}"
        for each in check.offline(settings)
        if "secret" in str(each.what)
    }


@pytest.mark.parametrize(
    ("bot", "application", "said"),
    [
        ("xoxb-1", "xapp-1", ("PASS given", "PASS given")),
        ("xoxe.xoxb-1", "xapp-1", ("PASS given", "PASS given")),
        ("", "xapp-1", ("FAIL missing; set SLACK_BOT_TOKEN or SLACK_BOT_TOKEN_FILE", "PASS given")),
        (
            "xapp-1",
            "xoxb-1",
            (
                "FAIL it is an xapp-… token, and SLACK_BOT_TOKEN takes an xoxb-… one; give it as SLACK_APP_TOKEN",
                "FAIL it is an xoxb-… token, and SLACK_APP_TOKEN takes an xapp-… one; give it as SLACK_BOT_TOKEN",
            ),
        ),
        ("xoxp-1", "xapp-1", ("FAIL it does not begin with xoxb-", "PASS given")),
    ],
)
def test_a_token_is_known_by_how_it_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bot: str,
    application: str,
    said: tuple[str, str],
) -> None:
    secrets(monkeypatch, bot_token=bot, app_token=application)
    found = of_secrets(configured(tmp_path, "off"))
    assert found["secret bot_token"].startswith(said[0])
    assert found["secret app_token"].startswith(said[1])


@pytest.mark.parametrize("token", ["", "xapp-1"])
def test_slack_is_not_asked_without_a_bot_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    def asked(settings: DroverSettings) -> None:
        raise AssertionError("Slack was asked")

    secrets(monkeypatch, bot_token=token)
    monkeypatch.setattr(check, "sign_in", asked)
    told = {str(each.what): each for each in check.online(configured(tmp_path, "off"))}
    assert (told["slack"].severity, str(told["slack"].text)) == (
        "UNKNOWN",
        "not asked without a bot token",
    )


def test_a_look_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(monkeypatch)
    file = tmp_path / "var" / "drover.sqlite"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    told = {str(each.what): each for each in check.online(configured(tmp_path, "off"))}
    assert str(told["database"].text) == "none yet; the first `drover run` makes it"
    assert not file.parent.exists()


@pytest.mark.parametrize("written", ["", '[database]\nurl = "sqlite:///var/other.sqlite"\n'])
def test_the_database_that_is_named_wins_over_the_default_of_image_and_unit(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drover.toml").write_text(written, encoding="utf-8")
    monkeypatch.setenv("DROVER_DATABASE__URL", "sqlite:////var/lib/drover/drover.sqlite")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert load(tmp_path / "drover.toml").database.url == "sqlite:////var/lib/drover/drover.sqlite"
    named = "postgresql+psycopg://drover:secret@db/drover"
    (tmp_path / "url").write_text(f"{named}\n", encoding="utf-8")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    assert load(tmp_path / "drover.toml").database.url == named


def of_host(host: str, name: str, severity: str, text: Message, fix: str = "") -> check.Finding:
    return check.Finding(
        f"{host} {name}", ok=True, text=text, severity=severity, fix=fix, host=host, check=name
    )


NO_SSH = words("cannot tell: no SSH")
SEEN = (
    check.Finding("hosts", ok=True, text="2 configured"),
    of_host("host-a", "SSH", "UNKNOWN", NO_SSH, "Set ssh"),
    of_host("host-a", "KSM", "UNKNOWN", NO_SSH),
    of_host("host-a", "time sync", "UNKNOWN", NO_SSH),
    of_host("host-b", "KSM", "UNKNOWN", NO_SSH),
    of_host("host-b", "versions", "WARN", "old", "apt-get update"),
    check.Finding("secret app_token", ok=False, text="missing"),
    check.Finding(
        words("may be asked by {roles}", roles=("engineer",)),
        ok=True,
        text=", ".join(["migrate"] * 60),
        explains=True,
        commands=("migrate",) * 60,
    ),
)


def test_the_terminal_has_the_count_first_then_what_failed_and_no_pass() -> None:
    assert check.report(SEEN).splitlines() == [
        "7 checks: 1 failed, 1 warning, 4 unknown, 1 passed",
        "",
        "FAIL    secret app_token: missing",
        "WARN    host-b versions: old",
        "          apt-get update",
        "UNKNOWN host-a SSH: cannot tell: no SSH",
        "          Set ssh",
        "UNKNOWN host-a KSM, time sync: cannot tell: no SSH",
        "UNKNOWN host-b KSM: cannot tell: no SSH",
        "",
        "The policy:",
        "  may be asked by engineer: 60 commands",
        "",
        "To see all that passed, and every command by name: `drover check --verbose`",
    ]


def test_verbose_is_everything_in_lines_that_fit() -> None:
    told = check.report(SEEN, verbose=True)
    assert "PASS    hosts: 2 configured" in told
    assert told.count("cannot tell: no SSH") == 4
    assert told.count("migrate") == 60
    assert max(map(len, told.splitlines())) <= 100


def test_the_terminal_speaks_its_language(tmp_path: Path) -> None:
    folders = load_catalog(configured(tmp_path, "off")).translations
    say = Languages(folders=(*folders, HOST_CHECK)).of("pt_BR").translate
    told = check.report(SEEN, say=lambda message: str(say(message))).splitlines()
    assert told[0] == "7 verificações: 1 falhou, 1 aviso, 4 desconhecidas, 1 passou"
    assert "UNKNOWN host-a KSM, sincronização da hora: não verificável: sem SSH" in told
    assert "  pode ser pedido por engineer: 60 comandos" in told


def test_scripts_get_the_names_and_english_sentences() -> None:
    assert SEEN[1].data == {
        "what": "host-a SSH",
        "ok": True,
        "text": "cannot tell: no SSH. Set ssh",
        "severity": "UNKNOWN",
        "fix": "Set ssh",
        "explains": False,
        "host": "host-a",
    }


def test_a_rule_without_votes_says_what_it_means_for_the_bot(tmp_path: Path) -> None:
    free = '[[policy.rules]]\nname = "free"\nrisks = ["low"]\nvotes = 0\n'
    said = [
        each
        for each in check.offline(configured(tmp_path, "off", free))
        if str(each.what) == "policy rule “free”"
    ]
    assert said[-1].severity == "WARN"
    assert (
        "what an agent asks for, and what the bot proposes by itself, takes 1 vote of approver"
        in str(said[-1].text)
    )
    assert faults(configured(tmp_path, "off", free)) == []
    lost = free + 'approvers = ["boss"]\n'
    assert any(
        "nobody has the role “boss”" in each for each in faults(configured(tmp_path, "off", lost))
    )


BOTH = "a plan that touches VMs with its tags and VMs with those of “prod” is ruled by this one"


def test_a_lax_rule_before_a_stricter_one_for_other_tags_is_told(tmp_path: Path) -> None:
    dev = '[[policy.rules]]\nname = "dev"\ntags = ["env=dev"]\nvotes = 0\n'
    prod = '[[policy.rules]]\nname = "prod"\ntags = ["env=prod"]\nvotes = 2\n'

    def told(rules: str) -> bool:
        found = check.offline(configured(tmp_path, "off", rules))
        return any(BOTH in str(each.text) and each.severity == "WARN" for each in found)

    assert told(dev + prod)
    assert told(dev + prod.replace("votes = 2", "freeze = true"))
    assert not told(prod + dev)
    assert not told(dev + prod.replace("votes = 2", "votes = 0"))
    assert not told(dev + prod.replace("env=prod", "env=dev"))
    assert not told(dev + 'commands = ["vm start"]\n' + prod + 'commands = ["vm delete"]\n')
    assert told(dev + 'commands = ["vm *"]\n' + prod + 'commands = ["vm delete"]\n')


def test_a_host_is_told_with_how_many_vms_it_has() -> None:
    seen = draw_cluster(
        "host-a 1cpu 4G | web-1 1G\nhost-b 4cpu 4G | db-1 1G | db-2 1G\nhost-c 4cpu 4G down"
    )
    told = [
        (str(each.what), each.ok, str(each.text).rpartition(",")[0] or str(each.text))
        for each in check._answering(seen)
    ]
    assert told == [
        ("host host-a", True, "1 VM, 1 CPU"),
        ("host host-b", True, "2 VMs, 4 CPUs"),
        ("host host-c", False, "it does not answer: no connection"),
    ]


@pytest.mark.parametrize(
    ("power", "identity", "severity", "says"),
    [
        (Power.ON, "UUID-A", "PASS", "on, the same machine (uuid-a)"),
        (Power.OFF, "", "WARN", "off; it names no machine"),
        (Power.ON, "uuid-b", "FAIL", "it controls another machine (uuid-b)"),
        (Power.UNKNOWN, "", "FAIL", "it does not answer: no answer"),
    ],
)
def test_each_power_controller_is_tried(
    power: Power, identity: str, severity: str, says: str
) -> None:
    box = replace(draw_cluster("host-a 1cpu 4G").host("host-a"), uuid="uuid-a")
    at = datetime(2026, 1, 5, tzinfo=UTC)
    found = check._fence(box, Reading("host-a", "bmc-a", 1, power, at, identity))
    assert (found.severity, str(found.what)) == (severity, "host-a power by bmc-a")
    assert says in str(found.text)


OTHERS = """
[alertmanager]
port = 9095
token_env = "DROVER_TEST_TOKEN"
[[alertmanager.fixes]]
alert = "*"
text = "Drain"
command = "host drian {host}"
[[tell]]
name = "on-call"
urls_env = "DROVER_TEST_URLS"
"""


def test_other_ways_and_the_webhook_are_looked_at_without_sending_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(tmp_path, "off", OTHERS)

    def said(what: str) -> list[tuple[bool, str]]:
        return [(each.ok, str(each.text)) for each in check.offline(settings) if each.what == what]

    assert [ok for ok, _ in said("tell")] == [False]
    assert [ok for ok, _ in said("alertmanager")] == [False, False]
    assert "host drian" in said("alertmanager")[1][1]
    monkeypatch.setenv("DROVER_TEST_URLS", "nothing://s3cret@host")
    monkeypatch.setenv("DROVER_TEST_TOKEN", "t" * 32)
    assert "s3cret" not in said("tell")[0][1]
    assert [ok for ok, _ in said("alertmanager")] == [False]
    monkeypatch.setenv("DROVER_TEST_URLS", "json://127.0.0.1:1/\nmailto://u:p@example.org")
    assert said("tell") == [(True, "on-call: `drover tell` tries them")]


def test_maintenance_windows_are_explained_in_the_zone_of_the_site() -> None:
    windows = ({"name": "night", "days": ["sat"], "start": "22:00", "end": "02:00"},)
    settings = DroverSettings.model_validate({"zone": "Europe/Lisbon", "windows": windows})
    told = {str(each.what): str(each.text) for each in check.offline(settings) if each.explains}
    assert told["maintenance window “night”"] == "Sat, 22:00–02:00 (Europe/Lisbon)"


def test_two_windows_of_one_name_are_refused() -> None:
    window = {"name": "night", "start": "22:00", "end": "02:00"}
    with pytest.raises(ValueError, match="two windows"):
        DroverSettings.model_validate({"windows": (window, window)})
