"""`drover init` in the terminal: it asks for what is missing, tries connections, and overwrites nothing."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import click
import pytest

from bot import check
from bot.adapters.ssh import known_hosts
from bot.adapters.ssh.known_hosts import HostKey
from bot.check import Finding
from bot.domain.errors import DroverError, HypervisorError
from bot.setup import dialog
from bot.setup.dialog import MANIFEST, Given, Setup

KEY = HostKey("host-a ssh-ed25519 AAAA", "ssh-ed25519", "SHA256:abc")
ALL = Given(("host-a", "host-b"), "C0APPROVALS", "C0OPS", ("U0ANA",), ("U0BRUNO",))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the configuration, on a machine whose hosts show one key and answer at once."""
    monkeypatch.setattr(known_hosts, "public_key", lambda _: "ssh-ed25519 BBBB")
    monkeypatch.setattr(known_hosts, "is_known", lambda address, _: address == "host-b")
    monkeypatch.setattr(known_hosts, "offered_key", lambda _, __: KEY)
    monkeypatch.setattr(known_hosts, "trust", trusted.append)
    monkeypatch.setattr(check, "online", lambda _: [Finding("host host-a", ok=True, text="up")])
    monkeypatch.setattr(check, "offline", lambda _: [])
    trusted.clear()
    return tmp_path / "config" / "drover.toml"


trusted: list[HostKey] = []


def test_with_all_options_nothing_is_asked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Setup(ALL, file, str).run()
    told = capsys.readouterr().out
    assert "host-a shows the ssh-ed25519 key SHA256:abc" in told
    assert "host-b shows" not in told, "its key is known already"
    assert "host-a is not trusted, so it cannot be reached." in told, "nobody said that it is right"
    assert trusted == []
    assert "restrict ssh-ed25519 BBBB" in told
    assert "certificate host-a host-a" in told
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    assert [each["name"] for each in written["hosts"]] == ["host-a", "host-b"]
    assert file.stat().st_mode & 0o007 == 0
    manifest = json.loads(file.with_name(MANIFEST).read_text(encoding="utf-8"))
    assert json.dumps(manifest, ensure_ascii=False) in told
    assert "/kvm" in told


def test_keys_of_hosts_are_kept_when_a_person_says_so(file: Path) -> None:
    Setup(replace(ALL, trust_host_keys=True), file, str).run()
    assert trusted == [KEY]


def test_what_is_missing_is_asked_for_and_a_slip_is_asked_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = iter(["", "a/b", "host-a, host-b", "", "#ops", "C0APPROVALS", "C0OPS", "U0ANA", "", "U0BRUNO", "", ""])  # fmt: skip
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(click, "prompt", lambda *_, **__: next(said))
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    assert Setup(Given(), file, str).run()
    assert "At least one is needed." in (told := capsys.readouterr().out)
    assert "“a/b” is not a host." in told
    assert "“#ops” is not the id of a channel." in told
    assert trusted == [KEY]
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    assert written["slack"] == {"approvals_channel": "C0APPROVALS", "ops_channel": "C0OPS"}
    assert next(said, "all was asked") == "all was asked"


def test_without_a_terminal_a_missing_option_is_named(file: Path) -> None:
    with pytest.raises(DroverError, match="`--engineer` is missing"):
        Setup(replace(ALL, engineers=()), file, str).run()
    assert not file.exists()


def test_a_configuration_that_exists_is_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("zone = 'UTC'\n", encoding="utf-8")
    with pytest.raises(DroverError, match="exists already") as refused:
        Setup(ALL, file, str).run()
    assert refused.value.code == "config-exists"
    assert file.read_text(encoding="utf-8") == "zone = 'UTC'\n"
    assert Setup(replace(ALL, force=True), file, str).run()
    assert "host-a" in file.read_text(encoding="utf-8")


def test_a_host_without_an_ssh_server_is_told_and_the_rest_goes_on(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(_: str, __: int) -> HostKey:
        raise HypervisorError("No SSH server answers at host-a, port 22.", "Check the address.")

    monkeypatch.setattr(known_hosts, "offered_key", silent)
    monkeypatch.setattr(check, "online", lambda _: [Finding("host host-a", ok=False, text="no")])
    assert not Setup(ALL, file, str).run()
    assert "No SSH server answers at host-a" in (told := capsys.readouterr().out)
    assert "FAIL" in told
    assert file.exists()


@pytest.mark.parametrize(
    ("launcher", "usual", "command"),
    [
        (True, True, "./drover check"),
        (True, False, "./drover --config config/own.toml check"),
        (False, True, "drover check"),
        (False, False, "drover --config config/own.toml check"),
    ],
)
def test_what_comes_next_is_typed_as_this_program_was_started(
    file: Path,
    *,
    launcher: bool,
    usual: bool,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder := file.parents[1])
    monkeypatch.delenv("DROVER_CONFIG", raising=False)
    monkeypatch.setattr(dialog, "LAUNCHER", folder / "drover")
    if launcher:
        (folder / "drover").touch()
    assert Setup(ALL, Path("config/drover.toml" if usual else "config/own.toml"), str).run()
    assert f"3. Check all: `{command}`" in capsys.readouterr().out
