"""``python -m lab_cloud.launch FOLDER``: import Nova once, then fork its processes: it saves 2.5 CPU seconds each.

Each line of stdin is NAME SERVICE CONFIG-FILE ...; each child leads a process group of its own, writes its id to
FOLDER/NAME.pid and its log to FOLDER/NAME.log.
"""

import os
import sys
import time
from pathlib import Path

from nova import monkey_patch

monkey_patch.patch(backend="threading")

import nova.virt  # noqa: E402 - after the patch

# Nova loads hypervisor drivers from its own package only.
nova.virt.__path__.append(str(Path(__file__).parent / "virt"))

# Only the commands: managers read the intervals of their periodic tasks from the configuration as they are imported.
from nova.cmd import compute, conductor, scheduler  # noqa: E402

MAINS = {"nova-compute": compute.main, "nova-conductor": conductor.main, "nova-scheduler": scheduler.main}
CONDUCTOR_SECONDS = 60


def main():
    """Fork a process for each line, conductors first."""
    folder = Path(sys.argv[1])
    jobs = sorted((line.split() for line in sys.stdin if line.strip()), key=lambda job: job[1] == "nova-compute")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    awaited = [folder / f"{name}.log" for name, service, *_ in jobs if service == "nova-conductor"]
    for name, service, *configs in jobs:
        if service == "nova-compute":
            _await_conductors(awaited)
            awaited = []
        if os.fork() == 0:
            _become(folder, name, service, configs)
    os._exit(0)


def _await_conductors(logs):
    # A nova-compute that finds no conductor waits ten seconds before it asks again.
    end = time.time() + CONDUCTOR_SECONDS
    while time.time() < end and not all(
        log.exists() and "Starting conductor node" in log.read_text(errors="replace") for log in logs
    ):
        time.sleep(0.1)


def _become(folder, name, service, configs):
    os.setsid()
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    partial = folder / f"{name}.pid.partial"
    partial.write_text(str(os.getpid()))
    partial.rename(folder / f"{name}.pid")
    sys.argv = [service, *(word for config in configs for word in ("--config-file", config))]
    sys.exit(MAINS[service]())


if __name__ == "__main__":
    main()
