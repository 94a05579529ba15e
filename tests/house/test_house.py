"""The rules of the house: imports, types, style, and that every hook is written down."""

import argparse
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.house import is_participle
from bot import hookspecs
from bot.domain.operation import diagram
from tests.source import ROOT, files

VAGUE = {"manager", "utils", "util", "helpers", "helper", "common", "base", "misc"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.process
@pytest.mark.timeout(600)
def test_types_hold_under_mypy_strict() -> None:
    done = run(sys.executable, "-m", "mypy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_style_holds_under_ruff() -> None:
    done = run(sys.executable, "-m", "ruff", "check", "bot", "plugins", "lab", "tests", "bench")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_the_formatter_would_change_nothing() -> None:
    done = run(
        sys.executable, "-m", "ruff", "format", "--check", "bot", "plugins", "lab", "tests", "bench"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_imports_go_one_way_only() -> None:
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_hook_is_documented_with_its_exact_signature() -> None:
    page = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if function.__module__ == hookspecs.__name__:
            arguments = ", ".join(inspect.signature(function).parameters)
            assert f"{name}({arguments})" in page


def test_the_state_diagram_in_the_readme_is_the_state_table() -> None:
    assert diagram() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_module_has_a_vague_name() -> None:
    tracked = run("git", "ls-files", "*.py").stdout.split()
    assert tracked
    assert not [path for path in tracked if Path(path).stem in VAGUE]


def test_tests_wait_in_one_way_and_for_conditions() -> None:
    """A copy has a deadline of its own, and a fixed sleep is too short on a busy machine and too long on all others."""
    tracked = run("git", "ls-files", "tests/*.py").stdout.split()
    own = r"^def (until|soon|waits|wait_until|eventually)\(|^class RealClock\b|\bsleep\(([2-9]|[1-9][0-9])\b[^)]*\)"
    found = [
        f"{path}: {match[0]}"
        for path in tracked
        if path != "tests/waiting.py"
        for match in re.finditer(own, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert [each for each in found if "clock" not in each and "600" not in each] == []


@pytest.mark.process
def test_every_bench_of_the_readme_is_one_that_ends_with_its_goals() -> None:
    listed = run("./drover", "bench").stdout.splitlines()
    benches = {line.split()[0] for line in listed}
    named = set(
        re.findall(r"`\./drover bench ([a-z_]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert named
    assert named <= benches
    assert all(len(line.split()) > 3 for line in listed), "each says what it measures"
    for bench in benches:
        code = (ROOT / "bench" / f"{bench}.py").read_text(encoding="utf-8")
        assert f"./drover bench {bench}" in code
        assert re.search(r"^ +conclude\(|goals: met", code, re.MULTILINE), bench


class _ParsedError(Exception):
    """A bench has taken its arguments; what it measures is left out."""


def bench_lines() -> list[str]:
    """Each bench alone, and each command of the README and the docs as it stands there."""
    alone = [
        path.stem
        for path in sorted((ROOT / "bench").glob("*.py"))
        if "\ndef main" in path.read_text(encoding="utf-8")
    ]
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    shown = [
        re.sub(r"\s+", " ", line).replace("COMMIT", "HEAD")
        for page in pages
        for line in re.findall(r"`\./drover bench ([a-z_][^`]*)`", page.read_text(encoding="utf-8"))
    ]
    return sorted({*alone, *shown})


@pytest.mark.parametrize("line", bench_lines())
def test_a_bench_starts_and_takes_the_arguments_that_the_pages_give_it(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *arguments = line.split()
    bench = importlib.import_module(f"bench.{name}")
    if not hasattr(bench, "argparse"):
        assert arguments == [], "it takes none"
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> argparse.Namespace:
        parse(parser)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(_ParsedError):
        bench.main()


@pytest.mark.process
@pytest.mark.parametrize(
    ("found", "last", "code"), [(1.0, "goals: met", 0), (1.1, "goals: missed: b", 1)]
)
def test_a_bench_ends_with_its_goals_and_its_exit_code(found: float, last: str, code: int) -> None:
    goals = f'[Goal("a", 5, least=5), Goal("b", {found}, most=1)]'
    done = run(sys.executable, "-c", f"from bench.goals import Goal, conclude; conclude({goals})")
    assert (done.stdout.splitlines()[-1], done.returncode) == (last, code)


@pytest.mark.process
def test_a_bench_that_does_not_exist_is_told_with_those_that_do() -> None:
    done = run("./drover", "bench", "nothing")
    assert done.returncode == 2
    assert "There is no bench “nothing”" in done.stderr
    assert "history" in done.stderr


def test_every_module_opens_with_a_sentence() -> None:
    for path in [
        *ROOT.glob("bot/**/*.py"),
        *ROOT.glob("plugins/**/*.py"),
        *ROOT.glob("lab/**/*.py"),
    ]:
        if "node_modules" in path.parts:
            continue
        first = path.read_text(encoding="utf-8").lstrip().splitlines()[0]
        assert first.startswith(('"""', 'r"""')), path
        assert first.rstrip('"').endswith((".", ":", "!", "?")) or not first.endswith('"""'), path


def test_locks_pin_every_package_by_hash_and_name_no_host() -> None:
    for lock in (ROOT / "config" / "lock").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        names = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
        assert names
        assert "://" not in text
        for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_every_key_of_the_settings_is_in_the_example() -> None:
    from bot.settings import DroverSettings

    example = (ROOT / "config" / "drover.example.toml").read_text(encoding="utf-8")
    secret = {"bot_token", "app_token", "signing_secret"}
    for name, field in DroverSettings.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        for key in section or (name,):
            assert key in secret or re.search(rf"\b{key}\b", example), f"{name}.{key}"


def test_the_private_names_of_dbos_are_those_that_a_decision_gives_reasons_for() -> None:
    reasons = (ROOT / "docs/decisions/0031-private-names-of-dbos.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`((?:DBOS|dbos)\._[\w.]+)`", reasons))
    used = set()
    for file in (ROOT / "bot").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        used |= {f"DBOS{name}" for name in re.findall(r"\b(?:DBOS|self\._dbos)(\._\w+)", text)}
        for module, name in re.findall(r"^from (dbos\._[\w.]+) import (\w+)", text, re.MULTILINE):
            used.add(f"{module}.{name}" if f"{module}.{name}" in known else module)
    assert used == known


def test_every_lock_says_what_it_is_for() -> None:
    silent = []
    for file in (*(ROOT / "bot").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            made = re.search(
                r"= threading\.(?:R?Lock|Condition|(?:Bounded)?Semaphore)\((?!self)", line
            )
            if made and "testing" not in file.parts and "#" not in line + lines[number - 1]:
                silent.append(f"{file.relative_to(ROOT)}:{number + 1}")
    assert silent == []


def test_no_function_is_named_by_a_participle() -> None:
    """What acts is an imperative, what is computed a noun: `told` says neither who does what nor what it is."""
    found = [
        (str(file.relative_to(ROOT)), name)
        for file, text in files().items()
        for name in re.findall(r"^ *def (\w+)", text, re.MULTILINE)
    ]
    assert len(found) > 1000
    assert [(file, name) for file, name in found if is_participle(name)] == []
    assert is_participle("_taken_over")
    assert not is_participle("shared_disks")


def test_every_retry_and_limit_says_why() -> None:
    """A number for how often, how long or how many at most: on its line, above it, or in a docstring below."""
    named = re.compile(
        r"_?(?:[A-Z]+_)*(?:MOST|TRIES|RETRY|LIMIT|LONGEST|LARGEST|BIGGEST|PATIENCE|GRACE|BACKOFF"
        r"|THREADS|ONCE|KEPT|DEADLINE)(?:_[A-Z]+)*(?:, _?[A-Z_]+)*(?:: \w+)? = "
        r"(?:[\d(]|timedelta)"
    )
    silent = []
    for file in (*(ROOT / "bot").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        if "testing" in file.parts:
            continue
        lines = ["", *file.read_text(encoding="utf-8").splitlines(), ""]
        for number, line in enumerate(lines):
            counted = re.search(r"^ +for _ in range\(\d+\)", line)
            if (counted or named.match(line)) and not (
                "#" in line + lines[number - 1] or lines[number + 1].startswith('"""')
            ):
                silent.append(f"{file.relative_to(ROOT)}:{number}: {line}")
    assert silent == []
