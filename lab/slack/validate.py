"""Judge whole messages and views as Slack would.

Every block, then what only shows when they stand together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from lab.slack.block_rules import BLOCK, IDENTIFIER, plain, readable_characters
from lab.slack.schema import Check, Context, array, boolean, complaint, fields, one_of, string

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
MESSAGE_CHARACTERS = 13_200
"""All a message's blocks together; undocumented at Slack.

Measured by its users (bolt-js issue 2509).
"""
MARKDOWN_CHARACTERS = 12_000
TEXT_CHARACTERS = 40_000
UPDATE_CHARACTERS = 4_000
"""`chat.update` answers msg_too_long beyond this; `chat.postMessage` takes ten times as much."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Slack would answer: `error` is empty when all is well; `messages` are the complaints."""

    error: str = ""
    messages: tuple[str, ...] = ()


GOOD = Verdict()


def walk_blocks(blocks: Iterable[Json], at: str = "/blocks") -> Iterator[tuple[Json, str]]:
    """Yield every block with its pointer, also those inside containers and carousels."""
    for index, block in enumerate(blocks):
        here = f"{at}/{index}"
        yield block, here
        yield from walk_blocks(block.get("child_blocks", []), f"{here}/child_blocks")
        if block.get("type") == "carousel":
            yield from walk_blocks(block.get("elements", []), f"{here}/elements")


_HOLDERS = ("actions", "context_actions")


def elements_of(block: Json) -> list[tuple[Json, str]]:
    """Answer the interactive elements directly in a block, with the pointer's tail."""
    kind = block.get("type")
    if kind in _HOLDERS:
        return [(each, f"/elements/{index}") for index, each in enumerate(block["elements"])]
    if kind == "card":
        return [(each, f"/actions/{index}") for index, each in enumerate(block.get("actions", []))]
    name = {"section": "accessory", "input": "element"}.get(str(kind), "")
    element = block.get(name)
    return [(element, f"/{name}")] if element and element.get("type") != "image" else []


def find_element(
    blocks: Iterable[Json], action_id: str, block_id: str | None = None
) -> tuple[Json, Json] | None:
    """Answer the block and the element with this action id (in this block if one is named).

    Or None.
    """
    for block, _ in walk_blocks(blocks):
        if block_id in (None, block.get("block_id")):
            for element, _ in elements_of(block):
                if element.get("action_id") == action_id:
                    return block, element
    return None


def give_ids(blocks: list[Json], next_id: Callable[[], str]) -> list[Json]:
    """Fill in the block and action ids the app left out, as Slack does.

    Changes and answers `blocks`.
    """
    for block, _ in walk_blocks(blocks):
        if not block.get("block_id"):
            block["block_id"] = next_id()
        for element, _ in elements_of(block):
            if not element.get("action_id"):
                element["action_id"] = next_id()
    return blocks


def id_counter() -> Callable[[], str]:
    """Answer a source of short ids: b0001, b0002 and so on."""
    numbers = count(1)
    return lambda: f"b{next(numbers):04d}"


def _doubled(ids: Iterable[tuple[str | None, str]], name: str) -> Iterator[str]:
    seen: set[str] = set()
    for value, at in ids:
        if value and value in seen:
            yield complaint(f"`{name}` {value!r} must be unique", at)
        seen.add(value or "")


def _ids_unique(blocks: list[Json], at: str) -> Iterator[str]:
    walked = list(walk_blocks(blocks, at))
    yield from _doubled(
        [(block.get("block_id"), f"{here}/block_id") for block, here in walked], "block_id"
    )
    for block, here in walked:
        ids = [
            (each.get("action_id"), f"{here}{tail}/action_id") for each, tail in elements_of(block)
        ]
        yield from _doubled(ids, "action_id")


def _focus_once(blocks: list[Json], at: str) -> Iterator[str]:
    focused = [
        f"{here}{tail}"
        for block, here in walk_blocks(blocks, at)
        for element, tail in elements_of(block)
        if element.get("focus_on_load")
    ]
    for pointer in focused[1:]:
        yield complaint("only one element may have focus_on_load", f"{pointer}/focus_on_load")


def _per_message(blocks: list[Json], at: str) -> Iterator[str]:
    kinds = Counter(block["type"] for block, _ in walk_blocks(blocks))
    if kinds["table"] + kinds["data_table"] > 1:
        yield complaint("only_one_table_allowed", at)
    if kinds["data_visualization"] > 2:
        yield complaint("no more than 2 data_visualization blocks allowed", at)
    if sum(len(b["text"]) for b in blocks if b["type"] == "markdown") > MARKDOWN_CHARACTERS:
        yield complaint(
            f"markdown blocks must be less than {MARKDOWN_CHARACTERS + 1} characters together", at
        )


