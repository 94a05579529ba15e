"""What all tests share: the lab, started once, and which tests run: the fast ones, the usual ones, the slow ones too.

``--fast`` is for the desk, after each change: pure functions and fakes, with few examples for each
property. Without an option everything runs except what is marked slow; ``--slow`` adds that.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import one_dialect

if TYPE_CHECKING:
    from lab import Lab

LEFT_OUT = {"fast": ("lab", "browser", "process", "slow"), "usual": ("slow",), "slow": ()}
"""The marks that each kind of run leaves out."""
NOT_FAST = tuple(Path(__file__).parent / name for name in ("e2e", "lab_slack", "house"))
"""Folders that the fast run does not even import: every test starts servers, or reads all of the source."""

RARELY = (20_000, 20, 20)
"""Thresholds of the garbage collector: with Python's own it takes a fifteenth of the time."""

# As the bot itself does: a second BLAS thread brings the planner nothing, and on busy cores spins
# for seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# In CI the same examples each time: what random ones find is found, and mended, at a desk.
# How long an example takes to make says how busy the machine is, not whether the test is right.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", UNTIMED, derandomize=True)
settings.register_profile("desk", UNTIMED)
settings.register_profile("fast", UNTIMED, max_examples=10, stateful_step_count=15)


# A logged traceback in colours, with the values of all variables, takes half a second; nobody looks
# at it here.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")
    parser.addoption(
        "--fast", action="store_true", help="run only the fast tests: pure functions and fakes"
    )


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(*RARELY)
    one_dialect.register()
    kind = _kind(config)
    settings.load_profile("fast" if kind == "fast" else "ci" if os.environ.get("CI") else "desk")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if _kind(config) == "fast" and collection_path in NOT_FAST else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = LEFT_OUT[_kind(config)]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in without)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_collection_finish() -> None:
    # What was imported stays: looking through it again and again takes a tenth of the time
    gc.collect()
    gc.freeze()


def _kind(config: pytest.Config) -> str:
    fast, slow = config.getoption("--fast"), config.getoption("--slow")
    if fast and slow:
        raise pytest.UsageError("--fast and --slow exclude each other.")
    return "fast" if fast else "slow" if slow else "usual"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three real hosts for the whole session; tests make guests with names of their own and heal what they break.

    ``DROVER_LAB_RELEASES="host-b=trixie host-c=trixie"`` runs every lab test on hosts of other Debian releases.
    """
    from lab import Lab, missing

    lacks = missing()
    if lacks:
        pytest.fail(
            "This machine cannot run the lab (or leave its tests out with -m 'not lab'):\n"
            + "\n".join(lacks)
        )
    named = os.environ.get("DROVER_LAB_RELEASES", "").split()
    with Lab(hosts=3, release=dict(each.split("=", 1) for each in named)) as cluster:
        yield cluster
