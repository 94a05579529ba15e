"""What all tests share: the lab, started once, and the choice to run slow ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from lab import Lab


# In CI the same examples each time: what random ones find is found, and mended, at a desk. Machines are noisy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    chosen = [item for item in items if item.get_closest_marker("slow") is None]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slow")])
    items[:] = chosen


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three real hosts for the whole session; tests make guests with names of their own and heal what they break."""
    from lab import Lab, missing

    lacks = missing()
    if lacks:
        pytest.fail("This machine cannot run the lab (or leave its tests out with -m 'not lab'):\n" + "\n".join(lacks))
    with Lab(hosts=3) as cluster:
        yield cluster
