"""Pure: what goes wrong as time passes, as alerts: clocks that drift, certificates that end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from bot.alert_rules import Condition, Limits, evaluate
from bot.domain.readiness import Finding, Severity
from bot.plugin_api import Looked, Remedy, WatchView
from plugins.host_check import cards
from plugins.host_check.settings import HostCheckSettings

CLOCK, CERTIFICATE = "clock", "certificate "
_WRONG = frozenset({Severity.WARN, Severity.FAIL})
_SOME = 3  # hosts, of which most must be off before the bot's own clock is suspected


@dataclass(frozen=True, slots=True)
class Ageing:
    """What of a host changes as time passes.

    ``clock``: seconds that its clock is ahead of the bot's at least; None: its shell did not tell.
    """

    host: str
    clock: float | None
    findings: tuple[Finding, ...]


def has_alert(finding: Finding) -> bool:
    """Whether a finding has an alert of its own here, so that the nightly look leaves it alone."""
    return finding.name == CLOCK or finding.name.startswith(CERTIFICATE)


def watch(settings: HostCheckSettings, view: WatchView) -> Looked:
    """The alerts of one look; ``view.found`` holds an ``Ageing`` for each host."""
    seen: Sequence[Ageing] = view.found
    found = [*_clocks(settings, seen), *(_certificates(each) for each in seen)]
    return evaluate(found, view, blind=False)


def _clocks(settings: HostCheckSettings, seen: Sequence[Ageing]) -> Iterator[Condition]:
    """A condition for each host; when most are off the same way, one for the bot's own clock."""
    limits = Limits(settings.clock_warn_seconds, settings.clock_clear_seconds, settings.clock_hold)
    clocks = [each.clock for each in seen if each.clock is not None]
    enough, common = len(clocks) >= _SOME, median_low(clocks) if clocks else 0.0
    suspect = enough and abs(common) >= settings.clock_warn_seconds
    own, wrong = abs(common) if enough else None, cards.own_clock_card(common, len(clocks))
    yield Condition("clock:bot", own, wrong, cards.own_clock_right_card(), limits)
    for each in seen:
        finding = next((one for one in each.findings if one.name == CLOCK), None)
        value = None if suspect or each.clock is None else abs(each.clock)
        yield Condition(
            f"clock:{each.host}", value, cards.clock_off_card(each.host, finding),
            cards.clock_right_card(each.host), limits, _check_again(each.host),
        )  # fmt: skip


def _certificates(seen: Ageing) -> Condition:
    """One condition for all certificates of a host. They end only once, so nothing flaps."""
    told = [each for each in seen.findings if each.name.startswith(CERTIFICATE)]
    ending = tuple(each for each in told if each.severity in _WRONG)
    value = None if seen.clock is None else float(bool(ending))
    return Condition(
        f"certificates:{seen.host}", value, cards.certificates_end_card(seen.host, ending),
        cards.certificates_good_card(seen.host), remedies=_check_again(seen.host),
    )  # fmt: skip


def _check_again(host: str) -> tuple[Remedy, ...]:
    return (Remedy(cards.LOOK, f"host check {host}"),)
