"""What `drover check` and a start say of a configuration that contradicts itself about acting by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import app, check
from bot.domain.errors import SettingsError
from bot.settings import DroverSettings, load

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
    return [each.what + ": " + each.text for each in check.offline(settings) if not each.ok and "policy" in each.what]


def test_auto_without_a_rule_that_lets_it_is_told_and_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"):
        monkeypatch.setenv(variable, "xoxb-not-a-real-one")
    settings = configured(tmp_path, "auto")
    assert any("no rule lets it" in each for each in faults(settings))
    with pytest.raises(SettingsError, match="no rule lets it"):
        app.Drover(settings)


def test_auto_with_its_rule_is_explained(tmp_path: Path) -> None:
    settings = configured(tmp_path, "auto", RULE)
    assert faults(settings) == []
    said = [each.text for each in check.offline(settings) if each.what == "policy rule “small”"]
    assert said[0].startswith("balance: what a watch does by itself, at most 3 VMs, at most 64")
    assert "no vote" in said[0]


def test_a_rule_for_what_nothing_is_set_to_do_is_told(tmp_path: Path) -> None:
    assert any("small" in each and "never rules" in each for each in faults(configured(tmp_path, "propose", RULE)))


def test_commands_of_the_same_people_are_told_together_and_those_of_nobody_are_a_fault(tmp_path: Path) -> None:
    settings = configured(tmp_path, "off")
    told = {each.what: each for each in check.offline(settings) if each.what.startswith("may be asked by ")}
    assert list(told) == ["may be asked by approver", "may be asked by everyone"]
    assert told["may be asked by everyone"].text == "help"
    assert {"audit", "migrate", "balance"} <= set(told["may be asked by approver"].text.split(", "))
    few = settings.model_copy(update={"roles": {"approver": settings.roles["approver"].model_copy(update={"may": ()})}})
    nobodys = [each for each in check.offline(few) if each.what == "may be asked by nobody"]
    assert [each.ok for each in nobodys] == [False]
