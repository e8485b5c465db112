"""How seldom a long-running process looks for garbage in cycles, of which VAI makes next to none."""

import gc

# A page of a hundred machines is thousands of objects without a cycle: it is not to be searched for some five times.
_THRESHOLDS = (20_000, 20, 50)


def keep_what_is_loaded() -> None:
    """Let the collector leave alone what a process has loaded by now, and look seldom at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
