"""A host that libvirt plays in this process, for one test alone."""

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    """libvirt's test driver without a VM, and with an empty pool ``default-pool``.

    All connections of a process to ``test:///default`` are one host, which lives as long as one of
    them is open anywhere: what one test makes there, the next may find.
    """
    file = tmp_path / "host.xml"
    file.write_text(
        "<node><pool type='dir'><name>default-pool</name>"
        "<target><path>/default-pool</path></target></pool></node>"
    )
    found = libvirt.open(f"test://{file}")
    yield found
    found.close()
