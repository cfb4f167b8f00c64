"""The memory and processors that control groups leave to this process, in versions 1 and 2.

A group's limit holds for all groups below it, so each level from the process's group up to the root
counts. In a container the paths of `/proc/self/cgroup` may name groups outside of what is mounted:
then the mount's own root is the container's group.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
#: Version 1 says «no limit» with the largest number of whole pages.
UNLIMITED_BYTES = 2**62


def memory_limit(root: Path | None = None) -> int | None:
    """Return the lowest memory limit in bytes, or None if there is none.

    Args:
        root: Where `proc` and `sys` are; by default those of this machine.
    """
    limits = (_memory(*group) for group in _groups(root or ROOT, "memory"))
    return min((limit for limit in limits if limit is not None), default=None)


def cpu_quota(root: Path | None = None) -> float | None:
    """Return the lowest limit of processor time, in processors, or None if there is none."""
    quotas = (_quota(*group) for group in _groups(root or ROOT, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def usable_cores(root: Path | None = None) -> int:
    """Count the processors that this process may use; a part of one counts as a whole."""
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _memory(directory: Path, version: int) -> int | None:
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    limit = _number(_read(directory / name))
    return limit if limit is not None and 0 < limit < UNLIMITED_BYTES else None


def _quota(directory: Path, version: int) -> float | None:
    if version == 2:
        quota, _, period = (_read(directory / "cpu.max") or "").partition(" ")
    else:
        quota = _read(directory / "cpu.cfs_quota_us") or ""
        period = _read(directory / "cpu.cfs_period_us") or ""
    used, whole = _number(quota), _number(period)
    # Version 1 says «no limit» with -1, version 2 with `max`.
    return used / whole if used is not None and whole and used > 0 else None


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the directories of this process's groups of a controller, and their version."""
    paths = _paths(root)
    for mount, mounted_root, version, controllers in _mounts(root):
        if version == 1 and controller not in controllers:
            continue
        path = paths.get(controller if version == 1 else "")
        for directory in _levels(root, mount, mounted_root, path):
            yield directory, version


def _levels(root: Path, mount: str, mounted_root: str, path: str | None) -> Iterator[Path]:
    """Yield the directory of a group and of those above it, as far as they are mounted."""
    top = root / mount.lstrip("/")
    inside = PurePosixPath("/")
    if path is not None and ".." not in PurePosixPath(path).parts:
        with_root = PurePosixPath(path)
        if with_root.is_relative_to(mounted_root):
            inside = "/" / with_root.relative_to(mounted_root)
    for level in (inside, *inside.parents):
        directory = top / str(level).lstrip("/")
        if directory.is_dir():
            yield directory


def _paths(root: Path) -> dict[str, str]:
    """Map each controller of version 1, and `""` for version 2, to this process's group."""
    found: dict[str, str] = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _mounts(root: Path) -> Iterator[tuple[str, str, int, frozenset[str]]]:
    """Yield the mounts of control groups: place, root, version, and version 1's controllers."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if kind[0] == "cgroup2" else 1
        yield _unescaped(fields[4]), _unescaped(fields[3]), version, frozenset(kind[2].split(","))


def _unescaped(path: str) -> str:
    """Undo the kernel's escapes of spaces and backslashes in a mount's path."""
    return path.replace("\\040", " ").replace("\\134", "\\")


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
