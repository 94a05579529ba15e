"""TLS on lab hosts: an authority of the lab's own, certificates for every host.

Also listeners that use them.
"""

import signal
import subprocess
from pathlib import Path

from lab.daemon import LabHost
from lab.errors import LabError
from lab.hosts import Lab

PORT = 16514
GOOD_DAYS = 365

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
# Where libvirt and QEMU look for each: docs/kbase/tlscerts.rst of libvirt, docs/system/tls.rst of
# QEMU.
_AUTHORITY = ("CA/cacert.pem", "qemu/ca-cert.pem")
_CERTIFICATES = (
    "libvirt/servercert.pem",
    "libvirt/clientcert.pem",
    "qemu/server-cert.pem",
    "qemu/client-cert.pem",
)
_KEYS = (
    "libvirt/private/serverkey.pem",
    "libvirt/private/clientkey.pem",
    "qemu/server-key.pem",
    "qemu/client-key.pem",
)
# /etc is the machine's, and a host needs an /etc/pki of its own: everything that is there is linked
# into an empty one.
_OWN_ETC = """
set -e
mkdir /run/etc
mount --rbind /etc /run/etc
mount -t tmpfs -o mode=755 tmpfs /etc
cd /run/etc
for each in * .[!.]*; do
    [ "$each" = pki ] || [ ! -e "$each" ] || ln -s "/run/etc/$each" "/etc/$each"
done
mkdir /etc/pki
mount --bind "$1" /etc/pki
"""


class Authority:
    """Signs certificates; ``certificate`` is what those who trust it are given."""

    def __init__(self, directory: Path, name: str = "lab CA") -> None:
        directory.mkdir(parents=True)
        self._key, self.certificate = directory / "key.pem", directory / "cert.pem"
        _openssl(
            "req",
            "-x509",
            *_CURVE,
            "-keyout",
            str(self._key),
            "-out",
            str(self.certificate),
            "-subj",
            f"/CN={name}",
            "-days",
            str(GOOD_DAYS),
            "-addext",
            "keyUsage=critical,keyCertSign",
        )

    def issue(self, host: LabHost, *, days: int = GOOD_DAYS) -> None:
        """Give a host a certificate for both ends of libvirt's and QEMU's connections.

        In its /etc/pki.

        With ``days`` below 0 it has ended. A daemon that runs goes on with the one it has read.
        """
        home = pki(host)
        for each in (*_AUTHORITY, *_CERTIFICATES, *_KEYS):
            (home / each).parent.mkdir(parents=True, exist_ok=True)
        request, signed, key = home / "request", home / "signed", home / "key"
        _openssl(
            "req",
            "-new",
            *_CURVE,
            "-keyout",
            str(key),
            "-subj",
            f"/CN={host.name}",
            "-out",
            str(request),
        )
        extensions = home / "extensions"
        extensions.write_text(
            f"subjectAltName=DNS:{host.name},IP:{host.address}\nkeyUsage=digitalSignature,keyEncipherment\n"
            "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n"
        )
        _openssl(
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(self.certificate),
            "-CAkey",
            str(self._key),
            "-days",
            str(days),
            "-extfile",
            str(extensions),
            "-out",
            str(signed),
        )
        for names, content in ((_CERTIFICATES, signed), (_KEYS, key)):
            for each in names:
                (home / each).write_bytes(content.read_bytes())
        self.trusted_by(host)

    def trusted_by(self, host: LabHost) -> None:
        """Let a host trust this authority and no other."""
        for each in _AUTHORITY:
            (pki(host) / each).write_bytes(self.certificate.read_bytes())


def pki(host: LabHost) -> Path:
    """A host's own /etc/pki, seen from outside."""
    return host.directory / "pki"


def uri(host: LabHost) -> str:
    """How another host's libvirtd, or a client inside the lab's network, reaches a host by TLS."""
    return f"qemu+tls://{host.name}/system"


def serve(lab: Lab) -> Authority:
    """Let every host's libvirtd listen for TLS beside TCP, with certificates of one authority.

    It starts anew for that.

    Guests run on. The hosts keep it until they are powered off.

    Raises:
        LabError: openssl is missing, or a daemon does not come up.
    """
    authority = Authority(lab.directory / "authority")
    for host in lab.hosts.values():
        authority.issue(host)
        lab.run(host.name, "sh", "-c", _OWN_ETC, "sh", str(pki(host)))
        settings = host.directory / "etc" / "libvirtd.conf"
        settings.write_text(settings.read_text().replace("listen_tls = 0", "listen_tls = 1"))
        lab.kill_libvirtd(host.name, signal.SIGTERM)
        lab.start_libvirtd(host.name)
    return authority


def _openssl(*words: str) -> None:
    try:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError("openssl is missing: apt-get install openssl") from error
    if done.returncode:
        raise LabError(f"No certificate could be made: {done.stderr.strip()}")
