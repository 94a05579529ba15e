"""The reference of what is kept and measured: events of the audit trail, and Prometheus metrics."""

from __future__ import annotations

import dataclasses
import inspect

from prometheus_client import Metric

from bot.adapters.prometheus import Exposed
from bot.domain import operation
from bot.plugin_api import Measured
from docsite.tables import code, table


def events_page() -> str:
    """Every event of an operation with its fields, and the states it leads from and to."""
    rows = [
        (code(each.__name__), _about(each), ", ".join(map(code, _fields(each))))
        for each in (*operation.EVENTS, operation.Attempted)
    ]
    states = [
        (code(state.value), code(event.__name__), code(to.value))
        for state, row in operation.TRANSITIONS.items()
        for event, (to, _) in row.items()
    ]
    return "\n".join(
        [
            "# Events\n",
            _EVENTS,
            table(("event", "what happened", "fields, beside `at` and `by`"), rows),
            "## States\n",
            table(("in state", "the event", "leads to"), states),
        ]
    )


_EVENTS = """\
Made from the code. An operation is its events: they are only added, and each one's hash covers
the one before. `drover audit export` prints them all, one JSON object a line: `position`,
`operation`, `seq`, `kind` (the event's name), `at` (UTC), `by` (a user id, or `drover`), the
event's own fields, `previous` and `hash`.
"""


def _about(event: type[operation.Event]) -> str:
    return inspect.cleandoc(event.__doc__ or "").replace("``", "`")


def _fields(event: type[operation.Event]) -> list[str]:
    return [each.name for each in dataclasses.fields(event) if each.name not in ("at", "by")]


def metrics_page() -> str:
    """Every metric that Drover serves."""
    rows = [
        (code(_served(each)), each.type, ", ".join(map(code, _labels(each))), each.documentation)
        for each in Exposed(Measured).collect()
    ]
    return "\n".join(
        ["# Metrics\n", _METRICS, table(("metric", "type", "labels", "what it is"), rows)]
    )


_METRICS = """\
Made from the code. `[metrics] port` serves them at `/metrics` for Prometheus, and `/healthz`
beside them: 200 while the bot is well, 503 with the reason in a sentence when it is not. Newest
values only; nothing of a host that does not answer.
"""


def _served(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> tuple[str, ...]:
    return tuple(getattr(family, "_labelnames", ()))
