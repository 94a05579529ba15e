"""A handler can be handed one role of a cluster: what is whole is made of roles, and each method is of one."""

from __future__ import annotations

import inspect
from collections import Counter

from bot import ports

ROLES = [each for each in ports.Hypervisor.__mro__[1:] if each.__module__.startswith("bot.ports")]


def methods(role: type) -> set[str]:
    return {name for name in vars(role) if not name.startswith("_")}


def test_every_method_of_a_cluster_belongs_to_one_role() -> None:
    counted = Counter(name for role in ROLES for name in methods(role))
    assert set(counted.values()) == {1}
    assert methods(ports.Hypervisor) == {"close"}


def test_no_role_has_more_than_a_dozen_methods() -> None:
    assert max(len(methods(role)) for role in ROLES) <= 12


def test_every_method_of_every_role_is_documented() -> None:
    assert all(inspect.getdoc(getattr(role, name)) for role in ROLES for name in methods(role))
