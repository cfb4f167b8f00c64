"""What this machine has, as far as a container lets this process use it."""

import os
from pathlib import Path

from shared.container_limits import memory_limit, usable_cores


def cores(root: Path | None = None) -> int:
    """Count the processors that this process may use, within the quota of its container."""
    return usable_cores(root)


def memory_bytes(root: Path | None = None) -> int:
    """Return the memory of this machine, or the limit of its container."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, memory_limit(root) or whole)
