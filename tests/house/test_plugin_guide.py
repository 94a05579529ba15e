"""The plugin guide shows the example plugin, and that does what the page says: in a bot, and installed from its wheel."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import catalog, translations
from bot.domain.errors import CatalogError
from bot.domain.metrics import Sweep, VmSample
from bot.domain.operation import State
from bot.domain.steps import SetMaintenance
from bot.flow.commands.queries import Core
from bot.plugin_api import Action, Alert, Looked, Measured, Query, WatchView
from bot.testing import draw_cluster
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.operations import START

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "plugins" / "README.md"
EXAMPLE = ROOT / "examples" / "drover-quiet"
CLUSTER = """
    host-a 16cpu 64G [rack=r1] | web-1 4G load 0.01 [rack=r1] | db-1 8G 2cpu load 1.9
    host-b 16cpu 64G [rack=r2]
    host-c 16cpu 64G
    host-d 16cpu 64G [rack=r1]
"""


def modules() -> dict[str, Any]:
    """The example's modules by name, imported from its folder."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        names = ("drover_quiet", "drover_quiet.watch", "drover_quiet.rule")
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(EXAMPLE))


def guide_plugin() -> Any:
    return modules()["drover_quiet"]


def test_the_guide_shows_the_files_of_the_example_as_they_are() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    shown = dict(re.findall(r"`(examples/[\w/.-]+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL))
    code = {
        each.relative_to(ROOT).as_posix(): each.read_text(encoding="utf-8")
        for each in sorted((EXAMPLE / "drover_quiet").glob("*.py"))
    }
    assert shown == code
    assert page.count("```python") == len(shown)


def test_the_example_is_translated_and_every_sentence_of_it_is_a_message() -> None:
    package = EXAMPLE / "drover_quiet"
    assert [locale for locale, _ in translations.translations(package)] == ["pt_BR"]
    assert list(translations.problems(package)) == []
    assert list(translations.literals(package)) == []


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER, extra=(guide_plugin(),))
    yield made
    made.store.close()


def test_the_guides_plugin_loads_beside_the_core() -> None:
    loaded = catalog.load((), extra=(Core(), guide_plugin()))
    assert isinstance(loaded.commands["quiet"], Query)
    assert isinstance(loaded.commands["rest"], Action)
    assert any(rule.__name__ == "same_rack" for rule in loaded.rules)


def test_its_query_answers_and_takes_its_option(bot: Bot) -> None:
    said = text(bot.types("quiet"))
    assert "1 idle VM" in said
    assert "web-1" in said
    assert "db-1" not in said
    assert "2 idle VMs" in text(bot.types("quiet --below 5"))
    assert "0 idle VMs" in text(bot.types("quiet --below 0"))


def test_its_action_is_proposed_approved_and_done_and_then_there_is_nothing_to_do(bot: Bot) -> None:
    bot.types("rest host-b")
    assert str(bot.operation().plan.title) == "Put host-b into maintenance"
    assert bot.operation().plan.steps == (SetMaintenance("host-b", on=True),)
    assert bot.store.maintenance() == frozenset()
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert bot.operation().state is State.DONE
    assert bot.store.maintenance() == {"host-b"}
    assert "host-b is already in maintenance." in text(bot.types("rest host-b"))
    assert len(bot.store.operations()) == 1


def test_its_action_does_nothing_when_the_cluster_changed_meanwhile(bot: Bot) -> None:
    bot.types("rest host-b")
    bot.clicks("op.approve", bot.value(1), "UBRUNO")
    bot.types("rest host-b")
    bot.works()
    bot.clicks("op.approve", bot.value(2), "UBRUNO")
    bot.works()
    assert [bot.operation(number).state for number in (1, 2)] == [State.DONE, State.STALE]
    assert "host-b is already in maintenance." in text(bot.shown(2))


def test_a_host_that_does_not_exist_is_answered_with_the_nearest(bot: Bot) -> None:
    assert "host-b" in text(bot.types("rest hostb"))
    assert not bot.store.operations()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("host-b", "web-1 must run in rack r1; host-b is in rack r2."),
        ("host-c", "web-1 must run in rack r1; host-c has no tag rack."),
    ],
)
def test_its_rule_keeps_a_vm_from_another_rack(bot: Bot, host: str, reason: str) -> None:
    assert reason in text(bot.types(f"migrate web-1 to {host}"))
    assert not bot.store.operations()


def test_its_rule_lets_a_vm_into_its_own_rack_and_says_nothing_of_the_others(bot: Bot) -> None:
    bot.types("migrate web-1 to host-d")
    bot.types("migrate db-1 to host-c")
    assert [str(each.plan.title) for each in bot.store.operations()[::-1]] == [
        "Move web-1 from host-a to host-d",
        "Move db-1 from host-a to host-c",
    ]


def look(cpu: float, memory: Any) -> Looked:
    sample = VmSample("u-db-1", "db-1", "host-a", "running", 2, cpu, 0.0, 1000)
    measured = Measured(Sweep(START, (), (sample,)))
    nothing: Any = None
    found: Looked = modules()["drover_quiet.watch"].look(
        WatchView(draw_cluster(CLUSTER), (), nothing, measured, memory, START)
    )
    return found


