"""Whether a host can run guests at full speed: hardware, accelerator, and the rows of virt-host-validate.

Sources: ``tools/virt-host-validate-qemu.c`` and ``-common.c`` of libvirt for the rows and their severities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.domain.readiness import Finding, Severity
from plugins.host_check import cards, probes
from plugins.host_check.findings import Case, Seen, failed, passed, unknown, warned
from plugins.host_check.readings import controllers, validated

HARDWARE = "for hardware virtualization"
_FIRMWARE = (
    "Switch on VT-x or AMD-V (SVM) in the firmware setup; if the host is itself a guest, let its hypervisor pass it on."
)
_MODULE = "modprobe {0} && echo {0} > /etc/modules-load.d/{0}.conf"
_CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "blkio")

# What to do about a row that is not PASS, by what the row begins with.
_FIXES: Mapping[str, str] = {
    HARDWARE: _FIRMWARE,
    "if device /dev/kvm exists": "modprobe kvm_intel || modprobe kvm_amd",
    "if device /dev/kvm is accessible": "Run the check as root, or add its user to the group that owns /dev/kvm.",
    "if device /dev/vhost-net": _MODULE.format("vhost_net"),
    "if device /dev/net/tun": _MODULE.format("tun"),
    "for cgroup": "Boot with that controller: no cgroup_disable=… on the kernel's command line, and for memory on some "
    "kernels cgroup_enable=memory (GRUB_CMDLINE_LINUX in /etc/default/grub, `update-grub`, reboot).",
    "for device assignment IOMMU": "Only needed to pass devices through: switch on VT-d or AMD-Vi in the firmware.",
    "if IOMMU is enabled": "Only needed to pass devices through: add intel_iommu=on to GRUB_CMDLINE_LINUX in "
    "/etc/default/grub, `update-grub`, reboot.",
    "for secure guest": "Only needed for guests that their host must not read (SEV, TDX): see the CPU's and the "
    "firmware's manual.",
}


def rows(case: Case) -> Iterator[Finding]:
    """The rows of virt-host-validate, as it said them; where it is not installed, as far as we can see them."""
    seen = case.seen
    told = validated(found.out) if (found := seen.answer("validate")) is not None else {}
    for what, (severity, advice) in told.items():
        evidence = advice or "virt-host-validate is content"
        yield Finding(_name(what), severity, evidence, "" if severity is Severity.PASS else _fix(what))
    if not told and seen.shell:
        yield unknown("virt-host-validate", "it is not there, or said nothing", _CLIENTS)
        for what, severity in own_rows(seen).items():
            yield Finding(
                _name(what), severity, "looked up without it", "" if severity is Severity.PASS else _fix(what)
            )
    if not seen.shell:
        yield unknown("virt-host-validate", seen.no_shell)


_CLIENTS = "apt-get install --no-install-recommends libvirt-clients  (dnf install libvirt-client)"


def own_rows(seen: Seen) -> dict[str, Severity]:
    """The rows that can be told without virt-host-validate, with the severities it would give."""
    flags, devices, groups = seen.text("flags").strip(), seen.text("devices").split(), controllers(seen)
    rows = {HARDWARE: Severity.PASS if flags else Severity.FAIL}
    if flags:
        rows["if device /dev/kvm exists"] = Severity.PASS if "/dev/kvm" in devices else Severity.FAIL
    rows["if device /dev/vhost-net exists"] = Severity.PASS if "/dev/vhost-net" in devices else Severity.WARN
    rows["if device /dev/net/tun exists"] = Severity.PASS if "/dev/net/tun" in devices else Severity.FAIL
    for each in _CGROUPS:
        rows[f"for cgroup '{each}' controller support"] = Severity.PASS if each in groups else Severity.WARN
    table = {"vmx": "DMAR", "svm": "IVRS"}.get(flags)
    iommu = bool(table) and str(table) in seen.text("iommu-tables")
    rows["for device assignment IOMMU support"] = Severity.PASS if iommu else Severity.WARN
    return rows


def _name(row: str) -> str:
    return cards.VALIDATE + row.removeprefix("for ").removeprefix("if ")


def _fix(row: str) -> str:
    return next((fix for begin, fix in _FIXES.items() if row.startswith(begin)), "")


def accelerator(case: Case) -> Iterator[Finding]:
    """KVM works: the CPU's flag and a guest's instruction really run by it. A device file alone proves nothing."""
    seen = case.seen
    name = "accelerator"
    offered = seen.facts is not None and "kvm" in seen.facts.virt_types
    run = seen.answer("accelerator")
    if not seen.shell or run is None:
        if seen.facts is not None and not offered:
            yield failed(
                name,
                "libvirt offers no KVM there: /dev/kvm is missing or unusable",
                "modprobe kvm_intel || modprobe kvm_amd",
            )
        else:
            yield unknown(name, f"libvirt offers KVM, which only means that /dev/kvm exists; {seen.no_shell}")
        return
    flag = seen.text("flags").strip()
    if not flag:
        has = "/dev/kvm exists, but " if "/dev/kvm" in seen.text("devices").split() else ""
        yield failed(name, f"{has}the CPU shows neither vmx nor svm: guests hang under KVM or are emulated", _FIRMWARE)
    elif run.code == probes.RAN:
        yield passed(name, f"the CPU has {flag}, and KVM ran a guest's instruction")
    else:
        yield _did_not_run(name, flag, run.code, run.out)


def _did_not_run(name: str, flag: str, code: int, said: str) -> Finding:
    last = said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
    if code == 127:
        return failed(name, "no QEMU to try it with", "apt-get install --no-install-recommends qemu-system-x86")
    if code == probes.HUNG:
        return failed(name, f"the CPU has {flag}, but a guest of one instruction hangs under KVM", _FIRMWARE)
    if "ermission denied" in said:
        fix = "usermod -aG kvm USER  (the user of the host's `ssh`; members may run guests)"
        return unknown(name, f"not allowed to open /dev/kvm: {last}", fix)
    return failed(name, f"the CPU has {flag}, but KVM does not start: {last}", "modprobe kvm_intel || modprobe kvm_amd")


def nested(case: Case) -> Iterator[Finding]:
    """Whether guests can be hypervisors themselves; neither is wrong."""
    seen = case.seen
    told = seen.text("nested").split()
    if not seen.shell:
        yield unknown("nested virtualization", seen.no_shell)
    elif not told:
        yield passed("nested virtualization", "off: no KVM module is loaded")
    else:
        yield passed("nested virtualization", "on" if told[0] in {"Y", "1"} else "off")


def iommu(case: Case) -> Iterator[Finding]:
    """Whether devices could be passed through, as libvirt sees it."""
    seen = case.seen
    facts = seen.facts
    if facts is None or facts.iommu is None:
        yield unknown("IOMMU", seen.trouble or "this libvirt does not tell")
    elif facts.iommu:
        yield passed("IOMMU", "on: devices can be passed through")
    else:
        yield passed("IOMMU", "off: no device can be passed through (guests that need none can then also move)")


def huge_pages(case: Case) -> Iterator[Finding]:
    """Huge pages for the guests that ask for them."""
    seen = case.seen
    name = "huge pages"
    if seen.facts is None:
        yield unknown(name, seen.trouble)
        return
    there = {size: count for size, count in seen.facts.huge_pages.items() if count}
    wanting = sorted(vm.name for vm in seen.guests if vm.detail and vm.detail.hugepages)
    told = ", ".join(f"{count} of {size // 1024} MiB" for size, count in there.items()) or "none set aside"
    if wanting and not there:
        yield warned(
            name,
            f"{told}, and {', '.join(wanting)} ask for them",
            "sysctl -w vm.nr_hugepages=COUNT  (and /etc/sysctl.d)",
        )
        return
    free = meminfo_free(seen)
    yield passed(name, told + (f", {free} of the usual size free" if there and free is not None else ""))


def meminfo_free(seen: Seen) -> int | None:
    """Free huge pages of the usual size; None without a shell."""
    from plugins.host_check.readings import meminfo

    return meminfo(seen.text("meminfo")).get("HugePages_Free")
