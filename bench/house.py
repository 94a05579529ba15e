"""How plain the code is: its density, complexity and names, and what one command visits; before and now.

Counted of the Python files of ``bot`` and ``plugins``:

- tokens a line: the tokens that Python's own tokenizer finds (no comments, no layout, no
  docstrings), divided by the lines that have any;
- complexity: McCabe's number, 1 and one more for each branch, loop, ``except``, ``and``/``or``,
  conditional expression and comprehension (stricter than ruff's C901, which sees statements
  alone); a function inside another counts for itself;
- ``Any``: the name, where it is used and not imported;
- participles: functions named by a past participle, alone or with a particle (``told``,
  ``_taken_over``); one before a noun is an adjective and counts not (``shared_disks``);
- documented: functions, methods and classes without a leading underscore that have a docstring;
- comments: lines that have one.

Then ``/kvm migrate web-1 to host-b`` is played, from what is typed over the approver's click to
Done, on the small bot of the tests (fake hosts, a fake chat, a real SQLite database), under
``sys.setprofile`` in all threads. Counted are the files and functions of ``bot`` and ``plugins``
that are entered at least once, and all calls; lambdas and comprehensions belong to the function
around them, and what only happens at import, in ``bot/testing``, or while the bot is built counts not.

    ./drover bench house [--at COMMIT]

``--at`` measures another commit, read from git, in the same way.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.goals import Goal, conclude

ROOT = Path(__file__).parents[1]
FOLDERS = ("bot", "plugins")
LONG = 100  # columns
TANGLED = 10  # McCabe's number that a function should not exceed

_LAYOUT = frozenset({
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
})  # fmt: skip
# Those of the irregular verbs whose form is no imperative too (unlike read, put, set, run, split)
_IRREGULAR = (
    "begun bound bought broken brought built caught chosen done drawn fed felt found given gone"
    " grown heard held hidden kept known laid led left lost made meant met said seen sent shown"
    " spent stuck taken taught thought told torn undone understood worn written"
)
_PARTICLES = (
    "about again apart at away back before but by down for from here home in it meanwhile of off on"
    " out over there through to twice up with without"
)
_NO_PARTICIPLE = frozenset({"embed", "exceed", "feed", "need", "proceed", "red", "seed", "speed"})


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted of one folder."""

    files: int
    lines: int
    tokens_a_line: float
    complexity_p90: int
    complexity_worst: int
    tangled: int
    long_lines: float
    any_names: int
    participles: int
    documented: float
    comments: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What the command entered."""

    files: int
    functions: int
    calls: int


LABELS = {
    "files": "files",
    "lines": "lines",
    "tokens_a_line": "tokens a line of code",
    "complexity_p90": "complexity, 90th percentile",
    "complexity_worst": "complexity, worst",
    "tangled": f"functions with more than {TANGLED}",
    "long_lines": f"lines over {LONG} columns, %",
    "any_names": "Any",
    "participles": "functions named by a participle",
    "documented": "public names documented, %",
    "comments": "lines with a comment, %",
}

# Of commit 1264282, before issue 10 was begun: ./drover bench house --at 1264282 --json
BEFORE = {
    "bot": Figures(
        files=140,
        lines=20931,
        tokens_a_line=9.87,
        complexity_p90=6,
        complexity_worst=24,
        tangled=35,
        long_lines=6.83,
        any_names=227,
        participles=193,
        documented=97.6,
        comments=1.59,
    ),
    "plugins": Figures(
        files=85,
        lines=15851,
        tokens_a_line=10.73,
        complexity_p90=7,
        complexity_worst=29,
        tangled=48,
        long_lines=8.58,
        any_names=34,
        participles=151,
        documented=97.8,
        comments=1.48,
    ),
}
# A first trace, by another script from outside, found 33 files and 278 functions
VISIT_BEFORE = Visit(files=33, functions=288, calls=14777)

QUOTED = """
Elsewhere: quoted from a reading of this repository from outside (at commit b229048), which
counted pluggy and structlog with a script like this one; it found 9.9 tokens a line in bot then
and 10.8 in plugins, where this one finds 9.8 and 10.7.

                                      pluggy   structlog
  tokens a line of code                  6.3         6.3
  complexity, 90th percentile              6           3
  complexity, worst                       21          31
  functions with more than 10              3           7
  lines over 100 columns, %              0.1         0.1
  Any                                     12         300
  public names documented, %              72          81
  lines with a comment, %                  6.8         3.4
"""

PLAY = """
import json, sys, tempfile, threading
from pathlib import Path
sys.path.insert(0, str(Path.cwd()))
from tests.bot.flow.small_bot import small_bot

root = str(Path.cwd()) + "/"
counts = {}