def test_its_watch_tells_of_a_busy_vm_once_it_is_and_once_it_is_over() -> None:
    assert modules()["drover_quiet.watch"].busy_vms.every == timedelta(minutes=1)
    first = look(1.99, {})
    (alert,) = first.noticed
    assert isinstance(alert, Alert)
    assert (alert.key, str(alert.card.text), alert.over) == (
        "u-db-1",
        "db-1 uses all of its vCPUs",
        False,
    )
    assert [remedy.command for remedy in alert.remedies] == ["chart db-1"]
    remembered = json.loads(json.dumps(first.memory))
    (over,) = look(0.1, remembered).noticed
    assert isinstance(over, Alert)
    assert (over.key, over.over) == ("u-db-1", True)
    assert look(0.1, look(0.1, remembered).memory).noticed == ()


def test_its_remedy_is_a_command_that_exists() -> None:
    loaded = catalog.load(("monitor",), extra=(Core(), guide_plugin()))
    assert "chart" in loaded.commands


def run(*command: str, path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A command with a folder of packages beside the bot's own."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{path}", "LANG": "C", **more}
    return subprocess.run(
        command, cwd=path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as a wheel and installed from it into an empty folder, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    target = folder / "site"
    target.mkdir()
    source = shutil.copytree(
        EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__")
    )
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    offline = ("--no-index", "--no-deps")
    for command in (
        (*pip, "wheel", "--no-build-isolation", *offline, "-w", str(folder), str(source)),
        (*pip, "install", *offline, "--target", str(target), str(folder / WHEEL)),
    ):
        done = run(*command, path=target)
        assert done.returncode == 0, done.stderr
    return target


WHEEL = "drover_quiet-1.0.0-py3-none-any.whl"


@pytest.mark.process
def test_installed_from_its_wheel_the_example_is_listed_with_its_commands(installed: Path) -> None:
    enabled = {"DROVER_PLUGINS__ENABLED": '["migrate", "quiet"]'}
    drover = (sys.executable, "-m", "bot")
    listed = run(*drover, "plugins", path=installed, **enabled)
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"^quiet\n  quiet +List idle VMs$", listed.stdout, re.MULTILINE)
    spoken = run(*drover, "plugins", path=installed, **enabled, LC_ALL="pt_BR.UTF-8")
    assert "Listar as VMs ociosas" in spoken.stdout


@pytest.mark.process
def test_installed_from_its_wheel_the_example_plans_on_a_drawn_cluster(installed: Path) -> None:
    drawing = ROOT / "config/clusters/uneven.txt"
    host = draw_cluster(drawing.read_text(encoding="utf-8")).hosts[0].name
    command = (sys.executable, "-m", "bot", "plan", "rest", host, "--cluster", str(drawing))
    done = run(*command, path=installed, DROVER_PLUGINS__ENABLED='["quiet"]')
    assert done.returncode == 0, done.stderr
    assert f"Put {host} into maintenance" in done.stdout


IN_A_BOT = """
import tempfile
from pathlib import Path
import drover_quiet
from tests.bot.flow.small_bot import small_bot, text

assert drover_quiet.__file__.startswith(str(Path.cwd())), drover_quiet.__file__
with tempfile.TemporaryDirectory() as folder:
    bot = small_bot(Path(folder), plugins=("migrate", "quiet"))
    assert "idle VM" in text(bot.types("quiet --below 0.6"))
    bot.types("rest host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    print(bot.operation().state.value, *bot.store.maintenance())
    bot.store.close()
"""


@pytest.mark.process
def test_installed_from_its_wheel_the_example_runs_in_a_bot(installed: Path) -> None:
    done = run(sys.executable, "-c", IN_A_BOT, path=installed)
    assert done.stdout == "done host-b\n", done.stderr


@pytest.mark.process
def test_the_examples_own_tests_pass_against_its_wheel(installed: Path) -> None:
    done = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
        f"--rootdir={EXAMPLE}", str(EXAMPLE / "tests"), path=installed,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("code", "name", "told"),
    [
        ("import no_such_module", "owners", "plugin-broken"),
        ("1 / 0", "owners", "plugin-broken"),
        ("hooks = 0", "owners", "no-hook"),
        (None, "owners_of_nothing", ""),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, name: str, told: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "owners", raising=False)
    if code is not None:
        (tmp_path / "owners.py").write_text(code, encoding="utf-8")
    with pytest.raises(CatalogError) as raised:
        catalog.load((name,))
    assert name in str(raised.value)
    assert not told or raised.value.code == told


def test_a_plugin_may_be_one_file_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "owners", raising=False)
    hooks = (EXAMPLE / "drover_quiet" / "query.py").read_text(encoding="utf-8") + FILE_HOOK
    (tmp_path / "owners.py").write_text(hooks, encoding="utf-8")
    assert "quiet" in catalog.load(("owners",)).commands
    sys.modules.pop("owners")


FILE_HOOK = """

from bot.hookspecs import hookimpl

@hookimpl
def register_commands():
    return [quiet]
"""
