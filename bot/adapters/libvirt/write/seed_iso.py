"""NoCloud seeds as ISO 9660 images; the only place that imports pycdlib."""

from __future__ import annotations

import io

from bot.ports.guests import Seed

LABEL = "cidata"


def image(seed: Seed) -> bytes:
    """The seed's files as an image with Joliet and Rock Ridge names, labelled ``cidata``.

    A few hundred KiB.
    """
    import pycdlib  # as slow to import as libvirt, and few bots make such a disk

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, content in _files(seed):
        plain = f"/{name.upper().replace('-', '')}.;1"
        iso.add_fp(io.BytesIO(content), len(content), plain, rr_name=name, joliet_path=f"/{name}")
    made = io.BytesIO()
    iso.write_fp(made)
    iso.close()
    return made.getvalue()


def _files(seed: Seed) -> list[tuple[str, bytes]]:
    found = [
        ("meta-data", seed.meta_data),
        ("user-data", seed.user_data or "#cloud-config\n{}\n"),
        ("vendor-data", seed.vendor_data),
        ("network-config", seed.network_config),
    ]
    return [(name, content.encode()) for name, content in found if content]
