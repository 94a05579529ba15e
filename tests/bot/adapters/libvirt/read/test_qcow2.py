"""Numbers of snapshots in qcow2 images, as qemu-img makes and lists them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bot.adapters.libvirt.read.qcow2 import Read, snapshot_ids

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img"),
]


def image(path: Path, *names: str, compat: str = "1.1") -> Path:
    run("create", "-q", "-f", "qcow2", "-o", f"compat={compat}", str(path), "1M")
    for name in names:
        run("snapshot", "-c", name, str(path))
    return path


def run(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, timeout=60)


def reads(path: Path) -> Read:
    def read(offset: int, most: int) -> bytes:
        return path.read_bytes()[offset : offset + most]

    return read


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_numbers_are_read_as_qemu_gives_them(tmp_path: Path, compat: str) -> None:
    path = image(tmp_path / "x.qcow2", "2", "vor Änderung", "a" * 200, "1", compat=compat)
    assert snapshot_ids(reads(path)) == {"1": "2", "2": "vor Änderung", "3": "a" * 200, "4": "1"}
    run("snapshot", "-d", "2", str(path))
    assert snapshot_ids(reads(path)) == {"2": "vor Änderung", "3": "a" * 200, "4": "1"}


def test_an_image_without_snapshots_has_no_numbers(tmp_path: Path) -> None:
    assert snapshot_ids(reads(image(tmp_path / "x.qcow2"))) == {}


def test_what_cannot_be_read_whole_is_an_error(tmp_path: Path) -> None:
    path = image(tmp_path / "x.qcow2", "one", "two")
    whole = reads(path)
    with pytest.raises(ValueError, match="too long"):
        snapshot_ids(lambda offset, most: whole(offset, most if offset == 0 else 50))
    with pytest.raises(ValueError, match="no qcow2"):
        snapshot_ids(lambda offset, most: b"\0" * most)