def complaints_about(blocks: Any, context: Context, at: str = "/blocks") -> list[str]:
    """Answer everything wrong with some blocks.

    Worded as Slack does but without its ``[ERROR]``.
    """
    most = MESSAGE_BLOCKS if context.surface == "message" else VIEW_BLOCKS
    faults = list(array(BLOCK, most, 0)(blocks, at, context))
    if not faults:
        faults = [*_ids_unique(blocks, at), *_focus_once(blocks, at)]
        if context.surface == "message":
            faults += _per_message(blocks, at)
    return faults


def _verdict(error: str, faults: list[str]) -> Verdict:
    return Verdict(error, tuple(f"[ERROR] {each}" for each in faults)) if faults else GOOD


def judge_blocks(blocks: Any, context: Context) -> Verdict:
    """Judge a message's blocks: ``invalid_blocks_format``, ``invalid_blocks``.

    ``msg_blocks_too_long`` or good.
    """
    if not isinstance(blocks, list) or not all(isinstance(each, dict) for each in blocks):
        return Verdict(
            "invalid_blocks_format",
            ("[ERROR] must provide an array of objects [json-pointer:/blocks]",),
        )
    verdict = _verdict("invalid_blocks", complaints_about(blocks, context))
    if (
        not verdict.error
        and context.surface == "message"
        and readable_characters(blocks) > MESSAGE_CHARACTERS
    ):
        return Verdict("msg_blocks_too_long")
    return verdict


def judge_attachments(attachments: Any, context: Context) -> Verdict:
    """Judge legacy attachments: at most 100, and the blocks inside each."""
    if not isinstance(attachments, list) or not all(isinstance(each, dict) for each in attachments):
        return Verdict("invalid_attachments")
    if len(attachments) > 100:
        return Verdict("too_many_attachments")
    faults = [
        fault
        for index, each in enumerate(attachments)
        for fault in complaints_about(
            each.get("blocks", []), context, f"/attachments/{index}/blocks"
        )
    ]
    return _verdict("invalid_attachments", faults)


def judge_text(text: str, *, update: bool = False) -> Verdict:
    """Judge a message's plain text.

    ``msg_too_long`` beyond 40,000 characters (4,000 in an update).
    """
    most = UPDATE_CHARACTERS if update else TEXT_CHARACTERS
    return Verdict("msg_too_long") if len(text) > most else GOOD


def _anything(_: Any, __: str, ___: Context) -> Iterator[str]:
    return iter(())


_SHARED: dict[str, Check] = {
    "private_metadata": string(3000, 0),
    "callback_id": string(255, 0),
    "external_id": string(255, 0),
    "blocks": _anything,  # judged apart, with the surface's own limits
}
_MODAL = fields(
    {"type": one_of("modal"), "title": plain(24), "blocks": _anything},
    {
        **_SHARED,
        "close": plain(24),
        "submit": plain(24),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    },
)
_HOME = fields({"type": one_of("home"), "blocks": _anything}, _SHARED)


def _input_needs_submit(view: Mapping[str, Any]) -> Iterator[str]:
    inputs = any(block["type"] == "input" for block in view["blocks"])
    if view["type"] == "modal" and inputs and "submit" not in view:
        yield complaint("`submit` is required when there is an input block", "/view")


def judge_view(view: Any, context_for: Callable[[str], Context]) -> Verdict:
    """Judge a modal or a home tab: ``invalid_arguments`` with the complaints, or good."""
    kind = view.get("type") if isinstance(view, dict) else None
    if kind not in ("modal", "home"):
        return Verdict(
            "invalid_arguments", ("[ERROR] must be one of modal, home [json-pointer:/view/type]",)
        )
    context = context_for(kind)
    shape = _MODAL if kind == "modal" else _HOME
    faults = list(shape(view, "/view", context))
    if not faults:
        faults = complaints_about(view["blocks"], context, "/view/blocks") or list(
            _input_needs_submit(view)
        )
    return _verdict("invalid_arguments", faults)


def judge_options(answer: Any) -> Verdict:
    """Judge the app's answer to a block suggestion.

    Options or option groups, at most 100 of either.
    """
    from lab.slack.block_rules import OPTION_GROUP, PLAIN_OPTION

    shape = fields(
        {}, {"options": array(PLAIN_OPTION, 100, 0), "option_groups": array(OPTION_GROUP, 100, 0)}
    )
    faults = list(shape(answer, "", Context()))
    if not faults and not answer:
        faults = [complaint("must define either `options` or `option_groups`", "/")]
    return _verdict("invalid_options", faults)


def is_identifier(value: Any) -> bool:
    """Say whether a value would do as a block or action id."""
    return not list(IDENTIFIER(value, "", Context()))
