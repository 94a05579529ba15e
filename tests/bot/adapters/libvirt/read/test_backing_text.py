"""What an image names as the one beneath it, in the spellings that QEMU takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.libvirt.read.backing_text import base_of, is_place
from bot.domain.backing import network_image


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("/p/golden.qcow2", "/p/golden.qcow2"),
        ("golden.qcow2", "/dir/golden.qcow2"),
        ("../p/golden.qcow2", "/dir/../p/golden.qcow2"),
        ("./a:b.qcow2", "/dir/./a:b.qcow2"),
        ("file:/p/golden.qcow2", "/p/golden.qcow2"),
        ("file:golden.qcow2", "/dir/golden.qcow2"),
        ("file:///p/golden%20.qcow2", "///p/golden%20.qcow2"),
        ("rbd:pool/image", "rbd:pool/image"),
        ("rbd:pool/image@snap:id=admin:mon_host=10.0.0.1\\:6789", "rbd:pool/image"),
        ("gluster://server/volume/dir/image", "gluster:volume/dir/image"),
        ("gluster+tcp://server:24007/volume/image", "gluster:volume/image"),
        ("nbd:unix:/run/n.sock", "nbd:unix:/run/n.sock"),
        ('json:{"driver":"file","filename":"/p/g"}', "/p/g"),
        ('json:{"driver":"qcow2","file":{"driver":"file","filename":"/p/g"}}', "/p/g"),
        ('json:{"file.driver":"file","file.filename":"/p/g","driver":"qcow2"}', "/p/g"),
        ('json:{"driver":"qcow2","file":{"driver":"host_device","filename":"/dev/vg/g"}}',
         "/dev/vg/g"),
        ('json:{"driver":"raw","file":{"driver":"throttle","file":{"filename":"g"}}}', "/dir/g"),
        ('json:{"driver":"file","filename":"file:/p/g"}', "/p/g"),
        ('json:{"driver":"rbd","pool":"p","image":"i"}', "rbd:p/i"),
        ('json:{"driver":"rbd","pool":"p","namespace":"n","image":"i"}', "rbd:p/n/i"),
        ('json:{"driver":"gluster","volume":"v","path":"/i","server":[]}', "gluster:v/i"),
    ],
)  # fmt: skip
def test_each_spelling_is_one_place(text: str, path: str) -> None:
    assert base_of(text, "/dir") == path
    assert is_place(base_of(text, "/dir"))


@pytest.mark.parametrize("text", ["json:{", "json:[]", 'json:{"driver":"ssh","path":"/p/g"}'])
def test_what_cannot_be_read_is_told_apart_from_nothing(text: str) -> None:
    assert not is_place(base_of(text, "/dir"))


def test_a_snapshot_of_an_rbd_image_is_that_image() -> None:
    assert network_image("rbd", "pool/image@snap") == "rbd:pool/image"
    assert network_image("nbd", "a@b") == "nbd:a@b"


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).map(lambda t: f"/{t}"))
def test_whatever_a_file_is_called_its_description_leads_to_it(path: str) -> None:
    nested = {"driver": "qcow2", "file": {"driver": "file", "filename": path}}
    assert base_of(f"json:{json.dumps(nested)}", "/dir") == path
    assert base_of(path, "/dir") == path
    assert base_of(f"file:{path}", "/dir") == path
