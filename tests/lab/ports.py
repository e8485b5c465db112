"""Loopback ports for the lab's servers: no two processes that choose here get the same."""

import fcntl
import os
import secrets
import socket
import tempfile
from pathlib import Path

_LOWEST_PORT, _PORTS = 12_000, 20_000
# Seconds may pass before a server binds its port: until this process ends, the port is nobody else's.
_claims: dict[int, int] = {}


def free_port() -> int:
    """Return a free port below those that the kernel gives to outgoing connections; it stays this process's own."""
    folder = Path(tempfile.gettempdir()) / f"vai-lab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        claim = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(claim)
            continue
        _claims[port] = claim
        return port
