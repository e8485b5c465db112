"""Debian packages that the tests stand on: installed when missing and possible, named when not."""

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "mariadb-server": "/usr/sbin/mariadbd",
    "golang-go": "/usr/bin/go",
    "golang-github-vmware-govmomi-dev": "/usr/share/gocode/src/github.com/vmware/govmomi",
}


def main() -> int:
    """Return 0 when everything is there."""
    missing = [package for package, path in PACKAGES.items() if not os.path.exists(path)]  # noqa: PTH110 - one call
    if not missing:
        return 0
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-q", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"The tests need: {' '.join(missing)}. Install them with: sudo {' '.join(install)}", file=sys.stderr)
        return 1
    print(f"Installing {' '.join(missing)} ...")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "update", "-qq"], check=True, env=environment)
    subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
