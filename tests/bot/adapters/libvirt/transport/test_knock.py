"""A port that opens or refuses is a sign of life of the machine; silence is none."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from bot.adapters.libvirt.transport import knock

HERE = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("qemu+tcp://kvm-1/system", ("kvm-1", {16509, 22})),
        ("qemu+tls://kvm-1:16600/system", ("kvm-1", {16600, 22})),
        ("qemu://kvm-1/system", ("kvm-1", {16514, 22})),
        ("qemu+ssh://root@kvm-1:2222/system", ("kvm-1", {2222, 22})),
        ("qemu+unix:///system?socket=/run/a", None),
        ("qemu:///system", None),
        ("test:///default", None),
        ("qemu+ext://kvm-1/system?command=nc", None),
    ],
)
def test_the_place_of_a_uri(uri: str, place: tuple[str, set[int]] | None) -> None:
    found = knock.place_of(uri)
    assert (found if found is None else (found[0], set(found[1]))) == place


def test_an_open_port_and_a_refusing_one_are_signs_of_life() -> None:
    with socket.create_server((HERE, 0)) as server:
        assert knock.knock(HERE, frozenset({server.getsockname()[1]}), 5.0)
    assert knock.knock(HERE, frozenset({free_port()}), 5.0)


@pytest.mark.parametrize("error", [TimeoutError(), OSError(113, "No route to host")])
def test_no_answer_and_no_way_are_silence(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: Any) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    assert not knock.knock(HERE, frozenset({1, 2}), 5.0)
