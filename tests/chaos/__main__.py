"""``python -m tests.chaos [--seed N] [--openstack N]``: machines made and removed while processes are killed.

200 on a simulated vCenter and, if asked for, some on a whole OpenStack beside it, whose answers are lost at random.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.kill_test import KillTest, Report
from tests.chaos.sites import OpenStackProject, Site, Vsphere
from tests.lab.openstack.shared import cloud_of_run, end_of_run


def main() -> int:
    """Return 0 when nothing was lost, doubled, left over or endless."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C: servers stop
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    parser.add_argument("--machines", type=int, default=200, help="on vSphere")
    parser.add_argument("--openstack", type=int, default=0, metavar="MACHINES", help="on OpenStack, beside them")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long processes are killed")
    parser.add_argument("--keep-logs", type=Path, default=None, help="a folder for the logs of all processes")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    asked = f"{arguments.machines} machines on vSphere, {arguments.openstack} on OpenStack"
    print(f"seed {seed}: {asked}, {arguments.seconds:g} s of kills", flush=True)
    with tempfile.TemporaryDirectory(prefix="vai-chaos-") as temporary, ExitStack() as stack:
        folder = arguments.keep_logs or Path(temporary)
        sites: dict[Site, int] = {Vsphere(folder): arguments.machines}
        if arguments.openstack:
            stack.callback(end_of_run, Path(temporary))
            sites[OpenStackProject(cloud_of_run(Path(temporary), os.getpid()))] = arguments.openstack
        report = KillTest(folder, sites, seed=seed, seconds=arguments.seconds).run()
    print(describe(report))
    return 0 if report.clean else 1


def describe(report: Report) -> str:
    """Return the report for people."""
    kills = ", ".join(f"{count} {name}" for name, count in sorted(report.kills.items()))
    counts = {
        "created": report.created,
        "deleted": report.deleted,
        "refused or failed": report.refused,
        "duplicates": report.duplicates,
        "lost": report.lost,
        "orphans": report.orphans,
        "orphaned disks, folders and ports": report.leftovers,
        "operations without an end": report.endless,
        "processes that ended by themselves": report.ended,
    }
    lines = [f"seed {report.seed}, {report.seconds:.0f} s, kills: {kills}; answers lost: {report.lost_answers}"]
    for name, found in counts.items():
        lines.append(f"{name:>34}: {found if isinstance(found, int) else len(found)}")
        lines += [f"{'':>36}{each}" for each in found[:10]] if isinstance(found, list) else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
