"""``python -m lab up``: start a cluster to look at until Ctrl-C.

``python -m lab check``: what the machine lacks.
"""

import sys
import time

from lab.errors import LabError
from lab.hosts import Lab
from lab.machine import domain_type, missing

_USAGE = "usage: python -m lab up [HOSTS] | check"


def main(argv: list[str]) -> int:
    """Run one command and answer the exit code: 0 fine, 1 something is missing, 2 misused."""
    match argv:
        case ["check"]:
            return _check()
        case ["up"]:
            return _up(3)
        case ["up", hosts] if hosts.isdigit():
            return _up(int(hosts))
    print(_USAGE, file=sys.stderr)
    return 2


def _check() -> int:
    lacks = missing()
    print("\n".join(lacks) or f"All there; guests will run with {domain_type()}.")
    return 1 if lacks else 0


def _up(hosts: int) -> int:
    try:
        with Lab(hosts) as lab:
            lab.guest("web-1", load=0.2)
            for host in lab.hosts.values():
                print(f"{host.name}  virsh -c '{host.uri}'", flush=True)
            if hosts > 1:
                print("web-1 runs on host-a; in host-a's virsh this moves it:")
                print(
                    f"  migrate web-1 {lab.hosts['host-b'].peer_uri} --live --p2p --persistent "
                    f"--undefinesource"
                )
            print("Ctrl-C ends the lab.", flush=True)
            while True:  # a signal given to another thread does not wake this one
                time.sleep(1)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
