"""What the lab keeps between runs, built once even when several processes ask at the same time."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "vai-lab"


def digest(paths: Iterable[Path], *facts: str) -> str:
    """Return a short name for the content of files and some facts."""
    found = hashlib.sha256("\0".join(facts).encode())
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached file or folder of this name, made by ``make`` at the path given to it when it is not there."""
    target = CACHE / name
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        if not target.exists():
            partial = CACHE / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            began = time.monotonic()
            print(f"lab: making {name} ...", flush=True)
            make(partial)
            partial.rename(target)
            print(f"lab: made {name} in {time.monotonic() - began:.0f} s", flush=True)
    return target
