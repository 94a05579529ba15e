"""Every command that people are told to type quotes the names in it, whatever names they are."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import bot
from bot.catalog import load
from bot.domain.cluster import (
    CpuFit,
    Disk,
    Inbound,
    Lack,
    Listener,
    Nic,
    Pool,
    Snapshot,
    VmDetail,
    VmState,
)  # fmt: skip
from bot.domain.errors import DroverError
from bot.domain.message import Message
from bot.domain.plan import Objection, Reason
from bot.domain.steps import MigrateVm
from bot.flow.commands.queries import Core
from bot.testing import draw_cluster
from plugins.balance import cards as balance
from plugins.balance import drain, rolling, shares
from plugins.vm_lifecycle import cards as lifecycle

PLUGINS = ("migrate", "balance", "vm_lifecycle", "host_check", "monitor", "failover")
HOSTILE = (
    "a b",
    "it's",
    'say "x"',
    "$(touch x)",
    "a;touch x",
    "a|b",
    "a\nb",
    "-rf",
    "--all",
    "a&b",
    "~",
    "*",
)


def cluster(name: str) -> Snapshot:
    seen = draw_cluster("host-a 8cpu 16G | web-1 1G 2cpu\nhost-b 8cpu 16G | web-2 1G")
    detail = VmDetail(
        disks=(Disk("vda", "file", f"/srv/{name}"),),
        nics=(Nic("network", name),),
        checkpoints=1,
        snapshots=1,
    )
    return replace(seen, vms=tuple(replace(vm, name=name, detail=detail) for vm in seen.vms))


def arguments(function: Callable[..., Any], name: str) -> dict[str, Any] | None:
    """Values for a function's parameters by their types; None where one has a type that is not known here."""
    seen = cluster(name)
    vm, host = seen.vms[0], seen.hosts[1]
    known: dict[str, Any] = {
        "Vm": vm, "Host": host, "Nic": Nic("network", name), "Disk": Disk("vda", "file", name), "str": name,
        "Pool": Pool(name, "dir", f"/{name}", active=True, autostart=True), "int": 1, "float": 1.0, "bool": True,
        "Inbound": Inbound(vm.uuid, "host-a", "host-b", 1, "op-1"), "CpuFit": CpuFit(vm.uuid, "host-b", fits=False),
        "Lack": Lack("emulator", name), "Listener": Listener("vnc", "10.0.0.1"), "VmState": VmState.RUNNING,
        "MigrateVm": MigrateVm(vm.uuid, name, "host-a", "host-b", 1), "DroverError": DroverError("no"),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for parameter, kind in get_type_hints(function).items():
        if parameter == "return":
            continue
        text = str(getattr(kind, "__name__", kind)) if inspect.isclass(kind) else str(kind)
        inner = re.search(r"\[(?:[\w.]+\.)?(\w+)(?:, \.\.\.)?\]", text)
        word = inner[1] if inner else text.rpartition(".")[2]
        optional = re.fullmatch(r"(?:[\w.]+\.)?(\w+) \| None", text)
        word = optional[1] if optional else word
        if word not in known:
            return None
        if parameter == "verb":
            found[parameter] = "shutdown"
            continue
        found[parameter] = (known[word],) if inner and not optional else known[word]
    return found


def producers() -> Iterator[Callable[..., Any]]:
    """Functions that make objections and reasons, which is where advice stands."""
    for module in (lifecycle,):
        for name, function in sorted(vars(module).items()):
            mine = (
                inspect.isfunction(function)
                and function.__module__ == module.__name__
                and not name.startswith("_")
            )
            if mine and get_type_hints(function).get("return") in {Objection, Reason}:
                yield function


def balance_advice(name: str) -> Iterator[Message]:
    """What the balance plugin advises about a VM and a host of this name."""
    seen = draw_cluster("host-a 8cpu 16G | web-1 1G 2cpu\nhost-b 8cpu 16G | web-2 1G")
    vm, other = (replace(each, name=name, wait=1.0, cpu=1.0) for each in seen.vms)
    yield balance.vms_still_run(name, ["web-1"]).remedy
    yield balance.undrain_advice(name)
    yield balance.remedy_for(vm, "pinned")
    yield balance.remedy_for(vm, "own")
    yield balance.remedy_for(replace(vm, problem="error 1"), "")
    yield drain._stays(vm, "host-a", ()).remedy
    yield rolling._resting_already(name).remedy
    yield shares._suggestion(vm, vm).remedy
    yield shares._suggestion(vm, other).remedy
    yield shares._not_running(vm).remedy


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_word_of_a_command(name: str) -> None:
    asked, texts = 0, [str(each) for each in balance_advice(name)]
    for function in producers():
        given = arguments(function, name)
        if given is None:
            continue
        made = function(**given)
        texts.append(str(getattr(made, "remedy", "")))
    for text in texts:
        for line in re.findall(r"`([^`]+)`", text):
            if (name not in line and shlex.quote(name) not in line) or re.match(
                r"name =|path =", line
            ):
                continue
            words = shlex.split(line)
            asked += 1
            assert any(
                name == word or word.endswith((f"/{name}", f"={name}", f'"{name}"'))
                for word in words
            ), line
            if name.startswith("-") and name in words:
                assert "--" in words[: words.index(name)], line
    assert asked >= 9, "the functions are still found"


CODE = re.compile(
    r"""f"[^"]*`(?:vm|migrate|where|why|virsh|show|forecast)\b[^`"]*\{(?!command|quote|name\}|verb\})[^`"]*`"""
)
MAY = {
    "`virsh undefine {": "a UUID",
    "`virsh allocpages {": "a number",
    "`virsh pool-{": "a word of ours",
}


def test_no_text_of_the_tree_puts_a_bare_name_into_a_command() -> None:
    root = Path(bot.__file__).parent.parent
    bare = [
        f"{path.relative_to(root)}: {found}"
        for folder in ("bot", "plugins") for path in sorted((root / folder).rglob("*.py"))
        for found in CODE.findall(path.read_text(encoding="utf-8"))
        if not any(word in found for word in MAY)
    ]  # fmt: skip
    assert bare == []


def commands_without_slash(source: str, names: Mapping[str, Any]) -> Iterator[str]:
    """Drover's own commands that messages of this source write without the slash command.

    Such a one is typed as it stands, and neither a chat with another slash command nor a terminal
    shows it in its own form. ``names``: the module's, for constants.
    """
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            if call.func.id in {"words", "nwords"}:
                templates = [each.value for each in call.args if isinstance(each, ast.Constant)]
                spans = re.findall(r"`([^`]+)`", " ".join(map(str, templates)))
                spans += [opening(each.value, names) for each in call.keywords]
            else:
                spans = (
                    [opening(each, names) for each in call.args] if call.func.id == "Code" else []
                )
            yield from (span for span in spans if is_own(span))


def opening(value: ast.expr, names: Mapping[str, Any]) -> str:
    """How a text begins, as far as the source tells; '' where it does not."""
    if isinstance(value, ast.JoinedStr):
        return "".join(opening(each, names) or "…" for each in value.values)
    if isinstance(value, ast.FormattedValue):
        return opening(value.value, names)
    found = names.get(value.id, "") if isinstance(value, ast.Name) else ""
    found = value.value if isinstance(value, ast.Constant) else found
    return found if isinstance(found, str) else ""


def is_own(line: str) -> bool:
    return any(f"{line} ".startswith(f"{name} ") for name in COMMANDS if " " in name)


COMMANDS = tuple(load(PLUGINS, {}, extra=(Core(),)).commands)


@pytest.mark.parametrize("folder", ["bot", "plugins"])
def test_every_command_in_a_message_is_written_with_the_slash_command(folder: str) -> None:
    root = Path(bot.__file__).parent.parent
    found = []
    for path in sorted((root / folder).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        source = path.read_text(encoding="utf-8")
        if "words(" in source or "Code(" in source:
            names = vars(importlib.import_module(name.removesuffix(".__init__")))
            found += [f"{name}: {each}" for each in commands_without_slash(source, names)]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('words("Use {command}.", command=Code(f"host failover {host}"))', 1),
        ('words("Use {command}.", command=f"host readmit {host}")', 1),
        ("Code(VERB)", 1),
        ('Code(f"{VERB} {host}")', 1),
        ('words("Use `host check`.")', 1),
        ('words("Use `/kvm host check`.")', 0),
        ('words("Use {command}.", command=Code(f"/kvm host failover {host}"))', 0),
        ('words("{what}", what="host name")', 0),
    ],
)
def test_a_command_without_the_slash_command_is_found(source: str, found: int) -> None:
    assert len(list(commands_without_slash(source, {"VERB": "host failover"}))) == found


def test_no_command_for_virsh_names_a_vm_by_what_virsh_may_read_as_another() -> None:
    """Digits are an id to virsh, and 36 characters a UUID, before they are a name."""
    bare = re.compile(r'"virsh [^"]*\{\}[^"]*",\s*(?:\w+\.)?(?:vm|step|move|guest)\.name\b')
    root = Path(bot.__file__).parents[1]
    found = [
        (str(path.relative_to(root)), match[0])
        for folder in ("bot", "plugins")
        for path in (root / folder).rglob("*.py")
        for match in bare.finditer(path.read_text())
    ]
    assert found == []
    assert bare.search('shell("virsh destroy {}", vm.name)')