def profile(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith((root + "bot/", root + "plugins/")):
        name = code.co_filename, code.co_qualname
        counts[name] = counts.get(name, 0) + 1

with tempfile.TemporaryDirectory() as folder:
    bot = small_bot(Path(folder))
    threading.setprofile(profile)
    sys.setprofile(profile)
    bot.types("migrate web-1 to host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    sys.setprofile(None)
    threading.setprofile(None)
    assert bot.operation().state.value == "done", bot.operation().state
    assert bot.where("web-1") == ["host-b"]
    bot.store.close()

inner = {"<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>", "<lambda>", "<locals>", "<module>"}
visited = {}
for (file, name), calls in counts.items():
    parts = name.split(".")
    file = file.removeprefix(root)
    if not file.startswith("bot/testing/"):
        while parts and parts[-1] in inner:
            parts.pop()
        if parts:
            visited[file, ".".join(parts)] = visited.get((file, ".".join(parts)), 0) + calls
print(json.dumps({
    "files": len({file for file, _ in visited}),
    "functions": len(visited),
    "calls": sum(visited.values()),
}))
"""


def figures(folder: Path) -> Figures:
    """Count one folder."""
    files = sorted(folder.rglob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    lines = [line for text in texts for line in text.splitlines()]
    trees = [ast.parse(text) for text in texts]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    public = [
        node
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    found = sorted(complexity(each) for each in functions)
    density = [tokens_and_lines(text, tree) for text, tree in zip(texts, trees, strict=True)]
    return Figures(
        files=len(files),
        lines=len(lines),
        tokens_a_line=sum(each for each, _ in density) / sum(each for _, each in density),
        complexity_p90=found[len(found) * 9 // 10],
        complexity_worst=found[-1],
        tangled=sum(each > TANGLED for each in found),
        long_lines=100 * sum(len(line) > LONG for line in lines) / len(lines),
        any_names=sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes),
        participles=sum(is_participle(each.name) for each in functions),
        documented=100 * sum(ast.get_docstring(each) is not None for each in public) / len(public),
        comments=100 * sum(map(lines_with_comment, texts)) / len(lines),
    )


def tokens_and_lines(text: str, tree: ast.Module) -> tuple[int, int]:
    """The tokens of code in a file and the lines that hold them, docstrings left out."""
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    starts = [
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _LAYOUT and token.start[0] not in documented
    ]
    return len(starts), len(set(starts))


def lines_with_comment(text: str) -> int:
    """How many lines of a file have a comment."""
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT for token in found)


def complexity(function: ast.FunctionDef) -> int:
    """McCabe's number of a function, without the functions inside it."""
    return 1 + sum(map(_branches, _own_nodes(function)))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _branches(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return isinstance(
        node, ast.If | ast.IfExp | ast.For | ast.While | ast.ExceptHandler | ast.match_case
    )


def is_participle(name: str) -> bool:
    """Whether a function's name is a past participle, alone or with a particle."""
    first, *rest = name.strip("_").split("_")
    is_one = (first.endswith("ed") and first not in _NO_PARTICIPLE) or first in _IRREGULAR.split()
    return is_one and all(each in _PARTICLES.split() for each in rest)


def visit(root: Path) -> Visit:
    """Play the command in a tree, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PLAY],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        sys.exit(f"The command could not be played:\n{done.stderr}")
    return Visit(**json.loads(done.stdout.splitlines()[-1]))


def check_out(commit: str, folder: Path) -> None:
    """Write the tree of a commit into a folder."""
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as opened:
        opened.extractall(folder, filter="data")


def measured(commit: str) -> tuple[dict[str, Figures], Visit]:
    """The figures of the working tree, or of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT
        if commit:
            root = Path(folder)
            check_out(commit, root)
        return {each: figures(root / each) for each in FOLDERS}, visit(root)


def table(now: dict[str, Figures]) -> Iterator[str]:
    """Each figure before and now, folder by folder."""
    titles = [f"{each} {when}" for each in FOLDERS for when in ("before", "now")]
    yield f"{'':34}" + "".join(f"{each:>16}" for each in titles)
    for name, label in LABELS.items():
        values = [getattr(when[each], name) for each in FOLDERS for when in (BEFORE, now)]
        shown = [f"{each:.1f}" if isinstance(each, float) else f"{each:,}" for each in values]
        yield f"  {label:32}" + "".join(f"{each:>16}" for each in shown)


def goals(now: dict[str, Figures], visited: Visit) -> Iterator[Goal]:
    """What issue 10 set out for."""
    yield Goal("files that /kvm migrate visits", visited.files, most=VISIT_BEFORE.files - 1)
    yield Goal(
        "functions that /kvm migrate visits", visited.functions, most=VISIT_BEFORE.functions - 1
    )
    for folder, found in now.items():
        before = BEFORE[folder]
        yield Goal(
            f"{folder}: functions with more than {TANGLED}, share of before",
            found.tangled / found.lines * before.lines / before.tangled,
            most=0.5,
        )
        yield Goal(f"{folder}: % of lines over {LONG} columns", found.long_lines, most=0)
        yield Goal(f"{folder}: functions named by a participle", found.participles, most=0)
        yield Goal(f"{folder}: Any", found.any_names, most=before.any_names)
        yield Goal(f"{folder}: tokens a line", found.tokens_a_line, most=before.tokens_a_line - 1)


def main() -> None:
    """Count, play, and compare with before."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--at", metavar="COMMIT", default="", help="measure this commit instead of the working tree"
    )
    arguments.add_argument("--json", action="store_true", help="print the figures as JSON only")
    given = arguments.parse_args()
    now, visited = measured(given.at)
    if given.json:
        print(json.dumps({each: asdict(found) for each, found in now.items()}))
        print(json.dumps(asdict(visited)))
        return
    print(*table(now), sep="\n")
    print(QUOTED)
    print("/kvm migrate web-1 to host-b, typed to Done, in memory")
    for name in ("files", "functions", "calls"):
        print(f"  {name:32}{getattr(VISIT_BEFORE, name):16,}{getattr(visited, name):16,}")
    conclude(goals(now, visited))


if __name__ == "__main__":
    main()
