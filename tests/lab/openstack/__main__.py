"""``python -m tests.lab.openstack FOLDER [--clouds 2] [--hosts 3] [--spare]``: clouds in the foreground until Ctrl-C.

Prints how long each step took and, last, where the clients find their accounts.
"""

import argparse
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from tests.lab.openstack.cloud import SPARE, write_clouds_yaml
from tests.lab.openstack.servers import OpenStack

_ENDS = {signal.SIGINT, signal.SIGTERM}
_LOOK_SECONDS = 1.0


def main() -> None:
    """Start, say how to enter, wait for SIGINT, SIGTERM or the end of another process, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where everything of these clouds lives; it should be empty")
    parser.add_argument("--clouds", type=int, default=1, choices=(1, 2))
    parser.add_argument("--hosts", type=int, default=2, help="compute hosts of each cloud")
    parser.add_argument("--spare", action="store_true", help="and one that takes only what is forced onto it")
    parser.add_argument("--while-pid", type=int, help="stop when this process has ended")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    hosts = tuple(f"c{number + 1}" for number in range(arguments.hosts)) + (SPARE,) * arguments.spare
    started: list[OpenStack] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            for name in "ab"[: arguments.clouds]:
                started.append(OpenStack(folder / name, name, hosts))
                started[-1].start()
            _tell(folder, started)
            _wait(arguments.while_pid)
    finally:
        for each in started:
            each.stop()


def _tell(folder: Path, started: list[OpenStack]) -> None:
    file = folder / "clouds.yaml"
    accounts = {name: entry for each in started for name, entry in each.cloud.clouds_yaml.items()}
    write_clouds_yaml(file, accounts)
    print(f"ready: OS_CLIENT_CONFIG_FILE={file} with the clouds {', '.join(accounts)}", flush=True)


def _wait(pid: int | None) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    while pid is None or psutil.pid_exists(pid):
        if signal.sigtimedwait(_ENDS, _LOOK_SECONDS):
            return


if __name__ == "__main__":
    main()
