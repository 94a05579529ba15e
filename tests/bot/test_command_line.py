"""What the terminal says when something is wrong: two sentences with the next step, exit code 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import drover
from bot.adapters.language import Languages
from bot.domain.errors import UsageError

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SLACK = '[slack]\napprovals_channel = "C1"\napi_url = "http://127.0.0.1:9/api/"\n'
WHOLE = f"""
{SLACK}
[[hosts]]
name = "host-a"
uri = "qemu+ssh://drover@host-a/system"
[roles.engineer]
users = ["U1", "U2"]
may = ["*"]
[roles.approver]
users = ["U2", "U3"]
may = ["*"]
"""
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}
CASES = {
    "nothing": (None, {}, "There is no configuration", "`drover init` asks for all it needs"),
    "broken": ("zone = \nreplica = 1\n", {}, "line 1", "See `config/drover.example.toml`"),
    "slip": (
        "[slack]\naprovals_channel = 1\n",
        {},
        "aprovals_channel: there is no such key",
        "“approvals_channel”",
    ),
    "no hosts": (SLACK, {}, "No `[[hosts]]`", "add your hosts"),
    "no token": (WHOLE, {}, "secret bot_token is missing", "Set `SLACK_BOT_TOKEN`"),
    "database": (
        WHOLE,
        {**TOKENS, "DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/d"},
        "The database failed",
        "Check that PostgreSQL runs",
    ),
    "folder": (
        WHOLE,
        {**TOKENS, "DATABASE_URL": "sqlite:////proc/none/d.sqlite"},
        "cannot be created",
        "Correct `database.url`",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_start_that_cannot_be_is_told_with_the_next_step(case: str, tmp_path: Path) -> None:
    written, environment, wrong, next_step = CASES[case]
    if written is not None:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "drover.toml").write_text(written, encoding="utf-8")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLACK_", "DROVER_", "DATABASE_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "bot", "run"], cwd=tmp_path, env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert wrong in done.stderr
    assert next_step in done.stderr
    assert "secret@" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


WITHOUT = [
    "run", "check", "check --offline", "check --json", "plan migrate web-1", "health", "db upgrade", "db verify",
    "audit verify", "audit export",
]  # fmt: skip


def called(folder: Path, *words: str, lang: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    hidden = ("SLACK_", "DROVER_", "DATABASE_", "LC_", "LANG")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return subprocess.run(
        [sys.executable, "-m", "bot", *words], cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "LANG": lang},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


SLIPS = {
    "chek": "There is no command “chek”. Did you mean “check”? `drover --help` tells",
    "audit exprt": "There is no command “exprt”. Did you mean “export”? `drover audit --help` tells",
    "check --vrbose": "There is no option `--vrbose`. Did you mean `--verbose`? `drover check --help`",
    "plan": "`COMMAND` is missing. `drover plan --help` tells",
    "run extra": "Unexpected word “extra”. `drover run --help` tells",
    "--config": "`--config` needs a value behind it. `drover --help` tells",
    "mcp --http x": "`--http` must be a whole number from 1 to 65535. `drover mcp --help` tells",
    "audit export --format x": "`--format` must be jsonl or csv. `drover audit export --help` tells",
    "plan --cluster /nope hosts": "`--cluster` must be a file that exists and can be read.",
}


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_told_in_our_own_words_in_either_language(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["drover", *line.split()])
    with pytest.raises(UsageError) as caught:
        drover(prog_name="drover")
    assert str(caught.value).startswith(SLIPS[line])
    shown = Languages().of("pt_BR")
    for said in (caught.value.text, caught.value.advice):
        assert str(shown.translate(said)) != str(said)


def test_a_group_without_a_command_shows_its_help(tmp_path: Path) -> None:
    assert "Check or export the audit trail." in called(tmp_path, "audit").stderr


@pytest.mark.parametrize("place", ["none/here", "."])
def test_a_file_that_cannot_be_written_is_told(place: str, tmp_path: Path) -> None:
    cluster = f"{ROOT}/config/clusters/uneven.txt"
    done = called(tmp_path, "plan", "--cluster", cluster, "--out", place, "balance")
    assert done.returncode == 2
    assert f"drover: {place} cannot be written: " in done.stderr
    assert "Name a file where you may write." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", WITHOUT)
def test_what_means_nothing_without_a_configuration_says_so_and_makes_nothing(
    line: str, tmp_path: Path
) -> None:
    done = called(tmp_path, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no configuration file config/drover.toml" in done.stderr
    assert "`drover init` asks for all it needs and writes it." in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["manifest", "plugins", f"plan balance --cluster {ROOT}/config/clusters/uneven.txt"]
)
def test_what_needs_no_configuration_works_without_one(line: str, tmp_path: Path) -> None:
    done = called(tmp_path, *line.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["audit verify", "db verify", "audit export"])
def test_a_look_at_a_database_that_is_not_there_is_no_assurance(line: str, tmp_path: Path) -> None:
    (tmp_path / "drover.toml").write_text(
        f'[database]\nurl = "sqlite:///{tmp_path}/var/d.sqlite"\n', encoding="utf-8"
    )
    done = called(tmp_path, "--config", "drover.toml", *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        f"There is no database at sqlite:///{tmp_path}/var/d.sqlite. Correct `database.url`"
        in done.stderr
    )
    assert [each.name for each in tmp_path.iterdir()] == ["drover.toml"]


def test_help_and_errors_are_in_the_language_of_the_terminal(tmp_path: Path) -> None:
    shown = called(tmp_path, "check", "--help", lang="pt_BR.UTF-8").stdout
    assert "Verifica só a configuração; não se conecta a nada." in shown
    failed = called(tmp_path, "health", lang="pt_BR.UTF-8").stderr
    assert failed.startswith("drover: Não há")
