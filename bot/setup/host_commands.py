"""The least commands that hosts need before the bot can work with them, as the guides show."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from bot.setup.answers import Host

POLKIT = """\
polkit.addRule(function(action, subject) {
  if (action.id == "org.libvirt.unix.manage" && subject.user == "drover") {
    return polkit.Result.YES;
  }
});"""
"""Instead of the group: this user alone may manage libvirt."""


def user_commands(user: str, public_key: str) -> str:
    """As root on each host: a user for the bot, who may manage libvirt and log in with its key.

    ``restrict`` in front of the key: no terminal, no forwarding.
    """
    name = quote(user)
    return f"""\
useradd --system --create-home --shell /bin/sh {name}
usermod --append --groups libvirt {name}
install -d -m 700 -o {name} -g {name} ~{name}/.ssh
echo {quote(f"restrict {public_key}")} >> ~{name}/.ssh/authorized_keys
chown {name}: ~{name}/.ssh/authorized_keys"""


def certificate_commands(hosts: Iterable[Host]) -> str:
    """On the bot's machine, in an empty folder: an authority, and NAME.tar for each host."""
    named = [each for each in hosts if each.address]
    makes = "\n".join(f"certificate {quote(each.name)} {quote(each.address)}" for each in named)
    return f"{_AUTHORITY}\n{makes}"


_AUTHORITY = """\
umask 077
ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $ec -keyout ca-key.pem -out ca-cert.pem -days 3650 -subj "/CN=Drover hosts" \\
  -addext keyUsage=critical,keyCertSign
certificate() { # NAME ADDRESS: a certificate for both ends of libvirt's and QEMU's connections
  case $2 in *[!0-9.]*) at=DNS:$2 ;; *) at=IP:$2 ;; esac
  printf '%s\\n' "subjectAltName=DNS:$1,$at" keyUsage=digitalSignature,keyEncipherment \\
    extendedKeyUsage=serverAuth,clientAuth basicConstraints=critical,CA:FALSE > $1.ext
  openssl req -new $ec -keyout $1-key.pem -out $1.csr -subj "/CN=$1"
  openssl x509 -req -in $1.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 825 \\
    -extfile $1.ext -out $1-cert.pem
  mkdir -p $1/CA $1/libvirt/private $1/qemu
  install -m 644 ca-cert.pem $1/CA/cacert.pem
  install -m 644 ca-cert.pem $1/qemu/ca-cert.pem
  for end in server client; do
    install -m 644 $1-cert.pem $1/libvirt/${end}cert.pem
    install -m 600 $1-key.pem $1/libvirt/private/${end}key.pem
    install -m 644 $1-cert.pem $1/qemu/$end-cert.pem
    install -m 600 $1-key.pem $1/qemu/$end-key.pem
  done
  chmod 755 $1 $1/CA $1/libvirt $1/qemu
  tar -C $1 --owner=0 --group=0 -cf $1.tar .
}"""

UNPACK = """\
mkdir -p /etc/pki
tar -C /etc/pki -xf NAME.tar
chown libvirt-qemu: /etc/pki/qemu/*-key.pem || chown qemu: /etc/pki/qemu/*-key.pem"""
"""As root on each host, NAME being its own; QEMU reads its keys as a user of its own."""
LISTEN = "systemctl stop libvirtd.service && systemctl enable --now libvirtd-tls.socket"
"""As root on each host, behind that. VMs go on running. Modular daemons: virtproxyd instead."""
