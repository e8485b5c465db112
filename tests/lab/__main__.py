"""``python -m tests.lab vsphere|openstack [--count N]``: servers to try VAI with, registered in the VAI that runs here.

They stay until Ctrl-C; then VAI forgets them.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab import debian
from tests.lab.openstack.servers import OpenStack
from tests.lab.registration import Entry, openstack_entry
from tests.lab.vcsim import Vcsim

_ENDS = {signal.SIGINT, signal.SIGTERM}
_MOST = 2


def main() -> int:
    """Return 0 when it was ended by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=_STARTERS)
    parser.add_argument("--count", type=int, default=1, choices=range(1, _MOST + 1), help="how many datacenters")
    arguments = parser.parse_args()
    if debian.main():
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="vai-lab-") as folder, ExitStack() as stack:
        try:
            for number in range(arguments.count):
                entry = _STARTERS[arguments.kind](Path(folder) / str(number), number, stack)
                if entry.register():
                    stack.callback(entry.forget)
            print("The lab runs. Ctrl-C ends it.", flush=True)
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            signal.sigwait(_ENDS)
        except KeyboardInterrupt:
            print("Ending.")
    return 0


def _vsphere(folder: Path, _number: int, stack: ExitStack) -> Entry:
    vcsim = Vcsim(folder, vms=5)
    vcsim.start()
    stack.callback(vcsim.stop)
    return Entry(f"lab-vsphere-{vcsim.port}", "vmware", vcsim.endpoint, vcsim.username, vcsim.password)


def _openstack(folder: Path, number: int, stack: ExitStack) -> Entry:
    servers = OpenStack(folder, "ab"[number])
    stack.callback(servers.stop)
    servers.start()
    account = servers.cloud.demo
    print(f"Keystone: {account.auth_url}, project {account.project}, user {account.username} / {account.password}")
    return openstack_entry(f"lab-openstack-{servers.cloud.layout.ports.keystone}", account)


_STARTERS: dict[str, Callable[[Path, int, ExitStack], Entry]] = {"vsphere": _vsphere, "openstack": _openstack}


if __name__ == "__main__":
    sys.exit(main())
