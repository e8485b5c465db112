"""One cloud for all processes of a test run: the first that asks starts it, and it ends with the run.

``LAB_OPENSTACK`` names the folder of clouds that run already (``python -m tests.lab.openstack FOLDER``), for
somebody who works on these tests.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from filelock import FileLock

from tests.lab.openstack.cloud import Cloud
from tests.lab.process import wait_until

START_SECONDS = 900.0  # with its installation, on a busy machine
_STOP_SECONDS = 60.0


def cloud_of_run(run_folder: Path, run_pid: int) -> Cloud:
    """Return the run's cloud, running. ``run_pid`` is the process whose end ends it, whatever happens."""
    if running := os.environ.get("LAB_OPENSTACK"):
        return Cloud.read(Path(running) / "a")
    folder = run_folder / "openstack"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "clouds.yaml").exists():
            _start(folder, run_pid)
    return Cloud.read(folder / "a")


def end_of_run(run_folder: Path) -> None:
    """Stop the run's cloud, if it has one, and wait for its end."""
    file = run_folder / "openstack" / "pid"
    if file.exists():
        try:
            supervisor = psutil.Process(int(file.read_text()))
            supervisor.send_signal(signal.SIGTERM)
            psutil.wait_procs([supervisor], timeout=_STOP_SECONDS)
        except psutil.NoSuchProcess:
            return


def _start(folder: Path, run_pid: int) -> None:
    log = folder / "cloud.log"
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.openstack", folder, "--spare", "--while-pid", str(run_pid)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=os.environ,
        )  # fmt: skip
    (folder / "pid").write_text(str(supervisor.pid))

    def ready() -> bool:
        if supervisor.poll() is not None:
            message = f"the cloud ended at start:\n{log.read_text(errors='replace')[-3000:]}"
            raise RuntimeError(message)
        return (folder / "clouds.yaml").exists()

    wait_until(ready, seconds=START_SECONDS, what="the OpenStack cloud is ready")
