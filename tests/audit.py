"""``python -m tests.audit``: known vulnerabilities among the pinned packages, by pip-audit.

Exits with 0 when none is known, with 1 when one is. Where the advisory service cannot be reached it says so and
exits with 0: an outage of it is no defect of the packages.
"""

import subprocess
import sys

_UNREACHABLE = ("ServiceError", "ConnectionError", "Failed to establish a new connection", "Max retries exceeded")
_ACCEPTED: dict[str, str] = {}
"""Advisories that do not touch us, each with the reason."""


def main() -> int:
    """Audit what a user installs."""
    ignored = [word for advisory in _ACCEPTED for word in ("--ignore-vuln", advisory)]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", "requirements.txt"]
    done = subprocess.run([*command, *ignored], capture_output=True, text=True, timeout=300, check=False)
    print(done.stdout + done.stderr)
    if done.returncode and any(sign in done.stderr for sign in _UNREACHABLE):
        print("The advisory service cannot be reached; nothing was audited.")
        return 0
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
