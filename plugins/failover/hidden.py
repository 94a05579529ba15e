"""Pure: a definition as it is shown, without what it carries for its guest alone.

libvirt tells the bot no password of a screen or disk. But a definition may hold others, where
libvirt sees plain text: arguments of QEMU, firmware entries, the kernel's command line.
"""

from __future__ import annotations

import re

HIDDEN = "(hidden)"

_NAME = r"(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|credential)[\w.:-]{0,60}"
_NAMED = re.compile(
    rf"""({_NAME}\s?=\s?(?:"|'|&quot;|&apos;)?)(?!["'])[^\s,;"'<>&]+""", re.IGNORECASE
)
_QEMU_SECRET = re.compile(r"""(\bsecret,[^"'<>]{0,200}\bdata=)[^,"'<>]+""")
_VARIABLE = re.compile(
    rf"""(<qemu:env\s+name=["'][^"']{{0,60}}{_NAME}["']\s+value=["'])[^"']+""", re.IGNORECASE
)
_FIRMWARE = re.compile(
    r"""<oemStrings>.*?</oemStrings>|<sysinfo type=["']fwcfg["']>.*?</sysinfo>""", re.DOTALL
)
_ENTRY = re.compile(r"(<entry\b[^<>]*>)[^<]+(</entry>)")


def hide(xml: str) -> str:
    """The definition with each such value replaced by ``HIDDEN``."""
    shown = _FIRMWARE.sub(lambda found: _ENTRY.sub(rf"\1{HIDDEN}\2", found[0]), xml)
    for each in (_VARIABLE, _QEMU_SECRET, _NAMED):
        shown = each.sub(rf"\1{HIDDEN}", shown)
    return shown
