"""``python -m tests.chaos [--seed N]``: 200 machines made and removed on vcsim while processes are killed."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.kill_test import KillTest, Report


def main() -> int:
    """Return 0 when nothing was lost, doubled, left over or endless."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long processes are killed")
    parser.add_argument("--keep-logs", type=Path, default=None, help="a folder for the logs of all processes")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}: {arguments.machines} machines, {arguments.seconds:g} s of kills", flush=True)
    with tempfile.TemporaryDirectory(prefix="vai-chaos-") as temporary:
        folder = arguments.keep_logs or Path(temporary)
        report = KillTest(folder, seed=seed, machines=arguments.machines, seconds=arguments.seconds).run()
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
        "orphaned files": report.orphaned_files,
        "operations without an end": report.endless,
    }
    lines = [f"seed {report.seed}, {report.seconds:.0f} s, kills: {kills}"]
    for name, found in counts.items():
        lines.append(f"{name:>26}: {found if isinstance(found, int) else len(found)}")
        lines += [f"{'':>28}{each}" for each in found[:10]] if isinstance(found, list) else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
