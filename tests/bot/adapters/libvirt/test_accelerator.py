"""Whether a new VM runs with KVM: by the CPU's own flag, whichever way this libvirt tells it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.adapters.libvirt.write.vm_commands import choose_accelerator

CAPABILITIES = """<capabilities><host><cpu><arch>x86_64</arch><model>kvm64</model></cpu></host>
<guest><arch name='x86_64'><domain type='qemu'/>{kvm}</arch></guest></capabilities>"""


class Host:
    """A connection that tells what it offers, and its CPU with all its features."""

    def __init__(self, features: str, kvm: str = "<domain type='kvm'/>") -> None:
        self._features, self._kvm = features, kvm

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's name
        return CAPABILITIES.format(kvm=self._kvm)

    def baselineCPU(self, _cpus: list[str], _flags: int) -> str:  # noqa: N802 - libvirt's name
        return f"<cpu><model>kvm64</model>{self._features}</cpu>"


@pytest.mark.parametrize(
    ("features", "right"),
    [
        ("<feature policy='require' name='svm'/>", "kvm"),
        ("<feature policy='require' name='vmx'/>", "kvm"),
        ("<feature name='vmx'/>", "kvm"),
        ("<feature policy='require' name='sse2'/>", "qemu"),
        # Libvirt 11 on a CPU without it: its model has svm, and the CPU lacks it
        ("<feature policy='disable' name='svm'/>", "qemu"),
        ("<feature policy='forbid' name='vmx'/>", "qemu"),
    ],
)
def test_kvm_is_chosen_where_the_cpu_has_the_flag_and_not_where_it_is_told_to_lack_it(
    features: str, right: str
) -> None:
    host: Any = Host(features)
    assert choose_accelerator(host, "auto") == right
    without: Any = Host(features, kvm="")
    assert choose_accelerator(without, "auto") == "qemu"
    assert choose_accelerator(host, "qemu") == "qemu"
