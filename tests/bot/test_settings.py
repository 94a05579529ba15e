"""What is wrong with a configuration is said by its key, in the language of who reads it."""

from __future__ import annotations

import traceback
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from bot import catalog
from bot.adapters.language import Language, Languages
from bot.domain.errors import CatalogError, SettingsError
from bot.domain.message import Message, Words, words
from bot.setting_values import complaints, tables
from bot.settings import DroverSettings, load

ROOT = Path(__file__).parents[2]
CALLER = '[[hosts]]\nname = "{}"\nuri = "qemu:///system"\n'
WRONG = {
    "zone": ('zone = "Mars"', "zone", "“Mars” is not a time zone", "“Mars” não é um fuso horário"),
    "twice": (CALLER.format("a") * 2, "the file", "two hosts are called “a”", "o arquivo: dois hosts se chamam “a”"),
    "pool": ("[[pools]]\nshared = true", "pools.0", "give the name of a pool or a path", "informe o nome de um pool ou um caminho"),
    "size": (CALLER.format("a") + 'reserve = "much"', "hosts.0.reserve", "“much”", "“much”"),
    "key": ('[slack]\naprovals_channel = "C1"', "slack.aprovals_channel", "there is no such key (Did you mean “approvals_channel”?).", "essa chave não existe (Você quis dizer “approvals_channel”?)."),
    "kind": ("[slack]\napprovals_channel = 1", "slack.approvals_channel", "write a text, in quotes", "escreva um texto, entre aspas"),
    "shape": ('[slack]\ncommand = "kvm"', "slack.command", "write a slash and up to 31 lower-case letters", "escreva uma barra e até 31 letras minúsculas"),
    "choice": ('[slack]\nmode = "sock"', "slack.mode", "write `socket` or `http`.", "escreva `socket` ou `http`."),
    "bound": ("[slack]\npace = 0", "slack.pace", "write more than 0", "escreva mais que 0"),
}  # fmt: skip


@cache  # reading all that the bot says takes longer than the tests
def portuguese_language() -> Language:
    return Languages().of("pt_BR")


def in_portuguese(said: Message) -> str:
    return str(portuguese_language().translate(said))


def every_table() -> set[type[BaseModel]]:
    """Every table that the configuration can have."""
    hooks = catalog.load(DroverSettings().plugins.enabled, {}).hooks
    declared = [each.model for found in hooks.register_settings() for each in found]
    return {table for model in (DroverSettings, *declared) for table in tables(model)}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_told_by_its_key_in_either_language(case: str, tmp_path: Path) -> None:
    written, key, english, portuguese = WRONG[case]
    file = tmp_path / "drover.toml"
    file.write_text(written, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file)
    said = str(caught.value.text)
    assert said.startswith(f"{file} is wrong: {key}: ")
    assert english in said
    assert in_portuguese(caught.value.text).startswith(f"{file} está errado: ")
    assert portuguese in in_portuguese(caught.value.text)


def test_a_key_that_a_plugin_does_not_have_is_told_with_the_nearest_and_so_is_the_next_fault() -> (
    None
):
    with pytest.raises(CatalogError) as caught:
        catalog.load(("failover",), {"failover": {"mod": "auto", "anchors": ["x"]}})
    assert str(caught.value.text) == (
        "[plugins.failover] anchors.0: write address:port; "
        "mod: there is no such key (Did you mean “mode”?)."
    )


@pytest.mark.parametrize("model", sorted(every_table(), key=str))
def test_no_fault_of_any_value_is_told_in_pydantics_words(model: type[BaseModel]) -> None:
    wrong: tuple[object, ...] = (None, "", "§ §", 7, -1e9, 1e12, 0.5, True, [], ["§ §"], [{}], {})
    for name in model.model_fields:
        for value in wrong:
            try:
                model.model_validate({name: value})
            except ValidationError as error:
                vendors = {each["msg"] for each in error.errors()}
                said = complaints(error, model, words("the table"))
                assert not [each for each in vendors if each in str(said)], (name, value)
                assert isinstance(said, Words)


def test_a_wrong_value_of_a_plugin_is_told_by_its_key_in_either_language() -> None:
    with pytest.raises(CatalogError) as caught:
        catalog.load(("vm_lifecycle",), {"vm_lifecycle": {"default_image": "debian"}})
    assert "default_image is “debian”, and images has none" in str(caught.value.text)
    languages = Languages("en", [ROOT / "plugins/vm_lifecycle/locale"])
    shown = str(languages.of("pt_BR").translate(caught.value.text))
    assert "default_image é “debian”, e images não tem nenhuma com esse nome" in shown


def test_a_secret_in_place_of_its_file_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("xoxb-secret", "x" * 5000 + "-secret", "xoxb\x00"):
        monkeypatch.setattr("os.environ", {"SLACK_BOT_TOKEN_FILE": wrong})
        with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN_FILE cannot be read") as caught:
            load()
        assert wrong not in "".join(traceback.format_exception(caught.value))


def test_a_variable_that_cannot_be_read_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DROVER_HOSTS", "xoxb-value")
    with pytest.raises(SettingsError, match="hosts") as caught:
        load()
    assert "xoxb-value" not in "".join(traceback.format_exception(caught.value))
