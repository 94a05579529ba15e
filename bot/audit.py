"""The audit trail for people's own tools.

Every stored event as JSON lines or CSV, with what proves it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from bot.adapters.sql.chain import ChainedEvent
from bot.domain.plan import digest_of
from bot.domain.words import inert_cell

COLUMNS = ("position", "operation", "seq", "at", "by", "kind", "plan", "data", "previous", "hash")


def json_lines(links: Iterable[ChainedEvent]) -> Iterator[str]:
    """One JSON object a line.

    ``COLUMNS``; ``data`` is the whole event, ``plan`` the digest of a proposal's plan.

    ``hash`` is SHA-256 of the JSON array [previous, position, number of the operation, seq, event
    as canonical JSON].
    """
    for link in links:
        yield json.dumps(_entry(link), ensure_ascii=False)


def csv_lines(links: Iterable[ChainedEvent]) -> Iterator[str]:
    """The same as CSV with a header; ``data`` is JSON.

    A cell that a spreadsheet would calculate begins with ``'``.
    """
    yield _line(COLUMNS)
    for link in links:
        entry = {**_entry(link), "data": link.data}
        yield _line(tuple(inert_cell(str(entry[name])) for name in COLUMNS))


def _entry(link: ChainedEvent) -> dict[str, object]:
    data = json.loads(link.data)
    return {
        "position": link.position,
        "operation": f"op-{link.operation}" if link.operation else "",
        "seq": link.seq,
        "at": link.at,
        "by": link.by,
        "kind": link.kind,
        "plan": _digest(data),
        "data": data,
        "previous": link.previous,
        "hash": link.hash,
    }


def _digest(data: dict[str, Any]) -> str:
    """What was signed.

    Of a proposal its plan's, of a vote the one the voter saw; '' of all else.
    """
    if "plan" in data:
        return digest_of(data["plan"])
    return str(data.get("digest", ""))


def _line(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()
