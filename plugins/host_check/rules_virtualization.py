"""Whether a host can run VMs at full speed: hardware, accelerator, and virt-host-validate.

Sources: ``tools/virt-host-validate-qemu.c`` and ``-common.c`` of libvirt for the rows and their
severities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.domain.message import Code, Join, Message, Names, Size, Words, join, nwords, words
from bot.domain.readiness import Finding, Severity
from plugins.host_check import cards, probes
from plugins.host_check.findings import Case, Seen, command, failure, good, unknown, warning
from plugins.host_check.readings import controllers, validate_rows

# no message: what virt-host-validate prints
HARDWARE = "for hardware virtualization"
_FIRMWARE = words(
    "Switch on VT-x or AMD-V (SVM) in the firmware setup; if the host is itself a VM, let its "
    "hypervisor pass it on."
)
_LOAD_KVM = command("modprobe kvm_intel || modprobe kvm_amd")
_MODULE = "modprobe {0} && echo {0} > /etc/modules-load.d/{0}.conf"
_CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "blkio")

# What to do about a row that is not PASS, by what the row begins with.
_FIXES: Mapping[str, Words] = {
    HARDWARE: _FIRMWARE,
    "if device /dev/kvm exists": _LOAD_KVM,
    "if device /dev/kvm is accessible": words(
        "Run the check as root, or add its user to the group that owns `/dev/kvm`."
    ),
    "if device /dev/vhost-net": command(_MODULE.format("vhost_net")),
    "if device /dev/net/tun": command(_MODULE.format("tun")),
    "for cgroup": words(
        "Boot with that controller: no `cgroup_disable=…` on the kernel's command line, and for "
        "memory on some "
        "kernels `cgroup_enable=memory` (`GRUB_CMDLINE_LINUX` in `/etc/default/grub`, "
        "`update-grub`, reboot)."
    ),
    "for device assignment IOMMU": words(
        "Only needed to pass devices through: switch on VT-d or AMD-Vi in the firmware."
    ),
    "if IOMMU is enabled": words(
        "Only needed to pass devices through: add `intel_iommu=on` to `GRUB_CMDLINE_LINUX` in "
        "`/etc/default/grub`, `update-grub`, reboot."
    ),
    "for secure guest": words(
        "Only needed for VMs that their host must not read (SEV, TDX): see the manuals of the CPU "
        "and the firmware."
    ),
}


def rows(case: Case) -> Iterator[Finding]:
    """The rows of virt-host-validate; where it is not installed, those that can be seen."""
    seen = case.seen
    told = validate_rows(found.out) if (found := seen.answer("validate")) is not None else {}
    for what, (severity, advice) in told.items():
        evidence = advice or words("virt-host-validate has nothing to say against it")
        yield Finding(
            _name(what), severity, evidence, "" if severity is Severity.PASS else _fix(what)
        )
    if not told and seen.shell:
        yield unknown("virt-host-validate", words("it is not there, or said nothing"), _CLIENTS)
        for what, severity in own_rows(seen).items():
            yield Finding(
                _name(what),
                severity,
                words("looked up without it"),
                "" if severity is Severity.PASS else _fix(what),
            )
    if not seen.shell:
        yield unknown("virt-host-validate", seen.no_shell)


_CLIENTS = words(
    "{fix}  (or {other})",
    fix=command("apt-get install --no-install-recommends libvirt-clients"),
    other=Code("dnf install libvirt-client"),
)


def own_rows(seen: Seen) -> dict[str, Severity]:
    """The rows that can be told without virt-host-validate, with the severities it would give."""
    flags, devices, groups = (
        seen.text("flags").strip(),
        seen.text("devices").split(),
        controllers(seen),
    )
    rows = {HARDWARE: Severity.PASS if flags else Severity.FAIL}
    if flags:
        rows["if device /dev/kvm exists"] = (
            Severity.PASS if "/dev/kvm" in devices else Severity.FAIL
        )
    rows["if device /dev/vhost-net exists"] = (
        Severity.PASS if "/dev/vhost-net" in devices else Severity.WARN
    )
    rows["if device /dev/net/tun exists"] = (
        Severity.PASS if "/dev/net/tun" in devices else Severity.FAIL
    )
    for each in _CGROUPS:
        rows[f"for cgroup '{each}' controller support"] = (
            Severity.PASS if each in groups else Severity.WARN
        )
    table = {"vmx": "DMAR", "svm": "IVRS"}.get(flags)
    iommu = bool(table) and str(table) in seen.text("iommu-tables")
    rows["for device assignment IOMMU support"] = Severity.PASS if iommu else Severity.WARN
    return rows


def _name(row: str) -> str:
    return cards.VALIDATE + row.removeprefix("for ").removeprefix("if ")


def _fix(row: str) -> Message:
    return next((fix for begin, fix in _FIXES.items() if row.startswith(begin)), "")


def accelerator(case: Case) -> Iterator[Finding]:
    """KVM works: the CPU's flag and a guest's instruction really run by it.

    A device file alone proves nothing.
    """
    seen = case.seen
    name = "accelerator"
    offered = seen.facts is not None and "kvm" in seen.facts.virt_types
    run = seen.answer("accelerator")
    if not seen.shell or run is None:
        if seen.facts is not None and (why := seen.facts.why_unread("capabilities")):
            yield unknown(name, why)
        elif seen.facts is not None and not offered:
            yield failure(
                name,
                words("libvirt offers no KVM there: `/dev/kvm` is missing or unusable"),
                _LOAD_KVM,
            )
        else:
            told = words(
                "libvirt offers KVM, which only means that `/dev/kvm` exists; {why}",
                why=seen.no_shell,
            )
            yield unknown(name, told)
        return
    flag = seen.text("flags").strip()
    if not flag:
        told = (
            words(
                "`/dev/kvm` exists, but the CPU shows neither vmx nor svm: VMs hang under KVM or "
                "are emulated"
            )
            if "/dev/kvm" in seen.text("devices").split()
            else words("the CPU shows neither vmx nor svm: VMs hang under KVM or are emulated")
        )
        yield failure(name, told, _FIRMWARE)
    elif run.code == probes.RAN:
        yield good(name, words("the CPU has {flag}, and KVM ran a VM's instruction", flag=flag))
    else:
        yield _did_not_run(name, flag, run.code, run.out)


def _did_not_run(name: str, flag: str, code: int, said: str) -> Finding:
    last: Message = (
        said.strip().splitlines()[-1] if said.strip() else words("exit code {code}", code=code)
    )
    if code == 127:
        fix = command("apt-get install --no-install-recommends qemu-system-x86")
        return failure(name, words("no QEMU to try it with"), fix)
    if code == probes.HUNG:
        told = words("the CPU has {flag}, but a VM of one instruction hangs under KVM", flag=flag)
        return failure(name, told, _FIRMWARE)
    if "ermission denied" in said:
        fix = command(
            "usermod -aG kvm USER", words("the user of the host's `ssh`; members may run VMs")
        )
        return unknown(name, words("not allowed to open `/dev/kvm`: {said}", said=last), fix)
    told = words("the CPU has {flag}, but KVM does not start: {said}", flag=flag, said=last)
    return failure(name, told, _LOAD_KVM)


def nesting(case: Case) -> Iterator[Finding]:
    """Whether guests can be hypervisors themselves; neither is wrong."""
    seen = case.seen
    told = seen.text("nested").split()
    if not seen.shell:
        yield unknown("nested virtualization", seen.no_shell)
    elif not told:
        yield good("nested virtualization", words("off: no KVM module is loaded"))
    else:
        yield good("nested virtualization", words("on") if told[0] in {"Y", "1"} else words("off"))


def iommu(case: Case) -> Iterator[Finding]:
    """Whether devices could be passed through, as libvirt sees it."""
    seen = case.seen
    facts = seen.facts
    if facts is None or facts.iommu is None:
        yield unknown("IOMMU", seen.trouble or words("this libvirt does not tell"))
    elif facts.iommu:
        yield good("IOMMU", words("on: devices can be passed through"))
    else:
        yield good("IOMMU", words("off: no device can be passed through"))


def huge_pages(case: Case) -> Iterator[Finding]:
    """Huge pages for the guests that ask for them."""
    seen = case.seen
    name = "huge pages"
    if seen.facts is None:
        yield unknown(name, seen.trouble)
        return
    there = {size: count for size, count in seen.facts.huge_pages.items() if count}
    unread = seen.facts.why_unread("capabilities") or seen.facts.why_unread("huge-pages")
    if unread and not there:
        yield unknown(name, unread)
        return
    wanting = sorted(vm.name for vm in seen.guests if vm.detail and vm.detail.hugepages)
    sizes = (
        words("{count} of {size}", count=count, size=Size(1024 * size))
        for size, count in there.items()
    )
    told = join(sizes, ", ") or words("none set aside")
    if wanting and not there:
        yield warning(
            name,
            nwords(
                "{pages}, and {vms} asks for them",
                "{pages}, and {vms} ask for them",
                n=len(wanting),
                pages=told,
                vms=Names(tuple(wanting), Join.AND),
            ),
            command("sysctl -w vm.nr_hugepages=COUNT", words("and in `/etc/sysctl.d`")),
        )
        return
    free = meminfo_free(seen)
    left = words("{count} of the usual size free", count=free) if there and free is not None else ""
    yield good(name, join((told, left), ", "))


def meminfo_free(seen: Seen) -> int | None:
    """Free huge pages of the usual size; None without a shell."""
    from plugins.host_check.readings import meminfo

    return meminfo(seen.text("meminfo")).get("HugePages_Free")
